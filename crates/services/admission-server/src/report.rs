//! Reports: what background policies say of what is there, by namespace, kept in memory and written where it changed.
//!
//! A namespace has one report, and what has no namespace another; each lists at most [`MOST`] results, the worst first, and counts
//! all. So 100,000 objects fill a few megabytes of this process and some kilobytes of etcd a namespace.

use crate::log;
use crate::metrics::Metrics;
use crate::policies::Entry;
use crate::results::Counts;
use keyward_admission::{RuleOutcome, Status};
use keyward_kubernetes::{Cluster, Error, Key, Kind, Selection};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Results that a report lists.
pub(crate) const MOST: usize = 500;
/// Bytes of a message in a report.
const MESSAGE: usize = 512;
const MANAGER: &str = "keyward-policy";
const LABEL: (&str, &str) = ("app.kubernetes.io/managed-by", "keyward-policy");

/// In which kinds reports are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `wgpolicyk8s.io/v1alpha2`: PolicyReport and ClusterPolicyReport.
    PolicyReports,
    /// `openreports.io/v1alpha1`: Report and ClusterReport.
    OpenReports,
}

impl Dialect {
    pub(crate) fn kind(self, namespaced: bool) -> Kind {
        let (group, version) = match self {
            Dialect::PolicyReports => ("wgpolicyk8s.io", "v1alpha2"),
            Dialect::OpenReports => ("openreports.io", "v1alpha1"),
        };
        match (self, namespaced) {
            (Dialect::PolicyReports, true) => {
                Kind::namespaced(group, version, "PolicyReport", "policyreports")
            }
            (Dialect::PolicyReports, false) => {
                Kind::cluster_wide(group, version, "ClusterPolicyReport", "clusterpolicyreports")
            }
            (Dialect::OpenReports, true) => Kind::namespaced(group, version, "Report", "reports"),
            (Dialect::OpenReports, false) => {
                Kind::cluster_wide(group, version, "ClusterReport", "clusterreports")
            }
        }
    }
}

/// What a rule says of an object.
#[derive(Clone, Debug)]
struct Row {
    entry: Arc<About>,
    rule: Arc<str>,
    status: Status,
    message: Box<str>,
    exceptions: Vec<String>,
}

/// A rule that does not hold for an object, or could not be evaluated.
pub(crate) struct Found {
    /// With the namespace in front.
    pub(crate) policy: Arc<str>,
    pub(crate) rule: Arc<str>,
    pub(crate) status: Status,
    pub(crate) message: Box<str>,
}

impl Row {
    fn found(&self) -> Option<Found> {
        matches!(self.status, Status::Fail | Status::Error).then(|| Found {
            policy: self.entry.policy.clone(),
            rule: self.rule.clone(),
            status: self.status,
            message: self.message.clone(),
        })
    }
}

/// What reports show of a policy.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct About {
    policy: Arc<str>,
    category: String,
    severity: String,
    scored: bool,
    cel: bool,
    tier: Arc<str>,
}

impl About {
    /// Of a policy.
    pub(crate) fn of(entry: &Entry) -> Arc<About> {
        let metadata = &entry.policy.metadata;
        let annotation = |name: &str| metadata.annotation(&format!("policies.kyverno.io/{name}")).to_owned();
        Arc::new(About {
            policy: metadata.full_name().into(),
            category: annotation("category"),
            severity: annotation("severity"),
            scored: annotation("scored") != "false",
            cel: entry.policy.is_cel(),
            tier: metadata.label("keyward.io/tier").into(),
        })
    }
}

/// An object that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Scanned {
    pub(crate) api_version: Arc<str>,
    pub(crate) kind: Arc<str>,
    pub(crate) name: Box<str>,
}

#[derive(Default)]
struct Namespace {
    objects: BTreeMap<Scanned, (Box<str>, Vec<Row>)>,
    dirty: bool,
    /// A hash of what was written last.
    written: Option<u64>,
}

/// All results.
pub(crate) struct Reports {
    dialect: Dialect,
    cluster: Cluster,
    metrics: Arc<Metrics>,
    namespaces: Mutex<HashMap<Box<str>, Namespace>>,
}

