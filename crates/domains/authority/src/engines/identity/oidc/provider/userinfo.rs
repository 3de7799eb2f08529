//! `userinfo`: what an application may know of somebody, by its access token (OpenID Connect Core, section 5.3).
//!
//! An access token carries itself, sealed as batch tokens are but for another purpose: it is good for nothing else.

use super::super::name;
use super::exchange::of_scopes;
use super::{Fault, assignments, clients, oauth, providers};
use crate::context::Context;
use crate::identity;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Route, Traits};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(in super::super::super) const ROUTES: &[Route] = &[Route {
    pattern: "oidc/provider/{name}/userinfo",
    operations: &[(Operation::Read, userinfo), (Operation::Update, userinfo)],
    traits: Traits { open: true, any_fields: true, ..Route::EMPTY.traits },
    help: "Shows an application who signed in.",
    ..Route::EMPTY
}];

/// What access tokens are sealed for.
const PURPOSE: &[u8] = b"oidc access token";

/// What an access token stands for.
#[derive(Serialize, Deserialize)]
pub(super) struct Access {
    pub(super) provider: String,
    pub(super) client: String,
    pub(super) entity: String,
    pub(super) scopes: Vec<String>,
    /// Seconds since the epoch.
    pub(super) ends: u64,
}

/// The access token itself.
pub(super) fn seal(cx: &Context<'_, '_>, access: &Access) -> Result<String, Refusal> {
    let plain = serde_json::to_vec(access)
        .map_err(|why| Refusal::Internal(format!("an access token could not be written: {why}")))?;
    Ok(URL_SAFE_NO_PAD.encode(cx.txn.keyring().batch.seal_with(cx.random(), PURPOSE, &plain)))
}

fn open(cx: &Context<'_, '_>, token: &str) -> Option<Access> {
    let sealed = URL_SAFE_NO_PAD.decode(token).ok()?;
    let plain = cx.txn.keyring().batch.open_prefixed(PURPOSE, &sealed).ok()?;
    let access: Access = serde_json::from_slice(&plain).ok()?;
    (access.ends > cx.now.secs()).then_some(access)
}

fn userinfo(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    match claims(cx)? {
        Ok(claims) => oauth(200, &claims),
        Err(Fault(error, why)) => {
            let status = if error == "invalid_token" { 401 } else { 403 };
            oauth(status, &json!({ "error": error, "error_description": why }))
        }
    }
}

fn claims(cx: &mut Context<'_, '_>) -> Result<Result<Value, Fault>, Refusal> {
    let fault = |error, why: &str| Ok(Err(Fault::new(error, why)));
    let name = name(cx);
    let shown = cx.request.token.as_ref().and_then(|token| open(cx, token.expose()));
    let Some(access) = shown.filter(|access| access.provider == name) else {
        return fault("invalid_token", "access token is malformed, expired or of another provider");
    };
    let (provider, client) = (providers::find(cx, &name)?, clients::by_id(cx, &access.client)?);
    let Some(client) = client.filter(|client| provider.is_some_and(|provider| provider.allows(&client.id)))
    else {
        return fault("access_denied", "client is not authorized to use the provider");
    };
    let holder = identity::holder(cx.txn, &access.entity)?.filter(|holder| !holder.entity.disabled);
    let Some(holder) = holder else {
        return fault("access_denied", "identity entity of the access token not found");
    };
    if !assignments::assigned(cx, &client.assignments, &holder)? {
        return fault("access_denied", "identity entity not authorized by client assignment");
    }
    Ok(of_scopes(cx, &access.scopes, &holder)?.map(|mut claims| {
        claims.insert("sub".to_owned(), json!(holder.entity.id));
        Value::Object(claims)
    }))
}
