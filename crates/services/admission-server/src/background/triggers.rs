//! What policies are for: what happens to it is a reason to make or change something.

use super::Desk;
use super::downstream::LABEL;
use super::work::{Extent, Reference, Work};
use crate::log::{self, Wall};
use crate::policies::{Entry, Set, TRIGGERED};
use crate::sources::json_of;
use keyward_admission::{Operation, RuleKind};
use keyward_core::Clock as _;
use keyward_kubernetes::{Change, Kind, Object, Selection};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use tokio::task::JoinSet;

/// Seconds between a policy that comes and the watch for it, and between our clock and the API server's.
const JUST_NOW: u64 = 10;

/// What is kept of an object.
struct Seen {
    /// Of what people and controllers ask for, without what is found about it.
    hash: u64,
    version: String,
    /// Seconds since 1970.
    created: u64,
    changed: u64,
    /// It is going, or a policy made it: no reason for anything.
    passive: bool,
}

/// Which watches have seen everything that was there when they began.
#[derive(Clone, Default)]
pub(super) struct Settled(Arc<Mutex<BTreeMap<String, bool>>>);

impl Settled {
    /// Whether all have.
    pub(super) fn all(&self) -> bool {
        self.0.lock().values().all(|settled| *settled)
    }

    fn set(&self, kind: &Kind, settled: bool) {
        self.0.lock().insert(kind.to_string(), settled);
    }

    fn forget(&self, kind: &str) {
        self.0.lock().remove(kind);
    }
}

/// Watches what the policies are for, whatever these are. What happened since a moment, in seconds since 1970, happened while
/// nobody led.
pub(super) async fn follow(desk: Arc<Desk>, since: u64, settled: Settled) {
    let mut generations = desk.around.known.generation.subscribe();
    let mut watches: HashMap<String, tokio::task::AbortHandle> = HashMap::new();
    let mut tasks = JoinSet::new();
    let mut before: HashMap<String, Arc<keyward_admission::Policy>> = HashMap::new();
    let mut first = true;
    loop {
        generations.mark_unchanged();
        let set = desk.around.known.set.load_full();
        let kinds = kinds(&desk, &set);
        watches.retain(|name, watch| {
            let needed = kinds.contains_key(name);
            if !needed {
                watch.abort();
                settled.forget(name);
            }
            needed
        });
        for (name, kind) in kinds {
            watches.entry(name).or_insert_with(|| {
                settled.set(&kind, false);
                // A watch that begins later is for a policy that came just now: what was there before is not new.
                let since = if first { since } else { Wall.now().secs().saturating_sub(JUST_NOW) };
                tasks.spawn(Watch::new(desk.clone(), kind, since, settled.clone()).run())
            });
        }
        let mut now = HashMap::new();
        for entry in &set.entries {
            let key = entry.key();
            let known = before.remove(&key);
            if !known.is_some_and(|known| Arc::ptr_eq(&known, &entry.policy)) {
                changed(&desk, entry, &mut tasks, !first || entry.created >= since).await;
            }
            now.insert(key, entry.policy.clone());
        }
        // Those that are gone, and at first those that went while nobody led.
        let gone = before.keys().map(|key| Arc::from(key.as_str()));
        let gone: HashSet<Arc<str>> = gone.chain(desk.downstreams.policies()).collect();
        for key in gone.into_iter().filter(|key| !now.contains_key(&**key)) {
            look_at_all(&desk, &key).await;
        }
        before = now;
        first = false;
        let every = desk.around.every;
        tokio::select! {
            _ = generations.changed() => {}
            () = tokio::time::sleep(every) => look_at_everything(&desk, &mut tasks).await,
            Some(_) = tasks.join_next() => {}
            () = lost(&desk) => look_at_everything(&desk, &mut tasks).await,
        }
    }
}

/// Waits until work was dropped.
async fn lost(desk: &Desk) {
    while !desk.queue.lost() {
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    }
}

async fn look_at_everything(desk: &Arc<Desk>, tasks: &mut JoinSet<()>) {
    let set = desk.around.known.set.load_full();
    for policy in desk.downstreams.policies() {
        look_at_all(desk, &policy).await;
    }
    for entry in &set.entries {
        survey(desk, entry, tasks, true);
    }
}

