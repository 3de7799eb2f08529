//! Revocation (RFC 8555, section 7.6), by the account that ordered a certificate or by whoever has its key.

use super::super::{colons, fetch, revoke as revocation};
use super::order::CERTIFICATES;
use super::server::{check_standing, signed};
use super::wrong::Kind;
use crate::context::Context;
use crate::refusal::Refusal;
use crate::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_crypto::x509::Certificate;
use serde_json::Value;

pub(super) fn revoke(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    signed(cx, |cx, directory, request| {
        let said = request.said()?;
        let unreadable = || {
            Kind::Malformed.because("certificate must be a certificate's DER in base64url without padding")
        };
        let der = said
            .get("certificate")
            .and_then(Value::as_str)
            .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let certificate = der.and_then(|der| Certificate::read(&der).ok()).ok_or_else(unreadable)?;
        if said.get("reason").is_some_and(|reason| reason.as_u64() != Some(0)) {
            return Err(
                Kind::BadRevocationReason.because("revocation reasons are not kept: leave it out, or send 0")
            );
        }
        let serial = colons(certificate.serial());
        let kept = fetch::stored(cx, &serial)?;
        if kept.is_none_or(|kept| kept != certificate.der()) {
            return Err(Kind::Malformed.because("the certificate is none of this server's").with_status(404));
        }
        let mine = match &request.account {
            Some(account) => {
                check_standing(directory, account)?;
                let holder = cx.get_json::<String>(&format!("{CERTIFICATES}{serial}"))?;
                holder.is_some_and(|holder| holder == account.id)
            }
            None => request.key.public == *certificate.public(),
        };
        if !mine {
            return Err(Kind::Unauthorized
                .because("the account did not order the certificate, or the key is not the certificate's"));
        }
        if revocation::find(cx, &serial)?.is_some() {
            return Err(Kind::AlreadyRevoked.because("the certificate has been revoked before"));
        }
        if certificate.not_after() < cx.now.secs() {
            return Err(Kind::Malformed.because("the certificate has expired"));
        }
        let issuer = revocation::signer(&directory.table, &certificate)?;
        revocation::add(cx, &directory.table, issuer, &certificate)?;
        Ok(Response::empty().with_status(200))
    })
}
