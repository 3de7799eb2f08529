//! How a node is, as its Node object says.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of the names of problems that are told, and of those of taints, in JSON.
const MOST_NAMES: usize = 4 << 10;
/// Bytes of the labels that are told, in JSON: of some 250, as nodes have them whose features are labelled.
const MOST_LABELS: usize = 16 << 10;
/// Bytes of the longest version.
const LONGEST_VERSION: usize = 128;

/// A condition that says something good though its name does not end in `Ready`: k3s and RKE2 have it on each server.
const GOOD: &str = "EtcdIsVoter";

/// What a Node object says of its node, but for what changes with every heartbeat. Its names are those that conditions have.
///
/// What is too much to be told is left out as a whole, never in part: who asks whether something is not among it is not to be told
/// that it is not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeState {
    /// Its kubelet says that it takes pods, and is heard of: the condition `Ready` is True.
    pub ready: bool,
    /// Pods may be scheduled to it: it is not cordoned.
    pub schedulable: bool,
    /// Conditions that tell of something bad: those that are True, and of those whose name ends in `Ready` but for `Ready` itself
    /// those that are False.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problems: Option<BTreeSet<String>>,
    /// The keys of its taints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taints: Option<BTreeSet<String>>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// What its kubelet says that runs there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubelet_version: Option<String>,
    /// As above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_runtime_version: Option<String>,
    /// As above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_version: Option<String>,
    /// As above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_image: Option<String>,
    /// As above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
}

impl NodeState {
    /// Of a Node object.
    pub fn of(node: &Value) -> NodeState {
        let (spec, status) = (&node["spec"], &node["status"]);
        let conditions = || status["conditions"].as_array().into_iter().flatten();
        let is = |condition: &Value, wanted: &str| condition["status"] == wanted;
        let problems = conditions().filter_map(|condition| {
            let name = condition["type"].as_str().filter(|name| !matches!(*name, "Ready" | GOOD))?;
            let bad = if name.ends_with("Ready") { "False" } else { "True" };
            is(condition, bad).then_some(name)
        });
        let taints = spec["taints"].as_array().into_iter().flatten();
        let version = |name: &str| {
            let version = status["nodeInfo"][name].as_str();
            version
                .filter(|version| !version.is_empty() && version.len() <= LONGEST_VERSION)
                .map(str::to_owned)
        };
        NodeState {
            ready: conditions().any(|condition| condition["type"] == "Ready" && is(condition, "True")),
            schedulable: spec["unschedulable"] != true,
            problems: names(problems),
            taints: names(taints.filter_map(|taint| taint["key"].as_str())),
            labels: labels(&node["metadata"]["labels"]),
            kubelet_version: version("kubeletVersion"),
            container_runtime_version: version("containerRuntimeVersion"),
            kernel_version: version("kernelVersion"),
            os_image: version("osImage"),
            architecture: version("architecture"),
        }
    }

    /// Whether it is ready and nothing bad is told of it.
    pub fn healthy(&self) -> bool {
        self.ready && self.problems.as_ref().is_some_and(BTreeSet::is_empty)
    }
}

fn names<'n>(names: impl Iterator<Item = &'n str>) -> Option<BTreeSet<String>> {
    fitting(names.map(str::to_owned).collect(), MOST_NAMES)
}

fn labels(labels: &Value) -> Option<BTreeMap<String, String>> {
    let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    fitting(labels.as_object().into_iter().flatten().filter_map(text).collect(), MOST_LABELS)
}