/// A policy came or changed: what it made is looked at, and what is there where it is for that.
async fn changed(desk: &Arc<Desk>, entry: &Entry, tasks: &mut JoinSet<()>, new: bool) {
    look_at_all(desk, &entry.key()).await;
    if !entry.settings.admission && !entry.told.is_empty() {
        let note =
            "it depends on what reviews alone tell, such as who asks, and is not asked in any: set admission";
        log::warn(&format!("{}: {note}", entry.key()));
        desk.around.outbox.stuck(entry, "generate", note);
    }
    survey(desk, entry, tasks, new);
}

/// Looks at all that a policy made.
async fn look_at_all(desk: &Desk, policy: &str) {
    let mut rules: HashMap<Reference, Vec<Arc<str>>> = HashMap::new();
    for made in desk.downstreams.of_policy(policy) {
        rules.entry(made.trigger).or_default().push(made.rule);
    }
    for (trigger, rules) in rules {
        desk.queue.put(Work::Generate { policy: policy.into(), trigger }, Extent::rules(rules)).await;
    }
}

/// Shows a policy what is there, where it asks for that. What follows its policy is made again at every start; what does not is
/// somebody else's by then.
fn survey(desk: &Arc<Desk>, entry: &Entry, tasks: &mut JoinSet<()>, new: bool) {
    for task in TRIGGERED.into_iter().filter(|task| entry.policy.has(*task)) {
        let asks = |upkeep: &keyward_admission::Upkeep| {
            upkeep.existing && !upkeep.by_review && (new || upkeep.synchronize)
        };
        if !entry.policy.upkeep(task).iter().any(asks) {
            continue;
        }
        let kinds = desk.around.world.outside.catalog.load().kinds(entry.policy.interests(task));
        let (desk, policy) = (desk.clone(), Arc::<str>::from(entry.key()));
        let home = entry.policy.metadata.namespace.clone();
        tasks.spawn(async move {
            for kind in kinds {
                list(&desk, &kind, &home, task, &policy).await;
            }
        });
    }
}

async fn list(desk: &Desk, kind: &Kind, home: &str, task: RuleKind, policy: &Arc<str>) {
    let objects = desk.around.cluster.objects(kind, Some(home).filter(|home| !home.is_empty()));
    let mut pages = objects.pages(&Selection::default());
    loop {
        match pages.next().await {
            Ok(Some(page)) => {
                for object in page.iter().filter(|object| !is_passive(object)) {
                    let trigger = super::reference_of(kind, object);
                    if !desk.is_exempt(&trigger) {
                        desk.queue
                            .put(work(task, policy.clone(), trigger), Extent::all(Operation::Create))
                            .await;
                    }
                }
            }
            Ok(None) => return,
            Err(why) => return log::warn(&format!("{policy} is not shown what is there: {why}")),
        }
    }
}

fn work(task: RuleKind, policy: Arc<str>, trigger: Reference) -> Work {
    match task {
        RuleKind::ExistingMutation => Work::Mutate { policy, trigger },
        _ => Work::Generate { policy, trigger },
    }
}

/// What the policies are for, by name.
fn kinds(desk: &Desk, set: &Set) -> BTreeMap<String, Kind> {
    let entries = set.entries.iter().filter(|entry| !entry.policy.is_native());
    let interests =
        entries.flat_map(|entry| TRIGGERED.into_iter().flat_map(|task| entry.policy.interests(task)));
    let catalog = desk.around.world.outside.catalog.load();
    catalog.kinds(interests).into_iter().map(|kind| (kind.to_string(), kind)).collect()
}

fn is_passive(object: &Object) -> bool {
    let metadata = &object.metadata;
    metadata.deletion_timestamp.is_some()
        || metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(LABEL))
}

