//! Functions that ask the world outside, and those that answer to it.

use super::authorizer::{self, Access};
use crate::context::Frame;
use crate::images::Ready;
use crate::jmespath;
use crate::lookup::{ImageAccess, Lookup};
use crate::yaml;
use keyward_expressions::cel::{Evaluation, Fault, Found, Host, Signature, Val, no};
use serde_json::{Value, json};
use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

macro_rules! functions {
    ($($of:literal: $($name:ident $least:literal $most:literal),* ;)*) => {
        /// By what they are called on.
        pub(super) static FUNCTIONS: &[Signature] =
            &[$($(Signature { of: $of, name: stringify!($name), least: $least, most: $most },)*)*];
    };
}

functions! {
    "": verifyImageSignatures 2 2, verifyAttestationSignatures 3 3, getImageData 1 1, extractPayload 2 2, payload 2 2;
    ".": get 1 3, post 2 4, apply 2 2, response 0 1, withHeader 2 2, withBody 1 1, withMessage 1 1,
        path 1 1, group 1 1, serviceAccount 2 2, resource 1 1, subresource 1 1, namespace 1 1, name 1 1, fieldSelector 1 1,
        labelSelector 1 1, check 1 1, allowed 0 0, errored 0 0, error 0 0, reason 0 0;
    "authorizer": path 1 1, group 1 1, serviceAccount 2 2;
    "resource": get 4 4, list 3 4, post 3 4, toGVR 2 2;
    "http": get 1 2, post 2 3, client 1 1, allowed 0 0, denied 0 1;
    "envoy": allowed 0 0, denied 0 1;
    "globalContext": get 1 2;
    "image": getMetadata 1 1;
    "imageData": get 1 1;
    "yaml": parse 1 1;
    "generator": apply 2 2;
}

/// The world outside, for expressions.
pub(crate) struct Outside<'f, 'a> {
    pub(crate) frame: &'f Frame<'a>,
    pub(crate) generated: RefCell<Vec<Value>>,
    /// Of a policy on images: its attestors, and what was found out.
    pub(crate) images: OnceCell<Ready<'a>>,
}

impl<'f, 'a> Outside<'f, 'a> {
    pub(crate) fn new(frame: &'f Frame<'a>) -> Outside<'f, 'a> {
        Outside { frame, generated: RefCell::new(Vec::new()), images: OnceCell::new() }
    }
}

/// How many objects one policy may make of one request.
const GENERATED: usize = 1_000;

impl<'a> Host<'a> for Outside<'_, 'a> {
    fn functions(&self) -> &'static [Signature] {
        FUNCTIONS
    }

    fn call(
        &self,
        evaluation: &Evaluation<'_, '_, 'a>,
        of: &str,
        name: &str,
        arguments: &[Val<'a>],
    ) -> Found<'a> {
        match (of, arguments) {
            ("", _) => images(self, evaluation, name, arguments),
            (".", [Val::Opaque(target), arguments @ ..]) => {
                authorizer::call(self, evaluation, &**target, name, arguments)
            }
            (".", [target, arguments @ ..]) => member(self, target, name, arguments),
            ("authorizer", _) => authorizer::call(self, evaluation, &Access::REQUESTER, name, arguments),
            _ => spaced(self, evaluation, of, name, arguments),
        }
    }

    fn field(&self, of: &str, name: &str) -> Option<Val<'a>> {
        let asked = (of, name) == ("authorizer", "requestResource");
        asked.then(|| Val::Opaque(Rc::new(Access::to_what_is_requested(self.frame.request))))
    }

    fn keep(&self, value: Value) -> &'a Value {
        Outside::keep(self, value)
    }
}

impl<'a> Outside<'_, 'a> {
    /// The answer to a question.
    pub(crate) fn ask(&self, question: &Lookup) -> Result<&'a Value, Fault> {
        match self.frame.ask(question) {
            Ok(value) => Ok(self.frame.keep(value)),
            Err(jmespath::Error::Lacking) => Err(Fault::Lacking),
            Err(jmespath::Error::Spent) => Err(Fault::Spent),
            Err(why) => Err(Fault::no(why.to_string())),
        }
    }

    /// Objects that are to be made, in a namespace.
    pub(crate) fn generate(&self, namespace: &str, objects: Vec<Value>) -> Result<(), Fault> {
        let mut generated = self.generated.borrow_mut();
        for object in objects {
            let mut object = crate::generate::bare(object);
            if !namespace.is_empty() && crate::plural::has_namespace(&object) {
                object["metadata"]["namespace"] = Value::from(namespace);
            }
            generated.push(object);
        }
        if generated.len() > GENERATED {
            return Err(Fault::no(format!("more than {GENERATED} objects are generated")));
        }
        Ok(())
    }

    /// Keeps a value as long as the request's.
    pub(crate) fn keep(&self, value: Value) -> &'a Value {
        self.frame.arena.alloc(value)
    }
}

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

