//! A cluster with everything in it: the authority, what `deploy/delivery` ships, and a Git repository.

use super::LONG;
use crate::install::{IMAGE, image};
use crate::login::Setting;
use keyward_testkit::cluster::{BUSYBOX, Cluster, Error, NODE_ADDRESS, Options};
use keyward_testkit::process::{run, wait_for};
use keyward_tests::binary::keyward;
use keyward_tests::http::Client;
use keyward_tests::sealed::{go_to_bootstrap, mount};
use keyward_tests::server::{ON_DISK, SOON, Server};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// What the pods read at first, and later.
pub(crate) const FIRST: &str = "canary-one-Zq8Wm3";
pub(crate) const SECOND: &str = "canary-two-Rk5Yt7";

pub(crate) const ZEN: &str = "canary-zen-Hx4Lp9";

pub(crate) const ACCOUNTS: &str = r#"{"apiVersion":"v1","kind":"List","items":[
    {"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"reviewer","namespace":"default"}},
    {"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding","metadata":{"name":"reviewer"},
        "roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"system:auth-delegator"},
        "subjects":[{"kind":"ServiceAccount","name":"reviewer","namespace":"default"}]},
    {"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop"}},
    {"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"web","namespace":"shop"}},
    {"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"thief","namespace":"shop"}}]}"#;

const CONTROLLER: &str = r#"
path "sealed/objects"   { capabilities = ["list"] }
path "sealed/objects/*" { capabilities = ["create", "read", "update", "delete", "list"] }
"#;
const WORKLOAD: &str = r#"path "sealed/open/*" { capabilities = ["read", "update"] }"#;

pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) server: Server,
    repository: TempDir,
}

impl World {
    pub(crate) fn start() -> World {
        let cluster = Cluster::start(Options::named("test-delivery").with_node()).unwrap();
        cluster.load_image(&image()).unwrap();
        cluster.kubectl(&["apply", "--filename=-"], ACCOUNTS).unwrap();
        let repository = tempfile::tempdir().unwrap();
        let server = cluster.in_namespace(|| authority(&cluster, repository.path())).unwrap();
        World { cluster, server, repository }
    }

    /// Applies what is shipped, with this test's image and authority, and waits for it.
    pub(crate) fn deploy(&self) {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/delivery");
        let shipped = self.kubectl(&["kustomize", folder], "");
        let mut manifests = shipped.replace("https://authority.example.org:8200", &self.server.url());
        for (from, to) in [
            ("image: keyward:latest", format!("image: {IMAGE}")),
            ("--image=keyward:latest", format!("--image={IMAGE}")),
        ] {
            assert!(manifests.contains(from), "{from}");
            manifests = manifests.replace(from, &to);
        }
        self.kubectl(&["apply", "--server-side", "--filename=-"], &manifests);
        for what in ["deployment/keyward-injector", "deployment/keyward-seal-controller"] {
            self.kubectl(&["rollout", "status", what, "--namespace=keyward", "--timeout=240s"], "");
        }
    }

    pub(crate) fn kubectl(&self, arguments: &[&str], input: &str) -> String {
        self.cluster.kubectl(arguments, input).unwrap_or_else(|why| panic!("{why}\n{}", self.told()))
    }

    pub(crate) fn try_kubectl(&self, arguments: &[&str]) -> Result<String, Error> {
        self.cluster.kubectl(arguments, "")
    }

    pub(crate) fn try_apply(&self, manifest: &str) -> Result<String, String> {
        self.cluster.kubectl(&["apply", "--filename=-"], manifest).map_err(|why| why.to_string())
    }

    /// What was going on, for whoever reads a failure.
    fn told(&self) -> String {
        let told = [
            &["get", "pods", "--all-namespaces"][..],
            &["get", "events", "--namespace=shop"],
            &["get", "events", "--namespace=keyward"],
            &["get", "sealedsecrets.keyward.io", "--namespace=shop", "--output=yaml"],
            &["logs", "--namespace=keyward", "deployment/keyward-injector", "--tail=20"],
            &["logs", "--namespace=keyward", "deployment/keyward-seal-controller", "--tail=20"],
            &["logs", "--namespace=shop", "pod/bare", "--container=keyward-agent", "--tail=20"],
        ];
        let told = told.iter().map(|arguments| match self.cluster.kubectl(arguments, "") {
            Ok(output) => output,
            Err(why) => why.to_string(),
        });
        told.collect::<Vec<_>>().join("\n") + &self.server.output()
    }

