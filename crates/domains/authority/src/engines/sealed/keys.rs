//! The identities that sealed objects are opened with: one for each namespace, versioned, made here and never shown, so
//! that the loss of one opens no other. Beside them those that a ZenLock is opened with.

use crate::context::Context;
use crate::engines::transit::wire::Hidden;
use crate::refusal::Refusal;
use keyward_core::Timestamp;
use keyward_crypto::Secret;
use keyward_crypto::age::{Identity, Recipient, Unwrap, pq, x25519};
use keyward_envelope::recipient_id;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) const NAMESPACES: &str = "key/";
const LEGACY: &str = "zenlock/";
/// The namespace of identities that open ZenLocks of all namespaces; no namespace is called so.
pub(super) const ANY: &str = "*";
/// Versions of one namespace at most, and identities for its ZenLocks.
const MOST: usize = 64;

/// The keys of a namespace as stored. They are secrets: no `Debug`.
#[derive(Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) latest: u64,
    versions: BTreeMap<u64, StoredKey>,
}

/// One identity as stored: the text of an age identity.
#[derive(Serialize, Deserialize)]
struct StoredKey {
    identity: Hidden,
    /// Nanoseconds since the epoch.
    created: u64,
}

/// One identity, ready to open.
pub(super) struct Key {
    identity: Identity,
    pub(super) recipient: String,
    pub(super) id: String,
    pub(super) created: Timestamp,
}

impl Key {
    fn read(stored: &StoredKey) -> Result<Key, Refusal> {
        let corrupt = || Refusal::Corrupt(NAMESPACES.to_owned());
        let text = std::str::from_utf8(stored.identity.0.expose()).map_err(|_| corrupt())?;
        let identity: Identity = text.parse().map_err(|_| corrupt())?;
        let recipient = identity.recipient().ok_or_else(corrupt)?;
        let created = Timestamp::from_nanos(stored.created);
        Ok(Key { id: recipient_id(&recipient), recipient: recipient.to_string(), identity, created })
    }

    fn stored(identity: &str, now: Timestamp) -> StoredKey {
        StoredKey { identity: Hidden(Secret::new(identity.as_bytes().to_vec())), created: now.nanos() }
    }
}

/// The keys of a namespace by version.
pub(super) struct Keys {
    pub(super) latest: u64,
    pub(super) versions: BTreeMap<u64, Key>,
}

impl Keys {
    fn read(plain: &[u8]) -> Result<Keys, Refusal> {
        let stored: Stored =
            serde_json::from_slice(plain).map_err(|_| Refusal::Corrupt(NAMESPACES.to_owned()))?;
        let versions = stored.versions.iter().map(|(version, key)| Ok((*version, Key::read(key)?)));
        Ok(Keys { latest: stored.latest, versions: versions.collect::<Result<_, Refusal>>()? })
    }

    /// The oldest version there is.
    pub(super) fn oldest(&self) -> u64 {
        self.versions.keys().next().copied().unwrap_or(self.latest)
    }

    /// What opens, of versions from `oldest` on, the newest first.
    pub(super) fn since(&self, oldest: u64) -> Vec<&dyn Unwrap> {
        self.versions.range(oldest..).rev().map(|(_, key)| &key.identity as &dyn Unwrap).collect()
    }
}

fn path(namespace: &str) -> String {
    [NAMESPACES, namespace].concat()
}

/// The keys of `namespace`, if it has any.
pub(super) fn find(cx: &mut Context<'_, '_>, namespace: &str) -> Result<Option<Arc<Keys>>, Refusal> {
    cx.built(&path(namespace), Keys::read)
}

/// Makes the next version of a namespace's key, the first of a new one. Versions below `min` go.
pub(super) fn change(cx: &mut Context<'_, '_>, namespace: &str, add: bool, min: u64) -> Result<(), Refusal> {
    let stored = cx.get_json::<Stored>(&path(namespace))?;
    let mut stored = stored.unwrap_or(Stored { latest: 0, versions: BTreeMap::new() });
    if add {
        stored.latest += 1;
        let identity = pq::Identity::generate(cx.random());
        stored.versions.insert(stored.latest, Key::stored(identity.text().expose(), cx.now));
    }
    stored.versions.retain(|version, _| *version >= min);
    if stored.versions.len() > MOST {
        return Err(Refusal::invalid(format!(
            "the namespace has {MOST} versions of its key: seal its objects anew, and trim old versions"
        )));
    }
    cx.put_json(&path(namespace), &stored)
}

/// Removes all keys of a namespace.
pub(super) fn remove(cx: &mut Context<'_, '_>, namespace: &str) {
    cx.delete(&path(namespace));
    cx.delete(&[LEGACY, namespace].concat());
}

/// The identities that ZenLocks of `namespace` are opened with; [`ANY`] for those of all.
pub(super) fn legacy(cx: &mut Context<'_, '_>, namespace: &str) -> Result<Arc<Vec<Key>>, Refusal> {
    let read = |plain: &[u8]| {
        let stored: Vec<StoredKey> =
            serde_json::from_slice(plain).map_err(|_| Refusal::Corrupt(LEGACY.to_owned()))?;
        stored.iter().map(Key::read).collect()
    };
    Ok(cx.built(&[LEGACY, namespace].concat(), read)?.unwrap_or_default())
}

/// Adds what ZenLocks of `namespace` are opened with: `text` from elsewhere, or an identity made here. Answers with whom
/// to seal for.
pub(super) fn add_legacy(
    cx: &mut Context<'_, '_>,
    namespace: &str,
    text: Option<&str>,
) -> Result<String, Refusal> {
    let wrong =
        || Refusal::invalid("identity is an age identity: AGE-SECRET-KEY-1... or AGE-SECRET-KEY-PQ-1...");
    let made;
    let text = match text {
        Some(text) => text.trim(),
        None => {
            made = x25519::Identity::generate(cx.random()).text();
            made.expose().as_str()
        }
    };
    let identity: Identity = text.parse().map_err(|_| wrong())?;
    let recipient = match identity.recipient() {
        Some(recipient @ (Recipient::X25519(_) | Recipient::PostQuantum(_))) => recipient.to_string(),
        _ => return Err(wrong()),
    };
    let path = [LEGACY, namespace].concat();
    if legacy(cx, namespace)?.iter().any(|known| known.recipient == recipient) {
        return Ok(recipient);
    }
    let mut stored = cx.get_json::<Vec<StoredKey>>(&path)?.unwrap_or_default();
    stored.push(Key::stored(text, cx.now));
    if stored.len() > MOST {
        return Err(Refusal::invalid(format!(
            "there are {MOST} identities for ZenLocks already: delete them first"
        )));
    }
    cx.put_json(&path, &stored)?;
    Ok(recipient)
}

/// Removes the identities that ZenLocks of `namespace` are opened with.
pub(super) fn remove_legacy(cx: &mut Context<'_, '_>, namespace: &str) {
    cx.delete(&[LEGACY, namespace].concat());
}

/// As what unwraps.
pub(super) fn unwraps<'k>(keys: impl Iterator<Item = &'k Key>) -> Vec<&'k dyn Unwrap> {
    keys.map(|key| &key.identity as &dyn Unwrap).collect()
}
