//! `resign-crls` and `sign-revocation-list`: lists of what is kept elsewhere, signed with an issuer's key. Nothing of them is
//! kept here.

use super::table::{self, Issuer};
use super::{HEAVY, crl, params, refuse};
use crate::context::Context;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Kind, Route, field, joined};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_crypto::x509::{Extension, RevocationList, RevokedEntry, oid, pem};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// How long a list is good for where nobody says, in seconds: three days.
const USUAL: u64 = 72 * 3600;
/// Entries of one list.
const MOST: usize = 100_000;

const SHARED: &[Field] = &[
    field("crl_number", Kind::Int, "The number of the list."),
    field(
        "delta_crl_base_number",
        Kind::Int,
        "The number of the list that this has the changes since; -1 for none.",
    ),
    field("next_update", Kind::Duration, "How long the list is good for; 72h."),
    field("format", Kind::Text, "pem or der; der comes in base64."),
];

const RESIGN: &[Field] =
    &joined::<5>(&[SHARED, &[field("crls", Kind::List, "Lists in PEM, signed with the issuer's key.")]]);

const SIGN: &[Field] = &joined::<6>(&[
    SHARED,
    &[
        field(
            "revoked_certs",
            Kind::Json,
            "Objects with serial_number, revocation_time and perhaps extensions.",
        ),
        field("extensions", Kind::Json, "Objects with id, critical and value, which is in base64."),
    ],
]);

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "issuer/{issuer_ref}/resign-crls",
        operations: &[(Operation::Update, resign)],
        fields: RESIGN,
        traits: HEAVY,
        help: "Makes one list of several that were signed with the issuer's key.",
        ..Route::EMPTY
    },
    Route {
        pattern: "issuer/{issuer_ref}/sign-revocation-list",
        operations: &[(Operation::Update, sign)],
        fields: SIGN,
        traits: HEAVY,
        help: "Signs a list of what the request says is revoked.",
        ..Route::EMPTY
    },
];

/// A whole number that is not below `least`.
fn number(cx: &Context<'_, '_>, name: &str, least: i64) -> Result<Option<i64>, Refusal> {
    let found = cx.fields().int(name)?;
    match found.is_some_and(|number| number < least) {
        true => Err(Refusal::invalid(format!("{name} parameter must be {least} or greater"))),
        false => Ok(found),
    }
}

fn signed(
    cx: &mut Context<'_, '_>,
    issuer: &Issuer,
    entries: Vec<RevokedEntry>,
    extensions: &[Extension],
) -> Result<Response, Refusal> {
    let format = cx.fields().string("format")?.unwrap_or_default();
    if !matches!(format.as_str(), "" | "pem" | "der") {
        return Err(Refusal::invalid("unknown format parameter value: use pem or der"));
    }
    let span = cx.fields().duration("next_update")?.map_or(USUAL, |span| span.as_secs());
    if span == 0 {
        return Err(Refusal::invalid("next_update parameter must be greater than 0"));
    }
    let crl_number = number(cx, "crl_number", 0)?.unwrap_or(0);
    let base = number(cx, "delta_crl_base_number", -1)?.filter(|base| *base >= 0);
    let now = super::now(cx);
    let list = RevocationList {
        issuer: issuer.certificate.subject(),
        key_id: &issuer.certificate.key_id(),
        number: crl_number.unsigned_abs(),
        base: base.map(i64::unsigned_abs),
        this_update: now,
        next_update: now.saturating_add(span),
        entries,
        extensions,
    };
    let der = list.sign(&issuer.key()?.key, issuer.revocation_scheme()?).map_err(refuse)?;
    let crl = if format == "der" { STANDARD.encode(&der) } else { pem::encode(pem::CRL, &der) };
    Response::data(&json!({ "crl": crl }))
}

