//! A store in memory: gone with the process, and the model other stores are held against.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use keyward_core::{Batch, BatchId, Each, Entry, Fault, Key, Rev, View, Want};
use parking_lot::{Mutex, RwLock};

use crate::feed::Feed;
use crate::{Commit, REMEMBERED, Sink, Status, Store, Watch, admit, first};

/// Keeps everything in one ordered map under one lock: readers share it, a commit has it alone.
#[derive(Clone)]
pub struct Memory(Arc<Inner>);

// house: two locks, since watchers look while a commit is told to them; see `committing`.
struct Inner {
    state: RwLock<State>,
    feed: Feed,
    /// Held from applying a commit to telling it, so that watchers hear the order of the revisions; not `state`
    /// itself, because watchers may look.
    committing: Mutex<()>,
}

#[derive(Default)]
struct State {
    rev: Rev,
    entries: BTreeMap<Key, Entry>,
    recent: VecDeque<(BatchId, Rev)>,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Memory {
        Memory(Arc::new(Inner {
            state: RwLock::new(State::default()),
            feed: Feed::starting_at(0),
            committing: Mutex::new(()),
        }))
    }
}

impl Default for Memory {
    fn default() -> Memory {
        Memory::new()
    }
}

impl Inner {
    fn apply(&self, batch: Batch) -> Result<Rev, Fault> {
        if !admit(&batch)? {
            return Ok(self.state.read().rev);
        }
        let _committing = self.committing.lock();
        let rev = self.state.write().apply(&batch)?;
        self.feed.publish([(rev, batch.changed().cloned().collect())].into_iter());
        Ok(rev)
    }
}

impl State {
    fn apply(&mut self, batch: &Batch) -> Result<Rev, Fault> {
        for (key, want) in &batch.wants {
            let holds = match (want, self.entries.get(key)) {
                (Want::Absent, found) => found.is_none(),
                (Want::At(rev), found) => found.is_some_and(|entry| entry.rev == *rev),
            };
            if !holds {
                return Err(Fault::Conflict(key.clone()));
            }
        }
        self.rev += 1;
        for (key, value) in &batch.puts {
            self.entries.insert(key.clone(), Entry { value: value.as_slice().into(), rev: self.rev });
        }
        for key in &batch.deletes {
            self.entries.remove(key);
        }
        self.recent.push_back((batch.id, self.rev));
        if self.recent.len() as u64 > REMEMBERED {
            self.recent.pop_front();
        }
        Ok(self.rev)
    }
}

impl View for State {
    fn rev(&self) -> Rev {
        self.rev
    }

    fn get(&self, key: &[u8]) -> Result<Option<Entry>, Fault> {
        Ok(self.entries.get(key).cloned())
    }

    fn keys(&self, prefix: &[u8], after: &[u8], each: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), Fault> {
        self.entries(prefix, after, &mut |key, _, _| each(key))
    }

    fn entries(&self, prefix: &[u8], after: &[u8], each: &mut Each<'_>) -> Result<(), Fault> {
        let start = first(prefix, after);
        let range = self.entries.range::<[u8], _>((Bound::Included(start.as_slice()), Bound::Unbounded));
        for (key, entry) in range {
            if !key.starts_with(prefix) || !each(key, entry.rev, &entry.value) {
                break;
            }
        }
        Ok(())
    }
}

impl Store for Memory {
    fn look(&self, f: &mut dyn FnMut(&dyn View) -> Result<(), Fault>) -> Result<(), Fault> {
        f(&*self.0.state.read())
    }

    fn commit(&self, batch: Batch) -> Commit {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { inner.apply(batch) })
    }

    fn watch(&self, from: Rev, sink: Sink) -> Result<Watch, Fault> {
        let newest = self.0.state.read().rev;
        Ok(self.0.feed.watch(from, newest, sink))
    }

    fn committed(&self, id: BatchId) -> Result<Option<Rev>, Fault> {
        let state = self.0.state.read();
        let found = state.recent.iter().rev().find(|(known, _)| *known == id);
        Ok(found.filter(|_| id != BatchId::default()).map(|(_, rev)| *rev))
    }

    fn backup(&self, _to: &Path) -> Result<Rev, Fault> {
        Err(Fault::Io("it is in memory only; a store that is to be backed up needs a folder".into()))
    }

    fn status(&self) -> Status {
        let rev = self.0.state.read().rev;
        Status { kind: "memory", rev, bytes: 0, full: false, poisoned: None }
    }
}
