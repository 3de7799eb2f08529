//! What policies make, change and remove, besides answering reviews.

use super::POLICIES;
use super::world::World;
use keyward_testkit::cluster::check;
use keyward_testkit::require;
use serde_json::{Value, json};
use std::time::Duration;

/// What the operator grants besides, as Kyverno's users know it.
const GRANT: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: copies-of-secrets
  labels: {rbac.kyverno.io/aggregate-to-background-controller: "true"}
rules:
- {apiGroups: [""], resources: [secrets], verbs: [create, update, delete]}
"#;

const FOLLOWED: &str = r#"
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: deny-by-default}
spec:
  rules:
  - name: deny
    match: {any: [{resources: {kinds: [Namespace], selector: {matchLabels: {tier: guarded}}}}]}
    generate:
      synchronize: true
      generateExisting: true
      apiVersion: networking.k8s.io/v1
      kind: NetworkPolicy
      name: deny
      namespace: "{{request.object.metadata.name}}"
      data:
        spec: {podSelector: {}, policyTypes: [Ingress]}
"#;

const COPIED: &str = r#"
apiVersion: policies.kyverno.io/v1
kind: GeneratingPolicy
metadata: {name: copies}
spec:
  evaluation: {synchronize: {enabled: true}, generateExisting: {enabled: true}}
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [namespaces]}]
    objectSelector: {matchLabels: {tier: guarded}}
  variables:
  - {name: source, expression: 'resource.Get("v1", "secrets", "default", "registry")'}
  generate:
  - expression: generator.Apply(object.metadata.name, [variables.source])
"#;

const CHANGED: &str = r#"
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: stamp}
spec:
  rules:
  - name: stamp
    match: {any: [{resources: {kinds: [ConfigMap], names: [settings], namespaces: [production]}}]}
    mutate:
      targets: [{apiVersion: v1, kind: ConfigMap, name: "consumer-*", namespace: production}]
      patchStrategicMerge:
        metadata: {annotations: {settings: "{{request.object.data.revision}}"}}
"#;

const REMOVED: &str = r#"
apiVersion: kyverno.io/v2
kind: ClusterCleanupPolicy
metadata: {name: leftovers}
spec:
  match: {any: [{resources: {kinds: [ConfigMap], selector: {matchLabels: {leftover: "yes"}}}}]}
  conditions: {all: [{key: "{{ target.data.keep || 'no' }}", operator: NotEquals, value: "yes"}]}
  schedule: "* * * * *"
---
apiVersion: policies.kyverno.io/v1
kind: NamespacedDeletingPolicy
metadata: {name: old, namespace: production}
spec:
  schedule: "* * * * *"
  matchConstraints: {resourceRules: [{apiGroups: [""], apiVersions: [v1], resources: [configmaps]}]}
  conditions: [{name: old, expression: "object.metadata.name.startsWith('old-')"}]
"#;

/// A policy of a namespace that reaches for others: by what it makes, and by what it copies.
const REACHING: &str = r#"
apiVersion: kyverno.io/v1
kind: Policy
metadata: {name: reaching, namespace: production}
spec:
  rules:
  - name: elsewhere
    match: {any: [{resources: {kinds: [ConfigMap], names: [settings]}}]}
    generate: {apiVersion: v1, kind: ConfigMap, name: reached, namespace: default, data: {data: {a: b}}}
---
apiVersion: kyverno.io/v1
kind: Policy
metadata: {name: copying, namespace: production}
spec:
  rules:
  - name: from-elsewhere
    match: {any: [{resources: {kinds: [ConfigMap], names: [settings]}}]}
    generate: {apiVersion: v1, kind: Secret, name: token, namespace: production, clone: {namespace: default, name: token}}
"#;

fn config(name: &str, namespace: &str, labels: Value, data: Value) -> String {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data,
        "metadata": {"name": name, "namespace": namespace, "labels": labels}})
    .to_string()
}

impl World {
    pub(super) fn find(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let text = self.kubectl(&["get", kind, name, "--namespace", namespace, "--output=json"], "").ok()?;
        serde_json::from_str(&text).ok()
    }

    fn namespace(&self, name: &str, labels: Value) {
        let object =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        self.apply(&object.to_string()).unwrap();
    }

    fn delete(&self, kind: &str, namespace: &str, name: &str) {
        self.kubectl(&["delete", kind, name, "--namespace", namespace], "").unwrap();
    }
}

