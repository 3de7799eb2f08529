//! What was made: how an object tells where it came from, and which objects there are.

use super::work::Reference;
use keyward_kubernetes::Metadata;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// By this label every object that a policy made is found, ours and Kyverno's.
pub(crate) const LABEL: &str = "generate.kyverno.io/policy-name";
/// What we read ourselves; labels are cut at 63 bytes and are for people and selectors.
const ANNOTATION: &str = "keyward.io/generated-by";
const LONGEST_LABEL: usize = 63;

/// Why an object was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    /// The policy as `Entry::key` names it.
    pub(crate) policy: Arc<str>,
    pub(crate) rule: Arc<str>,
    pub(crate) trigger: Reference,
    pub(crate) trigger_uid: Box<str>,
    /// It goes when the rule goes.
    pub(crate) follows: bool,
}

impl Made {
    /// As an object says it of itself.
    pub(crate) fn read(metadata: &Metadata) -> Option<Made> {
        let text = metadata.annotations.as_ref()?.get(ANNOTATION)?;
        let value: Value = serde_json::from_str(text).ok()?;
        let part = |value: &Value| value.as_str().map(str::to_owned);
        let trigger = &value["trigger"];
        Some(Made {
            policy: part(&value["policy"])?.into(),
            rule: part(&value["rule"])?.into(),
            trigger: Reference {
                group: part(&trigger["group"])?.into(),
                kind: part(&trigger["kind"])?.into(),
                namespace: part(&trigger["namespace"])?.into(),
                name: part(&trigger["name"])?.into(),
            },
            trigger_uid: part(&trigger["uid"])?.into(),
            follows: value["follows"] == true,
        })
    }

    /// Writes it into an object.
    pub(crate) fn write(&self, object: &mut Value, trigger_version: &str) {
        self.label(object, trigger_version);
        let said = json!({
            "policy": &*self.policy, "rule": &*self.rule, "follows": self.follows,
            "trigger": {
                "group": &*self.trigger.group, "kind": &*self.trigger.kind, "namespace": &*self.trigger.namespace,
                "name": &*self.trigger.name, "uid": &*self.trigger_uid,
            },
        });
        object["metadata"]["annotations"][ANNOTATION] = json!(said.to_string());
    }

    /// Gives an object the labels that Kyverno gives what it makes.
    pub(crate) fn label(&self, object: &mut Value, trigger_version: &str) {
        let (_, name) = self.policy.split_once('/').unwrap_or(("", &self.policy));
        let (namespace, name) = name.split_once('/').unwrap_or(("", name));
        let labels = [
            ("policy-name", name),
            ("policy-namespace", namespace),
            ("rule-name", &*self.rule),
            ("trigger-group", &*self.trigger.group),
            ("trigger-version", trigger_version),
            ("trigger-kind", &*self.trigger.kind),
            ("trigger-namespace", &*self.trigger.namespace),
            ("trigger-uid", &*self.trigger_uid),
        ];
        let metadata = &mut object["metadata"];
        for part in ["labels", "annotations"] {
            if !metadata[part].is_object() {
                metadata[part] = json!({});
            }
        }
        for (label, value) in labels {
            let cut = &value[..value.floor_char_boundary(LONGEST_LABEL)];
            let value = cut.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
            metadata["labels"][format!("generate.kyverno.io/{label}")] = json!(value);
        }
        metadata["labels"]["app.kubernetes.io/managed-by"] = json!("keyward-policy");
    }
}

/// What is there of what was made.
#[derive(Default)]
pub(crate) struct Downstreams(Mutex<Index>);

#[derive(Default)]
struct Index {
    there: BTreeMap<Reference, There>,
    by_trigger: HashMap<Reference, BTreeSet<Reference>>,
    by_policy: HashMap<Arc<str>, BTreeSet<Reference>>,
}

struct There {
    made: Made,
    /// The version that we wrote, to know our own changes when they are told to us.
    written: String,
}

impl Downstreams {
    /// An object is seen. What is to be looked at because of it: nothing where it is as we wrote it, and otherwise where it
    /// says that it came from, and where it came from as far as we knew.
    pub(crate) fn saw(&self, object: &Reference, made: Made, version: &str) -> Vec<Made> {
        let mut index = self.0.lock();
        match index.there.get(object).map(|known| (known.made == made, known.written == version)) {
            Some((true, true)) => Vec::new(),
            Some((true, false)) => vec![made],
            _ => {
                let before = index.insert(object, made.clone(), String::new());
                before.into_iter().chain([made]).collect()
            }
        }
    }

    /// We wrote an object.
    pub(crate) fn wrote(&self, object: &Reference, made: Made, version: String) {
        self.0.lock().insert(object, made, version);
    }

    /// An object is gone; why it was there.
    pub(crate) fn gone(&self, object: &Reference) -> Option<Made> {
        self.0.lock().remove(object)
    }

