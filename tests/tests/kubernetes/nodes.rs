//! What a real API server, its node controller and a real policy engine say of the node that a pod runs on decides what the pod is
//! opened. There is no kubelet: what one would say of its node is said here.

use crate::subjects::World;
use keyward_core::Timestamp;
use keyward_testkit::cluster::check;
use keyward_testkit::process::{Process, wait_for};
use keyward_testkit::require;
use keyward_tests::http::Client;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The node controller waits 50 seconds for a kubelet; on a loaded machine longer.
const SILENT: Duration = Duration::from_secs(150);

/// A node, and a pod that is bound to it.
const BOUND: &str = r#"{"apiVersion":"v1","kind":"List","items":[
    {"apiVersion":"v1","kind":"Node","metadata":{"name":"worker-1"}},
    {"apiVersion":"v1","kind":"Pod","metadata":{"name":"good","namespace":"prod","labels":{"team":"a"}},
        "spec":{"serviceAccountName":"api","nodeName":"worker-1","tolerations":[{"operator":"Exists"}],
            "containers":[{"name":"api","image":"api:1"}]}}]}"#;

const OF_NODES: &str = r#"
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: require-pool}
spec:
  validationFailureAction: Enforce
  rules:
    - name: has-a-pool
      match: {any: [{resources: {kinds: [Node]}}]}
      validate:
        message: "The label pool is required"
        pattern: {metadata: {labels: {pool: "?*"}}}
"#;

fn now() -> Timestamp {
    Timestamp::from_secs(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

/// Says what a kubelet says of its node.
fn say(world: &World, disk_pressure: &str) {
    let at = now().to_string();
    let condition =
        |name: &str, status: &str| json!({"type": name, "status": status, "lastHeartbeatTime": at});
    let patch = json!({"status": {
        "conditions": [condition("DiskPressure", disk_pressure), condition("Ready", "True")],
        "nodeInfo": {"kubeletVersion": "v1.34.1", "architecture": "arm64"},
    }});
    let patch = patch.to_string();
    let arguments = ["patch", "node", "worker-1", "--subresource=status", "--type=merge", "--patch", &patch];
    world.setup.world.kubectl(&arguments, "").unwrap();
}

/// Does what a kubelet lives for as long as that takes: renews the node's lease.
fn while_a_kubelet_lives(world: &World, work: impl FnOnce()) {
    struct End<'e>(&'e AtomicBool);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let (ends, policies) = (AtomicBool::new(false), &world.setup.world);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ends.load(Ordering::Relaxed) {
                let renewed = now().to_string().replace('Z', ".000000Z");
                let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                    "metadata": {"name": "worker-1", "namespace": "kube-node-lease"},
                    "spec": {"holderIdentity": "worker-1", "leaseDurationSeconds": 40, "renewTime": renewed}});
                policies.apply(&lease.to_string()).unwrap();
                thread::sleep(Duration::from_secs(2));
            }
        });
        let _ends = End(&ends);
        work();
    });
}

