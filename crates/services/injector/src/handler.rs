//! Answers reviews of pods.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use keyward_consumption::pod::{Setup, patch};
use keyward_consumption::{Refused, Wish};
use keyward_log::{Log, LogLevel};
use keyward_webhook::{Answer, Handler, Operation, Review};
use serde_json::Value;

/// Where pods are reviewed.
const PATH: &str = "/inject";

pub(crate) struct Injector {
    pub(crate) setup: Setup,
    pub(crate) log: Log,
    /// The API server believes us.
    pub(crate) known: AtomicBool,
}

impl Injector {
    fn answer(&self, review: &Review) -> Result<Vec<Value>, Refused> {
        let pod = review.object();
        let read = BTreeMap::<String, String>::deserialize_from(&pod["metadata"]["annotations"]);
        let Some(wish) = Wish::read(&read)? else { return Ok(Vec::new()) };
        patch(pod, &wish, &self.setup)
    }
}

/// Annotations as a map; the API server has checked that they are texts.
trait DeserializeFrom {
    fn deserialize_from(value: &Value) -> Self;
}

impl DeserializeFrom for BTreeMap<String, String> {
    fn deserialize_from(value: &Value) -> Self {
        let texts = value.as_object().into_iter().flatten();
        texts.filter_map(|(name, text)| Some((name.clone(), text.as_str()?.to_owned()))).collect()
    }
}
