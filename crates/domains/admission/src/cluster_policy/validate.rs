//! `validate`: patterns, denials, loops over elements, the Pod Security Standards, CEL.

use super::{Action, Override, action, overrides};
use crate::assertion::{Assertion, Names};
use crate::cel_rule::CelRule;
use crate::condition::Conditions;
use crate::context::{Entry, Frame, View, message};
use crate::exception::Exception;
use crate::jmespath::{Error, Scope, Val};
use crate::loops::{Loop, NAMES};
use crate::outcome::{Effects, RuleKind, RuleOutcome, Status};
use crate::pattern::{Mismatch, Pattern};
use crate::pod_security::PodSecurity;
use crate::refusal::{At, Read};
use crate::request::Operation;
use crate::template::{Template, Text};
use keyward_expressions::World;
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Validate {
    message: Option<Text>,
    pub(super) action: Option<Action>,
    pub(super) overrides: Vec<Override>,
    /// What failed before it is changed may go on failing.
    pub(super) allows_existing: bool,
    check: Check,
}

#[derive(Debug)]
enum Check {
    Pattern(Source),
    AnyPattern(Vec<Source>),
    /// Without conditions it always denies.
    Deny(Option<Conditions>),
    ForEach(Vec<ForEach>),
    PodSecurity(Box<PodSecurity>),
    Cel(Box<CelRule>),
    Assert(Box<Assertion>),
}

/// A pattern, compiled as soon as its variables are known.
#[derive(Debug)]
enum Source {
    Fixed(Pattern),
    Template(Template),
}

#[derive(Debug)]
struct ForEach {
    over: Loop,
    context: Vec<Entry>,
    preconditions: Option<Conditions>,
    check: Check,
}

const VALIDATE: [&str; 13] = [
    "message",
    "failureAction",
    "failureActionOverrides",
    "allowExistingViolations",
    "pattern",
    "anyPattern",
    "deny",
    "foreach",
    "podSecurity",
    "cel",
    "manifests",
    "assert",
    "validationFailureAction",
];

impl Validate {
    pub(super) fn compile(rule: &At<'_>) -> Read<Validate> {
        let at = rule.need("validate")?;
        at.only(&VALIDATE)?;
        // Before anything else, for a check that is left out would let through what was meant to be held up.
        if let Some(manifests) = at.get("manifests") {
            return manifests.refuse(
                "signatures of manifests are not verified: hold the images to verifyImages, and verify manifests where they are applied from",
            );
        }
        let text = at.text("message")?;
        let message = if text.is_empty() { None } else { Some(Text::parse(&at, text)?) };
        let check = if let Some(security) = at.get("podSecurity") {
            Check::PodSecurity(Box::new(PodSecurity::compile(&security)?))
        } else if at.get("cel").is_some() {
            Check::Cel(Box::new(CelRule::compile(rule)?))
        } else {
            check(&at)?
        };
        Ok(Validate {
            message,
            action: at.get("failureAction").map(|at| action(&at)).transpose()?,
            overrides: overrides(&at, "failureActionOverrides")?,
            allows_existing: at.flag("allowExistingViolations", true)?,
            check,
        })
    }

    pub(super) fn only_looks_at_objects(&self) -> bool {
        matches!(self.check, Check::Pattern(_) | Check::AnyPattern(_) | Check::PodSecurity(_))
    }

