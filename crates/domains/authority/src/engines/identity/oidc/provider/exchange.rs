//! `token`: an application exchanges a code for tokens (RFC 6749, section 4.1.3).

use super::super::{name, store};
use super::authorize::{self, Grant};
use super::clients::{self, Client};
use super::userinfo::{Access, seal};
use super::{Fault, add_claims, assignments, oauth, providers, scopes, text};
use crate::context::Context;
use crate::identity::{self, Holder};
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Kind, Route, Traits, field};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_crypto::{same, sha256};
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub(in super::super::super) const ROUTES: &[Route] = &[Route {
    pattern: "oidc/provider/{name}/token",
    operations: &[(Operation::Update, token)],
    fields: &[
        field("grant_type", Kind::Text, "`authorization_code`."),
        field("code", Kind::Text, "The code."),
        field("redirect_uri", Kind::Text, "As it was when the code was asked for."),
        field(
            "client_id",
            Kind::Text,
            "The application, unless it names itself by HTTP's basic authentication.",
        ),
        field("client_secret", Kind::Text, "Its secret, likewise."),
        field("code_verifier", Kind::Text, "What the proof key is of (RFC 7636)."),
    ],
    traits: Traits { open: true, heavy: true, ..Route::EMPTY.traits },
    help: "Exchanges a code for an identity token and an access token.",
    ..Route::EMPTY
}];

fn token(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    match exchange(cx)? {
        Ok(tokens) => oauth(200, &tokens),
        Err(Fault(error, why)) => {
            let status = if error == "invalid_client" { 401 } else { 400 };
            oauth(status, &json!({ "error": error, "error_description": why }))
        }
    }
}

/// The application, if it is who it says.
fn client(cx: &mut Context<'_, '_>) -> Result<Result<Arc<Client>, Fault>, Refusal> {
    let basic = cx.request.shown.basic.as_ref().and_then(|shown| {
        let (id, secret) = shown.expose().split_once(':')?;
        Some((id.to_owned(), zeroize::Zeroizing::new(secret.to_owned())))
    });
    let (id, secret) = match basic {
        Some(shown) => shown,
        None => (text(cx, "client_id")?, zeroize::Zeroizing::new(text(cx, "client_secret")?)),
    };
    if id.is_empty() {
        return Ok(Err(Fault::new("invalid_request", "client_id parameter is required")));
    }
    let found = clients::by_id(cx, &id)?;
    let good = |client: &Arc<Client>| client.is_public() || same(client.secret.as_bytes(), secret.as_bytes());
    Ok(found.filter(good).ok_or_else(|| Fault::new("invalid_client", "client failed to authenticate")))
}

