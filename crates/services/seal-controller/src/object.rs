//! The objects that are watched, and what of one the authority is sent.

use std::fmt;
use std::sync::Arc;

use keyward_kubernetes::{About, Key, Kind, Metadata, Object};
use serde_json::{Map, Value, json};

/// Our own kind.
pub static SEALED_SECRETS: Kind = Kind::namespaced("keyward.io", "v1alpha1", "SealedSecret", "sealedsecrets");
/// That of the Zen Mesh project.
pub static ZENLOCKS: Kind = Kind::namespaced("security.kube-zen.io", "v1alpha1", "ZenLock", "zenlocks");

/// One of the two kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Which {
    Sealed,
    Zen,
}

impl Which {
    pub(crate) const ALL: [Which; 2] = [Which::Sealed, Which::Zen];

    pub(crate) fn kind(self) -> &'static Kind {
        match self {
            Which::Sealed => &SEALED_SECRETS,
            Which::Zen => &ZENLOCKS,
        }
    }

    pub(crate) const fn other(self) -> Which {
        match self {
            Which::Sealed => Which::Zen,
            Which::Zen => Which::Sealed,
        }
    }
}

/// Names one object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id {
    pub(crate) which: Which,
    pub(crate) key: Arc<Key>,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.which.kind().kind, self.key)
    }
}

/// What changes when there is something to do: not when the status is written.
pub(crate) fn mark(metadata: &Metadata) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    (&metadata.uid, metadata.generation).hash(&mut hasher);
    hasher.finish()
}

/// The manifest as its author wrote it. Annotations of other tools, such as the last one applied, stay here.
pub(crate) fn manifest(which: Which, object: &Object) -> Value {
    let ours =
        object.metadata.annotations.iter().flatten().filter(|(name, _)| name.starts_with("keyward.io/"));
    let annotations: Map<String, Value> =
        ours.map(|(name, text)| (name.clone(), Value::from(text.as_str()))).collect();
    json!({
        "apiVersion": which.kind().api_version(),
        "kind": which.kind().kind,
        "metadata": {
            "name": object.metadata.name,
            "namespace": object.metadata.namespace,
            "annotations": annotations,
        },
        "spec": object.data["spec"],
    })
}

pub(crate) fn about(which: Which, object: &Object) -> About {
    About {
        api_version: which.kind().api_version(),
        kind: which.kind().kind.to_string(),
        ..About::object(object)
    }
}
