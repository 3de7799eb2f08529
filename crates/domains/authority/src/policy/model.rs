//! A policy as its author wrote it.

use super::capability::Capabilities;
use super::conditions::Conditions;
use super::expression::Expression;
use super::templates::Template;
use crate::hcl::Position;
use keyward_core::Timestamp;
use std::fmt;
use std::sync::Arc;

/// A parsed policy. Its text is kept by whoever stores it.
#[derive(Clone, Debug)]
pub struct Policy {
    pub(super) name: Arc<str>,
    pub(super) rules: Vec<Rule>,
    /// The `root` policy, which has no text and cannot be had by parsing.
    pub(super) root: bool,
}

/// One `path "…" { … }`.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) path: Template,
    pub(super) line: u32,
    pub(super) capabilities: Capabilities,
    pub(super) conditions: Conditions,
    /// The last moment at which the rule counts.
    pub(super) expires: Option<Timestamp>,
    /// What must hold for the rule to count.
    pub(super) expression: Option<Arc<Expression>>,
}

/// Why a text is not a policy: everything that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// At least one.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong with a policy's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub at: Position,
    /// What, as Vault words it where it has words for it.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl Policy {
    /// The policy that allows everything.
    pub fn root() -> Policy {
        Policy { name: "root".into(), rules: Vec::new(), root: true }
    }

    /// Its name, in lower case.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether what it grants depends on the subject.
    pub fn is_templated(&self) -> bool {
        self.rules.iter().any(|rule| rule.path.is_templated())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on line {}: {}", self.what, self.at.line, self.remedy)
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failed to parse policy: ")?;
        for (index, problem) in self.problems.iter().enumerate() {
            write!(f, "{}{problem}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyError {}
