//! Work that waits, in memory: each piece once, a bounded number of them, those that failed after longer and longer waits.
//!
//! Whoever asks for work waits while the queue is full, and so the watches behind it: nothing is dropped, and what a watch
//! misses by waiting too long it lists again. Only failing pieces beyond what is kept are dropped, and then
//! [`lost`](Queue::lost) says that everything is to be looked at anew.

use super::work::{Extent, Work};
use crate::log;
use crate::metrics::Metrics;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Pieces that may wait for their first attempt.
const WAITING: usize = 10_000;
/// Pieces that are tried again later.
const FAILING: usize = 10_000;
/// After how many attempts a piece counts as stuck.
pub(crate) const STUCK: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// See the module.
pub(crate) struct Queue {
    state: Mutex<State>,
    more: Notify,
    room: Notify,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct State {
    order: VecDeque<Work>,
    waiting: HashMap<Work, Pending>,
    /// By when they are tried again; the number tells two of one moment apart.
    later: BTreeMap<(Instant, u64), Work>,
    failing: HashMap<Work, (Pending, (Instant, u64))>,
    running: HashSet<Work>,
    /// Asked for again while it runs.
    again: HashMap<Work, Extent>,
    count: u64,
    lost: bool,
    told_full: bool,
}

struct Pending {
    extent: Extent,
    attempts: u32,
    since: Instant,
}

/// A piece that is being done.
pub(crate) struct Taken {
    pub(crate) work: Work,
    pub(crate) extent: Extent,
    /// How often it was tried before.
    pub(crate) attempts: u32,
    since: Instant,
}

impl Queue {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Queue {
        Queue { state: Mutex::default(), more: Notify::new(), room: Notify::new(), metrics }
    }

    /// Asks for work; waits while there is no room.
    pub(crate) async fn put(&self, work: Work, extent: Extent) {
        let (mut work, mut extent) = (work, extent);
        loop {
            let room = self.room.notified();
            match self.try_put(work, extent) {
                None => return,
                Some(back) => (work, extent) = back,
            }
            room.await;
        }
    }

    fn try_put(&self, work: Work, extent: Extent) -> Option<(Work, Extent)> {
        let mut state = self.state.lock();
        if state.running.contains(&work) {
            match state.again.get_mut(&work) {
                Some(known) => known.join(extent),
                None => {
                    state.again.insert(work, extent);
                }
            }
        } else if let Some(known) = state.waiting.get_mut(&work) {
            known.extent.join(extent);
        } else if state.order.len() >= WAITING {
            if !std::mem::replace(&mut state.told_full, true) {
                log::warn(&format!(
                    "{WAITING} pieces of work are waiting: watches are held up until some are done"
                ));
            }
            self.metrics.work.full.add(1);
            return Some((work, extent));
        } else {
            let mut pending = Pending { extent, attempts: 0, since: Instant::now() };
            if let Some((failed, at)) = state.failing.remove(&work) {
                state.later.remove(&at);
                pending.extent.join(failed.extent);
                (pending.attempts, pending.since) = (failed.attempts, failed.since);
            }
            state.enter(work, pending);
        }
        self.tell(&state);
        drop(state);
        self.more.notify_one();
        None
    }

    /// Waits for work.
    pub(crate) async fn take(&self) -> Taken {
        loop {
            let more = self.more.notified();
            let next = {
                let mut state = self.state.lock();
                match state.pop(Instant::now()) {
                    Ok(taken) => {
                        state.told_full &= state.order.len() > WAITING / 2;
                        self.tell(&state);
                        self.room.notify_one();
                        if !state.order.is_empty() {
                            self.more.notify_one();
                        }
                        return taken;
                    }
                    Err(next) => next,
                }
            };
            match next {
                Some(next) => drop(tokio::time::timeout_at(next, more).await),
                None => more.await,
            }
        }
    }

    /// Says what came of a piece. A failure is tried again later.
    pub(crate) fn done(&self, taken: Taken, failed: bool) {
        let mut state = self.state.lock();
        state.running.remove(&taken.work);
        let again = state.again.remove(&taken.work);
        let Taken { work, mut extent, attempts, since } = taken;
        match (failed, again) {
            (false, None) => {}
            (false, Some(extent)) => {
                state.enter(work, Pending { extent, attempts: 0, since: Instant::now() });
            }
            (true, again) => {
                if let Some(again) = again {
                    extent.join(again);
                }
                let pending = Pending { extent, attempts: attempts + 1, since };
                if state.failing.len() < FAILING {
                    state.fail(work, pending);
                } else {
                    state.lost = true;
                    self.metrics.work.deferred.add(1);
                }
            }
        }
        self.tell(&state);
        drop(state);
        self.more.notify_one();
    }

    /// Whether nothing is left to do.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.state.lock();
        state.order.is_empty() && state.failing.is_empty() && state.running.is_empty() && !state.lost
    }

    /// Whether work was dropped since this was last asked.
    pub(crate) fn lost(&self) -> bool {
        std::mem::take(&mut self.state.lock().lost)
    }

    fn tell(&self, state: &State) {
        self.metrics.work.waiting.set(state.order.len() as u64);
        self.metrics.work.failing.set(state.failing.len() as u64);
    }

