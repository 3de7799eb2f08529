//! What is said of a pod, a namespace or a node.

use crate::images::Images;
use crate::moment;
use crate::node::NodeState;
use keyward_core::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Subjects of one cluster that verdicts are said of, and kept.
pub const MOST_SUBJECTS: usize = 200_000;
/// Policies that a verdict names; the worst come first, and the others are counted.
pub const MOST_RULINGS: usize = 100;
/// Rules and exceptions that a ruling names.
const MOST_NAMES: usize = 16;

/// Who is judged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", deny_unknown_fields)]
pub enum Subject {
    /// A pod, which its UID tells from others that had its name.
    Pod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
    },
    /// A namespace, with the pods in it.
    Namespace {
        /// Its name.
        name: String,
    },
    /// A node, which its UID tells from others that had its name.
    Node {
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
    },
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Pod { namespace, name, .. } => write!(f, "{namespace}/{name}"),
            Subject::Namespace { name } | Subject::Node { name, .. } => f.write_str(name),
        }
    }
}

/// How much a policy matters, as its label `keyward.io/tier` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// Who violates it is not to have secrets.
    Critical,
    /// To be complied with by a date.
    Important,
    /// Advice.
    BestPractice,
}

impl Tier {
    /// The label that says it.
    pub const LABEL: &'static str = "keyward.io/tier";

    /// Of the label's value.
    pub fn of(value: &str) -> Option<Tier> {
        [Tier::Critical, Tier::Important, Tier::BestPractice].into_iter().find(|tier| tier.name() == value)
    }

    /// As the label has it.
    pub const fn name(self) -> &'static str {
        match self {
            Tier::Critical => "critical",
            Tier::Important => "important",
            Tier::BestPractice => "best-practice",
        }
    }
}

/// What a policy says, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Finding {
    /// It is violated.
    Fail,
    /// It could not be evaluated.
    Error,
    /// It is violated, and only warns.
    Warn,
    /// It is complied with.
    Pass,
    /// It is not for the subject, or an exception says so.
    Skip,
}

impl Finding {
    /// Whether the policy is violated, or may be.
    pub const fn is_violation(self) -> bool {
        matches!(self, Finding::Fail | Finding::Error | Finding::Warn)
    }
}

/// What one policy says of the subject: the worst that its rules say.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ruling {
    /// The policy, with its namespace in front where it has one.
    pub policy: String,
    /// What it says.
    pub result: Finding,
    /// How much it matters, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// Because of it the subject is not compliant.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub critical: bool,
    /// The rules that do not hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// The exceptions by which it was skipped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<String>,
}

impl Ruling {
    /// Adds what another rule of the policy says, or what the policy says of another subject.
    pub fn merge(&mut self, other: &Ruling) {
        self.result = self.result.min(other.result);
        self.critical |= other.critical;
        for (into, from) in [(&mut self.rules, &other.rules), (&mut self.exceptions, &other.exceptions)] {
            for name in from {
                if into.len() < MOST_NAMES && !into.contains(name) {
                    into.push(name.clone());
                }
            }
        }
    }
}

/// The pods of a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pods {
    /// All that were judged.
    pub all: u32,
    /// Those that are not compliant.
    pub violating: u32,
}

