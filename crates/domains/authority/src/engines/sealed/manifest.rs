//! What is registered: a sealed manifest of either kind, and everything about it that can be checked without a workload.

use super::config::Config;
use super::keys::{self, Key, Keys};
use super::record::digest;
use crate::refusal::Refusal;
use keyward_core::Timestamp;
use keyward_crypto::secret::SecretBytes;
use keyward_crypto::{Secret, age::Unwrap};
use keyward_envelope::{AuthorKey, Failure, Place, object, zenlock};
use keyward_intent::{Bounds, SealedSecret, ZenLock, yaml};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Bytes of the longest manifest: it is one entry of the store.
const LONGEST: usize = 480 * 1024;
/// Values of one ZenLock at most: each is remembered, and one transaction has room for so many.
const MOST_LOCKED: usize = 24;

/// What was written, by kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "form", content = "manifest", rename_all = "lowercase")]
pub(super) enum Manifest {
    /// Our own.
    Sealed(Box<SealedSecret>),
    /// That of the Zen Mesh project.
    ZenLock(Box<ZenLock>),
}

/// Values by their keys.
pub(super) type Items = BTreeMap<String, SecretBytes>;

fn invalid(why: impl std::fmt::Display) -> Refusal {
    Refusal::invalid(why.to_string())
}

impl Manifest {
    /// Reads a manifest, in YAML or JSON.
    pub(super) fn read(text: &str) -> Result<Manifest, Refusal> {
        if text.len() > LONGEST {
            return Err(Refusal::invalid(format!(
                "the manifest is longer than {} KiB: divide it into several objects",
                LONGEST / 1024
            )));
        }
        let text = yaml::body(text);
        let kind: yaml::Kind = yaml::read_public(text).map_err(invalid)?;
        if ZenLock::is(&kind) {
            let lock = ZenLock::read(text).map_err(invalid)?;
            return match lock.spec.encrypted_data.len() {
                0..=MOST_LOCKED => Ok(Manifest::ZenLock(Box::new(lock))),
                _ => Err(Refusal::invalid(format!("a ZenLock of more than {MOST_LOCKED} values: divide it"))),
            };
        }
        match SealedSecret::is(&kind) {
            true => SealedSecret::read(text).map(Box::new).map(Manifest::Sealed).map_err(invalid),
            false => Err(Refusal::invalid(
                "the manifest is neither a SealedSecret of keyward.io/v1alpha1 nor a ZenLock of \
                 security.kube-zen.io/v1alpha1",
            )),
        }
    }

    /// As stored.
    pub(super) fn stored(plain: &[u8]) -> Result<Manifest, Refusal> {
        serde_json::from_slice(plain).map_err(|_| Refusal::Corrupt("a sealed manifest".to_owned()))
    }

    pub(super) fn namespace(&self) -> &str {
        match self {
            Manifest::Sealed(object) => object.namespace(),
            Manifest::ZenLock(lock) => zenlock::namespace(lock),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.metadata().name
    }

    fn metadata(&self) -> &keyward_intent::Metadata {
        match self {
            Manifest::Sealed(object) => &object.metadata,
            Manifest::ZenLock(lock) => &lock.metadata,
        }
    }

    /// An annotation, which nobody signed: for people only.
    pub(super) fn annotation(&self, name: &str) -> String {
        let name = format!("keyward.io/{name}");
        self.metadata().annotations.get(&name).map_or(String::new(), |text| text.chars().take(256).collect())
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Manifest::Sealed(_) => "SealedSecret",
            Manifest::ZenLock(_) => "ZenLock",
        }
    }

    /// What it is bound to. A ZenLock is bound by what stands around it.
    pub(super) fn bounds(&self, config: &Config) -> Result<Bounds, Refusal> {
        match self {
            Manifest::Sealed(object) => Ok(object.spec.bounds.clone()),
            Manifest::ZenLock(lock) => {
                let subjects = zenlock::subjects(lock).map_err(invalid)?;
                Ok(Bounds { subjects, ..Bounds::in_cluster(&config.cluster) })
            }
        }
    }

