//! The background scan: every object of the kinds that background policies are for is held against them when it changes, and all
//! of them again when policies change and once in a while.

use crate::catalog::Catalog;
use crate::computing::Patience;
use crate::events::Outbox;
use crate::log;
use crate::metrics::Metrics;
use crate::policies::{Entry, Set};
use crate::posture::{self, Judged, Posture};
use crate::report::{About, Found, Reports, Scanned};
use crate::sources::{Known, json_of};
use crate::world::World;
use keyward_admission::{Mode, Operation, Request, RuleKind, Status};
use keyward_kubernetes::{Change, Cluster, Key, Kind, Selection};
use keyward_posture::Ruling;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long all policies may take over one object.
const LIMIT: Duration = Duration::from_secs(30);
/// After how long an object is looked at again that a policy could not be evaluated for.
const AGAIN: Duration = Duration::from_secs(10);
/// How often reports that changed are written.
const WRITE: Duration = Duration::from_secs(2);

/// What is looked at: what changes an object has its say when the object is made.
const SCANNED: [RuleKind; 2] = [RuleKind::Validation, RuleKind::ImageVerification];

/// What scans.
#[derive(Clone)]
pub(crate) struct Scanner {
    pub(crate) cluster: Cluster,
    pub(crate) known: Known,
    pub(crate) world: Arc<World>,
    /// Where what is found is written, unless nowhere.
    pub(crate) reports: Option<Arc<Reports>>,
    /// Where it is published, unless nowhere.
    pub(crate) posture: Option<Arc<Posture>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) outbox: Outbox,
    /// Namespaces that are not looked at.
    pub(crate) exempt: Arc<HashSet<String>>,
    /// After how long everything is looked at again.
    pub(crate) every: Duration,
}

impl Scanner {
    /// Scans for as long as it is awaited, while we lead and somebody wants to know.
    pub(crate) async fn run(self, mut leads: watch::Receiver<bool>) {
        if self.reports.is_none() && self.posture.is_none() {
            return std::future::pending().await;
        }
        let mut generations = self.known.generation.subscribe();
        loop {
            let _ = leads.wait_for(|leads| *leads).await;
            if let Some(reports) = &self.reports
                && let Err(why) = reports.adopt().await
            {
                log::warn(&format!("the reports of before are not found: {why}"));
            }
            let publish = async {
                match &self.posture {
                    Some(posture) => posture.publish().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.lead(&mut generations) => {}
                () = publish => {}
                _ = leads.wait_for(|leads| !*leads) => {}
            }
            self.metrics.results.clear();
        }
    }

    async fn lead(&self, generations: &mut watch::Receiver<u64>) {
        // Goes on from scan to scan, however soon the next begins.
        let write = async {
            loop {
                tokio::time::sleep(WRITE).await;
                if let Some(reports) = &self.reports {
                    reports.write().await;
                }
            }
        };
        tokio::pin!(write);
        loop {
            let _ = generations.wait_for(|generation| *generation > 0).await;
            generations.mark_unchanged();
            let set = self.known.set.load_full();
            let mut kinds = kinds(&set, &self.world.outside.catalog.load());
            if self.posture.is_some() {
                for kind in posture::KINDS {
                    if !kinds.contains(&kind) {
                        kinds.push(kind);
                    }
                }
            }
            let looked_at: HashSet<String> = kinds.iter().map(|kind| kind.kind.to_string()).collect();
            if let Some(reports) = &self.reports {
                reports.retain(|_, object| looked_at.contains(&*object.kind));
            }
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
            tokio::select! {
                _ = generations.changed() => {}
                () = tokio::time::sleep(self.every) => {}
                () = &mut write => {}
            }
        }
    }

    async fn of_kind(self, kind: Kind, set: Arc<Set>, abouts: Arc<HashMap<String, Arc<About>>>) {
        let of = kind.clone();
        let objects = self.cluster.objects(&kind, None);
        let mut changes = objects.changes(&Selection::default(), move |object| json_of(&of, &object));
        let looked = Looked::new(self, kind, set, abouts);
        looked.sees(false);
        let mut listing: Option<HashSet<Key>> = None;
        let mut again: HashSet<Key> = HashSet::new();
        loop {
            let change = tokio::select! {
                change = changes.next() => change,
                () = tokio::time::sleep(AGAIN), if !again.is_empty() => {
                    looked.look_again(&mut again).await;
                    continue;
                }
            };
            looked.sees(!matches!(change, Change::Trouble(_)));
            match change {
                Change::Listing => listing = Some(HashSet::new()),
                Change::There(key, object) => {
                    if let Some(listing) = &mut listing {
                        listing.insert(key.clone());
                    }
                    match looked.there(&key, object, listing.is_none()).await {
                        true => again.insert(key),
                        false => again.remove(&key),
                    };
                }
                Change::Listed => {
                    if let Some(there) = listing.take() {
                        looked.retain(&there);
                        again.retain(|key| there.contains(key));
                    }
                }
                Change::Gone(key) => {
                    looked.gone(&key);
                    again.remove(&key);
                }
                Change::Trouble(why) => log::warn(&format!("objects are not looked at: {why}")),
            }
        }
    }
}

/// What is found of one kind, and where it goes.
struct Looked {
    scanner: Scanner,
    kind: Kind,
    set: Arc<Set>,
    abouts: Arc<HashMap<String, Arc<About>>>,
    api_version: Arc<str>,
    name: Arc<str>,
    judged: Option<Judged>,
}

impl Looked {
    fn new(scanner: Scanner, kind: Kind, set: Arc<Set>, abouts: Arc<HashMap<String, Arc<About>>>) -> Looked {
        let (api_version, name) = (kind.api_version().into(), (*kind.kind).into());
        let judged = Judged::of(&kind);
        Looked { scanner, kind, set, abouts, api_version, name, judged }
    }

