//! Admission policies on a real API server: the policies of the documents, applied with kubectl as written.

mod authorizer;
mod background;
mod faults;
mod flood;
mod images;
mod lookups;
mod requested;
mod world;

use keyward_testkit::cluster::check;
use keyward_testkit::process::{run, wait_for};
use keyward_testkit::require;
use keyward_tests::binary::keyward;
use serde_json::{Value, json};
use std::fs;
pub(crate) use world::World;
use world::{LIMIT, pod};

/// A policy that refuses, one that changes and one that makes: as the document on zero trust has them.
const POLICIES: &str = r#"
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata:
  name: require-non-root
spec:
  validationFailureAction: Enforce # Block deployment if violated
  rules:
    - name: check-containers-non-root
      match:
        any:
          - resources:
              kinds:
                - Pod
      validate:
        message: "Containers must not run as root"
        pattern:
          spec:
            containers:
              - securityContext:
                  runAsNonRoot: true
---
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata:
  name: add-security-context
spec:
  rules:
    - name: add-safe-security-context
      match:
        any:
          - resources:
              kinds:
                - Pod
      mutate:
        patchStrategicMerge:
          spec:
            securityContext:
              runAsNonRoot: true
              runAsUser: 1000
              fsGroup: 2000
              seccompProfile:
                type: RuntimeDefault
---
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata:
  name: generate-network-policy
spec:
  rules:
    - name: default-deny-ingress
      match:
        any:
          - resources:
              kinds:
                - Namespace
      generate:
        kind: NetworkPolicy
        name: default-deny-ingress
        namespace: "{{request.object.metadata.name}}"
        data:
          spec:
            podSelector: {}
            policyTypes:
              - Ingress
"#;

const AUDITED: &str = r#"
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata:
  name: require-team
  annotations: {policies.kyverno.io/category: Governance, policies.kyverno.io/severity: low}
spec:
  validationFailureAction: Audit
  emitWarning: true
  rules:
    - name: has-a-team
      match: {any: [{resources: {kinds: [ConfigMap]}}]}
      exclude: {any: [{resources: {names: [kube-root-ca.crt]}}]}
      validate:
        message: "The label team is required"
        pattern: {metadata: {labels: {team: "?*"}}}
"#;

const IN_CEL: &str = r#"
apiVersion: policies.kyverno.io/v1
kind: ValidatingPolicy
metadata: {name: no-latest}
spec:
  matchConstraints:
    resourceRules:
      - {apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [pods]}
  validations:
    - expression: "object.spec.containers.all(c, !c.image.endsWith(':latest'))"
      message: "an image has a version"
"#;

const BAD: &str = "blocked due to the following policies";

#[test]
fn policies_are_enforced_reported_and_hold_nothing_up_when_nobody_answers() {
    if !require(check(false)) {
        return;
    }
    let world = World::start("test-policy");
    let mut served = world.serve("first", &["--tls-life", "20s"]);
    let before = world.shown(world.folder.path());
    enforces(&world);
    checks_policies(&world);
    authorizer::is_asked(&world);
    reports(&world);
    assert!(before.contains("BEGIN CERTIFICATE"), "{before}");
    let renewed = || {
        let shown = world.shown(world.folder.path());
        (shown.contains("BEGIN CERTIFICATE") && shown != before).then_some(())
    };
    wait_for("another certificate", LIMIT, renewed).unwrap();
    shows_compliance(&world);
    assert!(world.refusal(&pod("bad", "default", "app:1", true)).contains(BAD));

    served.kill().unwrap();
    let held = world.refusal(&pod("bad", "default", "app:1", true));
    assert!(held.contains("failed calling webhook"), "{held}");
    world.apply(&pod("system", "kube-system", "app:1", true)).unwrap();
    world.kubectl(&["create", "namespace", "other"], "").unwrap();

    let mut served = world.serve("second", &[]);
    world.wait_for_refusal(&pod("bad", "default", "app:1", true), BAD);
    world.wait_until("what was seen before", || world.page("/compliance").contains("require-team"));
    // Whoever was killed is taken for dead by then.
    wait_for("the dead to be buried", LIMIT, || {
        let leases = world.json(&["get", "leases", "--namespace=keyward"]);
        (!leases.to_string().contains("keyward-policy-first")).then_some(())
    })
    .unwrap();
    served.terminate(LIMIT).unwrap();
    let left = world.json(&["get", "validatingwebhookconfigurations,mutatingwebhookconfigurations"]);
    assert_eq!(left["items"], json!([]), "{}", served.output().unwrap());
    world.apply(&pod("unheld", "default", "app:1", true)).unwrap();
}

