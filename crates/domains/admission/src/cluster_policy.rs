//! Policies of `kyverno.io`: `ClusterPolicy` and `Policy`.
//! <https://kyverno.io/docs/policy-types/cluster-policy/overview/>

mod autogen;
mod rule;
mod validate;

pub(crate) use rule::{Rule, Task};

use crate::exception::Exception;
use crate::explain::{Candidate, Explanation, explain};
use crate::outcome::{Action, Outcome, RuleKind, RuleOutcome, Status};
use crate::policy::{Metadata, Surroundings};
use crate::refusal::{At, Read};
use crate::request::{Operation, Request};
use crate::settings::{Interest, Settings};
use crate::upkeep::Upkeep;
use crate::wildcard::Glob;

/// A compiled policy of rules.
#[derive(Debug)]
pub(crate) struct ClusterPolicy {
    pub(crate) rules: Vec<Rule>,
    action: Action,
    overrides: Vec<Override>,
    /// Only the first rule that applies counts.
    first_only: bool,
    existing: Existing,
    server_side_apply: bool,
    pub(crate) settings: Settings,
}

/// What the policy says where its rules say nothing: whether they are for what is there when the policy comes.
#[derive(Debug)]
struct Existing {
    generate: bool,
    mutate: bool,
}

#[derive(Debug)]
struct Override {
    action: Action,
    namespaces: Vec<Glob>,
}

const SPEC: [&str; 18] = [
    "rules",
    "applyRules",
    "failurePolicy",
    "validationFailureAction",
    "validationFailureActionOverrides",
    "emitWarning",
    "admission",
    "background",
    "schemaValidation",
    "webhookTimeoutSeconds",
    "mutateExistingOnPolicyUpdate",
    "generateExistingOnPolicyUpdate",
    "generateExisting",
    "useServerSideApply",
    "webhookConfiguration",
    "autogen",
    "skipBackgroundRequests",
    "status",
];

pub(crate) fn action(at: &At<'_>) -> Read<Action> {
    match at.str()? {
        "Audit" | "audit" => Ok(Action::Audit),
        "Enforce" | "enforce" => Ok(Action::Enforce),
        other => {
            let hint = crate::nearest::hint(other, ["Audit", "Enforce"]);
            at.refuse(format_args!("{other} is neither Audit nor Enforce{hint}"))
        }
    }
}

fn overrides(at: &At<'_>, key: &str) -> Read<Vec<Override>> {
    at.each_of(key, |at| {
        at.only(&["action", "namespaces", "namespaceSelector"])?;
        let namespaces = at.texts("namespaces")?.into_iter().map(Glob::new).collect();
        Ok(Override { action: action(&at.need("action")?)?, namespaces })
    })
}

impl ClusterPolicy {
    pub(crate) fn compile(at: &At<'_>, metadata: &Metadata) -> Read<ClusterPolicy> {
        let spec = at.need("spec")?;
        spec.only(&SPEC)?;
        let rules = spec.need("rules")?;
        let mut compiled = rules.each(Rule::compile)?;
        if compiled.is_empty() {
            return rules.refuse("a policy has at least one rule");
        }
        for (index, rule) in compiled.iter().enumerate() {
            if compiled[..index].iter().any(|earlier| earlier.name == rule.name) {
                return rules.refuse(format_args!("two rules are named {}", rule.name));
            }
        }
        for generated in autogen::rules(spec.value, metadata) {
            compiled.push(Rule::compile(&At::new(&generated)).or_else(|refusal| {
                rules.refuse(format_args!("the rule made for pod controllers is refused: {refusal}"))
            })?);
        }
        let first_only = match spec.text("applyRules")? {
            "" | "All" => false,
            "One" => true,
            other => return spec.need("applyRules")?.refuse(format_args!("{other} is neither All nor One")),
        };
        Ok(ClusterPolicy {
            rules: compiled,
            action: spec.get("validationFailureAction").map_or(Ok(Action::Audit), |at| action(&at))?,
            overrides: overrides(&spec, "validationFailureActionOverrides")?,
            first_only,
            existing: Existing {
                generate: spec.flag("generateExisting", false)?
                    || spec.flag("generateExistingOnPolicyUpdate", false)?,
                mutate: spec.flag("mutateExistingOnPolicyUpdate", false)?,
            },
            server_side_apply: spec.flag("useServerSideApply", false)?,
            settings: Settings::compile(&spec)?,
        })
    }

    /// What happens where a rule of it fails.
    pub(crate) fn action(&self, rule: &str, namespace: &str) -> Action {
        let by = |overrides: &[Override]| {
            overrides
                .iter()
                .find(|one| one.namespaces.iter().any(|glob| glob.matches(namespace)))
                .map(|one| one.action)
        };
        let rule = self.rules.iter().find(|known| *known.name == *rule);
        let own = rule.and_then(|rule| match &rule.task {
            Task::Validate(validate) => by(&validate.overrides).or(validate.action),
            // One rule says one thing: what one of its entries enforces is enforced.
            Task::VerifyImages(entries) => {
                let actions = || entries.iter().filter_map(|entry| entry.action);
                actions().find(|action| *action == Action::Enforce).or_else(|| actions().next())
            }
            _ => None,
        });
        own.or_else(|| by(&self.overrides)).unwrap_or(self.action)
    }

