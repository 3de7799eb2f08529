//! Events about what policies find, written beside reviews and never before them.

use crate::metrics::Metrics;
use crate::policies::Entry;
use crate::report::Found;
use crate::verdict::Finding;
use keyward_kubernetes::{About, Cluster, Events, Severity};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Events that may wait to be written: those beyond are counted and dropped.
const WAITING: usize = 256;

/// Where events are handed in.
#[derive(Clone)]
pub(crate) struct Outbox {
    waiting: mpsc::Sender<Event>,
    metrics: Arc<Metrics>,
}

/// An event that is to be written.
struct Event {
    about: About,
    severity: Severity,
    reason: &'static str,
    action: &'static str,
    note: String,
}

impl Outbox {
    /// Writes what is handed in for as long as the process runs.
    pub(crate) fn open(cluster: &Cluster, instance: &str, metrics: Arc<Metrics>) -> Outbox {
        let (waiting, mut events) = mpsc::channel::<Event>(WAITING);
        let written: Events = cluster.events("keyward.io/policy", Some(instance));
        tokio::spawn(async move {
            while let Some(Event { about, severity, reason, action, note }) = events.recv().await {
                // One that cannot be written is nothing that anybody waits for.
                let _ = written.publish(&about, severity, reason, action, &note).await;
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
        self.tell(finding.entry, Severity::Warning, "PolicyViolation", action, note);
    }

    /// Tells of a rule that does not hold for an object that is there, under the policy.
    pub(crate) fn scanned(&self, entry: &Entry, object: &str, found: &Found) {
        let note = format!(
            "{object}: [{}] {} (background scan); {}",
            found.rule,
            found.status.name(),
            found.message
        );
        self.tell(entry, Severity::Warning, "PolicyViolation", "Resource Passed", note);
    }

    /// Tells of work for a policy that cannot be done, under the policy.
    pub(crate) fn stuck(&self, entry: &Entry, task: &'static str, why: &str) {
        self.tell(entry, Severity::Warning, "PolicyError", task, why.to_owned());
    }

    /// Tells of an object that a policy removed, under the policy.
    pub(crate) fn removed(&self, entry: &Entry, object: &str) {
        let note = format!("successfully deleted the target resource {object}");
        self.tell(entry, Severity::Normal, "PolicyApplied", "Resource Cleaned Up", note);
    }

    fn tell(
        &self,
        entry: &Entry,
        severity: Severity,
        reason: &'static str,
        action: &'static str,
        note: String,
    ) {
        let event = Event { about: about(entry), severity, reason, action, note };
        if self.waiting.try_send(event).is_err() {
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
