//! One of several is the leader: a Lease (`coordination.k8s.io/v1`).
//!
//! As `client-go` has it: a holder that has not renewed for the lease's duration, *as watched by this process*, has
//! lost it, so that clocks need not agree. A leader that could not renew for two thirds of that steps down before
//! anybody else may step up. Two may still act at once for as long as a request that was sent in time takes: what a
//! leader does must bear that.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::objects::version;
use crate::{Cluster, Error, Kind, Object, Objects};

const LEASES: Kind = Kind::namespaced("coordination.k8s.io", "v1", "Lease", "leases");

/// What is stood for.
#[derive(Clone, Debug)]
pub struct Election {
    /// Where the lease is.
    pub namespace: String,
    /// Its name: one for each kind of leader.
    pub name: String,
    /// Who we are; different for each process, such as the pod's name.
    pub identity: String,
    /// How long a leader that is gone keeps others waiting; at least 3 s are of use. `client-go` takes 15 s.
    pub term: Duration,
}

/// Whether we lead, kept up in the background until it is resigned or dropped.
pub struct Leadership {
    leads: watch::Receiver<bool>,
    resign: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Election {
    /// Stands for election. `trouble` is told what keeps it from succeeding.
    pub fn stand(self, cluster: &Cluster, trouble: impl Fn(&Error) + Send + 'static) -> Leadership {
        let leases = cluster.objects(&LEASES, Some(&self.namespace));
        let (tell, leads) = watch::channel(false);
        let (resign, resigned) = oneshot::channel();
        let campaign = Campaign { leases, election: self, seen: None, renewed: None };
        let task = tokio::spawn(campaign.run(tell, resigned, trouble));
        Leadership { leads, resign: Some(resign), task }
    }
}

impl Leadership {
    /// Whether we lead now.
    pub fn is_leader(&self) -> bool {
        *self.leads.borrow()
    }

