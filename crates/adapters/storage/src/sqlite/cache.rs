//! Entries of the latest published revision, absent ones included.
//!
//! What is here is true as long as nobody inserts while the committer publishes; the lock around the published
//! revision sees to that.

use keyward_core::{Entry, Fault, Rev};
use quick_cache::sync::{Cache as QuickCache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

/// Bytes an entry takes beside its key and value: table slots, reference counts, allocator headers.
const OVERHEAD: u64 = 128;
/// Fixed, so that what fits does not depend on the number of processors: an eighth of the cache is the largest
/// value it keeps.
const SHARDS: usize = 8;

pub(super) struct Cache(QuickCache<Box<[u8]>, Option<Entry>, Weight>);

#[derive(Clone)]
struct Weight;

impl Weighter<Box<[u8]>, Option<Entry>> for Weight {
    fn weight(&self, key: &Box<[u8]>, entry: &Option<Entry>) -> u64 {
        let value = entry.as_ref().map_or(0, |entry| entry.value.len());
        OVERHEAD + (key.len() + value) as u64
    }
}

impl Cache {
    /// A cache of about `bytes` bytes.
    pub(super) fn new(bytes: usize) -> Result<Cache, Fault> {
        let options = OptionsBuilder::new()
            .shards(SHARDS)
            .weight_capacity(bytes as u64)
            .estimated_items_capacity((bytes / 512).max(SHARDS * 32))
            .build()
            .map_err(|error| Fault::Io(format!("the cache cannot be built: {error}")))?;
        let hasher = DefaultHashBuilder::default();
        Ok(Cache(QuickCache::with_options(options, Weight, hasher, DefaultLifecycle::default())))
    }

    /// What is known of `key`: nothing, that it is absent, or its entry.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<Entry>> {
        self.0.get(key)
    }

    /// Keeps what was read from the published revision.
    pub(super) fn keep(&self, key: &[u8], entry: &Option<Entry>) {
        self.0.insert(key.into(), entry.clone());
    }

    /// Follows a commit, for a key that is cached. One that is not stays so: it may never be read.
    pub(super) fn changed(&self, key: &[u8], rev: Rev, value: Option<&[u8]>) {
        if self.0.contains_key(key) {
            let entry = value.map(|value| Entry { value: value.into(), rev });
            // Refused when too large, and the old entry is then gone, which is as true.
            let _ = self.0.replace(key.into(), entry, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(rev: Rev, value: &[u8]) -> Option<Entry> {
        Some(Entry { value: value.into(), rev })
    }

    #[test]
    fn follows_what_it_holds_and_nothing_else() {
        let cache = Cache::new(1 << 20).unwrap();
        cache.keep(b"a", &entry(1, b"one"));
        cache.keep(b"b", &None);
        cache.changed(b"a", 2, None);
        cache.changed(b"b", 2, Some(b"two"));
        cache.changed(b"c", 2, Some(b"two"));
        assert_eq!(cache.get(b"a"), Some(None));
        assert_eq!(cache.get(b"b"), Some(entry(2, b"two")));
        assert_eq!(cache.get(b"c"), None);
    }

    #[test]
    fn a_value_too_large_to_keep_displaces_the_old_one() {
        let cache = Cache::new(1 << 16).unwrap();
        cache.keep(b"a", &entry(1, b"one"));
        cache.changed(b"a", 2, Some(&vec![0; 1 << 16]));
        assert_eq!(cache.get(b"a"), None);
        cache.keep(b"a", &entry(1, b"one"));
        cache.keep(b"a", &entry(2, &vec![0; 1 << 16]));
        assert_eq!(cache.get(b"a"), None);
    }

    #[test]
    fn stays_within_its_bounds() {
        let cache = Cache::new(1 << 18).unwrap();
        for i in 0..10_000u32 {
            cache.keep(&i.to_be_bytes(), &entry(1, &[0; 600]));
        }
        assert!(cache.0.weight() <= 1 << 18);
        assert!(cache.0.len() > 100);
    }
}
