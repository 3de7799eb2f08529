//! Why a policy says of a request what it says, rule by rule: for people who look for the reason.

use crate::outcome::{Outcome, Status};
use std::borrow::Cow;
use std::sync::Arc;

/// What became of a rule, and why.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The rule's name; for policies without rules the policy's.
    pub rule: Arc<str>,
    /// What it says; nothing where it is not for the request.
    pub status: Option<Status>,
    /// Its message, or why it is not for the request.
    pub why: Cow<'static, str>,
    /// What its preconditions came to, one by one.
    pub conditions: Vec<String>,
}

/// A rule with what it would take to be for the request.
pub(crate) struct Candidate {
    pub(crate) name: Arc<str>,
    pub(crate) mismatch: Option<String>,
    pub(crate) conditions: Vec<String>,
}

/// A rule's name without what tells that it was made for controllers.
fn base(name: &str) -> &str {
    name.strip_prefix("autogen-cronjob-").or_else(|| name.strip_prefix("autogen-")).unwrap_or(name)
}

/// Rules with what they said. Of a rule and those made from it, which are for different kinds, the one that is for the
/// request counts, or else the one that was written.
pub(crate) fn explain(candidates: Vec<Candidate>, outcome: &Outcome) -> Vec<Explanation> {
    let matched: Vec<String> = candidates
        .iter()
        .filter(|candidate| candidate.mismatch.is_none())
        .map(|candidate| base(&candidate.name).to_owned())
        .collect();
    let mut explanations = Vec::new();
    for Candidate { name, mismatch, conditions } in candidates {
        let made = base(&name) != &*name;
        let why = match mismatch {
            Some(_) if made || matched.iter().any(|one| *one == *name) => continue,
            Some(why) => why,
            None => {
                let said = outcome.rules.iter().filter(|said| said.rule == name);
                let before = explanations.len();
                explanations.extend(said.map(|said| Explanation {
                    rule: said.rule.clone(),
                    status: Some(said.status),
                    why: said.message.clone(),
                    conditions: conditions.clone(),
                }));
                if explanations.len() > before {
                    continue;
                }
                "it has nothing to say about this".to_owned()
            }
        };
        explanations.push(Explanation { rule: name, status: None, why: why.into(), conditions });
    }
    explanations
}