    pub(super) fn decide<'a>(
        &'a self,
        rule: &Arc<str>,
        frame: &Frame<'a>,
        exceptions: &[&Exception],
    ) -> Result<Option<RuleOutcome>, Error> {
        let said = |status, why: Cow<'static, str>| RuleOutcome::new(rule, RuleKind::Validation, status, why);
        match &self.check {
            Check::PodSecurity(security) => {
                if frame.request.operation == Operation::Delete {
                    return Ok(None);
                }
                let verdict = security.decide(frame.request.object(), exceptions);
                let effects = Effects { exceptions: verdict.exceptions, ..Effects::default() };
                return Ok(Some(match (verdict.failed, effects.exceptions.is_empty()) {
                    (None, true) => said(Status::Pass, "validation rule passed".into()),
                    (None, false) => {
                        said(Status::Skip, "rule is skipped due to policy exceptions".into()).with(effects)
                    }
                    (Some(why), _) => said(
                        Status::Fail,
                        format!("{}{why}", self.said(frame, "Validation rule failed. ")).into(),
                    ),
                }));
            }
            Check::Cel(cel) => return Ok(cel.decide(rule, frame, self.message.as_ref())),
            _ => {}
        }
        let verdict = self.check(&self.check, rule, frame, None, 0)?;
        Ok(verdict.map(|(status, why)| said(status, why)))
    }

    fn said(&self, frame: &Frame<'_>, otherwise: &str) -> String {
        let text = self.message.as_ref().and_then(|text| message(text, frame).ok());
        text.map_or_else(|| otherwise.to_owned(), |text| text + " ")
    }

    fn check<'a>(
        &'a self,
        check: &'a Check,
        rule: &Arc<str>,
        frame: &Frame<'a>,
        element: Option<&Val<'a>>,
        nesting: usize,
    ) -> Result<Option<(Status, Cow<'static, str>)>, Error> {
        match check {
            Check::Deny(conditions) => {
                let (denied, messages) = match conditions {
                    Some(conditions) => conditions.hold(&frame.view())?,
                    None => (true, Vec::new()),
                };
                if !denied {
                    return Ok(Some((Status::Pass, "validation rule passed".into())));
                }
                let mut why = match &self.message {
                    Some(text) => message(text, frame).unwrap_or_else(|why| why.to_string()),
                    None => format!("validation error: rule {rule} failed"),
                };
                for message in messages {
                    why.push_str("; ");
                    why.push_str(&message);
                }
                Ok(Some((Status::Fail, why.into())))
            }
            Check::Pattern(source) => {
                let Some(target) = target(frame, element) else { return Ok(None) };
                Ok(Some(match source.matches(&target.to_value(), frame)? {
                    Ok(()) => (Status::Pass, "validation rule passed".into()),
                    Err(mismatch) => self.mismatched(rule, frame, mismatch)?,
                }))
            }
            Check::AnyPattern(sources) => {
                let Some(target) = target(frame, element) else { return Ok(None) };
                self.any_pattern(sources, rule, frame, &target).map(Some)
            }
            Check::Assert(assertion) => {
                let payload = Payload(frame.view());
                let faults = assertion.check(None, &Names::new(&payload), "")?;
                Ok(Some(if faults.is_empty() {
                    (Status::Pass, "validation rule passed".into())
                } else {
                    (Status::Fail, format!("{}{}", self.said(frame, ""), faults.join("; ")).into())
                }))
            }
            Check::ForEach(loops) => self.for_each(loops, rule, frame, nesting),
            Check::PodSecurity(_) | Check::Cel(_) => Ok(None),
        }
    }

    fn mismatched(
        &self,
        rule: &str,
        frame: &Frame<'_>,
        mismatch: Mismatch,
    ) -> Result<(Status, Cow<'static, str>), Error> {
        let (path, why) = match mismatch {
            Mismatch::Skip(why) => return Ok((Status::Skip, why.into())),
            Mismatch::Spent => return Err(Error::Spent),
            Mismatch::Fail { path, why } => (path, why),
        };
        let mut text = String::from("validation error: ");
        if let Some(own) = &self.message {
            text.push_str(&message(own, frame).unwrap_or_else(|why| why.to_string()));
            if !text.ends_with('.') {
                text.push('.');
            }
            text.push(' ');
        }
        Ok(if path.is_empty() {
            (Status::Error, format!("{text}rule {rule} execution error: {why}").into())
        } else {
            (Status::Fail, format!("{text}rule {rule} failed at path {path}").into())
        })
    }

    fn any_pattern<'a>(
        &self,
        sources: &'a [Source],
        rule: &str,
        frame: &Frame<'a>,
        target: &Val<'a>,
    ) -> Result<(Status, Cow<'static, str>), Error> {
        let (mut failed, mut skipped) = (Vec::new(), Vec::new());
        let target = target.to_value();
        for (index, source) in sources.iter().enumerate() {
            match source.matches(&target, frame)? {
                Ok(()) => {
                    return Ok((
                        Status::Pass,
                        format!("validation rule '{rule}' anyPattern[{index}] passed.").into(),
                    ));
                }
                Err(Mismatch::Spent) => return Err(Error::Spent),
                Err(Mismatch::Skip(why)) => skipped.push(format!("rule {rule}[{index}] skipped: {why}")),
                Err(Mismatch::Fail { path, why }) if path.is_empty() => {
                    failed.push(format!("rule {rule}[{index}] failed: {why}"));
                }
                Err(Mismatch::Fail { path, .. }) => {
                    failed.push(format!("rule {rule}[{index}] failed at path {path}"));
                }
            }
        }
        if failed.is_empty() {
            return Ok((Status::Skip, skipped.join(" ").into()));
        }
        let mut text = self.said(frame, "").trim_end().to_owned();
        if !text.is_empty() && !text.ends_with('.') {
            text.push('.');
        }
        Ok((Status::Fail, format!("validation error: {text} {}", failed.join(" ")).into()))
    }

    fn for_each<'a>(
        &'a self,
        loops: &'a [ForEach],
        rule: &Arc<str>,
        frame: &Frame<'a>,
        nesting: usize,
    ) -> Result<Option<(Status, Cow<'static, str>)>, Error> {
        let mut applied = 0;
        for each in loops {
            let Some(elements) = each.over.elements(frame)? else { continue };
            let last = elements.len().saturating_sub(1);
            for (index, element) in elements.into_iter().enumerate() {
                if element.is_null() {
                    continue;
                }
                let mark = frame.mark();
                let verdict = self.one(each, rule, frame, element, index, nesting);
                frame.forget(mark);
                let verdict = match verdict {
                    Err(Error::NotFound(_) | Error::Fault(_)) if index < last => continue,
                    Err(why @ (Error::NotFound(_) | Error::Fault(_))) => {
                        Some((Status::Error, Cow::from(format!("validation failure: {why}"))))
                    }
                    verdict => verdict?,
                };
                match verdict {
                    None | Some((Status::Skip, _)) => {}
                    Some((Status::Pass, _)) => applied += 1,
                    Some((Status::Error, _)) if index < last => {}
                    Some((status, why)) => {
                        return Ok(Some((status, format!("validation failure: {why}").into())));
                    }
                }
            }
        }
        Ok(Some(if applied == 0 {
            (Status::Skip, "rule skipped".into())
        } else {
            (Status::Pass, "rule passed".into())
        }))
    }

    fn one<'a>(
        &'a self,
        each: &'a ForEach,
        rule: &Arc<str>,
        frame: &Frame<'a>,
        element: Val<'a>,
        index: usize,
        nesting: usize,
    ) -> Result<Option<(Status, Cow<'static, str>)>, Error> {
        let element = Val::Ref(frame.keep(element));
        let names = &NAMES[nesting.min(NAMES.len() - 1)];
        names.bind(frame, &element, index);
        frame.define(&each.context);
        if let Some(preconditions) = &each.preconditions
            && !preconditions.hold(&frame.view())?.0
        {
            return Ok(Some((Status::Skip, "preconditions not met".into())));
        }
        let scoped = each.over.scoped(&element)?;
        self.check(&each.check, rule, frame, scoped.then_some(&element), nesting + 1)
    }
}

