//! A store in memory, for domains that are handed a snapshot.

use keyward_core::{Batch, Each, Entry, Fault, Key, LIMITS, Rev, View, Want};
use std::collections::BTreeMap;

/// One map, one revision; reading it is its own snapshot, since nothing else changes it meanwhile.
#[derive(Clone, Debug, Default)]
pub struct MapStore {
    rev: Rev,
    entries: BTreeMap<Key, Entry>,
}

impl MapStore {
    /// Applies `batch` whole, or says why not.
    pub fn commit(&mut self, batch: Batch) -> Result<Rev, Fault> {
        batch.check(&LIMITS)?;
        for (key, want) in &batch.wants {
            let holds = match (want, self.entries.get(key)) {
                (Want::Absent, None) => true,
                (Want::At(rev), Some(entry)) => entry.rev == *rev,
                _ => false,
            };
            if !holds {
                return Err(Fault::Conflict(key.clone()));
            }
        }
        if batch.is_empty() {
            return Ok(self.rev);
        }
        self.rev += 1;
        for (key, value) in batch.puts {
            self.entries.insert(key, Entry { value: value.into(), rev: self.rev });
        }
        for key in &batch.deletes {
            self.entries.remove(key);
        }
        Ok(self.rev)
    }

    /// Every key and value, for tests that look for what must not be there.
    pub fn entries(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.entries.iter()
    }

    /// Puts `value` at `key` past every rule, as someone with the disk in hand could.
    pub fn tamper(&mut self, key: &[u8], value: &[u8]) {
        self.rev += 1;
        self.entries.insert(key.to_vec(), Entry { value: value.into(), rev: self.rev });
    }
}

impl View for MapStore {
    fn rev(&self) -> Rev {
        self.rev
    }

    fn get(&self, key: &[u8]) -> Result<Option<Entry>, Fault> {
        Ok(self.entries.get(key).cloned())
    }

    fn keys(&self, prefix: &[u8], after: &[u8], each: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), Fault> {
        View::entries(self, prefix, after, &mut |key, _, _| each(key))
    }

    fn entries(&self, prefix: &[u8], after: &[u8], each: &mut Each<'_>) -> Result<(), Fault> {
        let from = if after < prefix { prefix } else { after };
        let entries = self.entries.range(from.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
        for (key, entry) in entries.filter(|(key, _)| key.as_slice() > after) {
            if !each(key, entry.rev, &entry.value) {
                break;
            }
        }
        Ok(())
    }
}
