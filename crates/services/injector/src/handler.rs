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
    /// The API server believes our certificate.
    pub(crate) known: AtomicBool,
}

impl Injector {
    fn operations(&self, pod: &Value) -> Result<Vec<Value>, Refused> {
        match Wish::read(&annotations(pod))? {
            Some(wish) => patch(pod, &wish, &self.setup),
            None => Ok(Vec::new()),
        }
    }
}

/// Annotations that are texts; the API server lets no others in.
fn annotations(pod: &Value) -> BTreeMap<String, String> {
    let texts = pod["metadata"]["annotations"].as_object().into_iter().flatten();
    texts.filter_map(|(name, text)| Some((name.clone(), text.as_str()?.to_owned()))).collect()
}

impl Handler for Injector {
    async fn review(&self, _path: &str, review: Review) -> Answer {
        let is_pod = review.resource.group.is_empty() && review.resource.resource == "pods";
        if !is_pod || review.operation != Operation::Create || !review.subresource.is_empty() {
            return Answer::allowed();
        }
        let name = review.object()["metadata"]["generateName"].as_str().unwrap_or(&review.name);
        let told = [("uid", review.uid.as_str()), ("namespace", &review.namespace), ("pod", name)];
        match self.operations(review.object()) {
            Ok(operations) if operations.is_empty() => Answer::allowed(),
            Ok(operations) => {
                self.log.event(LogLevel::Debug, "injected", &told);
                Answer::patched(Value::Array(operations))
            }
            Err(why) => {
                self.log.event(LogLevel::Info, "refused", &[&told[..], &[("why", &why.0)]].concat());
                Answer::refused(400, format!("keyward cannot inject secrets: {why}"))
            }
        }
    }

    fn serves(&self, path: &str) -> bool {
        path == PATH
    }

    fn ready(&self) -> Result<(), String> {
        match self.known.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err("the webhook's configuration does not have our certificate yet".to_owned()),
        }
    }
}
