//! `backup/` and `restore/`: a key with all its versions as one text, in plaintext.

use super::key::{self, Chunk, Policy, Record, Stamp};
use super::wire::{self, Hidden};
use super::{is_name, name};
use crate::context::Context;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Kind, Route, field};
use keyward_crypto::Secret;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

const RESTORE: Route = Route {
    operations: &[(Operation::Update, restore)],
    fields: &[
        field("backup", Kind::Text, "What backup answered."),
        field("name", Kind::Text, "The name of the restored key; its old one unless given."),
        field("force", Kind::Bool, "Replace a key of this name."),
    ],
    traits: super::HEAVY,
    help: "Restores a key from a backup.",
    ..Route::EMPTY
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "backup/{name}",
        operations: &[(Operation::Read, backup)],
        help: "Shows a key with all its versions, if it is exportable and may be backed up in plaintext.",
        ..Route::EMPTY
    },
    Route { pattern: "restore", ..RESTORE },
    Route { pattern: "restore/{name}", ..RESTORE },
];

/// What a backup holds.
#[derive(Serialize, Deserialize)]
struct Backup {
    /// Tells the format; raised when it changes.
    keyward_transit_backup: u32,
    name: String,
    policy: Policy,
    versions: Chunk,
}

const FORMAT: u32 = 1;

fn backup(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = name(cx)?;
    let known = key::find(cx, &name)?.ok_or_else(|| Refusal::invalid(format!("key {name:?} not found")))?;
    key::alive(&known)?;
    if !known.exportable {
        return Err(Refusal::invalid("exporting is disallowed on the policy"));
    }
    if !known.allow_plaintext_backup {
        return Err(Refusal::invalid("plaintext backup is disallowed on the policy"));
    }
    let stamp = Stamp { nanos: cx.now.nanos(), version: known.latest };
    let mut policy = Policy::clone(&known);
    policy.backup = Some(stamp);
    let mut versions = BTreeMap::new();
    for (number, held) in key::versions_from(cx, &policy, 1)? {
        versions.insert(number, copied(&held.version()?.record).into());
    }
    key::put(cx, &name, &policy)?;
    let backup = Backup { keyward_transit_backup: FORMAT, name, policy, versions: Chunk(versions) };
    let text = serde_json::to_vec(&backup)
        .map(zeroize::Zeroizing::new)
        .map_err(|why| Refusal::Internal(format!("the backup could not be written: {why}")))?;
    Response::data(&json!({ "backup": wire::encode(&text) }))
}

fn copied(record: &Record) -> Record {
    let copy = |hidden: &Option<Hidden>| {
        hidden.as_ref().map(|hidden| Hidden(Secret::new(hidden.0.expose().clone())))
    };
    Record {
        made: record.made,
        private: copy(&record.private),
        public: copy(&record.public),
        hmac: copy(&record.hmac),
    }
}

fn restore(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let sent = cx.fields().string("backup")?.filter(|text| !text.is_empty());
    let sent = sent.ok_or_else(|| Refusal::invalid("'backup' must be supplied"))?;
    let sent = zeroize::Zeroizing::new(wire::decode(&sent).map_err(Refusal::invalid)?);
    let invalid = || Refusal::invalid("backup data does not contain a valid policy");
    let Backup { keyward_transit_backup, name, mut policy, versions } =
        serde_json::from_slice(&sent).map_err(|_| invalid())?;
    if keyward_transit_backup != FORMAT {
        return Err(Refusal::invalid("the backup was made by a newer version, which can restore it"));
    }
    let wanted = match cx.param("name") {
        "" => cx.fields().string("name")?.unwrap_or_default(),
        name => name.to_owned(),
    };
    let name = if wanted.is_empty() { name } else { wanted };
    if !is_name(&name) {
        return Err(Refusal::invalid("key names cannot be paths"));
    }
    // Every version is decoded once now: a damaged backup must not become a key that fails later.
    let kind = policy.kind().map_err(|_| invalid())?;
    let first = policy.min_available.max(1);
    let whole = (first..=policy.latest).eq(versions.0.keys().copied());
    let sound =
        (first..=policy.latest).contains(&policy.min_decryption) && policy.min_encryption <= policy.latest;
    if !whole || !sound || versions.0.values().any(|version| version.key(kind).is_err()) {
        return Err(invalid());
    }
    let known = key::find(cx, &name)?;
    if let Some(known) = known {
        if !cx.fields().bool("force")?.unwrap_or(false) {
            return Err(Refusal::invalid(format!("key {name:?} already exists")));
        }
        key::wipe(cx, &known.id)?;
    }
    key::renamed(&mut policy, cx);
    policy.restore = Some(Stamp { nanos: cx.now.nanos(), version: policy.latest });
    for (number, version) in versions.0 {
        key::put_version(cx, &policy, number, version.record)?;
    }
    key::put(cx, &name, &policy)?;
    Ok(Response::empty())
}
