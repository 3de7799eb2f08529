//! Why a request is allowed or not, for people.

use super::acl::{Acl, Entry, Merged, Reason};
use super::{Ask, Capabilities};
use crate::request::Operation;
use serde::Serialize;
use std::fmt;

/// What [`explain`] answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Whether the operation may be done.
    pub allowed: bool,
    /// Whether a root-protected path may be used.
    pub sudo: bool,
    /// Why, in a sentence without a full stop.
    pub reason: String,
    /// The rule that decided; none for `root`, for help, and where nothing matches.
    pub decided_by: Option<Matched>,
    /// What else matches the path but is less specific, the most specific first.
    pub others: Vec<Matched>,
}

/// A pattern that matches the path, with all rules written for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Matched {
    /// The path as the policies write it, with templates filled in.
    pub path: String,
    /// What the rules come to.
    pub capabilities: Vec<&'static str>,
    /// The rules.
    pub rules: Vec<Source>,
}

/// Where a rule is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    /// The policy's name.
    pub policy: String,
    /// The line in its text.
    pub line: u32,
    /// What this rule says.
    pub capabilities: Vec<&'static str>,
    /// Where it counts, in CEL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}

/// Which rule of which policy decides about a request, and what else matches its path.
pub fn explain(acl: &Acl, ask: &Ask<'_>) -> Explanation {
    let verdict = acl.check(ask);
    let decided = verdict.decided.as_ref().map(|(rank, _)| *rank);
    let matching = acl.matching(ask.path, ask.operation == Operation::List, ask.now);
    let matched = |rank: u32| acl.entry(rank).map(|entry| Matched::of(entry, &entry.at(ask.now)));
    Explanation {
        allowed: verdict.allowed,
        sudo: verdict.sudo,
        reason: sentence(&verdict.reason, Capabilities::needed(ask.operation)),
        decided_by: decided.and_then(matched),
        others: matching.into_iter().filter(|rank| Some(*rank) != decided).filter_map(matched).collect(),
    }
}

fn sentence(reason: &Reason, needed: Capabilities) -> String {
    match reason {
        Reason::Root => "the root policy allows everything".to_owned(),
        Reason::Help => "help needs no capability".to_owned(),
        Reason::Granted => format!("the rule grants {}", needed.names().join(", ")),
        Reason::NoRule => "no rule matches the path".to_owned(),
        Reason::Denied => "the rule denies".to_owned(),
        Reason::NotGranted => format!("the rule does not grant {}", needed.names().join(", ")),
        Reason::Condition(unmet) => {
            format!("the rule grants {}, but {unmet}", needed.names().join(", "))
        }
    }
}

impl Matched {
    fn of(entry: &Entry, merged: &Merged) -> Matched {
        let source = |grant: &super::acl::Grant| Source {
            policy: grant.policy.to_string(),
            line: grant.line,
            capabilities: grant.capabilities.names(),
            condition: grant.expression.as_ref().map(|expression| expression.text().to_owned()),
        };
        Matched {
            path: entry.pattern.display(),
            capabilities: merged.capabilities.names(),
            rules: merged.grants.iter().map(source).collect(),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", if self.allowed { "allowed" } else { "denied" }, self.reason)?;
        if let Some(matched) = &self.decided_by {
            write!(f, "\n  decided by {matched}")?;
        }
        for matched in &self.others {
            write!(f, "\n  also matches {matched}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Matched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} [{}]", self.path, self.capabilities.join(", "))?;
        for rule in &self.rules {
            write!(f, ", policy {} line {} [{}]", rule.policy, rule.line, rule.capabilities.join(", "))?;
            if let Some(condition) = &rule.condition {
                write!(f, " if {condition}")?;
            }
        }
        Ok(())
    }
}
