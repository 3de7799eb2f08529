//! `PolicyException` of `policies.kyverno.io`, which may end at a time.

use crate::cel::Scope;
use crate::cel_rule::{Named, conditions};
use crate::policy::Metadata;
use crate::refusal::{At, Read};
use serde_json::Value;

#[derive(Debug)]
pub(crate) struct CelException {
    /// Kind and name; an empty kind is any.
    policies: Vec<(String, String)>,
    conditions: Vec<Named>,
    images: Vec<Value>,
    values: Vec<Value>,
    /// Nanoseconds since 1970.
    expires: Option<i128>,
}

/// What exceptions make of a policy.
#[derive(Debug, Default)]
pub(super) struct Excepted {
    /// Those by which it is skipped as a whole.
    pub(super) whole: Vec<String>,
    pub(super) images: Vec<Value>,
    pub(super) values: Vec<Value>,
}

impl CelException {
    pub(crate) fn compile(spec: &At<'_>) -> Read<CelException> {
        spec.only(&[
            "policyRefs",
            "matchConditions",
            "images",
            "allowedValues",
            "reportResult",
            "expiresAt",
            "namespaceSelector",
        ])?;
        let policies = spec.need("policyRefs")?.each(|at| {
            at.only(&["kind", "name"])?;
            Ok((at.text("kind")?.to_owned(), at.need("name")?.str()?.to_owned()))
        })?;
        let expires = match spec.get("expiresAt") {
            None => None,
            Some(at) => {
                let text = at.str()?;
                let time: Result<jiff::Timestamp, _> = text.parse();
                Some(
                    time.or_else(|_| {
                        at.refuse(format_args!("{text} is not a time such as 2026-01-02T15:04:05Z"))
                    })?
                    .as_nanosecond(),
                )
            }
        };
        let list = |key: &str| spec.get(key).map_or(Ok(Vec::new()), |at| at.list().cloned());
        Ok(CelException {
            policies,
            conditions: conditions(spec, "matchConditions", &[])?,
            images: list("images")?,
            values: list("allowedValues")?,
            expires,
        })
    }

    pub(super) fn apply<'a>(
        &'a self,
        name: &str,
        policy: &Metadata,
        scope: &Scope<'_, 'a>,
        now: i128,
        excepted: &mut Excepted,
    ) {
        let named = |(kind, known): &(String, String)| {
            *known == policy.name && (kind.is_empty() || *kind == policy.kind)
        };
        let expired = self.expires.is_some_and(|expires| expires <= now);
        if expired || !self.policies.iter().any(named) {
            return;
        }
        if !self.conditions.iter().all(|(_, condition)| condition.holds(scope).unwrap_or(false)) {
            return;
        }
        if self.images.is_empty() && self.values.is_empty() {
            excepted.whole.push(name.to_owned());
        }
        excepted.images.extend(self.images.iter().cloned());
        excepted.values.extend(self.values.iter().cloned());
    }
}
