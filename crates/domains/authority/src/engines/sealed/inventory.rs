//! The inventory: of every secret who owns it, why it is there, who consumes it, when it was changed and by what. Read from
//! the register alone, and nothing is opened for it.

use super::handover::Owner;
use super::object::{self, Object};
use super::phase;
use crate::context::Context;
use crate::refusal::Refusal;
use crate::response::{Data, Response};
use crate::txn::decode;
use keyward_core::Timestamp;
use keyward_intent::{Moment, Phase};
use serde::Serialize;
use std::collections::BTreeSet;

/// Secrets that one answer has at most, and by default.
const MOST: usize = 10_000;

/// One secret.
#[derive(Serialize)]
struct Entry<'o> {
    namespace: &'o str,
    name: &'o str,
    kind: &'o str,
    owner: &'o str,
    why: &'o str,
    /// ServiceAccounts.
    consumers: Vec<String>,
    /// What their namespaces must be.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace_selector: Option<String>,
    /// What else must be true of them, in CEL.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    conditions: &'o BTreeSet<String>,
    /// Digests of the images that their pods may run.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    images: &'o BTreeSet<String>,
    /// `git` or `runtime`.
    authority: &'static str,
    state: &'static str,
    /// The last phase it is opened in.
    phase: Phase,
    version: u64,
    digest: &'o str,
    author: &'o str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<Moment>,
    /// When its value changed last, as far as the authority knows.
    changed: String,
    /// How: a new version in Git, the handover, or the workflow that was told of.
    workflow: &'o str,
    /// Where the authority keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'o str>,
}

/// What one answer has.
#[derive(Serialize)]
struct Page {
    /// Each written as soon as it is read, so that no more than one is held besides.
    secrets: Vec<Data>,
    /// The last one, if there may be more.
    next: Option<String>,
}

impl<'o> Entry<'o> {
    fn of(namespace: &'o str, name: &'o str, object: &'o Object, phase: Phase, now: Timestamp) -> Entry<'o> {
        let (changed, workflow, target) = match &object.by {
            Owner::Git => (object.updated, "git", None),
            Owner::Runtime(handed) => match &handed.rotated {
                None => (handed.at, "handover", Some(handed.target.as_str())),
                Some(rotated) => (rotated.at, rotated.workflow.as_str(), Some(handed.target.as_str())),
            },
        };
        Entry {
            namespace,
            name,
            kind: &object.kind,
            owner: if object.owner.is_empty() { &object.author } else { &object.owner },
            why: &object.reason,
            consumers: object.bounds.subjects.iter().map(ToString::to_string).collect(),
            namespace_selector: object.bounds.namespace_selector.as_ref().map(ToString::to_string),
            conditions: &object.bounds.conditions,
            images: &object.bounds.images,
            authority: object.by.name(),
            state: object.state(phase, now).0.name(),
            phase: object.bounds.phase,
            version: object.version,
            digest: &object.digest,
            author: &object.author,
            expires: object.bounds.not_after,
            changed: Timestamp::from_nanos(changed).to_string(),
            workflow,
            target,
        }
    }
}

pub(super) fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    cx.gathered.leisure()?;
    let after = cx.fields().string("after")?.unwrap_or_default();
    let limit = cx.fields().int("limit")?.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(MOST);
    let limit = limit.clamp(1, MOST);
    let (phase, now) = (phase::current(cx)?, cx.now);
    let prefix = cx.key(object::ENTRIES);
    let start = if after.is_empty() { Vec::new() } else { [&prefix, after.as_str()].concat().into_bytes() };
    let (mut secrets, mut last) = (Vec::new(), String::new());
    let count = cx.txn.scan(&prefix, &start, limit, |key, plain| {
        last.clear();
        last.push_str(key.get(prefix.len()..).unwrap_or(""));
        let object: Object = decode(key, plain)?;
        let there = !object.deleted || object.by.name() == "runtime";
        if let Some((namespace, name)) = last.split_once('/').filter(|_| there) {
            secrets.push(Data::of(&Entry::of(namespace, name, &object, phase, now))?);
        }
        Ok(())
    })?;
    Response::data(&Page { secrets, next: Some(last).filter(|_| count == limit) })
}