impl Reports {
    pub(crate) fn new(dialect: Dialect, cluster: Cluster, metrics: Arc<Metrics>) -> Reports {
        Reports { dialect, cluster, metrics, namespaces: Mutex::default() }
    }

    /// Puts what policies say of an object in the place of what they said before. What fails now and did not is handed back.
    pub(crate) fn put(
        &self,
        namespace: &str,
        object: &Scanned,
        uid: &str,
        said: Vec<(Arc<About>, RuleOutcome)>,
    ) -> Vec<Found> {
        let rows: Vec<Row> = said.into_iter().map(|(entry, outcome)| row(entry, outcome)).collect();
        let mut namespaces = self.namespaces.lock();
        let within = namespaces.entry(namespace.into()).or_default();
        within.dirty = true;
        let failing: Vec<Found> = rows.iter().filter_map(Row::found).collect();
        let before = match rows.is_empty() {
            true => within.objects.remove(object),
            false => within.objects.insert(object.clone(), (uid.into(), rows)),
        };
        let before = before.map(|(_, rows)| rows).unwrap_or_default();
        let known = |found: &Found| {
            before
                .iter()
                .filter_map(Row::found)
                .any(|old| old.policy == found.policy && old.rule == found.rule)
        };
        failing.into_iter().filter(|found| !known(found)).collect()
    }

    /// Forgets an object that is gone.
    pub(crate) fn remove(&self, namespace: &str, object: &Scanned) {
        if let Some(within) = self.namespaces.lock().get_mut(namespace)
            && within.objects.remove(object).is_some()
        {
            within.dirty = true;
        }
    }

    /// Forgets the objects of a kind that did not come when it was listed, or of kinds that no policy is for any more.
    pub(crate) fn retain(&self, keep: impl Fn(&str, &Scanned) -> bool) {
        for (namespace, within) in self.namespaces.lock().iter_mut() {
            let before = within.objects.len();
            within.objects.retain(|object, _| keep(namespace, object));
            within.dirty |= within.objects.len() != before;
        }
    }

    /// Finds the reports that are there already, of a leader before us, so that those are taken back which nothing is to be in.
    pub(crate) async fn adopt(&self) -> Result<(), Error> {
        let selection = Selection { labels: Some(format!("{}={}", LABEL.0, LABEL.1)), fields: None };
        let mut found = BTreeSet::new();
        for namespaced in [true, false] {
            let objects = self.cluster.objects(&self.dialect.kind(namespaced), None);
            let listed = objects
                .list(&selection, |object| {
                    found.insert(Key::of(&object).namespace);
                })
                .await;
            match listed {
                Err(why) if !why.is_missing() => return Err(why),
                _ => {}
            }
        }
        let mut namespaces = self.namespaces.lock();
        for namespace in found {
            let within = namespaces.entry(namespace).or_default();
            within.dirty = true;
            within.written = within.written.or(Some(0));
        }
        Ok(())
    }

    /// Writes the reports that changed.
    pub(crate) async fn write(&self) {
        let dirty: Vec<Box<str>> = {
            let namespaces = self.namespaces.lock();
            namespaces.iter().filter(|(_, within)| within.dirty).map(|(name, _)| name.clone()).collect()
        };
        for namespace in dirty {
            let (report, written) = {
                let mut namespaces = self.namespaces.lock();
                let Some(within) = namespaces.get_mut(&namespace) else { continue };
                within.dirty = false;
                self.metrics.results.put(&namespace, counts(within));
                (self.render(&namespace, within), within.written)
            };
            let hash = report.as_ref().map(fingerprint);
            if hash == written {
                continue;
            }
            let done = self.send(&namespace, report).await;
            let mut namespaces = self.namespaces.lock();
            let Some(within) = namespaces.get_mut(&namespace) else { continue };
            match done {
                Ok(()) => {
                    within.written = hash;
                    self.metrics.reports_written.add(1);
                }
                // The namespace is going, and its report with it.
                Err(why) if why.is_missing() => within.written = None,
                Err(why) => {
                    within.dirty = true;
                    log::warn(&format!("a report is not written, and tried again: {why}"));
                }
            }
            if within.written.is_none() && within.objects.is_empty() && !within.dirty {
                namespaces.remove(&namespace);
            }
        }
    }

