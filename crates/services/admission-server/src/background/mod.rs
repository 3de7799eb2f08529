//! What policies do besides answering reviews: make objects, change others, remove what is over. The leader does it.
//!
//! Watches say what happened and a [`queue`] has what is to be done about it, by name; whoever does it reads the objects anew and
//! asks the policy. So nothing is written to the cluster to remember work, and a restart finds it out again: what is there of
//! what was made says of itself where it came from ([`downstream`]), and a Lease says until when everything was seen to
//! ([`mark`]).
//!
//! `triggers` watches what policies are for, `upkeep` what was made, `sources` what copies are made from; `generate`, `mutate` and
//! `remove` do the work; `schedules` and `expiry` know when something is to be removed. Only what reviews alone tell is done by
//! whoever answers them (`requested`).

mod downstream;
mod expiry;
mod generate;
mod mark;
mod mutate;
mod queue;
mod remove;
mod requested;
mod schedules;
mod sources;
mod triggers;
mod upkeep;
mod work;

use crate::computing::Patience;
use crate::events::Outbox;
use crate::log::{self, Wall};
use crate::metrics::Metrics;
use crate::policies::{Entry, Set};
use crate::sources::Known;
use crate::world::World;
use downstream::Downstreams;
use keyward_admission::{Operation, Request};
use keyward_core::Clock as _;
use keyward_kubernetes::{Cluster, Error, Key, Kind, Object, Objects};
use mark::Mark;
use parking_lot::Mutex;
use queue::{Queue, STUCK};
pub(crate) use requested::{Full, Requested};
use serde_json::{Value, json};
use sources::Sources;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;
use work::{Reference, Work};

/// Pieces of work that are done at a time.
const WORKERS: usize = 4;
/// How long a policy may take to decide about one object.
const LIMIT: Duration = Duration::from_secs(30);
/// How often it is noted until when everything was seen to.
const NOTE: Duration = Duration::from_secs(5);
/// Changes of our own that are remembered; all are forgotten when there are more.
const REMEMBERED: usize = 10_000;

/// What is needed to do it.
#[derive(Clone)]
pub(crate) struct Background {
    pub(crate) cluster: Cluster,
    pub(crate) known: Known,
    pub(crate) world: Arc<World>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) outbox: Outbox,
    /// Namespaces that are left alone.
    pub(crate) exempt: Arc<HashSet<String>>,
    /// Our own namespace, where the Lease is.
    pub(crate) namespace: String,
    pub(crate) identity: String,
    /// After how long everything that was made is looked at again.
    pub(crate) every: Duration,
}

impl Background {
    /// Works for as long as it is awaited, while we lead.
    pub(crate) async fn run(self, mut leads: watch::Receiver<bool>) {
        loop {
            let _ = leads.wait_for(|leads| *leads).await;
            tokio::select! {
                () = self.lead() => {}
                _ = leads.wait_for(|leads| !*leads) => {}
            }
        }
    }

    async fn lead(&self) {
        let mut generations = self.known.generation.subscribe();
        let _ = generations.wait_for(|generation| *generation > 0).await;
        let mark = Mark::new(&self.cluster, &self.namespace, &self.identity);
        let since = mark.read().await;
        let desk = Arc::new(Desk::new(self.clone()));
        let mut tasks = JoinSet::new();
        for _ in 0..WORKERS {
            tasks.spawn(desk.clone().work());
        }
        tasks.spawn(sources::follow(desk.clone()));
        tasks.spawn(upkeep::follow(desk.clone()));
        tasks.spawn(schedules::follow(desk.clone()));
        let settled = triggers::Settled::default();
        tasks.spawn(triggers::follow(desk.clone(), since, settled.clone()));
        loop {
            tokio::time::sleep(NOTE).await;
            desk.queue.count_stuck();
            self.metrics.work.generated.set(desk.downstreams.count() as u64);
            if settled.all() && desk.queue.is_idle() {
                mark.write(Wall.now()).await;
            }
        }
    }
}

/// What all of them share while we lead.
struct Desk {
    around: Background,
    queue: Queue,
    downstreams: Downstreams,
    sources: Sources,
    /// The versions that our changes of others' objects led to, so that they are no reason for further ones.
    written: Mutex<HashMap<Reference, String>>,
}