fn enforces(world: &World) {
    world.apply(POLICIES).unwrap();
    world.apply(IN_CEL).unwrap();
    let refused = world.wait_for_refusal(&pod("bad", "default", "app:1", true), BAD);
    assert!(
        refused.contains("admission webhook \"validate.keyward.svc-fail\" denied the request:"),
        "{refused}"
    );
    assert!(refused.contains("resource Pod/default/bad was blocked"), "{refused}");
    assert!(refused.contains("require-non-root:\n  check-containers-non-root: "), "{refused}");
    assert!(
        refused.contains(
            "validation error: Containers must not run as root. rule check-containers-non-root failed at path"
        ),
        "{refused}"
    );
    let latest =
        world.wait_for_refusal(&pod("bad", "default", "app:latest", false), "an image has a version");
    assert!(latest.contains("Policy no-latest failed"), "{latest}");
    world.apply(&pod("good", "default", "app:1", false)).unwrap();
    let good = world.json(&["get", "pod", "good"]);
    assert_eq!(good["spec"]["securityContext"]["runAsUser"], 1000, "{good}");
    // What makes pods is held to the same.
    let template: Value = serde_json::from_str(&pod("bad", "default", "app:1", true)).unwrap();
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "bad"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": template["spec"]}}});
    let refused = world.refusal(&deployment.to_string());
    assert!(refused.contains("autogen-check-containers-non-root"), "{refused}");
}

fn checks_policies(world: &World) {
    let misspelt = POLICIES.split("---").next().unwrap().replace("pattern:", "patern:");
    let refused = world.apply(&misspelt).unwrap_err();
    assert!(refused.contains("patern") && refused.contains("pattern"), "{refused}");
    wait_for("the policy's status", LIMIT, || {
        let policy = world.json(&["get", "clusterpolicy", "require-non-root"]);
        (policy["status"]["conditions"][0]["status"] == "True").then_some(())
    })
    .unwrap();
}

fn reports(world: &World) {
    world.apply(AUDITED).unwrap();
    let config = |name: &str, labels: Value| {
        json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "production", "labels": labels}})
        .to_string()
    };
    world.apply(&config("untold", json!({}))).unwrap();
    world.apply(&config("told", json!({"team": "a"}))).unwrap();
    let mut seen = Value::Null;
    let report = wait_for("the report", LIMIT, || {
        seen = world.json(&["get", "policyreports", "--namespace=production"]);
        let complete = |report: &&Value| report["summary"]["fail"] == 1 && report["summary"]["pass"] == 1;
        seen["items"].as_array()?.iter().find(complete).cloned()
    })
    .unwrap_or_else(|why| panic!("{why}: {seen}"));
    assert_eq!(report["metadata"]["name"], "polr-ns-production");
    let mut results = report["results"].as_array().unwrap().iter();
    let found = results.find(|found| found["result"] == "fail").unwrap();
    assert_eq!(
        (&found["policy"], &found["rule"], &found["result"]),
        (&json!("require-team"), &json!("has-a-team"), &json!("fail"))
    );
    assert_eq!((&found["resources"][0]["name"], &found["severity"]), (&json!("untold"), &json!("low")));
    applies_to_what_is_there(world);
    lookups::are_answered(world);
    let mut command = world.cluster.kubectl_command();
    command.args(["apply", "--filename=-"]);
    let warned = run(&mut command, config("another", json!({})).as_bytes(), LIMIT).unwrap();
    assert!(warned.stderr.contains("policy require-team.has-a-team: validation error"), "{}", warned.stderr);

    world.apply(&config("untold", json!({"team": "b"}))).unwrap();
    world.kubectl(&["delete", "configmap", "another", "--namespace=production"], "").unwrap();
    wait_for("the report to change", LIMIT, || {
        let report = world.json(&["get", "policyreport", "polr-ns-production", "--namespace=production"]);
        (report["summary"]["fail"] == 0 && report["summary"]["pass"] == 2).then_some(())
    })
    .unwrap();
}

