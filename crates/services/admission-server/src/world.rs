//! What decisions need: namespaces and bindings of roles from watches, and what they ask about everything else.

use crate::computing::{BREATH, BRIEF, Computing, Patience, given_up};
use crate::log::Wall;
use crate::outside::{Answer, Outside};
use crate::policies::Set;
use crate::reach;
use keyward_admission::{Leave, Lookup, Outcome, Policy, Request, RuleKind, Snapshot, Surroundings};
use keyward_core::Clock;
use keyward_kubernetes::Cluster;
use parking_lot::RwLock;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use tokio::time::timeout_at;

/// How often a decision may come back with another question.
const ROUNDS: usize = 16;

/// Roles by who has them.
#[derive(Clone, Debug)]
pub(crate) struct RoleBinding {
    role: Value,
    subjects: Value,
}

impl RoleBinding {
    /// What is kept of a RoleBinding or ClusterRoleBinding.
    pub(crate) fn of(data: &Value) -> RoleBinding {
        RoleBinding { role: data["roleRef"].clone(), subjects: data["subjects"].clone() }
    }

    fn is_for(&self, namespace: &str, user: &str, groups: &[&str]) -> bool {
        let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
        self.subjects.as_array().into_iter().flatten().any(|subject| {
            let name = text(subject, "name");
            match subject["kind"].as_str() {
                Some("User") => name == user,
                Some("Group") => groups.contains(&name.as_str()),
                Some("ServiceAccount") => {
                    let own = text(subject, "namespace");
                    let own = if own.is_empty() { namespace } else { &own };
                    user == format!("system:serviceaccount:{own}:{name}")
                }
                _ => false,
            }
        })
    }
}

/// What a policy said, with what was found out for it.
pub(crate) struct Decided {
    pub(crate) outcome: Outcome,
    answers: Answers,
}

impl Decided {
    /// The questions that were asked, with the answers to those that have one.
    pub(crate) fn asked(&self) -> impl Iterator<Item = (&Lookup, Option<&Value>)> {
        self.answers.0.iter().map(|(question, answer)| (question, answer.as_deref().ok()))
    }

    /// Whether an object that was asked for by its name is not there.
    pub(crate) fn lacks_an_object(&self) -> bool {
        let gone = |answer: &Answer| answer.as_ref().is_err_and(|why| why.missing);
        self.answers
            .0
            .iter()
            .any(|(question, answer)| matches!(question, Lookup::Object { .. }) && gone(answer))
    }
}

/// See the module.
// house: each lock is of what one watch keeps up, and none is held with another.
pub(crate) struct World {
    pub(crate) outside: Outside,
    computing: Computing,
    pub(crate) namespaces: RwLock<HashMap<String, Value>>,
    pub(crate) roles: RwLock<BTreeMap<(String, String), RoleBinding>>,
}

/// What one decision has found out.
#[derive(Default)]
struct Answers(Vec<(Lookup, Answer)>);

impl Snapshot for Answers {
    fn answer(&self, question: &Lookup) -> Option<Result<Cow<'_, Value>, String>> {
        let (_, answer) = self.0.iter().find(|(known, _)| known == question)?;
        Some(answer.as_deref().map(Cow::Borrowed).map_err(|why| why.why.clone()))
    }
}

impl World {
    pub(crate) fn new(cluster: Cluster, own: &str) -> World {
        World {
            outside: Outside::new(cluster, own),
            computing: Computing::default(),
            namespaces: RwLock::default(),
            roles: RwLock::default(),
        }
    }

    /// A namespace as policies see it, with the label that every namespace has.
    pub(crate) fn namespace(&self, name: &str) -> Option<Value> {
        if name.is_empty() {
            return None;
        }
        let known = self.namespaces.read().get(name).cloned();
        Some(known.unwrap_or_else(
            || json!({"metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}}}),
        ))
    }

    /// The roles and cluster roles that somebody has in a namespace, as policies name them.
    pub(crate) fn roles_of(&self, user: &Value, namespace: &str) -> (Value, Value) {
        let name = user["username"].as_str().unwrap_or_default();
        let groups: Vec<&str> =
            user["groups"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let (mut roles, mut cluster_roles) = (Vec::new(), Vec::new());
        for ((within, _), binding) in &*self.roles.read() {
            if !(within.is_empty() || within == namespace) || !binding.is_for(within, name, &groups) {
                continue;
            }
            let role = binding.role["name"].as_str().unwrap_or_default();
            match binding.role["kind"].as_str() {
                Some("Role") => roles.push(json!(format!("{within}:{role}"))),
                _ => cluster_roles.push(json!(role)),
            }
        }
        (Value::Array(roles), Value::Array(cluster_roles))
    }

    /// What a policy says about a request, with everything found out that it asks for in time.
    pub(crate) async fn decide(
        &self,
        set: &Set,
        policy: &Policy,
        task: RuleKind,
        request: &Request,
        patience: Patience,
    ) -> Outcome {
        self.find_out(set, policy, task, request, patience, false).await.outcome
    }

    /// As [`decide`](World::decide), with what was asked; of what is `fresh` nothing was found out before.
    pub(crate) async fn find_out(
        &self,
        set: &Set,
        policy: &Policy,
        task: RuleKind,
        request: &Request,
        patience: Patience,
        fresh: bool,
    ) -> Decided {
        let home = &policy.metadata.namespace;
        let mut answers = Answers::default();
        for round in 0.. {
            let now = Wall.now().nanos();
            let decide = |leave| {
                let around = Surroundings {
                    snapshot: &answers,
                    exceptions: &set.exceptions,
                    bindings: &set.bindings,
                    now: i128::from(now),
                    seed: now,
                    leave,
                };
                policy.decide(task, request, &around)
            };
            let mut outcome = decide(Leave::Brief(BRIEF));
            if outcome.cut_short {
                outcome = match self.computing.apart(patience, || decide(Leave::Full)).await {
                    Ok(outcome) => outcome,
                    Err(why) => return Decided { outcome: given_up(outcome, why), answers },
                };
            } else if outcome.steps > BREATH {
                tokio::task::yield_now().await;
            }
            let mut asked: Vec<Lookup> = outcome.lacks.clone();
            asked.retain(|question| answers.answer(question).is_none());
            if asked.is_empty() || round == ROUNDS {
                return Decided { outcome, answers };
            }
            for question in asked {
                if answers.answer(&question).is_some() {
                    continue;
                }
                let found = match reach::within(home, &question) {
                    Ok(question) if fresh => {
                        timeout_at(patience.until.into(), self.outside.find(&question)).await
                    }
                    Ok(question) => timeout_at(patience.until.into(), self.outside.ask(&question)).await,
                    Err(why) => Ok(Err(why.into())),
                };
                let found = found.unwrap_or_else(|_| Err("there was no answer in time".to_owned().into()));
                answers.0.push((question, found));
            }
        }
        Decided { outcome: Outcome::default(), answers }
    }
}