/// What a pattern is held against: the element of a loop, or the object; nothing where that is being removed.
fn target<'a>(frame: &Frame<'a>, element: Option<&Val<'a>>) -> Option<Val<'a>> {
    match element {
        Some(element) => Some(element.clone()),
        None if frame.request.operation == Operation::Delete => None,
        None => Some(Val::Ref(frame.request.object())),
    }
}

/// What assertions are about: the objects of the request, and the request.
struct Payload<'f, 'a>(View<'f, 'a>);

impl<'a> Scope<'a> for Payload<'_, 'a> {
    fn variable(&self, name: &str) -> Result<Option<Val<'a>>, Error> {
        let review = &self.0.frame.request.review;
        match name {
            "object" | "oldObject" | "operation" | "userInfo" => Ok(review.get(name).map(Val::Ref)),
            other => self.0.variable(other),
        }
    }

    fn whole(&self) -> Result<Val<'a>, Error> {
        Ok(Val::Ref(&self.0.frame.request.review))
    }

    fn world(&self) -> &World {
        self.0.frame.world
    }
}

impl Source {
    fn compile(at: &At<'_>) -> Read<Source> {
        let template = Template::compile(at)?;
        Ok(match template.fixed() {
            Some(value) => Source::Fixed(Pattern::new(value)),
            None => Source::Template(template),
        })
    }

