//! The ACME server (RFC 8555): certificates for names and addresses that clients prove to be theirs.
//!
//! Every directory (the mount's own, and those below roles and issuers) has accounts and orders of its own. What is
//! stored, below the mount:
//!
//! | key | what |
//! |---|---|
//! | `acme/config` | see [`config`] |
//! | `acme/account/ID`, `acme/key/DIRECTORY/THUMBPRINT` | accounts, and the way to them by their keys |
//! | `acme/eab/ID` | external account bindings that were not used yet |
//! | `acme/order/ACCOUNT/ID` | orders with their authorizations and challenges: one entry, so that they change together |
//! | `acme/certificate/SERIAL` | who ordered a certificate |
//!
//! A challenge that its client calls ready has a due entry; what is looked at outside is asked for by that (see
//! [`crate::act::challenge`]), tried again when it fails, and survives a restart. Orders that come to nothing have one
//! that deletes them. Requests are told from repeated ones by nonces that are nowhere stored: see [`crate::nonces`].
//!
//! Where this differs from Vault: certificates have exactly the names of the order, whatever else the request for them
//! asks for; an account's key can be changed; a URL is that of the request, not only its end; a key may have an account in
//! each directory; orders that come to nothing are not kept until somebody tidies. Absent: pre-authorization, `notBefore`
//! and `notAfter` of orders, terms of service, CAA, revocation reasons.

mod account;
mod authorization;
mod config;
mod eab;
mod key_change;
mod order;
mod revoke;
mod server;
pub(crate) mod tidy;
mod validation;
mod wrong;

use crate::context::Context;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Handler, Journal, Kind, Route, Traits, field};
use serde_json::json;
use server::open;

pub(super) const CONFIG_ROUTES: &[Route] = config::ROUTES;
pub(super) const EAB_ROUTES: &[Route] = eab::ROUTES;
pub(super) const JOURNAL: Journal = Journal { due: validation::due, conclude: validation::conclude };

/// A JWS in flattened JSON.
const FIELDS: &[Field] = &[
    field("protected", Kind::Text, "The protected header, in base64url."),
    field("payload", Kind::Text, "What is said, in base64url."),
    field("signature", Kind::Text, "The signature, in base64url."),
];

const OPEN: Traits = super::OPEN;
/// Signs with the issuer's key.
const SIGNS: Traits = Traits { heavy: true, ..super::OPEN };

const fn signed(
    pattern: &'static str,
    operations: &'static [(Operation, Handler)],
    help: &'static str,
) -> Route {
    Route { pattern, operations, exists: None, fields: FIELDS, traits: OPEN, help }
}

/// The routes of the directories below one path.
macro_rules! directory {
    ($path:literal) => {
        &[
            Route {
                pattern: concat!($path, "acme/directory"),
                operations: &[(Operation::Read, show)],
                traits: OPEN,
                help: "Shows where the ACME server's resources are.",
                ..Route::EMPTY
            },
            Route {
                pattern: concat!($path, "acme/new-nonce"),
                operations: &[(Operation::Read, new_nonce)],
                traits: Traits { head: true, ..OPEN },
                help: "Hands out a nonce for a request to the ACME server.",
                ..Route::EMPTY
            },
            Route {
                pattern: concat!($path, "acme/new-eab"),
                operations: &[(Operation::Update, eab::make)],
                help: "Makes an external account binding for one new ACME account.",
                ..Route::EMPTY
            },
            signed(
                concat!($path, "acme/new-account"),
                &[(Operation::Update, account::new)],
                "Makes an ACME account, or finds the one of a key.",
            ),
            signed(
                concat!($path, "acme/account/{kid}"),
                &[(Operation::Update, account::change)],
                "Shows, changes and deactivates an ACME account.",
            ),
            signed(
                concat!($path, "acme/key-change"),
                &[(Operation::Update, key_change::change)],
                "Gives an ACME account another key.",
            ),
            signed(
                concat!($path, "acme/new-order"),
                &[(Operation::Update, order::new)],
                "Orders a certificate.",
            ),
            signed(
                concat!($path, "acme/orders"),
                &[(Operation::Update, order::list)],
                "Lists an account's orders.",
            ),
            signed(
                concat!($path, "acme/order/{order_id}"),
                &[(Operation::Update, order::show)],
                "Shows an order.",
            ),
            Route {
                traits: SIGNS,
                ..signed(
                    concat!($path, "acme/order/{order_id}/finalize"),
                    &[(Operation::Update, order::finalize)],
                    "Issues the certificate of an order whose names are proved.",
                )
            },
            signed(
                concat!($path, "acme/order/{order_id}/cert"),
                &[(Operation::Update, order::certificate)],
                "Shows the certificate of an order, and its chain.",
            ),
            signed(
                concat!($path, "acme/authorization/{auth_id}"),
                &[(Operation::Update, authorization::show)],
                "Shows and deactivates an authorization.",
            ),
            signed(
                concat!($path, "acme/challenge/{auth_id}/{challenge_type}"),
                &[(Operation::Update, authorization::answer)],
                "Shows a challenge, and has it validated.",
            ),
            Route {
                traits: SIGNS,
                ..signed(
                    concat!($path, "acme/revoke-cert"),
                    &[(Operation::Update, revoke::revoke)],
                    "Revokes a certificate for its account, or whoever has its key.",
                )
            },
        ]
    };
}

pub(super) const ROUTES: &[Route] = directory!("");
pub(super) const OF_ROLE: &[Route] = directory!("roles/{role}/");
pub(super) const OF_ISSUER: &[Route] = directory!("issuer/{issuer_ref}/");
pub(super) const OF_ISSUER_AND_ROLE: &[Route] = directory!("issuer/{issuer_ref}/roles/{role}/");

fn show(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    open(cx, |_, directory| {
        let bound = directory.config.eab_policy != config::EabPolicy::Nobody;
        Ok(Response::verbatim_json(&json!({
            "newNonce": directory.at("new-nonce"),
            "newAccount": directory.at("new-account"),
            "newOrder": directory.at("new-order"),
            "revokeCert": directory.at("revoke-cert"),
            "keyChange": directory.at("key-change"),
            "meta": { "externalAccountRequired": bound },
        }))?)
    })
}

/// 200 to `HEAD` and 204 to `GET` (RFC 8555, section 7.2).
fn new_nonce(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let status = if cx.request.head { 200 } else { 204 };
    open(cx, |_, _| Ok(Response::empty().with_status(status)))
}

#[cfg(test)]
mod tests;
