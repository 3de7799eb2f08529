//! A transaction is a value, not a session.
//!
//! A handler reads through a [`View`], one immutable snapshot, and yields a [`Batch`]: what it relied on and
//! what it writes. A store commits the batch whole or not at all. Because handlers are deterministic functions
//! of their snapshot they can be run again after a [`Fault::Conflict`], on any backend, without a session to
//! keep open in between.

use std::sync::Arc;

/// The store's revision: a counter that grows by at least one with every commit.
pub type Rev = u64;

/// A storage key: bytes, ordered lexicographically.
pub type Key = Vec<u8>;

/// Identifies one batch, so that a commit whose answer was lost can be looked up. All zeroes: not wanted.
pub type BatchId = [u8; 16];

/// A stored value and the revision of its last change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The bytes as stored: ciphertext, shared with the store's cache.
    pub value: Arc<[u8]>,
    /// The revision at which this key last changed.
    pub rev: Rev,
}

/// How large one batch may be. The same on every backend, so that what works on one works on all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Wants, puts and deletes together.
    pub operations: usize,
    /// Bytes of all keys and values together.
    pub bytes: usize,
    /// Bytes of one value.
    pub value: usize,
    /// Bytes of one key.
    pub key: usize,
}

/// The limits of the weakest backend that is planned (etcd: 128 operations, 1.5 MiB a request).
pub const LIMITS: Limits = Limits { operations: 100, bytes: 1024 * 1024, value: 512 * 1024, key: 2048 };

/// What a batch relies on for one key; the only concurrency control there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// The key does not exist.
    Absent,
    /// The key exists and last changed at this revision.
    At(Rev),
}

/// Checked and applied whole, or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// See [`BatchId`].
    pub id: BatchId,
    /// What must still hold when the batch is applied.
    pub wants: Vec<(Key, Want)>,
    /// Keys to write.
    pub puts: Vec<(Key, Vec<u8>)>,
    /// Keys to delete; deleting a key that is absent is not an error.
    pub deletes: Vec<Key>,
}

impl Batch {
    /// True when the batch changes nothing; its wants then need no checking either.
    pub fn is_empty(&self) -> bool {
        self.puts.is_empty() && self.deletes.is_empty()
    }

    /// Checks the batch against `limits`. A key named twice among the puts and deletes is refused as
    /// [`Fault::TooBig`] would be: the order in which backends apply them is not defined.
    pub fn check(&self, limits: &Limits) -> Result<(), Fault> {
        let operations = self.wants.len() + self.puts.len() + self.deletes.len();
        let bytes = self.wants.iter().map(|(key, _)| key.len()).sum::<usize>()
            + self.puts.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>()
            + self.deletes.iter().map(Vec::len).sum::<usize>();
        let fits = operations <= limits.operations
            && bytes <= limits.bytes
            && self.puts.iter().all(|(_, value)| value.len() <= limits.value)
            && self.keys().all(|key| !key.is_empty() && key.len() <= limits.key)
            && self.changes_each_key_once();
        if fits { Ok(()) } else { Err(Fault::TooBig) }
    }

    /// The keys this batch writes or deletes.
    pub fn changed(&self) -> impl Iterator<Item = &Key> {
        self.puts.iter().map(|(key, _)| key).chain(&self.deletes)
    }

    fn changes_each_key_once(&self) -> bool {
        let mut keys: Vec<&Key> = self.changed().collect();
        keys.sort_unstable();
        keys.is_sorted_by(|a, b| a < b)
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        self.wants.iter().map(|(key, _)| key).chain(self.changed())
    }
}

/// Why a read or a commit did not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A want no longer holds for this key: run the handler again on a new snapshot.
    Conflict(Key),
    /// The batch exceeds [`Limits`]. Nothing was written.
    TooBig,
    /// The disk is full. Nothing was written; reads go on, and writes resume when there is space.
    Full,
    /// The answer was lost after the batch was sent: it may or may not have been applied.
    Unknown,
    /// The store cannot be read or written; the text says why.
    Io(String),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Conflict(_) => f.write_str("another request changed the same entry at the same time"),
            Fault::TooBig => f.write_str("the request needs a larger transaction than the store allows"),
            Fault::Full => f.write_str(
                "the disk is full: writes are refused until there is space; reads are not affected",
            ),
            Fault::Unknown => f.write_str("the store was lost while it committed; the outcome is not known"),
            Fault::Io(why) => write!(f, "the store cannot be used: {why}"),
        }
    }
}

impl std::error::Error for Fault {}

/// Told of entries: key, revision and value. Answers whether it wants more.
pub type Each<'a> = dyn FnMut(&[u8], Rev, &[u8]) -> bool + 'a;

/// One immutable snapshot of a store.
pub trait View {
    /// The revision of the last commit this snapshot contains.
    fn rev(&self) -> Rev;

    /// The entry at `key`, if there is one.
    fn get(&self, key: &[u8]) -> Result<Option<Entry>, Fault>;

    /// Calls `each` with the keys that start with `prefix` and are greater than `after`, in order, until there
    /// are no more or `each` returns `false`. An empty `after` starts at the first key. Values are not fetched:
    /// listing a directory must not cost what reading it costs.
    fn keys(&self, prefix: &[u8], after: &[u8], each: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), Fault>;

    /// As [`View::keys`], with the revision at which each entry last changed and its value: for who reads all of a
    /// directory, which costs less in order than one by one.
    fn entries(&self, prefix: &[u8], after: &[u8], each: &mut Each<'_>) -> Result<(), Fault>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_measured_whole() {
        let mut batch = Batch::default();
        assert!(batch.is_empty());
        batch.puts = (0..LIMITS.operations).map(|i| (vec![1, i as u8], vec![0])).collect();
        assert_eq!(batch.check(&LIMITS), Ok(()));
        batch.wants.push((vec![9], Want::Absent));
        assert_eq!(batch.check(&LIMITS), Err(Fault::TooBig));
        let big = |len| Batch { puts: vec![(vec![1], vec![0; len])], ..Batch::default() };
        assert_eq!(big(LIMITS.value).check(&LIMITS), Ok(()));
        assert_eq!(big(LIMITS.value + 1).check(&LIMITS), Err(Fault::TooBig));
        let keyed = |len| Batch { deletes: vec![vec![7; len]], ..Batch::default() };
        assert_eq!(keyed(LIMITS.key).check(&LIMITS), Ok(()));
        assert_eq!(keyed(LIMITS.key + 1).check(&LIMITS), Err(Fault::TooBig));
        assert_eq!(keyed(0).check(&LIMITS), Err(Fault::TooBig));
        let twice = Batch { puts: vec![(vec![1], vec![]), (vec![2], vec![])], ..keyed(1) };
        assert_eq!(twice.check(&LIMITS), Ok(()));
        assert_eq!(Batch { deletes: vec![vec![2]], ..twice }.check(&LIMITS), Err(Fault::TooBig));
    }
}
