//! The background scan: every object of the kinds that background policies are for is held against them when it changes, and all
//! of them again when policies change and once in a while.

use crate::catalog::Catalog;
use crate::log;
use crate::metrics::Metrics;
use crate::policies::Set;
use crate::report::{About, Reports, Scanned};
use crate::sources::{Known, json_of};
use crate::world::World;
use keyward_admission::{Interest, Mode, Operation, Request, RuleKind, Subject};
use keyward_kubernetes::{Change, Cluster, Key, Kind, Selection};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long all policies may take over one object.
const LIMIT: Duration = Duration::from_secs(30);
/// How often reports that changed are written.
const WRITE: Duration = Duration::from_secs(2);
/// Groups that are not looked at for a policy of everything.
const PASSING: [&str; 8] = [
    "coordination.k8s.io",
    "events.k8s.io",
    "wgpolicyk8s.io",
    "openreports.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "metrics.k8s.io",
    "apiregistration.k8s.io",
];

/// What scans.
#[derive(Clone)]
pub(crate) struct Scanner {
    pub(crate) cluster: Cluster,
    pub(crate) known: Known,
    pub(crate) world: Arc<World>,
    pub(crate) reports: Arc<Reports>,
    pub(crate) metrics: Arc<Metrics>,
    /// Namespaces that are not looked at.
    pub(crate) exempt: Arc<HashSet<String>>,
    /// After how long everything is looked at again.
    pub(crate) every: Duration,
}

impl Scanner {
    /// Scans for as long as it is awaited, while we lead.
    pub(crate) async fn run(self, mut leads: watch::Receiver<bool>) {
        let mut generations = self.known.generation.subscribe();
        loop {
            let _ = leads.wait_for(|leads| *leads).await;
            if let Err(why) = self.reports.adopt().await {
                log::warn(&format!("the reports of before are not found: {why}"));
            }
            tokio::select! {
                () = self.lead(&mut generations) => {}
                _ = leads.wait_for(|leads| !*leads) => {}
            }
            self.metrics.results.clear();
        }
    }

    async fn lead(&self, generations: &mut watch::Receiver<u64>) {
        loop {
            let _ = generations.wait_for(|generation| *generation > 0).await;
            generations.mark_unchanged();
            let set = self.known.set.load_full();
            let kinds = kinds(&set, &self.world.catalog.load());
            let looked_at: HashSet<String> = kinds.iter().map(|kind| kind.kind.to_string()).collect();
            self.reports.retain(|_, object| looked_at.contains(&*object.kind));
            let mut scans = JoinSet::new();
            let abouts: Arc<HashMap<String, Arc<About>>> = Arc::new(
                set.entries
                    .iter()
                    .map(|entry| (entry.policy.metadata.full_name(), About::of(entry)))
                    .collect(),
            );
            for kind in kinds {
                scans.spawn(self.clone().of_kind(kind, set.clone(), abouts.clone()));
            }
            let write = async {
                loop {
                    tokio::time::sleep(WRITE).await;
                    self.reports.write().await;
                }
            };
            tokio::select! {
                _ = generations.changed() => {}
                () = tokio::time::sleep(self.every) => {}
                () = write => {}
            }
        }
    }

    async fn of_kind(self, kind: Kind, set: Arc<Set>, abouts: Arc<HashMap<String, Arc<About>>>) {
        let of = kind.clone();
        let objects = self.cluster.objects(&kind, None);
        let mut changes = objects.changes(&Selection::default(), move |object| json_of(&of, &object));
        let (api_version, name): (Arc<str>, Arc<str>) = (kind.api_version().into(), (*kind.kind).into());
        let scanned = |key: &Key| Scanned {
            api_version: api_version.clone(),
            kind: name.clone(),
            name: key.name.clone(),
        };
        let mut listing: Option<HashSet<Key>> = None;
        loop {
            match changes.next().await {
                Change::Listing => listing = Some(HashSet::new()),
                Change::There(key, object) => {
                    if let Some(listing) = &mut listing {
                        listing.insert(key.clone());
                    }
                    if !self.exempt.contains(&*key.namespace) {
                        let said = self.look(&kind, &key, object, &set, &abouts).await;
                        self.reports.put(&key.namespace, &scanned(&key), &said.0, said.1);
                    }
                }
                Change::Listed => {
                    if let Some(there) = listing.take() {
                        self.reports.retain(|namespace, object| {
                            let key = Key { namespace: namespace.into(), name: object.name.clone() };
                            object.kind != name || object.api_version != api_version || there.contains(&key)
                        });
                    }
                }
                Change::Gone(key) => self.reports.remove(&key.namespace, &scanned(&key)),
                Change::Trouble(why) => log::warn(&format!("objects are not looked at: {why}")),
            }
        }
    }

    /// What all background policies say of an object, and its uid.
    async fn look(
        &self,
        kind: &Kind,
        key: &Key,
        object: Value,
        set: &Set,
        abouts: &HashMap<String, Arc<About>>,
    ) -> (String, Vec<(Arc<About>, keyward_admission::RuleOutcome)>) {
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let is_namespace = kind.group.is_empty() && kind.kind == "Namespace";
        let namespace = if is_namespace { None } else { self.world.namespace(&key.namespace) };
        let request = Request::of_object(object, Operation::Create)
            .with_resource(&kind.plural)
            .with_namespace(namespace);
        let deadline = Instant::now() + LIMIT;
        let mut said = Vec::new();
        for entry in set.matching(RuleKind::Validation, &kind.kind, &kind.plural) {
            if !entry.settings.background
                || entry.policy.mode() != Mode::Kubernetes
                || entry.policy.is_native()
            {
                continue;
            }
            let outcome =
                self.world.decide(set, &entry.policy, RuleKind::Validation, &request, deadline).await;
            if let Some(about) = abouts.get(&entry.policy.metadata.full_name()) {
                said.extend(outcome.rules.into_iter().map(|rule| (about.clone(), rule)));
            }
        }
        self.metrics.objects_scanned.add(1);
        // An object with many policies is not to hold up reviews.
        tokio::task::yield_now().await;
        (uid, said)
    }
}

/// The kinds that background policies are for.
fn kinds(set: &Set, catalog: &Catalog) -> Vec<Kind> {
    let mut kinds: BTreeMap<String, Kind> = BTreeMap::new();
    for entry in set.entries.iter().filter(|entry| entry.settings.background && !entry.policy.is_native()) {
        for interest in entry.policy.interests(RuleKind::Validation) {
            // A subresource is nothing that is there.
            if !interest.subresource.is_empty() && interest.subresource != "*" {
                continue;
            }
            for served in catalog.of(&interest).filter(|served| served.watched) {
                let kind = &served.kind;
                let passing = PASSING.contains(&&*kind.group)
                    || (kind.group.is_empty() && matches!(&*kind.plural, "events" | "secrets"));
                if !passing || !is_wild(&interest) {
                    kinds.insert(kind.to_string(), kind.clone());
                }
            }
        }
    }
    kinds.into_values().collect()
}

fn is_wild(interest: &Interest) -> bool {
    let (Subject::Kind(name) | Subject::Resource(name)) = &interest.subject;
    name.contains(['*', '?'])
}