    fn scanned(&self, key: &Key) -> Scanned {
        Scanned { api_version: self.api_version.clone(), kind: self.name.clone(), name: key.name.clone() }
    }

    fn posture(&self) -> Option<(&Posture, Judged)> {
        self.scanner.posture.as_deref().zip(self.judged)
    }

    /// Notes whether changes are heard of.
    fn sees(&self, sees: bool) {
        if let Some((posture, judged)) = self.posture() {
            posture.sees(judged, sees);
        }
    }

    /// Looks at an object. True if a policy could not be evaluated, which may pass. What fails is told where it is `news`: what
    /// failed already when we began was told then, or by another.
    async fn there(&self, key: &Key, object: Value, news: bool) -> bool {
        if self.scanner.exempt.contains(&*key.namespace) {
            return false;
        }
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let own = self.judged.map(|judged| posture::Own::of(judged, &object)).unwrap_or_default();
        let (said, rulings) = self.look(key, object).await;
        let failed = said.iter().any(|(_, rule)| rule.status == Status::Error);
        // The namespaces that are not looked at are objects too.
        if let Some((posture, judged)) = self.posture()
            && !(judged == Judged::Namespaces && self.scanner.exempt.contains(&*key.name))
        {
            posture.put(judged, key, posture::Found { uid: &uid, said: rulings, own });
        }
        if let Some(reports) = &self.scanner.reports {
            let found = reports.put(&key.namespace, &self.scanned(key), &uid, said);
            if news {
                self.tell(key, &found);
            }
        }
        failed
    }

    /// Looks at objects that a policy could not be evaluated for.
    async fn look_again(&self, again: &mut HashSet<Key>) {
        for key in std::mem::take(again) {
            let within = Some(&*key.namespace).filter(|namespace| !namespace.is_empty());
            let object = self.scanner.cluster.objects(&self.kind, within).get(&key.name).await;
            let failed = match object {
                Ok(Some(object)) => self.there(&key, json_of(&self.kind, &object), true).await,
                // The watch tells of it, or has told.
                Ok(None) => false,
                Err(_) => true,
            };
            if failed {
                again.insert(key);
            }
        }
    }

    fn tell(&self, key: &Key, found: &[Found]) {
        let object = format!("{}/{key}", self.name);
        for one in found {
            let mut entries = self.set.entries.iter();
            if let Some(entry) = entries.find(|entry| entry.policy.metadata.full_name() == *one.policy) {
                self.scanner.outbox.scanned(entry, &object, one);
            }
        }
    }

    fn gone(&self, key: &Key) {
        if let Some((posture, judged)) = self.posture() {
            posture.remove(judged, key);
        }
        if let Some(reports) = &self.scanner.reports {
            reports.remove(&key.namespace, &self.scanned(key));
        }
    }

    /// Forgets what did not come when all were listed.
    fn retain(&self, there: &HashSet<Key>) {
        if let Some((posture, judged)) = self.posture() {
            posture.retain(judged, there);
        }
        if let Some(reports) = &self.scanner.reports {
            reports.retain(|namespace, object| {
                let key = Key { namespace: namespace.into(), name: object.name.clone() };
                object.kind != self.name || object.api_version != self.api_version || there.contains(&key)
            });
        }
    }

    /// What all background policies say of an object.
    async fn look(
        &self,
        key: &Key,
        object: Value,
    ) -> (Vec<(Arc<About>, keyward_admission::RuleOutcome)>, Vec<Ruling>) {
        let Looked { scanner, kind, set, .. } = self;
        let namespace = match self.judged {
            Some(Judged::Namespaces) => None,
            _ => scanner.world.namespace(&key.namespace),
        };
        let request = Request::of_object(object, Operation::Create)
            .with_resource(&kind.plural)
            .with_namespace(namespace);
        let patience = Patience::of_work(Instant::now() + LIMIT);
        let (mut said, mut rulings) = (Vec::new(), Vec::new());
        let mut tasks = Vec::new();
        for task in SCANNED {
            let meant = set.matching(task, &kind.kind, &kind.plural);
            tasks.extend(meant.into_iter().map(|entry| (task, entry)));
        }
        for (task, entry) in tasks {
            if !entry.settings.background
                || entry.policy.mode() != Mode::Kubernetes
                || entry.policy.is_native()
            {
                continue;
            }
            let outcome = scanner.world.decide(set, &entry.policy, task, &request, patience).await;
            if self.posture().is_some() {
                rulings.extend(outcome.rules.iter().map(|rule| posture::ruling(entry, rule, &key.namespace)));
            }
            if let Some(about) = self.abouts.get(&entry.policy.metadata.full_name()) {
                said.extend(outcome.rules.into_iter().map(|rule| (about.clone(), rule)));
            }
        }
        scanner.metrics.objects_scanned.add(1);
        // An object with many policies is not to hold up reviews.
        tokio::task::yield_now().await;
        (said, rulings)
    }
}

/// The kinds that background policies are for.
fn kinds(set: &Set, catalog: &Catalog) -> Vec<Kind> {
    let of_background = |entry: &&Entry| entry.settings.background && !entry.policy.is_native();
    let entries = set.entries.iter().filter(of_background);
    catalog.kinds(entries.flat_map(|entry| SCANNED.into_iter().flat_map(|task| entry.policy.interests(task))))
}
