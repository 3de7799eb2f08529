//! Tells watchers every change, in order.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use keyward_core::{Key, Rev};
use parking_lot::Mutex;

use crate::{Change, Sink};

/// How many past commits a late watcher can still be told.
const KEPT: usize = 1024;

/// The changes of one store, from the moment it was opened.
pub(crate) struct Feed(Arc<Mutex<State>>);

struct State {
    /// Every commit after this revision is in `recent`.
    known_from: Rev,
    recent: VecDeque<(Rev, Arc<[Key]>)>,
    watchers: Vec<Watcher>,
    next_id: u64,
}

struct Watcher {
    id: u64,
    after: Rev,
    sink: Sink,
}

impl Watcher {
    fn tell(&mut self, rev: Rev, keys: &Arc<[Key]>) {
        if rev > self.after {
            (self.sink)(Change::Keys(rev, Arc::clone(keys)));
        }
    }
}

impl Feed {
    /// A feed of what comes after `rev`.
    pub(crate) fn starting_at(rev: Rev) -> Feed {
        let state = State { known_from: rev, recent: VecDeque::new(), watchers: Vec::new(), next_id: 0 };
        Feed(Arc::new(Mutex::new(state)))
    }

    /// Tells everyone. Calls must come in the order of the revisions.
    pub(crate) fn publish(&self, changes: impl Iterator<Item = (Rev, Arc<[Key]>)>) {
        let mut state = self.0.lock();
        for (rev, keys) in changes {
            state.watchers.iter_mut().for_each(|watcher| watcher.tell(rev, &keys));
            state.recent.push_back((rev, keys));
            if state.recent.len() > KEPT
                && let Some((forgotten, _)) = state.recent.pop_front()
            {
                state.known_from = forgotten;
            }
        }
    }

    /// Tells `sink` what came after `from`, then everything to come. `newest` is the store's revision, which
    /// readers may see before it is published here.
    pub(crate) fn watch(&self, from: Rev, newest: Rev, sink: Sink) -> Watch {
        let mut state = self.0.lock();
        let id = state.next_id;
        state.next_id += 1;
        let mut watcher = Watcher { id, after: from, sink };
        // A revision this store never had comes from another one's life, before a restore perhaps.
        if from < state.known_from || from > newest {
            watcher.after = 0;
            (watcher.sink)(Change::Lost);
        } else {
            state.recent.iter().for_each(|(rev, keys)| watcher.tell(*rev, keys));
        }
        state.watchers.push(watcher);
        Watch { feed: Arc::downgrade(&self.0), id }
    }
}

/// One watcher's registration. Dropping it changes nothing: the sink goes on being called.
pub struct Watch {
    feed: Weak<Mutex<State>>,
    id: u64,
}

impl Watch {
    /// Drops the sink; it is not called again once this returns. Must not be called from a sink.
    pub fn stop(self) {
        let Some(feed) = self.feed.upgrade() else { return };
        feed.lock().watchers.retain(|watcher| watcher.id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> (Sink, Arc<Mutex<Vec<Change>>>) {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&heard);
        (Box::new(move |change| sink.lock().push(change)), heard)
    }

    fn one(rev: Rev) -> (Rev, Arc<[Key]>) {
        (rev, Arc::from([vec![1]]))
    }

    #[test]
    fn what_was_forgotten_is_lost() {
        let feed = Feed::starting_at(10);
        feed.publish((11..=11 + KEPT as u64).map(one));
        let (sink, heard) = told();
        let newest = 11 + KEPT as u64;
        feed.watch(10, newest, sink);
        assert_eq!(*heard.lock(), [Change::Lost]);
        let (sink, heard) = told();
        feed.watch(11, newest, sink);
        assert_eq!(heard.lock().len(), KEPT);
        let (sink, heard) = told();
        feed.watch(newest + 1, newest, sink);
        feed.publish([one(newest + 1)].into_iter());
        assert_eq!(heard.lock().len(), 2);
        assert_eq!(heard.lock()[0], Change::Lost);
    }

    #[test]
    fn what_was_seen_before_it_was_told_is_not_told() {
        let feed = Feed::starting_at(0);
        let (sink, heard) = told();
        feed.watch(1, 1, sink);
        feed.publish([one(1), one(2)].into_iter());
        assert_eq!(*heard.lock(), [Change::Keys(2, one(2).1)]);
    }

    #[test]
    fn a_stopped_watch_is_not_told() {
        let feed = Feed::starting_at(0);
        let (sink, heard) = told();
        let watch = feed.watch(0, 0, sink);
        feed.publish([one(1)].into_iter());
        watch.stop();
        feed.publish([one(2)].into_iter());
        assert_eq!(heard.lock().len(), 1);
    }
}
