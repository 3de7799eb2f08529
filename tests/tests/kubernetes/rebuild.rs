//! A cluster is lost with all that ran in it, and made again from what outlives it: the Git repository, the root of trust and a
//! copy of the authority's store. What the authority knows of every secret is then the same to the byte.

use crate::delivery::world::{ACCOUNTS, endow, make_root, shell, shell_with};
use crate::login::Setting;
use keyward_testkit::cluster::{Cluster, Options, check};
use keyward_testkit::process::{Process, wait_for};
use keyward_testkit::require;
use keyward_tests::binary::keyward;
use keyward_tests::server::{Keys, PLAIN_HTTP, Server};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

const LONG: Duration = Duration::from_secs(120);

pub(crate) const CONTROLLER: &str = r#"{"apiVersion":"v1","kind":"List","items":[
    {"apiVersion":"v1","kind":"Namespace","metadata":{"name":"keyward"}},
    {"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"seal-controller","namespace":"keyward"}}]}"#;
pub(crate) const POD: &str = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web-1","namespace":"shop"},
    "spec":{"serviceAccountName":"web","containers":[{"name":"web","image":"web"}]}}"#;

/// What is kept apart from the cluster.
struct Kept {
    /// The repository; beside it, as in a safe, the root's shares and the sealed unseal keys.
    repository: TempDir,
    copies: TempDir,
    token: String,
}

impl Kept {
    fn repository(&self) -> &Path {
        self.repository.path()
    }

    fn store(&self, name: &str) -> PathBuf {
        self.copies.path().join(name)
    }
}

/// A cluster with an authority and the controller beside it.
struct Site {
    cluster: Cluster,
    server: Server,
    controller: Option<Process>,
}

impl Site {
    /// On the store `store`, which may be a copy; the authority is neither initialised nor unsealed by this.
    fn start(name: &str, store: &Path) -> Site {
        let cluster = Cluster::start(Options::named(name)).unwrap();
        let definitions = shell(store.parent().unwrap(), "keyward seal crds");
        for manifests in [ACCOUNTS, CONTROLLER, POD, &definitions] {
            cluster.kubectl(&["apply", "--server-side", "--filename=-"], manifests).unwrap();
        }
        let config = format!("{PLAIN_HTTP}storage \"sqlite\" {{\n path = \"{}\"\n}}\n", store.display());
        let server = cluster.in_namespace(|| Server::configured(&config)).unwrap();
        Site { cluster, server, controller: None }
    }

    /// In the repository, as an operator would.
    fn operate(&self, kept: &Kept, script: &str) -> String {
        let url = self.server.url();
        let environment = [("VAULT_ADDR", url.as_str()), ("VAULT_TOKEN", &kept.token)];
        self.cluster.in_namespace(|| shell_with(kept.repository(), script, &environment)).unwrap()
    }

    /// Two of the root's shares open what opens the authority.
    fn unseal(&mut self, kept: &Kept) {
        self.operate(
            kept,
            "keyward root derive recovery --share $(echo shares/*share-1-*) --share $(echo shares/*share-3-*) --to recovery.key > /dev/null && \
             keyward open --age -i recovery.key unseal.age | keyward operator unseal - && rm recovery.key",
        );
        self.server.initialized(Keys { root: kept.token.clone(), shares: Vec::new() });
    }

    /// The authority learns by whom this cluster's workloads are proved.
    fn connect(&self) {
        let Site { cluster, server, .. } = self;
        cluster.in_namespace(|| Setting { cluster, server }.configure("token-review")).unwrap();
    }

    /// Applies what the repository has, and waits until the controller has registered it.
    fn apply(&mut self, kept: &Kept) {
        let token = self.cluster.kubectl(
            &["create", "token", "seal-controller", "--namespace=keyward", "--audience=keyward"],
            "",
        );
        let file = self.server.folder().join("token");
        std::fs::write(&file, token.unwrap().trim()).unwrap();
        let mut command = self.cluster.command_in_namespace(keyward());
        command.args(["seal", "serve", "--identity=one", "--lease=", "--role=seal-controller"]);
        command.arg("--kubeconfig").arg(self.cluster.kubeconfig()).arg("--token-file").arg(&file);
        command.env("VAULT_ADDR", self.server.url());
        self.controller =
            Some(Process::spawn(&mut command, &self.server.folder().join("controller.log")).unwrap());
        let tree = kept.repository().join("apps").display().to_string();
        self.cluster.kubectl(&["apply", "--recursive", "--filename", &tree], "").unwrap();
        let ready = [
            "get",
            "sealedsecrets.keyward.io",
            "db",
            "--namespace=shop",
            "--output=jsonpath={.status.conditions[?(@.type=='Ready')].status}",
        ];
        let waited = wait_for("the controller", LONG, || {
            (self.cluster.kubectl(&ready, "").unwrap() == "True").then_some(())
        });
        waited.unwrap_or_else(|late| {
            let told = self.controller.as_ref().map(|process| process.output().unwrap_or_default());
            panic!("{late}: {}\n{}", told.unwrap_or_default(), self.server.output())
        });
    }

