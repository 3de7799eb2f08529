//! The condition Ready of policies, written where it does not say what is so.

use crate::log;
use crate::sources::Verdict;
use keyward_kubernetes::Cluster;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::{Duration, Instant};

const FIRST_WAIT: Duration = Duration::from_secs(4);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Writes statuses; those that cannot be written again after longer and longer waits.
#[derive(Default)]
pub(crate) struct Statuses {
    failing: HashMap<String, Failing>,
}

/// A status that could not be written.
struct Failing {
    /// What it was to say.
    status: Value,
    attempts: u32,
    again: Instant,
}

impl Statuses {
    /// Writes those that do not say what is so.
    pub(crate) async fn tell(&mut self, cluster: &Cluster, verdicts: &[Verdict]) {
        let name = |verdict: &Verdict| format!("{}/{}", verdict.kind, verdict.key);
        let untold = |verdict: &&Verdict| verdict.ready != Some(verdict.refused.is_none());
        let waiting: Vec<(String, &Verdict)> =
            verdicts.iter().filter(untold).map(|verdict| (name(verdict), verdict)).collect();
        self.failing.retain(|name, _| waiting.iter().any(|(known, _)| known == name));
        for (name, verdict) in waiting {
            let status = status(verdict);
            let known = self.failing.get(&name).filter(|known| known.status == status);
            if known.is_some_and(|known| known.again > Instant::now()) {
                continue;
            }
            let attempts = known.map_or(0, |known| known.attempts) + 1;
            let namespace = Some(&*verdict.key.namespace).filter(|name| !name.is_empty());
            let objects = cluster.objects(&verdict.kind, namespace);
            match objects.merge_status(&verdict.key.name, &status).await {
                Err(why) if !why.is_missing() => {
                    let wait = FIRST_WAIT.saturating_mul(1 << (attempts - 1).min(10)).min(LONGEST_WAIT);
                    log::warn(&format!("{why}; it is tried again in {} s", wait.as_secs()));
                    self.failing.insert(name, Failing { status, attempts, again: Instant::now() + wait });
                }
                _ => drop(self.failing.remove(&name)),
            }
        }
    }
}

fn status(verdict: &Verdict) -> Value {
    let (status, reason, message) = match &verdict.refused {
        None => ("True", "Succeeded", "Ready"),
        Some(why) => ("False", "Refused", why.as_str()),
    };
    json!({"status": {"ready": verdict.refused.is_none(), "conditions": [
        {"type": "Ready", "status": status, "reason": reason, "message": message},
    ]}})
}