fn spaced<'a>(
    outside: &Outside<'_, 'a>,
    evaluation: &Evaluation<'_, '_, 'a>,
    space: &str,
    name: &str,
    arguments: &[Val<'a>],
) -> Found<'a> {
    let argument = |index: usize| arguments.get(index);
    let ask = |question: &Lookup| outside.ask(question).map(|value| Val::Json(value).simple());
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
        ("http", "get") => http(outside, "GET", argument(0), Value::Null, headers(argument(1)), ""),
        ("http", "post") => {
            http(outside, "POST", argument(0), json_of(argument(1))?, headers(argument(2)), "")
        }
        ("http", "client") => Ok(Val::Map(Rc::new(vec![(Val::Str("caBundle"), arguments[0].clone())]))),
        ("http" | "envoy", "allowed") => Ok(verdict(true, Val::Str(""))),
        ("http" | "envoy", "denied") => Ok(verdict(false, argument(0).cloned().unwrap_or(Val::Str("")))),
        ("globalContext", _) => {
            ask(&Lookup::Global { name: text(argument(0)), projection: text(argument(1)) })
        }
        ("imageData", _) => images(outside, evaluation, "getImageData", arguments),
        ("generator", "apply") => apply(outside, evaluation, arguments),
        ("image", "getMetadata") => images(outside, evaluation, "getImageData", arguments),
        ("yaml", "parse") => parse_yaml(outside, arguments),
        _ => no(&format!("{space}.{name}"), arguments),
    }
}

fn parse_yaml<'a>(outside: &Outside<'_, 'a>, arguments: &[Val<'a>]) -> Found<'a> {
    let [Some(text)] = [arguments.first().and_then(Val::as_str)] else { return no("yaml.parse", arguments) };
    let mut values = yaml::values(text).map_err(|why| Fault::no(why.to_string()))?;
    Ok(if values.is_empty() { Val::Null } else { Val::Json(outside.keep(values.swap_remove(0))).simple() })
}

fn http<'a>(
    outside: &Outside<'_, 'a>,
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
    let answer = outside.ask(&question)?;
    // The body is a field, and what it has is there too.
    let mut out = if answer.is_object() { answer.clone() } else { json!({}) };
    out["body"] = answer.clone();
    out["statusCode"] = json!(200);
    Ok(Val::Json(outside.keep(out)))
}

/// What a check of a proxy's request says.
fn verdict<'a>(allowed: bool, reason: Val<'a>) -> Val<'a> {
    Val::Map(Rc::new(vec![(Val::Str("allowed"), Val::Bool(allowed)), (Val::Str("reason"), reason)]))
}

fn apply<'a>(
    outside: &Outside<'_, 'a>,
    evaluation: &Evaluation<'_, '_, 'a>,
    arguments: &[Val<'a>],
) -> Found<'a> {
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
    outside.generate(namespace.as_str().unwrap_or_default(), made)?;
    Ok(Val::Bool(true))
}

/// Functions of clients and answers, which are maps.
fn member<'a>(outside: &Outside<'_, 'a>, target: &Val<'a>, name: &str, arguments: &[Val<'a>]) -> Found<'a> {
    let bundle = || text(target.field("caBundle").as_ref());
    let is_verdict = target.field("allowed").is_some();
    match (name, arguments) {
        ("get", [url, ..]) => {
            http(outside, "GET", Some(url), Value::Null, headers(arguments.get(1)), &bundle())
        }
        ("post", [url, body, ..]) => {
            http(outside, "POST", Some(url), json_of(Some(body))?, headers(arguments.get(2)), &bundle())
        }
        ("response" | "withHeader" | "withBody" | "withMessage", _) if is_verdict => Ok(target.clone()),
        _ => no(name, std::slice::from_ref(target)),
    }
}

/// Functions of images that need their registry or their signatures.
fn images<'a>(
    outside: &Outside<'_, 'a>,
    evaluation: &Evaluation<'_, '_, 'a>,
    name: &str,
    arguments: &[Val<'a>],
) -> Found<'a> {
    let of_image = |value: Option<&Val<'a>>| match value {
        Some(Val::Image(image)) => image.to_string(),
        value => text(value),
    };
    let image = of_image(arguments.first());
    if name == "getImageData" {
        let request = outside.frame.request;
        let access = match outside.images.get() {
            Some(ready) => ready.access(),
            None => crate::images::with_pull_secrets(&ImageAccess::default(), request),
        };
        return Ok(Val::Json(outside.ask(&Lookup::Image { reference: image, access })?).simple());
    }
    let ready = outside.images.get();
    let ready = ready.ok_or_else(|| Fault::no(format!("{name}() is for an ImageValidatingPolicy")))?;
    let count = |attestation: Option<&str>, attestors: &Val<'a>| {
        ready.count(outside, evaluation.scope, &image, attestation, attestors).map(Val::Int)
    };
    match (name, arguments) {
        ("verifyImageSignatures", [_, attestors]) => count(None, attestors),
        ("verifyAttestationSignatures", [_, attestation, attestors]) => {
            count(Some(&text(Some(attestation))), attestors)
        }
        ("extractPayload" | "payload", [_, attestation]) => {
            Ok(Val::Json(ready.payload(outside, &image, &text(Some(attestation)))?).simple())
        }
        _ => no(name, arguments),
    }
}