#[test]
fn policies_make_change_and_remove() {
    if !require(check(false)) {
        return;
    }
    let world = World::start("test-policy-work");
    world.apply(GRANT).unwrap();
    world.namespace("before", json!({"tier": "guarded"}));
    let mut served = world.serve("first", &[]);
    // Objects are stamped with whole seconds: what was made in the same one as a policy counts as new to it.
    std::thread::sleep(Duration::from_secs(2));
    makes_once(&world);
    follows(&world);
    copies(&world);
    changes(&world);
    removes(&world);
    stays_within(&world);
    super::requested::is_done(&world);
    // Nothing is kept in the cluster to remember work.
    let work = world.kubectl(&["get", "updaterequests", "--all-namespaces"], "").unwrap_or_default();
    assert!(!work.contains("ur-"), "{work}");

    served.kill().unwrap();
    world.delete("networkpolicy", "before", "deny");
    world.delete("networkpolicy", "team", "default-deny-ingress");
    world.namespace("meanwhile", json!({"tier": "guarded"}));
    let served = world.serve("second", &[]);
    for namespace in ["before", "meanwhile"] {
        world.wait_until("what was missed", || world.find("networkpolicy", namespace, "deny").is_some());
    }
    world.wait_until("what was missed", || {
        world.find("networkpolicy", "meanwhile", "default-deny-ingress").is_some()
    });
    assert!(world.find("networkpolicy", "team", "default-deny-ingress").is_none());
    world.wait_until("all to be done", || {
        let page = world.metrics();
        page.contains("keyward_policy_queue_waiting 0\n") && page.contains("keyward_policy_queue_failing 0\n")
    });
    drop(served);
}

/// The document's policy, as written: each new namespace gets its NetworkPolicy, once.
fn makes_once(world: &World) {
    world.apply(POLICIES).unwrap();
    world.wait_until("the policies to be read", || {
        let policy = world.json(&["get", "clusterpolicy", "generate-network-policy"]);
        policy["status"]["ready"] == true
    });
    world.namespace("team", json!({}));
    world.wait_until("the NetworkPolicy", || {
        world.find("networkpolicy", "team", "default-deny-ingress").is_some()
    });
    let made = world.find("networkpolicy", "team", "default-deny-ingress").unwrap();
    assert_eq!(made["spec"], json!({"podSelector": {}, "policyTypes": ["Ingress"]}));
    let labels = &made["metadata"]["labels"];
    assert_eq!(labels["generate.kyverno.io/policy-name"], "generate-network-policy");
    assert_eq!(labels["generate.kyverno.io/rule-name"], "default-deny-ingress");
    assert_eq!(labels["generate.kyverno.io/trigger-kind"], "Namespace");
    assert!(world.find("networkpolicy", "before", "default-deny-ingress").is_none());
    world.delete("networkpolicy", "team", "default-deny-ingress");
    std::thread::sleep(Duration::from_secs(3));
    assert!(world.find("networkpolicy", "team", "default-deny-ingress").is_none(), "it does not follow");
    // With synchronize it is restored.
    world
        .apply(&POLICIES.replace("      generate:\n", "      generate:\n        synchronize: true\n"))
        .unwrap();
    world.namespace("team", json!({"touched": "yes"}));
    world.wait_until("the NetworkPolicy", || {
        world.find("networkpolicy", "team", "default-deny-ingress").is_some()
    });
    world.delete("networkpolicy", "team", "default-deny-ingress");
    world.wait_until("it to be restored", || {
        world.find("networkpolicy", "team", "default-deny-ingress").is_some()
    });
    world.apply(POLICIES).unwrap();
}

fn follows(world: &World) {
    world.apply(FOLLOWED).unwrap();
    world.namespace("guarded", json!({"tier": "guarded"}));
    for namespace in ["before", "guarded"] {
        world.wait_until("the NetworkPolicy", || world.find("networkpolicy", namespace, "deny").is_some());
    }
    let allow = r#"{"metadata": {"labels": {"theirs": "1"}}, "spec": {"ingress": [{}]}}"#;
    world
        .kubectl(
            &["patch", "networkpolicy", "deny", "--namespace=guarded", "--type=merge", "--patch", allow],
            "",
        )
        .unwrap();
    world.wait_until("it to be put back", || {
        world.find("networkpolicy", "guarded", "deny").is_some_and(|made| made["spec"]["ingress"].is_null())
    });
    assert_eq!(world.find("networkpolicy", "guarded", "deny").unwrap()["metadata"]["labels"]["theirs"], "1");
    world.apply(&FOLLOWED.replace("policyTypes: [Ingress]", "policyTypes: [Ingress, Egress]")).unwrap();
    world.wait_until("it to follow the policy", || {
        world
            .find("networkpolicy", "before", "deny")
            .is_some_and(|made| made["spec"]["policyTypes"][1] == "Egress")
    });
    world.namespace("guarded", json!({"tier": "open"}));
    world.wait_until("it to go with what it was for", || {
        world.find("networkpolicy", "guarded", "deny").is_none()
    });
    world.kubectl(&["delete", "clusterpolicy", "deny-by-default"], "").unwrap();
    world.wait_until("it to go with the policy", || world.find("networkpolicy", "before", "deny").is_none());
    world.apply(FOLLOWED).unwrap();
    world.wait_until("the NetworkPolicy", || world.find("networkpolicy", "before", "deny").is_some());
}

