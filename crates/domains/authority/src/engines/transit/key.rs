//! Named keys as they are stored: what is known of a key in one entry, its versions in others.
//!
//! Sixteen versions share an entry, so that neither a rotation nor the oldest ciphertext costs more the more
//! versions there are, and no number of rotations outgrows an entry. The entries are named by an id drawn when
//! the key was made: a key made later under the same name has entries of its own, and removing the old ones can
//! never meet it.

use super::wire::Hidden;
use crate::context::{Context, Effect};
use crate::jobs::{self, Job};
use crate::refusal::Refusal;
use keyward_core::{Timestamp, random};
use keyward_crypto::Secret;
use keyward_crypto::keys::{Key, KeyType};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Where the keys are listed.
pub(super) const KEYS: &str = "key/";
const VERSIONS_AN_ENTRY: u64 = 16;

/// When something was done, and which version was the latest then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    /// Nanoseconds since the epoch.
    pub(super) nanos: u64,
    pub(super) version: u64,
}

/// What is known of a key, its versions aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Policy {
    /// Names the entries of the versions.
    pub(super) id: String,
    /// The name of the type and, for ML-DSA, of the parameter set.
    kind: String,
    #[serde(default)]
    parameter_set: Option<String>,
    #[serde(default)]
    pub(super) derived: bool,
    #[serde(default)]
    pub(super) convergent: bool,
    #[serde(default)]
    pub(super) exportable: bool,
    #[serde(default)]
    pub(super) allow_plaintext_backup: bool,
    #[serde(default)]
    pub(super) deletion_allowed: bool,
    #[serde(default)]
    pub(super) soft_deleted: bool,
    #[serde(default)]
    pub(super) imported: bool,
    #[serde(default)]
    pub(super) allow_rotation: bool,
    /// Bytes of a key for keyed hashes.
    #[serde(default)]
    pub(super) key_size: usize,
    /// Seconds; never when zero.
    #[serde(default)]
    pub(super) auto_rotate_period: u64,
    pub(super) latest: u64,
    /// When the latest version was made: nanoseconds since the epoch.
    pub(super) latest_made: u64,
    pub(super) min_decryption: u64,
    /// Only the latest may encrypt when zero is configured; so clients read it.
    #[serde(default)]
    pub(super) min_encryption: u64,
    #[serde(default)]
    pub(super) min_available: u64,
    #[serde(default)]
    pub(super) backup: Option<Stamp>,
    #[serde(default)]
    pub(super) restore: Option<Stamp>,
}

impl Policy {
    /// A key without versions.
    pub(super) fn new(kind: KeyType, cx: &Context<'_, '_>) -> Policy {
        Policy {
            id: new_id(cx),
            kind: kind.name().to_owned(),
            parameter_set: kind.parameter_set().map(str::to_owned),
            derived: false,
            convergent: false,
            exportable: false,
            allow_plaintext_backup: false,
            deletion_allowed: false,
            soft_deleted: false,
            imported: false,
            allow_rotation: false,
            key_size: 0,
            auto_rotate_period: 0,
            latest: 0,
            latest_made: 0,
            min_decryption: 1,
            min_encryption: 0,
            min_available: 0,
            backup: None,
            restore: None,
        }
    }

    /// The key's type.
    pub(super) fn kind(&self) -> Result<KeyType, Refusal> {
        KeyType::parse(&self.kind, self.parameter_set.as_deref())
            .ok_or_else(|| Refusal::Corrupt(format!("transit key of the type {}", self.kind)))
    }

    /// The versions that may be used.
    pub(super) fn usable(&self) -> std::ops::RangeInclusive<u64> {
        self.min_decryption.max(1)..=self.latest
    }

    /// Whether it is time to rotate.
    fn due(&self, now: Timestamp) -> bool {
        self.auto_rotate_period > 0
            && !self.soft_deleted
            && (!self.imported || self.allow_rotation)
            && now.since(Timestamp::from_nanos(self.latest_made))
                > Duration::from_secs(self.auto_rotate_period)
    }
}

/// One version as it is stored.
#[derive(Serialize, Deserialize)]
pub(super) struct Record {
    /// Nanoseconds since the epoch.
    pub(super) made: u64,
    /// The key, unless only its public part is known.
    pub(super) private: Option<Hidden>,
    /// The public part, kept beside so that showing it does not decode the key.
    pub(super) public: Option<Hidden>,
    /// The key of keyed hashes; of the type `hmac` the key is its own.
    pub(super) hmac: Option<Hidden>,
}

