//! Until when everything was seen to: a Lease, so that whoever leads next knows what happened while nobody did.

use crate::heartbeat::micros;
use crate::log::{self, Wall};
use keyward_core::{Clock as _, Timestamp};
use keyward_kubernetes::{Cluster, Kind, Objects};
use serde_json::json;
use std::time::Duration;

const LEASES: Kind = Kind::namespaced("coordination.k8s.io", "v1", "Lease", "leases");
const NAME: &str = "keyward-policy-queue";
/// What happened so shortly before may not have been told to us yet.
const SLACK: u64 = 5;
const AGAIN: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Mark {
    leases: Objects,
    namespace: String,
    identity: String,
}

impl Mark {
    pub(super) fn new(cluster: &Cluster, namespace: &str, identity: &str) -> Mark {
        Mark {
            leases: cluster.objects(&LEASES, Some(namespace)),
            namespace: namespace.to_owned(),
            identity: identity.to_owned(),
        }
    }

    /// Seconds since 1970. Where there never was a leader it is now, which is noted, so that who comes after us knows.
    pub(super) async fn read(&self) -> u64 {
        loop {
            match self.leases.get(NAME).await {
                Ok(lease) => {
                    let at = lease.and_then(|lease| {
                        lease.data["spec"]["renewTime"].as_str().and_then(Timestamp::parse_rfc3339)
                    });
                    if at.is_none() {
                        self.write(Wall.now()).await;
                    }
                    return at.unwrap_or_else(|| Wall.now()).secs();
                }
                Err(why) => {
                    log::warn(&format!("it is not known until when everything was seen to: {why}"));
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Notes that everything until about now was seen to.
    pub(super) async fn write(&self, now: Timestamp) {
        let at = Timestamp::from_secs(now.secs().saturating_sub(SLACK));
        let lease = json!({
            "apiVersion": LEASES.api_version(), "kind": LEASES.kind,
            "metadata": {"name": NAME, "namespace": self.namespace},
            "spec": {"holderIdentity": self.identity, "renewTime": micros(&at.to_string())},
        });
        if let Err(why) = self.leases.apply("keyward-policy", &lease).await {
            log::warn(&format!("it is not noted until when everything was seen to: {why}"));
        }
    }
}
