//! Validations in CEL, as `ValidatingAdmissionPolicy` has them; also `validate.cel` of a rule.
//! <https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/>

use crate::cel::{self, Fault, Outside, Program, Scope, Val, Variables};
use crate::context::{Frame, message};
use crate::lookup::Lookup;
use crate::outcome::{Effects, RuleKind, RuleOutcome, Status};
use crate::refusal::{At, Read};
use crate::request::Request;
use crate::template::Text;
use serde_json::Value;
use std::sync::Arc;

/// What every expression may name.
pub(crate) const ROOTS: [&str; 10] = [
    "object",
    "oldObject",
    "request",
    "namespaceObject",
    "params",
    "authorizer",
    "images",
    "exceptions",
    "attestors",
    "attestations",
];

pub(crate) type Named = (Box<str>, Program);

/// What is to hold, and what is said where it does not.
#[derive(Debug)]
pub(crate) struct Validation {
    program: Program,
    message: Box<str>,
    expression: Option<Program>,
}

/// The variables of a policy, in the order in which they may use each other.
pub(crate) fn variables(at: &At<'_>) -> Read<(Vec<Named>, Vec<Box<str>>)> {
    let mut names: Vec<Box<str>> = Vec::new();
    let variables = at.each_of("variables", |at| {
        at.only(&["name", "expression"])?;
        let name = at.need("name")?.str()?;
        let program = cel::compile(&at.need("expression")?, &cel::names(&ROOTS, &names))?;
        names.push(name.into());
        Ok((name.into(), program))
    })?;
    Ok((variables, names))
}

/// Named conditions.
pub(crate) fn conditions(at: &At<'_>, key: &str, names: &[Box<str>]) -> Read<Vec<Named>> {
    at.each_of(key, |at| {
        at.only(&["name", "expression"])?;
        let program = cel::condition(&at.need("expression")?, &cel::names(&ROOTS, names))?;
        Ok((at.text("name")?.into(), program))
    })
}

pub(crate) fn validations(at: &At<'_>, key: &str, names: &[Box<str>]) -> Read<Vec<Validation>> {
    at.each_of(key, |at| validation(at, names, true))
}

pub(crate) fn validation(at: &At<'_>, names: &[Box<str>], boolean: bool) -> Read<Validation> {
    at.only(&["expression", "message", "messageExpression", "reason"])?;
    let names = cel::names(&ROOTS, names);
    let expression = at.need("expression")?;
    let program =
        if boolean { cel::condition(&expression, &names)? } else { cel::compile(&expression, &names)? };
    Ok(Validation {
        program,
        message: at.text("message")?.trim().into(),
        expression: at.get("messageExpression").map(|at| cel::compile(&at, &names)).transpose()?,
    })
}

impl Validation {
    /// What is wrong, if anything is.
    pub(crate) fn failure<'a>(
        &'a self,
        scope: &Scope<'_, 'a>,
        otherwise: &str,
    ) -> Result<Option<String>, Fault> {
        let holds = match self.program.run(scope)?.simple() {
            Val::Bool(value) => value,
            // What a check of a proxy's request yields.
            value => match value.field("allowed") {
                Some(Val::Bool(value)) => value,
                _ => {
                    return Err(Fault::no(format!("a boolean was expected, and {} came", value.type_name())));
                }
            },
        };
        if holds {
            return Ok(None);
        }
        if let Some(expression) = &self.expression
            && let Ok(value) = expression.run(scope)
            && let Some(text) = value.as_str().filter(|text| !text.trim().is_empty())
        {
            return Ok(Some(text.to_owned()));
        }
        let message = if self.message.is_empty() { otherwise } else { &self.message };
        Ok(Some(message.to_owned()))
    }
}

/// What expressions see of a request.
pub(crate) fn roots<'a>(request: &'a Request, object: Val<'a>, old: Val<'a>) -> Vec<(&'static str, Val<'a>)> {
    let namespace = request.namespace.as_ref().map_or(Val::Null, Val::Json);
    vec![
        ("object", object),
        ("oldObject", old),
        ("request", Val::Json(&request.review)),
        ("namespaceObject", namespace),
    ]
}