/// `keyward policy apply --cluster`, with the cluster's own policies and with those of a file.
fn applies_to_what_is_there(world: &World) {
    let apply = |more: &[&str]| {
        let mut command = world.cluster.command_in_namespace(keyward());
        command.args(["policy", "apply", "--cluster", "--of-namespace=production", "--output=json"]);
        command.arg("--kubeconfig").arg(world.cluster.kubeconfig()).args(more);
        run(&mut command, b"", LIMIT).unwrap()
    };
    let file = world.folder.path().join("audited.yaml");
    fs::write(&file, AUDITED).unwrap();
    for policies in [&[][..], &[file.to_str().unwrap()]] {
        let applied = apply(policies);
        assert_eq!(applied.status.code(), Some(1), "{}", applied.stderr);
        let report = String::from_utf8(applied.stdout).unwrap();
        assert!(report.contains("require-team") && report.contains("untold"), "{report}");
    }
}

fn shows_compliance(world: &World) {
    world.wait_until("compliance to be shown", || {
        let page = world.page("/compliance");
        page.contains("<td>require-team</td>") && page.contains("<td>production</td>")
    });
    world.wait_until("its history to be kept", || {
        world.kubectl(&["get", "configmap", "keyward-policy-compliance", "--namespace=keyward"], "").is_ok()
    });
}

/// A pod that says no more than its image, a read-only root filesystem, and whether it is privileged.
fn plain_pod(name: &str, privileged: bool) -> String {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "production"},
        "spec": {"automountServiceAccountToken": false, "containers": [{
            "name": "app", "image": "registry.example.com/app:1",
            "securityContext": {"readOnlyRootFilesystem": true, "privileged": privileged}}]},
    })
    .to_string()
}

#[test]
fn the_library_is_taken_as_it_is_and_rolled_out() {
    if !require(check(false)) {
        return;
    }
    let world = World::start("test-library");
    let overlay = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/overlays/production");
    world.kubectl(&["apply", "--server-side", "--kustomize", overlay], "").unwrap();
    let _served = world.serve("library", &[]);
    let refused = world.wait_for_refusal(&plain_pod("bad", true), "Containers must not be privileged: app");
    assert!(refused.contains(BAD), "{refused}");
    world.apply(&plain_pod("good", false)).unwrap();
    let good = world.json(&["get", "pod", "good", "--namespace=production"]);
    let context = |spec: &Value| spec["securityContext"].clone();
    assert_eq!(context(&good["spec"])["runAsNonRoot"], true, "{good}");
    assert_eq!(context(&good["spec"]["containers"][0])["allowPrivilegeEscalation"], false, "{good}");

    let mut command = world.cluster.kubectl_command();
    command.args(["create", "secret", "generic", "plain", "--from-literal=a=b", "--namespace=production"]);
    let warned = run(&mut command, b"", LIMIT).unwrap();
    assert!(warned.stderr.contains("Secrets of type Opaque are not allowed"), "{}", warned.stderr);

    let mut seen = Value::Null;
    let probes = wait_for("the reports", LIMIT, || {
        let mut command = world.cluster.command_in_namespace(keyward());
        command.args(["policy", "rollout", "--on", "2100-01-01", "--output", "json"]);
        let done = run(command.arg("--kubeconfig").arg(world.cluster.kubeconfig()), b"", LIMIT).unwrap();
        seen = serde_json::from_slice(&done.stdout).ok()?;
        let mut plans = seen["policies"].as_array()?.iter();
        let plan = plans.find(|plan| plan["policy"] == "require-probes")?.clone();
        plan["wouldRefuse"].as_array()?.iter().any(|one| one["name"] == "good").then_some(plan)
    })
    .unwrap_or_else(|why| panic!("{why}: {seen}"));
    assert_eq!((&probes["stage"], &probes["namespaces"]), (&json!("due"), &json!(["production"])));
    let mut native = seen["policies"].as_array().unwrap().iter();
    let native = native.find(|plan| plan["kind"] == "ValidatingAdmissionPolicy").unwrap();
    assert_eq!((&native["stage"], &native["results"]), (&json!("due"), &Value::Null));
}
