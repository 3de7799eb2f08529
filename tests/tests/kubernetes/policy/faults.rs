//! What goes wrong around policies, and what goes on all the same.

use super::world::{LIMIT, World, pod};
use super::{BAD, POLICIES, flood};
use keyward_testkit::cluster::{NODE_ADDRESS, Options, check};
use keyward_testkit::process::{Process, free_port, wait_for};
use keyward_testkit::require;
use serde_json::json;
use std::time::{Duration, Instant};

/// Refuses everything, everywhere.
const EVERYTHING: &str = r#"
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: nothing-at-all}
spec:
  validationFailureAction: Enforce
  rules:
  - name: nothing
    match: {any: [{resources: {kinds: ["*"], operations: [CREATE, UPDATE, DELETE]}}]}
    validate: {message: "nothing is allowed", deny: {}}
"#;

#[test]
fn policies_go_on_through_faults() {
    if !require(check(false)) {
        return;
    }
    let world = World::start("test-policy-faults");
    world.apply(POLICIES).unwrap();
    let mut served = world.serve("first", &["--scan-every", "1s"]);
    world.wait_for_refusal(&pod("bad", "default", "app:1", true), BAD);
    a_definition_goes(&world);
    flood::slow_policies_hold_up_no_other(&world, &served);
    flood::busy_policies_hold_up_no_other(&world, &served);
    restarts_within_a_scan(&world, &mut served);
    a_policy_of_everything(&world);
    assert!(served.exited().unwrap().is_some(), "it was killed");
}

/// Without the definition of one kind of policies the others are enforced, and it may come back.
fn a_definition_goes(world: &World) {
    world.kubectl(&["delete", "crd", "validatingpolicies.policies.kyverno.io"], "").unwrap();
    world.wait_for_refusal(&pod("bad", "default", "app:1", true), BAD);
    world.define();
    world.wait_until("policies of the kind", || world.apply(super::IN_CEL).is_ok());
    world.wait_for_refusal(&pod("bad", "default", "app:latest", false), "an image has a version");
}

fn restarts_within_a_scan(world: &World, served: &mut Process) {
    let many: Vec<String> = (0..300)
        .map(|number| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("c{number}"), "namespace": "production"}})
                .to_string()
        })
        .collect();
    world
        .apply(&format!(r#"{{"apiVersion": "v1", "kind": "List", "items": [{}]}}"#, many.join(",")))
        .unwrap();
    world.apply(super::AUDITED).unwrap();
    world.wait_until("a report", || {
        world.json(&["get", "policyreports", "--namespace=production"])["items"][0].is_object()
    });
    served.kill().unwrap();
    let next = world.serve("second", &[]);
    world.wait_until("the whole report", || {
        let report = world.json(&["get", "policyreport", "polr-ns-production", "--namespace=production"]);
        report["summary"]["fail"] == 300
    });
    world.kubectl(&["delete", "clusterpolicy", "require-team"], "").unwrap();
    drop(next);
}

/// A policy that is for everything is not for what serves it, nor for its own removal.
fn a_policy_of_everything(world: &World) {
    let mut served = world.serve("third", &[]);
    world.apply(EVERYTHING).unwrap();
    let config = |namespace: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": namespace}})
            .to_string()
    };
    world.wait_for_refusal(&config("default"), "nothing is allowed");
    for namespace in ["keyward", "kube-system"] {
        world.kubectl(&["create", "--dry-run=server", "--filename=-"], &config(namespace)).unwrap();
    }
    served.kill().unwrap();
    let served = world.serve("fourth", &[]);
    world.wait_for_refusal(&config("default"), "nothing is allowed");
    world.kubectl(&["delete", "clusterpolicy", "nothing-at-all"], "").unwrap();
    world.wait_until("it to be allowed", || {
        world.kubectl(&["create", "--dry-run=server", "--filename=-"], &config("default")).is_ok()
    });
    drop(served);
}

/// Two replicas behind one Service: the one that is killed leads.
#[test]
fn a_replica_that_is_killed_leaves_its_work_to_the_other() {
    if !require(check(false)) {
        return;
    }
    let options = Options::named("test-policy-replicas").api_server_flag("--enable-aggregator-routing=true");
    let world = World::start_with(options);
    let ports = [(); 2].map(|()| world.cluster.in_namespace(free_port).unwrap().unwrap());
    world.kubectl(&["delete", "service", "keyward-policy", "--namespace=keyward"], "").unwrap();
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "keyward-policy", "namespace": "keyward"},
        "spec": {"ports": [{"name": "webhook", "port": 443}]}});
    world.apply(&service.to_string()).unwrap();
    // What a node does for pods that are ready.
    let ready = |ports: &[u16]| {
        let subsets: Vec<_> = ports
            .iter()
            .map(|port| json!({"addresses": [{"ip": NODE_ADDRESS}], "ports": [{"name": "webhook", "port": port}]}))
            .collect();
        let endpoints = json!({"apiVersion": "v1", "kind": "Endpoints", "subsets": subsets,
            "metadata": {"name": "keyward-policy", "namespace": "keyward"}});
        world.apply(&endpoints.to_string()).unwrap();
    };
    world.apply(POLICIES).unwrap();
    let mut first = world.serve_service(ports[0], "first");
    ready(&ports[..1]);
    world.wait_for_refusal(&pod("bad", "default", "app:1", true), BAD);
    let second = world.serve_service(ports[1], "second");
    ready(&ports);
    for _ in 0..10 {
        let refused = world.refusal(&pod("bad", "default", "app:1", true));
        assert!(refused.contains(BAD), "{refused}");
    }
    world.kubectl(&["create", "namespace", "one"], "").unwrap();
    let made = |namespace: &str| {
        world.kubectl(&["get", "networkpolicy", "default-deny-ingress", "--namespace", namespace], "").is_ok()
    };
    world.wait_until("the NetworkPolicy", || made("one"));

    first.kill().unwrap();
    ready(&ports[1..]);
    let began = Instant::now();
    world.kubectl(&["create", "namespace", "two"], "").unwrap();
    wait_for("a refusal by the other", Duration::from_secs(20), || {
        let tried = world
            .kubectl(&["create", "--dry-run=server", "--filename=-"], &pod("bad", "default", "app:1", true));
        assert!(tried.is_err(), "nothing bad is let through: {tried:?}");
        tried.unwrap_err().contains(BAD).then_some(())
    })
    .unwrap();
    wait_for("the other to take over the queue", LIMIT, || made("two").then_some(()))
        .unwrap_or_else(|why| panic!("{why}: {}", second.output().unwrap()));
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    drop(second);
}
