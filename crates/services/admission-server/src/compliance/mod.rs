//! How far what is there holds to its policies, now and over time, for people to look at.

mod history;
mod page;

use crate::log::{self, Wall};
use crate::metrics::Metrics;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use history::{History, Sample};
use keyward_core::Clock;
use keyward_kubernetes::{Cluster, Error, Kind, Objects};
use keyward_webhook::Page;
use parking_lot::Mutex;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

const CONFIG_MAPS: Kind = Kind::namespaced("", "v1", "ConfigMap", "configmaps");
const NAME: &str = "keyward-policy-compliance";
const FIELD: &str = "history.json.gz";
const MANAGER: &str = "keyward-policy-compliance";
/// After how long a new leader has looked at enough for its counts to mean something.
const FIRST: Duration = Duration::from_secs(30);
/// How often a sample is taken.
const EVERY: Duration = Duration::from_secs(15 * 60);
/// How often a replica that does not lead looks for what the leader wrote.
const FOLLOW: Duration = Duration::from_secs(60);

/// What is known of compliance.
pub(crate) struct Compliance {
    metrics: Arc<Metrics>,
    config_maps: Objects,
    namespace: String,
    history: Mutex<History>,
}

impl Compliance {
    pub(crate) fn new(cluster: &Cluster, namespace: &str, metrics: Arc<Metrics>) -> Compliance {
        Compliance {
            metrics,
            config_maps: cluster.objects(&CONFIG_MAPS, Some(namespace)),
            namespace: namespace.to_owned(),
            history: Mutex::default(),
        }
    }

    /// Takes samples while we lead, and follows who does while not, for as long as it is awaited.
    pub(crate) async fn run(&self, mut leads: watch::Receiver<bool>) {
        loop {
            self.read().await;
            let leading = *leads.borrow_and_update();
            tokio::select! {
                () = self.lead(), if leading => {}
                () = tokio::time::sleep(FOLLOW), if !leading => {}
                _ = leads.changed() => {}
            }
        }
    }

    async fn lead(&self) {
        tokio::time::sleep(FIRST).await;
        loop {
            if self.take() {
                self.write().await;
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    fn now(&self) -> Option<Sample> {
        self.metrics.results.read(|counts| {
            let counts = counts.iter().map(|(namespace, counts)| (&**namespace, counts));
            Some(Sample::of(Wall.now().secs(), counts)).filter(|sample| !sample.tiers.is_empty())
        })
    }

    /// Takes a sample; tells whether it says something new, or the last is an hour old.
    fn take(&self) -> bool {
        let Some(sample) = self.now() else { return false };
        let mut history = self.history.lock();
        let known = history.last().is_some_and(|last| sample.says_as(last) && sample.at < last.at + 3_600);
        if !known {
            history.add(sample);
        }
        !known
    }

    async fn read(&self) {
        match self.kept().await {
            Ok(Some(history)) => *self.history.lock() = history,
            Ok(None) => {}
            Err(why) => {
                log::warn(&format!("compliance of before is not read from {}/{NAME}: {why}", self.namespace));
            }
        }
    }

    async fn kept(&self) -> Result<Option<History>, String> {
        let Some(kept) = self.config_maps.get(NAME).await.map_err(|why| why.to_string())? else {
            return Ok(None);
        };
        let packed = kept.data["binaryData"][FIELD].as_str().ok_or("it has no history")?;
        let packed = BASE64_STANDARD.decode(packed).map_err(|why| why.to_string())?;
        History::unpack(&packed).map(Some).map_err(|why| why.to_string())
    }

    async fn write(&self) {
        let packed = self.history.lock().pack();
        let written = match packed {
            Ok(packed) => self.send(&packed).await.map_err(|why| why.to_string()),
            Err(why) => Err(why.to_string()),
        };
        if let Err(why) = written {
            log::warn(&format!("compliance is not written to {}/{NAME}: {why}", self.namespace));
        }
    }

    async fn send(&self, packed: &[u8]) -> Result<(), Error> {
        let object = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": NAME, "namespace": self.namespace},
            "binaryData": {FIELD: BASE64_STANDARD.encode(packed)},
        });
        self.config_maps.apply(MANAGER, &object).await.map(|_| ())
    }

    /// The page.
    pub(crate) fn page(&self) -> Page {
        Page { media_type: "text/html; charset=utf-8", body: page::render(&self.history.lock(), self.now()) }
    }
}
