//! `identity/oidc/key`: what signs identity tokens.

use super::signing::{DEFAULT, KEYS, Named};
use super::{name, provider, roles, store};
use crate::context::Context;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Kind, Route, Traits, field};
use keyward_crypto::keys::Algorithm;
use serde_json::json;
use std::time::Duration;

const VERIFICATION_TTL: Field = field(
    "verification_ttl",
    Kind::Duration,
    "How long a public key is published after it signed last; 24h.",
);

const HEAVY: Traits = Traits { heavy: true, ..Route::EMPTY.traits };

pub(in super::super) const ROUTES: &[Route] = &[
    Route {
        pattern: "oidc/key",
        operations: &[(Operation::List, list)],
        help: "Lists the keys that sign identity tokens.",
        ..Route::EMPTY
    },
    Route {
        pattern: "oidc/key/{name}",
        operations: &[(Operation::Read, read), (Operation::Update, write), (Operation::Delete, delete)],
        exists: Some(exists),
        fields: &[
            field("algorithm", Kind::Text, "RS256, RS384, RS512, ES256, ES384, ES512 or EdDSA; RS256."),
            field("rotation_period", Kind::Duration, "How long a key pair signs; 24h."),
            VERIFICATION_TTL,
            field("allowed_client_ids", Kind::List, "For whom it may sign; `*` is everyone."),
        ],
        traits: HEAVY,
        help: "Shows, creates, changes and removes a key that signs identity tokens.",
    },
    Route {
        pattern: "oidc/key/{name}/rotate",
        operations: &[(Operation::Update, rotate)],
        fields: &[VERIFICATION_TTL],
        traits: HEAVY,
        help: "Lets the next key pair sign from now on.",
        ..Route::EMPTY
    },
];

fn exists(cx: &mut Context<'_, '_>) -> Result<bool, Refusal> {
    let path = format!("{KEYS}{}", name(cx));
    cx.exists(&path)
}

fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Response::keys(&cx.list(KEYS)?)
}

fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = name(cx);
    let named = store(cx).load(cx.txn, &name)?.ok_or(Refusal::missing())?;
    Response::data(&json!({
        "algorithm": named.algorithm,
        "allowed_client_ids": named.allowed_client_ids,
        "rotation_period": named.rotation_period,
        "verification_ttl": named.verification_ttl,
    }))
}

fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let (store, name) = (store(cx), name(cx));
    let known = if exists(cx)? { store.load(cx.txn, &name)? } else { None };
    let is_new = known.is_none();
    let mut named = known.unwrap_or_default();
    let (before, due) = (named.algorithm.clone(), named.due());
    let seconds = |name: &str| cx.fields().duration(name).map(|span| span.map(|span| span.as_secs()));
    named.rotation_period = seconds("rotation_period")?.unwrap_or(named.rotation_period);
    if named.rotation_period < 60 {
        return Err(Refusal::invalid("rotation_period must be at least one minute"));
    }
    named.verification_ttl = seconds("verification_ttl")?.unwrap_or(named.verification_ttl);
    if named.verification_ttl > named.rotation_period.saturating_mul(10) {
        return Err(Refusal::invalid("verification_ttl cannot be longer than 10x rotation_period"));
    }
    if let Some(clients) = cx.fields().strings("allowed_client_ids")? {
        named.allowed_client_ids = clients;
    }
    if let Some(algorithm) = cx.fields().string("algorithm")? {
        named.algorithm = algorithm;
    }
    if Algorithm::parse(&named.algorithm).is_none() {
        return Err(Refusal::invalid(format!("unknown signing algorithm {:?}", named.algorithm)));
    }
    roles::check_key_ttl(cx, &name, named.verification_ttl)?;
    provider::check_key_ttl(cx, &name, named.verification_ttl)?;
    if is_new || named.algorithm != before {
        named.renew(cx.txn, cx.now)?;
    } else {
        named.hasten(cx.now);
    }
    store.save(cx.txn, &name, &named, due)?;
    Ok(Response::empty())
}

fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = name(cx);
    if name == DEFAULT {
        return Err(Refusal::invalid(format!("deletion of key {DEFAULT:?} not allowed")));
    }
    roles::check_unused(cx, &name)?;
    provider::check_unused(cx, &name)?;
    store(cx).remove(cx.txn, &name)?;
    Ok(Response::empty())
}

fn rotate(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let (store, name) = (store(cx), name(cx));
    let found: Option<Named> = store.load(cx.txn, &name)?;
    let mut named = found.ok_or_else(|| Refusal::invalid(format!("no named key found at {name:?}")))?;
    let own = Duration::from_secs(named.verification_ttl);
    let verification = cx.fields().duration("verification_ttl")?.unwrap_or(own);
    let due = named.due();
    named.rotate(cx.txn, verification, cx.now)?;
    store.save(cx.txn, &name, &named, due)?;
    Ok(Response::empty())
}
