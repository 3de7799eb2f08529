//! `PolicyException`: what a policy is not for.
//! <https://kyverno.io/docs/guides/exceptions/>

use crate::cel_policy::CelException;
use crate::condition::Conditions;
use crate::context::Frame;
use crate::matching::Matching;
use crate::pod_security::Exclusion;
use crate::policy::Metadata;
use crate::refusal::{At, Read};
use crate::wildcard::Glob;

/// A compiled exception.
#[derive(Debug)]
pub struct Exception {
    name: String,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Rules {
        exceptions: Vec<(String, Vec<Glob>)>,
        matching: Matching,
        conditions: Option<Conditions>,
        controls: Vec<Exclusion>,
    },
    Cel(Box<CelException>),
}

impl Exception {
    pub(crate) fn compile(at: &At<'_>, metadata: &Metadata, cel: bool) -> Read<Exception> {
        let spec = at.need("spec")?;
        let name = metadata.full_name();
        if cel {
            return Ok(Exception { name, form: Form::Cel(Box::new(CelException::compile(&spec)?)) });
        }
        spec.only(&["background", "match", "conditions", "exceptions", "podSecurity"])?;
        let exceptions = spec.need("exceptions")?.each(|at| {
            at.only(&["policyName", "ruleNames"])?;
            let rules = at.texts("ruleNames")?.into_iter().map(Glob::new).collect();
            Ok((at.need("policyName")?.str()?.to_owned(), rules))
        })?;
        let form = Form::Rules {
            exceptions,
            matching: Matching::compile_only(&spec.need("match")?)?,
            conditions: spec.get("conditions").map(|at| Conditions::compile(&at)).transpose()?,
            controls: spec.each_of("podSecurity", Exclusion::compile)?,
        };
        Ok(Exception { name, form })
    }

    /// Its namespace and name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn cel(&self) -> Option<&CelException> {
        match &self.form {
            Form::Cel(exception) => Some(exception),
            Form::Rules { .. } => None,
        }
    }

    /// Whether it is for a policy of rules at all.
    pub(crate) fn is_for(&self, policy: &Metadata) -> bool {
        match &self.form {
            Form::Rules { exceptions, .. } => exceptions.iter().any(|(name, _)| *name == policy.full_name()),
            Form::Cel(_) => false,
        }
    }

    /// Whether it is for a rule and a request.
    pub(crate) fn applies(&self, rule: &str, frame: &Frame<'_>) -> bool {
        let Form::Rules { exceptions, matching, conditions, .. } = &self.form else { return false };
        let bare =
            rule.strip_prefix("autogen-cronjob-").or_else(|| rule.strip_prefix("autogen-")).unwrap_or(rule);
        let named = exceptions
            .iter()
            .any(|(_, rules)| rules.iter().any(|glob| glob.matches(rule) || glob.matches(bare)));
        named
            && matching.matches(frame.request)
            && conditions
                .as_ref()
                .is_none_or(|conditions| conditions.hold(&frame.view()).is_ok_and(|(held, _)| held))
    }

    /// Which controls of the Pod Security Standards it is limited to; none for all of a rule.
    pub(crate) fn controls(&self) -> &[Exclusion] {
        match &self.form {
            Form::Rules { controls, .. } => controls,
            Form::Cel(_) => &[],
        }
    }
}
