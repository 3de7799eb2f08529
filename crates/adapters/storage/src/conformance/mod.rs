//! What every store must do, as one list of checks.
//!
//! `keyward_storage::conformance_suite!(fresh)` makes a test of each, where `fresh` is a [`Fresh`]. The checks use
//! nothing but the [`Store`] trait, and no runtime. They panic on the first thing that is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "its callers are tests")]

mod concurrent;
mod histories;
mod single;

use std::any::Any;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use keyward_core::{Batch, Entry, Fault, Key, Rev, Want};

use crate::{Store, read};

pub use concurrent::*;
pub use histories::*;
pub use single::*;

/// Makes an empty store, and what has to live as long as it does.
pub type Fresh = fn() -> (Arc<dyn Store>, Box<dyn Any>);

/// Makes a test of every check, for the stores that `$fresh` (a [`Fresh`](crate::conformance::Fresh)) makes.
#[macro_export]
macro_rules! conformance_suite {
    ($fresh:path) => {
        $crate::conformance_suite! { $fresh:
            keys_are_ordered_by_their_bytes
            a_listing_starts_and_stops_where_told
            pages_keep_their_place_while_keys_come_and_go
            empty_values_exist
            wants_hold_or_nothing_happens
            limits_are_exact
            an_empty_batch_writes_nothing
            revisions_grow_and_mark_entries
            batches_are_found_by_their_id
            watchers_hear_every_commit_once_in_order
            a_watch_begins_where_told_and_stops
            a_look_returns_what_its_function_does
            no_update_is_lost
            no_write_is_skewed
            no_phantom_gets_past_an_epoch
            a_snapshot_stands_still
            a_later_look_shows_no_less
            watchers_hear_concurrent_commits_in_order
            random_histories_match_the_model
            concurrent_histories_have_one_order
        }
    };
    ($fresh:path: $($check:ident)*) => {
        $(
            #[test]
            fn $check() {
                $crate::conformance::$check($fresh);
            }
        )*
    };
}

/// Waits for a future on this thread, without any runtime.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Commits and waits.
pub fn commit(store: &dyn Store, batch: Batch) -> Result<Rev, Fault> {
    block_on(store.commit(batch))
}

/// A batch of puts.
pub fn puts<K: Into<Key>, V: Into<Vec<u8>>>(entries: impl IntoIterator<Item = (K, V)>) -> Batch {
    let puts = entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
    Batch { puts, ..Batch::default() }
}

/// The entry at `key`.
pub fn get(store: &dyn Store, key: &[u8]) -> Option<Entry> {
    read(store, |view| view.get(key)).unwrap()
}

/// All keys under `prefix`.
pub fn list(store: &dyn Store, prefix: &[u8]) -> Vec<Key> {
    read(store, |view| keys(view, prefix)).unwrap()
}

fn keys(view: &dyn keyward_core::View, prefix: &[u8]) -> Result<Vec<Key>, Fault> {
    let mut found = Vec::new();
    view.keys(prefix, b"", &mut |key| {
        found.push(key.to_vec());
        true
    })?;
    Ok(found)
}

fn value(store: &dyn Store, key: &[u8]) -> Option<Vec<u8>> {
    get(store, key).map(|entry| entry.value.to_vec())
}

fn want(entry: &Option<Entry>) -> Want {
    entry.as_ref().map_or(Want::Absent, |entry| Want::At(entry.rev))
}

/// A number stored as text; an absent one is zero.
fn number(entry: &Option<Entry>) -> u64 {
    entry.as_ref().map_or(0, |entry| std::str::from_utf8(&entry.value).unwrap().parse().unwrap())
}
