//! `sys/policies/acl` and its older form `sys/policy`.

use crate::context::Context;
use crate::policies;
use crate::policy::{is_assignable, is_immutable};
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Kind, Route, field};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

const ONE: Route = Route {
    operations: &[(Operation::Read, read), (Operation::Update, write), (Operation::Delete, delete)],
    fields: &[field("policy", Kind::Text, "The policy in HCL or JSON, or that in base64.")],
    help: "Shows, writes and removes a policy.",
    ..Route::EMPTY
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "policies/acl",
        operations: &[(Operation::Read, list), (Operation::List, list)],
        help: "Lists the policies.",
        ..Route::EMPTY
    },
    Route { pattern: "policies/acl/{name*}", ..ONE },
    Route {
        pattern: "policy",
        operations: &[(Operation::Read, list), (Operation::List, list)],
        help: "Lists the policies.",
        ..Route::EMPTY
    },
    Route {
        pattern: "policy/{name*}",
        fields: &[ONE.fields[0], field("rules", Kind::Text, "An older name of `policy`.")],
        ..ONE
    },
];

fn is_old(cx: &Context<'_, '_>) -> bool {
    cx.request.path.starts_with("sys/policy")
}

/// Older clients read the fields at the top level.
fn answer(cx: &Context<'_, '_>, response: Response) -> Response {
    if is_old(cx) { response.flattened() } else { response }
}

fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let mut names = policies::names(cx.txn)?;
    names.retain(|name| is_assignable(name));
    names.push("root".to_owned());
    let data = match is_old(cx) {
        true => json!({ "keys": names, "policies": names }),
        false => json!({ "keys": names }),
    };
    Ok(answer(cx, Response::data(&data)?))
}

fn name(cx: &Context<'_, '_>) -> Result<String, Refusal> {
    match cx.param("name").trim_end_matches('/').to_lowercase() {
        name if name.is_empty() => Err(Refusal::Unsupported),
        name => Ok(name),
    }
}

fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = name(cx)?;
    let text = match name.as_str() {
        "root" => Some(String::new()),
        stored => policies::text(cx.txn, stored)?,
    };
    let Some(text) = text else { return Err(Refusal::missing()) };
    let field = if is_old(cx) { "rules" } else { "policy" };
    Ok(answer(cx, Response::data(&json!({ "name": name, field: text }))?))
}

fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = name(cx)?;
    let mut response = Response::empty();
    if name != cx.param("name").trim_end_matches('/') {
        response = response.warn(format!("policy name was converted to {name}"));
    }
    let given = |field: &str| Ok::<_, Refusal>(cx.fields().string(field)?.filter(|text| !text.is_empty()));
    let mut text = given("policy")?;
    if text.is_none() && is_old(cx) {
        text = given("rules")?;
        if text.is_some() {
            response = response.warn("'rules' is deprecated, please use 'policy' instead");
        }
    }
    let text = text.ok_or_else(|| Refusal::invalid("'policy' parameter not supplied or empty"))?;
    let decoded = STANDARD.decode(&text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    if is_immutable(&name) {
        return Err(Refusal::invalid(format!("cannot update {name:?} policy")));
    }
    policies::put(cx.txn, &name, &decoded.unwrap_or(text))?;
    Ok(response)
}

fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = name(cx)?;
    if is_immutable(&name) {
        return Err(Refusal::invalid(format!("cannot delete {name:?} policy")));
    }
    if name == "default" {
        return Err(Refusal::invalid("cannot delete default policy"));
    }
    policies::delete(cx.txn, &name)?;
    Ok(Response::empty())
}
