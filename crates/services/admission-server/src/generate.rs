//! What policies make because something else is there. Work waits in memory, once for each rule and trigger, and is bounded: the
//! next scan offers again what found no place. Nothing is written to the cluster to remember it.

use crate::log;
use crate::metrics::Metrics;
use crate::world::World;
use keyward_kubernetes::{Cluster, Error, Kind};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Pieces of work that may wait.
const WAITING: usize = 10_000;
/// How often a piece of work is tried before it is left to the next scan.
const ATTEMPTS: u32 = 6;
const MANAGER: &str = "keyward-policy";

/// Which rule of which policy, for which trigger.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Cause {
    pub(crate) policy: String,
    pub(crate) rule: Arc<str>,
    /// The trigger's kind, namespace, name and uid.
    pub(crate) trigger: [String; 4],
}

#[derive(Clone, Debug)]
struct Work {
    objects: Vec<Value>,
    synchronize: bool,
    attempts: u32,
}

/// What is to be made.
// house: one lock for both, which are changed together.
pub(crate) struct Queue {
    cluster: Cluster,
    world: Arc<World>,
    metrics: Arc<Metrics>,
    waiting: Mutex<(VecDeque<Cause>, HashMap<Cause, Work>)>,
    more: Notify,
}

impl Queue {
    pub(crate) fn new(cluster: Cluster, world: Arc<World>, metrics: Arc<Metrics>) -> Queue {
        Queue { cluster, world, metrics, waiting: Mutex::default(), more: Notify::new() }
    }

    /// Asks for objects. What the same rule asked for before for the same trigger is forgotten.
    pub(crate) fn put(&self, cause: Cause, objects: Vec<Value>, synchronize: bool) {
        self.push(cause, Work { objects, synchronize, attempts: 0 });
    }

    fn push(&self, cause: Cause, work: Work) {
        let mut waiting = self.waiting.lock();
        let (order, works) = &mut *waiting;
        if works.len() >= WAITING && !works.contains_key(&cause) {
            self.metrics.generations_deferred.add(1);
            return;
        }
        if works.insert(cause.clone(), work).is_none() {
            order.push_back(cause);
        }
        self.metrics.generations_waiting.set(works.len() as u64);
        self.more.notify_one();
    }

    fn pop(&self) -> Option<(Cause, Work)> {
        let mut waiting = self.waiting.lock();
        let (order, works) = &mut *waiting;
        let cause = order.pop_front()?;
        let work = works.remove(&cause);
        self.metrics.generations_waiting.set(works.len() as u64);
        work.map(|work| (cause, work))
    }

    /// Works for as long as it is awaited.
    pub(crate) async fn run(self: Arc<Queue>) {
        loop {
            let Some((cause, mut work)) = self.pop() else {
                self.more.notified().await;
                continue;
            };
            let Err(why) = self.make(&cause, &work).await else {
                self.metrics.generations_done.add(1);
                continue;
            };
            work.attempts += 1;
            log::warn(&format!("{}/{} makes nothing for {}: {why}", cause.policy, cause.rule, cause.trigger[2]));
            if work.attempts < ATTEMPTS {
                let queue = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_secs(1 << work.attempts)).await;
                    // What was asked for in the meantime is newer.
                    if !queue.waiting.lock().1.contains_key(&cause) {
                        queue.push(cause, work);
                    }
                });
            }
        }
    }

    async fn make(&self, cause: &Cause, work: &Work) -> Result<(), Error> {
        for object in &work.objects {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
            let name = text(&object["metadata"]["name"]);
            let Some(kind) = self.kind(&version, &kind) else {
                log::warn(&format!("{}/{}: {version} {kind} is not served", cause.policy, cause.rule));
                continue;
            };
            let namespace = object["metadata"]["namespace"].as_str();
            let objects = self.cluster.objects(&kind, namespace);
            let labelled = labelled(object, cause);
            if work.synchronize {
                objects.apply(MANAGER, &labelled).await?;
                continue;
            }
            match objects.create(&labelled).await {
                // It is there: what becomes of it is no longer the policy's business.
                Err(why) if why.is_conflict() => {}
                done => drop(done?),
            }
        }
        Ok(())
    }

    fn kind(&self, version: &str, kind: &str) -> Option<Kind> {
        self.world.catalog.load().named(version, kind).cloned()
    }
}

/// With labels that say where it came from, as Kyverno has them.
fn labelled(object: &Value, cause: &Cause) -> Value {
    let mut object = object.clone();
    if !object["metadata"]["labels"].is_object() {
        object["metadata"]["labels"] = json!({});
    }
    let [kind, namespace, name, uid] = &cause.trigger;
    let (of, policy) = cause.policy.split_once('/').unwrap_or(("", &cause.policy));
    for (label, value) in [
        ("policy-name", policy),
        ("policy-namespace", of),
        ("rule-name", &*cause.rule),
        ("trigger-kind", kind),
        ("trigger-namespace", namespace),
        ("trigger-uid", uid),
    ] {
        // A label has at most 63 bytes.
        object["metadata"]["labels"][format!("generate.kyverno.io/{label}")] =
            json!(&value[..value.floor_char_boundary(63)]);
    }
    object["metadata"]["labels"]["app.kubernetes.io/managed-by"] = json!("keyward-policy");
    object["metadata"]["annotations"]["generate.kyverno.io/trigger-name"] = json!(name);
    object
}
