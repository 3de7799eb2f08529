//! `identity/oidc/scope`: which claims an application may ask for by one word.

use super::super::roles::decoded;
use super::super::{name, template};
use super::{OPENID, entries, providers, refuse_used, text};
use crate::context::Context;
use crate::identity::Holder;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Kind, Route, field};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;

const SCOPES: &str = "oidc/scope/";

pub(in super::super::super) const ROUTES: &[Route] = &[
    Route {
        pattern: "oidc/scope",
        operations: &[(Operation::List, list)],
        help: "Lists the scopes.",
        ..Route::EMPTY
    },
    Route {
        pattern: "oidc/scope/{name}",
        operations: &[(Operation::Read, read), (Operation::Update, write), (Operation::Delete, delete)],
        exists: Some(exists),
        fields: &[
            field("template", Kind::Text, "The claims, as JSON with places to fill in; may be in base64."),
            field("description", Kind::Text, "Words for people."),
        ],
        help: "Shows, creates, changes and removes a scope.",
        ..Route::EMPTY
    },
];

#[derive(Clone, Default, Serialize, Deserialize)]
struct Scope {
    template: String,
    description: String,
}

fn find(cx: &mut Context<'_, '_>, name: &str) -> Result<Option<Arc<Scope>>, Refusal> {
    cx.built_json(&format!("{SCOPES}{name}"))
}

/// Refuses scopes that are not there.
pub(super) fn check(cx: &mut Context<'_, '_>, name: &str) -> Result<(), Refusal> {
    match find(cx, name)? {
        Some(_) => Ok(()),
        None => Err(Refusal::invalid(format!("scope {name:?} does not exist"))),
    }
}

/// The claims of the scope `name` for `holder`; none when it is not there any more.
pub(super) fn claims(
    cx: &mut Context<'_, '_>,
    name: &str,
    holder: &Holder,
) -> Result<Map<String, Value>, Refusal> {
    let Some(scope) = find(cx, name)? else { return Ok(Map::new()) };
    let mut claims = template::claims(&scope.template, Some(holder), cx.now).unwrap_or_default();
    claims.retain(|claim, _| !template::RESERVED.contains(&claim.as_str()));
    Ok(claims)
}

fn exists(cx: &mut Context<'_, '_>) -> Result<bool, Refusal> {
    let name = name(cx);
    Ok(find(cx, &name)?.is_some())
}

fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Response::keys(&cx.list(SCOPES)?)
}

fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = name(cx);
    Response::data(&*find(cx, &name)?.ok_or(Refusal::missing())?)
}

fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = name(cx);
    if name == OPENID {
        return Err(Refusal::invalid(format!("the {OPENID:?} scope name is reserved")));
    }
    let mut scope = find(cx, &name)?.map(Arc::unwrap_or_clone).unwrap_or_default();
    if cx.fields().has("template") {
        scope.template = decoded(text(cx, "template")?);
    }
    if cx.fields().has("description") {
        scope.description = text(cx, "description")?;
    }
    template::check(&scope.template, cx.now).map_err(Refusal::invalid)?;
    cx.put_json(&format!("{SCOPES}{name}"), &scope)?;
    Ok(Response::empty())
}

fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = name(cx);
    let all = entries::<providers::Provider>(cx, providers::PROVIDERS)?;
    let users: Vec<String> = all
        .into_iter()
        .filter(|(_, provider)| provider.scopes.contains(&name))
        .map(|(name, _)| name)
        .collect();
    refuse_used("scope", &name, "providers", &users)?;
    cx.delete(&format!("{SCOPES}{name}"));
    Ok(Response::empty())
}
