//! Policies as they are in the cluster, compiled when they change; and what else every decision may need: namespaces, roles.

use crate::log;
use crate::metrics::Metrics;
use crate::mirror::{Mirror, follow};
use crate::policies::{Entry, Set};
use crate::world::{RoleBinding, World};
use arc_swap::ArcSwap;
use keyward_admission::{Exception, Loaded, load};
use keyward_core::Timestamp;
use keyward_kubernetes::{Change, Cluster, Key, Kind, Object, Selection};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Changes that come within this time are compiled together.
const GATHER: Duration = Duration::from_millis(50);

const fn new(kind: &'static str, plural: &'static str, namespaced: bool) -> Kind {
    of("policies.kyverno.io", "v1", kind, plural, namespaced)
}

const fn of(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    namespaced: bool,
) -> Kind {
    match namespaced {
        true => Kind::namespaced(group, version, kind, plural),
        false => Kind::cluster_wide(group, version, kind, plural),
    }
}

/// Where policies are, and what belongs to them.
pub(crate) const KINDS: [Kind; 17] = [
    of("kyverno.io", "v1", "ClusterPolicy", "clusterpolicies", false),
    of("kyverno.io", "v1", "Policy", "policies", true),
    of("kyverno.io", "v2", "PolicyException", "policyexceptions", true),
    of("kyverno.io", "v2", "CleanupPolicy", "cleanuppolicies", true),
    of("kyverno.io", "v2", "ClusterCleanupPolicy", "clustercleanuppolicies", false),
    of("kyverno.io", "v2alpha1", "GlobalContextEntry", "globalcontextentries", false),
    new("ValidatingPolicy", "validatingpolicies", false),
    new("NamespacedValidatingPolicy", "namespacedvalidatingpolicies", true),
    new("MutatingPolicy", "mutatingpolicies", false),
    new("NamespacedMutatingPolicy", "namespacedmutatingpolicies", true),
    new("GeneratingPolicy", "generatingpolicies", false),
    new("NamespacedGeneratingPolicy", "namespacedgeneratingpolicies", true),
    new("DeletingPolicy", "deletingpolicies", false),
    new("NamespacedDeletingPolicy", "namespaceddeletingpolicies", true),
    new("ImageValidatingPolicy", "imagevalidatingpolicies", false),
    new("NamespacedImageValidatingPolicy", "namespacedimagevalidatingpolicies", true),
    new("PolicyException", "policyexceptions", true),
];
/// The entries of the global context among them.
pub(crate) const GLOBALS: usize = 5;

pub(crate) const NAMESPACES: Kind = Kind::cluster_wide("", "v1", "Namespace", "namespaces");
const ROLES: Kind = Kind::namespaced("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings");
const CLUSTER_ROLES: Kind =
    Kind::cluster_wide("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings");

/// A policy of the cluster, and whether it can mean anything.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) kind: Kind,
    pub(crate) key: Key,
    /// Why it is refused.
    pub(crate) refused: Option<String>,
    /// What its status says of it.
    pub(crate) ready: Option<bool>,
}

/// What others read of the sources.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) set: Arc<ArcSwap<Set>>,
    /// Policies with what their status is to say.
    pub(crate) verdicts: Arc<ArcSwap<Vec<Verdict>>>,
    /// Grows with every change of the policies or of what is served; zero until all were read once.
    pub(crate) generation: watch::Sender<u64>,
    /// Whether changes of policies or namespaces are not heard of now.
    pub(crate) deaf: Arc<AtomicBool>,
}

/// A compiled object of the sources.
enum Compiled {
    Policy(Entry),
    Refused(String),
    /// Exceptions are compiled with each set, which owns them.
    Raw,
}

/// An object as it was written. The text takes a tenth of the memory that its tree would, and tells whether it changed.
struct Source {
    text: Arc<str>,
    /// What its status says of it.
    ready: Option<bool>,
}

