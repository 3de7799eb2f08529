//! What is known of tokens.

use crate::context::Context;
use crate::identity;
use crate::lease::Times;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::token::{self, TokenEntry};
use keyward_core::Timestamp;
use serde_json::{Map, Value, json};

pub(super) fn by_token(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    match cx.fields().string("token")?.filter(|token| !token.is_empty()) {
        Some(shown) => match token::look_up(cx.txn, &shown, cx.now)? {
            Some((_, entry)) => Response::data(&describe_whole(cx, &shown, &entry)?),
            None => Err(Refusal::Forbidden("bad token".into())),
        },
        None => own(cx),
    }
}

pub(super) fn own(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let token = cx.caller()?.token.clone();
    let shown = cx.request.token.as_ref().map_or("", |token| token.expose());
    let mut known = describe_whole(cx, shown, &token)?;
    // This request was one of the uses; after the last there is nothing, but zero would mean any number.
    match token.num_uses {
        0 => {}
        1 => known["num_uses"] = json!(-1),
        left => known["num_uses"] = json!(left - 1),
    }
    Response::data(&known)
}

pub(super) fn by_accessor(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let accessor = accessor(cx)?;
    match token::entry(cx.txn, &accessor, cx.now)? {
        Some(entry) => Response::data(&describe_whole(cx, "", &entry)?),
        None => Err(Refusal::invalid("invalid accessor")),
    }
}

/// The accessor in the request.
pub(super) fn accessor(cx: &Context<'_, '_>) -> Result<String, Refusal> {
    cx.fields().required("accessor")
}

pub(super) fn accessors(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Response::keys(&cx.list_at(token::ENTRIES)?)
}

/// The parent is left out: who knew it could use it.
fn describe(shown: &str, token: &TokenEntry, now: Timestamp) -> Map<String, Value> {
    let times = Times::of(token, now);
    let mut known = Map::new();
    let mut tell = |name: &str, value: Value| {
        known.insert(name.to_owned(), value);
    };
    tell("accessor", json!(token.accessor));
    tell("creation_time", json!(times.issued.secs()));
    tell("creation_ttl", json!(token.creation_ttl));
    tell("display_name", json!(token.display_name));
    tell("entity_id", json!(token.entity_id));
    tell("expire_time", json!(times.expires.map(|end| end.to_string())));
    tell("explicit_max_ttl", json!(token.explicit_max_ttl));
    tell("id", json!(shown));
    tell("issue_time", json!(times.issued.to_string()));
    tell("meta", if token.metadata.is_empty() { Value::Null } else { json!(token.metadata) });
    tell("num_uses", json!(token.num_uses));
    tell("orphan", json!(token.parent.is_empty()));
    tell("path", json!(token.path));
    tell("policies", json!(token.policies));
    tell("renewable", json!(times.renewable));
    tell("ttl", json!(times.ttl));
    tell("type", json!(token.kind.name()));
    if let Some(renewed) = times.renewed {
        tell("last_renewal", json!(renewed.to_string()));
        tell("last_renewal_time", json!(renewed.secs()));
    }
    if !token.role.is_empty() {
        tell("role", json!(token.role));
    }
    if token.period > 0 {
        tell("period", json!(token.period));
    }
    if !token.bound_cidrs.is_empty() {
        tell("bound_cidrs", json!(token.bound_cidrs));
    }
    known
}

/// As [`describe`], with what the token's identity grants now.
fn describe_whole(
    cx: &mut Context<'_, '_>,
    shown: &str,
    token: &TokenEntry,
) -> Result<Map<String, Value>, Refusal> {
    let mut known = describe(shown, token, cx.now);
    if !token.entity_id.is_empty()
        && let Some(holder) = identity::holder(cx.txn, &token.entity_id)?
        && !holder.policies.is_empty()
    {
        known.insert("identity_policies".to_owned(), json!(holder.policies));
        known.insert("external_namespace_policies".to_owned(), json!({}));
    }
    Ok(known)
}
