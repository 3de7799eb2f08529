//! What copies are made from: a change of it is a reason to look at the copies again.

use super::Desk;
use super::work::{Extent, Work};
use crate::log;
use keyward_admission::Lookup;
use keyward_kubernetes::{Change, Kind, Selection};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Sources that are watched; copies of others are only looked at again once in a while.
const WATCHED: usize = 200;

/// Where something is copied from: an object, or all of a kind in a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Source {
    kind: Kind,
    namespace: String,
    name: Option<String>,
}

/// A rule of a policy for a trigger, which is what copies.
type Copier = (Work, Arc<str>);

/// See the module.
#[derive(Default)]
pub(super) struct Sources {
    copiers: Mutex<HashMap<Source, HashSet<Copier>>>,
    more: Notify,
}

impl Sources {
    /// Notes what a rule asked for.
    pub(super) fn note<'l>(&self, desk: &Desk, copier: &Copier, asked: impl Iterator<Item = &'l Lookup>) {
        let catalog = desk.around.world.outside.catalog.load();
        let sources = asked.filter_map(|question| {
            let (version, resource, namespace, name) = match question {
                Lookup::Object { api_version, resource, namespace, name } => {
                    (api_version.as_str(), resource.as_str(), namespace, Some(name))
                }
                Lookup::Objects { api_version, resource, namespace, .. } => {
                    (api_version.as_str(), resource.as_str(), namespace, None)
                }
                Lookup::ConfigMap { namespace, name } => ("v1", "configmaps", namespace, Some(name)),
                _ => return None,
            };
            let kind = catalog.named(version, resource)?.clone();
            Some(Source { kind, namespace: namespace.clone(), name: name.cloned() })
        });
        let mut copiers = self.copiers.lock();
        for source in sources {
            let full = copiers.len() >= WATCHED;
            match copiers.get_mut(&source) {
                Some(known) => drop(known.insert(copier.clone())),
                None if full => desk.around.metrics.work.unwatched.add(1),
                None => {
                    copiers.insert(source, HashSet::from([copier.clone()]));
                    self.more.notify_one();
                }
            }
        }
    }

    fn known(&self) -> Vec<Source> {
        self.copiers.lock().keys().cloned().collect()
    }

    fn copiers(&self, source: &Source) -> Vec<Copier> {
        self.copiers.lock().get(source).into_iter().flatten().cloned().collect()
    }

    fn forget(&self, copier: &Copier) {
        self.copiers.lock().retain(|_, copiers| {
            copiers.remove(copier);
            !copiers.is_empty()
        });
    }
}

/// Watches what was noted.
pub(super) async fn follow(desk: Arc<Desk>) {
    let mut tasks = JoinSet::new();
    let mut watched = HashMap::new();
    loop {
        let known = desk.sources.known();
        watched.retain(|source, handle: &mut tokio::task::AbortHandle| {
            let needed = known.contains(source);
            if !needed {
                handle.abort();
            }
            needed
        });
        for source in known {
            watched
                .entry(source)
                .or_insert_with_key(|source| tasks.spawn(watch(desk.clone(), source.clone())));
        }
        tokio::select! {
            () = desk.sources.more.notified() => {}
            Some(_) = tasks.join_next() => {}
        }
    }
}

async fn watch(desk: Arc<Desk>, source: Source) {
    let fields = source.name.as_ref().map(|name| format!("metadata.name={name}"));
    let namespace = Some(&*source.namespace).filter(|name| !name.is_empty());
    let objects = desk.around.cluster.objects(&source.kind, namespace);
    let mut changes = objects.changes_of_metadata(&Selection { labels: None, fields }, |_| ());
    let mut listing = false;
    loop {
        match changes.next().await {
            Change::Listing => listing = true,
            // What was listed may have changed since it was copied.
            Change::Listed => {
                listing = false;
                changed(&desk, &source).await;
            }
            Change::There(..) if listing => {}
            Change::There(..) | Change::Gone(_) => changed(&desk, &source).await,
            Change::Trouble(why) => log::warn(&format!("what copies are made from is not seen: {why}")),
        }
    }
}

async fn changed(desk: &Desk, source: &Source) {
    desk.around.world.outside.forget();
    for copier in desk.sources.copiers(source) {
        let (work, rule) = &copier;
        let Work::Generate { policy, trigger } = work else { continue };
        let made = desk.downstreams.of(policy, trigger);
        // Where nothing is left that was copied, nobody waits for the source: the trigger would have to happen again.
        let set = desk.around.known.set.load();
        if made.is_empty() && super::entry(&set, policy).is_none() {
            desk.sources.forget(&copier);
            continue;
        }
        desk.queue.put(work.clone(), Extent::rules([rule.clone()])).await;
    }
}