impl Record {
    /// `key`, and a new key for keyed hashes beside it.
    pub(super) fn of(key: &Key, cx: &Context<'_, '_>) -> Record {
        let hmac = (!matches!(key, Key::Hmac(_)))
            .then(|| Hidden(Secret::new(random::bytes::<32>(cx.random()).to_vec())));
        Record { hmac, ..Record::bare(key, cx.now.nanos()) }
    }

    /// `key` alone.
    pub(super) fn bare(key: &Key, made: u64) -> Record {
        let public = key.public().map(|public| Hidden(Secret::new(public)));
        Record { made, private: key.private().map(Hidden), public, hmac: None }
    }
}

/// Some versions, decoded when they are first used.
#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Chunk(pub(super) BTreeMap<u64, Version>);

/// One version and, once it was used, the key.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Version {
    pub(super) record: Record,
    #[serde(skip)]
    decoded: OnceLock<Key>,
}

impl From<Record> for Version {
    fn from(record: Record) -> Version {
        Version { record, decoded: OnceLock::new() }
    }
}

impl Version {
    /// The key of the type `kind`.
    pub(super) fn key(&self, kind: KeyType) -> Result<&Key, Refusal> {
        if let Some(key) = self.decoded.get() {
            return Ok(key);
        }
        let copied = |hidden: &Hidden| Secret::new(hidden.0.expose().clone());
        let key = match (&self.record.private, &self.record.public) {
            (Some(private), _) => Key::import(kind, copied(private)),
            (None, Some(public)) => Key::import_public(kind, public.0.expose()),
            (None, None) => return Err(Refusal::Corrupt("a transit key version without a key".to_owned())),
        };
        let key = key.map_err(|why| Refusal::Corrupt(format!("a transit key version ({why})")))?;
        Ok(self.decoded.get_or_init(|| key))
    }

    /// The key of keyed hashes.
    pub(super) fn hmac(&self, kind: KeyType) -> Option<&[u8]> {
        let own = if kind == KeyType::Hmac { &self.record.private } else { &self.record.hmac };
        own.as_ref().map(|key| key.0.expose().as_slice())
    }
}

/// A version held by the entry it was read from.
pub(super) struct Held {
    chunk: Arc<Chunk>,
    number: u64,
}

impl Held {
    /// The version.
    pub(super) fn version(&self) -> Result<&Version, Refusal> {
        self.chunk.0.get(&self.number).ok_or_else(no_such_version)
    }
}

/// What Vault says of a version that cannot be had.
pub(super) fn no_such_version() -> Refusal {
    Refusal::invalid("no such key version")
}

fn new_id(cx: &Context<'_, '_>) -> String {
    hex::encode(random::bytes::<12>(cx.random()))
}

fn entry(name: &str) -> String {
    format!("{KEYS}{name}")
}

fn versions(id: &str) -> String {
    format!("version/{id}/")
}

fn chunk_of(id: &str, number: u64) -> String {
    format!("version/{id}/{:08x}", number / VERSIONS_AN_ENTRY)
}

/// Whether there is a key of this name.
pub(super) fn exists(cx: &mut Context<'_, '_>, name: &str) -> Result<bool, Refusal> {
    cx.exists(&entry(name))
}

/// The key of this name.
pub(super) fn find(cx: &mut Context<'_, '_>, name: &str) -> Result<Option<Arc<Policy>>, Refusal> {
    cx.built_json(&entry(name))
}

/// The key of this name, rotated first if it is time. What makes something new of a key goes through here.
pub(super) fn find_rotated(cx: &mut Context<'_, '_>, name: &str) -> Result<Option<Arc<Policy>>, Refusal> {
    match find(cx, name)? {
        Some(policy) if policy.due(cx.now) => {
            let mut policy = Policy::clone(&policy);
            rotate(cx, name, &mut policy)?;
            Ok(Some(Arc::new(policy)))
        }
        found => Ok(found),
    }
}

/// Refuses a key that waits to be restored.
pub(super) fn alive(policy: &Policy) -> Result<(), Refusal> {
    match policy.soft_deleted {
        true => Err(Refusal::invalid(
            "the key is soft deleted: write to keys/<name>/soft-delete-restore to use it again",
        )),
        false => Ok(()),
    }
}

