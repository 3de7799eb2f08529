//! `hmac/`, and verification of what it makes.

use super::batch::{self, BATCH, Item};
use super::crypt::KEY_VERSION;
use super::key::{self, Policy};
use super::name;
use super::wire::{self, Coding};
use crate::context::Context;
use crate::fields::Fields;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Kind, Route, field};
use keyward_crypto::keys::Hash;
use serde::Serialize;

const FIELDS: &[Field] = &[
    field("input", Kind::Text, "Base64 of what is to be hashed."),
    field("algorithm", Kind::Text, "The hash function; sha2-256 unless given."),
    KEY_VERSION,
    BATCH,
];

const ROUTE: Route = Route {
    operations: &[(Operation::Update, make)],
    fields: FIELDS,
    help: "Makes a keyed hash of an input.",
    ..Route::EMPTY
};

pub(super) const ROUTES: &[Route] =
    &[Route { pattern: "hmac/{name}", ..ROUTE }, Route { pattern: "hmac/{name}/{urlalgorithm}", ..ROUTE }];

#[derive(Serialize)]
struct Made {
    hmac: String,
}

impl Item for Made {}

#[derive(Serialize)]
pub(super) struct Checked {
    pub(super) valid: bool,
}

impl Item for Checked {
    fn failed() -> Option<Checked> {
        Some(Checked { valid: false })
    }
}

/// The hash function named by the path or by one of `fields`, the first that is sent.
fn algorithm(cx: &Context<'_, '_>, fields: &[&str]) -> Result<Hash, Refusal> {
    let sent = fields.iter().find(|name| cx.fields().has(name));
    let name = match (cx.param("urlalgorithm"), sent) {
        ("", Some(field)) => cx.fields().string(field)?.unwrap_or_default(),
        (name, _) => name.to_owned(),
    };
    let name = if name.is_empty() { "sha2-256" } else { &name };
    Hash::parse(name).ok_or_else(|| Refusal::invalid(format!("unsupported algorithm {name:?}")))
}

fn input(fields: &Fields, missing: &str) -> Result<Vec<u8>, Refusal> {
    let text = fields.string("input")?.ok_or_else(|| Refusal::invalid(missing))?;
    wire::decode(&text).map_err(|why| Refusal::invalid(format!("unable to decode input as base64: {why}")))
}

fn make(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = name(cx)?;
    let policy = key::find_rotated(cx, &name)?.ok_or_else(|| Refusal::invalid("encryption key not found"))?;
    key::alive(&policy)?;
    let (kind, hash) = (policy.kind()?, algorithm(cx, &["algorithm"])?);
    let wanted = cx.fields().int("key_version")?.unwrap_or(0);
    let number = version(&policy, wanted)?;
    let held = key::version(cx, &policy, number)?;
    let key = held.version()?.hmac(kind).ok_or_else(key::no_such_version)?;
    let each = |fields: &Fields| {
        let tag = hash.mac(key, &input(fields, "missing input for HMAC")?);
        let tag = tag.map_err(|why| Refusal::invalid(why.to_string()))?;
        Ok(Made { hmac: wire::versioned(number, &tag, Coding::Standard) })
    };
    match batch::items(cx)? {
        Some(items) => batch::respond(&batch::answer_each(&items, batch::reference, |_, item| each(item))?),
        None => Response::data(&each(cx.fields())?),
    }
}

/// Unlike for signatures, the latest version may always be named.
fn version(policy: &Policy, wanted: i64) -> Result<u64, Refusal> {
    match u64::try_from(wanted) {
        Err(_) => Err(Refusal::invalid("key version does not exist (cannot be negative)")),
        Ok(0) => Ok(policy.latest),
        Ok(wanted) if wanted > policy.latest => Err(Refusal::invalid(format!(
            "key version does not exist; latest key version is {}",
            policy.latest
        ))),
        Ok(wanted) if wanted < policy.min_encryption && wanted != policy.latest => {
            Err(Refusal::invalid("cannot generate HMAC: version is too old (disallowed by policy)"))
        }
        Ok(wanted) => Ok(wanted),
    }
}

/// Checks the keyed hashes of a request to `verify/`.
pub(super) fn verify(cx: &mut Context<'_, '_>, items: Option<Vec<Fields>>) -> Result<Response, Refusal> {
    let name = name(cx)?;
    let policy = key::find(cx, &name)?.ok_or_else(|| Refusal::invalid("encryption key not found"))?;
    key::alive(&policy)?;
    let hash = algorithm(cx, &["hash_algorithm", "algorithm"])?;
    match items {
        Some(items) => {
            let each = |_, item: &Fields| check(cx, &policy, hash, item, &input(item, "missing input")?);
            batch::respond(&batch::answer_each(&items, batch::reference, each)?)
        }
        None => {
            let request = cx.request;
            let input = if request.fields.has("input") { input(&request.fields, "")? } else { Vec::new() };
            Response::data(&check(cx, &policy, hash, &request.fields, &input)?)
        }
    }
}

fn check(
    cx: &mut Context<'_, '_>,
    policy: &Policy,
    hash: Hash,
    fields: &Fields,
    input: &[u8],
) -> Result<Checked, Refusal> {
    let shown = fields.string("hmac")?.ok_or_else(|| Refusal::invalid("missing hmac"))?;
    let (number, rest) = wire::split_version(&shown, "HMAC").map_err(Refusal::invalid)?;
    let tag = wire::decode(rest)
        .map_err(|why| Refusal::invalid(format!("unable to decode verification HMAC as base64: {why}")))?;
    if number > policy.latest {
        return Err(Refusal::invalid("invalid HMAC: version is too new"));
    }
    if number < policy.min_decryption {
        return Err(Refusal::invalid("cannot verify HMAC: version is too old (disallowed by policy)"));
    }
    let held = key::version(cx, policy, number)?;
    let key = held.version()?.hmac(policy.kind()?).ok_or_else(key::no_such_version)?;
    let valid = hash.verify_mac(key, input, &tag).map_err(|why| Refusal::invalid(why.to_string()))?;
    Ok(Checked { valid })
}
