//! `certs/detailed` and `certs/revoked/detailed`: what the certificates kept are, as OpenBao lists them.

use super::{fetch, refuse, revoke};
use crate::context::Context;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Route, Traits};
use keyward_core::Timestamp;
use keyward_crypto::x509::{Certificate, PublicKind, San};
use serde_json::{Map, Value, json};

/// Certificates of one answer: each is read. More are shown page by page (`after`, `limit`).
const MOST: usize = 1000;
/// Host names shown of one certificate.
const MOST_NAMES: usize = 5;

/// Reading hundreds of certificates takes milliseconds.
const READS_MANY: Traits = Traits { heavy: true, ..Route::EMPTY.traits };

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "certs/detailed",
        operations: &[(Operation::List, list)],
        traits: READS_MANY,
        help: "Lists the certificates kept, with names, times and keys.",
        ..Route::EMPTY
    },
    Route {
        pattern: "certs/revoked/detailed",
        operations: &[(Operation::List, list_revoked)],
        traits: READS_MANY,
        help: "Lists the certificates revoked, with names, times, keys and when they were revoked.",
        ..Route::EMPTY
    },
];

fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    show(cx, fetch::CERTIFICATES, |_, _| Ok(None))
}

fn list_revoked(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    show(cx, revoke::REVOKED, |cx, serial| {
        Ok(revoke::find(cx, serial)?.map(|revoked| Timestamp::from_nanos(revoked.at)))
    })
}

/// The certificates whose serial numbers are below `folder`, with what `revoked` says of each.
fn show(
    cx: &mut Context<'_, '_>,
    folder: &str,
    revoked: impl Fn(&mut Context<'_, '_>, &str) -> Result<Option<Timestamp>, Refusal>,
) -> Result<Response, Refusal> {
    let serials = cx.list(folder)?;
    if serials.is_empty() {
        return Err(Refusal::missing());
    }
    if serials.len() > MOST {
        return Err(Refusal::invalid(format!(
            "there are more than {MOST} certificates: ask for them page by page with limit (at most {MOST}) and after (the \
             last serial number of the page before)"
        )));
    }
    let mut info = Map::new();
    for serial in &serials {
        let Some(der) = fetch::stored(cx, serial)? else { continue };
        let mut about = described(&Certificate::read(&der).map_err(refuse)?);
        if let Some(at) = revoked(cx, serial)? {
            about["revocation_time"] = json!(at.secs());
            about["revocation_time_rfc3339"] = json!(at.to_string());
        }
        info.insert(serial.clone(), about);
    }
    Response::data(&json!({ "keys": serials, "key_info": info }))
}

fn described(certificate: &Certificate) -> Value {
    let kind = certificate.public().kind();
    let names = certificate.known_names().unwrap_or_default().into_iter().filter_map(|name| match name {
        San::Dns(name) => Some(name),
        _ => None,
    });
    let moment = |secs| Timestamp::from_secs(secs).to_string();
    json!({
        "common_name": certificate.subject().common_name(),
        "issuer": certificate.issuer().to_string(),
        "key_type": kind.name(),
        "key_bits": if kind == PublicKind::Ed25519 { 256 } else { kind.bits() },
        "not_before": moment(certificate.not_before()),
        "not_after": moment(certificate.not_after()),
        "dns_names": names.take(MOST_NAMES).collect::<Vec<_>>(),
    })
}
