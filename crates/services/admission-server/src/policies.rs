//! Compiled policies, sorted by what they are for, so that a review asks those that may have something to say.

use keyward_admission::{Binding, Exception, Interest, Policy, RuleKind, Settings, Subject};
use std::collections::HashMap;
use std::sync::Arc;

/// A policy with how it is served.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The policy.
    pub policy: Arc<Policy>,
    /// How it is served.
    pub settings: Settings,
    /// The API version of its object, such as kyverno.io/v1.
    pub api_version: String,
    /// The uid of its object.
    pub uid: String,
    /// When its object was made, in seconds since 1970.
    pub created: u64,
    /// The tasks that have rules which are to be told of requests in reviews, and do something afterwards.
    pub told: Vec<RuleKind>,
    /// Which webhook asks it: `fail`, `ignore`, or `policy/NAME` for one with conditions of its own.
    pub group: String,
}

impl Entry {
    /// What tells it from all others: its kind, then its name with the namespace in front.
    pub fn key(&self) -> String {
        format!("{}/{}", self.policy.metadata.kind, self.policy.metadata.full_name())
    }

    /// Of a compiled policy.
    pub fn new(policy: Arc<Policy>) -> Entry {
        let settings = policy.settings();
        let group = match (settings.match_conditions.is_empty(), settings.fail_closed) {
            (true, true) => "fail".to_owned(),
            (true, false) => "ignore".to_owned(),
            (false, _) => format!("policy/{}", policy.metadata.full_name().replace('/', ".")),
        };
        let told = TRIGGERED.into_iter().filter(|task| !reviews(&policy, *task).is_empty()).collect();
        Entry { policy, settings, api_version: String::new(), uid: String::new(), created: 0, told, group }
    }
}

/// The requests that rules of a task are to be told of in reviews.
pub(crate) fn reviews(policy: &Policy, task: RuleKind) -> Vec<Interest> {
    policy.upkeep(task).into_iter().flat_map(|upkeep| upkeep.reviews).collect()
}

/// What a task's policies are for.
#[derive(Debug, Default)]
struct Index {
    /// By kind or plural name, lower case.
    named: HashMap<String, Vec<usize>>,
    /// Those with wildcards.
    wild: Vec<(usize, Vec<Interest>)>,
}

/// All policies of a cluster at a moment.
#[derive(Debug, Default)]
pub struct Set {
    /// In the order of kinds and names, which is the order in which they are asked.
    pub entries: Vec<Entry>,
    /// What they are not for.
    pub exceptions: Vec<Exception>,
    /// Where native policies are for; the API server evaluates those itself.
    pub bindings: Vec<Binding>,
    index: HashMap<RuleKey, Index>,
}

type RuleKey = &'static str;

/// The tasks, in the order in which they are carried out.
pub const TASKS: [RuleKind; 6] = [
    RuleKind::Mutation,
    RuleKind::ImageVerification,
    RuleKind::Validation,
    RuleKind::Generation,
    RuleKind::ExistingMutation,
    RuleKind::Deletion,
];

/// The tasks that something happening to an object is a reason for.
pub const TRIGGERED: [RuleKind; 2] = [RuleKind::Generation, RuleKind::ExistingMutation];

fn key(task: RuleKind) -> RuleKey {
    match task {
        RuleKind::Validation => "validation",
        RuleKind::Mutation => "mutation",
        RuleKind::Generation => "generation",
        RuleKind::ExistingMutation => "mutation elsewhere",
        RuleKind::ImageVerification => "images",
        RuleKind::Deletion => "deletion",
    }
}

impl Set {
    /// Sorts policies by what they are for.
    pub fn new(entries: Vec<Entry>, exceptions: Vec<Exception>) -> Set {
        let mut index: HashMap<RuleKey, Index> = HashMap::new();
        for (at, entry) in entries.iter().enumerate() {
            for task in TASKS {
                let interests = entry.policy.interests(task);
                if interests.is_empty() {
                    continue;
                }
                let index = index.entry(key(task)).or_default();
                if interests.iter().any(is_wild) {
                    index.wild.push((at, interests));
                    continue;
                }
                for interest in interests {
                    let (Subject::Kind(name) | Subject::Resource(name)) = interest.subject;
                    let named = index.named.entry(name.to_lowercase()).or_default();
                    if named.last() != Some(&at) {
                        named.push(at);
                    }
                }
            }
        }
        Set { entries, exceptions, bindings: Vec::new(), index }
    }

    /// The policies that may be for a kind and its plural name, in order.
    pub fn matching(&self, task: RuleKind, kind: &str, resource: &str) -> Vec<&Entry> {
        let Some(index) = self.index.get(key(task)) else { return Vec::new() };
        let named = |name: &str| index.named.get(&name.to_lowercase()).into_iter().flatten().copied();
        let mut found: Vec<usize> = named(kind).chain(named(resource)).collect();
        let covers = |interests: &[Interest]| interests.iter().any(|one| one.covers(kind, resource));
        found.extend(index.wild.iter().filter(|(_, interests)| covers(interests)).map(|(at, _)| *at));
        found.sort_unstable();
        found.dedup();
        found.into_iter().filter_map(|at| self.entries.get(at)).collect()
    }
}

pub(crate) fn is_wild(interest: &Interest) -> bool {
    let (Subject::Kind(name) | Subject::Resource(name)) = &interest.subject;
    name.contains(['*', '?'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_admission::{Loaded, load};
    use serde_json::{Value, json};

    pub(crate) fn entry(value: &Value) -> Entry {
        match load(value, None) {
            Ok(Loaded::Policy(policy)) => Entry::new(Arc::from(policy)),
            other => panic!("{other:?}"),
        }
    }

    fn for_kind(name: &str, kind: &str, more: &Value) -> Value {
        let mut policy = json!({
            "apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": name},
            "spec": {"rules": [{"name": "r", "match": {"any": [{"resources": {"kinds": [kind]}}]},
                "validate": {"pattern": {"metadata": {"name": "a*"}}}}]},
        });
        if let (Some(spec), Some(more)) = (policy["spec"].as_object_mut(), more.as_object()) {
            spec.extend(more.clone());
        }
        policy
    }

    #[test]
    fn only_policies_that_may_be_meant_are_asked() {
        let mut entries: Vec<Entry> =
            (0..500).map(|n| entry(&for_kind(&format!("p{n}"), &format!("Kind{n}"), &json!({})))).collect();
        entries.push(entry(&for_kind("pods", "Pod", &json!({}))));
        entries.push(entry(&for_kind("all", "*", &json!({}))));
        let set = Set::new(entries, Vec::new());
        let names = |kind: &str, resource: &str| -> Vec<String> {
            let found = set.matching(RuleKind::Validation, kind, resource);
            found.iter().map(|entry| entry.policy.metadata.name.clone()).collect()
        };
        assert_eq!(names("Pod", "pods"), ["pods", "all"]);
        // A rule for pods is also one for what makes them.
        assert_eq!(names("Deployment", "deployments"), ["pods", "all"]);
        assert_eq!(names("Secret", "secrets"), ["all"]);
        assert!(set.matching(RuleKind::Mutation, "Pod", "pods").is_empty());
    }

    #[test]
    fn each_policy_has_its_webhook() {
        let group = |more: Value| entry(&for_kind("p", "Pod", &more)).group;
        assert_eq!(group(json!({})), "fail");
        assert_eq!(group(json!({"failurePolicy": "Ignore"})), "ignore");
        let own = json!({"webhookConfiguration": {"matchConditions": [{"name": "c", "expression": "true"}]}});
        assert_eq!(group(own), "policy/p");
    }
}