    /// Waits until we lead, or no longer do, and tells which.
    pub async fn changed(&mut self) -> bool {
        match self.leads.changed().await {
            Ok(()) => *self.leads.borrow_and_update(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Gives the lease up, so that another leads at once.
    pub async fn resign(mut self) {
        if let Some(resign) = self.resign.take() {
            let _ = resign.send(());
        }
        // Whatever came of it, we no longer lead: the lease runs out.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Leadership {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What to do about a lease.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Create,
    Take,
    Renew,
    Wait,
}

struct Campaign {
    leases: Objects,
    election: Election,
    /// The `resourceVersion` last seen, and since when.
    seen: Option<(String, Instant)>,
    /// When we last renewed.
    renewed: Option<Instant>,
}

impl Campaign {
    async fn run(
        mut self,
        tell: watch::Sender<bool>,
        mut resigned: oneshot::Receiver<()>,
        trouble: impl Fn(&Error),
    ) {
        loop {
            let began = Instant::now();
            let allowed = self.election.term * 2 / 3;
            let attempt = tokio::select! {
                attempt = tokio::time::timeout(allowed, self.attempt()) => attempt,
                _ = &mut resigned => break,
            };
            match attempt {
                Ok(Ok(true)) => self.renewed = Some(began),
                Ok(Ok(false)) => self.renewed = None,
                // Who was first is seen with the next attempt.
                Ok(Err(why)) if why.is_conflict() => {}
                Ok(Err(why)) => trouble(&why),
                Err(_) => {}
            }
            let leads = self.renewed.is_some_and(|at| at.elapsed() < allowed);
            tell.send_if_modified(|told| std::mem::replace(told, leads) != leads);
            tokio::select! {
                () = sleep(self.election.term / 5) => {}
                _ = &mut resigned => break,
            }
        }
        tell.send_replace(false);
        if self.renewed.is_some()
            && let Err(why) = self.release().await
        {
            trouble(&why);
        }
    }

    /// Whether we hold the lease now.
    async fn attempt(&mut self) -> Result<bool, Error> {
        let lease = self.leases.get(&self.election.name).await?;
        let now = Instant::now();
        let step = self.decide(lease.as_ref(), now);
        match (step, lease) {
            (Step::Wait, _) => return Ok(false),
            (Step::Create, _) | (_, None) => {
                self.leases.create(&self.lease(&Value::Null, "", true)).await?;
            }
            (step, Some(lease)) => {
                let taken = self.lease(&lease.data["spec"], &version(&lease), step == Step::Take);
                self.leases.replace(&self.election.name, &taken).await?;
            }
        }
        Ok(true)
    }

    fn decide(&mut self, lease: Option<&Object>, now: Instant) -> Step {
        let Some(lease) = lease else { return Step::Create };
        let at = version(lease);
        let since = match &self.seen {
            Some((seen, since)) if *seen == at => *since,
            _ => self.seen.insert((at, now)).1,
        };
        let spec = &lease.data["spec"];
        let term = spec["leaseDurationSeconds"].as_u64().map_or(self.election.term, Duration::from_secs);
        match spec["holderIdentity"].as_str().unwrap_or_default() {
            "" => Step::Take,
            holder if holder == self.election.identity => Step::Renew,
            _ if now.saturating_duration_since(since) >= term => Step::Take,
            _ => Step::Wait,
        }
    }

    fn lease(&self, before: &Value, at: &str, take: bool) -> Value {
        let now = Timestamp::now();
        let now = format!("{now:.6}");
        let transitions = before["leaseTransitions"].as_u64().unwrap_or_default();
        let acquired = before["acquireTime"].as_str().filter(|_| !take).unwrap_or(&now);
        json!({
            "apiVersion": LEASES.api_version(),
            "kind": LEASES.kind,
            "metadata": {
                "name": self.election.name,
                "namespace": self.election.namespace,
                "resourceVersion": Some(at).filter(|at| !at.is_empty()),
            },
            "spec": {
                "holderIdentity": self.election.identity,
                "leaseDurationSeconds": self.election.term.as_secs().max(1),
                "acquireTime": acquired,
                "renewTime": now,
                "leaseTransitions": transitions + u64::from(take && !before.is_null()),
            },
        })
    }

    async fn release(&self) -> Result<(), Error> {
        let Some(lease) = self.leases.get(&self.election.name).await? else { return Ok(()) };
        if lease.data["spec"]["holderIdentity"] != self.election.identity {
            return Ok(());
        }
        let mut given_up = self.lease(&lease.data["spec"], &version(&lease), false);
        given_up["spec"]["holderIdentity"] = Value::from("");
        self.leases.replace(&self.election.name, &given_up).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::Client;

    fn campaign() -> Campaign {
        let client = Client::try_from(kube::Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
        let election = Election {
            namespace: "keyward".into(),
            name: "leader".into(),
            identity: "me".into(),
            term: Duration::from_secs(15),
        };
        Campaign {
            leases: Objects::new(client, &LEASES, Some("keyward")),
            election,
            seen: None,
            renewed: None,
        }
    }

    fn lease(holder: &str, at: &str) -> Object {
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "leader", "resourceVersion": at},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "leaseTransitions": 3},
        });
        serde_json::from_value(lease).unwrap()
    }

    #[tokio::test]
    async fn a_lease_is_taken_from_who_no_longer_renews_it() {
        let mut campaign = campaign();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(campaign.decide(None, start), Step::Create);
        assert_eq!(campaign.decide(Some(&lease("", "1")), start), Step::Take);
        assert_eq!(campaign.decide(Some(&lease("me", "2")), start), Step::Renew);
        assert_eq!(campaign.decide(Some(&lease("other", "3")), after(1)), Step::Wait);
        assert_eq!(campaign.decide(Some(&lease("other", "4")), after(14)), Step::Wait);
        assert_eq!(campaign.decide(Some(&lease("other", "4")), after(28)), Step::Wait);
        assert_eq!(campaign.decide(Some(&lease("other", "4")), after(29)), Step::Take);
    }

    #[tokio::test]
    async fn taking_is_counted_and_renewing_is_not() {
        let campaign = campaign();
        let before = lease("other", "7").data["spec"].clone();
        let taken = campaign.lease(&before, "7", true);
        assert_eq!(taken["spec"]["leaseTransitions"], 4);
        assert_eq!(taken["metadata"]["resourceVersion"], "7");
        let renewed = campaign.lease(&taken["spec"], "8", false);
        assert_eq!(renewed["spec"]["leaseTransitions"], 4);
        assert_eq!(renewed["spec"]["acquireTime"], taken["spec"]["acquireTime"]);
        assert_eq!(campaign.lease(&Value::Null, "", true)["spec"]["leaseTransitions"], 0);
    }
}
