//! Commits that wait a moment for each other.
//!
//! A flush of the disk costs as much processor time as half of what else making a database user takes of us, and what is
//! done outside is committed before, some of it after too. It takes milliseconds, so while several such acts are under way
//! those about to begin, or done, wait for each other and are flushed together. Whoever is alone waits for nobody.

use futures_util::future::join_all;
use keyward_core::{Batch, Fault, Rev};
use keyward_storage::{Commit, Store};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a commit waits for others at most, where there are enough of them; as long as an act takes where that is longer, for
/// then fewer come in that time.
const MOMENT: Duration = Duration::from_millis(8);
const LONGEST: Duration = Duration::from_millis(25);
/// Acts that may be under way without anybody waiting.
const FEW: usize = 4;

type Verdict = Result<Rev, Fault>;

struct Waiting {
    batch: Batch,
    answer: oneshot::Sender<Verdict>,
}

/// Those who wait now, and the number of times that somebody was waited for.
#[derive(Default)]
struct Gathering {
    waiting: Vec<Waiting>,
    round: u64,
}

/// See the module.
pub(crate) struct Company {
    store: Arc<dyn Store>,
    under_way: AtomicUsize,
    /// What an act took of late, in microseconds.
    took: AtomicU64,
    gathering: Mutex<Gathering>,
}

/// Somebody who has something done outside, from before it is recorded until after its result is.
pub(crate) struct Companion(Arc<Company>);

impl Drop for Companion {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Company {
    pub(crate) fn new(store: Arc<dyn Store>) -> Arc<Company> {
        Arc::new(Company {
            store,
            under_way: AtomicUsize::new(0),
            took: AtomicU64::new(0),
            gathering: Mutex::default(),
        })
    }

    fn moment(&self) -> Duration {
        Duration::from_micros(self.took.load(Ordering::Relaxed)).clamp(MOMENT, LONGEST)
    }

    /// One more, until the companion is dropped.
    pub(crate) fn join(self: &Arc<Company>) -> Companion {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        Companion(self.clone())
    }

    /// Commits with the others when it is the last that can come, else after a moment.
    fn gather(self: &Arc<Company>, one: Waiting) {
        let mut gathering = self.gathering.lock();
        gathering.waiting.push(one);
        if gathering.waiting.len() >= self.under_way.load(Ordering::Relaxed) {
            let all = gathering.close();
            drop(gathering);
            commit_all(|batch| self.store.commit(batch), all);
        } else if gathering.waiting.len() == 1 {
            tokio::spawn(close_later(self.clone(), gathering.round));
        }
    }
}

impl Companion {
    /// Its act took that long outside.
    pub(crate) fn took(&self, span: Duration) {
        let took = &self.0.took;
        let before = took.load(Ordering::Relaxed);
        // One of two who come at once is not counted.
        took.store(before - before / 8 + span.as_micros() as u64 / 8, Ordering::Relaxed);
    }