struct Item {
    /// Of what it was compiled; compared to leave what did not change as it is.
    text: Arc<str>,
    compiled: Compiled,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Tag {
    Policies(usize),
    Namespaces,
    Roles,
}

/// Where policies of a kind are.
pub(crate) fn kind(api_version: &str, kind: &str) -> Option<Kind> {
    KINDS.iter().find(|known| known.kind == kind && known.api_version() == api_version).cloned()
}

/// The object as JSON, with what kind it is, and without what the API server keeps for itself.
pub(crate) fn json_of(kind: &Kind, object: &Object) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    value["apiVersion"] = json!(kind.api_version());
    value["kind"] = json!(kind.kind);
    if let Some(metadata) = value["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    value
}

/// Follows everything for as long as the process runs.
pub(crate) fn start(cluster: &Cluster, world: Arc<World>, metrics: Arc<Metrics>) -> Known {
    let known = Known {
        set: Arc::default(),
        verdicts: Arc::default(),
        generation: watch::Sender::new(0),
        deaf: Arc::default(),
    };
    let (to, changes) = mpsc::channel(1024);
    for (index, kind) in KINDS.iter().enumerate() {
        let objects = cluster.objects(kind, None);
        follow(&objects, &Selection::default(), Tag::Policies(index), to.clone(), move |object| {
            json_of(&KINDS[index], &object)
        });
    }
    let everything = Selection::default();
    for (tag, kind) in [(Tag::Namespaces, NAMESPACES), (Tag::Roles, ROLES), (Tag::Roles, CLUSTER_ROLES)] {
        follow(&cluster.objects(&kind, None), &everything, tag, to.clone(), move |object| {
            json_of(&kind, &object)
        });
    }
    let sources = Sources {
        known: known.clone(),
        world,
        metrics,
        policies: KINDS.iter().map(|_| Mirror::default()).collect(),
        compiled: HashMap::new(),
        namespaces: false,
        deaf: HashSet::new(),
    };
    tokio::spawn(sources.run(changes));
    known
}

struct Sources {
    known: Known,
    world: Arc<World>,
    metrics: Arc<Metrics>,
    policies: Vec<Mirror<Source>>,
    compiled: HashMap<(usize, Key), Item>,
    /// All namespaces were read once.
    namespaces: bool,
    /// What cannot be listened to.
    deaf: HashSet<Tag>,
}

impl Sources {
    async fn run(mut self, mut changes: mpsc::Receiver<(Tag, Change<Value>)>) {
        while let Some(first) = changes.recv().await {
            let mut compile = self.take(first);
            tokio::time::sleep(GATHER).await;
            while let Ok(next) = changes.try_recv() {
                compile |= self.take(next);
            }
            if compile && self.namespaces && self.policies.iter().all(Mirror::is_listed) {
                self.compile();
            }
        }
    }

    /// True where policies may have changed.
    fn take(&mut self, (tag, change): (Tag, Change<Value>)) -> bool {
        match &change {
            Change::Trouble(why) if !why.is_missing() => self.deaf.insert(tag),
            _ => self.deaf.remove(&tag),
        };
        self.known.deaf.store(!self.deaf.is_empty(), Ordering::Relaxed);
        match tag {
            Tag::Policies(index) => {
                if let Some(why) = self.policies[index].apply(change.map(Source::of)) {
                    log::warn(&format!("policies cannot be read: {why}"));
                }
                true
            }
            Tag::Namespaces => {
                match change {
                    Change::There(key, value) => {
                        let kept = json!({"metadata": {"name": *key.name,
                            "labels": value["metadata"]["labels"], "annotations": value["metadata"]["annotations"]}});
                        let labels = kept["metadata"]["labels"].clone();
                        let before = self.world.namespaces.write().insert(key.name.into(), kept);
                        // Policies select by them: what is in the namespace is looked at again.
                        return before.is_some_and(|before| before["metadata"]["labels"] != labels);
                    }
                    Change::Gone(key) => {
                        self.world.namespaces.write().remove(&*key.name);
                    }
                    Change::Listed => return !std::mem::replace(&mut self.namespaces, true),
                    Change::Listing => {}
                    Change::Trouble(why) => log::warn(&format!("namespaces cannot be read: {why}")),
                }
                false
            }
            Tag::Roles => {
                let at = |key: Key| (key.namespace.into(), key.name.into());
                match change {
                    Change::There(key, value) => {
                        self.world.roles.write().insert(at(key), RoleBinding::of(&value));
                    }
                    Change::Gone(key) => {
                        self.world.roles.write().remove(&at(key));
                    }
                    Change::Listing | Change::Listed => {}
                    Change::Trouble(why) => log::warn(&format!("bindings of roles cannot be read: {why}")),
                }
                false
            }
        }
    }