/// Version `number` of a key, if it may be used.
pub(super) fn version(cx: &mut Context<'_, '_>, policy: &Policy, number: u64) -> Result<Held, Refusal> {
    if !policy.usable().contains(&number) {
        return Err(no_such_version());
    }
    let chunk = chunk(cx, &policy.id, number)?;
    let held = Held { chunk, number };
    held.version()?;
    Ok(held)
}

fn chunk(cx: &mut Context<'_, '_>, id: &str, number: u64) -> Result<Arc<Chunk>, Refusal> {
    let path = chunk_of(id, number);
    cx.built_json(&path)?.ok_or_else(|| Refusal::Corrupt(cx.key(&path)))
}

/// All versions from `first` on, in order.
pub(super) fn versions_from(
    cx: &mut Context<'_, '_>,
    policy: &Policy,
    first: u64,
) -> Result<Vec<(u64, Held)>, Refusal> {
    (first.max(1).max(policy.min_available)..=policy.latest)
        .map(|number| Ok((number, Held { chunk: chunk(cx, &policy.id, number)?, number })))
        .collect()
}

/// Writes what is known of the key.
pub(super) fn put(cx: &mut Context<'_, '_>, name: &str, policy: &Policy) -> Result<(), Refusal> {
    // Relying on the entry: whatever was decided, was decided about the key as it is.
    cx.exists(&entry(name))?;
    cx.put_json(&entry(name), policy)
}

/// Writes version `number`, new or changed.
pub(super) fn put_version(
    cx: &mut Context<'_, '_>,
    policy: &Policy,
    number: u64,
    record: Record,
) -> Result<(), Refusal> {
    let path = chunk_of(&policy.id, number);
    let mut chunk: Chunk = cx.get_json(&path)?.unwrap_or_default();
    chunk.0.insert(number, record.into());
    cx.put_json(&path, &chunk)
}

/// Makes `key` the latest version, and writes both.
pub(super) fn append(
    cx: &mut Context<'_, '_>,
    name: &str,
    policy: &mut Policy,
    key: &Key,
) -> Result<(), Refusal> {
    policy.latest += 1;
    policy.latest_made = cx.now.nanos();
    let record = Record::of(key, cx);
    put_version(cx, policy, policy.latest, record)?;
    put(cx, name, policy)
}

/// Makes a new version.
pub(super) fn rotate(cx: &mut Context<'_, '_>, name: &str, policy: &mut Policy) -> Result<(), Refusal> {
    alive(policy)?;
    if policy.imported && !policy.allow_rotation {
        return Err(Refusal::invalid(format!("imported key {name} does not allow rotation within Vault")));
    }
    let key = Key::generate(policy.kind()?, policy.key_size, cx.random())
        .map_err(|why| Refusal::invalid(why.to_string()))?;
    policy.imported = false;
    append(cx, name, policy, &key)
}

/// Destroys the versions before `first`.
pub(super) fn trim(
    cx: &mut Context<'_, '_>,
    name: &str,
    policy: &mut Policy,
    first: u64,
) -> Result<(), Refusal> {
    let (from, to) = (policy.min_available / VERSIONS_AN_ENTRY, first / VERSIONS_AN_ENTRY);
    (from..to).for_each(|at| cx.delete(&chunk_of(&policy.id, at * VERSIONS_AN_ENTRY)));
    let path = chunk_of(&policy.id, first);
    if let Some(mut chunk) = cx.get_json::<Chunk>(&path)? {
        chunk.0.retain(|number, _| *number >= first);
        cx.put_json(&path, &chunk)?;
    }
    policy.min_available = first;
    put(cx, name, policy)
}

/// Destroys the key; its versions are gone before the answer is sent.
pub(super) fn destroy(cx: &mut Context<'_, '_>, name: &str, policy: &Policy) -> Result<(), Refusal> {
    cx.exists(&entry(name))?;
    cx.delete(&entry(name));
    wipe(cx, &policy.id)
}

/// Has the versions under `id` removed.
pub(super) fn wipe(cx: &mut Context<'_, '_>, id: &str) -> Result<(), Refusal> {
    let prefix = cx.key(&versions(id));
    jobs::add(cx.txn, &Job::Wipe { prefix })?;
    cx.effects.push(Effect::RunJobs);
    Ok(())
}

/// Gives a restored key entries of its own.
pub(super) fn renamed(policy: &mut Policy, cx: &Context<'_, '_>) {
    policy.id = new_id(cx);
}
