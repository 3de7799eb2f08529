//! What a policy says about a request.

use crate::lookup::Lookup;
use crate::meter::Meter;
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// It holds.
    Pass,
    /// It does not.
    Fail,
    /// It does not, and is only worth a warning.
    Warn,
    /// It could not be found out.
    Error,
    /// It does not apply.
    Skip,
}

impl Status {
    /// As reports have it.
    pub fn name(self) -> &'static str {
        match self {
            Status::Pass => "pass",
            Status::Fail => "fail",
            Status::Warn => "warn",
            Status::Error => "error",
            Status::Skip => "skip",
        }
    }
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKind {
    /// It checks.
    Validation,
    /// It changes the object.
    Mutation,
    /// It changes other objects, which are there already. What comes of it is told as a mutation.
    ExistingMutation,
    /// It makes other objects.
    Generation,
    /// It checks signatures of images.
    ImageVerification,
    /// It removes the object.
    Deletion,
}

/// What one rule says about a request.
#[derive(Clone, Debug)]
pub struct RuleOutcome {
    /// The rule's name; for policies without rules empty.
    pub rule: Arc<str>,
    /// What it does.
    pub kind: RuleKind,
    /// What it says.
    pub status: Status,
    /// Why.
    pub message: Cow<'static, str>,
    /// What comes with it.
    pub effects: Option<Box<Effects>>,
}

/// What comes with what a rule says.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// Objects that are to be made.
    pub generated: Vec<Value>,
    /// Other objects as they are to be changed.
    pub targets: Vec<Value>,
    /// The exceptions by which it was skipped.
    pub exceptions: Vec<String>,
    /// What is noted in the audit log, by key.
    pub annotations: Vec<(String, String)>,
}

impl RuleOutcome {
    pub(crate) fn new(
        rule: &Arc<str>,
        kind: RuleKind,
        status: Status,
        message: impl Into<Cow<'static, str>>,
    ) -> RuleOutcome {
        RuleOutcome { rule: Arc::clone(rule), kind, status, message: message.into(), effects: None }
    }

    pub(crate) fn with(mut self, effects: Effects) -> RuleOutcome {
        self.effects = Some(Box::new(effects));
        self
    }
}

/// What to do about what a policy finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Report it.
    Audit,
    /// Refuse the request.
    Enforce,
    /// Warn who asks.
    Warn,
}

/// How much a decision may compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leave {
    /// As much as any policy may: each rule 5,000,000 steps.
    #[default]
    Full,
    /// So many steps for all rules together, where others wait meanwhile. If they do not suffice, the outcome is [`Outcome::cut_short`].
    Brief(u64),
}

impl Leave {
    /// For the next rule of a decision.
    pub(crate) fn meter(self, outcome: &Outcome) -> Meter {
        match self {
            Leave::Full => Meter::default(),
            Leave::Brief(steps) => Meter::of(steps.saturating_sub(outcome.steps)),
        }
    }
}

/// What a policy says about a request.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Rule by rule; rules that are not for the request are not there.
    pub rules: Vec<RuleOutcome>,
    /// The object as changed, where it is.
    pub patched: Option<Value>,
    /// What was lacking: with the answers, the policy is to be asked again.
    pub lacks: Vec<Lookup>,
    /// Steps that it took.
    pub steps: u64,
    /// It had brief leave, and that did not suffice: nothing of it counts but which rules are for the request, and the policy is to be
    /// asked again with full leave.
    pub cut_short: bool,
}

impl Outcome {
    /// Adds what a rule took.
    pub(crate) fn count(&mut self, leave: Leave, meter: &Meter) {
        self.steps += meter.taken();
        self.cut_short |= leave != Leave::Full && meter.is_spent();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Loaded, Nothing, Operation, Request, Surroundings, load};
    use serde_json::json;

    #[test]
    fn brief_leave_is_for_all_rules_together() {
        let deny = json!({"conditions": {"all": [{"key": "{{request.object.a}}", "operator": "AllNotIn", "value": "{{request.object.b}}"}]}});
        let rule = |name| json!({"name": name, "match": {"any": [{"resources": {"kinds": ["ConfigMap"]}}]}, "validate": {"message": "m", "deny": deny}});
        let policy = json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"},
            "spec": {"rules": [rule("one"), rule("two")]}});
        let Ok(Loaded::Policy(policy)) = load(&policy, None) else { panic!("the policy is refused") };
        let (a, b): (Vec<usize>, Vec<usize>) = ((0..100).collect(), (100..200).collect());
        let object =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "a": a, "b": b});
        let request = Request::of_object(object, Operation::Create);
        let decide = |leave| {
            let around =
                Surroundings { snapshot: &Nothing, exceptions: &[], bindings: &[], now: 0, seed: 1, leave };
            policy.decide(RuleKind::Validation, &request, &around)
        };
        let full = decide(Leave::Full);
        assert!(!full.cut_short && full.steps > 20_000, "{full:?}");
        assert!(full.rules.iter().all(|rule| rule.status == Status::Fail));
        assert!(!decide(Leave::Brief(full.steps + 1)).cut_short);
        for steps in [0, 100, full.steps - 1] {
            let brief = decide(Leave::Brief(steps));
            assert!(brief.cut_short && brief.rules.len() == 2, "{steps}: {brief:?}");
        }
    }
}
