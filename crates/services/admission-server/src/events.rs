//! Events about what policies find, written beside reviews and never before them.

use crate::metrics::Metrics;
use crate::policies::Entry;
use crate::verdict::Finding;
use keyward_kubernetes::{About, Cluster, Events, Severity};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Events that may wait to be written: those beyond are counted and dropped.
const WAITING: usize = 256;

/// Where events are handed in.
#[derive(Clone)]
pub(crate) struct Outbox {
    waiting: mpsc::Sender<(About, String, &'static str)>,
    metrics: Arc<Metrics>,
}

impl Outbox {
    /// Writes what is handed in for as long as the process runs.
    pub(crate) fn open(cluster: &Cluster, instance: &str, metrics: Arc<Metrics>) -> Outbox {
        let (waiting, mut events) = mpsc::channel::<(About, String, &'static str)>(WAITING);
        let written: Events = cluster.events("keyward.io/policy", Some(instance));
        tokio::spawn(async move {
            while let Some((about, note, action)) = events.recv().await {
                // One that cannot be written is nothing that anybody waits for.
                let _ = written.publish(&about, Severity::Warning, "PolicyViolation", action, &note).await;
            }
        });
        Outbox { waiting, metrics }
    }

    /// Tells of a rule that does not hold for an object, under the policy.
    pub(crate) fn found(&self, finding: &Finding<'_>, object: &str) {
        let (action, done) = match finding.blocks {
            true => ("Resource Blocked", "blocked"),
            false => ("Resource Passed", "passed"),
        };
        let rule = &finding.rule;
        let note = format!("{object}: [{}] {} ({done}); {}", rule.rule, rule.status.name(), rule.message);
        if self.waiting.try_send((about(finding.entry), note, action)).is_err() {
            self.metrics.events_dropped.add(1);
        }
    }
}

fn about(entry: &Entry) -> About {
    let metadata = &entry.policy.metadata;
    About {
        api_version: entry.api_version.clone(),
        kind: metadata.kind.clone(),
        namespace: Some(metadata.namespace.clone()).filter(|name| !name.is_empty()),
        name: metadata.name.clone(),
        uid: Some(entry.uid.clone()).filter(|uid| !uid.is_empty()),
    }
}
