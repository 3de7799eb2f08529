//! Images must be signed: the policy of Kyverno's documents, applied with kubectl, before a real API server.

use super::BAD;
use super::world::{LIMIT, World, pod};
use keyward_testkit::cluster::check;
use keyward_testkit::process::{free_port, wait_for};
use keyward_testkit::require;
use keyward_tests::images::{self, Layout, Registry, Signer};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};

/// As <https://kyverno.io/docs/policy-types/cluster-policy/verify-images/sigstore/> has it, with the key in a Secret.
const SIGNED: &str = r#"
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata:
  name: check-image
spec:
  webhookConfiguration:
    failurePolicy: Fail
    timeoutSeconds: 30
  background: true
  rules:
    - name: check-image
      match:
        any:
          - resources:
              kinds:
                - Pod
      verifyImages:
        - imageReferences:
            - '127.0.0.1:*'
          failureAction: Enforce
          attestors:
            - count: 1
              entries:
                - keys:
                    secret:
                      name: signers
                      namespace: keyward
                    rekor:
                      ignoreTlog: true
                    ctlog:
                      ignoreSCT: true
"#;

#[test]
fn pods_of_unsigned_images_are_refused() {
    if !require(check(false)) || !require(images::check()) {
        return;
    }
    let world = World::start("test-policy-images");
    let command = |program: &std::path::Path| world.cluster.command_in_namespace(program);
    let port = world.cluster.in_namespace(free_port).unwrap().unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut registry = Registry::start(|program| command(program.as_ref()), address, "");
    let signer = Signer::new();
    let digest = world
        .cluster
        .in_namespace(|| {
            registry.wait();
            registry.push("app", "unsigned", "unsigned");
            registry.push("app", "v1", "signed")
        })
        .unwrap();
    signer.sign(command, &format!("{address}/app@{digest}"), Layout::Bundles, &[], None);
    let key = format!("--from-literal=cosign.pub={}", signer.public_key());
    world.kubectl(&["create", "secret", "generic", "signers", "--namespace=keyward", &key], "").unwrap();
    let mut served = world.serve("images", &["--scan-every", "1s"]);
    world.apply(SIGNED).unwrap();

    let unsigned = pod("unsigned", "default", &format!("{address}/app:unsigned"), false);
    let refused = world.wait_for_refusal(&unsigned, BAD);
    // However YAML quotes it.
    let why = format!(
        "check-image: failed to verify image {address}/app:unsigned: .attestors[0].entries[0].keys: no signatures found"
    );
    assert!(refused.replace(['\'', '"'], "").contains(&why), "{refused}");
    world.apply(&pod("signed", "default", &format!("{address}/app:v1"), false)).unwrap();
    let signed = world.json(&["get", "pod", "signed"]);
    let image = format!("{address}/app:v1@{digest}");
    assert_eq!(signed["spec"]["containers"][0]["image"], json!(image));
    let noted = signed["metadata"]["annotations"]["kyverno.io/verify-images"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(noted).unwrap(), json!({image: "pass"}));
    // What makes pods is held to the same.
    let template: Value = serde_json::from_str(&unsigned).unwrap();
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "unsigned"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": template["spec"]}}});
    assert!(world.refusal(&deployment.to_string()).contains("autogen-check-image"));
    reported(&world);

    registry.stop();
    // A pod that was verified may be changed, and others are as before.
    world.kubectl(&["label", "pod", "signed", "team=a"], "").unwrap();
    world.kubectl(&["create", "configmap", "other"], "").unwrap();
    let late = world.refusal(&pod("late", "default", &format!("{address}/app:never"), false));
    assert!(late.contains(BAD) && late.contains(&format!("{address}: ")), "{late}");
    assert!(served.exited().unwrap().is_none(), "{}", served.output().unwrap());
}

/// The scan finds the pod that was verified.
fn reported(world: &World) {
    let mut seen = Value::Null;
    wait_for("the report", LIMIT, || {
        seen = world.json(&["get", "policyreports", "--namespace=default"]);
        let mut results = seen["items"]
            .as_array()?
            .iter()
            .flat_map(|report| report["results"].as_array().into_iter().flatten());
        results.any(|one| one["policy"] == "check-image" && one["result"] == "pass").then_some(())
    })
    .unwrap_or_else(|why| panic!("{why}: {seen}"));
}