/// Why a piece of work could not be done, for now.
struct Failure(String);

impl From<Error> for Failure {
    fn from(why: Error) -> Failure {
        Failure(why.to_string())
    }
}

impl From<String> for Failure {
    fn from(why: String) -> Failure {
        Failure(why)
    }
}

impl Desk {
    fn new(around: Background) -> Desk {
        Desk {
            queue: Queue::new(around.metrics.clone()),
            around,
            downstreams: Downstreams::default(),
            sources: Sources::default(),
            written: Mutex::default(),
        }
    }

    /// Does one piece of work after the other.
    async fn work(self: Arc<Desk>) {
        loop {
            let taken = self.queue.take().await;
            let set = self.around.known.set.load_full();
            let done = match &taken.work {
                Work::Generate { policy, trigger } => {
                    self.generate(&set, policy, trigger, &taken.extent).await
                }
                Work::Mutate { policy, trigger } => self.mutate(&set, policy, trigger, &taken.extent).await,
                Work::Remove { policy, object } => self.remove(&set, policy.as_deref(), object).await,
            };
            self.around.metrics.worked(taken.work.task(), done.is_ok());
            if let Err(Failure(why)) = &done {
                self.tell_failure(&set, &taken.work, taken.attempts + 1, why);
            }
            self.queue.done(taken, done.is_err());
        }
    }

    /// Failures are told when they begin, and again as an Event when they seem to stay.
    fn tell_failure(&self, set: &Set, work: &Work, attempts: u32, why: &str) {
        if attempts == 1 || attempts == STUCK {
            log::warn(&format!("{work}: {why}; attempt {attempts}"));
        }
        let entry = work.policy().and_then(|policy| entry(set, policy));
        if let Some(entry) = entry.filter(|_| attempts >= STUCK) {
            self.around.outbox.stuck(entry, work.task(), &format!("{work}: {why}"));
        }
    }

    fn served(&self, object: &Reference) -> Result<Kind, Failure> {
        let kind = object.served(&self.around.world.outside.catalog.load());
        kind.ok_or_else(|| {
            Failure(format!("{} of the group {:?} is not served", object.kind, &*object.group))
        })
    }

    fn objects(&self, kind: &Kind, object: &Reference) -> Objects {
        self.around.cluster.objects(kind, Some(&*object.namespace).filter(|name| !name.is_empty()))
    }

    fn is_exempt(&self, object: &Reference) -> bool {
        self.around.exempt.contains(object.within())
    }

    /// A request about an object that is there, as if that were done with it. Nobody is known to ask.
    fn request(&self, kind: &Kind, object: Value, operation: Operation) -> Request {
        let namespace =
            object["metadata"]["namespace"].as_str().and_then(|name| self.around.world.namespace(name));
        let mut request = Request::of_object(object, operation);
        if operation == Operation::Update {
            // What was there before is not known, which is not what is there now.
            request.set_variable("request.oldObject", Value::Null);
        }
        request
            .with_resource(&kind.plural)
            .with_namespace(namespace)
            // A rule for some users is not one for everybody.
            .with_user(json!({"groups": []}), json!([]), json!([]))
    }

    /// Remembers that an object is as we wrote it.
    fn remember(&self, object: Reference, version: Option<String>) {
        let mut written = self.written.lock();
        if written.len() >= REMEMBERED {
            written.clear();
        }
        written.insert(object, version.unwrap_or_default());
    }

    /// Whether an object is as we wrote it.
    fn wrote(&self, object: &Reference, version: &str) -> bool {
        self.written.lock().get(object).is_some_and(|written| written == version)
    }
}

/// The policy of this name.
fn entry<'s>(set: &'s Set, policy: &str) -> Option<&'s Entry> {
    set.entries.iter().find(|entry| entry.key() == policy)
}

/// When a decision is given up.
fn patience() -> Patience {
    Patience::of_work(Instant::now() + LIMIT)
}

fn reference_of(kind: &Kind, object: &Object) -> Reference {
    Reference::new(kind, &Key::of(object))
}
