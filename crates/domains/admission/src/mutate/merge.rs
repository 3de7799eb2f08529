//! Strategic merge: mappings are merged, lists by the keys that the Kubernetes API gives them, and replaced where it gives none.

use serde_json::{Map, Value};

/// Where what is new in a list goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Before what is there, as kustomize merges.
    Prepend,
    /// Behind it, as server-side apply does.
    Append,
}

/// The lists of the API's types whose elements have a key, by the name of the field; and below which field, where others have
/// the same name.
const KEYS: [(&str, &str, &[&str]); 27] = [
    ("containers", "", &["name"]),
    ("initContainers", "", &["name"]),
    ("ephemeralContainers", "", &["name"]),
    ("volumes", "", &["name"]),
    ("env", "", &["name"]),
    ("ports", "containers", &["containerPort", "protocol"]),
    ("ports", "initContainers", &["containerPort", "protocol"]),
    ("ports", "ephemeralContainers", &["containerPort", "protocol"]),
    ("ports", "spec", &["port", "protocol"]),
    ("volumeMounts", "", &["mountPath"]),
    ("volumeDevices", "", &["devicePath"]),
    ("imagePullSecrets", "", &["name"]),
    ("hostAliases", "", &["ip"]),
    ("topologySpreadConstraints", "", &["topologyKey"]),
    ("schedulingGates", "", &["name"]),
    ("resourceClaims", "", &["name"]),
    ("claims", "resources", &["name"]),
    ("ownerReferences", "", &["uid"]),
    ("conditions", "status", &["type"]),
    ("addresses", "status", &["type"]),
    ("hostIPs", "status", &["ip"]),
    ("podIPs", "status", &["ip"]),
    ("secrets", "", &["name"]),
    ("webhooks", "", &["name"]),
    ("validations", "", &["expression"]),
    ("matchConditions", "", &["name"]),
    ("variables", "", &["name"]),
];

/// Lists of scalars that are sets.
const SETS: [&str; 2] = ["finalizers", "podCIDRs"];

/// Groups whose types have these keys.
fn built_in(object: &Value) -> bool {
    let version = object["apiVersion"].as_str().unwrap_or_default();
    match version.split_once('/') {
        None => true,
        Some((group, _)) => !group.contains('.') || group.ends_with(".k8s.io") && !group.contains("x-k8s"),
    }
}

/// The object with a patch merged into it.
pub(crate) fn merge(object: &Value, patch: &Value, order: Order) -> Value {
    let merger = Merger { keyed: built_in(object), order };
    merger.value(Some(object), patch, &["", ""]).unwrap_or(Value::Null)
}

struct Merger {
    keyed: bool,
    order: Order,
}

impl Merger {
    /// `path` is the names of the fields above, nearest last. None where the value is to be removed.
    fn value(&self, old: Option<&Value>, patch: &Value, path: &[&str; 2]) -> Option<Value> {
        match patch {
            Value::Null => None,
            Value::Object(map) => match map.get("$patch").and_then(Value::as_str) {
                Some("delete") => None,
                Some("replace") => self.mapping(None, map, path),
                _ => self.mapping(old.and_then(Value::as_object), map, path),
            },
            Value::Array(list) => Some(self.list(old.and_then(Value::as_array), list, path)),
            scalar => Some(scalar.clone()),
        }
    }

    fn mapping(
        &self,
        old: Option<&Map<String, Value>>,
        patch: &Map<String, Value>,
        path: &[&str; 2],
    ) -> Option<Value> {
        let mut merged = old.cloned().unwrap_or_default();
        for (key, value) in patch.iter().filter(|(key, _)| *key != "$patch") {
            match self.value(old.and_then(|old| old.get(key)), value, &[path[1], key]) {
                Some(value) => merged.insert(key.clone(), value),
                None => merged.remove(key),
            };
        }
        Some(Value::Object(merged))
    }

    fn list(&self, old: Option<&Vec<Value>>, patch: &[Value], path: &[&str; 2]) -> Value {
        let known = KEYS.iter().filter(|_| self.keyed);
        let keys = known
            .clone()
            .find(|(name, below, _)| *name == path[1] && (below.is_empty() || *below == path[0]));
        let replace = patch.iter().any(|item| item["$patch"] == "replace");
        let old = match old {
            Some(old) if !replace => old,
            _ => {
                return Value::Array(
                    patch.iter().filter_map(|item| self.element(None, item, path)).collect(),
                );
            }
        };
        if let Some((_, _, keys)) = keys {
            return self.by_keys(old, patch, keys, path);
        }
        if self.keyed && SETS.contains(&path[1]) {
            let new = patch.iter().filter(|item| !old.contains(item)).cloned();
            return Value::Array(self.joined(new.collect(), old.clone()));
        }
        Value::Array(patch.iter().filter_map(|item| self.element(None, item, path)).collect())
    }

    fn element(&self, old: Option<&Value>, patch: &Value, path: &[&str; 2]) -> Option<Value> {
        if patch.is_null() { Some(Value::Null) } else { self.value(old, patch, &[path[0], path[1]]) }
    }

    fn joined(&self, new: Vec<Value>, old: Vec<Value>) -> Vec<Value> {
        match self.order {
            Order::Prepend => new.into_iter().chain(old).collect(),
            Order::Append => old.into_iter().chain(new).collect(),
        }
    }

    fn by_keys(&self, old: &[Value], patch: &[Value], keys: &[&str], path: &[&str; 2]) -> Value {
        // Only keys that an element of the patch gives count, but a protocol is TCP where it is not given.
        let same = |one: &Value, other: &Value| {
            keys.iter().enumerate().all(|(index, key)| {
                let (one, other) = (&one[*key], &other[*key]);
                let default = if *key == "protocol" { Value::from("TCP") } else { Value::Null };
                let of = |value: &Value| if value.is_null() { default.clone() } else { value.clone() };
                (index == 0 && !one.is_null() && one == other) || (index > 0 && of(one) == of(other))
            })
        };
        let mut rest: Vec<Option<&Value>> = old.iter().map(Some).collect();
        let (mut new, mut changed) = (Vec::new(), Vec::new());
        for item in patch {
            let place = rest.iter().position(|known| known.is_some_and(|known| same(known, item)));
            match place {
                Some(place) => {
                    let known = rest[place].take();
                    if let Some(value) = self.element(known, item, path) {
                        changed.push((place, value));
                    }
                }
                None => new.extend(self.element(None, item, path)),
            }
        }
        let mut kept: Vec<(usize, Value)> =
            rest.iter().enumerate().filter_map(|(place, known)| Some((place, (*known)?.clone()))).collect();
        kept.extend(changed);
        kept.sort_by_key(|(place, _)| *place);
        Value::Array(self.joined(new, kept.into_iter().map(|(_, value)| value).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_by_key() {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "a", "image": "x"}], "tolerations": [1]}});
        let patch = json!({"spec": {"containers": [{"name": "b"}, {"name": "a", "tty": true, "image": null}], "tolerations": [2]}});
        let expected = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "b"}, {"name": "a", "tty": true}], "tolerations": [2]}});
        assert_eq!(merge(&pod, &patch, Order::Prepend), expected);
        let patch = json!({"spec": {"containers": [{"name": "a", "$patch": "delete"}]}});
        assert_eq!(merge(&pod, &patch, Order::Prepend)["spec"]["containers"], json!([]));
        let patch = json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "c"}]}});
        assert_eq!(merge(&pod, &patch, Order::Prepend)["spec"]["containers"][1], json!({"name": "c"}));
    }
}