    fn inventory(&self, kept: &Kept) -> String {
        self.operate(kept, "keyward inventory --output json")
    }

    /// What a pod of the ServiceAccount `web` is opened.
    fn opened(&self) -> Value {
        let token = self.cluster.kubectl(
            &[
                "create",
                "token",
                "web",
                "--namespace=shop",
                "--audience=keyward",
                "--bound-object-kind=Pod",
                "--bound-object-name=web-1",
            ],
            "",
        );
        let token = token.unwrap().trim().to_owned();
        let open = || {
            let login = json!({ "role": "workload", "jwt": token });
            let auth = self.server.guest().write("auth/kubernetes/login", &login).expect(200).json();
            let pod = self.server.guest().with_token(auth["auth"]["client_token"].as_str().unwrap());
            pod.read("sealed/open/shop/db").expect(200).data()["items"].clone()
        };
        self.cluster.in_namespace(open).unwrap()
    }
}

#[test]
fn a_lost_cluster_is_rebuilt_from_git_the_root_and_a_copy_of_the_store() {
    if !require(check(false)) {
        return;
    }
    let mut kept = Kept {
        repository: tempfile::tempdir().unwrap(),
        copies: tempfile::tempdir().unwrap(),
        token: String::new(),
    };
    let mut site = Site::start("test-rebuild-0", &kept.store("0"));
    found(&mut site, &mut kept);
    let (inventory, value) = (site.inventory(&kept), site.opened());
    let known: Value = serde_json::from_str(&inventory).unwrap();
    assert_eq!(known.as_array().unwrap().len(), 2, "{inventory}");
    assert_eq!(known[0]["authority"], "runtime", "{inventory}");
    for lost in 0..2 {
        lose(site, &kept, lost);
        site = Site::start(&format!("test-rebuild-{}", lost + 1), &kept.store(&(lost + 1).to_string()));
        site.unseal(&kept);
        site.connect();
        // Accounts that are made again are others, until somebody says that these are the same.
        site.operate(&kept, "keyward delete sealed/accounts/shop/web");
        site.apply(&kept);
        assert_eq!(site.inventory(&kept), inventory, "after loss {lost}");
        assert_eq!(site.opened(), value);
        let runtime = site.operate(&kept, "keyward kv get --field password secret/shop/api");
        assert_eq!(runtime.trim(), "changed-after-the-handover");
    }
}

/// The first installation: a root, an authority whose unseal keys rest only sealed, two secrets in Git, and one of them
/// handed over.
fn found(site: &mut Site, kept: &mut Kept) {
    make_root(kept.repository());
    let shown = site.operate(
        kept,
        "keyward root derive recovery --share $(echo shares/*share-1-*) --share $(echo shares/*share-2-*) --to recovery.key > recovery.pub && \
         rm recovery.key && \
         keyward operator init -n 3 -t 2 --recipient $(cat recovery.pub) --to unseal.age --output json",
    );
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["unseal_keys_b64"], &shown["unseal_keys_hex"]), (&json!([]), &json!([])));
    kept.token = shown["root_token"].as_str().unwrap().to_owned();
    let refused = site
        .operate(kept, "keyward operator init --recipient $(cat recovery.pub) --to unseal.age 2>&1 || true");
    assert!(refused.contains("unseal.age") && refused.contains("name a new file"), "{refused}");
    site.unseal(kept);
    let root = site.server.root();
    site.cluster.in_namespace(|| endow(&root, kept.repository())).unwrap();
    site.connect();
    for (name, password) in [("db", "canary-db-Xw4Tq1"), ("api", "canary-api-Lm7Vd2")] {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "shop"},
            "stringData": {"password": password},
        });
        std::fs::write(kept.repository().join("secret.yaml"), secret.to_string()).unwrap();
        let seal = format!(
            "keyward seal secret.yaml --to apps/shop/{name}.yaml --subject web --sign-with author.key"
        );
        site.operate(kept, &format!("{seal} && rm secret.yaml"));
    }
    site.apply(kept);
    site.operate(
        kept,
        "keyward secrets enable -path=secret -version=2 kv && \
         keyward audit enable file file_path=$PWD/../audit.log && \
         keyward write sealed/phase phase=authority reason=first && \
         keyward write sealed/handover/shop/api digest=$(keyward read --field digest sealed/objects/shop/api) \
             target=secret/data/shop/api reason='the authority is up' && \
         keyward kv put secret/shop/api password=changed-after-the-handover && \
         keyward write sealed/rotated/shop/api workflow='by hand' \
             value_digest=$(keyward read --field value_digest sealed/handover/shop/api)",
    );
}

/// Everything ends at once. What there is of the store is what a copy of its disk has.
fn lose(mut site: Site, kept: &Kept, lost: usize) {
    site.server.process().kill().unwrap();
    let (from, to) = (kept.store(&lost.to_string()), kept.store(&(lost + 1).to_string()));
    shell(
        kept.copies.path(),
        &format!("cp -a {} {} && rm -r {}", from.display(), to.display(), from.display()),
    );
}