    /// Commits `batch` as [`Store::commit`] does, with those of others who come within a moment. Once it was polled the
    /// batch is committed whatever becomes of the future.
    pub(crate) async fn commit(&self, batch: Batch) -> Verdict {
        let company = &self.0;
        if company.under_way.load(Ordering::Relaxed) <= FEW {
            return company.store.commit(batch).await;
        }
        let (answer, verdict) = oneshot::channel();
        company.gather(Waiting { batch, answer });
        verdict.await.unwrap_or(Err(Fault::Unknown))
    }
}

impl Gathering {
    /// Nobody else joins those who wait.
    fn close(&mut self) -> Vec<Waiting> {
        self.round += 1;
        std::mem::take(&mut self.waiting)
    }
}

/// Commits what waits in `round`, unless everybody has come before.
async fn close_later(company: Arc<Company>, round: u64) {
    tokio::time::sleep(company.moment()).await;
    let all = {
        let mut gathering = company.gathering.lock();
        if gathering.round != round {
            return;
        }
        gathering.close()
    };
    commit_all(|batch| company.store.commit(batch), all);
}

/// Hands in all at once, before the store begins with the first.
fn commit_all(commit: impl Fn(Batch) -> Commit, all: Vec<Waiting>) {
    let commits = all.into_iter().map(|Waiting { batch, answer }| {
        let commit = commit(batch);
        // Who waited may be gone, and nobody else's commit waits for them.
        async move { drop(answer.send(commit.await)) }
    });
    tokio::spawn(join_all(commits));
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_storage::Memory;
    use tokio::sync::Barrier;
    use tokio::time::Instant;

    fn batch(name: &str) -> Batch {
        Batch { puts: vec![(name.as_bytes().to_vec(), b"x".to_vec())], ..Batch::default() }
    }

    /// How long `committing` of `companions` take.
    async fn span(companions: &[Arc<Companion>], committing: usize) -> Duration {
        let began = Instant::now();
        let all: Vec<_> = companions[..committing]
            .iter()
            .enumerate()
            .map(|(number, one)| {
                let one = one.clone();
                tokio::spawn(async move { one.commit(batch(&number.to_string())).await })
            })
            .collect();
        for one in all {
            one.await.unwrap().unwrap();
        }
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn many_wait_for_each_other_and_few_for_nobody() {
        let company = Company::new(Arc::new(Memory::new()));
        let mut companions: Vec<_> = (0..=FEW).map(|_| Arc::new(company.join())).collect();
        let most = companions.len();
        // Time goes on only where it is waited for.
        assert_eq!(span(&companions, most).await, Duration::ZERO);
        for committing in 1..most {
            let span = span(&companions, committing).await;
            assert!(span >= MOMENT && span < MOMENT * 2, "{committing}: {span:?}");
        }
        companions.pop();
        assert_eq!(span(&companions, 1).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn where_acts_take_long_commits_wait_longer() {
        let company = Company::new(Arc::new(Memory::new()));
        let companions: Vec<_> = (0..=FEW).map(|_| Arc::new(company.join())).collect();
        let slow = |millis| {
            for _ in 0..64 {
                companions[0].took(Duration::from_millis(millis));
            }
        };
        for (millis, moment) in [(2, MOMENT), (15, Duration::from_millis(15)), (400, LONGEST)] {
            slow(millis);
            let span = span(&companions, 1).await;
            assert!(span.abs_diff(moment) <= Duration::from_millis(2), "{millis}: {span:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn all_are_handed_in_before_the_first_is_done() {
        let barrier = Arc::new(Barrier::new(3));
        let (all, verdicts): (Vec<_>, Vec<_>) = (0..3)
            .map(|number| {
                let (answer, verdict) = oneshot::channel();
                (Waiting { batch: batch(&number.to_string()), answer }, verdict)
            })
            .unzip();
        let commit = |_| -> Commit {
            let barrier = barrier.clone();
            Box::pin(async move {
                barrier.wait().await;
                Ok(1)
            })
        };
        commit_all(commit, all);
        for verdict in verdicts {
            assert_eq!(tokio::time::timeout(MOMENT, verdict).await.unwrap(), Ok(Ok(1)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_has_a_verdict_of_its_own() {
        let company = Company::new(Arc::new(Memory::new()));
        let companions: Vec<_> = (0..=FEW).map(|_| company.join()).collect();
        let mut wrong = batch("other");
        wrong.wants.push((b"absent".to_vec(), keyward_core::Want::At(7)));
        let (one, two) = tokio::join!(companions[0].commit(batch("one")), companions[1].commit(wrong));
        assert_eq!((one, two), (Ok(1), Err(Fault::Conflict(b"absent".to_vec()))));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_goes_away_is_committed_all_the_same() {
        let store = Arc::new(Memory::new());
        let company = Company::new(store.clone());
        let companions: Vec<_> = (0..=FEW).map(|_| company.join()).collect();
        tokio::time::timeout(MOMENT / 2, companions[0].commit(batch("one"))).await.unwrap_err();
        companions[1].commit(batch("two")).await.unwrap();
        assert_eq!(store.status().rev, 2);
    }
}