/// All of it; none where it is too much.
fn fitting<T: Serialize>(told: T, most: usize) -> Option<T> {
    serde_json::to_vec(&told).is_ok_and(|text| text.len() <= most).then_some(told)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    fn condition(name: &str, status: &str) -> Value {
        json!({"type": name, "status": status, "lastHeartbeatTime": "2026-01-01T00:00:00Z"})
    }

    fn with(conditions: &[(&str, &str)]) -> NodeState {
        let conditions: Vec<Value> =
            conditions.iter().map(|(name, status)| condition(name, status)).collect();
        NodeState::of(&json!({"status": {"conditions": conditions}}))
    }

    fn told(names: &[&str]) -> Option<BTreeSet<String>> {
        Some(names.iter().map(|name| (*name).to_owned()).collect())
    }

    /// As large as one may be, and a little less.
    pub(crate) fn largest() -> NodeState {
        let version = || Some("\u{1}".repeat(LONGEST_VERSION));
        NodeState {
            problems: Some(["\u{1}".repeat(MOST_NAMES / 6 - 1)].into()),
            taints: Some((0..MOST_NAMES / 64 - 1).map(|n| format!("{n:061}")).collect()),
            labels: Some((0..MOST_LABELS / 16 - 1).map(|n| (format!("{n:010}"), String::new())).collect()),
            kubelet_version: version(),
            container_runtime_version: version(),
            kernel_version: version(),
            os_image: version(),
            architecture: version(),
            ..NodeState::default()
        }
    }

    #[test]
    fn a_node_is_as_its_conditions_say() {
        let good = [("MemoryPressure", "False"), ("DiskPressure", "False"), ("Ready", "True")];
        assert!(with(&good).healthy());
        for (more, ready, problems) in [
            (("DiskPressure", "True"), true, told(&["DiskPressure"])),
            (("KernelDeadlock", "True"), true, told(&["KernelDeadlock"])),
            (("KernelReady", "False"), true, told(&["KernelReady"])),
            (("KernelReady", "True"), true, told(&[])),
            (("KernelReady", "Unknown"), true, told(&[])),
            (("EtcdIsVoter", "True"), true, told(&[])),
            (("NetworkUnavailable", "Unknown"), true, told(&[])),
        ] {
            let state = with(&[good.as_slice(), &[more]].concat());
            let healthy = problems == told(&[]);
            assert_eq!(
                (state.ready, &state.problems, state.healthy()),
                (ready, &problems, healthy),
                "{more:?}"
            );
        }
        // The node controller says Unknown of a node whose kubelet is silent.
        for conditions in [
            &[("Ready", "Unknown"), ("DiskPressure", "Unknown")][..],
            &[("Ready", "False")],
            &[("ready", "True")],
        ] {
            assert!(!with(conditions).ready && !with(conditions).healthy(), "{conditions:?}");
        }
        assert!(!NodeState::of(&json!({})).healthy());
        assert!(!NodeState::of(&json!({"status": {"conditions": [1, {"type": 2}]}})).healthy());
    }

    #[test]
    fn what_is_told_of_a_node_does_not_change_with_a_heartbeat() {
        let node = |at: &str| {
            json!({
                "metadata": {"labels": {"pool": "a", "node-restriction.kubernetes.io/tier": "prod"},
                    "annotations": {"heard": at}, "resourceVersion": at},
                "spec": {"unschedulable": true, "taints": [{"key": "quarantine", "effect": "NoExecute"}]},
                "status": {
                    "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": at, "message": at}],
                    "images": [{"names": [at]}], "allocatable": {"memory": at},
                    "nodeInfo": {"kubeletVersion": "v1.34.1", "containerRuntimeVersion": "containerd://2.1.4",
                        "kernelVersion": "6.12.0", "osImage": "Debian GNU/Linux 13", "architecture": "arm64",
                        "bootID": at},
                },
            })
        };
        let state = NodeState::of(&node("a"));
        assert_eq!(state, NodeState::of(&node("b")));
        assert!(state.ready && !state.schedulable);
        assert_eq!(state.taints, told(&["quarantine"]));
        assert_eq!(state.labels.as_ref().unwrap()["node-restriction.kubernetes.io/tier"], "prod");
        let versions = [&state.kubelet_version, &state.kernel_version, &state.architecture];
        assert_eq!(versions.map(|version| version.as_deref().unwrap()), ["v1.34.1", "6.12.0", "arm64"]);
    }

    #[test]
    fn what_is_too_much_is_not_told_in_part() {
        let taints: Vec<Value> = (0..200).map(|n| json!({"key": format!("{n:063}")})).collect();
        let labels: BTreeMap<String, String> =
            (0..400).map(|n| (format!("{n:063}"), String::new())).collect();
        let long = "x".repeat(5000);
        let node = json!({
            "metadata": {"labels": labels}, "spec": {"taints": taints},
            "status": {"conditions": [condition("Ready", "True"), condition(&long, "True")],
                "nodeInfo": {"kubeletVersion": long}},
        });
        let state = NodeState::of(&node);
        assert_eq!(
            (&state.labels, &state.taints, &state.problems, &state.kubelet_version),
            (&None, &None, &None, &None)
        );
        assert!(state.ready && !state.healthy());
    }

    #[test]
    fn the_largest_is_told() {
        let state = largest();
        assert_eq!(fitting(state.problems.clone(), MOST_NAMES), Some(state.problems));
        assert_eq!(fitting(state.taints.clone(), MOST_NAMES), Some(state.taints));
        assert_eq!(fitting(state.labels.clone(), MOST_LABELS), Some(state.labels));
    }
}
