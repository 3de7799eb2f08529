//! What is attested of workloads: verdicts on pods, namespaces and nodes, which a policy engine reports (`sys/posture`) and
//! conditions of policies ask for as `posture`.
//!
//! Verdicts are evidence of the present moment, not state: they are in the memory of this process alone, and count for as long
//! as their publisher goes on to confirm them. After a restart, or when the engine is dead, nothing is known, and what demands
//! posture is refused. So neither the store nor a backup holds anything that a verdict could be forged with or brought
//! back from.
//!
//! A publisher may speak of the pods of its own cluster alone. Which cluster that is it cannot choose: both its token and
//! those of the pods were issued by logins at one mount of the auth method `kubernetes`.

mod seen;
mod session;
#[cfg(test)]
mod tests;

pub use seen::{Attested, Found, Seen};
pub use session::{Begun, MOST_RECORDS, Shown, Taken, Wanted};

use crate::token::TokenEntry;
use keyward_core::Timestamp;
use keyward_posture::{Subject, Verdict};
use session::Session;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Bytes of their records. A verdict on 40 policies has 3 KB.
pub const MOST_BYTES: usize = 512 << 20;

/// See the module. One lock, held for a look into maps.
#[derive(Default)]
pub struct Verdicts(RwLock<State>);

#[derive(Default)]
struct State {
    /// By the mount at which a cluster's tokens are issued, such as `auth/kubernetes/`.
    clusters: HashMap<String, Cluster>,
    /// How many sessions were begun: a later one is of a later leader of the engine.
    begun: u64,
}

#[derive(Default)]
struct Cluster {
    /// By number. The last one may report; those before it count until they end.
    sessions: BTreeMap<u64, Session>,
    /// By UID.
    pods: HashMap<String, Held>,
    /// By name.
    namespaces: HashMap<String, Held>,
    /// By name: where a token has no UID of its pod's node, that is all that is known of it.
    nodes: HashMap<String, Held>,
    /// Bytes of the records of all.
    bytes: usize,
}

/// A verdict, and the number of the session that it was reported in.
#[derive(Clone)]
struct Held {
    session: u64,
    known: Arc<Known>,
}

/// A verdict that was believed, and how it was signed.
#[derive(Debug)]
pub struct Known {
    /// What it says.
    pub verdict: Verdict,
    /// Names it: the hash of its record.
    pub digest: String,
    /// Its record, and the signature of that.
    pub signed: keyward_posture::Signed,
    /// The public key that it is signed with.
    pub key: Arc<str>,
}

/// The mount at which a token was issued by a login that proved its pod.
fn mount_of(token: &TokenEntry) -> Option<&str> {
    if !token.attested {
        return None;
    }
    token.path.strip_suffix("login").filter(|mount| mount.ends_with('/'))
}

impl Verdicts {
    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        // Nothing in here is left half done by a panic.
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// The verdict on the pod that a token is bound to, unless it is too old to count. A token that was not issued by a login
    /// that proved its pod has none, whatever its metadata say.
    pub fn of_pod(&self, token: &TokenEntry, now: Timestamp) -> Option<Found> {
        let (mount, uid) = (mount_of(token)?, token.metadata.get("pod_uid")?);
        self.read(|state| {
            let cluster = state.clusters.get(mount)?;
            cluster.found(cluster.pods.get(uid)?, now)
        })
    }

    /// The verdict on the namespace of a token's ServiceAccount.
    pub fn of_namespace(&self, token: &TokenEntry, now: Timestamp) -> Option<Found> {
        let (mount, name) = (mount_of(token)?, token.metadata.get("service_account_namespace")?);
        self.read(|state| {
            let cluster = state.clusters.get(mount)?;
            cluster.found(cluster.namespaces.get(name)?, now)
        })
    }

    /// The verdict on the node of a token's pod. That is the one that the token was bound to when it was issued, which the API server
    /// signed; where it says nothing of a node, as those of older clusters, it is the one that the verdict on the pod names. A pod
    /// never moves: where the two differ, one of them is not true, and nothing is known.
    pub fn of_node(&self, token: &TokenEntry, now: Timestamp) -> Option<Found> {
        let mount = mount_of(token)?;
        self.read(|state| {
            let cluster = state.clusters.get(mount)?;
            let pod =
                token.metadata.get("pod_uid").and_then(|uid| cluster.found(cluster.pods.get(uid)?, now));
            let seen = pod.as_ref().and_then(|pod| pod.known.verdict.node.as_ref());
            let name = match (token.metadata.get("node_name"), seen) {
                (Some(bound), Some(seen)) if bound != seen => return None,
                (bound, seen) => bound.or(seen)?,
            };
            let node = cluster.nodes.get(name)?;
            // A node that was made anew under its name is another one.
            let is_same =
                token.metadata.get("node_uid").is_none_or(|bound| node.uid() == Some(bound.as_str()));
            is_same.then(|| cluster.found(node, now)).flatten()
        })
    }

    /// All subjects of a kind that verdicts count of: the mount of their cluster, and what is known. In no order.
    pub fn all(&self, of: Subjects, now: Timestamp) -> Vec<(String, Found)> {
        self.read(|state| {
            let of_cluster = |(mount, cluster): (&String, &Cluster)| {
                let held = match of {
                    Subjects::Pods => &cluster.pods,
                    Subjects::Namespaces => &cluster.namespaces,
                    Subjects::Nodes => &cluster.nodes,
                };
                let found = held.values().filter_map(|held| cluster.found(held, now));
                found.map(|found| (mount.clone(), found)).collect::<Vec<_>>()
            };
            state.clusters.iter().flat_map(of_cluster).collect()
        })
    }
}

/// What is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subjects {
    /// Pods.
    Pods,
    /// Namespaces.
    Namespaces,
    /// Nodes.
    Nodes,
}

impl Held {
    /// The UID of a pod or node.
    fn uid(&self) -> Option<&str> {
        match &self.known.verdict.subject {
            Subject::Pod { uid, .. } | Subject::Node { uid, .. } => Some(uid),
            Subject::Namespace { .. } => None,
        }
    }
}

impl Cluster {
    fn found(&self, held: &Held, now: Timestamp) -> Option<Found> {
        let session = self.sessions.get(&held.session)?;
        let counts = now < session.until;
        counts.then(|| Found {
            known: held.known.clone(),
            age: now.since(session.confirmed),
            left: session.until.since(now),
        })
    }

    /// Forgets sessions that ended, and what was reported in them.
    fn sweep(&mut self, now: Timestamp) {
        let last = self.sessions.last_key_value().map(|(number, _)| *number);
        self.sessions.retain(|number, session| Some(*number) == last || now < session.until);
        for held in [&mut self.pods, &mut self.namespaces, &mut self.nodes] {
            held.retain(|_, held| {
                let keep = self.sessions.contains_key(&held.session);
                self.bytes -= if keep { 0 } else { held.known.signed.text.len() };
                keep
            });
        }
    }
}

/// The longest that a verdict counts without being confirmed.
pub const LONGEST_VALIDITY: Duration = Duration::from_secs(600);
