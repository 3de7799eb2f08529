//! What goes wrong around policies, and what goes on all the same.

use super::world::{LIMIT, World, pod};
use super::{BAD, POLICIES};
use keyward_testkit::cluster::{NODE_ADDRESS, Options, check};
use keyward_testkit::process::{Process, free_port, run, wait_for};
use keyward_testkit::require;
use serde_json::json;
use std::net::TcpListener;
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

const SLOW: &str = r#"
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: slow}
spec:
  validationFailureAction: Enforce
  failurePolicy: Ignore
  webhookTimeoutSeconds: 10
  rules:
  - name: slow
    match: {any: [{resources: {kinds: [ConfigMap]}}]}
    context:
    - name: answer
      apiCall: {method: GET, service: {url: "https://ADDRESS/answer"}}
    validate: {message: "the service says no", deny: {conditions: {all: [{key: "{{answer}}", operator: Equals, value: "no"}]}}}
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
    a_slow_policy_holds_up_no_other(&world);
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

/// What asks a service that never answers waits for it, a bounded number of them, and others are answered meanwhile.
fn a_slow_policy_holds_up_no_other(world: &World) {
    let silent = world.cluster.in_namespace(|| TcpListener::bind((NODE_ADDRESS, 0))).unwrap().unwrap();
    world.apply(&SLOW.replace("ADDRESS", &silent.local_addr().unwrap().to_string())).unwrap();
    let review = |kind: &str, resource: &str, object: serde_json::Value| {
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "u", "operation": "CREATE", "name": "x", "namespace": "default", "userInfo": {"username": "somebody"},
            "kind": {"group": "", "version": "v1", "kind": kind},
            "resource": {"group": "", "version": "v1", "resource": resource}, "object": object}})
        .to_string()
    };
    let folder = world.folder.path();
    let config =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "default"}});
    std::fs::write(folder.join("slow.json"), review("ConfigMap", "configmaps", config)).unwrap();
    let bad = serde_json::from_str(&pod("bad", "default", "app:1", true)).unwrap();
    std::fs::write(folder.join("fast.json"), review("Pod", "pods", bad)).unwrap();
    // The policy is served before it is flooded.
    let slow = || world.post("ignore", "slow.json", 1, Duration::from_secs(3));
    world.wait_until("the slow policy", || slow().1 >= Duration::from_secs(2));

    let flood = std::thread::scope(|scope| {
        let flood = scope.spawn(|| world.post("ignore", "slow.json", 400, Duration::from_secs(10)));
        std::thread::sleep(Duration::from_secs(2));
        for _ in 0..10 {
            let (answers, took) = world.post("fail", "fast.json", 1, Duration::from_secs(10));
            assert!(answers.contains(BAD), "{answers}");
            assert!(took < Duration::from_secs(3), "{took:?}");
        }
        flood.join().unwrap()
    });
    let answered = flood.0.matches("\"allowed\":true").count();
    assert_eq!(
        answered,
        400,
        "a policy that cannot be asked is ignored: {}",
        flood.0.get(..2000).unwrap_or(&flood.0)
    );
    world.kubectl(&["delete", "clusterpolicy", "slow"], "").unwrap();
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

impl World {
    /// Sends a review many times at once, and says what was answered and how long it took.
    fn post(&self, group: &str, file: &str, times: usize, within: Duration) -> (String, Duration) {
        let mut command = self.cluster.command_in_namespace("curl");
        let body = format!("@{}", self.folder.path().join(file).display());
        command.args(["--silent", "--insecure", "--parallel", "--parallel-max", "400", "--data", &body]);
        command.args(["--header", "Content-Type: application/json"]);
        let url = format!("https://{}/validate/{group}?timeout={}s", self.address(), within.as_secs());
        for _ in 0..times {
            command.arg(&url);
        }
        let began = Instant::now();
        let done = run(&mut command, b"", LIMIT).unwrap();
        (String::from_utf8(done.stdout).unwrap(), began.elapsed())
    }
}
