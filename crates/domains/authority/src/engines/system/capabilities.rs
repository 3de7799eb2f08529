//! `sys/capabilities`: what a token may do at some paths.

use crate::context::Context;
use crate::policy::Acl;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Kind, Route, field};
use crate::token;
use serde_json::{Map, json};
use std::sync::Arc;

const PATHS: Field = field("paths", Kind::List, "The paths, without `/v1/`.");
const PATH: Field = field("path", Kind::List, "An older name of `paths`.");

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "capabilities",
        operations: &[(Operation::Update, of_token)],
        fields: &[field("token", Kind::Text, "The token."), PATHS, PATH],
        help: "Shows what a token may do at some paths.",
        ..Route::EMPTY
    },
    Route {
        pattern: "capabilities-self",
        operations: &[(Operation::Update, own)],
        fields: &[field("token", Kind::Text, "Not looked at."), PATHS, PATH],
        help: "Shows what the token that asks may do at some paths.",
        ..Route::EMPTY
    },
    Route {
        pattern: "capabilities-accessor",
        operations: &[(Operation::Update, of_accessor)],
        fields: &[field("accessor", Kind::Text, "The token's accessor."), PATHS, PATH],
        help: "Shows what a token may do at some paths.",
        ..Route::EMPTY
    },
];

fn of_token(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let acl = of_shown_token(cx)?;
    answer(cx, &acl)
}

fn own(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let acl = cx.caller()?.acl.clone();
    answer(cx, &acl)
}

fn of_accessor(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let acl = of_named_token(cx)?;
    answer(cx, &acl)
}

/// The rights of the token in the field `token`.
pub(super) fn of_shown_token(cx: &mut Context<'_, '_>) -> Result<Arc<Acl>, Refusal> {
    let token = cx.fields().string("token")?.filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| Refusal::invalid("no token found"))?;
    let found = token::look_up(cx.txn, &token, cx.now)?;
    let (_, entry) = found.ok_or_else(|| Refusal::invalid("invalid token"))?;
    token::rights(cx.txn, &entry)
}

/// The rights of the token that the field `accessor` names.
pub(super) fn of_named_token(cx: &mut Context<'_, '_>) -> Result<Arc<Acl>, Refusal> {
    let accessor = cx.fields().string("accessor")?.filter(|accessor| !accessor.is_empty());
    let accessor = accessor.ok_or_else(|| Refusal::invalid("missing accessor"))?;
    let found = token::entry(cx.txn, &accessor, cx.now)?;
    let entry = found.ok_or_else(|| Refusal::invalid("invalid accessor"))?;
    token::rights(cx.txn, &entry)
}

fn answer(cx: &Context<'_, '_>, acl: &Arc<Acl>) -> Result<Response, Refusal> {
    let mut paths = cx.fields().strings("paths")?.unwrap_or_default();
    if paths.is_empty() {
        paths = cx.fields().strings("path")?.unwrap_or_default();
    }
    if paths.is_empty() {
        return Err(Refusal::invalid("paths must be supplied"));
    }
    if paths.iter().any(String::is_empty) {
        return Err(Refusal::invalid("missing path"));
    }
    let mut data = Map::new();
    for path in &paths {
        data.insert(path.clone(), json!(acl.capabilities(path, cx.now)));
    }
    if let [only] = &paths[..] {
        data.insert("capabilities".to_owned(), json!(acl.capabilities(only, cx.now)));
    }
    Ok(Response::data(&data)?.flattened())
}
