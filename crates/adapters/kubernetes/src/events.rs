//! Events: what `kubectl describe` shows under an object.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};

use crate::objects::bounded;
use crate::{Cluster, Error, Object};

/// The longest note that the API server takes, in bytes.
const LONGEST_NOTE: usize = 1024;

/// The longest part of an object's name in that of its event: with what follows it 253 characters at most.
const LONGEST_NAME: usize = 220;

/// For so long the same event again is one that happened once more.
const SAME: Duration = Duration::from_secs(360);
/// Events that are remembered for that.
const MOST_RECENT: usize = 256;

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// What is expected.
    Normal,
    /// What somebody should look at.
    Warning,
}

impl Severity {
    const fn name(self) -> &'static str {
        match self {
            Severity::Normal => "Normal",
            Severity::Warning => "Warning",
        }
    }
}

/// The object that an event is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct About {
    /// Its `apiVersion`.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace; the event stands there, or in `default`.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Its uid, without which `kubectl describe` does not show the event.
    pub uid: Option<String>,
}

impl About {
    /// About an object as the API server gave it.
    pub fn object(object: &Object) -> About {
        let types = object.types.clone().unwrap_or_default();
        About {
            api_version: types.api_version,
            kind: types.kind,
            namespace: object.metadata.namespace.clone(),
            name: object.metadata.name.clone().unwrap_or_default(),
            uid: object.metadata.uid.clone(),
        }
    }

    fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some(self.api_version.clone()),
            kind: Some(self.kind.clone()),
            namespace: self.namespace.clone(),
            name: Some(self.name.clone()),
            uid: self.uid.clone(),
            ..ObjectReference::default()
        }
    }
}

/// Writes events in one component's name. The same one again within six minutes is counted rather than made, as long as it is
/// among the last few hundred.
#[derive(Clone)]
pub struct Events {
    client: Client,
    component: String,
    instance: String,
    recent: Arc<Mutex<VecDeque<Recent>>>,
}

/// An event that was made, by the hash of what it says.
struct Recent {
    hash: u64,
    name: String,
    since: Instant,
    count: i32,
}

impl Cluster {
    /// Events of a component, such as `keyward.io/seal-controller`, which runs as `instance`, a pod's name.
    pub fn events(&self, component: &str, instance: Option<&str>) -> Events {
        Events {
            client: self.client.clone(),
            component: component.to_owned(),
            instance: instance.unwrap_or(component).to_owned(),
            recent: Arc::default(),
        }
    }
}

impl Events {
    /// Writes an event: `reason` in one word, `action` what was being done, `note` for people.
    pub async fn publish(
        &self,
        about: &About,
        severity: Severity,
        reason: &str,
        action: &str,
        note: &str,
    ) -> Result<(), Error> {
        let now = Timestamp::now();
        let namespace = about.namespace.as_deref().unwrap_or("default");
        let events: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let doing = || format!("writing an event of {} {namespace}/{}", about.kind, about.name);
        let hash = hash(&(about, severity, reason, action, note));
        if let Some((name, count)) = self.counted(hash) {
            let series = EventSeries { count, last_observed_time: MicroTime(now) };
            let patch = Patch::Merge(serde_json::json!({ "series": series }));
            return bounded(doing, events.patch(&name, &PatchParams::default(), &patch)).await.map(|_| ());
        }
        let name = named(&about.name, now.as_nanosecond());
        let event = Event {
            metadata: ObjectMeta {
                namespace: Some(namespace.to_owned()),
                name: Some(name.clone()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(now)),
            type_: Some(severity.name().to_owned()),
            reason: Some(reason.to_owned()),
            action: Some(action.to_owned()),
            note: Some(shortened(note)),
            regarding: Some(about.reference()),
            reporting_controller: Some(self.component.clone()),
            reporting_instance: Some(self.instance.clone()),
            ..Event::default()
        };
        bounded(doing, events.create(&PostParams::default(), &event)).await?;
        self.remember(hash, name);
        Ok(())
    }

    /// The name of the same event if it was made just now, and how often it happened by now.
    fn counted(&self, hash: u64) -> Option<(String, i32)> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|event| event.since.elapsed() < SAME);
        let again = recent.iter_mut().find(|event| event.hash == hash)?;
        again.count += 1;
        Some((again.name.clone(), again.count))
    }

    fn remember(&self, hash: u64, name: String) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= MOST_RECENT {
            recent.pop_front();
        }
        recent.push_back(Recent { hash, name, since: Instant::now(), count: 1 });
    }
}

fn hash(event: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    event.hash(&mut hasher);
    hasher.finish()
}

/// A name that no other event has. That of the object, as far as there is room for it.
fn named(object: &str, nanoseconds: i128) -> String {
    let cut = object.floor_char_boundary(LONGEST_NAME);
    format!("{}.{nanoseconds:x}", object[..cut].trim_end_matches(['.', '-']))
}

fn shortened(note: &str) -> String {
    note[..note.floor_char_boundary(LONGEST_NOTE)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_a_long_name_has_one_that_is_allowed() {
        assert_eq!(named("db", 255), "db.ff");
        let long = format!("{}.{}", "a".repeat(219), "b".repeat(33));
        assert_eq!(named(&long, 255), format!("{}.ff", "a".repeat(219)));
    }

    #[test]
    fn a_note_is_cut_between_characters() {
        assert_eq!(shortened("short"), "short");
        let long = "ä".repeat(600);
        assert_eq!(shortened(&long).len(), 1024);
        assert_eq!(shortened(&format!("x{long}")).len(), 1023);
    }
}
