//! Kubernetes' library of authorization: who may do what, as the cluster's authorizers say it in a SubjectAccessReview.
//! <https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-authorizer-library>

use super::{Fault, Outside, Val};
use crate::lookup::Lookup;
use crate::request::Request;
use keyward_expressions::cel::{Evaluation, Found, Opaque, has_format, no};
use serde_json::{Value, json};
use std::any::Any;
use std::rc::Rc;

/// What a question to the authorizers costs: a rule has a hundred of them.
const COST: usize = 50_000;

/// Who it is about.
#[derive(Clone, Debug)]
pub(super) enum Subject {
    /// Who made the request.
    Requester,
    ServiceAccount {
        namespace: Box<str>,
        name: Box<str>,
    },
}

/// A question on its way, and the answer.
#[derive(Debug)]
pub(super) enum Access {
    Authorizer(Subject),
    Path(Subject, Box<str>),
    Group(Subject, Box<str>),
    /// With the `resourceAttributes` of a SubjectAccessReview.
    Resource(Subject, Value),
    /// With its `status`.
    Decision(Value),
}

impl Opaque for Access {
    fn type_name(&self) -> &'static str {
        match self {
            Access::Authorizer(_) => "kubernetes.authorization.Authorizer",
            Access::Path(..) => "kubernetes.authorization.PathCheck",
            Access::Group(..) => "kubernetes.authorization.GroupCheck",
            Access::Resource(..) => "kubernetes.authorization.ResourceCheck",
            Access::Decision(_) => "kubernetes.authorization.Decision",
        }
    }
}

impl Access {
    /// What `authorizer` stands for.
    pub(super) const REQUESTER: Access = Access::Authorizer(Subject::Requester);

    /// What `authorizer.requestResource` stands for: what the request was for, before the API server turned it into the version
    /// that the policy is for.
    pub(super) fn to_what_is_requested(request: &Request) -> Access {
        let review = &request.review;
        let either = |asked: &str, matched: &str| {
            let asked = &review[asked];
            if asked.is_null() { review[matched].clone() } else { asked.clone() }
        };
        let resource = either("requestResource", "resource");
        let mut attributes =
            json!({"version": "*", "group": resource["group"], "resource": resource["resource"]});
        let subresource = either("requestSubResource", "subResource");
        for (key, value) in
            [("subresource", &subresource), ("namespace", &review["namespace"]), ("name", &review["name"])]
        {
            attributes[key] = Value::from(value.as_str().unwrap_or_default());
        }
        Access::Resource(Subject::Requester, attributes)
    }
}

impl Subject {
    fn service_account(namespace: &str, name: &str) -> Result<Subject, Fault> {
        if !has_format("dns1123Subdomain", name) {
            return Err(Fault::no("Invalid service account name"));
        }
        if !has_format("dns1123Label", namespace) {
            return Err(Fault::no("Invalid service account namespace"));
        }
        Ok(Subject::ServiceAccount { namespace: namespace.into(), name: name.into() })
    }

    /// The part of a SubjectAccessReview's `spec` that says who it is about.
    fn spec(&self, request: &Request) -> Result<Value, Fault> {
        match self {
            Subject::ServiceAccount { namespace, name } => Ok(json!({
                "user": format!("system:serviceaccount:{namespace}:{name}"),
                "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{namespace}")],
            })),
            Subject::Requester => {
                let user = &request.review["userInfo"];
                let name = user["username"].as_str().filter(|name| !name.is_empty());
                let name = name.ok_or_else(|| {
                    Fault::no("who asks is known in a review alone: elsewhere only authorizer.serviceAccount() tells something")
                })?;
                let mut spec = json!({ "user": name });
                for key in ["groups", "uid", "extra"] {
                    if let Some(value) = user.get(key).filter(|value| !value.is_null()) {
                        spec[key] = value.clone();
                    }
                }
                Ok(spec)
            }
        }
    }
}

/// Calls a function of the library.
pub(super) fn call<'a>(
    outside: &Outside<'_, 'a>,
    evaluation: &Evaluation<'_, '_, 'a>,
    target: &dyn Opaque,
    name: &str,
    arguments: &[Val<'a>],
) -> Found<'a> {
    let nothing = || no(&format!("{}.{name}", target.type_name()), arguments);
    let Some(target) = (target as &dyn Any).downcast_ref::<Access>() else { return nothing() };
    let texts: Option<Vec<&str>> = arguments.iter().map(Val::as_str).collect();
    let Some(texts) = texts else { return nothing() };
    let next = match (target, name, &texts[..]) {
        (Access::Authorizer(subject), "path", [path]) => {
            Access::Path(subject.clone(), filled("path", path)?.into())
        }
        (Access::Authorizer(subject), "group", [group]) => Access::Group(subject.clone(), (*group).into()),
        (Access::Authorizer(_), "serviceAccount", [namespace, name]) => {
            Access::Authorizer(Subject::service_account(namespace, name)?)
        }
        (Access::Group(subject, group), "resource", [resource]) => {
            let resource = filled("resource", resource)?;
            let attributes = json!({"version": "*", "group": group, "resource": resource});
            Access::Resource(subject.clone(), attributes)
        }
        (Access::Resource(subject, attributes), "subresource" | "namespace" | "name", [text]) => {
            let mut attributes = attributes.clone();
            attributes[name] = Value::from(*text);
            Access::Resource(subject.clone(), attributes)
        }
        // Not parsed here: the API server leaves out what it cannot parse, as it does in its own policies.
        (Access::Resource(subject, attributes), "fieldSelector" | "labelSelector", [text]) => {
            let mut attributes = attributes.clone();
            attributes[name] = json!({ "rawSelector": text });
            Access::Resource(subject.clone(), attributes)
        }
        (Access::Path(subject, path), "check", [verb]) => {
            let wanted = json!({"path": path, "verb": verb});
            ask(outside, evaluation, subject, "nonResourceAttributes", wanted)?
        }
        (Access::Resource(subject, attributes), "check", [verb]) => {
            let mut wanted = attributes.clone();
            wanted["verb"] = Value::from(*verb);
            ask(outside, evaluation, subject, "resourceAttributes", wanted)?
        }
        (Access::Decision(status), _, []) => return decided(status, name).map_or_else(nothing, Ok),
        _ => return nothing(),
    };
    Ok(Val::Opaque(Rc::new(next)))
}

fn filled<'t>(what: &str, text: &'t str) -> Result<&'t str, Fault> {
    if text.trim().is_empty() { Err(Fault::no(format!("{what} must not be empty"))) } else { Ok(text) }
}

fn ask(
    outside: &Outside<'_, '_>,
    evaluation: &Evaluation<'_, '_, '_>,
    subject: &Subject,
    kind: &str,
    wanted: Value,
) -> Result<Access, Fault> {
    evaluation.spend(COST)?;
    let mut spec = subject.spec(outside.frame.request)?;
    spec[kind] = wanted;
    Ok(Access::Decision(outside.ask(&Lookup::Access { spec })?.clone()))
}

fn decided<'a>(status: &Value, name: &str) -> Option<Val<'a>> {
    let text = |key: &str| status[key].as_str().unwrap_or_default();
    Some(match name {
        "allowed" => Val::Bool(status["allowed"] == true),
        "errored" => Val::Bool(!text("evaluationError").is_empty()),
        "error" => Val::text(text("evaluationError")),
        "reason" => Val::text(text("reason")),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
