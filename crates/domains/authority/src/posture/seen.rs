//! What a request's conditions see of posture. It is looked up when a condition names it, once a request, so that all that
//! is decided and recorded of the request goes by the same verdict.

use super::{Known, Verdicts};
use crate::token::TokenEntry;
use keyward_core::Timestamp;
use keyward_expressions::cel::{Record, Val};
use keyward_posture::Subject;
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
}

impl Seen {
    fn all(&self) -> impl Iterator<Item = (&'static str, &Option<Found>)> {
        let both = [("pod", self.pod.get()), ("namespace", self.namespace.get())];
        both.into_iter().filter_map(|(name, found)| Some((name, found?)))
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
    let subject = &verdict.subject;
    match critical.is_empty() {
        true => format!("the {name} {subject} violates no critical policy (verdict {digest})"),
        false => format!(
            "the {name} {subject} violates critical policies: {} (verdict {digest})",
            critical.join(", ")
        ),
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
        if let Subject::Pod { uid, .. } = &verdict.subject {
            shown["uid"] = json!(uid);
        }
        shown
    }
}

/// The fields that a verdict has, of whomever it is.
const FIELDS: [&str; 8] =
    ["compliant", "critical", "violations", "exceptions", "policies", "since", "age", "digest"];
/// Those that a verdict on a pod has besides.
const OF_PODS: [&str; 2] = ["images", "unpinned"];

impl Record for Found {
    fn field(&self, name: &str) -> Option<Val<'_>> {
        let verdict = &self.known.verdict;
        let number = |number: u64| Val::Int(i64::try_from(number).unwrap_or(i64::MAX));
        Some(match name {
            "compliant" => Val::Bool(verdict.compliant()),
            "critical" => Val::list(verdict.critical().map(Val::Str).collect()),
            "violations" => Val::list(verdict.violations().map(Val::Str).collect()),
            "exceptions" => Val::list(verdict.exceptions().map(Val::Str).collect()),
            "policies" => number(verdict.policies() as u64),
            "since" => number(verdict.since.secs()),
            "age" => number(self.age.as_secs()),
            "digest" => Val::Str(&self.known.digest),
            "images" => {
                let digests = &verdict.images.as_ref()?.digests;
                Val::list(digests.iter().map(|digest| Val::Str(digest)).collect())
            }
            "unpinned" => number(u64::from(verdict.images.as_ref()?.unpinned)),
            _ => return None,
        })
    }

    fn names(&self) -> Vec<&str> {
        let of_pods = if self.known.verdict.images.is_some() { OF_PODS.as_slice() } else { &[] };
        [FIELDS.as_slice(), of_pods].concat()
    }
}
