//! Things built from stored entries once, not per request: the key ring, tokens, the mount table, compiled
//! policies, expanded transit keys.
//!
//! A memo is a pure function of the entry it was built from: it is kept under the entry's key and revision and
//! never served for another revision, so every node and every snapshot sees what its own store holds.

use keyward_core::Rev;
use quick_cache::sync::Cache;
use std::any::{Any, TypeId};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

type Built = (Rev, Arc<dyn Any + Send + Sync>);

/// A bounded cache of built things. Threads that share one would write to the same locks and counts of references with
/// every read, so each has one of a few parts, in which things are built for it.
pub struct Memo([Cache<(TypeId, Vec<u8>), Built>; PARTS]);

const PARTS: usize = 4;

thread_local! {
    static PART: usize = {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        THREADS.fetch_add(1, Ordering::Relaxed) % PARTS
    };
}

impl Memo {
    /// Keeps at most `items`.
    pub fn new(items: usize) -> Memo {
        Memo(std::array::from_fn(|_| Cache::new(items / PARTS)))
    }

    fn part(&self) -> &Cache<(TypeId, Vec<u8>), Built> {
        &self.0[PART.with(|part| *part)]
    }

    /// What was built as a `T` from the entry at `key` when it had revision `rev`.
    pub fn get<T: Send + Sync + 'static>(&self, key: &[u8], rev: Rev) -> Option<Arc<T>> {
        let (built_at, thing) = self.part().get(&Lookup(TypeId::of::<T>(), key))?;
        if built_at == rev { thing.downcast().ok() } else { None }
    }

    /// Keeps `thing`, built from the entry at `key` at revision `rev`.
    pub fn put<T: Send + Sync + 'static>(&self, key: &[u8], rev: Rev, thing: Arc<T>) {
        self.part().insert((TypeId::of::<T>(), key.to_vec()), (rev, thing));
    }
}

#[derive(Hash)]
struct Lookup<'a>(TypeId, &'a [u8]);

impl quick_cache::Equivalent<(TypeId, Vec<u8>)> for Lookup<'_> {
    fn equivalent(&self, key: &(TypeId, Vec<u8>)) -> bool {
        self.0 == key.0 && self.1 == key.1.as_slice()
    }
}
