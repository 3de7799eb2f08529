//! Leases on certificates, for roles that ask for them: a certificate is revoked when its lease is, and with the token
//! that it was issued under.

use super::fetch::CERTIFICATES;
use super::{revoke, table};
use crate::context::Context;
use crate::lease::{self, Issue, Issued, Next, Terms};
use crate::mounts;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::txn::Txn;
use keyward_core::Timestamp;
use keyward_crypto::x509::Certificate;
use serde_json::{Value, json};
use std::time::Duration;

pub(super) const OPS: lease::Ops = lease::Ops { revoke: take_back, terms, extend, complete: None };

const SERIAL: &str = "serial_number";

/// Leases what `response` shows for as long as `certificate` is valid, or for as long as the mount leases at all.
pub(super) fn lease(
    cx: &mut Context<'_, '_>,
    response: Response,
    certificate: &Certificate,
) -> Result<Response, Refusal> {
    let ttl = Duration::from_secs(certificate.not_after().saturating_sub(super::now(cx)));
    let issue = Issue {
        what: json!({ SERIAL: super::colons(certificate.serial()) }),
        terms: Terms { ttl, ..Terms::default() },
        renewable: false,
    };
    lease::issue(cx, issue, response, |_, _| Ok(None))
}

/// Revokes the certificate, unless it has expired or its issuer is not here any more, so that no list can show it.
fn take_back(txn: &mut Txn<'_>, lease: &Issued, now: Timestamp) -> Next {
    let prefix = mounts::prefix(&lease.mount);
    let serial = lease.what.get(SERIAL).and_then(Value::as_str).unwrap_or_default();
    let Some(der) = txn.get(&format!("{prefix}{CERTIFICATES}{serial}"))? else { return Ok(None) };
    let certificate = Certificate::read(&der).map_err(super::refuse)?;
    if certificate.not_after() <= now.secs() {
        return Ok(None);
    }
    let table = table::of_mount(txn, &prefix)?;
    if let Ok(issuer) = revoke::signer(&table, &certificate) {
        revoke::add_below(txn, &prefix, (&table, issuer, &certificate), now)?;
    }
    Ok(None)
}

fn terms(_: &mut Txn<'_>, _: &Issued) -> Result<Terms, Refusal> {
    Err(Refusal::invalid("lease is not renewable: a certificate ends when it ends"))
}

fn extend(txn: &mut Txn<'_>, lease: &Issued, _: Timestamp) -> Next {
    terms(txn, lease).map(|_| None)
}