/// `validate.cel` of a rule.
#[derive(Debug)]
pub(crate) struct CelRule {
    preconditions: Vec<Named>,
    variables: Vec<Named>,
    validations: Vec<Validation>,
    annotations: Vec<Named>,
    params: Option<Params>,
}

#[derive(Debug)]
struct Params {
    api_version: String,
    kind: String,
    namespace: String,
    name: String,
    /// Nothing is checked where they are not there.
    allow: bool,
}

impl CelRule {
    pub(crate) fn compile(rule: &At<'_>) -> Read<CelRule> {
        let validate = rule.need("validate")?;
        let at = validate.need("cel")?;
        at.only(&["generate", "expressions", "paramKind", "paramRef", "auditAnnotations", "variables"])?;
        let (variables, names) = variables(&at)?;
        let annotations = at.each_of("auditAnnotations", |at| {
            let names = cel::names(&ROOTS, &names);
            Ok((at.need("key")?.str()?.into(), cel::compile(&at.need("valueExpression")?, &names)?))
        })?;
        let params = match (at.get("paramKind"), at.get("paramRef")) {
            (Some(kind), Some(reference)) => Some(Params {
                api_version: kind.need("apiVersion")?.str()?.to_owned(),
                kind: kind.need("kind")?.str()?.to_owned(),
                namespace: reference.text("namespace")?.to_owned(),
                name: reference.text("name")?.to_owned(),
                allow: reference.text("parameterNotFoundAction")? == "Allow",
            }),
            _ => None,
        };
        Ok(CelRule {
            preconditions: conditions(rule, "celPreconditions", &[])?,
            validations: validations(&at, "expressions", &names)?,
            variables,
            annotations,
            params,
        })
    }

    pub(crate) fn decide<'a>(
        &'a self,
        rule: &Arc<str>,
        frame: &Frame<'a>,
        text: Option<&Text>,
    ) -> Option<RuleOutcome> {
        let said = |status, why: String| Some(RuleOutcome::new(rule, RuleKind::Validation, status, why));
        let request = frame.request;
        let json = |value: &'a Value| if value.is_null() { Val::Null } else { Val::Json(value) };
        let mut roots = roots(request, json(request.new_object()), json(request.old_object()));
        let outside = Outside::new(frame);
        if let Some(params) = &self.params {
            let namespace =
                if params.namespace.is_empty() { request.namespace_name() } else { &params.namespace };
            let question = Lookup::Object {
                api_version: params.api_version.clone(),
                resource: params.kind.clone(),
                namespace: namespace.to_owned(),
                name: params.name.clone(),
            };
            match outside.ask(&question) {
                Ok(value) => roots.push(("params", Val::Json(value))),
                Err(Fault::No(_)) if params.allow => return said(Status::Pass, "no params found".to_owned()),
                Err(why) => return said(Status::Error, format!("params: {why}")),
            }
        }
        let variables = Variables::new(&self.variables);
        let scope = Scope { roots: &roots, variables: &variables, host: &outside, world: frame.world };
        for (name, condition) in &self.preconditions {
            match condition.holds(&scope) {
                Ok(true) => {}
                Ok(false) => return said(Status::Skip, format!("cel precondition {name} is not met")),
                Err(why) => return said(Status::Error, format!("cel precondition {name}: {why}")),
            }
        }
        let own = text.and_then(|text| message(text, frame).ok());
        for validation in &self.validations {
            match validation.failure(&scope, own.as_deref().unwrap_or("failed expression")) {
                Ok(None) => {}
                Ok(Some(why)) => return said(Status::Fail, why),
                Err(Fault::No(why)) => return said(Status::Fail, why.to_string()),
                Err(why) => return said(Status::Error, why.to_string()),
            }
        }
        let mut effects = Effects::default();
        for (key, program) in &self.annotations {
            if let Some(text) = program.run(&scope).ok().as_ref().and_then(Val::as_str) {
                effects.annotations.push((key.to_string(), text.to_owned()));
            }
        }
        Some(RuleOutcome::new(rule, RuleKind::Validation, Status::Pass, "rule passed").with(effects))
    }
}
