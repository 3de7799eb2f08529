//! What was made is watched: what others change or delete of it is looked at again. So are labels that say how long an object
//! lives. Both where we may delete, which is what a grant of such a kind is for.

use super::downstream::{LABEL, Made};
use super::work::{Extent, Reference, Work};
use super::{Desk, expiry};
use crate::log;
use keyward_kubernetes::{Access, Change, Kind, Selection};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{AbortHandle, JoinSet};

/// How often it is asked what else we may delete.
const ASK: Duration = Duration::from_secs(30);

/// Watches everything that we may delete.
pub(super) async fn follow(desk: Arc<Desk>) {
    let mut tasks = JoinSet::new();
    let mut watched: HashMap<String, [AbortHandle; 2]> = HashMap::new();
    loop {
        let kinds: Vec<Kind> = desk.around.world.outside.catalog.load().watched().cloned().collect();
        let names: BTreeSet<String> = kinds.iter().map(Kind::to_string).collect();
        watched.retain(|name, handles| {
            let served = names.contains(name);
            if !served {
                handles.iter().for_each(AbortHandle::abort);
            }
            served
        });
        for kind in kinds {
            let name = kind.to_string();
            if watched.contains_key(&name) || !may_delete(&desk, &kind).await {
                continue;
            }
            let made = tasks.spawn(watch(desk.clone(), kind.clone()));
            let expiring = tasks.spawn(expiry::follow(desk.clone(), kind));
            watched.insert(name, [made, expiring]);
        }
        tokio::time::sleep(ASK).await;
        while tasks.try_join_next().is_some() {}
    }
}

async fn may_delete(desk: &Desk, kind: &Kind) -> bool {
    let access = Access { verb: "delete", kind, subresource: None, namespace: None };
    match desk.around.cluster.may(&access).await {
        Ok(may) => may,
        Err(why) => {
            log::warn(&format!("it is not known whether {kind} may be deleted: {why}"));
            false
        }
    }
}

async fn watch(desk: Arc<Desk>, kind: Kind) {
    let selection = Selection { labels: Some(LABEL.to_owned()), fields: None };
    let objects = desk.around.cluster.objects(&kind, None);
    let mut changes = objects.changes_of_metadata(&selection, |metadata| {
        (Made::read(&metadata), metadata.resource_version.unwrap_or_default())
    });
    let mut listing: Option<BTreeSet<Reference>> = None;
    loop {
        match changes.next().await {
            Change::Listing => listing = Some(BTreeSet::new()),
            Change::There(key, (made, version)) => {
                let object = Reference::new(&kind, &key);
                if let Some(listing) = &mut listing {
                    listing.insert(object.clone());
                }
                match made {
                    Some(made) => {
                        for made in desk.downstreams.saw(&object, made, &version) {
                            look(&desk, made).await;
                        }
                    }
                    // It no longer says where it came from, which somebody took from it.
                    None => gone(&desk, &object).await,
                }
            }
            Change::Listed => {
                for object in
                    desk.downstreams.missing(&kind.group, &kind.kind, &listing.take().unwrap_or_default())
                {
                    gone(&desk, &object).await;
                }
            }
            Change::Gone(key) => gone(&desk, &Reference::new(&kind, &key)).await,
            Change::Trouble(why) => log::warn(&format!("what was made is not seen: {why}")),
        }
    }
}

async fn gone(desk: &Desk, object: &Reference) {
    if let Some(made) = desk.downstreams.gone(object) {
        look(desk, made).await;
    }
}

async fn look(desk: &Desk, made: Made) {
    desk.queue
        .put(Work::Generate { policy: made.policy, trigger: made.trigger }, Extent::rules([made.rule]))
        .await;
}
