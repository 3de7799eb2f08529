//! Writing to the only device in place: whoever comes while another one writes leaves the record with them, and all
//! that were left are written at once. Nobody sleeps over a lock, and a busy log costs fewer writes.

use super::output::{Output, Status};
use keyward_authority::audit::Record;
use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use tokio::sync::oneshot;

/// How many who wait are written for at once at most.
const TOGETHER: usize = 64;
/// How often one writer goes on for others before another task takes over.
const ROUNDS: usize = 8;

/// Shared with the task that takes over.
#[derive(Clone)]
pub(super) struct Direct(Arc<Shared>);

// house: three locks: a record can be left while another one is written, and the output is shared with its thread
struct Shared {
    /// Held by whoever writes. The output has a lock of its own, which a device that had a thread until now may still
    /// hold for a moment.
    turn: Mutex<()>,
    output: Arc<Mutex<Output>>,
    status: Arc<Status>,
    left: Mutex<Vec<Left>>,
}

/// Records left with whoever writes, and who waits for them.
struct Left {
    records: Vec<Record>,
    written: oneshot::Sender<bool>,
}

impl Direct {
    pub(super) fn new(output: Arc<Mutex<Output>>, status: Arc<Status>) -> Direct {
        Direct(Arc::new(Shared { turn: Mutex::default(), output, status, left: Mutex::default() }))
    }

    /// Writes `records` if nobody else is writing. Answers whether they were taken.
    pub(super) fn write_now(&self, records: &[&Record]) -> Option<bool> {
        let turn = self.0.turn.try_lock()?;
        let written = self.0.output.lock().write_all(records, &self.0.status).is_ok();
        self.write_left(turn);
        Some(written)
    }

    /// Has `records` written by whoever writes next. Answers whether they were taken.
    pub(super) async fn write(&self, records: Vec<Record>) -> bool {
        let (sender, written) = oneshot::channel();
        self.0.left.lock().push(Left { records, written: sender });
        // Whose turn it was may have looked for the last time before the records were left.
        if let Some(turn) = self.0.turn.try_lock() {
            self.write_left(turn);
        }
        written.await.unwrap_or(false)
    }

    /// Writes what others left. Looks once more after the turn is over: what is left before is found by this one, what
    /// is left after by its own writer.
    fn write_left(&self, turn: MutexGuard<'_, ()>) {
        let mut held = Some(turn);
        for _ in 0..ROUNDS {
            let Some(turn) = held.take().or_else(|| self.0.turn.try_lock()) else { return };
            self.0.write_some();
            drop(turn);
            if self.0.left.lock().is_empty() {
                return;
            }
        }
        let next = self.clone();
        tokio::spawn(async move {
            if let Some(turn) = next.0.turn.try_lock() {
                next.write_left(turn);
            }
        });
    }
}

impl Shared {
    fn write_some(&self) {
        let some: Vec<Left> = {
            let mut left = self.left.lock();
            let most = left.len().min(TOGETHER);
            left.drain(..most).collect()
        };
        if some.is_empty() {
            return;
        }
        let records: Vec<&Record> = some.iter().flat_map(|left| &left.records).collect();
        let written = self.output.lock().write_all(&records, &self.status).is_ok();
        for left in some {
            let _ = left.written.send(written);
        }
    }
}
