//! Policies that remove on a schedule. When they last did stands in their status; what was missed is done once.

use super::Desk;
use super::work::{Extent, Work};
use crate::log::{self, Wall};
use crate::policies::{Entry, Set};
use keyward_admission::{Operation, RuleKind};
use keyward_core::{Clock as _, Timestamp};
use keyward_kubernetes::{Kind, Selection};
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// The longest that is slept, for clocks that are set.
const LONGEST: Duration = Duration::from_secs(30);

/// When a policy is next due, and of which object that is true.
struct Due {
    uid: String,
    at: Option<Timestamp>,
}

/// Carries out what is due.
pub(super) async fn follow(desk: Arc<Desk>) {
    let mut generations = desk.around.known.generation.subscribe();
    let mut due: HashMap<String, Due> = HashMap::new();
    loop {
        generations.mark_unchanged();
        let set = desk.around.known.set.load_full();
        let now = Wall.now();
        let mut next: Option<Timestamp> = None;
        due.retain(|key, _| set.entries.iter().any(|entry| entry.key() == *key));
        for entry in &set.entries {
            let Some(removal) = entry.policy.removal() else { continue };
            let key = entry.key();
            let after = |moment: Timestamp| removal.schedule.next_after(moment);
            let at = match due.get(&key).filter(|due| due.uid == entry.uid) {
                // The schedule may be another by now: what counts is what comes first.
                Some(known) => known.at.filter(|at| *at <= now).or_else(|| after(now)),
                None => match last(&desk, entry).await {
                    Ok(last) => after(last.unwrap_or(Timestamp::from_secs(entry.created))),
                    Err(why) => {
                        log::warn(&format!(
                            "{key} waits: when it last removed something is not known: {why}"
                        ));
                        continue;
                    }
                },
            };
            let at = match at {
                Some(at) if at <= now => {
                    clean(&desk, &set, entry).await;
                    note(&desk, entry, now).await;
                    after(now)
                }
                at => at,
            };
            next = [next, at].into_iter().flatten().min();
            due.insert(key, Due { uid: entry.uid.clone(), at });
        }
        let wait = next.map_or(LONGEST, |next| next.since(Wall.now())).min(LONGEST);
        tokio::select! {
            _ = generations.changed() => {}
            () = tokio::time::sleep(wait.max(Duration::from_millis(100))) => {}
        }
    }
}

fn kind_of(entry: &Entry) -> Option<Kind> {
    crate::sources::kind(&entry.api_version, &entry.policy.metadata.kind)
}

async fn last(desk: &Desk, entry: &Entry) -> Result<Option<Timestamp>, keyward_kubernetes::Error> {
    let Some(kind) = kind_of(entry) else { return Ok(None) };
    let metadata = &entry.policy.metadata;
    let namespace = Some(&*metadata.namespace).filter(|name| !name.is_empty());
    let there = desk.around.cluster.objects(&kind, namespace).get(&metadata.name).await?;
    Ok(there
        .and_then(|one| one.data["status"]["lastExecutionTime"].as_str().and_then(Timestamp::parse_rfc3339)))
}

async fn note(desk: &Desk, entry: &Entry, now: Timestamp) {
    let Some(kind) = kind_of(entry) else { return };
    let metadata = &entry.policy.metadata;
    let namespace = Some(&*metadata.namespace).filter(|name| !name.is_empty());
    let at = Timestamp::from_secs(now.secs()).to_string();
    let status = json!({"status": {"lastExecutionTime": at}});
    let objects = desk.around.cluster.objects(&kind, namespace);
    match objects.merge_status(&metadata.name, &status).await {
        Err(why) if !why.is_missing() => {
            log::warn(&format!("{}: it is not noted when it ran: {why}", entry.key()));
        }
        _ => {}
    }
}

/// Asks for the removal of everything that a policy removes now.
async fn clean(desk: &Desk, set: &Set, entry: &Entry) {
    let interests = entry.policy.interests(RuleKind::Deletion);
    let kinds = desk.around.world.outside.catalog.load().all_kinds(interests);
    for kind in kinds {
        if let Err(super::Failure(why)) = clean_kind(desk, set, entry, &kind).await {
            log::warn(&format!("{} does not remove {kind}: {why}", entry.key()));
            desk.around.outbox.stuck(entry, "cleanup", &format!("{kind}: {why}"));
        }
    }
}

async fn clean_kind(desk: &Desk, set: &Set, entry: &Entry, kind: &Kind) -> Result<(), super::Failure> {
    let home = Some(&*entry.policy.metadata.namespace).filter(|home| !home.is_empty());
    let mut pages = desk.around.cluster.objects(kind, home).pages(&Selection::default());
    while let Some(page) = pages.next().await? {
        for object in page {
            let name = super::reference_of(kind, &object);
            if desk.is_spared(kind, &name) || object.metadata.deletion_timestamp.is_some() {
                continue;
            }
            if desk.is_over(set, entry, kind, &object).await? {
                let work = Work::Remove { policy: Some(entry.key().into()), object: name };
                desk.queue.put(work, Extent::all(Operation::Delete)).await;
            }
        }
    }
    Ok(())
}
