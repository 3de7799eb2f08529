//! Writing to the only device in place, once for all requests of a thread that are ready together.
//!
//! The first that has a record lets the others that are ready go on first, and then writes what they have left
//! with theirs. A busy log costs fewer writes so, and whoever waits is woken on the thread it waits on.

use super::output::{Output, Status};
use keyward_authority::audit::Record;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::oneshot;
use tokio::task::yield_now;

/// How many of them are written at once at most.
const TOGETHER: usize = 64;
/// How often one makes room for others while somebody else writes, before it waits for that.
const PATIENCE: usize = 8;
/// Threads that leave records each in a place of their own; more than that share places.
const PLACES: usize = 8;

pub(super) struct Direct {
    output: Arc<Mutex<Output>>,
    status: Arc<Status>,
    places: [Mutex<Vec<Left>>; PLACES],
}

/// Records left with whoever writes, and who waits for them.
struct Left {
    records: Vec<Record>,
    written: oneshot::Sender<bool>,
}

impl Direct {
    pub(super) fn new(output: Arc<Mutex<Output>>, status: Arc<Status>) -> Direct {
        Direct { output, status, places: Default::default() }
    }

    /// Has `records` written. Answers whether they were taken.
    pub(super) async fn write(&self, records: Vec<Record>) -> bool {
        let place = &self.places[place()];
        let (sender, written) = oneshot::channel();
        let first = {
            let mut left = place.lock();
            left.push(Left { records, written: sender });
            left.len() == 1
        };
        if first {
            let writer = Writer { direct: self, place };
            for _ in 0..PATIENCE {
                yield_now().await;
                if !self.output.is_locked() {
                    break;
                }
            }
            drop(writer);
        }
        written.await.unwrap_or(false)
    }
}

/// Writes what was left at a place, also when the request that was first goes away.
struct Writer<'a> {
    direct: &'a Direct,
    place: &'a Mutex<Vec<Left>>,
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        let mut all = std::mem::take(&mut *self.place.lock());
        let mut output = self.direct.output.lock();
        while !all.is_empty() {
            let some = all.drain(..all.len().min(TOGETHER));
            let (records, waiting): (Vec<_>, Vec<_>) = some.map(|left| (left.records, left.written)).unzip();
            let records: Vec<&Record> = records.iter().flatten().collect();
            let written = output.write_all(&records, &self.direct.status).is_ok();
            for waiting in waiting {
                let _ = waiting.send(written);
            }
        }
    }
}

/// Where this thread leaves its records.
fn place() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static PLACE: usize = THREADS.fetch_add(1, Ordering::Relaxed) % PLACES;
    }
    PLACE.with(|place| *place)
}
