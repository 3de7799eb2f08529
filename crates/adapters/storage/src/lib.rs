//! Stores that commit transactions as values.
//!
//! A [`Store`] shows immutable snapshots ([`Store::look`]), commits a [`Batch`] whole or not at all
//! ([`Store::commit`]) and tells every change in order ([`Store::watch`]). There is nothing else: no session, no
//! lock a client could hold, no partial result. Two stores are here: [`Memory`], simple enough to be the model
//! the others are held against, and [`Sqlite`], one folder on one machine.
//!
//! What a store keeps is ciphertext and names; this crate can neither read nor judge it.

#[cfg(feature = "conformance")]
pub mod conformance;
mod feed;
mod memory;
pub mod sqlite;

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

pub use feed::Watch;
pub use memory::Memory;
pub use sqlite::Sqlite;

use keyward_core::{Batch, BatchId, Fault, Key, LIMITS, Rev, View};

/// How many of the latest revisions [`Store::committed`] remembers batch ids for.
pub const REMEMBERED: u64 = 4096;

/// A commit under way. It needs no particular runtime. Nothing is sent before it is first polled; dropping it
/// later does not take the batch back.
pub type Commit = Pin<Box<dyn Future<Output = Result<Rev, Fault>> + Send>>;

/// What [`Store::watch`] calls with every change.
pub type Sink = Box<dyn FnMut(Change) + Send>;

/// What a watcher is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// One batch was committed at this revision and wrote or deleted these keys.
    Keys(Rev, Arc<[Key]>),
    /// Changes were missed: whatever was derived from the store must be dropped. Later ones follow as usual.
    Lost,
}

/// Facts about a store, for health answers and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// `"sqlite"` or `"memory"`.
    pub kind: &'static str,
    /// The revision of the last commit.
    pub rev: Rev,
    /// Bytes on disk, its log included; 0 in memory.
    pub bytes: u64,
    /// The last commit was refused for want of space; the next that succeeds clears this.
    pub full: bool,
    /// Why the store has refused everything since a write failed; the process should end and be started again.
    pub poisoned: Option<String>,
}

/// A transactional store of keys and values. `Arc<dyn Store>` is how the server holds one.
pub trait Store: Send + Sync + 'static {
    /// Runs `f` over one immutable snapshot and returns its outcome.
    ///
    /// `f` must be a deterministic function of the snapshot and short: it runs on the calling thread, may be run
    /// more than once, and must neither call this store nor wait for a commit, since commits may be waiting for
    /// it. The snapshot is at least as new as every commit acknowledged before the call, and as every earlier
    /// look. See [`read`] for a result.
    fn look(&self, f: &mut dyn FnMut(&dyn View) -> Result<(), Fault>) -> Result<(), Fault>;

    /// Commits `batch` whole, or not at all; ready once it is durable and every watcher has been told.
    ///
    /// The batch must be within [`LIMITS`], and waits its turn when the store's queue is full. An empty batch is
    /// answered with the present revision: its wants are not checked and nothing is written.
    fn commit(&self, batch: Batch) -> Commit;

    /// Calls `sink` with every commit after the revision `from`, this process's own included: each once, in
    /// order. [`Change::Lost`] comes first if the store no longer knows all of them.
    ///
    /// The sink is called where commits are made, so it must be quick and must neither commit nor watch nor
    /// stop a watch; it may look. It is kept until the store is dropped or the watch is stopped.
    fn watch(&self, from: Rev, sink: Sink) -> Result<Watch, Fault>;

    /// The revision at which the batch with this id was committed; `None` if it was not, or more than
    /// [`REMEMBERED`] revisions ago. Resolves a [`Fault::Unknown`].
    fn committed(&self, id: BatchId) -> Result<Option<Rev>, Fault>;

    /// Writes a consistent copy to the new file `to` while the store is in use, and returns its revision.
    fn backup(&self, to: &Path) -> Result<Rev, Fault>;

    /// Facts for health answers and metrics.
    fn status(&self) -> Status;
}

/// Runs `f` over one snapshot of `store` and returns what it returned. The rules of [`Store::look`] hold.
pub fn read<R>(store: &dyn Store, mut f: impl FnMut(&dyn View) -> Result<R, Fault>) -> Result<R, Fault> {
    let mut found = None;
    store.look(&mut |view| {
        found = None;
        found = Some(f(view)?);
        Ok(())
    })?;
    found.ok_or_else(|| Fault::Io("it returned without showing a snapshot".into()))
}

/// What every store asks of a batch before anything else: `true` when there is something to write.
fn admit(batch: &Batch) -> Result<bool, Fault> {
    batch.check(&LIMITS)?;
    Ok(!batch.is_empty())
}

/// The least key that is greater than every key starting with `prefix`; `None` when there is none.
fn past(prefix: &[u8]) -> Option<Key> {
    let kept = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=kept].to_vec();
    end[kept] += 1;
    Some(end)
}

/// The least key a listing of `prefix` after `after` may show.
fn first(prefix: &[u8], after: &[u8]) -> Key {
    if after < prefix {
        return prefix.to_vec();
    }
    // Only the empty key has no lesser neighbour, and it is never stored: `after` excluded is `after, 0` included.
    let mut start = after.to_vec();
    start.push(0);
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_a_listing() {
        assert_eq!(past(b"a/"), Some(b"a0".to_vec()));
        assert_eq!(past(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(past(b"\xff"), None);
        assert_eq!(past(b""), None);
        assert_eq!(first(b"a/", b""), b"a/".to_vec());
        assert_eq!(first(b"a/", b"a/"), b"a/\0".to_vec());
        assert_eq!(first(b"a/", b"a/b"), b"a/b\0".to_vec());
        assert_eq!(first(b"", b""), b"\0".to_vec());
    }
}
