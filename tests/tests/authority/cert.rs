//! TLS certificate logins: by the command line with a SPIFFE ID of our own PKI, and by hvac with certificates of another.

use crate::hvac::passes_with;
use keyward_testkit::certificates::Authority;
use keyward_testkit::process::{Finished, Process, run, wait_for};
use keyward_tests::binary::keyward;
use keyward_tests::server::{IN_MEMORY, PLAIN_HTTP, SOON, Server};
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

/// An authority in the PKI engine, whose certificates say where its list and its OCSP servers are, and an entry that trusts it.
fn issuing(secured: &Secured, entry: &serde_json::Value) {
    let (server, root) = (&secured.server, secured.server.root());
    root.write("sys/mounts/pki", &json!({"type": "pki"})).expect(204);
    let made = json!({"common_name": "clients", "key_type": "ec", "ttl": "8760h"});
    let authority = root.write("pki/root/generate/internal", &made).expect(200).data()["certificate"].clone();
    fs::write(secured.folder.path().join("clients.pem"), authority.as_str().unwrap()).unwrap();
    let urls = json!({"ocsp_servers": format!("{}/v1/pki/ocsp", server.url())});
    root.write("pki/config/urls", &urls).expect(200);
    root.write("pki/roles/client", &json!({"allow_any_name": true, "key_type": "ec"})).expect(200);
    root.write("sys/auth/cert", &json!({"type": "cert"})).expect(204);
    root.write("auth/cert/certs/all", &json!({ "certificate": authority })).expect(204);
    root.write("auth/cert/certs/all", entry).expect(204);
}

/// Issues a certificate and keeps it as `name`; answers with its serial number.
fn client(secured: &Secured, name: &str) -> String {
    let wanted = json!({"common_name": name, "ttl": "1h"});
    let leaf = secured.server.root().write("pki/issue/client", &wanted).expect(200).data();
    let text = |field: &str| leaf[field].as_str().unwrap().to_owned();
    keep(secured.folder.path(), name, &text("certificate"), &text("private_key"));
    text("serial_number")
}

fn revoke(secured: &Secured, serial: &str) {
    secured.server.root().write("pki/revoke", &json!({ "serial_number": serial })).expect(200);
}

#[test]
fn our_own_ocsp_and_list_keep_out_who_is_revoked() {
    let secured = secured(&Authority::new("test authority").unwrap());
    issuing(&secured, &json!({"ocsp_enabled": true}));
    // An answer of this responder is for the moment, so that the next login asks anew.
    secured.server.root().write("pki/config/crl", &json!({"ocsp_expiry": "0s", "expiry": "10s"})).expect(200);
    let (good, bad) = (client(&secured, "good"), client(&secured, "bad"));
    revoke(&secured, &bad);
    let done = secured.login("good", &[]);
    assert!(done.status.success(), "{}", done.stderr);
    let refused = secured.login("bad", &[]);
    assert!(!refused.status.success() && refused.stderr.contains("is revoked"), "{}", refused.stderr);
    // By its list instead, which is over in ten seconds and fetched anew in half of that.
    let root = secured.server.root();
    root.write("auth/cert/certs/all", &json!({"ocsp_enabled": false})).expect(204);
    assert!(secured.login("bad", &[]).status.success());
    let url = format!("{}/v1/pki/crl", secured.server.url());
    root.write("auth/cert/crls/clients", &json!({ "url": url })).expect(204);
    assert!(!secured.login("bad", &[]).status.success());
    assert!(secured.login("good", &[]).status.success());
    revoke(&secured, &good);
    let noticed = wait_for("the new list", Duration::from_secs(90), || {
        let refused = secured.login("good", &[]);
        refused.stderr.contains("is revoked").then_some(())
    });
    noticed.unwrap_or_else(|late| panic!("{late}: {}", secured.server.output()));
}

#[test]
fn the_responder_of_openssl_is_asked() {
    let found = Command::new("openssl").arg("version").output();
    if !keyward_testkit::require(found.map(|_| ()).map_err(|why| format!("openssl is not installed: {why}")))
    {
        return;
    }
    let secured = secured(&Authority::new("test authority").unwrap());
    let port = keyward_testkit::process::free_port().unwrap();
    let servers = json!({
        "ocsp_enabled": true, "ocsp_servers_override": format!("http://127.0.0.1:{port}"), "ocsp_max_retries": 6,
    });
    issuing(&secured, &servers);
    let (good, bad) = (client(&secured, "good"), client(&secured, "bad"));
    client(&secured, "strange");
    // The responder signs with a certificate that the authority gave it for that.
    let role = json!({"allow_any_name": true, "key_type": "ec", "server_flag": false, "client_flag": false,
        "ext_key_usage_oids": "1.3.6.1.5.5.7.3.9"});
    secured.server.root().write("pki/roles/client", &role).expect(200);
    client(&secured, "responder");
    let serial = |text: &str| text.replace(':', "").to_uppercase();
    let index = format!(
        "V\t351231235959Z\t\t{}\tunknown\t/CN=good\nR\t351231235959Z\t260101000000Z\t{}\tunknown\t/CN=bad\n",
        serial(&good),
        serial(&bad)
    );
    fs::write(secured.folder.path().join("index.txt"), index).unwrap();
    // Without a responder nobody can tell.
    let untold = secured.login("good", &[]);
    assert!(!untold.status.success() && untold.stderr.contains("403"), "{}", untold.stderr);
    assert!(secured.server.output().contains("whether the certificate is revoked cannot be told"));
    let port = port.to_string();
    let mut command = Command::new("openssl");
    command
        .args(["ocsp", "-port", &port, "-index", "index.txt", "-CA", "clients.pem", "-nmin", "5"])
        .args(["-rsigner", "responder.crt", "-rkey", "responder.key"])
        .current_dir(secured.folder.path());
    let responder = Process::spawn(&mut command, &secured.folder.path().join("responder.log")).unwrap();
    // Whoever connects to it and says nothing holds it up.
    let listening = wait_for("the responder", SOON, || {
        responder.output().unwrap().contains("waiting for OCSP client connections").then_some(())
    });
    listening.unwrap_or_else(|late| panic!("{late}: {}", responder.output().unwrap()));
    let done = secured.login("good", &[]);
    assert!(done.status.success(), "{}\n{}", done.stderr, secured.server.output());
    let refused = secured.login("bad", &[]);
    assert!(!refused.status.success() && refused.stderr.contains("is revoked"), "{}", refused.stderr);
    let unknown = secured.login("strange", &[]);
    assert!(!unknown.status.success() && unknown.stderr.contains("403"), "{}", unknown.stderr);
    // What it said of the good one counts while it is away.
    drop(responder);
    assert!(secured.login("good", &[]).status.success());
}
