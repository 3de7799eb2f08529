//! What the policy engine says of a pod decides whether the pod's token reads a secret.

use crate::login::{ACCOUNTS, Setting};
use crate::policy::World;
use keyward_testkit::cluster::check;
use keyward_testkit::process::{Process, run, wait_for};
use keyward_testkit::require;
use keyward_tests::binary::keyward;
use keyward_tests::http::{Answer, Client};
use keyward_tests::server::{SOON, Server};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What is to reach the next read; a loaded machine takes longer than the seconds that it takes otherwise.
const REACHED: Duration = Duration::from_secs(60);
/// How long verdicts count when nobody confirms them.
const VALIDITY: Duration = Duration::from_secs(10);

const POD: &str = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"api-1","namespace":"prod"},
    "spec":{"serviceAccountName":"api","containers":[{"name":"api","image":"api:1"}]}}"#;

pub(crate) const CRITICAL: &str = r#"
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata:
  name: require-team
  labels: {keyward.io/tier: critical}
spec:
  validationFailureAction: Enforce
  rules:
    - name: has-a-team
      match: {any: [{resources: {kinds: [Pod], namespaces: [prod]}}]}
      validate:
        message: "The label team is required"
        pattern: {metadata: {labels: {team: "?*"}}}
"#;

const EXCEPTION: &str = r#"
apiVersion: kyverno.io/v2
kind: PolicyException
metadata: {name: api-for-now, namespace: prod}
spec:
  exceptions: [{policyName: require-team, ruleNames: [has-a-team]}]
  match: {any: [{resources: {kinds: [Pod], namespaces: [prod], names: ["api-*"]}}]}
"#;

/// A cluster with its policy engine, and an authority that its pods log in to.
pub(crate) struct Setup {
    pub(crate) world: World,
    pub(crate) server: Server,
}

impl Setup {
    pub(crate) fn start(name: &str, pods: &str) -> Setup {
        let world = World::start(name);
        world.apply(ACCOUNTS).unwrap();
        world.apply(pods).unwrap();
        let server = world.cluster.in_namespace(|| authority(&world)).unwrap();
        Setup { world, server }
    }

    /// Starts an engine that publishes.
    pub(crate) fn engine(&self, identity: &str) -> Process {
        let token = self.world.folder.path().join("engine-token");
        let made = self.world.kubectl(
            &[
                "create",
                "token",
                "keyward-policy",
                "--namespace=keyward",
                "--audience=keyward",
                "--duration=1h",
            ],
            "",
        );
        std::fs::write(&token, made.unwrap()).unwrap();
        let (url, token) = (self.server.url(), token.display().to_string());
        let validity = format!("{}s", VALIDITY.as_secs());
        let arguments = [
            ["--posture-cluster", "test"],
            ["--posture-validity", &validity],
            ["--role", "engine"],
            ["--token-file", &token],
            ["--address", &url],
        ];
        self.world.serve(identity, arguments.as_flattened())
    }

    pub(crate) fn there<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.world.cluster.in_namespace(work).unwrap()
    }

    /// A pod's token, as the kubelet would have it made.
    pub(crate) fn jwt(&self, pod: &str) -> String {
        let arguments = ["create", "token", "api", "--namespace=prod", "--audience=keyward"];
        let name = format!("--bound-object-name={pod}");
        let bound = ["--bound-object-kind=Pod", &name];
        self.world.kubectl(&[&arguments[..], &bound].concat(), "").unwrap().trim().to_owned()
    }

    pub(crate) fn log_in(&self, role: &str, jwt: &str) -> Answer {
        self.there(|| {
            self.server.guest().write("auth/kubernetes/login", &json!({ "role": role, "jwt": jwt }))
        })
    }

    /// Waits until the pod reads its secret, or does not. Answers with how long that took.
    fn wait_until(&self, pod: &Client, status: u16, engine: &Process) -> Duration {
        let began = Instant::now();
        wait_for("what was changed to reach the next read", REACHED, || {
            let read = self.there(|| pod.read("secret/data/api"));
            (read.status == status).then_some(())
        })
        .unwrap_or_else(|why| panic!("{why}: {}\n{}", engine.output().unwrap(), self.server.output()));
        began.elapsed()
    }

    /// The reason that the audit log has for the last refused read.
    fn reason(&self) -> String {
        let log = std::fs::read_to_string(self.server.folder().join("audit.log")).unwrap();
        let records = log.lines().rev().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut refused =
            records.filter(|one| one["request"]["path"] == "secret/data/api" && one["error"].is_string());
        refused.next().unwrap()["error"].as_str().unwrap().to_owned()
    }

    pub(crate) fn posture(&self, words: &[&str]) -> String {
        let mut command = self.world.cluster.command_in_namespace(keyward());
        command.arg("posture").args(words).env("VAULT_ADDR", self.server.url());
        command.env("VAULT_TOKEN", &self.server.keys().root).env("HOME", self.server.folder());
        let done = run(&mut command, b"", SOON).unwrap();
        format!("{}{}", String::from_utf8(done.stdout).unwrap(), done.stderr)
    }
}

