//! `unified-…`: lists, OCSP and revocations of all clusters, as Vault Enterprise has them.
//!
//! There clusters keep revocations apart and bring them together for these paths. Here every node works on one store, so
//! that the usual paths say everything already, and these say the same: certificates that point to them are checked well,
//! with `unified_crl` or without. What one cluster would ask of another is never waited for.

use super::crl::{self, DELTA_HELP, HELP, SHOWS, serves};
use super::{fetch, ocsp, revoke};
use crate::context::Context;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::Route;
use crate::seal;
use serde_json::{Map, Value, json};

pub(super) const ROUTES: &[Route] = &[
    serves("unified-crl", crl::DER, SHOWS, HELP),
    serves("unified-crl/pem", crl::PEM, SHOWS, HELP),
    serves("unified-crl/delta", crl::DELTA_DER, SHOWS, DELTA_HELP),
    serves("unified-crl/delta/pem", crl::DELTA_PEM, SHOWS, DELTA_HELP),
    serves("issuer/{issuer_ref}/unified-crl", crl::DER, SHOWS, HELP),
    serves("issuer/{issuer_ref}/unified-crl/der", crl::DER, SHOWS, HELP),
    serves("issuer/{issuer_ref}/unified-crl/pem", crl::PEM, SHOWS, HELP),
    serves("issuer/{issuer_ref}/unified-crl/delta", crl::DELTA_DER, SHOWS, DELTA_HELP),
    serves("issuer/{issuer_ref}/unified-crl/delta/der", crl::DELTA_DER, SHOWS, DELTA_HELP),
    serves("issuer/{issuer_ref}/unified-crl/delta/pem", crl::DELTA_PEM, SHOWS, DELTA_HELP),
    serves("cert/unified-crl", &[(Operation::Read, fetch::cert_crl)], SHOWS, HELP),
    serves("cert/unified-delta-crl", &[(Operation::Read, fetch::cert_delta)], SHOWS, DELTA_HELP),
    ocsp::posted("unified-ocsp"),
    ocsp::gotten("unified-ocsp/{req*}"),
    Route {
        pattern: "certs/unified-revoked",
        operations: &[(Operation::List, list_revoked)],
        help: "Lists the serial numbers of the certificates revoked, and which cluster revoked them.",
        ..Route::EMPTY
    },
    Route {
        pattern: "certs/revocation-queue",
        operations: &[(Operation::List, list_waiting)],
        help: "Lists the revocations that wait for another cluster: none ever does.",
        ..Route::EMPTY
    },
];

fn list_revoked(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let serials = cx.list(revoke::REVOKED)?;
    if serials.is_empty() {
        return Err(Refusal::missing());
    }
    let cluster = seal::config(cx.txn.view())?.map(|config| config.cluster_id).unwrap_or_default();
    let info: Map<String, Value> =
        serials.iter().map(|serial| (serial.clone(), json!({ "revoking_clusters": [cluster] }))).collect();
    Response::data(&json!({ "keys": serials, "key_info": info }))
}

fn list_waiting(_: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Response::keys(&[])
}
