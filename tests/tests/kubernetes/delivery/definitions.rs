//! What the custom resource definitions refuse, each rule by a case of its own, and what they take.

use super::world::World;
use serde_json::{Value, json};

const FILE: &str = "-----BEGIN AGE ENCRYPTED FILE-----\nAAAA\n-----END AGE ENCRYPTED FILE-----\n";

fn sealed() -> Value {
    json!({
        "apiVersion": "keyward.io/v1alpha1", "kind": "SealedSecret", "metadata": {"name": "ruled", "namespace": "default"},
        "spec": {
            "bounds": {
                "clusters": ["prod"], "scope": "strict", "type": "Opaque", "phase": "steady",
                "notBefore": "2027-01-01T00:00:00Z", "notAfter": "2028-01-01T00:00:00Z",
                "subjects": [{"kind": "ServiceAccount", "namespace": "default", "name": "web"}],
                "namespaceSelector": {
                    "matchLabels": {"env": "prod"},
                    "matchExpressions": [{"key": "tier", "operator": "In", "values": ["gold"]}],
                },
                "conditions": ["posture.compliant"],
                "images": [format!("sha256:{}", "a".repeat(64))],
            },
            "version": 2,
            "items": {"password": {"version": 1, "seal": "c2VhbA", "data": FILE}},
            "recipients": ["id"],
        },
    })
}

/// Where something is changed, what it becomes, and what is said of it.
fn wrong() -> Vec<(&'static str, Value, &'static str)> {
    let share = json!({"group": "ops", "recipients": ["id"], "data": FILE});
    let threshold = |required: u8| json!({"required": required, "recipient": "r", "shares": [share, share]});
    vec![
        ("/spec/bounds/clusters", json!([]), "spec.bounds.clusters"),
        ("/spec/bounds/clusters/0", json!("Prod"), "spec.bounds.clusters[0]"),
        ("/spec/bounds/scope", json!("wide"), "spec.bounds.scope"),
        ("/spec/bounds/type", json!("two words"), "spec.bounds.type"),
        ("/spec/bounds/phase", json!("later"), "spec.bounds.phase"),
        ("/spec/bounds/notBefore", json!("tomorrow"), "spec.bounds.notBefore"),
        ("/spec/bounds/notAfter", json!("2026-01-01T00:00:00Z"), "notAfter is not after notBefore"),
        ("/spec/bounds/subjects/0/kind", json!("User"), "spec.bounds.subjects[0].kind"),
        ("/spec/bounds/subjects/0/namespace", json!("../default"), "spec.bounds.subjects[0].namespace"),
        ("/spec/bounds/namespaceSelector", json!({}), "spec.bounds.namespaceSelector"),
        (
            "/spec/bounds/namespaceSelector/matchLabels/env",
            json!(1),
            "spec.bounds.namespaceSelector.matchLabels.env",
        ),
        (
            "/spec/bounds/namespaceSelector/matchExpressions/0/operator",
            json!("Exists"),
            "In and NotIn have values",
        ),
        ("/spec/bounds/conditions", json!([""]), "spec.bounds.conditions[0]"),
        ("/spec/bounds/images", json!(["app:latest"]), "spec.bounds.images[0]"),
        ("/spec/version", json!(0), "spec.version"),
        ("/spec/version", json!(1), "a lower version than it had is a rollback"),
        ("/spec/items/password/version", json!(3), "an item is of a later version than the object"),
        ("/spec/items/password/data", json!("plain"), "spec.items.password.data"),
        (
            "/spec/items",
            json!({"..data": {"version": 1, "seal": "s", "data": FILE}}),
            "does not begin with two dots",
        ),
        ("/spec/items", json!({"a/b": {"version": 1, "seal": "s", "data": FILE}}), "a key has letters"),
        ("/spec/recipients", json!([]), "it names either recipients or a threshold"),
        ("/spec/threshold", threshold(2), "it names either recipients or a threshold"),
        ("/spec/threshold", threshold(1), "spec.threshold.required"),
        ("/spec/threshold", threshold(3), "more groups are required than there are"),
        ("/spec/author", json!("ssh-ed25519 AAAA"), "an author and a signature belong together"),
        ("/spec/signature", json!("AAAA"), "an author and a signature belong together"),
        ("/spec/surplus", json!(1), "unknown field"),
    ]
}

/// Sets the member that `pointer` names.
fn changed(pointer: &str, value: Value) -> Value {
    let mut object = sealed();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match object.pointer_mut(parent).unwrap() {
        Value::Array(list) => list[name.parse::<usize>().unwrap()] = value,
        parent => parent[name] = value,
    }
    object
}

pub(super) fn hold(world: &World) {
    world.kubectl(&["apply", "--filename=-"], &sealed().to_string());
    for (pointer, value, said) in wrong() {
        let refused = world.try_apply(&changed(pointer, value).to_string());
        let why = refused.err().unwrap_or_default();
        assert!(why.contains(said), "{pointer}: {why}");
    }
    let mut anybody = changed("/spec/bounds/subjects/0/name", json!("*"));
    for bound in ["namespaceSelector", "images"] {
        anybody["spec"]["bounds"].as_object_mut().unwrap().remove(bound);
    }
    let why = world.try_apply(&anybody.to_string()).unwrap_err();
    assert!(why.contains("a subject is anybody"), "{why}");
    let columns = world.kubectl(&["get", "sealedsecrets.keyward.io", "ruled"], "");
    let columns: Vec<_> = columns.lines().next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(columns, ["NAME", "PHASE", "VERSION", "KEYS", "READY", "AGE"]);
    world.kubectl(&["delete", "sealedsecrets.keyward.io", "ruled"], "");
    zenlocks(world);
}

/// As the examples of zen-lock write one.
fn zenlocks(world: &World) {
    let lock = |data: Value| {
        json!({
            "apiVersion": "security.kube-zen.io/v1alpha1", "kind": "ZenLock",
            "metadata": {"name": "db-credentials", "namespace": "default"},
            "spec": {
                "algorithm": "age", "encryptedData": data,
                "allowedSubjects": [{"kind": "ServiceAccount", "name": "backend-app", "namespace": "default"}],
            },
        })
        .to_string()
    };
    world.kubectl(&["apply", "--filename=-"], &lock(json!({"DB_USER": "YWdl", "DB_PASS": "YWdl"})));
    for (data, said) in [(json!({}), "spec.encryptedData"), (json!({"../x": "YWdl"}), "a key has letters")] {
        let why = world.try_apply(&lock(data)).unwrap_err();
        assert!(why.contains(said), "{why}");
    }
    world.kubectl(&["delete", "zenlocks", "db-credentials"], "");
}
