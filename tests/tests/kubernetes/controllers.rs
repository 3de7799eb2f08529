//! Two controllers at once: of several one leads and another follows when it dies; and where two lead, because nobody told them of
//! each other, nothing is lost, nothing goes back and nobody who reads notices.

use crate::delivery::world::{ACCOUNTS, endow, make_root, shell};
use crate::login::Setting;
use crate::rebuild::{CONTROLLER, POD};
use keyward_testkit::cluster::{Cluster, Options, check};
use keyward_testkit::process::{Process, wait_for};
use keyward_testkit::require;
use keyward_tests::binary::keyward;
use keyward_tests::server::{IN_MEMORY, Server};
use serde_json::{Value, json};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::TempDir;

const LONG: Duration = Duration::from_secs(120);
const OBJECTS: usize = 6;

/// A cluster without nodes, an authority, and a Git repository beside them.
struct World {
    cluster: Cluster,
    server: Server,
    repository: TempDir,
}

impl World {
    fn start() -> World {
        let cluster = Cluster::start(Options::named("test-controllers")).unwrap();
        let repository = tempfile::tempdir().unwrap();
        for manifests in [ACCOUNTS, CONTROLLER, POD, &shell(repository.path(), "keyward seal crds")] {
            cluster.kubectl(&["apply", "--server-side", "--filename=-"], manifests).unwrap();
        }
        make_root(repository.path());
        let server = cluster.in_namespace(|| {
            let server = Server::unsealed(IN_MEMORY);
            endow(&server.root(), repository.path());
            Setting { cluster: &cluster, server: &server }.configure("token-review");
            server
        });
        World { server: server.unwrap(), cluster, repository }
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        self.cluster.kubectl(arguments, "").unwrap()
    }

    /// A controller with rights of its own; with no `lease` it leads at once.
    fn controller(&self, identity: &str, lease: &str) -> Process {
        let token = self.kubectl(&[
            "create",
            "token",
            "seal-controller",
            "--namespace=keyward",
            "--audience=keyward",
        ]);
        let file = self.server.folder().join(format!("{identity}.token"));
        fs::write(&file, token.trim()).unwrap();
        let mut command = self.cluster.command_in_namespace(keyward());
        command.args(["seal", "serve", "--role=seal-controller", "--identity", identity]);
        command.arg(format!("--lease={lease}")).args(["--resync=5s", "--log-level=debug"]);
        command.arg("--kubeconfig").arg(self.cluster.kubeconfig()).arg("--token-file").arg(&file);
        command.env("VAULT_ADDR", self.server.url());
        Process::spawn(&mut command, &self.server.folder().join(format!("{identity}.log"))).unwrap()
    }

    fn in_repository(&self, script: &str) {
        shell(self.repository.path(), script);
    }

