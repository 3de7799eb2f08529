//! What a real API server and a real policy engine say of a pod decides whether it is among those that an object is sealed for: the
//! labels of its namespace, its images, its posture.

use crate::posture::{CRITICAL, Setup};
use keyward_intent::{Bounds, Subject};
use keyward_testkit::cluster::check;
use keyward_testkit::process::{Process, run, wait_for};
use keyward_testkit::require;
use keyward_tests::binary::keyward;
use keyward_tests::http::Client;
use keyward_tests::sealed::{Author, go_to_bootstrap};
use keyward_tests::server::SOON;
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

/// What is to reach the next read: labels are believed for 10 seconds, verdicts for as long, on a loaded machine.
const REACHED: Duration = Duration::from_secs(60);

/// The reviewer may look at namespaces too.
const RIGHTS: &str = r#"{"apiVersion":"v1","kind":"List","items":[
    {"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"namespace-reader"},
        "rules":[{"apiGroups":[""],"resources":["namespaces"],"verbs":["get"]}]},
    {"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding","metadata":{"name":"namespace-reader"},
        "roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"namespace-reader"},
        "subjects":[{"kind":"ServiceAccount","name":"reviewer","namespace":"default"}]}]}"#;

fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

/// A pod that follows the policy and runs what is sealed; one whose second container is pinned to nothing; one that violates the policy.
fn pods() -> String {
    let pinned = |name: &str, digit: char| json!({"name": name, "image": format!("example.org/{name}:1@{}", digest(digit))});
    let pod = |name: &str, labels: Value, containers: Value| {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "prod", "labels": labels},
            "spec": {"serviceAccountName": "api", "initContainers": [pinned("init", 'b')], "containers": containers},
        })
    };
    let team = || json!({"team": "a"});
    let items = [
        pod("good", team(), json!([pinned("web", 'a')])),
        pod("floating", team(), json!([pinned("web", 'a'), {"name": "side", "image": "side:1"}])),
        pod("violating", json!({}), json!([pinned("web", 'a')])),
    ];
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

pub(crate) struct World {
    pub(crate) setup: Setup,
    author: Author,
}

impl World {
    pub(crate) fn start(name: &str, pods: &str) -> World {
        let setup = Setup::start(name, pods);
        let kubectl = |arguments: &[&str], input: &str| setup.world.kubectl(arguments, input).unwrap();
        kubectl(&["apply", "--filename=-"], RIGHTS);
        kubectl(&["label", "namespace", "prod", "env=prod"], "");
        let crds = run(Command::new(keyward()).args(["seal", "crds"]), b"", SOON).unwrap();
        kubectl(&["apply", "--server-side", "--filename=-"], &String::from_utf8(crds.stdout).unwrap());
        kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"], "");
        kubectl(&["apply", "--filename=-"], CRITICAL);
        let author = setup.there(|| {
            let root = setup.server.root();
            let author = Author::trusted_by(&root, "prod");
            go_to_bootstrap(&root);
            let rules = r#"path "sealed/open/*" { capabilities = ["read"] }"#;
            root.write("sys/policies/acl/workload", &json!({ "policy": rules })).expect(204);
            let role = json!({"bound_service_account_names": "*", "bound_service_account_namespaces": "prod",
                "audience": "keyward", "token_policies": "workload", "token_ttl": "1h"});
            root.write("auth/kubernetes/role/workload", &role).expect(204);
            author
        });
        World { setup, author }
    }

    /// Seals an object, has the API server keep it, and registers what that gives back.
    pub(crate) fn seal(&self, name: &str, narrower: impl FnOnce(&mut Bounds)) {
        let subjects = [Subject::parse("api", "prod").unwrap()].into();
        let mut bounds = Bounds { subjects, ..Bounds::in_cluster("prod") };
        narrower(&mut bounds);
        let sealed = self.author.seal_within(name, bounds, "hunter2");
        self.setup.world.apply(&sealed.write().unwrap()).unwrap();
        let get = ["get", "sealedsecrets.keyward.io", name, "--namespace=prod", "--output=json"];
        let kept: Value = serde_json::from_str(&self.setup.world.kubectl(&get, "").unwrap()).unwrap();
        let path = format!("sealed/objects/prod/{name}");
        self.setup.there(|| self.setup.server.root().write(&path, &json!({ "manifest": kept })).expect(200));
    }

