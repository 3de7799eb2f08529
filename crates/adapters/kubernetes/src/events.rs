//! Events: what `kubectl describe` shows under an object.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, PostParams};

use crate::objects::bounded;
use crate::{Cluster, Error, Object};

/// The longest note that the API server takes, in bytes.
const LONGEST_NOTE: usize = 1024;

/// The longest part of an object's name in that of its event: with what follows it 253 characters at most.
const LONGEST_NAME: usize = 220;

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
}

/// Writes events in one component's name. Each call makes one, and nothing is remembered: tell of what changes, and of it once.
#[derive(Clone)]
pub struct Events {
    client: Client,
    component: String,
    instance: String,
}

impl Cluster {
    /// Events of a component, such as `keyward.io/seal-controller`, which runs as `instance`, a pod's name.
    pub fn events(&self, component: &str, instance: &str) -> Events {
        Events { client: self.client.clone(), component: component.to_owned(), instance: instance.to_owned() }
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
        let regarding = ObjectReference {
            api_version: Some(about.api_version.clone()),
            kind: Some(about.kind.clone()),
            namespace: about.namespace.clone(),
            name: Some(about.name.clone()),
            uid: about.uid.clone(),
            ..ObjectReference::default()
        };
        let event = Event {
            metadata: ObjectMeta {
                namespace: Some(namespace.to_owned()),
                name: Some(named(&about.name, now.as_nanosecond())),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(now)),
            type_: Some(severity.name().to_owned()),
            reason: Some(reason.to_owned()),
            action: Some(action.to_owned()),
            note: Some(shortened(note)),
            regarding: Some(regarding),
            reporting_controller: Some(self.component.clone()),
            reporting_instance: Some(self.instance.clone()),
            ..Event::default()
        };
        let events: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let doing = || format!("writing an event of {} {namespace}/{}", about.kind, about.name);
        bounded(doing, events.create(&PostParams::default(), &event)).await.map(|_| ())
    }
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