    fn compile(&mut self) {
        let (mut entries, mut exceptions, mut verdicts) = (Vec::new(), Vec::new(), Vec::new());
        let mut compiled = HashMap::new();
        for (index, mirror) in self.policies.iter().enumerate().filter(|(index, _)| *index != GLOBALS) {
            for (key, source) in mirror.iter() {
                let known = self.compiled.remove(&(index, key.clone()));
                let item =
                    known.filter(|known| known.text == source.text).unwrap_or_else(|| Item::of(source));
                let mut refused = None;
                match &item.compiled {
                    Compiled::Policy(entry) => entries.push(entry.clone()),
                    Compiled::Refused(why) => refused = Some(why.clone()),
                    Compiled::Raw => exceptions.extend(exception(&source.object())),
                }
                verdicts.push(Verdict {
                    kind: KINDS[index].clone(),
                    key: key.clone(),
                    refused,
                    ready: source.ready,
                });
                compiled.insert((index, key.clone()), item);
            }
        }
        self.compiled = compiled;
        let globals = self.policies[GLOBALS].iter();
        *self.world.outside.globals.write() =
            globals.map(|(key, source)| (key.name.to_string(), source.object()["spec"].take())).collect();
        self.metrics.policies.set(entries.len() as u64);
        let refused = verdicts.iter().filter(|verdict| verdict.refused.is_some());
        self.metrics.policies_refused.set(refused.count() as u64);
        self.known.set.store(Arc::new(Set::new(entries, exceptions)));
        self.known.verdicts.store(Arc::new(verdicts));
        self.known.generation.send_modify(|generation| *generation += 1);
    }
}

fn exception(object: &Value) -> Option<Exception> {
    match load(object, None) {
        Ok(Loaded::Exception(exception)) => Some(*exception),
        _ => None,
    }
}

impl Source {
    fn of(mut object: Value) -> Source {
        let status = object.as_object_mut().and_then(|object| object.remove("status")).unwrap_or_default();
        let conditions = status["conditions"].as_array();
        let ready = conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready");
        let ready = ready.map(|condition| condition["status"] == "True");
        if let Some(metadata) = object["metadata"].as_object_mut() {
            // What a new status changes, and a copy of all the rest.
            metadata.remove("resourceVersion");
            if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
                annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
            }
        }
        Source { text: object.to_string().into(), ready }
    }

    fn object(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

impl Item {
    fn of(source: &Source) -> Item {
        let object = &source.object();
        let compiled = match load(object, None) {
            Ok(Loaded::Policy(policy)) => {
                let mut entry = Entry::new(Arc::from(policy));
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                (entry.api_version, entry.uid) =
                    (text(&object["apiVersion"]), text(&object["metadata"]["uid"]));
                let created = object["metadata"]["creationTimestamp"].as_str();
                entry.created = created.and_then(Timestamp::parse_rfc3339).map_or(0, Timestamp::secs);
                Compiled::Policy(entry)
            }
            Ok(_) => Compiled::Raw,
            Err(refusal) => {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                log::warn(&format!(
                    "{} {name} is left out: {refusal}",
                    object["kind"].as_str().unwrap_or_default()
                ));
                Compiled::Refused(refusal.to_string())
            }
        };
        Item { text: source.text.clone(), compiled }
    }
}