fn exchange(cx: &mut Context<'_, '_>) -> Result<Result<Value, Fault>, Refusal> {
    let fault = |error, why: &str| Ok(Err(Fault::new(error, why)));
    let name = name(cx);
    let Some(provider) = providers::find(cx, &name)? else {
        return fault("invalid_request", "provider not found");
    };
    let client = match client(cx)? {
        Ok(client) => client,
        Err(why) => return Ok(Err(why)),
    };
    if !provider.allows(&client.id) {
        return fault("invalid_client", "client is not authorized to use the provider");
    }
    let Some(key) = store(cx).ready(cx.txn, &client.key, cx.now)? else {
        return fault("server_error", "the client's key is not there any more");
    };
    if !key.named.allows(&client.id) {
        return fault("invalid_client", "client is not authorized to use the key");
    }
    if text(cx, "grant_type")? != "authorization_code" {
        return fault("unsupported_grant_type", "unsupported grant_type or parameter is empty value");
    }
    let code = text(cx, "code")?;
    if code.is_empty() {
        return fault("invalid_request", "code parameter is required");
    }
    let Some(grant) = authorize::take(cx, &code)? else {
        return fault("invalid_grant", "authorization grant is invalid or expired");
    };
    if let Err(why) = check(cx, &grant, &client, &name)? {
        return Ok(Err(why));
    }
    let holder = identity::holder(cx.txn, &grant.entity)?.filter(|holder| !holder.entity.disabled);
    let Some(holder) = holder else {
        return fault("invalid_request", "identity entity associated with the request not found");
    };
    if !assignments::assigned(cx, &client.assignments, &holder)? {
        return fault("invalid_request", "identity entity not authorized by client assignment");
    }
    let access = seal(
        cx,
        &Access {
            provider: name.clone(),
            client: client.id.clone(),
            entity: holder.entity.id.clone(),
            scopes: grant.scopes.clone(),
            ends: cx.now.secs() + client.access_token_ttl,
        },
    )?;
    let mut claims = match of_scopes(cx, &grant.scopes, &holder)? {
        Ok(claims) => claims,
        Err(why) => return Ok(Err(why)),
    };
    for (claim, value) in [
        ("namespace", json!("root")),
        ("iss", json!(provider.issuer(cx, &name))),
        ("sub", json!(holder.entity.id)),
        ("aud", json!(client.id)),
        ("exp", json!(cx.now.secs() + client.id_token_ttl.min(key.named.verification_ttl))),
        ("iat", json!(cx.now.secs())),
        ("at_hash", json!(key.half_hash(&access)?)),
        ("c_hash", json!(key.half_hash(&code)?)),
    ] {
        claims.insert(claim.to_owned(), value);
    }
    if !grant.nonce.is_empty() {
        claims.insert("nonce".to_owned(), json!(grant.nonce));
    }
    if grant.auth_time > 0 {
        claims.insert("auth_time".to_owned(), json!(grant.auth_time));
    }
    Ok(Ok(json!({
        "token_type": "Bearer",
        "access_token": access,
        "id_token": key.sign(&claims)?,
        "expires_in": client.access_token_ttl,
    })))
}

/// Whether the code is this application's, for this redirect, with the proof that goes with it.
fn check(
    cx: &Context<'_, '_>,
    grant: &Grant,
    client: &Client,
    provider: &str,
) -> Result<Result<(), Fault>, Refusal> {
    let fault = |error, why: &str| Ok(Err(Fault::new(error, why)));
    if grant.client != client.id {
        return fault("invalid_grant", "authorization code was not issued to the client");
    }
    if grant.provider != provider {
        return fault("invalid_grant", "authorization code was not issued by the provider");
    }
    match text(cx, "redirect_uri")? {
        uri if uri.is_empty() => return fault("invalid_request", "redirect_uri parameter is required"),
        uri if uri != grant.redirect_uri => {
            return fault(
                "invalid_grant",
                "redirect_uri does not match the redirect_uri used in the authorization request",
            );
        }
        _ => {}
    }
    let verifier = text(cx, "code_verifier")?;
    match (&grant.challenge, verifier.is_empty()) {
        (None, _) if client.is_public() => fault("invalid_request", "PKCE is required for public clients"),
        (None, false) => fault("invalid_request", "unexpected code_verifier for token exchange"),
        (None, true) => Ok(Ok(())),
        (Some(_), true) => fault("invalid_request", "expected code_verifier for token exchange"),
        (Some((challenge, hashed)), false) => {
            let shown = match hashed {
                true => URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes())),
                false => verifier,
            };
            match same(shown.as_bytes(), challenge.as_bytes()) {
                true => Ok(Ok(())),
                false => fault("invalid_grant", "invalid code_verifier for token exchange"),
            }
        }
    }
}

/// The claims of `wanted` scopes together.
pub(super) fn of_scopes(
    cx: &mut Context<'_, '_>,
    wanted: &[String],
    holder: &Holder,
) -> Result<Result<Map<String, Value>, Fault>, Refusal> {
    let mut claims = Map::new();
    for scope in wanted {
        let more = scopes::claims(cx, scope, holder)?;
        if let Err(why) = add_claims(&mut claims, more) {
            return Ok(Err(why));
        }
    }
    Ok(Ok(claims))
}
