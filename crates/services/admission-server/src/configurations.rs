//! Keeps the webhook configurations as the policies want them, also where somebody else changes or removes them; and tells each
//! policy's status whether it is served. One replica does, the leader.

use crate::heartbeat::{Alive, Heartbeat};
use crate::log;
use crate::mirror::{Mirror, follow};
use crate::sources::Known;
use crate::statuses::Statuses;
use crate::webhooks::{self, CHECKING, LABEL, MUTATING, Place, VALIDATING, configurations};
use crate::world::World;
use base64::Engine as _;
use keyward_kubernetes::{Cluster, Error, Kind, Object, Selection};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

const VALIDATINGS: Kind = Kind::cluster_wide(
    "admissionregistration.k8s.io",
    "v1",
    "ValidatingWebhookConfiguration",
    "validatingwebhookconfigurations",
);
const MUTATINGS: Kind = Kind::cluster_wide(
    "admissionregistration.k8s.io",
    "v1",
    "MutatingWebhookConfiguration",
    "mutatingwebhookconfigurations",
);
const MANAGER: &str = "keyward-policy";
/// How often what is there is held against what is wanted, besides whenever that changes.
const LOOK: Duration = Duration::from_secs(2);

fn kind_of(name: &str) -> Kind {
    if name == MUTATING { MUTATINGS } else { VALIDATINGS }
}

/// What is in the cluster of our configurations: version and authorities by name.
pub(crate) type Observed = BTreeMap<String, (String, Vec<String>)>;

/// Watches our configurations for as long as the process runs.
pub(crate) fn observe(cluster: &Cluster) -> watch::Receiver<Option<Observed>> {
    let (tell, observed) = watch::channel(None);
    let (to, mut changes) = mpsc::channel(64);
    let selection = Selection { labels: Some(format!("{}={}", LABEL.0, LABEL.1)), fields: None };
    for (index, kind) in [&VALIDATINGS, &MUTATINGS].into_iter().enumerate() {
        follow(&cluster.objects(kind, None), &selection, index, to.clone(), |object| of_object(&object));
    }
    tokio::spawn(async move {
        let mut mirrors = [Mirror::default(), Mirror::default()];
        while let Some((index, change)) = changes.recv().await {
            if let Some(why) = mirrors[index].apply(change) {
                log::warn(&format!("webhook configurations cannot be read: {why}"));
            }
            if mirrors.iter().all(Mirror::is_listed) {
                let all = mirrors.iter().flat_map(Mirror::iter);
                tell.send_replace(Some(
                    all.map(|(key, seen)| (key.name.to_string(), seen.clone())).collect(),
                ));
            }
        }
    });
    observed
}

fn of_object(object: &Object) -> (String, Vec<String>) {
    let bundles = object.data["webhooks"].as_array().into_iter().flatten().map(|webhook| {
        let encoded = webhook["clientConfig"]["caBundle"].as_str().unwrap_or_default();
        let decoded = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap_or_default();
        String::from_utf8_lossy(&decoded).into_owned()
    });
    (object.metadata.resource_version.clone().unwrap_or_default(), bundles.collect())
}

/// Removes the configurations, so that no policy holds anything up: what the last replica does when it stops, and an operator
/// where there is none.
///
/// # Errors
///
/// What cannot be removed.
pub async fn release(cluster: &Cluster) -> Result<Vec<&'static str>, Error> {
    let mut removed = Vec::new();
    for name in [VALIDATING, MUTATING, CHECKING] {
        if cluster.objects(&kind_of(name), None).delete(name, None).await? {
            removed.push(name);
        }
    }
    Ok(removed)
}

/// What keeps the configurations.
pub(crate) struct Keeper {
    pub(crate) cluster: Cluster,
    pub(crate) known: Known,
    pub(crate) world: Arc<World>,
    pub(crate) place: Place,
    pub(crate) alive: watch::Receiver<Alive>,
    /// The bundle where it comes from files; otherwise that of the living replicas counts.
    pub(crate) given: Option<watch::Receiver<Arc<str>>>,
    pub(crate) observed: watch::Receiver<Option<Observed>>,
    pub(crate) leads: watch::Receiver<bool>,
}

impl Keeper {
    /// Keeps them for as long as it is awaited.
    pub(crate) async fn run(mut self) {
        let mut generations = self.known.generation.subscribe();
        let mut applied: BTreeMap<String, String> = BTreeMap::new();
        let mut wanted: Vec<Value> = Vec::new();
        let mut statuses = Statuses::default();
        loop {
            let known = *generations.borrow_and_update() > 0 && self.observed.borrow_and_update().is_some();
            if *self.leads.borrow_and_update() && known {
                if let Err(why) = self.keep(&mut wanted, &mut applied).await {
                    log::warn(&format!("the webhook configurations are not as wanted: {why}"));
                    wanted.clear();
                }
                statuses.tell(&self.cluster, &self.known.verdicts.load()).await;
                let dead = self.alive.borrow_and_update().dead.clone();
                Heartbeat::bury(&self.cluster, &self.place.namespace, &dead).await;
            } else {
                wanted.clear();
            }
            tokio::select! {
                _ = tokio::time::sleep(LOOK) => {}
                _ = generations.changed() => {}
                _ = self.alive.changed() => {}
                _ = self.observed.changed() => {}
                _ = self.leads.changed() => {}
            }
        }
    }

    async fn keep(
        &self,
        wanted: &mut Vec<Value>,
        applied: &mut BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let bundle = match &self.given {
            Some(given) => given.borrow().to_string(),
            None => self.alive.borrow().bundle.clone(),
        };
        if bundle.is_empty() && self.given.is_none() {
            // Our own heartbeat has not been heard yet.
            return Ok(());
        }
        let next =
            configurations(&self.known.set.load(), &self.world.outside.catalog.load(), &self.place, &bundle);
        let there: BTreeMap<String, String> = self
            .observed
            .borrow()
            .iter()
            .flatten()
            .map(|(name, (version, _))| (name.clone(), version.clone()))
            .collect();
        if next == *wanted && there == *applied {
            return Ok(());
        }
        applied.clear();
        for configuration in &next {
            let name = configuration["metadata"]["name"].as_str().unwrap_or_default();
            let objects = self.cluster.objects(&kind_of(name), None);
            let done = objects.apply(MANAGER, configuration).await?;
            applied.insert(name.to_owned(), done.metadata.resource_version.unwrap_or_default());
        }
        for name in [VALIDATING, MUTATING].into_iter().filter(|name| !applied.contains_key(*name)) {
            self.cluster.objects(&kind_of(name), None).delete(name, None).await?;
        }
        if next != *wanted {
            let names: Vec<&str> = applied.keys().map(String::as_str).collect();
            log::info(&format!("the API server asks by {}", names.join(", ")));
        }
        *wanted = next;
        Ok(())
    }
}

/// What is waited for until the API server believes us: our authority in every configuration that is there.
pub(crate) fn believed(
    observed: Option<&Observed>,
    own: &str,
    place: &webhooks::Place,
) -> Result<(), String> {
    let Some(observed) = observed else {
        return Err("the webhook configurations are not read yet".to_owned());
    };
    let lacking =
        observed.iter().find(|(_, (_, bundles))| bundles.iter().any(|bundle| !bundle.contains(own)));
    match lacking {
        Some((name, _)) => Err(format!("{name} does not name our authority yet, in {}", place.namespace)),
        None => Ok(()),
    }
}