    async fn send(&self, namespace: &str, report: Option<Value>) -> Result<(), Error> {
        let within = Some(namespace).filter(|name| !name.is_empty());
        let objects = self.cluster.objects(&self.dialect.kind(within.is_some()), within);
        match report {
            Some(report) => objects.apply(MANAGER, &report).await.map(|_| ()),
            None => objects.delete(&name_of(namespace), None).await.map(|_| ()),
        }
    }

    fn render(&self, namespace: &str, within: &Namespace) -> Option<Value> {
        if within.objects.is_empty() {
            return None;
        }
        let kind = self.dialect.kind(!namespace.is_empty());
        let mut counts: BTreeMap<&str, usize> =
            ["pass", "fail", "warn", "error", "skip"].into_iter().map(|name| (name, 0)).collect();
        let mut rows: Vec<(u8, &Scanned, &str, &Row)> = Vec::new();
        for (object, (uid, found)) in &within.objects {
            for row in found {
                *counts.entry(row.status.name()).or_default() += 1;
                if row.status != Status::Skip {
                    rows.push((rank(row.status), object, uid, row));
                }
            }
        }
        rows.sort_by_key(|(rank, ..)| *rank);
        let listed = rows.len().min(MOST);
        let results: Vec<Value> =
            rows[..listed].iter().map(|(_, object, uid, row)| result(namespace, object, uid, row)).collect();
        let mut metadata = json!({
            "name": name_of(namespace), "labels": {(LABEL.0): LABEL.1},
            "annotations": {"keyward.io/results-left-out": (rows.len() - listed).to_string()},
        });
        if !namespace.is_empty() {
            metadata["namespace"] = json!(namespace);
        }
        Some(json!({
            "apiVersion": kind.api_version(), "kind": kind.kind, "metadata": metadata,
            "results": results, "summary": counts,
        }))
    }
}

/// How often each policy says what.
fn counts(within: &Namespace) -> Counts {
    let mut counts = Counts::new();
    for row in within.objects.values().flat_map(|(_, rows)| rows) {
        let line = (row.entry.policy.clone(), row.entry.tier.clone(), row.status);
        *counts.entry(line).or_default() += 1;
    }
    counts
}

fn name_of(namespace: &str) -> String {
    if namespace.is_empty() { "polr-cluster".to_owned() } else { format!("polr-ns-{namespace}") }
}

fn rank(status: Status) -> u8 {
    match status {
        Status::Fail => 0,
        Status::Error => 1,
        Status::Warn => 2,
        Status::Pass => 3,
        Status::Skip => 4,
    }
}

fn row(entry: Arc<About>, outcome: RuleOutcome) -> Row {
    let mut message = outcome.message.as_ref();
    if message.len() > MESSAGE {
        message = &message[..message.floor_char_boundary(MESSAGE)];
    }
    let status = match outcome.status {
        Status::Fail if !entry.scored => Status::Warn,
        status => status,
    };
    let exceptions = outcome.effects.map(|effects| effects.exceptions).unwrap_or_default();
    Row { entry, rule: outcome.rule, status, message: message.into(), exceptions }
}

fn result(namespace: &str, object: &Scanned, uid: &str, row: &Row) -> Value {
    let mut resource =
        json!({"apiVersion": &*object.api_version, "kind": &*object.kind, "name": &*object.name});
    if !namespace.is_empty() {
        resource["namespace"] = json!(namespace);
    }
    if !uid.is_empty() {
        resource["uid"] = json!(uid);
    }
    let mut result = json!({
        "policy": &*row.entry.policy, "result": row.status.name(), "scored": row.entry.scored, "source": "keyward",
        "message": &*row.message, "resources": [resource], "properties": {"process": "background scan"},
    });
    if !row.entry.cel {
        result["rule"] = json!(&*row.rule);
    }
    for (field, value) in [("category", &row.entry.category), ("severity", &row.entry.severity)] {
        if !value.is_empty() {
            result[field] = json!(value);
        }
    }
    if !row.exceptions.is_empty() {
        result["properties"]["exceptions"] = json!(row.exceptions.join(","));
    }
    result
}

fn fingerprint(report: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    report.to_string().hash(&mut hasher);
    // Zero is what an adopted report has, which was written by another.
    hasher.finish().max(1)
}