/// The verdict on the node.
fn verdict(world: &World) -> Value {
    let shown = world.setup.posture(&["get", "--node", "worker-1", "--output", "json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap_or_else(|why| panic!("{why}: {shown}"));
    shown["data"].clone()
}

#[test]
fn the_node_of_a_pod_decides_what_it_is_opened() {
    if !require(check(false)) {
        return;
    }
    let world = World::start("test-nodes", BOUND);
    world.seal("healthy", |bounds| bounds.conditions = ["posture.node.healthy".to_owned()].into());
    let judged = "posture.compliant && posture.node.compliant";
    world.seal("judged", |bounds| bounds.conditions = [judged.to_owned()].into());
    let pod = world.pod("good");
    let held = world.setup.there(|| pod.read("auth/token/lookup-self")).expect(200).data();
    assert_eq!(held["meta"]["node_name"], "worker-1", "{held}");
    world.refused(&pod, "healthy", "no verdict on the node is known");

    let engine = world.setup.engine("first");
    world.wait_until(&pod, "judged", 200, &engine);
    world.refused(&pod, "healthy", "the node worker-1 violates no critical policy, and is not ready");
    while_a_kubelet_lives(&world, || {
        say(&world, "False");
        world.wait_until(&pod, "healthy", 200, &engine);
        a_heartbeat_says_nothing(&world);
        pressure_takes_the_secret(&world, &pod, &engine);
        a_policy_for_nodes_counts(&world, &pod, &engine);
    });
    a_silent_kubelet_is_not_ready(&world, &pod);
    another_node_of_its_name_is_not_its_own(&world, &pod, &engine);
}

fn a_heartbeat_says_nothing(world: &World) {
    // Until the node controller has taken away its taint of a node that is not ready.
    wait_for("a node without taints", SILENT, || (verdict(world)["taints"] == json!([])).then_some(()))
        .unwrap();
    let before = verdict(world);
    assert_eq!((&before["ready"], &before["kubelet_version"]), (&json!(true), &json!("v1.34.1")), "{before}");
    thread::sleep(Duration::from_secs(1));
    say(world, "False");
    thread::sleep(Duration::from_secs(3));
    assert_eq!(verdict(world)["digest"], before["digest"]);
}

fn pressure_takes_the_secret(world: &World, pod: &Client, engine: &Process) {
    let began = Instant::now();
    say(world, "True");
    world.wait_until(pod, "healthy", 403, engine);
    println!("what the kubelet says reached the next reading after {:?}", began.elapsed());
    world.refused(
        pod,
        "healthy",
        "the node worker-1 violates no critical policy, and is not healthy: DiskPressure",
    );
    assert_eq!(world.status(pod, "judged"), 200);
    let listed = world.setup.posture(&["list", "--nodes"]);
    assert!(listed.contains("worker-1") && listed.contains("DiskPressure"), "{listed}");
    say(world, "False");
    world.wait_until(pod, "healthy", 200, engine);
}

fn a_policy_for_nodes_counts(world: &World, pod: &Client, engine: &Process) {
    world.setup.world.apply(OF_NODES).unwrap();
    world.wait_until(pod, "judged", 403, engine);
    let why = "the node worker-1 violates critical policies: require-pool, and is healthy";
    world.refused(pod, "judged", why);
    assert_eq!(world.status(pod, "healthy"), 200);
    let shown = world.setup.posture(&["get", "--node", "worker-1"]);
    let wanted =
        ["worker-1 violates critical policies", "worker-1 is ready, without a problem", "has-a-pool"];
    assert!(wanted.iter().all(|wanted| shown.contains(wanted)), "{shown}");
    world.setup.world.kubectl(&["label", "node", "worker-1", "pool=a"], "").unwrap();
    world.wait_until(pod, "judged", 200, engine);
    assert_eq!(verdict(world)["labels"]["pool"], "a");
}

fn a_silent_kubelet_is_not_ready(world: &World, pod: &Client) {
    let began = Instant::now();
    let refused = || (world.status(pod, "healthy") == 403).then_some(());
    wait_for("the node controller to miss the kubelet", SILENT, refused).unwrap();
    println!("a silent kubelet was missed after {:?}", began.elapsed());
    world.refused(pod, "healthy", "and is not ready");
    assert_eq!(world.status(pod, "judged"), 200);
}

fn another_node_of_its_name_is_not_its_own(world: &World, pod: &Client, engine: &Process) {
    let before = verdict(world)["uid"].clone();
    world.setup.world.kubectl(&["delete", "node", "worker-1"], "").unwrap();
    let node = r#"{"apiVersion":"v1","kind":"Node","metadata":{"name":"worker-1","labels":{"pool":"b"}}}"#;
    world.setup.world.apply(node).unwrap();
    say(world, "False");
    let later = world.pod("good");
    world.wait_until(&later, "healthy", 200, engine);
    assert_ne!(verdict(world)["uid"], before);
    world.refused(pod, "healthy", "no verdict on the node is known");
}
