//! What was found out of images, kept for a while.

use keyward_admission::Place;
use keyward_registry::Repository;
use keyward_signatures::{Attestor, Digest};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long it is remembered that somebody signed a digest: as Kyverno has it.
const SIGNED: Duration = Duration::from_secs(60 * 60);
/// How long it is remembered that nobody did, and which digest a tag names: what many requests at once ask.
const SHORT: Duration = Duration::from_secs(5);
/// Answers that are kept.
const MOST: usize = 1000;
/// Larger answers are not kept.
const MOST_BYTES: usize = 256 << 10;

/// What an answer is about.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    repository: Repository,
    digest: Digest,
    attestor: Arc<Attestor>,
    elsewhere: String,
    tag_prefix: String,
    only_bundles: bool,
    statements: bool,
}

impl Key {
    pub(super) fn new(
        repository: &Repository,
        digest: Digest,
        attestor: &Arc<Attestor>,
        place: &Place,
        statements: bool,
    ) -> Key {
        Key {
            repository: repository.clone(),
            digest,
            attestor: attestor.clone(),
            elsewhere: place.repository.clone(),
            tag_prefix: place.tag_prefix.clone(),
            only_bundles: place.only_bundles,
            statements,
        }
    }
}

/// See the module.
// house: each lock is of a cache of its own, and none is held with another.
#[derive(Default)]
pub(super) struct Kept {
    answers: Mutex<HashMap<Key, (Instant, Value)>>,
    tags: Mutex<HashMap<String, (Instant, Digest)>>,
}

impl Kept {
    pub(super) fn find(&self, key: &Key) -> Option<Value> {
        let answers = self.answers.lock();
        let (at, answer) = answers.get(key)?;
        (at.elapsed() < life(answer)).then(|| answer.clone())
    }

    pub(super) fn keep(&self, key: Key, answer: &Value) {
        if answer.to_string().len() <= MOST_BYTES {
            put(&mut self.answers.lock(), key, answer.clone(), life);
        }
    }

    pub(super) fn tagged(&self, tag: &str) -> Option<Digest> {
        let tags = self.tags.lock();
        tags.get(tag).filter(|(at, _)| at.elapsed() < SHORT).map(|(_, digest)| *digest)
    }

    pub(super) fn tag(&self, tag: String, digest: Digest) {
        put(&mut self.tags.lock(), tag, digest, |_| SHORT);
    }
}

fn life(answer: &Value) -> Duration {
    if answer["denied"].is_null() { SIGNED } else { SHORT }
}

/// Keeps something; what is over makes room, and where nothing is, all goes.
fn put<K: Hash + Eq, V>(
    kept: &mut HashMap<K, (Instant, V)>,
    key: K,
    value: V,
    life: impl Fn(&V) -> Duration,
) {
    if kept.len() >= MOST {
        kept.retain(|_, (at, value)| at.elapsed() < life(value));
        if kept.len() >= MOST {
            kept.clear();
        }
    }
    kept.insert(key, (Instant::now(), value));
}
