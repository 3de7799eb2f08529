//! What a request's conditions see of posture. It is looked up when a condition names it, once a request, so that all that
//! is decided and recorded of the request goes by the same verdict.

use super::{Known, Verdicts};
use crate::policy::{number, texts};
use crate::token::TokenEntry;
use keyward_core::Timestamp;
use keyward_expressions::cel::{Record, Val};
use keyward_posture::{NodeState, Subject};
use serde_json::{Value, json};
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A verdict that counts.
#[derive(Clone, Debug)]
pub struct Found {
    /// What is known.
    pub known: Arc<Known>,
    /// How long ago its publisher last said that it holds.
    pub age: Duration,
    /// For how long it still counts, unless it is confirmed.
    pub left: Duration,
}

/// What one request's conditions have asked for.
#[derive(Debug, Default)]
pub struct Seen {
    pod: OnceCell<Option<Found>>,
    namespace: OnceCell<Option<Found>>,
    node: OnceCell<Option<Found>>,
}

/// What is attested of who asks.
#[derive(Clone, Copy)]
pub struct Attested<'a> {
    verdicts: &'a Verdicts,
    seen: &'a Seen,
}

impl Verdicts {
    /// What is attested, with what is seen of it noted in `seen`, which is of one request.
    pub fn attest<'a>(&'a self, seen: &'a Seen) -> Attested<'a> {
        Attested { verdicts: self, seen }
    }
}

impl<'a> Attested<'a> {
    /// The verdict on the pod that a token is bound to.
    pub fn pod(self, token: &TokenEntry, now: Timestamp) -> Option<&'a Found> {
        self.seen.pod.get_or_init(|| self.verdicts.of_pod(token, now)).as_ref()
    }

    /// The verdict on the namespace that it is in.
    pub fn namespace(self, token: &TokenEntry, now: Timestamp) -> Option<&'a Found> {
        self.seen.namespace.get_or_init(|| self.verdicts.of_namespace(token, now)).as_ref()
    }

    /// The verdict on the node that it runs on.
    pub fn node(self, token: &TokenEntry, now: Timestamp) -> Option<&'a Found> {
        self.seen.node.get_or_init(|| self.verdicts.of_node(token, now)).as_ref()
    }
}

impl Seen {
    fn all(&self) -> impl Iterator<Item = (&'static str, &Option<Found>)> {
        let all = [("pod", self.pod.get()), ("namespace", self.namespace.get()), ("node", self.node.get())];
        all.into_iter().filter_map(|(name, found)| Some((name, found?)))
    }

    /// Which verdicts were looked at, for audit records: their digests, or that there was none. Empty where no condition
    /// asked.
    pub fn digests(&self) -> BTreeMap<String, String> {
        let digest = |found: &Option<Found>| match found {
            Some(found) => found.known.digest.clone(),
            None => "unknown".to_owned(),
        };
        self.all().map(|(name, found)| (name.to_owned(), digest(found))).collect()
    }

    /// What was looked at, in words for operators, each beginning with a semicolon.
    pub fn words(&self) -> String {
        self.all().map(|(name, found)| format!("; {}", words(name, found.as_ref()))).collect()
    }

    /// What was looked at, for who asks why.
    pub fn explain(&self) -> Value {
        let shown = |found: &Option<Found>| found.as_ref().map_or(Value::Null, Found::summary);
        self.all().map(|(name, found)| (name.to_owned(), shown(found))).collect()
    }
}

fn words(name: &str, found: Option<&Found>) -> String {
    let Some(found) = found else {
        return format!("no verdict on the {name} is known, or the last one is too old");
    };
    let Known { verdict, digest, .. } = &*found.known;
    let critical: Vec<&str> = verdict.critical().collect();
    let complies = match critical.is_empty() {
        true => "violates no critical policy".to_owned(),
        false => format!("violates critical policies: {}", critical.join(", ")),
    };
    let state = verdict.state.as_ref().map(|state| format!(", and {}", health(state))).unwrap_or_default();
    format!("the {name} {} {complies}{state} (verdict {digest})", verdict.subject)
}

