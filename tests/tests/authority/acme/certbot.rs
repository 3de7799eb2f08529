//! certbot, the client that most people know: obtains, renews and revokes by http-01 with its own web server.

use super::{Issuing, World, write};
use keyward_crypto::x509::{Certificate, San, pem};
use keyward_testkit::process::{Finished, free_port, run};
use keyward_testkit::{require, tools};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const NAMES: [&str; 2] = ["certbot.example.test", "www.certbot.example.test"];

struct Certbot<'a> {
    program: PathBuf,
    issuing: &'a Issuing,
    http_port: String,
}

impl Certbot<'_> {
    fn folder(&self) -> PathBuf {
        self.issuing.server.folder().join("certbot")
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        let folder = self.folder();
        let mut command = Command::new(&self.program);
        command.args(arguments).args(["--non-interactive", "--server", &self.issuing.directory()]);
        for (option, name) in [("--config-dir", "config"), ("--work-dir", "work"), ("--logs-dir", "logs")] {
            command.arg(option).arg(folder.join(name));
        }
        command.env("REQUESTS_CA_BUNDLE", self.issuing.server.folder().join("roots.pem"));
        run(&mut command, b"", Duration::from_secs(180)).unwrap()
    }

    fn succeeds(&self, arguments: &[&str]) {
        let finished = self.run(arguments);
        assert!(
            finished.status.success(),
            "certbot {arguments:?}: {}\n{}\n{}",
            String::from_utf8_lossy(&finished.stdout),
            finished.stderr,
            self.issuing.server.output()
        );
    }

    /// Obtains by http-01, with certbot's own web server.
    fn by_own_server<'a>(&'a self, verb: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let own = ["--standalone", "--http-01-address", "127.0.0.1", "--http-01-port", &self.http_port];
        [&[verb][..], &own[..], more].concat()
    }

    /// The certificate that is live.
    fn live(&self) -> Certificate {
        let path = self.folder().join("config/live").join(NAMES[0]).join("fullchain.pem");
        let chain = pem::blocks(&std::fs::read_to_string(path).unwrap()).unwrap();
        let [leaf, root] = &chain[..] else { panic!("{} certificates", chain.len()) };
        let (leaf, root) = (Certificate::read(&leaf.der).unwrap(), Certificate::read(&root.der).unwrap());
        assert!(leaf.signed_by(&root) && root.self_signed());
        let mut names = leaf.alternative_names().unwrap();
        names.sort_by_key(|name| format!("{name:?}"));
        assert_eq!(names, NAMES.map(|name| San::Dns(name.to_owned())));
        leaf
    }
}

#[test]
fn certbot_obtains_renews_and_revokes() {
    let pins = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/certbot/requirements.txt"));
    let tools = tools::python(pins);
    if !require(tools.as_ref().map(|_| ())) {
        return;
    }
    let http_port = free_port().unwrap();
    let issuing = Issuing::looking_at(World::new(), http_port, true);
    issuing.configure(&json!({"eab_policy": "always-required"}));
    let bound = write(&issuing.server.root(), "pki/acme/new-eab", &json!({}));
    let program = tools.unwrap().join("certbot");
    let certbot = Certbot { program, issuing: &issuing, http_port: http_port.to_string() };
    let mail = ["--agree-tos", "-m", "me@example.org", "--no-eff-email"];
    let stranger = certbot.run(&[&["register"][..], &mail].concat());
    assert!(!stranger.status.success(), "an account that is bound to nobody");
    let (id, key) = (bound["id"].as_str().unwrap(), bound["key"].as_str().unwrap());
    certbot.succeeds(&[&["register", "--eab-kid", id, "--eab-hmac-key", key][..], &mail].concat());
    certbot.succeeds(&certbot.by_own_server("certonly", &["-d", NAMES[0], "-d", NAMES[1]]));
    let first = certbot.live();
    // Not due yet, and then by force, as its timer would when it is.
    certbot.succeeds(&["renew", "--no-random-sleep-on-renew"]);
    assert_eq!(certbot.live().serial(), first.serial());
    certbot.succeeds(&["renew", "--force-renewal", "--no-random-sleep-on-renew"]);
    let second = certbot.live();
    assert_ne!(second.serial(), first.serial());
    certbot.succeeds(&["revoke", "--cert-name", NAMES[0], "--no-delete-after-revoke"]);
    let serial: String = second.serial().iter().map(|byte| format!("{byte:02x}")).collect();
    let revoked = issuing.server.root().list("pki/certs/revoked").expect(200).json();
    let keys = revoked["data"]["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[0].as_str().unwrap().replace(':', ""), serial);
}