    pub(crate) fn exec(&self, what: &str, script: &str) -> String {
        self.kubectl(&["exec", "--namespace=shop", what, "--container=app", "--", "sh", "-c", script], "")
    }

    pub(crate) fn filled(&self, manifests: &str) -> String {
        manifests.replace("BUSYBOX", BUSYBOX)
    }

    /// A pod that sleeps.
    pub(crate) fn pod(&self, name: &str, account: &str, annotations: &str) -> String {
        let annotations = match annotations.starts_with('{') {
            true => annotations.to_owned(),
            false => format!("{{{annotations}}}"),
        };
        self.filled(&format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: shop, annotations: {annotations}}}, spec: \
             {{serviceAccountName: {account}, automountServiceAccountToken: false, terminationGracePeriodSeconds: 0, containers: \
             [{{name: app, image: BUSYBOX, imagePullPolicy: Never, command: [sleep, \"3600\"]}}]}}}}"
        ))
    }

    pub(crate) fn wait_condition(&self, object: &str, condition: &str, status: &str) {
        let path = format!("--output=jsonpath={{.status.conditions[?(@.type=='{condition}')].status}}");
        let arguments = ["get", "sealedsecrets.keyward.io", object, "--namespace=shop", &path];
        let waited =
            wait_for("the condition", LONG, || (self.kubectl(&arguments, "") == status).then_some(()));
        waited.unwrap_or_else(|late| panic!("{condition} is not {status}: {late}\n{}", self.told()));
    }

    /// Waits for an event of a pod whose message has `text`.
    pub(crate) fn wait_event(&self, pod: &str, text: &str) {
        let of = format!("--field-selector=involvedObject.name={pod}");
        let arguments = [
            "get",
            "events",
            "--namespace=shop",
            &of,
            "--output=jsonpath={range .items[*]}{.message}{'\\n'}{end}",
        ];
        let waited =
            wait_for("the event", LONG, || self.kubectl(&arguments, "").contains(text).then_some(()));
        waited.unwrap_or_else(|late| panic!("no event of {pod} says {text:?}: {late}\n{}", self.told()));
    }

    pub(crate) fn tree(&self) -> String {
        self.repository.path().join("apps").display().to_string()
    }

    pub(crate) fn in_repository(&self, script: &str) -> String {
        shell(self.repository.path(), script)
    }

    /// Seals the first value and commits it.
    pub(crate) fn seal(&self, password: &str) {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db", "namespace": "shop"},
            "stringData": {"username": "ada", "password": password},
        });
        fs::write(self.repository.path().join("secret.yaml"), secret.to_string()).unwrap();
        self.in_repository(
            "keyward seal secret.yaml --to apps/shop/db.yaml --subject web --sign-with author.key && rm secret.yaml && \
             git init --quiet . && printf '*.key\\nshares/\\n' > .gitignore && git add . && \
             git -c user.name=ada -c user.email=ada@example.com commit --quiet --message 'Seal the database password'",
        );
    }

    /// Sets another password and commits it.
    pub(crate) fn set(&self, password: &str) {
        self.in_repository(&format!(
            "printf '%s' '{password}' | keyward set apps/shop/db.yaml password --from - --sign-with author.key && \
             git add . && git -c user.name=ada -c user.email=ada@example.com commit --quiet --message 'Change the password'"
        ));
    }

    /// A ZenLock as zen-lock's own tool writes it, sealed with age for the namespace's classic identity.
    pub(crate) fn zenlock(&self, values: &[(&str, &str)]) -> String {
        let made = || {
            let asked = self.server.root().write("sealed/namespaces/shop", &json!({ "zenlock": true }));
            asked.expect(200).data()["zenlock_recipients"][0].as_str().unwrap().to_owned()
        };
        let recipient = self.cluster.in_namespace(made).unwrap();
        let sealed = values.iter().map(|(key, value)| {
            let armored =
                self.in_repository(&format!("printf '%s' '{value}' | keyward seal --age -r {recipient} -"));
            let body: String = armored.lines().filter(|line| !line.starts_with("-----")).collect();
            ((*key).to_owned(), Value::from(body))
        });
        let sealed: Map<String, Value> = sealed.collect();
        json!({
            "apiVersion": "security.kube-zen.io/v1alpha1", "kind": "ZenLock",
            "metadata": {"name": "db-credentials", "namespace": "shop"},
            "spec": {
                "algorithm": "age", "encryptedData": sealed,
                "allowedSubjects": [{"kind": "ServiceAccount", "name": "web", "namespace": "shop"}],
            },
        })
        .to_string()
    }

    /// It is sealed then.
    pub(crate) fn restart_authority(&mut self) {
        let server = &mut self.server;
        self.cluster.in_namespace(|| server.restart()).unwrap();
    }

    pub(crate) fn unseal_authority(&self) {
        self.cluster.in_namespace(|| self.server.unseal()).unwrap();
    }
}

pub(crate) fn shell(folder: &Path, script: &str) -> String {
    shell_with(folder, script, &[])
}

/// The same with more in its environment.
pub(crate) fn shell_with(folder: &Path, script: &str, environment: &[(&str, &str)]) -> String {
    let path = std::env::var("PATH").unwrap();
    let own = keyward().parent().map(Path::to_owned).unwrap_or_default();
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", script])
        .current_dir(folder)
        .envs(environment.iter().copied())
        .env("PATH", format!("{}:{path}", own.display()));
    let done = run(&mut bash, b"", SOON).unwrap();
    assert!(done.status.success(), "{script}: {}", done.stderr);
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// An authority that pods reach, with a root of trust whose author it believes, and a key for the namespace.
fn authority(cluster: &Cluster, repository: &Path) -> Server {
    let listener =
        format!("listener \"tcp\" {{\n address = \"{NODE_ADDRESS}:8200\"\n tls_disable = true\n}}\n");
    let mut server = Server::configured(&format!("{listener}{ON_DISK}"));
    server.initialize(1, 1);
    server.unseal();
    make_root(repository);
    endow(&server.root(), repository);
    Setting { cluster, server: &server }.configure("token-review");
    server
}

/// A root of trust and what is derived from it, beside the repository's files.
pub(crate) fn make_root(repository: &Path) {
    shell(
        repository,
        "mkdir -p shares apps/shop && keyward root init --shares 3 --required 2 --to shares --for prod > /dev/null && \
         keyward root derive author --share $(echo shares/*share-1-*) --share $(echo shares/*share-2-*) --to author.key > author.pub",
    );
}

/// Has an authority believe the repository's author, and gives it a key for the namespace `shop`, which the repository's rules
/// name then, and roles for the controller and for workloads.
pub(crate) fn endow(root: &Client, repository: &Path) {
    mount(root);
    let document = fs::read_to_string(repository.join("keyward-root.yaml")).unwrap();
    let config = json!({ "cluster": "prod", "root_document": document, "refresh": "2s" });
    root.write("sealed/config", &config).expect(204);
    let key = root.write("sealed/namespaces/shop", &json!({})).expect(200).data();
    let author = fs::read_to_string(repository.join("author.pub")).unwrap();
    let rules = json!({
        "apiVersion": "keyward.io/v1alpha1", "kind": "SealingRules",
        "recipients": {"shop": key["recipient"]}, "authors": {"root": author.trim()},
        "rules": [{"clusters": ["prod"], "recipients": ["shop"]}],
    });
    fs::write(repository.join(".keyward.yaml"), rules.to_string()).unwrap();
    root.write("sys/auth/kubernetes", &json!({ "type": "kubernetes" })).expect(204);
    go_to_bootstrap(root);
    for (role, rules, accounts, namespaces) in
        [("seal-controller", CONTROLLER, "seal-controller", "keyward"), ("workload", WORKLOAD, "*", "shop")]
    {
        root.write(&format!("sys/policies/acl/{role}"), &json!({ "policy": rules })).expect(204);
        let fields = json!({
            "bound_service_account_names": accounts,
            "bound_service_account_namespaces": namespaces,
            "audience": "keyward",
            "token_policies": role,
            "token_ttl": "10m",
            "token_type": "batch",
        });
        root.write(&format!("auth/kubernetes/role/{role}"), &fields).expect(204);
    }
}