    /// Counts what is stuck, which is looked through for it.
    pub(crate) fn count_stuck(&self) {
        let state = self.state.lock();
        let stuck = state.failing.values().filter(|(pending, _)| pending.attempts >= STUCK);
        let ages: Vec<Duration> = stuck.map(|(pending, _)| pending.since.elapsed()).collect();
        self.metrics.work.stuck.set(ages.len() as u64);
        self.metrics.work.stuck_seconds.set(ages.into_iter().max().unwrap_or_default().as_secs());
    }
}

impl State {
    fn enter(&mut self, work: Work, pending: Pending) {
        self.order.push_back(work.clone());
        self.waiting.insert(work, pending);
    }

    fn fail(&mut self, work: Work, pending: Pending) {
        self.count += 1;
        let wait =
            FIRST_WAIT.saturating_mul(1 << pending.attempts.saturating_sub(1).min(16)).min(LONGEST_WAIT);
        let at = (Instant::now() + wait, self.count);
        self.later.insert(at, work.clone());
        self.failing.insert(work, (pending, at));
    }

    /// The next piece, or when there is one.
    fn pop(&mut self, now: Instant) -> Result<Taken, Option<Instant>> {
        let due = self.later.first_key_value().map(|(at, _)| *at);
        let (work, pending) = match due.filter(|at| at.0 <= now) {
            Some(at) => {
                let work = self.later.remove(&at);
                work.and_then(|work| self.failing.remove(&work).map(|(pending, _)| (work, pending)))
            }
            None => self
                .order
                .pop_front()
                .and_then(|work| self.waiting.remove(&work).map(|pending| (work, pending))),
        }
        .ok_or(due.map(|at| at.0))?;
        self.running.insert(work.clone());
        let Pending { extent, attempts, since } = pending;
        Ok(Taken { work, extent, attempts, since })
    }
}

#[cfg(test)]
mod tests {
    use super::super::work::Reference;
    use super::*;
    use keyward_admission::Operation;

    fn work(name: &str) -> Work {
        let trigger =
            Reference { group: "".into(), kind: "Pod".into(), namespace: "n".into(), name: name.into() };
        Work::Generate { policy: "ClusterPolicy/p".into(), trigger }
    }

    fn queue() -> Queue {
        Queue::new(Arc::default())
    }

    #[tokio::test(start_paused = true)]
    async fn a_piece_is_done_once_however_often_it_is_asked_for() {
        let queue = queue();
        queue.put(work("a"), Extent::rules(["one".into()])).await;
        queue.put(work("a"), Extent::all(Operation::Update)).await;
        queue.put(work("a"), Extent::rules(["two".into()])).await;
        let taken = queue.take().await;
        assert_eq!((taken.extent.happened, taken.extent.rules.len()), (Some(Operation::Update), 2));
        // What is asked for while it is done is done afterwards, and by nobody at the same time.
        queue.put(work("a"), Extent::all(Operation::Update)).await;
        assert!(tokio::time::timeout(Duration::from_secs(60), queue.take()).await.is_err());
        queue.done(taken, false);
        let taken = queue.take().await;
        queue.done(taken, false);
        assert!(queue.is_idle());
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_is_tried_after_longer_and_longer_waits() {
        let queue = queue();
        queue.put(work("a"), Extent::all(Operation::Create)).await;
        let mut waits = Vec::new();
        for _ in 0..12 {
            let before = Instant::now();
            let taken = queue.take().await;
            waits.push(before.elapsed().as_secs());
            queue.done(taken, true);
        }
        assert_eq!(waits[..7], [0, 1, 2, 4, 8, 16, 32]);
        assert_eq!(waits[11], 300);
        queue.count_stuck();
        assert_eq!(queue.metrics.work.stuck.get(), 1);
        assert!(!queue.is_idle());
        // Something new about it is a reason to try at once.
        queue.put(work("a"), Extent::all(Operation::Update)).await;
        let before = Instant::now();
        let taken = queue.take().await;
        assert_eq!((before.elapsed().as_secs(), taken.attempts), (0, 12));
        assert_eq!(taken.extent.happened, Some(Operation::Create));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_holds_up_who_asks_and_loses_nothing() {
        let queue = Arc::new(queue());
        let asking = {
            let queue = queue.clone();
            tokio::spawn(async move {
                for number in 0..WAITING + 100 {
                    queue.put(work(&number.to_string()), Extent::all(Operation::Create)).await;
                }
            })
        };
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!asking.is_finished());
        assert_eq!(queue.metrics.work.waiting.get(), WAITING as u64);
        assert!(queue.metrics.work.full.get() > 0);
        let mut done = HashSet::new();
        for _ in 0..WAITING + 100 {
            let taken = queue.take().await;
            done.insert(taken.work.clone());
            queue.done(taken, false);
        }
        asking.await.unwrap();
        assert_eq!(done.len(), WAITING + 100);
        assert!(queue.is_idle() && !queue.lost());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_beyond_what_is_kept_are_told() {
        let queue = queue();
        for number in 0..=FAILING {
            queue.put(work(&number.to_string()), Extent::all(Operation::Create)).await;
            let taken = queue.take().await;
            queue.done(taken, true);
        }
        assert_eq!(
            (queue.metrics.work.failing.get(), queue.metrics.work.deferred.get()),
            (FAILING as u64, 1)
        );
        assert!(queue.lost() && !queue.lost());
    }
}
