//! A cluster whose policies are served, as its operator set it up.

use keyward_testkit::cluster::{Cluster, NODE_ADDRESS, Options};
use keyward_testkit::process::{Process, free_port, run, wait_for};
use keyward_tests::binary::keyward;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub(super) const LIMIT: Duration = Duration::from_secs(90);

pub(super) fn pod(name: &str, namespace: &str, image: &str, root: bool) -> String {
    let security = if root { json!({}) } else { json!({"runAsNonRoot": true}) };
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
        "spec": {"automountServiceAccountToken": false,
            "containers": [{"name": "app", "image": image, "securityContext": security}]},
    })
    .to_string()
}

/// A cluster, and who serves its policies.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) folder: tempfile::TempDir,
    port: u16,
}

impl World {
    pub(crate) fn start(name: &str) -> World {
        World::start_with(Options::named(name))
    }

    pub(super) fn start_with(options: Options) -> World {
        let cluster = Cluster::start(options).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let port = cluster.in_namespace(free_port).unwrap().unwrap();
        let world = World { cluster, folder, port };
        world.apply(include_str!("../../../../deploy/kubernetes/policy.yaml")).unwrap();
        world.kubectl(&["create", "namespace", "production"], "").unwrap();
        for namespace in ["default", "production", "kube-system"] {
            wait_for("the ServiceAccount of pods", LIMIT, || {
                let made =
                    world.kubectl(&["create", "serviceaccount", "default", "--namespace", namespace], "");
                made.map_err(|why| why.contains("already exists"))
                    .map_or_else(|there| there.then_some(()), |_| Some(()))
            })
            .unwrap();
        }
        world.define();
        world
    }

    /// Where policies are served.
    pub(super) fn address(&self) -> String {
        format!("{NODE_ADDRESS}:{}", self.port)
    }

    pub(super) fn wait_until(&self, what: &str, condition: impl Fn() -> bool) {
        wait_for(what, LIMIT, || condition().then_some(())).unwrap();
    }

    /// Defines the kinds of policies and reports.
    pub(super) fn define(&self) {
        let world = self;
        let crds = run(Command::new(keyward()).args(["policy", "crds"]), b"", LIMIT).unwrap();
        assert!(crds.status.success(), "{}", crds.stderr);
        let crds = String::from_utf8(crds.stdout).unwrap();
        world.kubectl(&["apply", "--server-side", "--filename=-"], &crds).unwrap();
        world.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"], "").unwrap();
    }

    pub(crate) fn kubectl(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        self.cluster.kubectl(arguments, input).map_err(|why| why.to_string())
    }

    pub(crate) fn apply(&self, manifest: &str) -> Result<String, String> {
        self.kubectl(&["apply", "--filename=-"], manifest)
    }

    pub(super) fn json(&self, arguments: &[&str]) -> Value {
        let text = self.kubectl(&[arguments, &["--output=json"]].concat(), "").unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// The way in for the ServiceAccount that policies are served as.
    pub(super) fn kubeconfig(&self) -> PathBuf {
        let file = self.folder.path().join("policy.kubeconfig");
        let token = self
            .kubectl(&["create", "token", "keyward-policy", "--namespace=keyward", "--duration=2h"], "")
            .unwrap();
        std::fs::copy(self.cluster.kubeconfig(), &file).unwrap();
        let set = |arguments: &[&str]| {
            let file = format!("--kubeconfig={}", file.display());
            self.kubectl(&[&["config", &*file], arguments].concat(), "").unwrap();
        };
        set(&["set-credentials", "policy", &format!("--token={}", token.trim())]);
        let context = self.kubectl(&["config", "current-context"], "").unwrap();
        set(&["set-context", context.trim(), "--user=policy"]);
        file
    }

    /// Serves policies at a URL.
    pub(crate) fn serve(&self, identity: &str, more: &[&str]) -> Process {
        let address = self.address();
        let url = format!("https://{address}");
        self.start_serving(identity, &[&["--listen", &address, "--url", &url], more].concat())
    }

    /// Serves policies behind the Service.
    pub(super) fn serve_service(&self, port: u16, identity: &str) -> Process {
        self.start_serving(identity, &["--listen", &format!("{NODE_ADDRESS}:{port}")])
    }

    fn start_serving(&self, identity: &str, arguments: &[&str]) -> Process {
        let mut command = self.cluster.command_in_namespace(keyward());
        command.args(["policy", "serve", "--identity", identity]);
        command.arg("--kubeconfig").arg(self.kubeconfig()).args(arguments);
        let log = self.folder.path().join(format!("{identity}.log"));
        let mut process = Process::spawn(&mut command, &log).unwrap();
        wait_for("policies to be served", LIMIT, || {
            assert!(process.exited().unwrap().is_none(), "{}", process.output().unwrap());
            process.output().ok().filter(|text| text.contains("ready"))
        })
        .unwrap_or_else(|why| panic!("{why}: {}", process.output().unwrap()));
        process
    }

    /// What Prometheus reads.
    pub(super) fn metrics(&self) -> String {
        self.page("/metrics")
    }

    pub(super) fn page(&self, path: &str) -> String {
        let mut command = self.cluster.command_in_namespace("curl");
        command.args(["--silent", "--insecure", &format!("https://{NODE_ADDRESS}:{}{path}", self.port)]);
        String::from_utf8(run(&mut command, b"", LIMIT).unwrap().stdout).unwrap()
    }

    pub(super) fn refusal(&self, manifest: &str) -> String {
        self.kubectl(&["create", "--dry-run=server", "--filename=-"], manifest).unwrap_err()
    }

    /// Waits until something is refused with these words.
    pub(super) fn wait_for_refusal(&self, manifest: &str, words: &str) -> String {
        let mut last = String::new();
        wait_for("a refusal", LIMIT, || {
            let tried = self.kubectl(&["create", "--dry-run=server", "--filename=-"], manifest);
            last = tried.map_or_else(|why| why, |_| "it is allowed".to_owned());
            last.contains(words).then(|| last.clone())
        })
        .unwrap_or_else(|why| panic!("{why}: {last}"))
    }

    /// The certificate that is shown, as openssl prints it.
    pub(super) fn shown(&self, folder: &Path) -> String {
        let mut command = self.cluster.command_in_namespace("openssl");
        command.args(["s_client", "-connect", &format!("{NODE_ADDRESS}:{}", self.port)]).current_dir(folder);
        let shown = String::from_utf8(run(&mut command, b"", LIMIT).unwrap().stdout).unwrap();
        shown.split("END CERTIFICATE").next().unwrap_or_default().to_owned()
    }
}
