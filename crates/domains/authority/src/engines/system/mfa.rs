//! `sys/mfa/validate`: the second half of a login that needs a second factor.

use crate::context::Context;
use crate::identity;
use crate::identity::mfa::{self, Factor};
use crate::mounts;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Kind, Route, Traits, field};
use crate::token::{self, NewToken};
use serde_json::Value;
use std::time::Duration;

pub(super) const ROUTES: &[Route] = &[Route {
    pattern: "mfa/validate",
    operations: &[(Operation::Update, validate)],
    fields: &[
        field("mfa_request_id", Kind::Text, "The login that waits."),
        field("mfa_payload", Kind::Json, "Codes, by the id or name of the method."),
    ],
    traits: Traits { open: true, ..Route::EMPTY.traits },
    help: "Finishes a login that needs a second factor.",
    ..Route::EMPTY
}];

fn validate(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let refuse = |why: &str| Err(Refusal::invalid(why));
    let id = cx.fields().string("mfa_request_id")?.unwrap_or_default();
    if id.is_empty() {
        return refuse("missing request ID");
    }
    let factors = factors(cx)?;
    let Some(waiting) = mfa::waiting(cx.txn, &id, cx.now)? else { return refuse("invalid request ID") };
    let table = mounts::table(cx.txn)?;
    let Some(mount) = table.iter().find(|mount| mount.uuid == waiting.mount) else {
        return refuse("the auth method of the login is not there any more: log in elsewhere");
    };
    let entity = waiting.entry.entity_id.clone();
    let holder = identity::holder(cx.txn, &entity)?.filter(|holder| !holder.entity.disabled);
    let Some(holder) = holder else {
        return Err(Refusal::denied("the entity that the login is of is disabled or gone"));
    };
    let enforced = mfa::enforced(cx.txn, mount, &entity)?;
    if let Err(refusal) = mfa::satisfied(cx.txn, &enforced, &holder.entity.id, &factors, cx.now)? {
        return Ok(Response::refused(refusal));
    }
    mfa::done(cx.txn, &id, &waiting);
    let new = NewToken { entry: waiting.entry, ttl: Duration::from_secs(waiting.ttl), id: None };
    let auth = token::issue(cx.txn, new, cx.now)?;
    Ok(Response { auth: Some(Box::new(auth)), ..Response::empty() })
}

/// What was shown: a list of codes for each method, of which one counts.
fn factors(cx: &Context<'_, '_>) -> Result<Vec<Factor>, Refusal> {
    let invalid = || Refusal::invalid("invalid mfa payload");
    let Some(payload) = cx.fields().value("mfa_payload")? else {
        return Err(Refusal::invalid("missing mfa payload"));
    };
    // Clients on a command line send the text of an object.
    let payload = match payload {
        Value::String(text) => serde_json::from_str(&text).map_err(|_| invalid())?,
        payload => payload,
    };
    let mut factors = Vec::new();
    for (method, codes) in payload.as_object().ok_or_else(invalid)? {
        let codes = match codes {
            Value::Array(codes) => codes.iter().map(Value::as_str).collect(),
            Value::String(code) => vec![Some(code.as_str())],
            _ => return Err(invalid()),
        };
        let codes: Vec<&str> =
            codes.into_iter().map(|code| code.ok_or_else(invalid)).collect::<Result<_, _>>()?;
        match codes.into_iter().filter(|code| !code.is_empty()).collect::<Vec<_>>()[..] {
            [] => {}
            [code] => factors.push(Factor::new(method, code)),
            _ => return Err(Refusal::invalid("found multiple passcodes for the same MFA method")),
        }
    }
    Ok(factors)
}
