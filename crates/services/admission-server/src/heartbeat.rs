//! Which replicas are alive, and whom each is believed by: a Lease a replica, renewed, with the public part of the replica's own
//! authority. Keys stay where they were made, so nothing secret is written.

use crate::log::{self, Wall};
use crate::mirror::{Mirror, follow};
use keyward_core::{Clock, Timestamp};
use keyward_kubernetes::{Cluster, Error, Kind, Object, Objects, Selection};
use serde_json::json;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

const LEASES: Kind = Kind::namespaced("coordination.k8s.io", "v1", "Lease", "leases");
const LABEL: (&str, &str) = ("keyward.io/heartbeat", "policy");
const AUTHORITY: &str = "keyward.io/webhook-authority";
/// How often a replica says that it is alive.
const BEAT: Duration = Duration::from_secs(5);
/// After how long without a word it is taken for dead, as watched by who listens.
const SILENCE: Duration = Duration::from_secs(15);

/// Our own heartbeat.
pub(crate) struct Heartbeat {
    leases: Objects,
    namespace: String,
    identity: String,
}

impl Heartbeat {
    pub(crate) fn new(cluster: &Cluster, namespace: &str, identity: &str) -> Heartbeat {
        Heartbeat {
            leases: cluster.objects(&LEASES, Some(namespace)),
            namespace: namespace.to_owned(),
            identity: identity.to_owned(),
        }
    }

    fn name(&self) -> String {
        format!("keyward-policy-{}", self.identity)
    }

    async fn beat(&self, bundle: &str) -> Result<(), Error> {
        let now = Wall.now();
        let lease = json!({
            "apiVersion": LEASES.api_version(), "kind": LEASES.kind,
            "metadata": {
                "name": self.name(), "namespace": self.namespace, "labels": {(LABEL.0): LABEL.1},
                "annotations": {(AUTHORITY): bundle},
            },
            "spec": {
                "holderIdentity": self.identity, "leaseDurationSeconds": SILENCE.as_secs(),
                "renewTime": micros(&now.to_string()),
            },
        });
        self.leases.apply("keyward-policy", &lease).await.map(|_| ())
    }

    /// Beats until it is dropped, and at once when the bundle changes.
    pub(crate) async fn run(&self, mut bundle: watch::Receiver<Arc<str>>) {
        loop {
            let authority = bundle.borrow_and_update().clone();
            if let Err(why) = self.beat(&authority).await {
                log::warn(&format!("the heartbeat is not written: {why}"));
            }
            let _ = tokio::time::timeout(BEAT, bundle.changed()).await;
        }
    }

    /// Removes what replicas that died have left.
    pub(crate) async fn bury(cluster: &Cluster, namespace: &str, dead: &BTreeSet<String>) {
        for name in dead {
            if let Err(why) = cluster.objects(&LEASES, Some(namespace)).delete(name, None).await {
                log::warn(&format!("the heartbeat of a dead replica is not removed: {why}"));
            }
        }
    }

    /// The last word.
    pub(crate) async fn end(&self) {
        if let Err(why) = self.leases.delete(&self.name(), None).await {
            log::warn(&format!("the heartbeat is not taken back: {why}"));
        }
    }
}

/// RFC 3339 with six digits of a second, which is what a Lease takes.
pub(crate) fn micros(text: &str) -> String {
    let bare = text.trim_end_matches('Z');
    let (seconds, fraction) = bare.split_once('.').unwrap_or((bare, ""));
    format!("{seconds}.{fraction:0<6.6}Z")
}

/// A replica as it was last heard of.
struct Heard {
    identity: String,
    version: String,
    authority: String,
    /// When it last spoke, by its own clock.
    at: Option<Timestamp>,
}

/// The replicas that are alive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Alive {
    /// Who they are.
    pub(crate) replicas: BTreeSet<String>,
    /// Whom they are believed by, in PEM, together.
    pub(crate) bundle: String,
    /// Leases of those that are not.
    pub(crate) dead: BTreeSet<String>,
}

/// Listens to heartbeats for as long as the process runs.
pub(crate) fn listen(cluster: &Cluster, namespace: &str) -> watch::Receiver<Alive> {
    let (tell, alive) = watch::channel(Alive::default());
    let selection = Selection { labels: Some(format!("{}={}", LABEL.0, LABEL.1)), fields: None };
    let (to, mut changes) = mpsc::channel(64);
    follow(&cluster.objects(&LEASES, Some(namespace)), &selection, (), to, heard);
    tokio::spawn(async move {
        let mut mirror = Mirror::default();
        let mut since: HashMap<String, (String, Instant)> = HashMap::new();
        loop {
            match tokio::time::timeout(Duration::from_secs(1), changes.recv()).await {
                Ok(Some(((), change))) => {
                    if let Some(why) = mirror.apply(change) {
                        log::warn(&format!("heartbeats cannot be read: {why}"));
                    }
                }
                Ok(None) => return,
                Err(_) => {}
            }
            let now = living(&mirror, &mut since);
            tell.send_if_modified(|told| std::mem::replace(told, now.clone()) != now);
        }
    });
    alive
}

fn heard(lease: Object) -> Heard {
    let annotations = lease.metadata.annotations.unwrap_or_default();
    Heard {
        identity: lease.data["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned(),
        version: lease.metadata.resource_version.unwrap_or_default(),
        authority: annotations.get(AUTHORITY).cloned().unwrap_or_default(),
        at: lease.data["spec"]["renewTime"].as_str().and_then(Timestamp::parse_rfc3339),
    }
}

fn living(mirror: &Mirror<Heard>, since: &mut HashMap<String, (String, Instant)>) -> Alive {
    let mut alive = Alive::default();
    for (key, heard) in mirror.iter() {
        let now = Instant::now();
        let known = since.entry(heard.identity.clone()).or_insert_with(|| {
            // What was said before we listened is as old as it says, if clocks are right.
            let age = heard.at.map_or(Duration::ZERO, |at| Wall.now().since(at)).min(SILENCE);
            (heard.version.clone(), now.checked_sub(age).unwrap_or(now))
        });
        if known.0 != heard.version {
            *known = (heard.version.clone(), now);
        }
        if known.1.elapsed() < SILENCE {
            alive.replicas.insert(heard.identity.clone());
            alive.bundle.push_str(&heard.authority);
        } else {
            alive.dead.insert(key.name.to_string());
        }
    }
    alive
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_leases_have_them() {
        assert_eq!(micros("2026-11-21T22:00:00Z"), "2026-11-21T22:00:00.000000Z");
        assert_eq!(micros("2026-11-21T22:00:00.123456789Z"), "2026-11-21T22:00:00.123456Z");
    }
}
