//! `ocsp`: whether a certificate is revoked, one at a time (RFC 6960).

use super::revoke;
use super::table::{self, DEFAULT, Issuer, Table};
use super::{OPEN, colons};
use crate::context::Context;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Kind, Route, Traits, field};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_core::Timestamp;
use keyward_crypto::x509::{CertStatus, OcspAnswer, OcspError, OcspRequest};
use std::sync::Arc;

const TYPE: &str = "application/ocsp-response";
const SERVES: Traits = Traits { heavy: true, ..OPEN };

const REQUEST: &[Field] = &[field(
    "req",
    Kind::Text,
    "The request in base64; a body of application/ocsp-request is taken as it is.",
)];

pub(super) const ROUTES: &[Route] = &[posted("ocsp"), gotten("ocsp/{req*}")];

/// OCSP by POST at `pattern`.
pub(super) const fn posted(pattern: &'static str) -> Route {
    Route {
        pattern,
        operations: &[(Operation::Update, answer)],
        fields: REQUEST,
        traits: SERVES,
        help: "Answers an OCSP request.",
        ..Route::EMPTY
    }
}

/// OCSP by GET at `pattern`, whose rest is the request.
pub(super) const fn gotten(pattern: &'static str) -> Route {
    Route {
        pattern,
        operations: &[(Operation::Read, answer)],
        traits: SERVES,
        help: "Answers an OCSP request in base64.",
        ..Route::EMPTY
    }
}

fn refused(why: OcspError) -> Response {
    let status = match why {
        OcspError::Malformed => 400,
        OcspError::Unauthorized => 401,
        OcspError::Internal => 500,
    };
    Response { status: Some(status), ..Response::raw(TYPE, why.der().to_vec()) }
}

fn answer(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    if table.config.crl.ocsp_disable {
        return Ok(refused(OcspError::Unauthorized));
    }
    let text = match cx.param("req") {
        "" => cx.fields().string("req")?.unwrap_or_default(),
        text => text.to_owned(),
    };
    let request = STANDARD.decode(text.trim()).ok().and_then(|der| OcspRequest::read(&der).ok());
    let Some(request) = request else { return Ok(refused(OcspError::Malformed)) };
    let Some(signer) = signer(&table, &request) else { return Ok(refused(OcspError::Unauthorized)) };
    let mut statuses = Vec::with_capacity(request.queries.len());
    for query in &request.queries {
        statuses.push(match query.is_of(&signer.certificate) {
            true => status(cx, signer, query.serial())?,
            false => CertStatus::Unknown,
        });
    }
    let at = super::now(cx);
    let until = at.saturating_add(table.config.crl.ocsp_seconds());
    let made = OcspAnswer { request: &request, statuses: &statuses, signer: &signer.certificate, at, until };
    let der = made.sign(&signer.key()?.key, signer.revocation_scheme()?).map_err(super::refuse)?;
    Ok(Response::raw(TYPE, der))
}

/// Who signs: the issuer that is asked about, or the default one to say that nothing is known.
fn signer<'t>(table: &'t Table, request: &OcspRequest) -> Option<&'t Arc<Issuer>> {
    let signs = |issuer: &&Arc<Issuer>| issuer.entry.usage.ocsp_signing && issuer.key.is_some();
    let asked = |issuer: &Arc<Issuer>| request.queries.iter().any(|query| query.is_of(&issuer.certificate));
    if table.issuers.iter().any(asked) {
        return table.issuers.iter().filter(signs).find(|issuer| asked(issuer));
    }
    table.find(DEFAULT).filter(signs)
}

/// A serial number of the issuer that was not revoked is good: certificates need not be kept here.
fn status(cx: &mut Context<'_, '_>, issuer: &Issuer, serial: &[u8]) -> Result<CertStatus, Refusal> {
    let revoked = revoke::find(cx, &colons(serial))?.filter(|revoked| revoked.group == issuer.group);
    Ok(revoked
        .map_or(CertStatus::Good, |revoked| CertStatus::Revoked(Timestamp::from_nanos(revoked.at).secs())))
}