fn seen(kind: &Kind, object: &Object) -> Seen {
    let seconds = |at: i64| u64::try_from(at).unwrap_or_default();
    let metadata = &object.metadata;
    let changes =
        metadata.managed_fields.iter().flatten().filter(|one| one.subresource.as_deref() != Some("status"));
    let changed = changes.filter_map(|one| one.time.as_ref()).map(|at| seconds(at.0.as_second())).max();
    let created = metadata.creation_timestamp.as_ref().map_or(0, |at| seconds(at.0.as_second()));
    let mut value = json_of(kind, object);
    if let Some(map) = value.as_object_mut() {
        map.remove("status");
    }
    if let Some(map) = value["metadata"].as_object_mut() {
        map.remove("resourceVersion");
        map.remove("generation");
    }
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    Seen {
        hash: hasher.finish(),
        version: metadata.resource_version.clone().unwrap_or_default(),
        created,
        changed: changed.unwrap_or(created),
        passive: is_passive(object),
    }
}

/// One kind, watched.
struct Watch {
    desk: Arc<Desk>,
    kind: Kind,
    /// From when on what happened is new, in seconds since 1970; none once everything was listed.
    since: Option<u64>,
    settled: Settled,
    there: HashMap<Reference, u64>,
    listing: Option<HashSet<Reference>>,
}

impl Watch {
    fn new(desk: Arc<Desk>, kind: Kind, since: u64, settled: Settled) -> Watch {
        Watch { desk, kind, since: Some(since), settled, there: HashMap::new(), listing: None }
    }

    async fn run(mut self) {
        let kind = self.kind.clone();
        let objects = self.desk.around.cluster.objects(&self.kind, None);
        let mut changes = objects.changes(&Selection::default(), move |object| seen(&kind, &object));
        loop {
            match changes.next().await {
                Change::Listing => self.listing = Some(HashSet::new()),
                Change::There(key, seen) => self.there(Reference::new(&self.kind, &key), seen).await,
                Change::Listed => {
                    let listed = self.listing.take().unwrap_or_default();
                    let gone: Vec<Reference> =
                        self.there.keys().filter(|one| !listed.contains(one)).cloned().collect();
                    for trigger in gone {
                        self.gone(trigger).await;
                    }
                    self.since = None;
                    self.settled.set(&self.kind, true);
                }
                Change::Gone(key) => self.gone(Reference::new(&self.kind, &key)).await,
                Change::Trouble(why) => log::warn(&format!("what policies are for is not seen: {why}")),
            }
        }
    }

    async fn there(&mut self, trigger: Reference, seen: Seen) {
        if let Some(listing) = &mut self.listing {
            listing.insert(trigger.clone());
        }
        let known = self.there.insert(trigger.clone(), seen.hash);
        let happened = match (known, self.since) {
            (Some(hash), _) if hash == seen.hash => None,
            (Some(_), _) => Some(Operation::Update),
            (None, None) => Some(Operation::Create),
            (None, Some(since)) if seen.created >= since => Some(Operation::Create),
            (None, Some(since)) if seen.changed >= since => Some(Operation::Update),
            (None, Some(_)) => None,
        };
        let Some(happened) = happened else { return };
        if seen.passive || self.desk.is_exempt(&trigger) || self.desk.wrote(&trigger, &seen.version) {
            return;
        }
        let set = self.desk.around.known.set.load_full();
        for task in TRIGGERED {
            for entry in set.matching(task, &self.kind.kind, &self.kind.plural) {
                let home = &entry.policy.metadata.namespace;
                // What was there before the policy is not new to it.
                let old = self.since.is_some() && entry.created > seen.changed;
                if !entry.policy.is_native() && !old && (home.is_empty() || **home == *trigger.namespace) {
                    let work = work(task, entry.key().into(), trigger.clone());
                    self.desk.queue.put(work, Extent::all(happened)).await;
                }
            }
        }
    }

    /// What was made for it is looked at.
    async fn gone(&mut self, trigger: Reference) {
        self.there.remove(&trigger);
        for made in self.desk.downstreams.triggered_by(&trigger) {
            let work = Work::Generate { policy: made.policy, trigger: trigger.clone() };
            self.desk.queue.put(work, Extent::rules([made.rule])).await;
        }
    }
}
