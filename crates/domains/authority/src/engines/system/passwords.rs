//! `sys/policies/password`.

use crate::context::Context;
use crate::password_policy;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Kind, Route, field};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "policies/password",
        operations: &[(Operation::List, list)],
        help: "Lists the password policies.",
        ..Route::EMPTY
    },
    Route {
        pattern: "policies/password/{name}/generate",
        operations: &[(Operation::Read, generate)],
        help: "A password of a policy.",
        ..Route::EMPTY
    },
    Route {
        pattern: "policies/password/{name}",
        operations: &[(Operation::Read, read), (Operation::Update, write), (Operation::Delete, delete)],
        fields: &[field("policy", Kind::Text, "The policy in HCL or JSON, or that in base64.")],
        help: "Shows, writes and removes a password policy: how long passwords are, and of which characters.",
        ..Route::EMPTY
    },
];

fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Response::keys(&cx.list_at(password_policy::directory())?)
}

fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = cx.param("name").to_owned();
    let text = password_policy::text(cx.txn, &name)?.ok_or(Refusal::missing())?;
    Response::data(&json!({ "policy": text }))
}

fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = cx.param("name").to_owned();
    let text = cx.fields().string("policy")?.filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| Refusal::invalid("missing policy"))?;
    let decoded = STANDARD.decode(&text).ok().and_then(|text| String::from_utf8(text).ok());
    password_policy::put(cx.txn, &name, decoded.as_deref().unwrap_or(&text))?;
    Ok(Response::empty())
}

fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = cx.param("name").to_owned();
    password_policy::delete(cx.txn, &name);
    Ok(Response::empty())
}

fn generate(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = cx.param("name").to_owned();
    let policy = password_policy::find(cx.txn, &name)?.ok_or(Refusal::missing())?;
    Response::data(&json!({ "password": policy.generate(cx.random())? }))
}

#[cfg(test)]
mod tests {
    use crate::request::Operation::{Delete, List, Read, Update};
    use crate::testing::Bench;
    use serde_json::json;

    #[test]
    fn password_policies_are_kept_and_used() {
        let mut bench = Bench::new();
        assert_eq!(bench.root(List, "sys/policies/password", "").status, 404);
        let text = "length = 8\nrule \"charset\" { charset = \"ab\" }";
        let body = json!({ "policy": text }).to_string();
        assert_eq!(bench.root(Update, "sys/policies/password/short", &body).status, 204);
        assert_eq!(bench.read("sys/policies/password/short").data()["policy"], text);
        assert_eq!(bench.root(List, "sys/policies/password", "").data()["keys"], json!(["short"]));
        let made = bench.read("sys/policies/password/short/generate").data()["password"].clone();
        assert!(made.as_str().is_some_and(|made| made.len() == 8 && made.chars().all(|c| "ab".contains(c))));
        let bad = bench.root(Update, "sys/policies/password/bad", r#"{"policy":"length = 1"}"#);
        assert_eq!(bad.status, 400);
        assert_eq!(bench.root(Read, "sys/policies/password/bad", "").status, 404);
        assert_eq!(bench.root(Delete, "sys/policies/password/short", "").status, 204);
        assert_eq!(bench.root(Read, "sys/policies/password/short/generate", "").status, 404);
    }
}