    fn matches(&self, target: &Value, frame: &Frame<'_>) -> Result<Result<(), Mismatch>, Error> {
        let meter = &frame.world.meter;
        Ok(match self {
            Source::Fixed(pattern) => pattern.matches(target, meter),
            Source::Template(template) => {
                Pattern::new(&template.render(&frame.view())?).matches(target, meter)
            }
        })
    }
}

fn check(at: &At<'_>) -> Read<Check> {
    if let Some(pattern) = at.get("pattern") {
        return Ok(Check::Pattern(Source::compile(&pattern)?));
    }
    if let Some(patterns) = at.get("anyPattern") {
        return Ok(Check::AnyPattern(patterns.each(Source::compile)?));
    }
    if let Some(deny) = at.get("deny") {
        deny.only(&["conditions"])?;
        return Ok(Check::Deny(deny.get("conditions").map(|at| Conditions::compile(&at)).transpose()?));
    }
    if let Some(loops) = at.get("foreach") {
        return Ok(Check::ForEach(loops.each(for_each)?));
    }
    if let Some(tree) = at.get("assert") {
        return Ok(Check::Assert(Box::new(Assertion::compile(&tree)?)));
    }
    at.refuse("there is nothing to validate by: a pattern, anyPattern, deny, foreach, podSecurity or cel")
}

fn for_each(at: &At<'_>) -> Read<ForEach> {
    at.only(&[
        "list",
        "elementScope",
        "context",
        "preconditions",
        "pattern",
        "anyPattern",
        "deny",
        "foreach",
    ])?;
    Ok(ForEach {
        over: Loop::compile(at)?,
        context: Entry::compile_all(at)?,
        preconditions: at.get("preconditions").map(|at| Conditions::compile(&at)).transpose()?,
        check: check(at)?,
    })
}

#[cfg(test)]
mod tests {
    use crate::load;
    use serde_json::{Value, json};

    #[test]
    fn signed_manifests_are_refused_whatever_stands_beside_them() {
        let attestors = json!([{"entries": [{"keys": {"publicKeys": "k8s://a/b"}}]}]);
        let refused = |more: Value| {
            let mut validate = json!({"message": "m", "manifests": {"attestors": attestors}});
            validate.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let policy = json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"},
                "spec": {"rules": [{"name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, "validate": validate}]}});
            load(&policy, None).unwrap_err().to_string()
        };
        for more in [
            json!({}),
            json!({"pattern": {"metadata": {"name": "?*"}}}),
            json!({"podSecurity": {"level": "baseline"}}),
        ] {
            let why = refused(more);
            assert!(why.contains("validate.manifests") && why.contains("are not verified"), "{why}");
        }
    }
}