/// What is said of a subject.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// Who is judged.
    pub subject: Subject,
    /// Since when this is said of it.
    #[serde(with = "moment")]
    pub since: Timestamp,
    /// What policies say, the worst first.
    pub rulings: Vec<Ruling>,
    /// How many rulings are not among those, none of which is worse.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u32,
    /// Of a namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<Pods>,
    /// Of a pod: what it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<Images>,
    /// Of a pod: the name of the node that it is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Of a node: how it is; elsewhere, since there are a hundred pods to a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Box<NodeState>>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Verdict {
    /// What rulings come to; those of one policy are made into one.
    pub fn new<'r>(
        subject: Subject,
        since: Timestamp,
        said: impl IntoIterator<Item = &'r Ruling>,
    ) -> Verdict {
        let mut merged: BTreeMap<&str, Ruling> = BTreeMap::new();
        for ruling in said {
            match merged.get_mut(ruling.policy.as_str()) {
                Some(known) => known.merge(ruling),
                None => {
                    merged.insert(&ruling.policy, ruling.clone());
                }
            }
        }
        let mut rulings: Vec<Ruling> = merged.into_values().collect();
        rulings.sort_by_key(|ruling| (!ruling.critical, ruling.result));
        let left_out = rulings.len().saturating_sub(MOST_RULINGS);
        rulings.truncate(MOST_RULINGS);
        let left_out = left_out.try_into().unwrap_or(u32::MAX);
        Verdict { subject, since, rulings, left_out, pods: None, images: None, node: None, state: None }
    }

    /// Leaves out the better half of its rulings.
    pub(crate) fn shorten(&mut self) {
        let (all, left) = (self.rulings.len(), self.rulings.len().div_ceil(2));
        self.rulings.truncate(left);
        self.left_out = self.left_out.saturating_add((all - left).try_into().unwrap_or(u32::MAX));
    }

    /// Whether no critical policy is violated.
    pub fn compliant(&self) -> bool {
        !self.rulings.iter().any(|ruling| ruling.critical)
    }

    /// The critical policies that are violated.
    pub fn critical(&self) -> impl Iterator<Item = &str> {
        self.rulings.iter().filter(|ruling| ruling.critical).map(|ruling| ruling.policy.as_str())
    }

    /// All policies that are violated.
    pub fn violations(&self) -> impl Iterator<Item = &str> {
        self.rulings.iter().filter(|ruling| ruling.result.is_violation()).map(|ruling| ruling.policy.as_str())
    }

    /// The exceptions that were used.
    pub fn exceptions(&self) -> impl Iterator<Item = &str> {
        self.rulings.iter().flat_map(|ruling| &ruling.exceptions).map(String::as_str)
    }

    /// How many policies were asked.
    pub fn policies(&self) -> usize {
        self.rulings.len() + self.left_out as usize
    }

    /// Whether another one says the same, whenever it began to.
    pub fn says_as(&self, other: &Verdict) -> bool {
        let Verdict { subject, since: _, rulings, left_out, pods, images, node, state } = self;
        (subject, rulings, left_out, pods, images, node, state)
            == (
                &other.subject,
                &other.rulings,
                &other.left_out,
                &other.pods,
                &other.images,
                &other.node,
                &other.state,
            )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ruling(policy: &str, result: Finding, critical: bool) -> Ruling {
        Ruling {
            policy: policy.to_owned(),
            result,
            tier: None,
            critical,
            rules: Vec::new(),
            exceptions: Vec::new(),
        }
    }

    fn pod() -> Subject {
        Subject::Pod { namespace: "shop".to_owned(), name: "api-1".to_owned(), uid: "u1".to_owned() }
    }

    #[test]
    fn the_worst_of_a_policys_rules_counts() {
        let said = [
            ruling("b", Finding::Pass, false),
            ruling("a", Finding::Pass, false),
            ruling("a", Finding::Fail, true),
            ruling("c", Finding::Fail, false),
        ];
        let verdict = Verdict::new(pod(), Timestamp::EPOCH, &said);
        assert!(!verdict.compliant());
        assert_eq!(verdict.critical().collect::<Vec<_>>(), ["a"]);
        assert_eq!(verdict.violations().collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(verdict.policies(), 3);
        assert!(Verdict::new(pod(), Timestamp::EPOCH, &[]).compliant());
    }

    #[test]
    fn what_is_left_out_is_never_the_worst() {
        let mut many: Vec<Ruling> =
            (0..500).map(|n| ruling(&format!("p{n:03}"), Finding::Pass, false)).collect();
        many.push(ruling("zz", Finding::Error, true));
        let verdict = Verdict::new(pod(), Timestamp::EPOCH, &many);
        assert_eq!(verdict.rulings.len(), MOST_RULINGS);
        assert_eq!((verdict.policies(), verdict.compliant()), (501, false));
        assert_eq!(verdict.rulings[0].policy, "zz");
    }

    #[test]
    fn tiers_are_read_as_the_label_has_them() {
        for name in ["critical", "important", "best-practice"] {
            assert_eq!(Tier::of(name).map(Tier::name), Some(name));
            assert_eq!(serde_json::to_string(&Tier::of(name)).unwrap_or_default(), format!("{name:?}"));
        }
        assert_eq!(Tier::of("Critical"), None);
    }
}
