//! What a thread read last, as of one published revision.
//!
//! The shared cache costs each read a lock and a reference count, whose memory every other thread that reads writes
//! too: on two processors that is a tenth of what a request takes. Entries here are copies that no other thread touches.
//! They are true of the revision they were seen at and of no other, so a commit makes them all useless; one that turns
//! out not to have changed is marked anew.

use std::cell::RefCell;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use keyward_core::{Entry, Rev};
use quick_cache::DefaultHashBuilder;

/// Entries that a thread keeps: what every request needs, and a few of its own.
const SLOTS: usize = 64;
/// Bytes of the largest value that is copied: what is larger takes longer to decrypt than to look for.
const LARGEST: usize = 2048;

/// One store's, among those of a process.
pub(super) struct Near(u64);

struct Slot {
    store: u64,
    rev: Rev,
    key: Vec<u8>,
    entry: Option<Entry>,
}

struct Slots {
    hasher: DefaultHashBuilder,
    slots: [Option<Slot>; SLOTS],
}

impl Slots {
    fn at(&mut self, key: &[u8]) -> &mut Option<Slot> {
        let place = self.hasher.hash_one(key) as usize % SLOTS;
        &mut self.slots[place]
    }
}

thread_local! {
    static NEAR: RefCell<Slots> =
        RefCell::new(Slots { hasher: DefaultHashBuilder::default(), slots: [const { None }; SLOTS] });
}

impl Near {
    pub(super) fn new() -> Near {
        static STORES: AtomicU64 = AtomicU64::new(0);
        Near(STORES.fetch_add(1, Ordering::Relaxed))
    }

    /// What this thread knows of `key` at the revision `rev`: nothing, that it is absent, or its entry.
    pub(super) fn get(&self, key: &[u8], rev: Rev) -> Option<Option<Entry>> {
        NEAR.with_borrow_mut(|near| {
            let slot = near.at(key).as_ref()?;
            (slot.rev == rev && slot.store == self.0 && slot.key == key).then(|| slot.entry.clone())
        })
    }

    /// Keeps what was read at the revision `rev`.
    pub(super) fn keep(&self, key: &[u8], rev: Rev, entry: &Option<Entry>) {
        let store = self.0;
        NEAR.with_borrow_mut(|near| {
            let place = near.at(key);
            if let Some(slot) = place.as_mut().filter(|slot| slot.store == store && slot.key == key) {
                let changed = |entry: &Option<Entry>| entry.as_ref().map(|entry| entry.rev);
                if changed(&slot.entry) == changed(entry) {
                    slot.rev = rev;
                    return;
                }
            }
            *place = match entry {
                Some(entry) if entry.value.len() > LARGEST => return,
                // A count of references that is this thread's alone.
                Some(Entry { value, rev: since }) => {
                    Some(Some(Entry { value: value[..].into(), rev: *since }))
                }
                None => Some(None),
            }
            .map(|entry| Slot { store, rev, key: key.to_vec(), entry });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(rev: Rev, value: &[u8]) -> Option<Entry> {
        Some(Entry { value: value.into(), rev })
    }

    #[test]
    fn what_is_kept_is_true_of_its_revision_and_store_alone() {
        let (near, other) = (Near::new(), Near::new());
        near.keep(b"a", 5, &entry(1, b"one"));
        assert_eq!(near.get(b"a", 5), Some(entry(1, b"one")));
        assert_eq!((near.get(b"a", 6), near.get(b"b", 5), other.get(b"a", 5)), (None, None, None));
        // Read anew, and found to be the same or another.
        near.keep(b"a", 6, &entry(1, b"one"));
        assert_eq!((near.get(b"a", 5), near.get(b"a", 6)), (None, Some(entry(1, b"one"))));
        near.keep(b"a", 7, &entry(7, b"two"));
        assert_eq!(near.get(b"a", 7), Some(entry(7, b"two")));
        near.keep(b"a", 8, &None);
        assert_eq!(near.get(b"a", 8), Some(None));
        assert!(std::thread::scope(|scope| scope.spawn(|| near.get(b"a", 8)).join()).unwrap().is_none());
    }

    #[test]
    fn what_is_large_is_not_kept() {
        let near = Near::new();
        near.keep(b"a", 5, &entry(1, b"one"));
        near.keep(b"a", 6, &entry(6, &[0; LARGEST + 1]));
        assert_eq!((near.get(b"a", 5), near.get(b"a", 6)), (Some(entry(1, b"one")), None));
    }
}