    pub(crate) fn interests(&self, kind: RuleKind) -> Vec<Interest> {
        let rules = self.rules.iter().filter(|rule| rule.asked_as() == kind);
        rules.flat_map(|rule| rule.matching.interests(rule.task.operations())).collect()
    }

    /// How what its rules make, or change elsewhere, is kept.
    pub(crate) fn upkeep(&self, kind: RuleKind) -> Vec<Upkeep> {
        let rules = self.rules.iter().filter(|rule| rule.asked_as() == kind);
        rules
            .map(|rule| {
                let (synchronize, existing, orphans) = match &rule.task {
                    Task::Generate(generate) => (
                        generate.synchronize,
                        generate.existing.unwrap_or(self.existing.generate),
                        generate.orphans(),
                    ),
                    Task::Mutate(mutate) => {
                        (false, mutate.on_policy_update().unwrap_or(self.existing.mutate), true)
                    }
                    Task::Validate(_) | Task::VerifyImages(_) => (false, false, true),
                };
                Upkeep {
                    rule: rule.name.clone(),
                    synchronize,
                    existing,
                    orphans,
                    server_side_apply: self.server_side_apply,
                    by_review: rule.by_review,
                    reviews: rule.reviews(),
                }
            })
            .collect()
    }

    pub(crate) fn has(&self, kind: RuleKind) -> bool {
        self.rules.iter().any(|rule| rule.asked_as() == kind)
    }

    pub(crate) fn decide(
        &self,
        metadata: &Metadata,
        kind: RuleKind,
        request: &Request,
        around: &Surroundings<'_>,
    ) -> Outcome {
        if !metadata.namespace.is_empty() && metadata.namespace != request.namespace_name() {
            return Outcome::default();
        }
        let exceptions: Vec<&Exception> =
            around.exceptions.iter().filter(|exception| exception.is_for(metadata)).collect();
        let mut outcome = Outcome::default();
        for rule in self.rules.iter().filter(|rule| rule.asked_as() == kind) {
            if !rule.matching.matches(request) {
                continue;
            }
            let before = outcome.rules.len();
            rule.decide(request, around, &exceptions, &mut outcome);
            if kind == RuleKind::Validation
                && let Some(said) = outcome.rules.get(before)
                && said.status == Status::Fail
                && self.action(&rule.name, request.namespace_name()) == Action::Enforce
                && self.failed_before(rule, request, around, &exceptions, &mut outcome)
            {
                let why = "skipping the rule evaluation as pre-existing violations are allowed";
                outcome.rules[before] = RuleOutcome::new(&rule.name, RuleKind::Validation, Status::Skip, why);
            }
            if self.first_only && !outcome.rules.is_empty() {
                break;
            }
        }
        outcome
    }

    pub(crate) fn explain(
        &self,
        metadata: &Metadata,
        kind: RuleKind,
        request: &Request,
        around: &Surroundings<'_>,
        outcome: &Outcome,
    ) -> Vec<Explanation> {
        let elsewhere = !metadata.namespace.is_empty() && metadata.namespace != request.namespace_name();
        let candidate = |rule: &Rule| {
            let mismatch = match elsewhere {
                true => Some(format!("it is for the namespace {} alone", metadata.namespace)),
                false => rule.matching.mismatch(request),
            };
            let conditions = if mismatch.is_none() { rule.conditions(request, around) } else { Vec::new() };
            Candidate { name: rule.name.clone(), mismatch, conditions }
        };
        explain(self.rules.iter().filter(|rule| rule.kind() == kind).map(candidate).collect(), outcome)
    }

    /// Whether what a request changes failed already, as if it were made now, and the rule lets that be.
    fn failed_before(
        &self,
        rule: &Rule,
        request: &Request,
        around: &Surroundings<'_>,
        exceptions: &[&Exception],
        asked: &mut Outcome,
    ) -> bool {
        let Task::Validate(validate) = &rule.task else { return false };
        if !validate.allows_existing || request.operation() != Operation::Update {
            return false;
        }
        let Some(before) = request.before() else { return false };
        if !rule.matching.matches(&before) {
            return false;
        }
        let mut outcome = Outcome { steps: asked.steps, ..Outcome::default() };
        rule.decide(&before, around, exceptions, &mut outcome);
        asked.lacks.append(&mut outcome.lacks);
        asked.steps = outcome.steps;
        asked.cut_short |= outcome.cut_short;
        outcome.rules.iter().any(|said| said.status == Status::Fail)
    }
}