    pub(super) fn items(&self) -> Vec<String> {
        match self {
            Manifest::Sealed(object) => object.spec.items.keys().cloned().collect(),
            Manifest::ZenLock(lock) => lock.spec.encrypted_data.keys().cloned().collect(),
        }
    }

    /// The author's fingerprint; a ZenLock has none.
    pub(super) fn author(&self) -> String {
        let Manifest::Sealed(object) = self else { return String::new() };
        let key = object.spec.author.as_deref().and_then(|line| AuthorKey::read(line).ok());
        key.map_or(String::new(), |key| key.fingerprint())
    }

    /// Names this place and content, labels and annotations apart.
    pub(super) fn digest(&self) -> String {
        let place = (self.kind(), self.namespace(), self.name());
        // Plain structures of texts and numbers: writing them as JSON cannot fail.
        digest(&match self {
            Manifest::Sealed(object) => serde_json::to_vec(&(place, &object.spec)).unwrap_or_default(),
            Manifest::ZenLock(lock) => serde_json::to_vec(&(place, &lock.spec)).unwrap_or_default(),
        })
    }

    /// Names what the author signed: the same after a new sealing.
    pub(super) fn signed(&self) -> String {
        match self {
            Manifest::Sealed(object) => digest(&object.signed()),
            Manifest::ZenLock(_) => self.digest(),
        }
    }

    /// Opens every value, or none, as `place` allows.
    pub(super) fn open(&self, place: &Place<'_>, identities: &[&dyn Unwrap]) -> Result<Items, Failure> {
        match self {
            Manifest::Sealed(sealed) => {
                let opened = object::open(sealed, place, identities)?;
                let owned = |(key, value): (&str, &[u8])| (key.to_owned(), Secret::new(value.to_vec()));
                Ok(opened.values().map(owned).collect())
            }
            Manifest::ZenLock(lock) => Ok(zenlock::open(lock, identities)?.data),
        }
    }

    /// Opens every value with whatever of the keys opens it, and throws it away. Answers with the oldest version of the
    /// namespace's key that is needed, where it is that key, and the ids of what opens.
    pub(super) fn prove(
        &self,
        config: &Config,
        keys: Option<&Keys>,
        legacy: &[&Key],
        now: Timestamp,
    ) -> Result<(Option<u64>, Vec<String>), Refusal> {
        let authors = config.authors();
        let bounds = self.bounds(config)?;
        let place = Place {
            cluster: Some(config.known_as(&bounds.clusters)),
            authors: Some(&authors),
            ..Place::offline(moment_within(&bounds, now))
        };
        let mut failed =
            Failure::Invalid("the namespace has no key here: make one, and seal for it".to_owned());
        for (version, key) in keys.into_iter().flat_map(|keys| keys.versions.iter().rev()) {
            let opens = keys.map_or(Vec::new(), |keys| keys.since(*version));
            match self.open(&place, &opens) {
                Ok(_) => return Ok((Some(*version), vec![key.id.clone()])),
                Err(why) => failed = why,
            }
        }
        if matches!(self, Manifest::ZenLock(_)) && !legacy.is_empty() {
            match self.open(&place, &keys::unwraps(legacy.iter().copied())) {
                Ok(_) => return Ok((None, legacy.iter().map(|key| key.id.clone()).collect())),
                Err(why) => failed = why,
            }
        }
        Err(Refusal::invalid(failed.to_string()))
    }
}

/// A moment at which the times that bind an object hold: what has not begun or is over is registered too, and not opened.
fn moment_within(bounds: &Bounds, now: Timestamp) -> Timestamp {
    match (bounds.not_before, bounds.not_after) {
        (Some(from), _) => from.timestamp(),
        (None, Some(until)) if until.timestamp() <= now => {
            Timestamp::from_secs(until.timestamp().secs().saturating_sub(1))
        }
        _ => now,
    }
}