fn copies(world: &World) {
    let source = |value: &str| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "registry", "namespace": "default"},
            "stringData": {"token": value}})
        .to_string()
    };
    let token = |namespace: &str| Some(world.find("secret", namespace, "registry")?["data"]["token"].clone());
    world.apply(&source("one")).unwrap();
    world.apply(COPIED).unwrap();
    world.wait_until("the copy", || token("before") == Some(json!("b25l")));
    world.apply(&source("two")).unwrap();
    world.wait_until("the copy to follow", || token("before") == Some(json!("dHdv")));
    world.delete("secret", "before", "registry");
    world.wait_until("the copy to be made again", || token("before") == Some(json!("dHdv")));
    world.delete("secret", "default", "registry");
    world.wait_until("the copy to go with its source", || token("before").is_none());
    world.kubectl(&["delete", "generatingpolicy", "copies"], "").unwrap();
}

fn changes(world: &World) {
    for name in ["consumer-a", "consumer-b", "other"] {
        world.apply(&config(name, "production", json!({}), json!({}))).unwrap();
    }
    world.apply(CHANGED).unwrap();
    world.wait_until("the policy to be read", || {
        world.json(&["get", "clusterpolicy", "stamp"])["status"]["ready"] == true
    });
    for revision in ["1", "2"] {
        world.apply(&config("settings", "production", json!({}), json!({"revision": revision}))).unwrap();
        for name in ["consumer-a", "consumer-b"] {
            world.wait_until("the change", || {
                let there = world.find("configmap", "production", name).unwrap();
                there["metadata"]["annotations"]["settings"] == revision
            });
        }
    }
    assert!(
        world.find("configmap", "production", "other").unwrap()["metadata"]["annotations"]["settings"]
            .is_null()
    );
}

fn removes(world: &World) {
    world.apply(&config("over", "production", json!({"leftover": "yes"}), json!({}))).unwrap();
    world.apply(&config("kept", "production", json!({"leftover": "yes"}), json!({"keep": "yes"}))).unwrap();
    world.apply(&config("old-one", "production", json!({}), json!({}))).unwrap();
    world.apply(&config("old-one", "default", json!({}), json!({}))).unwrap();
    world.apply(&config("short", "default", json!({"cleanup.kyverno.io/ttl": "3s"}), json!({}))).unwrap();
    world.apply(&config("long", "default", json!({"cleanup.kyverno.io/ttl": "1d"}), json!({}))).unwrap();
    world.apply(REMOVED).unwrap();
    world.wait_until("the label's time", || world.find("configmap", "default", "short").is_none());
    world.wait_until("the schedule", || {
        world.find("configmap", "production", "over").is_none()
            && world.find("configmap", "production", "old-one").is_none()
    });
    for (namespace, name) in [("production", "kept"), ("default", "old-one"), ("default", "long")] {
        assert!(world.find("configmap", namespace, name).is_some(), "{namespace}/{name}");
    }
    let policy = world.json(&["get", "clustercleanuppolicy", "leftovers"]);
    assert!(policy["status"]["lastExecutionTime"].is_string(), "{policy}");
    world.wait_until("the Event", || {
        world
            .json(&["get", "events"])
            .to_string()
            .contains("deleted the target resource ConfigMap/production/over")
    });
    let wrong = REMOVED.split("---").next().unwrap().replace("* * * * *", "* * 31 2 *");
    let refused = world.apply(&wrong).unwrap_err();
    assert!(refused.contains("never comes"), "{refused}");
}

/// A policy of a namespace has no power beyond it, and says so where it tries.
fn stays_within(world: &World) {
    let token =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token", "namespace": "default"}});
    world.apply(&token.to_string()).unwrap();
    world.apply(REACHING).unwrap();
    world.wait_until("the policies to be read", || {
        let policies = world.json(&["get", "policies.kyverno.io", "--namespace=production"]);
        policies["items"].as_array().unwrap().iter().all(|policy| policy["status"]["ready"] == true)
    });
    world.apply(&config("settings", "production", json!({}), json!({"revision": "3"}))).unwrap();
    world.wait_until("what is stuck to be counted", || {
        world.metrics().contains("keyward_policy_queue_stuck 2\n")
    });
    let events = world.json(&["get", "events", "--namespace=production"]).to_string();
    assert!(events.contains("PolicyError"), "{events}");
    assert!(events.contains("a policy of a namespace makes nothing elsewhere"), "{events}");
    assert!(events.contains("may look only there"), "{events}");
    assert!(world.find("configmap", "default", "reached").is_none());
    assert!(world.find("secret", "production", "token").is_none());
    world.kubectl(&["delete", "policies.kyverno.io", "--all", "--namespace=production"], "").unwrap();
}
