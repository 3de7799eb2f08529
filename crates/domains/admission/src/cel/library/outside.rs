//! Functions that ask the world outside, and those that answer to it.

use super::no;
use crate::cel::eval::{Evaluation, Fault, Found};
use crate::cel::value::Val;
use crate::lookup::Lookup;
use serde_json::{Value, json};
use std::rc::Rc;

fn text(value: Option<&Val<'_>>) -> String {
    value.and_then(Val::as_str).unwrap_or_default().to_owned()
}

fn json_of(value: Option<&Val<'_>>) -> Result<Value, Fault> {
    value.map_or(Ok(Value::Null), |value| value.to_json().map_err(Fault::no))
}

fn headers(value: Option<&Val<'_>>) -> Vec<(String, String)> {
    let entries = value.and_then(Val::entries).unwrap_or_default();
    entries.iter().map(|(key, value)| (text(Some(key)), text(Some(value)))).collect()
}

pub(super) fn spaced<'a>(
    evaluation: &Evaluation<'_, '_, 'a>,
    space: &str,
    name: &str,
    arguments: &[Val<'a>],
) -> Found<'a> {
    let host = evaluation.scope.host;
    let argument = |index: usize| arguments.get(index);
    let ask = |question: &Lookup| host.ask(question).map(|value| Val::Json(value).simple());
    match (space, name) {
        ("resource", "get") => ask(&Lookup::Object {
            api_version: text(argument(0)),
            resource: text(argument(1)),
            namespace: text(argument(2)),
            name: text(argument(3)),
        }),
        ("resource", "list") => ask(&Lookup::Objects {
            api_version: text(argument(0)),
            resource: text(argument(1)),
            namespace: text(argument(2)),
            selector: json_of(argument(3))?,
        }),
        ("resource", "post") => {
            let (version, resource) = (text(argument(0)), text(argument(1)));
            let (namespace, body) = match arguments {
                [_, _, namespace, body] => (text(Some(namespace)), body.to_json().map_err(Fault::no)?),
                _ => (String::new(), json_of(argument(2))?),
            };
            let root = if version.contains('/') { "apis" } else { "api" };
            let within =
                if namespace.is_empty() { String::new() } else { format!("/namespaces/{namespace}") };
            ask(&Lookup::Kubernetes {
                method: "POST".into(),
                path: format!("/{root}/{version}{within}/{resource}"),
                body,
            })
        }
        ("http", "get") => http(evaluation, "GET", argument(0), Value::Null, headers(argument(1)), ""),
        ("http", "post") => {
            http(evaluation, "POST", argument(0), json_of(argument(1))?, headers(argument(2)), "")
        }
        ("http", "client") => Ok(Val::Map(Rc::new(vec![(Val::Str("caBundle"), arguments[0].clone())]))),
        ("http" | "envoy", "allowed") => Ok(verdict(true, Val::Str(""))),
        ("http" | "envoy", "denied") => Ok(verdict(false, argument(0).cloned().unwrap_or(Val::Str("")))),
        ("globalContext", _) => {
            ask(&Lookup::Global { name: text(argument(0)), projection: text(argument(1)) })
        }
        ("imageData", _) => ask(&Lookup::Image { reference: text(argument(0)) }),
        ("generator", "apply") => apply(evaluation, arguments),
        _ => no(&format!("{space}.{name}"), arguments),
    }
}

fn http<'a>(
    evaluation: &Evaluation<'_, '_, 'a>,
    method: &str,
    url: Option<&Val<'a>>,
    body: Value,
    headers: Vec<(String, String)>,
    ca_bundle: &str,
) -> Found<'a> {
    let question = Lookup::Service {
        method: method.into(),
        url: text(url),
        body,
        headers,
        ca_bundle: ca_bundle.to_owned(),
    };
    let host = evaluation.scope.host;
    let answer = host.ask(&question)?;
    // The body is a field, and what it has is there too.
    let mut out = if answer.is_object() { answer.clone() } else { json!({}) };
    out["body"] = answer.clone();
    out["statusCode"] = json!(200);
    Ok(Val::Json(host.keep(out)))
}

/// What a check of a proxy's request says.
fn verdict<'a>(allowed: bool, reason: Val<'a>) -> Val<'a> {
    Val::Map(Rc::new(vec![(Val::Str("allowed"), Val::Bool(allowed)), (Val::Str("reason"), reason)]))
}

fn apply<'a>(evaluation: &Evaluation<'_, '_, 'a>, arguments: &[Val<'a>]) -> Found<'a> {
    let [namespace, objects] = arguments else { return no("generator.apply", arguments) };
    let mut made = Vec::new();
    for object in objects.items().ok_or_else(|| Fault::no("generator.apply() takes a list of objects"))? {
        let object = object.to_json().map_err(Fault::no)?;
        match object.get("items").and_then(Value::as_array) {
            Some(items) if object["metadata"]["name"].is_null() => made.extend(items.iter().cloned()),
            _ => made.push(object),
        }
    }
    evaluation.spend(made.len() * 16)?;
    evaluation.scope.host.generate(namespace.as_str().unwrap_or_default(), made)?;
    Ok(Val::Bool(true))
}

/// Functions of clients and answers, which are maps.
pub(super) fn member<'a>(
    evaluation: &Evaluation<'_, '_, 'a>,
    target: &Val<'a>,
    name: &str,
    arguments: &[Val<'a>],
) -> Found<'a> {
    let bundle = || text(target.field("caBundle").as_ref());
    let is_verdict = target.field("allowed").is_some();
    match (name, arguments) {
        ("get", [url, ..]) => {
            http(evaluation, "GET", Some(url), Value::Null, headers(arguments.get(1)), &bundle())
        }
        ("post", [url, body, ..]) => {
            http(evaluation, "POST", Some(url), json_of(Some(body))?, headers(arguments.get(2)), &bundle())
        }
        ("response" | "withHeader" | "withBody" | "withMessage", _) if is_verdict => Ok(target.clone()),
        _ => no(name, std::slice::from_ref(target)),
    }
}

/// Functions of images that need their registry or their signatures.
pub(super) fn images<'a>(
    evaluation: &Evaluation<'_, '_, 'a>,
    name: &str,
    arguments: &[Val<'a>],
) -> Found<'a> {
    let reference = match arguments.first() {
        Some(Val::Image(image)) => image.to_string(),
        value => text(value),
    };
    match name {
        "getImageData" => Ok(Val::Json(evaluation.scope.host.ask(&Lookup::Image { reference })?).simple()),
        _ => Err(Fault::no(format!("{name}() of {reference}: signatures are not checked yet"))),
    }
}
