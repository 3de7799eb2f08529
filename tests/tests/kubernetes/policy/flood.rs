//! Floods of reviews beside policies that wait for something that never answers, or compute as long as they may: others are answered
//! meanwhile, nothing piles up.

use super::BAD;
use super::world::{LIMIT, World, pod};
use keyward_testkit::certificates;
use keyward_testkit::process::{Process, run};
use serde_json::{Value, json};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// More than all replicas of an API server have under way, and than one engine answers at once.
const FLOOD: usize = 400;
/// Quick reviews within a slow flood.
const QUICK: usize = 2000;
/// What a flood may add to the memory of the engine, in KiB: 128 reviews of 3 MiB, and connections.
const MEMORY: u64 = 512 << 10;

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

/// Of images of a registry that takes connections and says nothing.
const SILENT: &str = r#"
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: silent}
spec:
  failurePolicy: Ignore
  webhookTimeoutSeconds: 10
  rules:
  - name: silent
    match: {any: [{resources: {kinds: [Pod]}}]}
    verifyImages:
    - imageReferences: ["ADDRESS/*"]
      failureAction: Enforce
      attestors:
      - entries:
        - keys: {publicKeys: KEY, rekor: {ignoreTlog: true}, ctlog: {ignoreSCT: true}}
"#;

/// Compares each element of a list with each of another: nearly all steps that a rule may take.
const BUSY: &str = r#"
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: busy}
spec:
  validationFailureAction: Enforce
  failurePolicy: Ignore
  webhookTimeoutSeconds: 10
  rules:
  - name: busy
    match: {any: [{resources: {kinds: [ConfigMap]}}]}
    validate:
      message: "each was compared with each"
      deny: {conditions: {all: [{key: "{{request.object.data.some}}", operator: AllNotIn, value: "{{request.object.data.others}}"}]}}
"#;
/// Elements of these lists.
const ELEMENTS: usize = 2200;

/// What computes for long does so a few at a time, and others are answered meanwhile.
pub(super) fn busy_policies_hold_up_no_other(world: &World, served: &Process) {
    let before = peak(served);
    let bad = serde_json::from_str(&pod("bad", "default", "app:1", true)).unwrap();
    world.write("fast.json", "Pod", "pods", &bad);
    let list =
        |begin: &str| -> Vec<String> { (0..ELEMENTS).map(|number| format!("{begin}{number}")).collect() };
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "default"},
        "data": {"some": list("a"), "others": list("b")}});
    world.write("slow.json", "ConfigMap", "configmaps", &object);
    world.apply(BUSY).unwrap();
    let refused = |answers: &str| answers.matches("each was compared with each").count();
    world.wait_until("the busy policy", || {
        refused(&world.post("ignore", "slow.json", 1, Duration::from_secs(10)).0) == 1
    });
    let (floods, over) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let answers = world.post("ignore", "slow.json", FLOOD, Duration::from_secs(10)).0;
                floods.lock().unwrap().push(answers);
            }
        });
        std::thread::sleep(Duration::from_secs(2));
        quick_reviews_are_answered(world);
        over.store(true, Ordering::Relaxed);
    });
    for answers in floods.into_inner().unwrap() {
        // Those that have their turn at the last moment end after it.
        let answered =
            answers.matches("\"allowed\":").count() + answers.matches("the review took too long").count();
        assert_eq!(answered, FLOOD, "{}", answers.get(..2000).unwrap_or(&answers));
        assert!(refused(&answers) > 0, "some are computed to the end");
    }
    world.kubectl(&["delete", "clusterpolicy", "busy"], "").unwrap();
    let grown = peak(served) - before;
    assert!(grown < MEMORY, "{grown} KiB");
}

/// What asks for what never comes waits for it, a bounded number of them, and others are answered meanwhile.
pub(super) fn slow_policies_hold_up_no_other(world: &World, served: &Process) {
    let before = peak(served);
    let bad = serde_json::from_str(&pod("bad", "default", "app:1", true)).unwrap();
    world.write("fast.json", "Pod", "pods", &bad);
    let config =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "default"}});
    world.write("slow.json", "ConfigMap", "configmaps", &config);
    // It takes connections, and says nothing.
    let (_service, address) = world.listen();
    world.apply(&SLOW.replace("ADDRESS", &address.to_string())).unwrap();
    flooded(world);
    world.kubectl(&["delete", "clusterpolicy", "slow"], "").unwrap();

    let (_registry, address) = world.listen();
    let image = format!("{address}/app:1");
    let object = serde_json::from_str(&pod("silent", "default", &image, false)).unwrap();
    world.write("slow.json", "Pod", "pods", &object);
    let (_, key) = certificates::key_pair().unwrap();
    let key = Value::from(key);
    world.apply(&SILENT.replace("ADDRESS", &address.to_string()).replace("KEY", &key.to_string())).unwrap();
    flooded(world);
    world.kubectl(&["delete", "clusterpolicy", "silent"], "").unwrap();
    let grown = peak(served) - before;
    assert!(grown < MEMORY, "{grown} KiB");
}

fn flooded(world: &World) {
    // The policy is served before it is flooded.
    let slow = || world.post("ignore", "slow.json", 1, Duration::from_secs(3));
    world.wait_until("the slow policy", || slow().1 >= Duration::from_secs(2));
    let flood = std::thread::scope(|scope| {
        let flood = scope.spawn(|| world.post("ignore", "slow.json", FLOOD, Duration::from_secs(10)));
        std::thread::sleep(Duration::from_secs(2));
        quick_reviews_are_answered(world);
        flood.join().unwrap()
    });
    let answered = flood.0.matches("\"allowed\":true").count();
    assert_eq!(
        answered,
        FLOOD,
        "a policy that cannot be asked is ignored: {}",
        flood.0.get(..2000).unwrap_or(&flood.0)
    );
}

/// Of other policies, one after the other and many at once.
fn quick_reviews_are_answered(world: &World) {
    for _ in 0..10 {
        let (answers, took) = world.post("fail", "fast.json", 1, Duration::from_secs(10));
        assert!(answers.contains(BAD), "{answers}");
        assert!(took < Duration::from_secs(3), "{took:?}");
    }
    let (answers, _) = world.post("fail", "fast.json", QUICK, Duration::from_secs(10));
    assert_eq!(answers.matches(BAD).count(), QUICK, "{}", answers.get(..2000).unwrap_or(&answers));
}

/// The most memory that a process ever had, in KiB.
fn peak(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

impl World {
    /// Writes a review of an object that is created.
    fn write(&self, file: &str, kind: &str, resource: &str, object: &Value) {
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "u", "operation": "CREATE", "name": "x", "namespace": "default", "userInfo": {"username": "somebody"},
            "kind": {"group": "", "version": "v1", "kind": kind},
            "resource": {"group": "", "version": "v1", "resource": resource}, "object": object}});
        std::fs::write(self.folder.path().join(file), review.to_string()).unwrap();
    }

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
