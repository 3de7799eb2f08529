//! The cubbyhole: entries that belong to one token and end with it.

use crate::context::Context;
use crate::cubbyhole::prefix;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::{Data, Response};
use crate::route::{Backend, Route, Traits};
use crate::token::TokenKind;

/// See the module.
pub static BACKEND: Backend = Backend {
    kind: "cubbyhole",
    about: "Stores secrets that only the token that wrote them can read, for as long as it lives.",
    routes: &[&[Route {
        pattern: "{path*}",
        operations: &[
            (Operation::Read, read),
            (Operation::Update, write),
            (Operation::Delete, delete),
            (Operation::List, list),
        ],
        exists: Some(exists),
        traits: Traits { any_fields: true, ..Route::EMPTY.traits },
        help: "Reads, writes, lists and deletes the token's own secrets.",
        ..Route::EMPTY
    }]],
    ..Backend::EMPTY
};

fn key(cx: &Context<'_, '_>) -> Result<String, Refusal> {
    let caller = cx.caller()?;
    if caller.token.kind == TokenKind::Batch {
        return Err(Refusal::invalid("cubbyhole operations are not supported by batch tokens"));
    }
    Ok(format!("{}{}", prefix(&caller.name), cx.param("path")))
}

fn exists(cx: &mut Context<'_, '_>) -> Result<bool, Refusal> {
    let key = key(cx)?;
    cx.txn.exists(&key)
}

fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let key = key(cx)?;
    let Some(stored) = cx.txn.get(&key)? else { return Err(Refusal::missing()) };
    let data = String::from_utf8(stored).ok().and_then(Data::from_json).ok_or(Refusal::Corrupt(key))?;
    Ok(Response { data: Some(data), ..Response::default() })
}

fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let key = key(cx)?;
    if key.ends_with('/') || cx.fields().names().next().is_none() {
        return Err(Refusal::invalid("missing data fields"));
    }
    // Relying on the token's entry: what a token revoked at the same time keeps would never be removed.
    let entry = crate::token::entry_key(&cx.caller()?.name);
    if !cx.txn.exists(&entry)? {
        return Err(Refusal::denied("the token was revoked"));
    }
    let plain = cx.fields().to_json();
    cx.txn.put(&key, plain.as_bytes())?;
    Ok(Response::empty())
}

fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let key = key(cx)?;
    cx.txn.delete(&key);
    Ok(Response::empty())
}

fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let key = key(cx)?;
    Response::keys(&cx.txn.list(&key, "", usize::MAX)?)
}
