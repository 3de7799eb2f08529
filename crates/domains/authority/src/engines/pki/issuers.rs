//! `issuers` and `issuer/`: the authorities of the mount.

use super::fetch::{DER_TYPE, PEM_TYPE};
use super::params;
use super::revoke;
use super::table::{self, Issuer, IssuerEntry, NotAfter, Table, Usage};
use super::urls;
use super::{HEAVY, OPEN};
use crate::context::Context;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Kind, Route, field};
use keyward_core::Timestamp;
use keyward_crypto::x509::{Certificate, Scheme};
use serde_json::{Map, Value, json};
use std::sync::Arc;

const FIELDS: &[Field] = &[
    params::ISSUER_NAME,
    field("manual_chain", Kind::List, "The issuers of the chain, by reference, beginning with itself."),
    field(
        "leaf_not_after_behavior",
        Kind::Text,
        "err, truncate or permit certificates that would outlive it.",
    ),
    field("usage", Kind::List, "read-only, issuing-certificates, crl-signing, ocsp-signing."),
    field("revocation_signature_algorithm", Kind::Text, "How lists are signed, such as SHA256WithRSAPSS."),
    urls::FIELDS[0],
    urls::FIELDS[1],
    urls::FIELDS[2],
    urls::FIELDS[3],
    field("enable_aia_url_templating", Kind::Bool, "Replace templates in the URLs."),
];

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "issuers",
        operations: &[(Operation::List, list)],
        traits: OPEN,
        help: "Lists the issuers.",
        ..Route::EMPTY
    },
    Route {
        pattern: "issuer/{issuer_ref}",
        operations: &[
            (Operation::Read, read),
            (Operation::Update, write),
            (Operation::Patch, patch),
            (Operation::Delete, delete),
        ],
        fields: FIELDS,
        help: "Shows, changes and deletes an issuer.",
        ..Route::EMPTY
    },
    Route {
        pattern: "issuer/{issuer_ref}/json",
        operations: &[(Operation::Read, json_of)],
        traits: OPEN,
        help: "Shows an issuer's certificate and chain.",
        ..Route::EMPTY
    },
    Route {
        pattern: "issuer/{issuer_ref}/der",
        operations: &[(Operation::Read, der_of)],
        traits: OPEN,
        help: "Shows an issuer's certificate as DER.",
        ..Route::EMPTY
    },
    Route {
        pattern: "issuer/{issuer_ref}/pem",
        operations: &[(Operation::Read, pem_of)],
        traits: OPEN,
        help: "Shows an issuer's certificate as PEM.",
        ..Route::EMPTY
    },
    Route {
        pattern: "issuer/{issuer_ref}/revoke",
        operations: &[(Operation::Update, revoke_issuer)],
        traits: HEAVY,
        help: "Stops an issuer from issuing, and revokes its certificate where its own issuer is here.",
        ..Route::EMPTY
    },
];

fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    if table.issuers.is_empty() {
        return Err(Refusal::missing());
    }
    let info = |issuer: &Arc<Issuer>| {
        let about = json!({
            "issuer_name": issuer.entry.name,
            "is_default": issuer.entry.id == table.config.default_issuer,
            "serial_number": super::colons(issuer.certificate.serial()),
            "key_id": issuer.key_id(),
        });
        (issuer.entry.id.clone(), about)
    };
    let keys: Vec<&String> = table.issuers.iter().map(|issuer| &issuer.entry.id).collect();
    let info: Map<String, Value> = table.issuers.iter().map(info).collect();
    Response::data(&json!({ "keys": keys, "key_info": info }))
}

fn asked<'t>(cx: &Context<'_, '_>, table: &'t Table) -> Result<&'t Arc<Issuer>, Refusal> {
    table.issuer(cx.param("issuer_ref"))
}

fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    describe(asked(cx, &table)?, None)
}

/// An issuer as clients read it, with `entry` as it is being changed.
fn describe(issuer: &Issuer, entry: Option<&IssuerEntry>) -> Result<Response, Refusal> {
    let entry = entry.unwrap_or(&issuer.entry);
    let urls = entry.urls.clone().unwrap_or_default();
    let chain: Vec<String> = issuer.chain.iter().map(Certificate::pem).collect();
    let mut shown = json!({
        "issuer_id": entry.id,
        "issuer_name": entry.name,
        "key_id": issuer.key_id(),
        "certificate": issuer.pem,
        "manual_chain": (!entry.manual_chain.is_empty()).then_some(&entry.manual_chain),
        "ca_chain": chain,
        "leaf_not_after_behavior": entry.not_after,
        "usage": entry.usage.names(),
        "revocation_signature_algorithm": entry.revocation_scheme,
        "revoked": entry.revoked.is_some(),
        "issuing_certificates": urls.issuing_certificates,
        "crl_distribution_points": urls.crl_distribution_points,
        "delta_crl_distribution_points": urls.delta_crl_distribution_points,
        "ocsp_servers": urls.ocsp_servers,
        "enable_aia_url_templating": urls.enable_templating,
    });
    if let Some(at) = entry.revoked.map(Timestamp::from_nanos) {
        shown["revocation_time"] = json!(at.secs());
        shown["revocation_time_rfc3339"] = json!(at.to_string());
    }
    Response::data(&shown)
}

fn json_of(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    let issuer = asked(cx, &table)?;
    let chain: Vec<String> = issuer.chain.iter().map(Certificate::pem).collect();
    Response::data(&json!({
        "issuer_id": issuer.entry.id, "issuer_name": issuer.entry.name, "certificate": issuer.pem, "ca_chain": chain,
    }))
}