fn resign(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    let issuer = crl::signer(&table, cx.param("issuer_ref"))?;
    let given: Vec<String> = match cx.fields().value("crls")? {
        // Not split at commas: these are whole texts.
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several
            .into_iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .ok_or_else(|| Refusal::invalid("crls must be a list of texts"))?,
        _ => Vec::new(),
    };
    if given.is_empty() {
        return Err(Refusal::invalid("crls must have at least one list in PEM"));
    }
    let mut all: BTreeMap<Vec<u8>, RevokedEntry> = BTreeMap::new();
    for (at, text) in given.iter().enumerate() {
        let bad = |why: String| Refusal::invalid(format!("crls: list {at} cannot be used: {why}"));
        let der =
            pem::first(&[pem::CRL], text).ok_or_else(|| bad("it is no PEM block X509 CRL".to_owned()))?;
        let entries = RevocationList::read(&der, issuer.certificate.public())
            .map_err(|why| bad(format!("{why}; it must be signed with the issuer's key")))?;
        for entry in entries {
            // What was revoked twice was revoked by the first.
            let earlier = all.get(&entry.serial).is_some_and(|known| known.at <= entry.at);
            if !earlier {
                all.insert(entry.serial.clone(), entry);
            }
        }
    }
    bounded(all.len())?;
    signed(cx, issuer, all.into_values().collect(), &[])
}

fn bounded(entries: usize) -> Result<(), Refusal> {
    match entries <= MOST {
        true => Ok(()),
        false => Err(Refusal::invalid(format!("a list may have at most {MOST} entries here"))),
    }
}

fn sign(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    let issuer = crl::signer(&table, cx.param("issuer_ref"))?;
    let given = cx.fields().typed::<Vec<Map<String, Value>>>("revoked_certs")?.unwrap_or_default();
    bounded(given.len())?;
    let mut all: BTreeMap<String, RevokedEntry> = BTreeMap::new();
    for (at, item) in given.iter().enumerate() {
        let bad = |why: &str| Refusal::invalid(format!("revoked_certs: entry {at}: {why}"));
        let serial = item.get("serial_number").and_then(Value::as_str).and_then(super::serial);
        let serial =
            serial.ok_or_else(|| bad("serial_number must be hexadecimal, perhaps with colons or hyphens"))?;
        let revoked = match item.get("revocation_time") {
            Some(Value::Number(seconds)) => seconds.as_u64(),
            Some(Value::String(text)) => {
                text.parse().ok().or_else(|| params::moment("revocation_time", text).ok())
            }
            _ => None,
        };
        let revoked = revoked
            .ok_or_else(|| bad("revocation_time must be YYYY-MM-DDTHH:MM:SSZ, or seconds since 1970"))?;
        let bytes = hex::decode(serial.replace(':', "")).map_err(|_| bad("serial_number is malformed"))?;
        let extensions = extensions(item.get("extensions"), &[])?;
        if all.insert(serial, RevokedEntry { serial: bytes, at: revoked, extensions }).is_some() {
            return Err(bad("the serial_number is there twice"));
        }
    }
    let reserved = [oid::AUTHORITY_KEY_ID, oid::CRL_NUMBER, oid::DELTA_CRL];
    let more = extensions(cx.fields().value("extensions")?.as_ref(), &reserved)?;
    signed(cx, issuer, all.into_values().collect(), &more)
}

/// Extensions as clients write them; none with an OID among `reserved`, and none twice.
fn extensions(given: Option<&Value>, reserved: &[&str]) -> Result<Vec<Extension>, Refusal> {
    let items = match given {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(Refusal::invalid("extensions must be a list")),
    };
    let mut made: Vec<Extension> = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        let bad = |why: &str| Refusal::invalid(format!("extensions: entry {at}: {why}"));
        let text = |name: &str| item.get(name).and_then(Value::as_str);
        let id = text("id").ok_or_else(|| bad("id must be an OID"))?;
        let value = STANDARD.decode(text("value").unwrap_or_default());
        let value = value.map_err(|_| bad("value must be base64"))?;
        let critical = item.get("critical").and_then(Value::as_bool).unwrap_or(false);
        if reserved.contains(&id) {
            return Err(bad("the OID is reserved for what is said by other parameters"));
        }
        if made.iter().any(|known| known.is(id)) {
            return Err(bad("the OID is there twice"));
        }
        made.push(Extension::raw(id, critical, &value).map_err(|why| bad(&why.to_string()))?);
    }
    Ok(made)
}