fn authority(world: &World) -> Server {
    let server = Server::dev();
    let root = server.root();
    let options = json!({ "file_path": server.folder().join("audit.log") });
    root.write("sys/audit/file", &json!({ "type": "file", "options": options })).expect(204);
    root.write("secret/data/api", &json!({"data": {"password": "hunter2"}})).expect(200);
    for (name, rules) in [
        ("api", r#"path "secret/data/api" { capabilities = ["read"] condition = "posture.compliant" }"#),
        ("engine", r#"path "sys/posture/+" { capabilities = ["update"] }"#),
    ] {
        root.write(&format!("sys/policies/acl/{name}"), &json!({ "policy": rules })).expect(204);
    }
    root.write("sys/auth/kubernetes", &json!({"type": "kubernetes"})).expect(204);
    for (role, account, namespace, policy, ttl, condition) in [
        ("api", "api", "prod", "api", "1h", ""),
        ("gated", "api", "prod", "api", "1h", "posture.compliant"),
        // The engine's session ends with its token, twice in this test.
        ("engine", "keyward-policy", "keyward", "engine", "15s", ""),
    ] {
        let body = json!({"bound_service_account_names": account, "bound_service_account_namespaces": namespace,
            "audience": "keyward", "token_policies": policy, "token_ttl": ttl, "condition": condition});
        root.write(&format!("auth/kubernetes/role/{role}"), &body).expect(204);
    }
    Setting { cluster: &world.cluster, server: &server }.configure("token-review");
    server
}

#[test]
fn a_pod_that_violates_a_critical_policy_reads_no_secret() {
    if !require(check(false)) {
        return;
    }
    let setup = Setup::start("test-posture", POD);
    let jwt = setup.jwt("api-1");
    let auth = setup.log_in("api", &jwt).expect(200).json()["auth"].clone();
    let pod = setup.server.guest().with_token(auth["client_token"].as_str().unwrap());
    setup.there(|| pod.read("secret/data/api")).expect(403);
    assert!(setup.reason().contains("no verdict on the pod is known"), "{}", setup.reason());
    setup.log_in("gated", &jwt).expect(403);

    let mut engine = setup.engine("first");
    setup.wait_until(&pod, 200, &engine);
    setup.log_in("gated", &jwt).expect(200);

    setup.world.apply(CRITICAL).unwrap();
    let took = setup.wait_until(&pod, 403, &engine);
    println!("a critical policy reached the next read after {took:?}");
    assert!(
        setup.reason().contains("the pod prod/api-1 violates critical policies: require-team"),
        "{}",
        setup.reason()
    );
    setup.log_in("gated", &jwt).expect(403);
    let output = setup.server.output();
    assert!(
        output.contains("the condition of the role gated does not hold for prod-api, pod api-1"),
        "{output}"
    );
    let shown = setup.posture(&["list", "--violating"]);
    assert!(shown.contains("prod/api-1") && shown.contains("require-team"), "{shown}");
    let namespaces = setup.posture(&["list", "--namespaces", "--violating"]);
    assert!(namespaces.contains("prod"), "{namespaces}");

    is_brought_back(&setup, &pod, &jwt, &engine);

    // Killed, the engine confirms nothing, and what it said ends.
    engine.kill().unwrap();
    let took = setup.wait_until(&pod, 403, &engine);
    assert!(took <= VALIDITY + Duration::from_secs(5), "{took:?}");
    assert!(setup.reason().contains("no verdict on the pod is known, or the last one is too old"));
    let engine = setup.engine("second");
    setup.wait_until(&pod, 200, &engine);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(25) {
        setup.there(|| pod.read("secret/data/api")).expect(200);
        std::thread::sleep(Duration::from_millis(200));
    }
    let output = engine.output().unwrap();
    assert!(output.contains("another session is begun"), "{output}");
}

/// By an exception, for as long as there is one, and by mending the pod.
fn is_brought_back(setup: &Setup, pod: &Client, jwt: &str, engine: &Process) {
    setup.world.apply(EXCEPTION).unwrap();
    setup.wait_until(pod, 200, engine);
    let shown = setup.posture(&["get", "prod/api-1"]);
    assert!(
        shown.contains("complies with every critical policy") && shown.contains("api-for-now"),
        "{shown}"
    );
    setup
        .world
        .kubectl(&["delete", "policyexception.kyverno.io", "api-for-now", "--namespace=prod"], "")
        .unwrap();
    setup.wait_until(pod, 403, engine);
    setup.world.kubectl(&["label", "pod", "api-1", "team=a", "--namespace=prod"], "").unwrap();
    let took = setup.wait_until(pod, 200, engine);
    println!("a change of the pod reached the next read after {took:?}");
    setup.log_in("gated", jwt).expect(200);
}
