//! TLS certificate logins: by the command line with a SPIFFE ID of our own PKI, and by hvac with certificates of another.

use crate::hvac::passes_with;
use keyward_testkit::certificates::Authority;
use keyward_testkit::process::{Finished, run};
use keyward_tests::binary::keyward;
use keyward_tests::server::{IN_MEMORY, PLAIN_HTTP, Server};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// A server with a listener for operators and one with TLS, and a folder of certificates.
struct Secured {
    server: Server,
    /// Of the listener with TLS.
    url: String,
    folder: TempDir,
}

fn secured(authority: &Authority) -> Secured {
    let folder = tempfile::tempdir().unwrap();
    let leaf = authority.issue("server", &[], &["localhost", "127.0.0.1"]).unwrap();
    keep(folder.path(), "server", &leaf.certificate, &leaf.key);
    fs::write(folder.path().join("ca.crt"), authority.certificate()).unwrap();
    let files = folder.path().display();
    let tls = format!(
        "listener \"tcp\" {{\n address = \"127.0.0.1:0\"\n tls_cert_file = \"{files}/server.crt\"\n \
         tls_key_file = \"{files}/server.key\"\n}}\n"
    );
    let mut server = Server::configured(&format!("{PLAIN_HTTP}{tls}{IN_MEMORY}"));
    server.initialize(1, 1);
    server.unseal();
    let output = server.output();
    let address = output.lines().find_map(|line| line.split_once("listening on https://"));
    let url = format!("https://{}", address.unwrap_or_else(|| panic!("{output}")).1.trim());
    Secured { server, url, folder }
}

fn keep(folder: &Path, name: &str, certificate: &str, key: &str) {
    fs::write(folder.join(format!("{name}.crt")), certificate).unwrap();
    fs::write(folder.join(format!("{name}.key")), key).unwrap();
}

impl Secured {
    /// `keyward login`, showing the certificate kept as `name`.
    fn login(&self, name: &str, words: &[&str]) -> Finished {
        let file = |name: &str| self.folder.path().join(name);
        let mut command = Command::new(keyward());
        command
            .args(["login", "--method=cert", "--token-only"])
            .args(words)
            .env("VAULT_ADDR", &self.url)
            .env("VAULT_CACERT", file("ca.crt"))
            .env("VAULT_CLIENT_CERT", file(&format!("{name}.crt")))
            .env("VAULT_CLIENT_KEY", file(&format!("{name}.key")))
            .env("VAULT_MAX_RETRIES", "0")
            .env("HOME", self.folder.path());
        run(&mut command, b"", Duration::from_secs(60)).unwrap()
    }
}

#[test]
fn a_workload_logs_in_with_its_spiffe_id() {
    let secured = secured(&Authority::new("test authority").unwrap());
    let (server, root) = (&secured.server, secured.server.root());
    root.write("sys/mounts/pki", &json!({"type": "pki"})).expect(204);
    let made =
        root.write("pki/root/generate/internal", &json!({"common_name": "mesh", "ttl": "8760h"})).expect(200);
    let authority = made.json()["data"]["certificate"].clone();
    let role = json!({"allowed_uri_sans": "spiffe://example.com/*", "require_cn": false, "key_type": "ec"});
    root.write("pki/roles/workload", &role).expect(200);
    for name in ["api", "web"] {
        let wanted = json!({"uri_sans": format!("spiffe://example.com/ns/prod/sa/{name}"), "ttl": "1h"});
        let leaf = root.write("pki/issue/workload", &wanted).expect(200).json()["data"].clone();
        let text = |field: &str| leaf[field].as_str().unwrap().to_owned();
        keep(secured.folder.path(), name, &text("certificate"), &text("private_key"));
    }
    root.write("sys/auth/cert", &json!({"type": "cert"})).expect(204);
    let entry = json!({
        "certificate": authority, "allowed_uri_sans": "spiffe://example.com/ns/prod/sa/api",
        "alias_name_source": "spiffe_id", "token_ttl": "10m",
    });
    root.write("auth/cert/certs/api", &entry).expect(204);
    let done = secured.login("api", &["name=api"]);
    assert!(done.status.success(), "{}", done.stderr);
    let token = String::from_utf8(done.stdout).unwrap();
    let own = server.guest().with_token(token.trim()).read("auth/token/lookup-self").expect(200).json();
    let metadata = &own["data"]["meta"];
    assert_eq!(metadata["spiffe_id"], "spiffe://example.com/ns/prod/sa/api", "{own}");
    assert_eq!(own["data"]["display_name"], "cert-api");
    let refused = secured.login("web", &[]);
    assert!(!refused.status.success() && refused.stderr.contains("allowed_uri_sans"), "{}", refused.stderr);
    // A certificate does not come by a listener without TLS.
    let refused = server.guest().write("auth/cert/login", &json!({})).expect(400);
    assert!(String::from_utf8_lossy(&refused.body).contains("client certificate must be supplied"));
}

#[test]
fn hvac_logs_in() {
    let authority = Authority::new("test authority").unwrap();
    let secured = secured(&authority);
    let stranger = Authority::new("another authority").unwrap();
    for (name, issuer) in [("client", &authority), ("stranger", &stranger)] {
        let leaf = issuer.issue(name, &[], &["a.example.com"]).unwrap();
        keep(secured.folder.path(), name, &leaf.certificate, &leaf.key);
    }
    let files = secured.folder.path().display().to_string();
    passes_with("test_cert", &secured.server, &[("TEST_TLS_ADDR", &secured.url), ("TEST_FILES", &files)]);
}