/// How a node is, in words.
fn health(state: &NodeState) -> String {
    let problems = match &state.problems {
        Some(problems) => problems.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
        None => "more problems than are named".to_owned(),
    };
    match (state.ready, problems.is_empty()) {
        (true, true) => "is healthy".to_owned(),
        (true, false) => format!("is not healthy: {problems}"),
        (false, true) => "is not ready".to_owned(),
        (false, false) => format!("is not ready: {problems}"),
    }
}

impl Found {
    /// What conditions see of it.
    pub fn summary(&self) -> Value {
        let verdict = &self.known.verdict;
        let mut shown = json!({
            "compliant": verdict.compliant(),
            "critical": verdict.critical().collect::<Vec<_>>(),
            "violations": verdict.violations().collect::<Vec<_>>(),
            "exceptions": verdict.exceptions().collect::<Vec<_>>(),
            "policies": verdict.policies(),
            "since": verdict.since.to_string(),
            "age": self.age.as_secs(),
            "digest": self.known.digest,
        });
        if let Some(pods) = verdict.pods {
            shown["pods"] = json!(pods);
        }
        if let Some(images) = &verdict.images {
            shown["images"] = json!(images.digests);
            shown["unpinned"] = json!(images.unpinned);
        }
        if let Some(node) = &verdict.node {
            shown["node"] = json!(node);
        }
        if let Some(state) = &verdict.state {
            if let (Value::Object(shown), Value::Object(told)) = (&mut shown, json!(state)) {
                shown.extend(told);
            }
            shown["healthy"] = json!(state.healthy());
        }
        if let Subject::Pod { uid, .. } | Subject::Node { uid, .. } = &verdict.subject {
            shown["uid"] = json!(uid);
        }
        if let Subject::Node { name, .. } = &verdict.subject {
            shown["name"] = json!(name);
        }
        shown
    }
}

/// The fields that a verdict may have. Which there are of whom, [`Found::field`] says.
const FIELDS: [&str; 22] = [
    "compliant",
    "critical",
    "violations",
    "exceptions",
    "policies",
    "since",
    "age",
    "digest",
    "images",
    "unpinned",
    "name",
    "healthy",
    "ready",
    "schedulable",
    "problems",
    "taints",
    "labels",
    "kubelet_version",
    "container_runtime_version",
    "kernel_version",
    "os_image",
    "architecture",
];

impl Record for Found {
    fn field(&self, name: &str) -> Option<Val<'_>> {
        let verdict = &self.known.verdict;
        Some(match name {
            "compliant" => Val::Bool(verdict.compliant()),
            "critical" => Val::list(verdict.critical().map(Val::Str).collect()),
            "violations" => Val::list(verdict.violations().map(Val::Str).collect()),
            "exceptions" => Val::list(verdict.exceptions().map(Val::Str).collect()),
            "policies" => number(verdict.policies() as u64),
            "since" => number(verdict.since.secs()),
            "age" => number(self.age.as_secs()),
            "digest" => Val::Str(&self.known.digest),
            "images" => texts(&verdict.images.as_ref()?.digests),
            "unpinned" => number(u64::from(verdict.images.as_ref()?.unpinned)),
            "name" => match &verdict.subject {
                Subject::Node { name, .. } => Val::Str(name),
                Subject::Pod { .. } | Subject::Namespace { .. } => return None,
            },
            _ => return of_node(verdict.state.as_deref()?, name),
        })
    }

    fn names(&self) -> Vec<&str> {
        FIELDS.into_iter().filter(|name| self.field(name).is_some()).collect()
    }
}

/// A field of a node.
fn of_node<'a>(state: &'a NodeState, name: &str) -> Option<Val<'a>> {
    let version = |version: &'a Option<String>| version.as_deref().map(Val::Str);
    match name {
        "healthy" => Some(Val::Bool(state.healthy())),
        "ready" => Some(Val::Bool(state.ready)),
        "schedulable" => Some(Val::Bool(state.schedulable)),
        "problems" => state.problems.as_ref().map(texts),
        "taints" => state.taints.as_ref().map(texts),
        "labels" => state.labels.as_ref().map(|labels| Val::Record(labels)),
        "kubelet_version" => version(&state.kubelet_version),
        "container_runtime_version" => version(&state.container_runtime_version),
        "kernel_version" => version(&state.kernel_version),
        "os_image" => version(&state.os_image),
        "architecture" => version(&state.architecture),
        _ => None,
    }
}
