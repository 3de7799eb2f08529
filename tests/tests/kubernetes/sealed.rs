//! Sealed secrets are opened for pods of a real API server: by tokens that are bound to them, and by no others.

use crate::login::{ACCOUNTS, Setting};
use keyward_intent::{Phase, SealedSecret};
use keyward_testkit::certificates::Authority;
use keyward_testkit::cluster::{Cluster, Options, check};
use keyward_testkit::process::{free_port, run, wait_for};
use keyward_testkit::require;
use keyward_tests::binary::keyward;
use keyward_tests::http::Client;
use keyward_tests::sealed::{Author, go_to_bootstrap};
use keyward_tests::server::{IN_MEMORY, Server};
use serde_json::json;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// The longest an API server and then the authority believe a token that they have seen, on a loaded machine.
const FORGOTTEN: Duration = Duration::from_secs(90);

const PODS: &str = r#"{"apiVersion":"v1","kind":"List","items":[
    {"apiVersion":"v1","kind":"Pod","metadata":{"name":"api-1","namespace":"prod"},
        "spec":{"serviceAccountName":"api","containers":[{"name":"api","image":"api"}]}},
    {"apiVersion":"v1","kind":"Pod","metadata":{"name":"other-1","namespace":"prod"},
        "spec":{"serviceAccountName":"other","containers":[{"name":"other","image":"other"}]}}]}"#;

