//! Events: what `kubectl describe` shows under an object.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

use crate::objects::bounded;
use crate::{Cluster, Error, Object};

/// The longest note that the API server takes, in bytes.
const LONGEST_NOTE: usize = 1024;

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// What is expected.
    Normal,
    /// What somebody should look at.
    Warning,
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

/// Writes events in one component's name. The same event again within six minutes is counted, not made anew.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
}

impl Cluster {
    /// Events of a component, such as `keyward.io/seal-controller`, which runs as `instance`, a pod's name.
    pub fn events(&self, component: &str, instance: Option<&str>) -> Events {
        let reporter = Reporter { controller: component.to_owned(), instance: instance.map(str::to_owned) };
        Events { recorder: Recorder::new(self.client.clone(), reporter) }
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
        let event = Event {
            type_: match severity {
                Severity::Normal => EventType::Normal,
                Severity::Warning => EventType::Warning,
            },
            reason: reason.to_owned(),
            note: Some(shortened(note)),
            action: action.to_owned(),
            secondary: None,
        };
        let about = ObjectReference {
            api_version: Some(about.api_version.clone()),
            kind: Some(about.kind.clone()),
            namespace: about.namespace.clone(),
            name: Some(about.name.clone()),
            uid: about.uid.clone(),
            ..ObjectReference::default()
        };
        bounded(|| "writing an event".to_owned(), self.recorder.publish(&event, &about)).await
    }
}

fn shortened(note: &str) -> String {
    note[..note.floor_char_boundary(LONGEST_NOTE)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_cut_between_characters() {
        assert_eq!(shortened("short"), "short");
        let long = "ä".repeat(600);
        assert_eq!(shortened(&long).len(), 1024);
        assert_eq!(shortened(&format!("x{long}")).len(), 1023);
    }
}
