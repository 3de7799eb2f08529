//! What policies make and change because of what a review tells: who asks, what was there before, what is deleted.

use super::world::World;
use serde_json::json;
use std::cell::Cell;
use std::time::Duration;

const TOLD: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: makes-namespaces}
rules:
- {apiGroups: [""], resources: [namespaces], verbs: [create, get]}
- {apiGroups: [""], resources: [configmaps], verbs: [get, update, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: teams}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: makes-namespaces}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: Group, name: teams}
---
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: owners}
spec:
  rules:
  - name: owner
    match: {any: [{resources: {kinds: [Namespace], operations: [CREATE]}, subjects: [{kind: Group, name: teams}]}]}
    generate:
      apiVersion: v1
      kind: ConfigMap
      name: owner
      namespace: "{{request.object.metadata.name}}"
      synchronize: true
      data: {data: {owner: "{{request.userInfo.username}}"}}
---
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: traces}
spec:
  rules:
  - name: deleted
    match: {any: [{resources: {kinds: [ConfigMap], namespaces: [production], names: ["mortal*"], operations: [DELETE]}}]}
    generate:
      apiVersion: v1
      kind: ConfigMap
      name: "was-{{request.oldObject.metadata.name}}"
      namespace: default
      synchronize: true
      data: {data: {value: "{{request.oldObject.data.value}}"}}
  - name: edited
    match: {any: [{resources: {kinds: [ConfigMap], namespaces: [production], names: [edited], operations: [UPDATE]}}]}
    mutate:
      targets: [{apiVersion: v1, kind: ConfigMap, namespace: production, name: editors}]
      patchStrategicMerge:
        data: {last: "{{request.userInfo.username}}", before: "{{request.oldObject.data.value}}"}
"#;

fn config(name: &str, value: &str) -> String {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "production"},
        "data": {"value": value}})
    .to_string()
}

pub(super) fn is_done(world: &World) {
    world.apply(TOLD).unwrap();
    world.wait_until("the webhooks", || {
        world.is_asked("namespaces", "CREATE")
            && world.is_asked("configmaps", "DELETE")
            && world.is_asked("configmaps", "UPDATE")
    });
    knows_who_asks(world);
    sees_what_was_there(world);
    world.kubectl(&["delete", "clusterpolicy", "owners", "traces"], "").unwrap();
    world.wait_until("what was made to go with its policy", || {
        world.find("configmap", "anns", "owner").is_none()
    });
    assert!(world.find("configmap", "default", "was-mortal").is_some(), "it follows nothing");
    world.wait_until("the webhooks to be as before", || !world.is_asked("namespaces", "CREATE"));
}

impl World {
    /// Whether reviews are asked for of an operation on a resource.
    fn is_asked(&self, resource: &str, operation: &str) -> bool {
        let found = self.json(&["get", "validatingwebhookconfiguration", "keyward-policy-validating"]);
        let webhooks = found["webhooks"].as_array().into_iter().flatten();
        webhooks.flat_map(|webhook| webhook["rules"].as_array().into_iter().flatten()).any(|rule| {
            let has = |key: &str, text: &str| rule[key].as_array().unwrap().contains(&json!(text));
            has("resources", resource) && has("operations", operation)
        })
    }
}

fn knows_who_asks(world: &World) {
    let create = |name: &str, more: &[&str]| {
        world.kubectl(&[&["create", "namespace", name], more].concat(), "").unwrap();
    };
    // The webhooks are asked a moment after they are there.
    let number = Cell::new(0);
    world.wait_until("the review to tell who asks", || {
        let name = format!("tried-{}", number.replace(number.get() + 1));
        create(&name, &["--as=ann", "--as-group=teams"]);
        std::thread::sleep(Duration::from_secs(1));
        world.find("configmap", &name, "owner").is_some()
    });
    create("anns", &["--as=ann", "--as-group=teams"]);
    create("admins", &[]);
    world.wait_until("the owner", || {
        world.find("configmap", "anns", "owner").is_some_and(|owner| owner["data"]["owner"] == "ann")
    });
    assert!(world.find("configmap", "admins", "owner").is_none());
}

fn sees_what_was_there(world: &World) {
    for name in ["mortal", "kept", "edited", "editors"] {
        world.apply(&config(name, "one")).unwrap();
    }
    let delete = ["delete", "configmap", "mortal", "--namespace=production"];
    world.kubectl(&[&delete[..], &["--dry-run=server"]].concat(), "").unwrap();
    world.kubectl(&["delete", "configmap", "kept", "--namespace=production"], "").unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert!(world.find("configmap", "default", "was-mortal").is_none(), "it was only tried");
    world.kubectl(&delete, "").unwrap();
    world.wait_until("the trace of what is deleted", || {
        world.find("configmap", "default", "was-mortal").is_some_and(|made| made["data"]["value"] == "one")
    });
    assert!(world.find("configmap", "default", "was-kept").is_none());
    let patch = r#"{"data": {"value": "two"}}"#;
    let patch = ["patch", "configmap", "edited", "--namespace=production", "--type=merge", "--patch", patch];
    world.kubectl(&[&patch[..], &["--as=ann", "--as-group=teams"]].concat(), "").unwrap();
    world.wait_until("the change", || {
        let editors = world.find("configmap", "production", "editors").unwrap();
        editors["data"] == json!({"value": "one", "last": "ann", "before": "one"})
    });
}
