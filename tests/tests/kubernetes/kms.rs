//! A real API server and etcd, with the KMS plugin between them and the authority.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use keyward_kubernetes::Source;
use keyward_testkit::cluster::{Cluster, Component, Error, Options, check};
use keyward_testkit::process::{Finished, run, wait_for};
use keyward_testkit::require;
use keyward_tests::binary::keyward;
use keyward_tests::kms::{PREFIX, Plugin, stdout};
use keyward_tests::server::{SOON, Server};
use serde_json::json;

use crate::objects::within;

/// The longest until an API server has asked its plugin again, with room for a busy machine.
pub(crate) const POLLED: Duration = Duration::from_secs(180);
/// What must be in no byte of etcd.
const CANARY: &str = "canary-7b1f0e2c-in-plain-text";
const SQLITE: &str = "storage \"sqlite\" {\n path = \"FOLDER/data\"\n}\n";
const KEY: &str = "kubernetes";

/// The block of docs/kms.md with this tag.
fn documented(tag: &str) -> String {
    let text = include_str!("../../../docs/kms.md");
    let (_, rest) = text.split_once(&format!("```{tag}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

/// Runs commands of docs/kms.md in `folder`, as who types them would.
fn follow(tag: &str, folder: &Path, programs: &Path, variables: &[(&str, &str)]) -> Finished {
    let path = std::env::var("PATH").unwrap();
    let folders = [keyward().parent().unwrap(), programs, Path::new(&path)].map(text);
    let mut shell = Command::new("bash");
    shell.args(["-eo", "pipefail", "-c", &documented(tag)]).current_dir(folder);
    run(shell.env("PATH", folders.join(":")).envs(variables.iter().copied()), b"", SOON).unwrap()
}

/// An authority with the key, and in its folder the credentials of an AppRole that may use it and nothing else.
pub(crate) fn authority() -> Server {
    let server = Server::unsealed(SQLITE);
    as_operator(&server, "sh approle");
    server
}

fn as_operator(server: &Server, tag: &str) {
    let url = server.url();
    let variables = [("VAULT_ADDR", url.as_str()), ("VAULT_TOKEN", &server.keys().root)];
    let done = follow(tag, server.folder(), server.folder(), &variables);
    assert!(done.status.success(), "{}{}", stdout(&done), done.stderr);
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn contains(bytes: &[u8], part: &str) -> bool {
    bytes.windows(part.len()).any(|window| window == part.as_bytes())
}

/// The configuration as it is shipped, but for the socket.
pub(crate) fn encryption_config(folder: &Path, socket: &Path) -> PathBuf {
    let shipped = include_str!("../../../deploy/kubernetes/encryption.yaml");
    assert!(shipped.contains("unix:///run/keyward/kms.sock"));
    let path = folder.join("encryption.yaml");
    fs::write(&path, shipped.replace("/run/keyward/kms.sock", text(socket))).unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    path
}

pub(crate) fn api_server_flags(config: &Path) -> [String; 2] {
    [
        format!("--encryption-provider-config={}", config.display()),
        "--encryption-provider-config-automatic-reload=true".to_owned(),
    ]
}

/// An API server that encrypts through `plugin`.
struct Encrypted {
    cluster: Cluster,
    plugin: Plugin,
    config: PathBuf,
}

impl Encrypted {
    fn start(name: &str, plugin: Plugin) -> Encrypted {
        let config = encryption_config(plugin.folder(), &plugin.socket());
        let options = Options::named(name);
        let options =
            api_server_flags(&config).iter().fold(options, |options, flag| options.api_server_flag(flag));
        Encrypted { cluster: Cluster::start(options).unwrap(), plugin, config }
    }

    fn write(&self, name: &str, word: &str) -> Result<(), Error> {
        let word = format!("--from-literal=word={word}");
        let made = self
            .cluster
            .kubectl(&["create", "secret", "generic", name, &word, "--dry-run=client", "-o=json"], "");
        self.cluster.kubectl(&["apply", "--filename=-"], &made.unwrap()).map(drop)
    }

    fn read(&self, name: &str) -> Result<String, Error> {
        self.cluster
            .kubectl(&["get", "secret", name, "--output=go-template={{.data.word | base64decode}}"], "")
    }

    #[track_caller]
    fn assert_reads(&self, name: &str, word: &str) {
        assert_eq!(self.read(name).unwrap(), word, "{}", self.plugin.output());
    }

    fn raw(&self, name: &str) -> Vec<u8> {
        self.cluster.etcd_get(&path_of(name)).unwrap().unwrap()
    }

    /// The API server's health; asked often, it asks the plugin sooner than it would by itself.
    fn health(&self) -> Result<(), String> {
        let asked = self.cluster.kubectl(&["get", "--raw=/healthz/kms-providers"], "");
        asked.map(drop).map_err(|error| error.to_string())
    }

    fn wait_for_health(&self, wanted: bool) {
        let seen = wait_for("the API server's health to change", POLLED, || {
            std::thread::sleep(Duration::from_secs(1));
            (self.health().is_ok() == wanted).then_some(())
        });
        seen.unwrap_or_else(|late| panic!("{late}: {:?}: {}", self.health(), self.plugin.output()));
    }

    /// Waits until what is written is under `key_id`.
    fn wait_for_adoption(&self, key_id: &str) {
        let adopted = wait_for("the API server to adopt the new key", POLLED, || {
            std::thread::sleep(Duration::from_secs(1));
            let _ = self.health();
            self.write("probe", &format!("{:?}", Instant::now())).unwrap();
            contains(&self.raw("probe"), key_id).then_some(())
        });
        adopted.unwrap_or_else(|late| panic!("{late}: {}", self.plugin.output()));
    }

    /// Exit code and output of `kms inspect` on all that etcd holds.
    fn inspect(&self, key_id: &str) -> (Option<i32>, String) {
        let file = self.plugin.folder().join("before.db");
        self.cluster.etcd_snapshot(&file).unwrap();
        let arguments =
            ["inspect", "--snapshot", text(&file), "--resource", "secrets", "--all-under", key_id];
        told(&self.plugin.kms(&arguments))
    }

    /// Rewrites every Secret and proves that none is left under another key than the present one.
    fn migrate(&self) -> (Option<i32>, String) {
        let socket = self.plugin.socket();
        let variables = [("KEYWARD_KMS_SOCKET", text(&socket))];
        told(&follow("sh migrate", self.plugin.folder(), &self.cluster.programs(), &variables))
    }

    /// After the provider's key was rotated: the new key is adopted, everything is rewritten, nothing is left.
    fn migrates_from(&self, old_key: &str) {
        let new_key = self.plugin.wait_for_key(|key| key != old_key);
        self.wait_for_adoption(&new_key);
        let (code, left) = self.inspect(&new_key);
        assert_eq!(code, Some(2), "{left}");
        assert!(left.contains(old_key) && left.contains("secrets/default/app"), "{left}");
        let (code, left) = self.migrate();
        assert_eq!(code, Some(0), "{left}");
        assert!(left.contains(&new_key) && !left.contains(old_key), "{left}");
        self.assert_reads("app", CANARY);
    }
}

fn told(finished: &Finished) -> (Option<i32>, String) {
    (finished.status.code(), stdout(finished) + &finished.stderr)
}

fn path_of(secret: &str) -> String {
    format!("/registry/secrets/default/{secret}")
}

#[test]
fn secrets_rest_as_ciphertext_whatever_happens_to_the_parts() {
    if !require(check(false)) {
        return;
    }
    let mut server = authority();
    let [role_id, secret_id] = ["role-id", "secret-id"].map(|name| server.folder().join(name));
    let files = ["--role-id-file", text(&role_id), "--secret-id-file", text(&secret_id)];
    let plugin = Plugin::stopped(&server.url(), &["--key", KEY]).with(&files);
    let mut here = Encrypted::start("test-kms", plugin.started());
    etcd_holds_ciphertext_alone(&here);
    who_writes_secrets_sees_that_they_are_encrypted(&here);
    a_moved_ciphertext_is_refused(&here);
    a_rotation_leaves_nothing_under_the_old_key(&here, &server);
    an_absent_authority_stops_no_reads(&mut here, &mut server);
    a_sealed_authority_is_told(&here, &server);
    the_api_server_starts_after_the_plugin(&mut here);
    the_doctor_tells_right_from_wrong(&mut here, &server);
    assert!(!here.plugin.output().contains(CANARY) && !server.output().contains(CANARY));
}

fn who_writes_secrets_sees_that_they_are_encrypted(here: &Encrypted) {
    let source = Source { kubeconfig: Some(here.cluster.kubeconfig()), context: None };
    within(&here.cluster, async {
        let cluster = keyward_kubernetes::Cluster::connect(&source).await.unwrap();
        keyward_agent::verify_at_rest(&cluster, "default").await.unwrap();
    });
    let left = here.cluster.kubectl(&["get", "secrets", "--output=name"], "").unwrap();
    assert_eq!(left.trim(), "secret/app");
}

fn etcd_holds_ciphertext_alone(here: &Encrypted) {
    here.write("app", CANARY).unwrap();
    here.assert_reads("app", CANARY);
    let raw = here.raw("app");
    assert!(raw.starts_with(b"k8s:enc:kms:v2:") && raw.starts_with(PREFIX));
    // What is not encrypted shows that the words would be found.
    let word = format!("--from-literal=word={CANARY}-shown");
    here.cluster.kubectl(&["create", "configmap", "app", &word], "").unwrap();
    let file = here.plugin.folder().join("all.db");
    here.cluster.etcd_snapshot(&file).unwrap();
    let all = fs::read(file).unwrap();
    let found = all.windows(CANARY.len()).filter(|window| *window == CANARY.as_bytes()).count();
    let shown = format!("{CANARY}-shown");
    let expected = all.windows(shown.len()).filter(|window| *window == shown.as_bytes()).count();
    assert!(expected > 0 && found == expected, "{found} of which {expected} are meant to be there");
}

fn a_moved_ciphertext_is_refused(here: &Encrypted) {
    let moved = path_of("moved");
    let done = run(here.cluster.etcdctl_command().args(["put", &moved]), &here.raw("app"), SOON).unwrap();
    assert!(done.status.success(), "{}", done.stderr);
    assert_eq!(here.raw("moved"), here.raw("app"));
    let refused = here.read("moved").unwrap_err().to_string();
    assert!(refused.contains("message authentication failed"), "{refused}");
    assert!(!refused.contains(CANARY));
    // It is in the way of every list until it is gone.
    here.cluster.etcdctl(&["del", &moved]).unwrap();
    let all = || here.cluster.kubectl(&["get", "secrets", "--all-namespaces"], "").ok();
    wait_for("lists to work again", POLLED, all).unwrap();
}

fn a_rotation_leaves_nothing_under_the_old_key(here: &Encrypted, server: &Server) {
    let old_key = here.plugin.key_id().unwrap();
    as_operator(server, "sh rotate");
    here.migrates_from(&old_key);
}

fn an_absent_authority_stops_no_reads(here: &mut Encrypted, server: &mut Server) {
    let key_id = here.plugin.key_id().unwrap();
    server.stop();
    let gone = wait_for("the plugin to notice", SOON, || here.plugin.key_id().err()).unwrap();
    assert!(gone.contains(&server.url()), "{gone}");
    here.assert_reads("app", CANARY);

    here.plugin.process().kill().unwrap();
    let before = here.plugin.output().len();
    here.plugin.start();
    let failed = || here.plugin.output()[before..].contains("the provider failed its check").then_some(());
    wait_for("the restarted plugin to say that its provider is away", SOON, failed).unwrap();
    wait_for("the restarted plugin to serve", SOON, || {
        here.plugin.output()[before..].contains("\"serving\"").then_some(())
    })
    .unwrap();
    assert!(here.plugin.key_id().is_err());
    here.wait_for_health(false);
    here.assert_reads("app", CANARY);

    server.restart();
    let sealed = wait_for("the plugin to find it sealed", SOON, || {
        here.plugin.key_id().err().filter(|why| why.contains("sealed"))
    });
    sealed.unwrap();
    server.unseal();
    assert_eq!(here.plugin.wait_for_key(|_| true), key_id);
    here.wait_for_health(true);
    here.write("after", "written after the authority came back").unwrap();
    here.assert_reads("after", "written after the authority came back");
}

fn a_sealed_authority_is_told(here: &Encrypted, server: &Server) {
    server.root().write("sys/seal", &json!({})).expect(204);
    let refused = wait_for("the status to fail", SOON, || here.plugin.key_id().err()).unwrap();
    assert!(refused.contains("sealed"), "{refused}");
    here.wait_for_health(false);
    let readiness = here.cluster.kubectl(&["get", "--raw=/readyz"], "").unwrap_err().to_string();
    assert!(readiness.contains("kms-providers"), "{readiness}");
    here.cluster.kubectl(&["get", "--raw=/livez?exclude=kms-providers"], "").unwrap();
    here.assert_reads("app", CANARY);
    server.unseal();
    here.wait_for_health(true);
    here.write("unsealed", "written after the unsealing").unwrap();
}

fn the_api_server_starts_after_the_plugin(here: &mut Encrypted) {
    here.cluster.stop_component(Component::ApiServer).unwrap();
    assert!(here.plugin.stop().success());
    here.plugin.start();
    here.cluster.start_component(Component::ApiServer).unwrap();
    here.cluster.wait_ready(POLLED).unwrap();
    here.assert_reads("app", CANARY);
    here.write("restarted", "written after the restart").unwrap();
    assert!(here.raw("restarted").starts_with(PREFIX));
}

fn the_doctor_tells_right_from_wrong(here: &mut Encrypted, server: &Server) {
    let (config, files) = (text(&here.config).to_owned(), here.plugin.folder().to_owned());
    let state = here.plugin.state();
    let [role_id, secret_id] = ["role-id", "secret-id"].map(|name| server.folder().join(name));
    let url = server.url();
    let manifest = files.join("kube-apiserver.yaml");
    let example = documented("yaml apiserver");
    assert!(example.contains("mountPath: /run/keyward}"));
    fs::write(&manifest, example.replace("/run/keyward", text(&files))).unwrap();
    let usual = [
        ("--apiserver-manifest", text(&manifest)),
        ("--address", url.as_str()),
        ("--key", KEY),
        ("--role-id-file", text(&role_id)),
        ("--secret-id-file", text(&secret_id)),
        ("--state", text(&state)),
        ("--encryption-config", &config),
    ];
    let examine = |plugin: &Plugin, replaced: &[(&str, &str)]| {
        let value = |name: &str| replaced.iter().find(|(replaced, _)| *replaced == name);
        let words = usual.iter().map(|given| value(given.0).unwrap_or(given));
        let words: Vec<&str> = words.flat_map(|(name, value)| [*name, *value]).collect();
        told(&plugin.kms(&[&["doctor"], words.as_slice()].concat()))
    };
    let (code, report) = examine(&here.plugin, &[]);
    let whole = report.contains("0 failed, 0 warnings") && !report.contains("skipped");
    assert!(code == Some(0) && whole, "{report}");

    let good = fs::read_to_string(&config).unwrap();
    let wrong = files.join("wrong.yaml");
    for (from, to, words) in [
        ("- secrets", "- configmaps", "list secrets under resources"),
        ("    providers:\n", "    providers:\n      - identity: {}\n", "secrets are written as plain text"),
        ("kms.sock", "other.sock", "no kms provider has the endpoint"),
        ("apiVersion: v2", "apiVersion: v1", "write apiVersion: v2"),
        ("timeout: 3s", "timeout: 3 seconds", "write 3s"),
    ] {
        assert!(good.contains(from), "{from}");
        fs::write(&wrong, good.replace(from, to)).unwrap();
        let (code, report) = examine(&here.plugin, &[("--encryption-config", text(&wrong))]);
        assert!(code == Some(2) && report.contains(words), "{to}: {report}");
    }
    let bare = here.plugin.secret("bare", "s.a-token-that-nobody-gave");
    for (name, value, words) in [
        ("--key", "absent", "allow read on keys/KEY"),
        ("--address", "http://127.0.0.1:1", "see that the provider runs and is unsealed"),
        ("--secret-id-file", text(&bare), "give valid credentials"),
        ("--state", text(&files.join("absent")), "correct the path"),
    ] {
        let (code, report) = examine(&here.plugin, &[(name, value)]);
        assert!(code == Some(2) && report.contains(words), "{name} {value}: {report}");
    }
    assert!(here.plugin.stop().success());
    let (code, report) = examine(&here.plugin, &[]);
    assert!(code == Some(2) && report.contains("start the plugin"), "{report}");
    here.plugin.start();
}

const IDENTITIES: [&str; 2] = [
    "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX",
    "AGE-SECRET-KEY-1GDP5XS6RGDP5XS6RGDP5XS6RGDP5XS6RGDP5XS6RGDP5XS6RGDPSST380Y",
];

#[test]
fn an_age_identity_is_rotated_and_its_loss_stops_writes() {
    if !require(check(false)) {
        return;
    }
    let plugin = Plugin::stopped("http://127.0.0.1:1", &[]);
    let identity = plugin.secret("identity", IDENTITIES[0]);
    let plugin = plugin.with(&["--identity", text(&identity)]).started();
    let here = Encrypted::start("test-kms-age", plugin);
    here.write("app", CANARY).unwrap();
    let raw = here.raw("app");
    assert!(raw.starts_with(PREFIX) && !contains(&raw, CANARY));

    let old_key = here.plugin.key_id().unwrap();
    here.plugin.secret("identity", &format!("{}\n{}\n", IDENTITIES[1], IDENTITIES[0]));
    here.migrates_from(&old_key);
    // Nothing is left under the first: it may go.
    here.plugin.secret("identity", IDENTITIES[1]);
    let new_key = here.plugin.wait_for_key(|key| key != old_key);

    let away = here.plugin.folder().join("away");
    fs::rename(&identity, &away).unwrap();
    let lost = wait_for("the status to fail", SOON, || here.plugin.key_id().err()).unwrap();
    assert!(lost.contains(text(&identity)), "{lost}");
    // The last good status, at most a minute old, allows three minutes of writing.
    let refused = wait_for("writes to stop", Duration::from_secs(260), || {
        std::thread::sleep(Duration::from_secs(2));
        here.write("stopped", &format!("{:?}", Instant::now())).err()
    });
    let refused = refused.unwrap_or_else(|late| panic!("{late}: {}", here.plugin.output())).to_string();
    assert!(refused.contains("encrypt"), "{refused}");
    here.assert_reads("app", CANARY);
    fs::rename(&away, &identity).unwrap();
    assert_eq!(here.plugin.wait_for_key(|_| true), new_key);
    here.wait_for_health(true);
    here.write("resumed", "written after the identity came back").unwrap();
}
