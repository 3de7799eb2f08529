//! Pieces of work: what is to be done, by name and not by content, so that asking twice is one piece.

use crate::catalog::Catalog;
use keyward_admission::Operation;
use keyward_kubernetes::{Key, Kind};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// An object by where it stands, in whichever version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Reference {
    pub(crate) group: Arc<str>,
    pub(crate) kind: Arc<str>,
    pub(crate) namespace: Box<str>,
    pub(crate) name: Box<str>,
}

impl Reference {
    /// Of an object of a kind.
    pub(crate) fn new(kind: &Kind, key: &Key) -> Reference {
        Reference {
            group: (*kind.group).into(),
            kind: (*kind.kind).into(),
            namespace: key.namespace.clone(),
            name: key.name.clone(),
        }
    }

    /// Of an object as JSON.
    pub(crate) fn of(object: &Value) -> Reference {
        let version = object["apiVersion"].as_str().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Reference {
            group: version.split_once('/').map_or("", |(group, _)| group).into(),
            kind: text(&object["kind"]).into(),
            namespace: text(&object["metadata"]["namespace"]).into(),
            name: text(&object["metadata"]["name"]).into(),
        }
    }

    /// Where its kind is served, if it is.
    pub(crate) fn served(&self, catalog: &Catalog) -> Option<Kind> {
        catalog.in_group(&self.group, &self.kind).cloned()
    }

    /// Its namespace; the name of a Namespace, which is in itself.
    pub(crate) fn within(&self) -> &str {
        match self.group.is_empty() && &*self.kind == "Namespace" {
            true => &self.name,
            false => &self.namespace,
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.is_empty() {
            true => write!(f, "{}/{}", self.kind, self.name),
            false => write!(f, "{}/{}/{}", self.kind, self.namespace, self.name),
        }
    }
}

/// What is to be done. Policies are named as `Entry::key` names them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Work {
    /// What a policy makes because of an object.
    Generate { policy: Arc<str>, trigger: Reference },
    /// What a policy changes elsewhere because of an object.
    Mutate { policy: Arc<str>, trigger: Reference },
    /// What a policy removes; without one, what its own label says is over.
    Remove { policy: Option<Arc<str>>, object: Reference },
}

impl Work {
    /// As metrics name it.
    pub(crate) fn task(&self) -> &'static str {
        match self {
            Work::Generate { .. } => "generate",
            Work::Mutate { .. } => "mutate-existing",
            Work::Remove { .. } => "cleanup",
        }
    }

    /// The policy it is for.
    pub(crate) fn policy(&self) -> Option<&Arc<str>> {
        match self {
            Work::Generate { policy, .. } | Work::Mutate { policy, .. } => Some(policy),
            Work::Remove { policy, .. } => policy.as_ref(),
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Work::Generate { policy, trigger } => write!(f, "{policy} generates for {trigger}"),
            Work::Mutate { policy, trigger } => write!(f, "{policy} changes others for {trigger}"),
            Work::Remove { policy: Some(policy), object } => write!(f, "{policy} removes {object}"),
            Work::Remove { policy: None, object } => write!(f, "{object} is removed after its time"),
        }
    }
}

/// How much of a piece of work is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// All rules, because this happened to the trigger.
    pub(crate) happened: Option<Operation>,
    /// Otherwise only these, which made something before.
    pub(crate) rules: BTreeSet<Arc<str>>,
}

impl Extent {
    /// All rules.
    pub(crate) fn all(happened: Operation) -> Extent {
        Extent { happened: Some(happened), rules: BTreeSet::new() }
    }

    /// What some rules made.
    pub(crate) fn rules(rules: impl IntoIterator<Item = Arc<str>>) -> Extent {
        Extent { happened: None, rules: rules.into_iter().collect() }
    }

    /// Both at once. What was made and then changed is still to be seen as made.
    pub(crate) fn join(&mut self, other: Extent) {
        self.happened = match (self.happened, other.happened) {
            (Some(Operation::Create), _) | (_, Some(Operation::Create)) => Some(Operation::Create),
            (one, another) => one.or(another),
        };
        self.rules.extend(other.rules);
    }
}
