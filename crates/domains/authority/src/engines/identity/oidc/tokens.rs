//! `identity/oidc/token` and what others need to believe one: the issuer's address, its public keys, and a path that
//! says whether a token still counts.

use super::{ISSUER_IS_SET, check_issuer, name, roles, store, template};
use crate::context::Context;
use crate::identity;
use crate::jwt;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Kind, Route, Traits, field};
use keyward_crypto::keys::{Algorithm, JWS_ALGORITHMS};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The configuration, below the mount.
const CONFIG: &str = "oidc/config";

const OPEN: Traits = Traits { open: true, ..Route::EMPTY.traits };

pub(in super::super) const ROUTES: &[Route] = &[
    Route {
        pattern: "oidc/config",
        operations: &[(Operation::Read, read_config), (Operation::Update, write_config)],
        fields: &[field(
            "issuer",
            Kind::Text,
            "Scheme, host and port that tokens name; `api_addr` without it.",
        )],
        help: "Shows and changes who issues identity tokens.",
        ..Route::EMPTY
    },
    Route {
        pattern: "oidc/token/{name}",
        operations: &[(Operation::Read, issue)],
        traits: Traits { heavy: true, ..Route::EMPTY.traits },
        help: "Issues a signed token that says who the caller is.",
        ..Route::EMPTY
    },
    Route {
        pattern: "oidc/introspect",
        operations: &[(Operation::Update, introspect)],
        fields: &[
            field("token", Kind::Text, "The token."),
            field("client_id", Kind::Text, "Whom it must be for."),
        ],
        traits: Traits { heavy: true, ..Route::EMPTY.traits },
        help: "Says whether an identity token counts.",
        ..Route::EMPTY
    },
    Route {
        pattern: "oidc/.well-known/openid-configuration",
        operations: &[(Operation::Read, discover)],
        traits: OPEN,
        help: "Where to find what identity tokens are verified with.",
        ..Route::EMPTY
    },
    Route {
        pattern: "oidc/.well-known/keys",
        operations: &[(Operation::Read, public_keys)],
        traits: OPEN,
        help: "The public keys of identity tokens.",
        ..Route::EMPTY
    },
];

#[derive(Default, Serialize, Deserialize)]
struct Config {
    issuer: String,
}

/// What tokens name as their issuer.
fn issuer(cx: &mut Context<'_, '_>) -> Result<String, Refusal> {
    let config = cx.built_json::<Config>(CONFIG)?;
    let origin = match &config {
        Some(config) if !config.issuer.is_empty() => &config.issuer,
        _ => &cx.settings.api_addr,
    };
    Ok(format!("{origin}/v1/{}oidc", cx.mount.path))
}

fn read_config(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let config = cx.get_json::<Config>(CONFIG)?.unwrap_or_default();
    let response = Response::data(&json!({ "issuer": config.issuer }))?;
    Ok(match config.issuer.is_empty() && cx.settings.api_addr.is_empty() {
        true => response.warn(
            "Both \"issuer\" and \"api_addr\" are empty. The issuer claim in generated tokens will not be network \
             reachable.",
        ),
        false => response,
    })
}

fn write_config(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let Some(issuer) = cx.fields().string("issuer")? else { return Ok(Response::empty()) };
    let response = match issuer.is_empty() {
        true => Response::empty(),
        false => {
            check_issuer(&issuer)?;
            Response::empty().warn(ISSUER_IS_SET)
        }
    };
    cx.put_json(CONFIG, &Config { issuer })?;
    Ok(response)
}

fn issue(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = name(cx);
    let role = roles::find(cx)?.ok_or_else(|| Refusal::invalid(format!("role {name:?} not found")))?;
    let key = store(cx).ready(cx.txn, &role.key, cx.now)?;
    let key = key.ok_or_else(|| Refusal::invalid(format!("key {:?} not found", role.key)))?;
    if !key.named.allows(&role.client_id) {
        return Err(Refusal::invalid(format!(
            "the key {:?} does not list the client ID of the role {name:?} as an allowed client ID",
            role.key
        )));
    }
    let holder = cx.caller()?.holder.clone();
    let holder = holder.ok_or_else(|| Refusal::invalid("no entity associated with the request's token"))?;
    let ttl = role.ttl.min(key.named.verification_ttl);
    let mut claims = template::claims(&role.template, Some(&holder), cx.now).unwrap_or_default();
    claims.retain(|claim, _| !template::RESERVED.contains(&claim.as_str()));
    let issuer = issuer(cx)?;
    for (claim, value) in [
        ("iss", json!(issuer)),
        ("namespace", json!("root")),
        ("sub", json!(holder.entity.id)),
        ("aud", json!(role.client_id)),
        ("exp", json!(cx.now.secs() + ttl)),
        ("iat", json!(cx.now.secs())),
    ] {
        claims.insert(claim.to_owned(), value);
    }
    let token = key.sign(&claims)?;
    Response::data(&json!({ "token": token, "client_id": role.client_id, "ttl": ttl }))
}

fn discover(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let issuer = issuer(cx)?;
    Response::verbatim_json(&json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/.well-known/keys"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": JWS_ALGORITHMS.map(Algorithm::name),
    }))
}

fn public_keys(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let keys = store(cx).jwks(cx.txn, cx.now, |_| true)?;
    Response::verbatim_json(&keys)
}

fn introspect(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let token = cx.fields().string("token")?.unwrap_or_default();
    let client = cx.fields().string("client_id")?.unwrap_or_default();
    let verified = store(cx).verified(cx.txn, token.trim(), cx.now)?;
    let fault = match verified {
        None => Some("unable to validate the token signature".to_owned()),
        Some(claims) => fault(cx, &claims, &client)?,
    };
    Response::verbatim_json(&match fault {
        None => json!({ "active": true }),
        Some(why) => json!({ "active": false, "error": why }),
    })
}

/// Why a token that was signed here does not count, if it does not.
fn fault(
    cx: &mut Context<'_, '_>,
    claims: &Map<String, Value>,
    client: &str,
) -> Result<Option<String>, Refusal> {
    let text = |claim: &str| claims.get(claim).and_then(Value::as_str).unwrap_or_default();
    let seconds = |claim: &str| claims.get(claim).and_then(Value::as_u64).unwrap_or_default();
    let leeway = jwt::Leeways::default().skew.as_secs();
    let invalid = |why: &str| Ok(Some(format!("error validating claims: {why}")));
    if text("iss") != issuer(cx)? {
        return invalid("invalid issuer claim (iss)");
    }
    if !client.is_empty() && text("aud") != client {
        return invalid("invalid audience claim (aud)");
    }
    if seconds("exp") + leeway <= cx.now.secs() {
        return invalid("token is expired (exp)");
    }
    Ok(match identity::holder(cx.txn, text("sub"))? {
        None => Some("entity was not found".to_owned()),
        Some(holder) if holder.entity.disabled => Some("entity is disabled".to_owned()),
        Some(_) => None,
    })
}
