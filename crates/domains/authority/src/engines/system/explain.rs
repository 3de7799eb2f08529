//! `sys/policies/explain`: by which rule a request is allowed or refused.

use super::capabilities;
use crate::context::Context;
use crate::fields::Fields;
use crate::policies;
use crate::policy::{self, Acl, Ask};
use crate::posture::Seen;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Kind, Route, field};
use serde_json::json;
use std::sync::Arc;

pub(super) const ROUTES: &[Route] = &[Route {
    pattern: "policies/explain",
    operations: &[(Operation::Update, explain)],
    fields: &[
        field("path", Kind::Text, "The path of the request, without `/v1/`."),
        field("operation", Kind::Text, "create, read, update, patch, delete or list; read without it."),
        field("parameters", Kind::Json, "The parameters of the request, for rules that look at them."),
        field("wrap_ttl", Kind::Duration, "How long its answer is to be wrapped."),
        field("token", Kind::Text, "Whose request; the one that asks without it."),
        field("accessor", Kind::Text, "Whose request, by the token's accessor."),
        field("policies", Kind::List, "Nobody's request: what a token with these policies might do."),
    ],
    help: "Explains by which rule of which policy a request is allowed or refused.",
    ..Route::EMPTY
}];

const OPERATIONS: [Operation; 6] = [
    Operation::Create,
    Operation::Read,
    Operation::Update,
    Operation::Patch,
    Operation::Delete,
    Operation::List,
];

fn explain(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = cx.fields().required("path")?;
    let operation = operation(&cx.fields().string("operation")?.unwrap_or_default())?;
    let mut path = path.trim_start_matches('/').to_owned();
    if operation == Operation::List && !path.ends_with('/') {
        path.push('/');
    }
    let parameters = match cx.fields().raw("parameters") {
        Some(sent) => Fields::parse(sent.get().as_bytes())?,
        None => Fields::default(),
    };
    let wrap_ttl = cx.fields().duration("wrap_ttl")?;
    let acl = whose(cx)?;
    // Conditions look at who asks, which is known of nobody else here.
    let own = !["token", "accessor", "policies"].iter().any(|name| cx.fields().has(name));
    let seen = Seen::default();
    let who = if own { Some(cx.caller()?.who(cx.request, cx.verdicts.attest(&seen))) } else { None };
    let ask = Ask { path: &path, operation, parameters: Some(&parameters), wrap_ttl, now: cx.now, who };
    let explanation = policy::explain(&acl, &ask);
    let text = [explanation.to_string(), seen.words().replace("; ", "\n  posture: ")].concat();
    let mut data = json!(explanation);
    if own {
        data["posture"] = seen.explain();
    }
    data["text"] = json!(text);
    Response::data(&data)
}

fn operation(name: &str) -> Result<Operation, Refusal> {
    if name.is_empty() {
        return Ok(Operation::Read);
    }
    let named = OPERATIONS.into_iter().find(|operation| operation.name() == name);
    named.ok_or_else(|| {
        let names = OPERATIONS.map(Operation::name).join(", ");
        Refusal::invalid(format!("operation must be one of {names}"))
    })
}

/// The rights that are asked about.
fn whose(cx: &mut Context<'_, '_>) -> Result<Arc<Acl>, Refusal> {
    let given = |name: &str| cx.fields().has(name);
    match (given("token"), given("accessor"), given("policies")) {
        (false, false, false) => Ok(cx.caller()?.acl.clone()),
        (true, false, false) => capabilities::of_shown_token(cx),
        (false, true, false) => capabilities::of_named_token(cx),
        (false, false, true) => {
            let names = policy::sanitize(cx.fields().strings("policies")?.unwrap_or_default());
            for name in &names {
                if !policies::exists(cx.txn, name)? {
                    return Err(Refusal::invalid(format!("there is no policy {name:?}")));
                }
            }
            policies::acl(cx.txn, &names, None)
        }
        _ => {
            Err(Refusal::invalid("give one of token, accessor and policies, or none for the token that asks"))
        }
    }
}
