//! What a policy says about the time after a decision: how what it made follows its origins, and when what it removes is removed.

use crate::refusal::{At, Read};
use crate::request::{Operation, Request};
use crate::settings::Interest;
use keyward_core::Schedule;
use std::sync::Arc;

/// How what a rule makes, or changes elsewhere, is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upkeep {
    /// The rule; for a policy without rules the policy's name.
    pub rule: Arc<str>,
    /// What it made follows the policy, the trigger and what it is a copy of (`synchronize`).
    pub synchronize: bool,
    /// It is also for triggers that are there when the policy comes (`generateExisting`, `mutateExistingOnPolicyUpdate`).
    pub existing: bool,
    /// What it made stays when the rule goes (`orphanDownstreamOnPolicyDelete`; copies always do).
    pub orphans: bool,
    /// Fields that others set stay theirs (`useServerSideApply`).
    pub server_side_apply: bool,
    /// It depends on what a review alone tells: who asks, and what was there before.
    pub by_review: bool,
    /// The requests that it is to be told of in reviews: where it depends on them all, and otherwise deletions that it names.
    pub reviews: Vec<Interest>,
}

impl Upkeep {
    /// Whether a request is one that the rule is to be told of in reviews.
    pub fn is_for_review(&self, request: &Request) -> bool {
        self.reviews.iter().any(|interest| interest.suits(request))
    }
}

/// What a review alone tells, as JMESPath and CEL name it.
const TOLD: [&str; 5] =
    ["request.userInfo", "request.roles", "request.clusterRoles", "oldObject", "authorizer."];
/// Variables that are about who asks, where they are not fields of something else.
const ASKING: [&str; 2] = ["serviceAccountName", "serviceAccountNamespace"];

/// Whether a rule or policy, as it is written, names what a review alone tells.
pub(crate) fn names_who_asks(written: &str) -> bool {
    let variable = |name: &str| {
        written.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()).any(|expression| {
            expression.match_indices(name).any(|(at, _)| {
                let before = expression[..at].chars().next_back();
                !before.is_some_and(|c| c == '.' || c == '_' || c.is_alphanumeric())
            })
        })
    };
    TOLD.iter().any(|name| written.contains(name)) || ASKING.iter().any(|name| variable(name))
}

/// Of requests that a rule is for, those that it is to be told of in reviews.
pub(crate) fn reviews(by_review: bool, mut interests: Vec<Interest>) -> Vec<Interest> {
    for interest in &mut interests {
        interest.operations.retain(|operation| by_review || *operation == Operation::Delete);
    }
    interests.retain(|interest| interest.subresource.is_empty() && !interest.operations.is_empty());
    interests
}

/// When a policy removes what it is for, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// When.
    pub schedule: Schedule,
    /// What becomes of what belongs to the removed; the API server's default where nothing is said.
    pub propagation: Option<Propagation>,
}

/// What becomes of the dependents of what is removed (`deletionPropagationPolicy`).
/// <https://kubernetes.io/docs/concepts/architecture/garbage-collection/#cascading-deletion>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They go first.
    Foreground,
    /// They go afterwards.
    Background,
    /// They stay.
    Orphan,
}

impl Propagation {
    /// Of its name in `DeleteOptions`.
    pub fn parse(name: &str) -> Option<Propagation> {
        match name {
            "Foreground" => Some(Propagation::Foreground),
            "Background" => Some(Propagation::Background),
            "Orphan" => Some(Propagation::Orphan),
            _ => None,
        }
    }
}

impl Removal {
    /// Of the `spec` of a policy that has a `schedule`.
    pub(crate) fn compile(spec: &At<'_>) -> Read<Removal> {
        let at = spec.need("schedule")?;
        let text = at.str()?.trim();
        let fields = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        let schedule = Schedule::parse(fields).or_else(|why| at.refuse(format_args!("{text}: {why}")))?;
        let propagation = match spec.get("deletionPropagationPolicy") {
            None => None,
            Some(at) => match Propagation::parse(at.str()?) {
                Some(propagation) => Some(propagation),
                None => {
                    let hint = crate::nearest::hint(at.str()?, ["Foreground", "Background", "Orphan"]);
                    return at.refuse(format_args!("there is no propagation policy {}{hint}", at.str()?));
                }
            },
        };
        Ok(Removal { schedule, propagation })
    }
}
