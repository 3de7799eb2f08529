//! What rules make and change because of what a review tells: who asks, what was there before, that something is deleted.
//!
//! The replica that answers the review does it, once the API server has done what was asked for: others may have refused it. The
//! review is in memory alone, so what a replica that is killed had not done yet is not done; one that stops does it first.

use super::downstream::LABEL;
use super::work::Reference;
use super::{Background, Desk, Failure, WORKERS, entry};
use crate::log;
use keyward_admission::{Operation, Request, RuleKind};
use keyward_kubernetes::Object;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What reviews may take that wait for their work to be done, in KiB.
const ROOM: u32 = 32 << 10;
/// Before each attempt, in milliseconds: at first for the API server to do what was asked for.
const WAITS: [u64; 10] = [100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 30_000, 60_000];
/// After so many attempts, 39 s, others have said what they say: what was asked for until then and not done was refused.
const REFUSED: usize = 8;
/// How long what is left may take when the replica stops.
const END: Duration = Duration::from_secs(5);

/// A policy by its key, and which of its tasks.
type Told = (RuleKind, Arc<str>);

/// See the module.
#[derive(Clone)]
pub(crate) struct Requested(Arc<Inner>);

struct Inner {
    desk: Desk,
    room: Arc<Semaphore>,
    hands: Semaphore,
}

/// More waits to be done than there is room for.
pub(crate) struct Full;

/// A request, and who is to be told of it.
struct Errand {
    request: Request,
    policies: Vec<Told>,
    _room: OwnedSemaphorePermit,
}

/// What a request that was done left: the object, or nothing where it was deleted.
type Left = Option<Box<Object>>;

impl Requested {
    pub(crate) fn new(around: Background) -> Requested {
        Requested(Arc::new(Inner {
            desk: Desk::new(around),
            room: Arc::new(Semaphore::new(ROOM as usize)),
            hands: Semaphore::new(WORKERS),
        }))
    }

    /// Takes a request that a review allows, for policies that it is a reason for.
    ///
    /// # Errors
    ///
    /// There is no room, and nothing is taken.
    pub(crate) fn take(&self, request: Request, policies: Vec<Told>) -> Result<(), Full> {
        let object = request.object();
        // What a policy made is no reason to make more.
        let made = !object["metadata"]["labels"][LABEL].is_null();
        if policies.is_empty() || made || self.0.desk.is_exempt(&Reference::of(object)) {
            return Ok(());
        }
        let size = u32::try_from(request.size() >> 10).map_or(ROOM, |size| (size + 1).min(ROOM));
        let room = self.0.room.clone().try_acquire_many_owned(size).map_err(|_| Full)?;
        let (inner, errand) = (self.0.clone(), Errand { request, policies, _room: room });
        tokio::spawn(async move { inner.run(errand).await });
        Ok(())
    }

    /// Waits until all is done, but not for long.
    pub(crate) async fn end(&self) {
        if tokio::time::timeout(END, self.0.room.acquire_many(ROOM)).await.is_err() {
            log::warn("not all is made and changed that reviews were a reason for: it is left");
        }
    }
}

impl Inner {
    async fn run(&self, mut errand: Errand) {
        let mut failed = Vec::new();
        for (attempt, wait) in (1..).zip(WAITS) {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            let Ok(_hand) = self.hands.acquire().await else { return };
            match self.attempt(&mut errand).await {
                Some(left) => failed = left,
                None if attempt >= REFUSED => return,
                None => {}
            }
            if errand.policies.is_empty() {
                return;
            }
        }
        let set = self.desk.around.known.set.load_full();
        for (policy, Failure(why)) in failed {
            let why = format!("{policy} is told of {}: {why}", Reference::of(errand.request.object()));
            log::warn(&why);
            if let Some(entry) = entry(&set, &policy) {
                self.desk.around.outbox.stuck(entry, "generate", &why);
            }
        }
    }

    /// Does what is left, and says what could not be done; None where the request is not done yet.
    async fn attempt(&self, errand: &mut Errand) -> Option<Vec<(Arc<str>, Failure)>> {
        let set = self.desk.around.known.set.load_full();
        let policies = || errand.policies.iter().map(|(_, policy)| policy.clone());
        let there = match self.outcome(&errand.request).await {
            Ok(Some(there)) => there,
            Ok(None) => return None,
            Err(Failure(why)) => {
                return Some(policies().map(|policy| (policy, Failure(why.clone()))).collect());
            }
        };
        let mut failed = Vec::new();
        let mut left = Vec::new();
        for (task, policy) in std::mem::take(&mut errand.policies) {
            let (done, named) = match task {
                RuleKind::ExistingMutation => {
                    (self.desk.mutate_for(&set, &policy, &errand.request).await, "mutate-existing")
                }
                _ => {
                    let there = there.as_deref();
                    (self.desk.generate_for(&set, &policy, &errand.request, there).await, "generate")
                }
            };
            self.desk.around.metrics.worked(named, done.is_ok());
            if let Err(why) = done {
                failed.push((policy.clone(), why));
                left.push((task, policy));
            }
        }
        errand.policies = left;
        Some(failed)
    }

    /// What is left once the API server did what was asked for; None where it did not yet, or never does.
    async fn outcome(&self, request: &Request) -> Result<Option<Left>, Failure> {
        let object = request.object();
        let name = Reference::of(object);
        let kind = self.desk.served(&name)?;
        let there = self.desk.objects(&kind, &name).get(&name.name).await?;
        let metadata = there.as_ref().map(|there| &there.metadata);
        let same = metadata.is_some_and(|there| is(&object["metadata"]["uid"], there.uid.as_deref()));
        let going = metadata.is_some_and(|there| there.deletion_timestamp.is_some());
        let done = match request.operation() {
            Operation::Delete => !same || going,
            Operation::Update => {
                let before = &request.old_object()["metadata"]["resourceVersion"];
                same && !going && metadata.is_some_and(|there| !is(before, there.resource_version.as_deref()))
            }
            Operation::Create | Operation::Connect => same && !going,
        };
        let left = there.filter(|_| request.operation() != Operation::Delete).map(Box::new);
        Ok(done.then_some(left))
    }
}

fn is(said: &Value, there: Option<&str>) -> bool {
    said.as_str().is_some_and(|said| Some(said) == there)
}