    /// Seals objects that were not there before.
    fn seal(&self, names: &[String]) {
        for name in names {
            let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "shop"},
                "stringData": {"password": "first"}});
            fs::write(self.repository.path().join("secret.yaml"), secret.to_string()).unwrap();
            self.in_repository(&format!(
                "keyward seal secret.yaml --to apps/shop/{name}.yaml --subject web --sign-with author.key && rm secret.yaml"
            ));
        }
    }

    fn set(&self, name: &str, password: &str) {
        self.in_repository(&format!(
            "printf '%s' '{password}' | keyward set apps/shop/{name}.yaml password --from - --sign-with author.key"
        ));
    }

    fn apply(&self) {
        let tree = self.repository.path().join("apps").display().to_string();
        self.kubectl(&["apply", "--recursive", "--filename", &tree]);
    }

    /// The version in Git of each object there, once the cluster and the authority have just these, and say they are ready.
    fn settled(&self, controllers: &[&Process]) {
        let names = fs::read_dir(self.repository.path().join("apps/shop")).unwrap().map(|entry| {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            // That of the object is the latest of its values'.
            let versions = text.lines().filter_map(|line| line.trim().strip_prefix("version: "));
            let version = versions.map(|version| version.parse::<u64>().unwrap()).max().unwrap();
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), version)
        });
        let mut wanted: Vec<(String, u64)> = names.collect();
        wanted.sort();
        let waited = wait_for("what is in Git", LONG, || {
            (self.in_cluster() == wanted && self.at_authority() == wanted).then_some(())
        });
        waited.unwrap_or_else(|late| {
            let logs: Vec<String> = controllers.iter().map(|process| process.output().unwrap()).collect();
            let (cluster, authority) = (self.in_cluster(), self.at_authority());
            panic!("{late}: {wanted:?}, and not {cluster:?} {authority:?}\n{}", logs.join("\n---\n"))
        });
    }

    /// Ready objects in the cluster with the version in their status.
    fn in_cluster(&self) -> Vec<(String, u64)> {
        let listed = self.kubectl(&["get", "sealedsecrets.keyward.io", "--namespace=shop", "--output=json"]);
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let ready = listed["items"].as_array().unwrap().iter().filter(|object| {
            let conditions = object["status"]["conditions"].as_array();
            object["status"]["observedGeneration"] == object["metadata"]["generation"]
                && conditions.is_some_and(|all| all.iter().all(|one| one["status"] == "True"))
        });
        let mut found: Vec<(String, u64)> = ready
            .map(|object| {
                let version = object["status"]["version"].as_u64().unwrap();
                (object["metadata"]["name"].as_str().unwrap().to_owned(), version)
            })
            .collect();
        found.sort();
        found
    }

    fn at_authority(&self) -> Vec<(String, u64)> {
        let listed = || self.server.root().read("sealed/inventory").expect(200).data();
        let listed = self.cluster.in_namespace(listed).unwrap();
        let known = |secret: &Value| Some((secret["name"].as_str()?.to_owned(), secret["version"].as_u64()?));
        let mut found: Vec<(String, u64)> =
            listed["secrets"].as_array().into_iter().flatten().filter_map(known).collect();
        found.sort();
        found
    }

    /// What a pod of the ServiceAccount `web` is refused while `work` is done; it asks all the time.
    fn refusals_while(&self, work: impl FnOnce()) -> (usize, Vec<String>) {
        let token = self.kubectl(&[
            "create",
            "token",
            "web",
            "--namespace=shop",
            "--audience=keyward",
            "--bound-object-kind=Pod",
            "--bound-object-name=web-1",
        ]);
        let over = AtomicBool::new(false);
        let read = || {
            let login = json!({ "role": "workload", "jwt": token.trim() });
            let auth = self.server.guest().write("auth/kubernetes/login", &login).expect(200).json();
            let pod = self.server.guest().with_token(auth["auth"]["client_token"].as_str().unwrap());
            let (mut opened, mut refused) = (0, Vec::new());
            while !over.load(Ordering::Relaxed) {
                let answer = pod.read("sealed/open/shop/db-0");
                match answer.status {
                    200 => opened += 1,
                    status => refused.push(format!("{status}: {}", answer.text())),
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            (opened, refused)
        };
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| self.cluster.in_namespace(read).unwrap());
            let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            over.store(true, Ordering::Relaxed);
            let found = reading.join().unwrap();
            worked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            found
        })
    }
}

fn leads(controller: &Process) -> bool {
    controller.output().unwrap().contains("\"leads\"")
}

#[test]
fn of_two_controllers_one_leads_and_where_two_do_nothing_is_lost() {
    if !require(check(false)) {
        return;
    }
    let world = World::start();
    let names: Vec<String> = (0..OBJECTS).map(|at| format!("db-{at}")).collect();
    world.seal(&names);
    let leader = one_leads_and_another_follows(&world);
    drop(leader);
    let (opened, refused) = world.refusals_while(|| two_lead(&world));
    assert!(opened > 100 && refused.is_empty(), "{opened} opened, and {refused:?}");
}

/// Answers with the one that leads then.
fn one_leads_and_another_follows(world: &World) -> Process {
    let lease = "keyward-seal-controller";
    let (mut first, second) = (world.controller("first", lease), world.controller("second", lease));
    // Which of them is first is theirs to settle.
    wait_for("a leader", LONG, || (leads(&first) || leads(&second)).then_some(())).unwrap();
    let mut other = second;
    if leads(&other) {
        std::mem::swap(&mut first, &mut other);
    }
    world.apply();
    world.settled(&[&first, &other]);
    assert!(!leads(&other), "{}", other.output().unwrap());
    // It dies without a word, while there is something to do.
    for at in 0..OBJECTS {
        world.set(&format!("db-{at}"), "second");
    }
    first.kill().unwrap();
    world.apply();
    world.settled(&[&first, &other]);
    assert!(leads(&other));
    other
}

/// Neither knows of the other; one of them is made anew again and again, and asks what is registered each time.
fn two_lead(world: &World) {
    let steady = world.controller("steady", "");
    for round in 0..4 {
        let fresh = world.controller(&format!("fresh-{round}"), "");
        world.seal(&[format!("new-{round}")]);
        for at in 0..OBJECTS {
            world.set(&format!("db-{at}"), &format!("of round {round}"));
            world.apply();
        }
        if round > 0 {
            let name = format!("new-{}", round - 1);
            world.in_repository(&format!("rm apps/shop/{name}.yaml"));
            world.kubectl(&["delete", "sealedsecrets.keyward.io", &name, "--namespace=shop"]);
        }
        world.settled(&[&steady, &fresh]);
        // Both of them were at it.
        for controller in [&steady, &fresh] {
            let told = controller.output().unwrap();
            assert!(told.matches("\"listed\"").count() >= 2, "{told}");
        }
    }
}
