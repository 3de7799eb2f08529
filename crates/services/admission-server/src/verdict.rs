//! What policies said about a request, made into an answer: whether it is refused, in Kyverno's words, and what is warned of.

use crate::policies::Entry;
use keyward_admission::{Action, Outcome, RuleOutcome, Status};
use keyward_webhook::Answer;
use serde_json::{Map, Value, json};

/// As the API server has it where a webhook does not say: what was asked for was wrong.
const REFUSED: u16 = 400;

/// What was found, rule by rule.
#[derive(Default)]
pub(crate) struct Verdict<'s> {
    findings: Vec<Finding<'s>>,
    annotations: Vec<(String, String)>,
}

/// A rule that does not hold, or could not be evaluated.
pub(crate) struct Finding<'s> {
    pub(crate) entry: &'s Entry,
    pub(crate) rule: RuleOutcome,
    /// The request is refused for it.
    pub(crate) blocks: bool,
    warns: bool,
}

impl<'s> Verdict<'s> {
    /// Adds what a policy said.
    pub(crate) fn add(&mut self, entry: &'s Entry, outcome: Outcome, namespace: &str) {
        for rule in outcome.rules {
            let annotations = rule.effects.iter().flat_map(|effects| &effects.annotations);
            for (key, value) in annotations {
                self.annotations.push((format!("{}.{key}", entry.policy.metadata.name), value.clone()));
            }
            let action = entry.policy.action(&rule.rule, namespace);
            let blocks = action == Action::Enforce
                && match rule.status {
                    Status::Fail => true,
                    Status::Error => entry.settings.fail_closed,
                    Status::Pass | Status::Warn | Status::Skip => false,
                };
            let found = matches!(rule.status, Status::Fail | Status::Error | Status::Warn);
            if found {
                let warns = entry.settings.warns || action == Action::Warn || rule.status == Status::Warn;
                self.findings.push(Finding { entry, rule, blocks, warns });
            }
        }
    }

    /// What does not hold, of all policies.
    pub(crate) fn findings(&self) -> &[Finding<'s>] {
        &self.findings
    }

    /// Whether the request is refused.
    pub(crate) fn blocks(&self) -> bool {
        self.findings.iter().any(|finding| finding.blocks)
    }

    /// The answer about an object, named as `Kind/namespace/name`.
    pub(crate) fn answer(&self, object: &str) -> Answer {
        let mut answer = match self.blocks() {
            true => Answer::refused(REFUSED, self.refusal(object)),
            false => Answer::allowed(),
        };
        let warned = self.findings.iter().filter(|finding| finding.warns && !finding.blocks);
        answer.warnings = warned.map(Finding::warning).collect();
        answer.audit_annotations.clone_from(&self.annotations);
        answer
    }

    fn refusal(&self, object: &str) -> String {
        let mut policies = Map::new();
        let mut text = String::new();
        for finding in self.findings.iter().filter(|finding| finding.blocks) {
            let name = &finding.entry.policy.metadata.name;
            if finding.entry.policy.is_cel() {
                text.push_str(&format!("Policy {name} failed: {}\n", finding.rule.message));
                continue;
            }
            let rules = policies.entry(name.clone()).or_insert_with(|| json!({}));
            rules[&*finding.rule.rule] = Value::from(finding.rule.message.as_ref());
        }
        if policies.is_empty() {
            return text.trim_end().to_owned();
        }
        let listed =
            serde_saphyr::to_string(&policies).unwrap_or_else(|_| Value::Object(policies).to_string());
        format!("\n\nresource {object} was blocked due to the following policies \n\n{listed}{text}")
    }
}

impl Finding<'_> {
    fn warning(&self) -> String {
        let name = &self.entry.policy.metadata.name;
        match self.entry.policy.is_cel() {
            true => format!("Policy {name} failed: {}", self.rule.message),
            false => format!("policy {name}.{}: {}", self.rule.rule, self.rule.message),
        }
    }
}