    /// What a policy made for a trigger.
    pub(crate) fn of(&self, policy: &str, trigger: &Reference) -> Vec<(Reference, Made)> {
        let index = self.0.lock();
        let named = index.by_trigger.get(trigger).into_iter().flatten();
        let found = named.filter_map(|name| Some((name.clone(), index.there.get(name)?.made.clone())));
        found.filter(|(_, made)| &*made.policy == policy).collect()
    }

    /// What was made for a trigger.
    pub(crate) fn triggered_by(&self, trigger: &Reference) -> Vec<Made> {
        let index = self.0.lock();
        let named = index.by_trigger.get(trigger).into_iter().flatten();
        named.filter_map(|name| Some(index.there.get(name)?.made.clone())).collect()
    }

    /// What a policy made.
    pub(crate) fn of_policy(&self, policy: &str) -> Vec<Made> {
        let index = self.0.lock();
        let named = index.by_policy.get(policy).into_iter().flatten();
        named.filter_map(|name| Some(index.there.get(name)?.made.clone())).collect()
    }

    /// The policies that made something.
    pub(crate) fn policies(&self) -> Vec<Arc<str>> {
        self.0.lock().by_policy.keys().cloned().collect()
    }

    /// Those of a kind that a complete list does not have.
    pub(crate) fn missing(&self, group: &str, kind: &str, listed: &BTreeSet<Reference>) -> Vec<Reference> {
        let index = self.0.lock();
        let of_kind = index.there.keys().filter(|one| &*one.group == group && &*one.kind == kind);
        of_kind.filter(|one| !listed.contains(one)).cloned().collect()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().there.len()
    }
}

impl Index {
    fn insert(&mut self, object: &Reference, made: Made, written: String) -> Option<Made> {
        let before = self.remove(object);
        self.by_trigger.entry(made.trigger.clone()).or_default().insert(object.clone());
        self.by_policy.entry(made.policy.clone()).or_default().insert(object.clone());
        self.there.insert(object.clone(), There { made, written });
        before
    }

    fn remove(&mut self, object: &Reference) -> Option<Made> {
        let There { made, .. } = self.there.remove(object)?;
        if let Some(named) = self.by_trigger.get_mut(&made.trigger) {
            named.remove(object);
            if named.is_empty() {
                self.by_trigger.remove(&made.trigger);
            }
        }
        if let Some(named) = self.by_policy.get_mut(&made.policy) {
            named.remove(object);
            if named.is_empty() {
                self.by_policy.remove(&made.policy);
            }
        }
        Some(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(policy: &str, trigger: &str) -> Made {
        Made {
            policy: policy.into(),
            rule: "r".into(),
            trigger: Reference {
                group: "".into(),
                kind: "Namespace".into(),
                namespace: "".into(),
                name: trigger.into(),
            },
            trigger_uid: "u".into(),
            follows: true,
        }
    }

    fn object(name: &str) -> Reference {
        Reference { group: "".into(), kind: "ConfigMap".into(), namespace: "n".into(), name: name.into() }
    }

    #[test]
    fn an_object_tells_where_it_came_from() {
        let long = "x".repeat(80);
        let made = Made { rule: long.as_str().into(), ..made("Policy/team/p", &long) };
        let mut value =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n"}});
        made.write(&mut value, "v1");
        let labels = &value["metadata"]["labels"];
        assert_eq!(
            (&labels[LABEL], &labels["generate.kyverno.io/policy-namespace"]),
            (&json!("p"), &json!("team"))
        );
        assert_eq!(labels["generate.kyverno.io/rule-name"].as_str().unwrap().len(), 63);
        assert_eq!(labels["generate.kyverno.io/trigger-group"], "");
        let metadata: Metadata = serde_json::from_value(value["metadata"].clone()).unwrap();
        assert_eq!(Made::read(&metadata), Some(made));
    }

    #[test]
    fn our_own_changes_are_known_from_those_of_others() {
        let there = Downstreams::default();
        let (p, q) = (made("ClusterPolicy/p", "t"), made("ClusterPolicy/q", "t"));
        assert_eq!(there.saw(&object("a"), p.clone(), "1"), std::slice::from_ref(&p));
        there.wrote(&object("a"), p.clone(), "2".into());
        assert_eq!(there.saw(&object("a"), p.clone(), "2"), []);
        assert_eq!(there.saw(&object("a"), p.clone(), "3"), std::slice::from_ref(&p));
        assert_eq!(there.saw(&object("a"), q.clone(), "2"), [p, q]);
        assert!(there.of_policy("ClusterPolicy/p").is_empty());
        assert_eq!(there.of("ClusterPolicy/q", &made("", "t").trigger).len(), 1);
        assert_eq!(there.missing("", "ConfigMap", &BTreeSet::new()), [object("a")]);
        assert!(there.gone(&object("a")).is_some() && there.gone(&object("a")).is_none());
        assert!(there.triggered_by(&made("", "t").trigger).is_empty() && there.policies().is_empty());
    }
}
