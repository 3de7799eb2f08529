//! One handler's transaction: reads through a snapshot and its own writes, and what comes of it as a batch.

use crate::barrier::{KEYRING, Keyring, RootKey};
use crate::memo::Memo;
use crate::refusal::Refusal;
use keyward_core::{Batch, Key, Random, Rev, Timestamp, View, Want, random};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Reads see the snapshot and the transaction's own writes; nothing is written until the batch is committed.
pub struct Txn<'v> {
    view: &'v dyn View,
    memo: &'v Memo,
    random: &'v dyn Random,
    keyring: Arc<Keyring>,
    reads: Reads,
    writes: BTreeMap<Key, Option<Vec<u8>>>,
}

impl<'v> Txn<'v> {
    /// Opens the key ring of this snapshot with `root`.
    pub fn begin(
        view: &'v dyn View,
        memo: &'v Memo,
        random: &'v dyn Random,
        root: &RootKey,
    ) -> Result<Txn<'v>, Refusal> {
        let stored = view.get(KEYRING.as_bytes())?;
        let stored = stored.ok_or_else(|| Refusal::Corrupt(KEYRING.to_owned()))?;
        let keyring = match memo.get::<Keyring>(KEYRING.as_bytes(), stored.rev) {
            Some(keyring) => keyring,
            None => {
                let keyring = Arc::new(Keyring::open(root, &stored.value)?);
                memo.put(KEYRING.as_bytes(), stored.rev, keyring.clone());
                keyring
            }
        };
        let mut reads = Reads::default();
        reads.push(KEYRING, Want::At(stored.rev));
        Ok(Txn { view, memo, random, keyring, reads, writes: BTreeMap::new() })
    }

    /// A transaction under a key ring that is not stored yet.
    pub fn fresh(view: &'v dyn View, memo: &'v Memo, random: &'v dyn Random, keyring: Keyring) -> Txn<'v> {
        let (keyring, reads) = (Arc::new(keyring), Reads::default());
        Txn { view, memo, random, keyring, reads, writes: BTreeMap::new() }
    }

    /// The snapshot: for what is readable while sealed. Nothing read through it is relied on.
    pub fn view(&self) -> &'v dyn View {
        self.view
    }

    /// Relies on `want` of `key` without reading it.
    pub fn want(&mut self, key: &str, want: Want) {
        self.reads.push(key, want);
    }

    /// The snapshot's key ring.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Adds a term to the stored key ring, for all later transactions.
    pub fn rotate_keyring(&mut self, root: &RootKey, now: Timestamp) {
        let ring = self.keyring.rotated(self.random, now, self.rev());
        let sealed = ring.sealed(root, self.random);
        self.put_sealed(KEYRING, sealed);
    }

    /// The randomness this transaction draws from.
    pub fn random(&self) -> &'v dyn Random {
        self.random
    }

    /// The snapshot's revision.
    pub fn rev(&self) -> Rev {
        self.view.rev()
    }

    /// The decrypted entry at `key`.
    pub fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>, Refusal> {
        if let Some(written) = self.writes.get(key.as_bytes()) {
            return written.as_ref().map(|value| self.keyring.open_entry(key.as_bytes(), value)).transpose();
        }
        match self.look(key)? {
            Some(entry) => self.keyring.open_entry(key.as_bytes(), &entry.value).map(Some),
            None => Ok(None),
        }
    }

    /// True when there is an entry at `key`.
    pub fn exists(&mut self, key: &str) -> Result<bool, Refusal> {
        match self.writes.get(key.as_bytes()) {
            Some(written) => Ok(written.is_some()),
            None => Ok(self.look(key)?.is_some()),
        }
    }

    /// The revision at which the entry at `key` last changed; zero when there is none, or when this transaction
    /// has written it itself.
    pub fn revision(&mut self, key: &str) -> Result<Rev, Refusal> {
        match self.writes.contains_key(key.as_bytes()) {
            true => Ok(0),
            false => Ok(self.look(key)?.map_or(0, |entry| entry.rev)),
        }
    }

    fn look(&mut self, key: &str) -> Result<Option<keyward_core::Entry>, Refusal> {
        let entry = self.view.get(key.as_bytes())?;
        let want = entry.as_ref().map_or(Want::Absent, |entry| Want::At(entry.rev));
        self.reads.push(key, want);
        Ok(entry)
    }

    /// The entry at `key`, read as JSON.
    pub fn get_json<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, Refusal> {
        self.get(key)?.map(|plain| decode(key, &plain)).transpose()
    }

    /// What `build` makes of the entry at `key`: built once per revision of the entry, shared after. An entry
    /// this transaction has written itself is built afresh.
    pub fn built<T: Send + Sync + 'static>(
        &mut self,
        key: &str,
        build: impl FnOnce(&[u8]) -> Result<T, Refusal>,
    ) -> Result<Option<Arc<T>>, Refusal> {
        if self.writes.contains_key(key.as_bytes()) {
            return self.get(key)?.map(|plain| build(&plain).map(Arc::new)).transpose();
        }
        let Some(entry) = self.look(key)? else { return Ok(None) };
        if let Some(known) = self.memo.get::<T>(key.as_bytes(), entry.rev) {
            return Ok(Some(known));
        }
        let plain = zeroize::Zeroizing::new(self.keyring.open_entry(key.as_bytes(), &entry.value)?);
        let thing = Arc::new(build(&plain)?);
        self.memo.put(key.as_bytes(), entry.rev, thing.clone());
        Ok(Some(thing))
    }

    /// As [`Txn::built`], from JSON.
    pub fn built_json<T>(&mut self, key: &str) -> Result<Option<Arc<T>>, Refusal>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        self.built(key, |plain| decode(key, plain))
    }

    /// What `build` makes of something from outside: built once per `version` of it, shared after under `key`.
    pub fn built_of<T: Send + Sync + 'static>(
        &self,
        key: &[u8],
        version: u64,
        build: impl FnOnce() -> Result<T, Refusal>,
    ) -> Result<Arc<T>, Refusal> {
        if let Some(known) = self.memo.get::<T>(key, version) {
            return Ok(known);
        }
        let thing = Arc::new(build()?);
        self.memo.put(key, version, thing.clone());
        Ok(thing)
    }

    /// A memo kept under `key` for as long as the entry at `epoch` does not change: for what is built from many
    /// entries, each of which bumps the epoch when it changes (see [`Txn::bump`]). `build` reads through this
    /// transaction; it runs again while the transaction has itself written the epoch.
    pub fn built_since<T: Send + Sync + 'static>(
        &mut self,
        epoch: &str,
        key: &[u8],
        build: impl FnOnce(&mut Txn<'v>) -> Result<T, Refusal>,
    ) -> Result<Arc<T>, Refusal> {
        if self.writes.contains_key(epoch.as_bytes()) {
            return build(self).map(Arc::new);
        }
        let rev = self.look(epoch)?.map_or(0, |entry| entry.rev);
        if let Some(known) = self.memo.get::<T>(key, rev) {
            return Ok(known);
        }
        // What the build reads is covered by the epoch: wanting each entry would only use up the batch.
        let reads = self.reads.wants.len();
        let thing = Arc::new(build(self)?);
        self.reads.truncate(reads);
        self.memo.put(key, rev, thing.clone());
        Ok(thing)
    }

    /// Reads without relying on what is read: for what another entry, which is relied on, covers already.
    pub fn unrelied<T>(
        &mut self,
        read: impl FnOnce(&mut Txn<'v>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let reads = self.reads.wants.len();
        let found = read(self);
        self.reads.truncate(reads);
        found
    }

    /// Marks the set of entries behind `epoch` as changed.
    pub fn bump(&mut self, epoch: &str) -> Result<(), Refusal> {
        let mark: [u8; 8] = random::bytes(self.random);
        self.exists(epoch)?;
        self.put(epoch, &mark)
    }

    /// Writes `plain` at `key`, encrypted.
    pub fn put(&mut self, key: &str, plain: &[u8]) -> Result<(), Refusal> {
        let sealed = self.keyring.seal(self.random, key.as_bytes(), plain)?;
        self.writes.insert(key.as_bytes().to_vec(), Some(sealed));
        Ok(())
    }

    /// Writes `value` at `key` as JSON, encrypted.
    pub fn put_json(&mut self, key: &str, value: &impl Serialize) -> Result<(), Refusal> {
        let plain = serde_json::to_vec(value)
            .map_err(|why| Refusal::Internal(format!("the entry {key} could not be written: {why}")))?;
        self.put(key, &zeroize::Zeroizing::new(plain))
    }

    /// Writes bytes that are sealed by other means than the key ring.
    pub fn put_sealed(&mut self, key: &str, sealed: Vec<u8>) {
        self.writes.insert(key.as_bytes().to_vec(), Some(sealed));
    }

    /// Deletes `key`; not an error when it is absent.
    pub fn delete(&mut self, key: &str) {
        self.writes.insert(key.as_bytes().to_vec(), None);
    }

    /// The full keys under `prefix` and after the position `after`, at most `most`, in order, own writes
    /// included.
    pub fn keys(&mut self, prefix: &str, after: &[u8], most: usize) -> Result<Vec<String>, Refusal> {
        let mut found = Vec::new();
        let writes = &self.writes;
        self.view.keys(prefix.as_bytes(), after, &mut |key| {
            if !writes.contains_key(key) {
                found.push(String::from_utf8_lossy(key).into_owned());
            }
            found.len() < most
        })?;
        let own = writes.iter().filter(|(key, value)| {
            value.is_some() && key.starts_with(prefix.as_bytes()) && key.as_slice() > after
        });
        found.extend(own.map(|(key, _)| String::from_utf8_lossy(key).into_owned()));
        found.sort_unstable();
        found.truncate(most);
        Ok(found)
    }

    /// Shows `each` the decrypted entries under `prefix` and after the position `after`, at most `most`, in order, and
    /// answers how many there were. Nothing is relied on, and what this transaction wrote itself is not among them.
    pub fn scan(
        &self,
        prefix: &str,
        after: &[u8],
        most: usize,
        mut each: impl FnMut(&str, &[u8]) -> Result<(), Refusal>,
    ) -> Result<usize, Refusal> {
        let (mut count, mut told) = (0, Ok(()));
        self.view.entries(prefix.as_bytes(), after, &mut |key, _, value| {
            let name = String::from_utf8_lossy(key);
            let plain = self.keyring.open_entry(key, value).map(zeroize::Zeroizing::new);
            told = plain.and_then(|plain| each(&name, &plain));
            count += 1;
            told.is_ok() && count < most
        })?;
        told.map(|()| count)
    }

    /// The names directly under the directory `prefix` (which ends in `/` or is empty): entries by name,
    /// directories with a trailing slash, in order, after the name `after`, at most `most`.
    pub fn list(&mut self, prefix: &str, after: &str, most: usize) -> Result<Vec<String>, Refusal> {
        const PAGE: usize = 256;
        let mut names: Vec<String> = Vec::new();
        let mut position = if after.is_empty() { Vec::new() } else { past(prefix, after) };
        loop {
            let page = self.keys(prefix, &position, PAGE)?;
            for key in &page {
                let rest = key.get(prefix.len()..).unwrap_or("");
                let name = match rest.split_once('/') {
                    Some((directory, _)) => format!("{directory}/"),
                    None => rest.to_owned(),
                };
                if names.last() != Some(&name) && !name.is_empty() {
                    names.push(name);
                }
            }
            match names.last() {
                Some(last) if page.len() == PAGE && names.len() < most => position = past(prefix, last),
                _ => break,
            }
        }
        names.truncate(most);
        Ok(names)
    }

    /// How many operations the batch would have so far.
    pub fn operations(&self) -> usize {
        self.reads.wants.len() + self.writes.len()
    }

    /// True when nothing was written so far.
    pub fn is_clean(&self) -> bool {
        self.writes.is_empty()
    }

    /// The batch: everything relied on and everything written. Empty when nothing was written.
    pub fn finish(self) -> Batch {
        if self.writes.is_empty() {
            return Batch::default();
        }
        let wants = self.reads.in_order();
        let mut batch = Batch { id: random::bytes(self.random), wants, ..Batch::default() };
        for (key, value) in self.writes {
            match value {
                Some(value) => batch.puts.push((key, value)),
                None => batch.deletes.push(key),
            }
        }
        batch
    }
}

