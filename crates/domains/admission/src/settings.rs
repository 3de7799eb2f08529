//! What a policy says about how it is to be served: when it is asked, for how long, and what happens where nobody answers.

use crate::refusal::{At, Read};
use crate::request::{Operation, Request};
use serde_json::Value;

/// How a policy is to be served.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Requests are refused where the policy cannot be asked, or ends in an error (`failurePolicy`).
    pub fail_closed: bool,
    /// Seconds that the API server waits; None where nothing is said.
    pub timeout: Option<u32>,
    /// It is asked about requests.
    pub admission: bool,
    /// It is asked about what is there.
    pub background: bool,
    /// Who asks is warned of what is only reported (`emitWarning`, the action Warn).
    pub warns: bool,
    /// What the API server evaluates before it asks: the `matchConditions` of a webhook.
    pub match_conditions: Vec<Value>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            fail_closed: true,
            timeout: None,
            admission: true,
            background: true,
            warns: false,
            match_conditions: Vec::new(),
        }
    }
}

impl Settings {
    /// Of the `spec` of a policy of either generation.
    pub(crate) fn compile(spec: &At<'_>) -> Read<Settings> {
        let webhook = spec.get("webhookConfiguration");
        let failure = match (&webhook, spec.get("failurePolicy")) {
            (_, Some(at)) => fail_closed(&at)?,
            (Some(webhook), None) => webhook.get("failurePolicy").map_or(Ok(true), |at| fail_closed(&at))?,
            (None, None) => true,
        };
        let timeout = match &webhook {
            Some(webhook) => webhook.get("timeoutSeconds").map(|at| seconds(&at)).transpose()?,
            None => None,
        };
        let old = spec.get("webhookTimeoutSeconds").map(|at| seconds(&at)).transpose()?;
        let conditions = webhook.as_ref().and_then(|webhook| webhook.get("matchConditions"));
        let evaluation = |part: &str| spec.value["evaluation"][part]["enabled"] != Value::Bool(false);
        let warning = spec.texts("validationActions")?.contains(&"Warn");
        Ok(Settings {
            fail_closed: failure,
            timeout: timeout.or(old),
            admission: spec.flag("admission", true)? && evaluation("admission"),
            background: spec.flag("background", true)? && evaluation("background"),
            warns: spec.flag("emitWarning", false)? || warning,
            match_conditions: conditions.map(|at| at.list().cloned()).transpose()?.unwrap_or_default(),
        })
    }
}

fn fail_closed(at: &At<'_>) -> Read<bool> {
    match at.str()? {
        "Fail" => Ok(true),
        "Ignore" => Ok(false),
        other => {
            let hint = crate::nearest::hint(other, ["Fail", "Ignore"]);
            at.refuse(format_args!("{other} is neither Fail nor Ignore{hint}"))
        }
    }
}

fn seconds(at: &At<'_>) -> Read<u32> {
    match at.value.as_u64() {
        Some(seconds @ 1..=30) => Ok(u32::try_from(seconds).unwrap_or(30)),
        _ => at.refuse("a webhook has 1 to 30 seconds"),
    }
}

/// Requests that a policy may be for, as far as that can be told without seeing any: what a webhook is registered for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interest {
    /// The API group; may hold wildcards.
    pub group: String,
    /// The version; may hold wildcards.
    pub version: String,
    /// Of what.
    pub subject: Subject,
    /// Such as exec; empty for the object itself, `*` for any.
    pub subresource: String,
    /// With what done to it.
    pub operations: Vec<Operation>,
}

/// How a policy names what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// By kind, such as Pod; may hold wildcards.
    Kind(String),
    /// By plural name, such as pods; may be `*`.
    Resource(String),
}

impl Interest {
    /// Whether a request of a kind and resource may be meant.
    pub fn covers(&self, kind: &str, resource: &str) -> bool {
        match &self.subject {
            Subject::Kind(pattern) => crate::wildcard::matches(pattern, kind),
            Subject::Resource(name) => name == "*" || name.eq_ignore_ascii_case(resource),
        }
    }

    /// Whether a request may be meant: by its kind or resource, subresource and operation.
    pub(crate) fn suits(&self, request: &Request) -> bool {
        self.covers(&request.kind.kind, &request.resource)
            && crate::wildcard::matches(&self.subresource, &request.subresource)
            && self.operations.contains(&request.operation)
    }
}
