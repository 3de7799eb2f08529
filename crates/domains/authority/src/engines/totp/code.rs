//! Codes.

use super::super::named;
use super::key::Key;
use crate::context::Context;
use crate::refusal::Refusal;
use crate::response::Response;
use serde_json::json;
use std::sync::Arc;

/// Where the period of the last code that counted is kept.
fn used(cx: &Context<'_, '_>) -> String {
    format!("used/{}", cx.param("name"))
}

/// Forgets which codes of the key were used: it is another key now.
pub(super) fn forget(cx: &mut Context<'_, '_>) {
    let path = used(cx);
    cx.delete(&path);
}

fn key(cx: &mut Context<'_, '_>) -> Result<Arc<Key>, Refusal> {
    let unknown = Refusal::invalid(format!("unknown key: {}", cx.param("name")));
    named::wanted::<Key>(cx)?.ok_or(unknown)
}

pub(super) fn make(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let key = key(cx)?;
    let parameters = key.parameters();
    let code = parameters.code(key.bytes(), parameters.counter(cx.now.secs()));
    let code = code.ok_or_else(|| Refusal::Internal("a stored key makes no codes".to_owned()))?;
    Response::data(&json!({ "code": code }))
}

/// Whether a code is right. One that was right once is not again, nor is one of an earlier period (RFC 6238, 5.2).
pub(super) fn check(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let key = key(cx)?;
    let code = cx.fields().string("code")?.unwrap_or_default();
    if code.is_empty() {
        return Err(Refusal::invalid("the code value is required"));
    }
    let Some(counter) = key.parameters().matching(key.bytes(), code.trim(), cx.now.secs(), key.skew) else {
        return Response::data(&json!({ "valid": false }));
    };
    let path = used(cx);
    if cx.get_json::<u64>(&path)?.is_some_and(|last| counter <= last) {
        return Err(Refusal::invalid("code already used; wait until the next time period"));
    }
    cx.put_json(&path, &counter)?;
    Response::data(&json!({ "valid": true }))
}