/// What a transaction has read. Most transactions only read and never need this again: keys lie behind one another
/// in one piece of memory.
struct Reads {
    keys: Vec<u8>,
    /// Where each key ends, and what is relied on.
    wants: Vec<(usize, Want)>,
}

impl Default for Reads {
    fn default() -> Reads {
        Reads { keys: Vec::with_capacity(512), wants: Vec::with_capacity(16) }
    }
}

impl Reads {
    fn push(&mut self, key: &str, want: Want) {
        self.keys.extend_from_slice(key.as_bytes());
        self.wants.push((self.keys.len(), want));
    }

    /// Forgets all but the first `length`.
    fn truncate(&mut self, length: usize) {
        self.wants.truncate(length);
        self.keys.truncate(self.wants.last().map_or(0, |(end, _)| *end));
    }

    /// Each key once.
    fn in_order(&self) -> Vec<(Key, Want)> {
        let mut start = 0;
        let mut wants: Vec<(Key, Want)> = Vec::with_capacity(self.wants.len());
        for (end, want) in &self.wants {
            wants.push((self.keys[start..*end].to_vec(), *want));
            start = *end;
        }
        wants.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        wants.dedup_by(|a, b| a.0 == b.0);
        wants
    }
}

/// The position behind `name` under `prefix`, and behind the whole subtree when it is a directory: keys are
/// UTF-8, where 0xff does not occur.
fn past(prefix: &str, name: &str) -> Vec<u8> {
    let mut position = format!("{prefix}{name}").into_bytes();
    if name.ends_with('/') {
        position.push(0xff);
    }
    position
}

pub(crate) fn decode<T: DeserializeOwned>(key: &str, plain: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(plain).map_err(|_| Refusal::Corrupt(key.to_owned()))
}