fn token_of(cluster: &Cluster, account: &str, pod: Option<&str>) -> String {
    let mut arguments: Vec<String> =
        ["create", "token", account, "--namespace=prod", "--audience=keyward"].map(str::to_owned).into();
    if let Some(pod) = pod {
        arguments.extend(["--bound-object-kind=Pod".to_owned(), format!("--bound-object-name={pod}")]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    cluster.kubectl(&arguments, "").unwrap().trim().to_owned()
}

fn prepare(server: &Server) -> Author {
    let root = &server.root();
    let options = json!({ "file_path": server.folder().join("audit.log") });
    root.write("sys/audit/file", &json!({ "type": "file", "options": options })).expect(204);
    let author = Author::trusted_by(root, "prod");
    let rules = r#"path "sealed/open/*" { capabilities = ["read", "update"] }"#;
    root.write("sys/policies/acl/workload", &json!({ "policy": rules })).expect(204);
    root.write("sys/auth/kubernetes", &json!({ "type": "kubernetes" })).expect(204);
    go_to_bootstrap(root);
    let role = json!({
        "bound_service_account_names": "*",
        "bound_service_account_namespaces": "prod",
        "audience": "keyward",
        "token_policies": "workload",
        "token_ttl": "10m",
    });
    root.write("auth/kubernetes/role/api", &role).expect(204);
    author
}

/// Asserts that `client` is refused the object `db`, for `why`, which only the audit log says.
fn refused(server: &Server, client: &Client, why: &str) {
    client.read("sealed/open/prod/db").refused(403, "permission denied");
    let log = std::fs::read_to_string(server.folder().join("audit.log")).unwrap();
    let last = log.lines().last().unwrap();
    assert!(last.contains(why), "{why}: {last}");
}

#[test]
fn a_pod_is_opened_what_is_sealed_for_its_account() {
    if !require(check(false)) {
        return;
    }
    let cluster = Cluster::start(Options::named("test-sealed")).unwrap();
    cluster.kubectl(&["apply", "--filename=-"], ACCOUNTS).unwrap();
    cluster.kubectl(&["apply", "--filename=-"], PODS).unwrap();
    let finished = cluster.in_namespace(|| {
        let tls = Tls::new();
        let server = tls.server();
        let root = server.root();
        let author = prepare(&server);
        let setting = Setting { cluster: &cluster, server: &server };
        setting.configure("token-review");
        let object = author.register(&root, "db", "api", Phase::Steady, "hunter2");
        let (_, api) = setting.holder(&token_of(&cluster, "api", Some("api-1")));
        let opened = api.read("sealed/open/prod/db").expect(200).data();
        assert_eq!(opened["items"]["password"], "aHVudGVyMg==");
        assert_eq!((&opened["version"], &opened["digest"]), (&object["version"], &object["digest"]));

        let (_, other) = setting.holder(&token_of(&cluster, "other", Some("other-1")));
        refused(&server, &other, "subjects: prod/other is not among them");
        let (_, unbound) = setting.holder(&token_of(&cluster, "api", None));
        refused(&server, &unbound, "not bound to a pod");

        an_agent_delivers_over_tls(&tls, &server, &token_of(&cluster, "api", Some("api-1")));
        rolled_back(&root, &author.seal("db", "other", Phase::Steady, "stolen"));
        an_account_made_again(&setting, &author);
    });
    finished.unwrap();
}

/// A server's certificates, and a port for them.
struct Tls {
    folder: TempDir,
    port: u16,
}

impl Tls {
    fn new() -> Tls {
        let folder = tempfile::tempdir().unwrap();
        let [authority, other] = ["test authority", "another"].map(|name| Authority::new(name).unwrap());
        let leaf = authority.issue("server", &[], &["localhost"]).unwrap();
        for (name, text) in [
            ("tls.crt", leaf.certificate.as_str()),
            ("tls.key", &leaf.key),
            ("ca.crt", &authority.certificate()),
            ("other.crt", &other.certificate()),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Tls { folder, port: free_port().unwrap() }
    }

    fn server(&self) -> Server {
        let (files, port) = (self.folder.path().display(), self.port);
        Server::unsealed(&format!(
            "listener \"tcp\" {{\n address = \"127.0.0.1:{port}\"\n tls_cert_file = \"{files}/tls.crt\"\n \
             tls_key_file = \"{files}/tls.key\"\n}}\n{IN_MEMORY}"
        ))
    }
}

/// The agent of the pod believes the certificates that it was told to, and no others.
fn an_agent_delivers_over_tls(tls: &Tls, server: &Server, token: &str) {
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    let (to, jwt) = (memory.path().join("secrets"), server.folder().join("pod.jwt"));
    std::fs::create_dir(&to).unwrap();
    std::fs::write(&jwt, token).unwrap();
    let deliver = |believed: &str, patience| {
        let mut agent = Command::new(keyward());
        agent.args(["agent", "--once", "--object=db", "--of-namespace=prod", "--role=api"]);
        agent.arg("--to").arg(&to).arg("--token-file").arg(&jwt);
        agent.env("VAULT_ADDR", format!("https://localhost:{}", tls.port));
        agent.env("VAULT_CACERT", tls.folder.path().join(believed));
        run(&mut agent, b"", patience)
    };
    // It goes on trying: what it asked for may be there later.
    let stranger = deliver("other.crt", Duration::from_secs(5));
    assert!(stranger.is_err() || stranger.is_ok_and(|done| !done.status.success()));
    assert!(!to.join("db").exists());
    let done = deliver("ca.crt", FORGOTTEN).unwrap();
    assert!(done.status.success(), "{}", done.stderr);
    assert_eq!(std::fs::read_to_string(to.join("db/password")).unwrap(), "hunter2");
}

/// Another object of the version that was seen is refused, and so what was there is opened still.
fn rolled_back(root: &Client, forged: &SealedSecret) {
    let body = json!({ "manifest": forged });
    root.write("sealed/objects/prod/db", &body).refused(400, "another 1 than this one was registered");
}

/// Deleted and made again under its name, the account is another one for what is bound to its UID.
fn an_account_made_again(setting: &Setting<'_>, author: &Author) {
    let Setting { cluster, server } = setting;
    let root = server.root();
    let uid = ["get", "serviceaccount", "api", "--namespace=prod", "--output=jsonpath={.metadata.uid}"];
    let bound = format!("api@{}", cluster.kubectl(&uid, "").unwrap());
    author.register(&root, "bound", &bound, Phase::Steady, "hunter3");
    let (_, before) = setting.holder(&token_of(cluster, "api", Some("api-1")));
    before.read("sealed/open/prod/bound").expect(200);
    for step in [
        &["delete", "pod", "api-1", "--namespace=prod", "--grace-period=0", "--force"][..],
        &["delete", "serviceaccount", "api", "--namespace=prod"],
    ] {
        cluster.kubectl(step, "").unwrap();
    }
    cluster.kubectl(&["apply", "--filename=-"], ACCOUNTS).unwrap();
    cluster.kubectl(&["apply", "--filename=-"], PODS).unwrap();
    let jwt = token_of(cluster, "api", Some("api-1"));
    let (_, after) = wait_for("the new account to be believed", FORGOTTEN, || {
        let answer = server.guest().write("auth/kubernetes/login", &json!({ "role": "api", "jwt": jwt }));
        (answer.status == 200).then(|| setting.holder(&jwt))
    })
    .unwrap();
    after.read("sealed/open/prod/db").expect(200);
    after.read("sealed/open/prod/bound").refused(403, "permission denied");
}
