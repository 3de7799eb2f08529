//! `revoke`: taking certificates back.

use super::issue;
use super::table::{self, Issuer, Table};
use super::{HEAVY, crl, fetch, refuse};
use crate::context::Context;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Kind, Route, field};
use crate::txn::Txn;
use keyward_core::Timestamp;
use keyward_crypto::keys::Key;
use keyward_crypto::x509::{Certificate, pem};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

/// Where revocations are found by serial number.
pub(super) const REVOKED: &str = "revoked/";

const SERIAL: Field =
    field("serial_number", Kind::Text, "The serial number, with colons or hyphens between.");
const CERTIFICATE: Field =
    field("certificate", Kind::Text, "The certificate in PEM, where it is not kept here.");

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "revoke",
        operations: &[(Operation::Update, revoke)],
        fields: &[SERIAL, CERTIFICATE],
        traits: HEAVY,
        help: "Revokes a certificate.",
        ..Route::EMPTY
    },
    Route {
        pattern: "revoke-with-key",
        operations: &[(Operation::Update, revoke_with_key)],
        fields: &[
            SERIAL,
            CERTIFICATE,
            field("private_key", Kind::Text, "The certificate's private key in PEM."),
        ],
        traits: HEAVY,
        help: "Revokes a certificate for whoever has its key.",
        ..Route::EMPTY
    },
];

/// A revocation as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Revoked {
    /// Nanoseconds since the epoch.
    pub(super) at: u64,
    /// The id of the issuer.
    pub(super) issuer: String,
    /// See [`Issuer::group`].
    pub(super) group: String,
    /// When the certificate ends, in seconds since 1970.
    pub(super) until: u64,
}

/// The revocation of the certificate with a serial number in stored form.
pub(super) fn find(cx: &mut Context<'_, '_>, serial: &str) -> Result<Option<Arc<Revoked>>, Refusal> {
    cx.built_json(&format!("{REVOKED}{serial}"))
}

fn revoke(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    let certificate = named(cx)?;
    carry_out(cx, &table, &certificate)
}

fn revoke_with_key(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let text = keyward_crypto::Secret::new(cx.fields().string("private_key")?.unwrap_or_default());
    if text.expose().is_empty() {
        return Err(Refusal::invalid("must have private key to revoke via the /revoke-with-key path"));
    }
    let table = table::table(cx)?;
    let certificate = named(cx)?;
    let unread = || Refusal::invalid("provided key PEM block contained no data or failed to parse");
    let blocks = pem::blocks(text.expose()).ok_or_else(unread)?;
    let block = blocks.iter().find(|block| block.label.ends_with("PRIVATE KEY")).ok_or_else(unread)?;
    let (_, key) = Key::import_der(&block.der)
        .map_err(|why| Refusal::invalid(format!("failed to parse provided private key: {why}")))?;
    if key.public().as_deref() != Some(certificate.public().spki()) {
        return Err(Refusal::invalid("provided private key does not match certificate's public key"));
    }
    carry_out(cx, &table, &certificate)
}

/// The certificate a request names, by serial number or as a whole.
fn named(cx: &mut Context<'_, '_>) -> Result<Certificate, Refusal> {
    let serial = cx.fields().string("serial_number")?.filter(|text| !text.is_empty());
    let whole = cx.fields().has("certificate");
    match (serial, whole) {
        (None, false) => {
            Err(Refusal::invalid("The serial number or certificate to revoke must be provided."))
        }
        (Some(_), true) => {
            Err(Refusal::invalid("Must provide either the certificate or the serial to revoke; not both."))
        }
        (Some(text), false) => {
            let unknown = || Refusal::invalid(format!("certificate with serial {text} not found"));
            let serial = super::serial(&text).ok_or_else(unknown)?;
            let der = fetch::stored(cx, &serial)?.ok_or_else(unknown)?;
            Certificate::read(&der).map_err(refuse)
        }
        (None, true) => {
            let certificate = issue::certificate(cx, "certificate")?;
            let known = fetch::stored(cx, &super::colons(certificate.serial()))?;
            if known.is_some_and(|known| known != certificate.der()) {
                return Err(Refusal::invalid(
                    "certificate with same serial but unequal value already present in this cluster's storage; \
                     refusing to revoke",
                ));
            }
            Ok(certificate)
        }
    }
}

/// The issuer of this mount that signed `certificate`.
pub(super) fn signer<'t>(table: &'t Table, certificate: &Certificate) -> Result<&'t Arc<Issuer>, Refusal> {
    let signed = |issuer: &&Arc<Issuer>| certificate.signed_by(&issuer.certificate);
    table.issuers.iter().find(signed).ok_or_else(|| {
        Refusal::invalid(
            "unable to verify signature on presented cert from any present issuer in this mount; certificates from \
             previous CAs will need to have their issuing CA and key re-imported if revocation is necessary",
        )
    })
}

fn carry_out(
    cx: &mut Context<'_, '_>,
    table: &Table,
    certificate: &Certificate,
) -> Result<Response, Refusal> {
    let issuer = signer(table, certificate)?;
    if table.issuers.iter().any(|issuer| issuer.certificate.der() == certificate.der()) {
        return Err(Refusal::invalid(
            "the certificate is an issuer of this mount: revoke it with issuer/<issuer_ref>/revoke",
        ));
    }
    let serial = super::colons(certificate.serial());
    if certificate.not_after() < super::now(cx) {
        return Ok(Response::empty()
            .warn(format!("certificate with serial {serial} already expired; refusing to add to CRL")));
    }
    let at = add(cx, table, issuer, certificate)?;
    Response::data(&json!({
        "revocation_time": at.secs(), "revocation_time_rfc3339": at.to_string(), "state": "revoked",
    }))
}

/// Adds the revocation of a certificate of `issuer`. Answers when it was revoked, which may be long ago.
pub(super) fn add(
    cx: &mut Context<'_, '_>,
    table: &Table,
    issuer: &Issuer,
    certificate: &Certificate,
) -> Result<Timestamp, Refusal> {
    let (prefix, now) = (cx.mount.prefix(), cx.now);
    add_below(cx.txn, &prefix, (table, issuer, certificate), now)
}

/// The same in the mount whose entries stand below `prefix`.
pub(super) fn add_below(
    txn: &mut Txn<'_>,
    prefix: &str,
    (table, issuer, certificate): (&Table, &Issuer, &Certificate),
    now: Timestamp,
) -> Result<Timestamp, Refusal> {
    let serial = super::colons(certificate.serial());
    let key = format!("{prefix}{REVOKED}{serial}");
    if let Some(known) = txn.built_json::<Revoked>(&key)? {
        return Ok(Timestamp::from_nanos(known.at));
    }
    let revoked = Revoked {
        at: now.nanos(),
        issuer: issuer.entry.id.clone(),
        group: issuer.group.clone(),
        until: certificate.not_after(),
    };
    txn.put_json(&key, &revoked)?;
    crl::record(txn, prefix, &table.config.crl, &issuer.group, certificate, now.secs())?;
    let kept = format!("{prefix}{}{serial}", fetch::CERTIFICATES);
    if !txn.exists(&kept)? {
        txn.put(&kept, certificate.der())?;
    }
    Ok(now)
}
