//! Policies applied to objects of files.

use crate::load::{self, Policies};
use crate::report::{Report, Summary};
use crate::world::{Seen, World};
use keyward_admission::{
    Explanation, Leave, Mode, Operation, Outcome, Policy, Request, RuleKind, RuleOutcome, Surroundings, yaml,
};
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};

/// How often a decision may come back with another question.
const ROUNDS: usize = 16;

/// What is applied to what.
#[derive(Debug, Default)]
pub struct Apply {
    /// Policies, exceptions and bindings.
    pub policies: Policies,
    /// What policies find where they look outside of an object.
    pub world: World,
    /// Whose request it is: a `UserInfo`.
    pub user: Option<Value>,
    /// What is done with the objects; made, where nothing is said.
    pub operation: Option<Operation>,
    /// Nanoseconds since 1970.
    pub now: i128,
}

/// What policies made of the objects: changed and generated ones.
pub type Made<'m> = &'m mut dyn FnMut(&Value);

impl Apply {
    /// Applies the policies to the objects of files and folders, one after the other.
    ///
    /// # Errors
    ///
    /// What cannot be read or written.
    pub fn files<W: Write>(
        &self,
        paths: &[PathBuf],
        report: Report<W>,
        made: Made<'_>,
    ) -> Result<Summary, String> {
        let mut report = report;
        for path in paths {
            for file in load::files(path)? {
                self.text(&load::text(&file)?, &file, &mut report, made)?;
            }
        }
        report.finish().map_err(|why| why.to_string())
    }

    /// Applies the policies to the objects of one text, such as standard input.
    ///
    /// # Errors
    ///
    /// As [`Apply::files`].
    pub fn text<W: Write>(
        &self,
        text: &str,
        name: &Path,
        report: &mut Report<W>,
        made: Made<'_>,
    ) -> Result<(), String> {
        for value in yaml::stream(text) {
            let value = value.map_err(|fault| format!("{}: {fault}", name.display()))?;
            for mut object in load::apart(value) {
                if object["kind"].is_string() {
                    load::place(&mut object);
                }
                self.object(object, report, made)?;
            }
        }
        Ok(())
    }

    /// Applies the policies to one object.
    ///
    /// # Errors
    ///
    /// What cannot be written.
    pub fn object<W: Write>(
        &self,
        object: Value,
        report: &mut Report<W>,
        made: Made<'_>,
    ) -> Result<(), String> {
        let mut said: Vec<(&Policy, RuleOutcome)> = Vec::new();
        let (request, changed) = self.walk(object, &mut |decided| {
            for rule in std::mem::take(&mut decided.outcome.rules) {
                let effects = rule.effects.as_deref();
                effects
                    .into_iter()
                    .flat_map(|one| one.generated.iter().chain(&one.targets))
                    .for_each(&mut *made);
                said.push((decided.policy, rule));
            }
        });
        if changed {
            made(request.object());
        }
        report.object(request.object(), &said).map_err(|why| why.to_string())
    }

    /// Why each policy says what it says about an object, rule by rule; also why rules are not for it.
    pub fn explain(&self, object: Value) -> Vec<(&Policy, Vec<Explanation>)> {
        let mut explained: Vec<(&Policy, Vec<Explanation>)> = Vec::new();
        self.walk(object, &mut |decided| {
            let Decided { policy, kind, request, around, outcome } = decided;
            let rules = policy.explain(*kind, request, around, outcome);
            match explained.iter_mut().find(|(known, _)| std::ptr::eq(*known, *policy)) {
                Some((_, known)) => known.extend(rules),
                None => explained.push((policy, rules)),
            }
        });
        explained
    }

    /// Asks all policies about an object, those first that change it; the request as it is then, and whether it was changed.
    fn walk<'p>(&'p self, object: Value, each: &mut dyn FnMut(&mut Decided<'p, '_>)) -> (Request, bool) {
        let kubernetes = object["kind"].is_string();
        let mut request = match kubernetes {
            true => Request::of_object(object, self.operation.unwrap_or(Operation::Create)),
            false => Request::of_payload(object),
        };
        if let Some(user) = &self.user {
            request = request.with_user(user.clone(), Value::Array(Vec::new()), Value::Array(Vec::new()));
        }
        let namespace = self.world.namespace(request.object());
        request = request.with_namespace(namespace);
        let mut changed = false;
        for kind in [
            RuleKind::Mutation,
            RuleKind::ExistingMutation,
            RuleKind::ImageVerification,
            RuleKind::Validation,
            RuleKind::Generation,
        ] {
            for policy in &self.policies.policies {
                let suits =
                    if kubernetes { policy.mode() == Mode::Kubernetes } else { policy.mode() == Mode::Json };
                if !suits || !policy.has(kind) {
                    continue;
                }
                let mut seen = Seen::new(&self.world);
                let mut outcome = self.decide(policy, kind, &request, &mut seen);
                let patched = outcome.patched.take();
                let around = self.around(&seen);
                each(&mut Decided { policy, kind, request: &request, around: &around, outcome });
                if let Some(object) = patched {
                    changed = true;
                    request.replace_object(object);
                }
            }
        }
        (request, changed)
    }

    fn around<'a>(&'a self, seen: &'a Seen<'_>) -> Surroundings<'a> {
        Surroundings {
            snapshot: seen,
            exceptions: &self.policies.exceptions,
            bindings: &self.policies.bindings,
            now: self.now,
            seed: 1,
            leave: Leave::Full,
        }
    }

    /// What a policy says about a request, with everything found out that it asks for.
    fn decide(&self, policy: &Policy, kind: RuleKind, request: &Request, seen: &mut Seen<'_>) -> Outcome {
        let mut outcome = policy.decide(kind, request, &self.around(seen));
        for _ in 0..ROUNDS {
            let lacks = std::mem::take(&mut outcome.lacks);
            if !seen.find_out(&policy.metadata.namespace, lacks) {
                break;
            }
            outcome = policy.decide(kind, request, &self.around(seen));
        }
        outcome
    }
}

/// What a policy said about a request.
struct Decided<'p, 'r> {
    policy: &'p Policy,
    kind: RuleKind,
    request: &'r Request,
    around: &'r Surroundings<'r>,
    outcome: Outcome,
}