fn der_of(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    Ok(Response::raw(DER_TYPE, asked(cx, &table)?.certificate.der().to_vec()))
}

fn pem_of(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    Ok(Response::raw(PEM_TYPE, asked(cx, &table)?.pem.clone().into_bytes()))
}

/// A write replaces: what it does not name goes back to what it is without.
fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    let issuer = asked(cx, &table)?;
    let bare = IssuerEntry {
        name: String::new(),
        manual_chain: Vec::new(),
        not_after: NotAfter::Err,
        usage: match issuer.entry.revoked {
            Some(_) => Usage { issuing: false, ..Usage::ALL },
            None => Usage::ALL,
        },
        urls: None,
        ..issuer.entry.clone()
    };
    change(cx, &table, issuer, bare)
}

fn patch(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    let issuer = asked(cx, &table)?;
    change(cx, &table, issuer, issuer.entry.clone())
}

fn change(
    cx: &mut Context<'_, '_>,
    table: &Table,
    issuer: &Issuer,
    mut entry: IssuerEntry,
) -> Result<Response, Refusal> {
    let fields = cx.fields();
    if let Some(name) = fields.string("issuer_name")?
        && name != issuer.entry.name
    {
        entry.name = params::issuer_name(fields, table)?;
    } else if fields.has("issuer_name") {
        entry.name.clone_from(&issuer.entry.name);
    }
    if let Some(names) = fields.strings("usage")? {
        entry.usage = Usage::parse(&names)?;
    }
    if entry.revoked.is_some() && entry.usage.issuing {
        return Err(Refusal::invalid("issuer was revoked: the usage issuing-certificates cannot come back"));
    }
    entry.not_after = match fields.string("leaf_not_after_behavior")?.as_deref() {
        None => entry.not_after,
        Some("err") => NotAfter::Err,
        Some("truncate") => NotAfter::Truncate,
        Some("permit") => NotAfter::Permit,
        Some(other) => {
            return Err(Refusal::invalid(format!(
                "unknown value for field `leaf_not_after_behavior`: {other}; there are `err`, `truncate` and `permit`"
            )));
        }
    };
    if let Some(name) = fields.string("revocation_signature_algorithm")? {
        entry.revocation_scheme = scheme(issuer, &name)?;
    }
    if let Some(references) = fields.strings("manual_chain")? {
        let id = |reference: &String| table.issuer(reference).map(|issuer| issuer.entry.id.clone());
        entry.manual_chain = references.iter().map(id).collect::<Result<_, _>>()?;
        if !entry.manual_chain.is_empty() && entry.manual_chain.first() != Some(&entry.id) {
            return Err(Refusal::invalid("manual_chain must begin with a reference to the issuer itself"));
        }
    }
    let named = urls::FIELDS[..4].iter().any(|field| fields.has(field.name));
    if named || fields.has("enable_aia_url_templating") {
        let urls = entry.urls.clone().unwrap_or_default();
        let urls = urls.changed(fields, "enable_aia_url_templating")?;
        entry.urls = (!urls.is_empty() || urls.enable_templating).then_some(urls);
    }
    table::put_issuer(cx, &entry)?;
    describe(issuer, Some(&entry))
}

fn scheme(issuer: &Issuer, name: &str) -> Result<String, Refusal> {
    if name.is_empty() {
        return Ok(String::new());
    }
    let known = Scheme::named(name)
        .ok_or_else(|| Refusal::invalid(format!("unknown signature algorithm: {name}")))?;
    match issuer.key.as_ref().is_none_or(|key| known.fits(&key.key)) {
        true => Ok(known.name().to_owned()),
        false => Err(Refusal::invalid(format!("the issuer's key cannot sign with {name}"))),
    }
}

fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    let Some(issuer) = table.find(cx.param("issuer_ref")) else { return Ok(Response::empty()) };
    table::delete_issuer(cx, &issuer.entry.id)?;
    for other in &table.issuers {
        if other.entry.id != issuer.entry.id && other.entry.manual_chain.contains(&issuer.entry.id) {
            let mut entry = other.entry.clone();
            entry.manual_chain.retain(|id| *id != issuer.entry.id);
            table::put_issuer(cx, &entry)?;
        }
    }
    if table.config.default_issuer != issuer.entry.id {
        return Ok(Response::empty());
    }
    let config = table::Config { default_issuer: String::new(), ..table.config.clone() };
    table::put_config(cx, &config)?;
    Ok(Response::empty().warn(format!(
        "Deleted issuer {} (via issuer_ref {}); this was configured as the default issuer. Operations without an \
         explicit issuer will not work until a new default is configured.",
        issuer.entry.id,
        cx.param("issuer_ref")
    )))
}

fn revoke_issuer(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    let issuer = asked(cx, &table)?;
    if issuer.entry.revoked.is_some() {
        return describe(issuer, None);
    }
    let mut entry = issuer.entry.clone();
    entry.revoked = Some(cx.now.nanos());
    entry.usage.issuing = false;
    table::put_issuer(cx, &entry)?;
    let above = table.issuers.iter().find(|above| {
        above.entry.id != issuer.entry.id
            && above.group != issuer.group
            && issuer.certificate.signed_by(&above.certificate)
    });
    let response = describe(issuer, Some(&entry))?;
    match above {
        Some(above) => {
            revoke::add(cx, &table, above, &issuer.certificate)?;
            Ok(response)
        }
        None => Ok(response.warn(
            "This issuer was revoked here, but its own issuer is not in this mount: have it revoked there, too",
        )),
    }
}
