//! `ca`, `ca_chain`, `cert/` and `certs`: what was issued, for everybody who checks it.

use super::crl::{self, List};
use super::table::{self, DEFAULT};
use super::{OPEN, revoke};
use crate::context::Context;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Handler, Route};
use keyward_core::Timestamp;
use keyward_crypto::x509::{Certificate, pem};
use serde_json::json;

pub(super) const CERTIFICATES: &str = "cert/";

pub(super) const PEM_TYPE: &str = "application/pem-certificate-chain";
pub(super) const DER_TYPE: &str = "application/pkix-cert";

const fn open(
    pattern: &'static str,
    operations: &'static [(Operation, Handler)],
    help: &'static str,
) -> Route {
    Route { pattern, operations, exists: None, fields: &[], traits: OPEN, help }
}

pub(super) const ROUTES: &[Route] = &[
    open("ca", &[(Operation::Read, ca_der)], "Shows the default issuer's certificate as DER."),
    open("ca/pem", &[(Operation::Read, ca_pem)], "Shows the default issuer's certificate as PEM."),
    open("ca_chain", &[(Operation::Read, ca_chain)], "Shows the default issuer's chain as PEM."),
    open("cert/ca", &[(Operation::Read, cert_ca)], "Shows the default issuer's certificate."),
    open("cert/ca_chain", &[(Operation::Read, cert_ca_chain)], "Shows the default issuer's chain."),
    open("cert/crl", &[(Operation::Read, cert_crl)], "Shows the default issuer's revocation list."),
    open(
        "cert/delta-crl",
        &[(Operation::Read, cert_delta)],
        "Shows the changes since the default issuer's list.",
    ),
    open("cert/{serial}", &[(Operation::Read, cert)], "Shows a certificate and when it was revoked."),
    open("cert/{serial}/raw", &[(Operation::Read, raw)], "Shows a certificate as DER."),
    open("cert/{serial}/raw/pem", &[(Operation::Read, raw_pem)], "Shows a certificate as PEM."),
    Route {
        pattern: "certs",
        operations: &[(Operation::List, list)],
        help: "Lists the serial numbers of the certificates kept.",
        ..Route::EMPTY
    },
    Route {
        pattern: "certs/revoked",
        operations: &[(Operation::List, list_revoked)],
        help: "Lists the serial numbers of the certificates revoked.",
        ..Route::EMPTY
    },
];

/// Keeps a certificate under its serial number.
pub(super) fn store(cx: &mut Context<'_, '_>, certificate: &Certificate) -> Result<(), Refusal> {
    cx.put(&format!("{CERTIFICATES}{}", super::colons(certificate.serial())), certificate.der())
}

/// The DER of the certificate with a serial number in stored form.
pub(super) fn stored(cx: &mut Context<'_, '_>, serial: &str) -> Result<Option<Vec<u8>>, Refusal> {
    cx.get(&format!("{CERTIFICATES}{serial}"))
}

fn ca_der(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    Ok(table
        .find(DEFAULT)
        .map_or_else(Response::empty, |issuer| Response::raw(DER_TYPE, issuer.certificate.der().to_vec())))
}

fn ca_pem(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    Ok(table
        .find(DEFAULT)
        .map_or_else(Response::empty, |issuer| Response::raw(PEM_TYPE, issuer.pem.clone().into_bytes())))
}

fn chain_text(chain: &[Certificate]) -> String {
    chain.iter().map(Certificate::pem).collect::<Vec<_>>().join("\n")
}

fn ca_chain(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    Ok(table.find(DEFAULT).map_or_else(Response::empty, |issuer| {
        Response::raw(PEM_TYPE, chain_text(&issuer.chain).into_bytes())
    }))
}

fn cert_ca(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    let issuer = table.find(DEFAULT).ok_or_else(Refusal::missing)?;
    Response::data(&json!({
        "certificate": issuer.pem, "revocation_time": 0, "revocation_time_rfc3339": "",
        "issuer_id": issuer.entry.id,
    }))
}

fn cert_ca_chain(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    let issuer = table.find(DEFAULT).ok_or_else(Refusal::missing)?;
    let chain = chain_text(&issuer.chain);
    Response::data(&json!({
        "certificate": chain, "ca_chain": chain, "revocation_time": 0, "revocation_time_rfc3339": "",
        "issuer_id": issuer.entry.id,
    }))
}

pub(super) fn cert_crl(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    crl_data(cx, List::Complete)
}

pub(super) fn cert_delta(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    crl_data(cx, List::Delta)
}

fn crl_data(cx: &mut Context<'_, '_>, which: List) -> Result<Response, Refusal> {
    let der = crl::current(cx, DEFAULT, which)?;
    Response::data(&json!({
        "certificate": pem::encode(pem::CRL, &der), "revocation_time": 0, "revocation_time_rfc3339": "",
        "issuer_id": "",
    }))
}

fn asked(cx: &mut Context<'_, '_>) -> Result<(String, Vec<u8>), Refusal> {
    let serial = super::serial(cx.param("serial")).ok_or_else(Refusal::missing)?;
    let der = stored(cx, &serial)?.ok_or_else(Refusal::missing)?;
    Ok((serial, der))
}

fn cert(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let (serial, der) = asked(cx)?;
    let revoked = revoke::find(cx, &serial)?;
    let issuer = revoked.as_ref().map_or("", |revoked| revoked.issuer.as_str());
    let at = revoked.as_ref().map(|revoked| Timestamp::from_nanos(revoked.at));
    Response::data(&json!({
        "certificate": pem::encode(pem::CERTIFICATE, &der),
        "revocation_time": at.map_or(0, Timestamp::secs),
        "revocation_time_rfc3339": at.map_or_else(String::new, |at| at.to_string()),
        "issuer_id": issuer,
    }))
}

fn raw(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Ok(Response::raw(DER_TYPE, asked(cx)?.1))
}

fn raw_pem(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Ok(Response::raw(PEM_TYPE, pem::encode(pem::CERTIFICATE, &asked(cx)?.1).into_bytes()))
}

fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Response::keys(&cx.list(CERTIFICATES)?)
}

fn list_revoked(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Response::keys(&cx.list(revoke::REVOKED)?)
}