    pub(crate) fn pod(&self, name: &str) -> Client {
        let answer = self.setup.log_in("workload", &self.setup.jwt(name)).expect(200).json();
        self.setup.server.guest().with_token(answer["auth"]["client_token"].as_str().unwrap())
    }

    pub(crate) fn status(&self, pod: &Client, object: &str) -> u16 {
        self.setup.there(|| pod.read(&format!("sealed/open/prod/{object}")).status)
    }

    /// Waits until a pod is opened an object, or is not.
    pub(crate) fn wait_until(&self, pod: &Client, object: &str, status: u16, engine: &Process) {
        wait_for("what was changed to reach the next read", REACHED, || {
            (self.status(pod, object) == status).then_some(())
        })
        .unwrap_or_else(|why| panic!("{object}: {why}: {}\n{}", self.reason(), engine.output().unwrap()));
    }

    /// Asserts that a pod is refused an object, for `why`, which only the audit log says.
    pub(crate) fn refused(&self, pod: &Client, object: &str, why: &str) {
        let answer = self.setup.there(|| pod.read(&format!("sealed/open/prod/{object}")));
        answer.refused(403, "permission denied");
        assert!(self.reason().contains(why), "{object}: {why}: {}", self.reason());
    }

    /// The reason that the audit log has for the last refusal.
    fn reason(&self) -> String {
        let log = std::fs::read_to_string(self.setup.server.folder().join("audit.log")).unwrap();
        let records = log.lines().rev().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut refused = records.filter(|record| record["error"].is_string());
        refused.next().map_or(String::new(), |record| record["error"].as_str().unwrap().to_owned())
    }
}

#[test]
fn labels_images_and_posture_of_a_pod_decide_what_it_is_opened() {
    if !require(check(false)) {
        return;
    }
    let world = World::start("test-subjects", &pods());
    world.seal("labelled", |bounds| bounds.namespace_selector = Some("env=prod".parse().unwrap()));
    world.seal("elsewhere", |bounds| bounds.namespace_selector = Some("env notin (prod)".parse().unwrap()));
    world.seal("pinned", |bounds| bounds.images = [digest('a'), digest('b')].into());
    world.seal("judged", |bounds| bounds.conditions = ["posture.compliant".to_owned()].into());
    let [good, floating, violating] = ["good", "floating", "violating"].map(|pod| world.pod(pod));
    assert_eq!(world.status(&good, "labelled"), 200);
    world.refused(&good, "elsewhere", "the labels of the namespace prod are not env notin (prod)");
    world.refused(&good, "pinned", "images: what the pod runs is not known");
    world.refused(&good, "judged", "no verdict on the pod is known");

    let mut engine = world.setup.engine("first");
    world.wait_until(&good, "pinned", 200, &engine);
    world.wait_until(&good, "judged", 200, &engine);
    world.wait_until(&floating, "judged", 200, &engine);
    world.refused(&floating, "pinned", "images: 1 of the pod's containers are pinned to no digest");
    world.wait_until(&violating, "pinned", 200, &engine);
    world.refused(&violating, "judged", "the pod prod/violating violates critical policies: require-team");

    // What changes afterwards counts too: the image of a container, and the label.
    let other = format!("web=example.org/web:2@{}", digest('c'));
    world.setup.world.kubectl(&["set", "image", "pod/good", &other, "--namespace=prod"], "").unwrap();
    world.wait_until(&good, "pinned", 403, &engine);
    world.refused(&good, "pinned", &format!("the pod runs {}, which is not among them", digest('c')));
    let label = ["label", "namespace", "prod", "env=test", "--overwrite"];
    world.setup.world.kubectl(&label, "").unwrap();
    world.wait_until(&good, "labelled", 403, &engine);
    assert_eq!(world.status(&good, "elsewhere"), 200);
    let forbid = ["delete", "clusterrolebinding", "namespace-reader"];
    world.setup.world.kubectl(&forbid, "").unwrap();
    world.wait_until(&good, "elsewhere", 403, &engine);
    assert!(world.reason().contains("HTTP status 403"), "{}", world.reason());

    engine.kill().unwrap();
    world.wait_until(&good, "judged", 403, &engine);
    world.refused(&violating, "pinned", "images: what the pod runs is not known");
}
