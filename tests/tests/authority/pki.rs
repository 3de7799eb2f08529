//! Certificates, lists and OCSP answers, judged by OpenSSL.

use keyward_testkit::process::run;
use keyward_testkit::require;
use keyward_tests::http::Client;
use keyward_tests::server::Server;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// What a run of `openssl` printed, and whether it was content.
fn openssl(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new("openssl");
    command.args(arguments).current_dir(folder);
    let finished = run(&mut command, b"", Duration::from_secs(60)).unwrap();
    (finished.status.success(), String::from_utf8_lossy(&finished.stdout).into_owned() + &finished.stderr)
}

fn content(folder: &Path, arguments: &[&str]) -> String {
    let (fine, output) = openssl(folder, arguments);
    assert!(fine, "openssl {arguments:?}: {output}");
    output
}

fn write(root: &Client, path: &str, body: &Value) -> Value {
    let answer = root.write(path, body);
    assert!(answer.status < 300, "{path}: {}", String::from_utf8_lossy(&answer.body));
    if answer.body.is_empty() { Value::Null } else { answer.json()["data"].clone() }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}"))
}

/// A root at `pki/`, an authority below it at `int/`, and the role `web` there; in the folder, `root.pem` and
/// `int.pem`.
fn authorities(server: &Server, key_type: &str, use_pss: bool) {
    let (root, folder) = (server.root(), server.folder());
    for mount in ["pki", "int"] {
        write(
            &root,
            &format!("sys/mounts/{mount}"),
            &json!({"type": "pki", "config": {"max_lease_ttl": "87600h"}}),
        );
        let urls = json!({
            "ocsp_servers": format!("{}/v1/{mount}/ocsp", server.url()),
            "crl_distribution_points": format!("{}/v1/{mount}/crl", server.url()),
            "issuing_certificates": format!("{}/v1/{mount}/ca", server.url()),
        });
        write(&root, &format!("{mount}/config/urls"), &urls);
    }
    let asked = json!({
        "common_name": "Example Root", "organization": "Example, Inc.", "country": "DE", "key_type": key_type,
        "use_pss": use_pss, "ttl": "8760h",
    });
    let made = write(&root, "pki/root/generate/internal", &asked);
    fs::write(folder.join("root.pem"), text(&made["certificate"])).unwrap();
    let asked =
        json!({"common_name": "Example Issuing", "key_type": key_type, "add_basic_constraints": true});
    let csr = write(&root, "int/intermediate/generate/internal", &asked);
    fs::write(folder.join("int.csr"), text(&csr["csr"])).unwrap();
    content(folder, &["req", "-in", "int.csr", "-verify", "-noout"]);
    let asked = json!({"csr": csr["csr"], "ttl": "4000h", "max_path_length": 0, "use_pss": use_pss});
    let signed = write(&root, "pki/root/sign-intermediate", &asked);
    fs::write(folder.join("int.pem"), text(&signed["certificate"])).unwrap();
    let bundle = format!("{}\n{}", text(&signed["certificate"]), text(&made["certificate"]));
    write(&root, "int/intermediate/set-signed", &json!({ "certificate": bundle }));
    let role = json!({
        "allowed_domains": "example.com", "allow_subdomains": true, "key_type": "any", "max_ttl": "72h",
        "allowed_other_sans": "*", "allowed_uri_sans": "spiffe://*", "use_pss": use_pss,
        "policy_identifiers": [{"oid": "1.3.6.1.4.1.7.8", "cps": "https://example.com/cps", "notice": "A notice"}],
    });
    write(&root, "int/roles/web", &role);
}

fn available() -> bool {
    let found = Command::new("openssl").arg("version").output();
    require(found.map_err(|why| format!("openssl is not installed (Debian: apt-get install openssl): {why}")))
}

#[test]
fn openssl_verifies_what_is_issued() {
    if !available() {
        return;
    }
    for (key_type, use_pss) in [("ec", false), ("ed25519", false), ("rsa", false), ("rsa", true)] {
        let server = Server::dev();
        authorities(&server, key_type, use_pss);
        let folder = server.folder();
        let body = json!({
            "common_name": "a.example.com", "alt_names": "b.example.com,*.c.example.com", "key_type": key_type,
            "ip_sans": "10.0.0.1,::1", "uri_sans": "spiffe://example.com/ns/a", "ttl": "1h",
            "other_sans": "1.3.6.1.4.1.311.20.2.3;UTF8:me@example.com",
        });
        let made = write(&server.root(), "int/issue/web", &body);
        fs::write(folder.join("leaf.pem"), text(&made["certificate"])).unwrap();
        fs::write(folder.join("leaf.key"), text(&made["private_key"])).unwrap();
        let verify = [
            "verify",
            "-x509_strict",
            "-purpose",
            "sslserver",
            "-CAfile",
            "root.pem",
            "-untrusted",
            "int.pem",
        ];
        content(folder, &[&verify[..], &["-verify_hostname", "x.c.example.com", "leaf.pem"]].concat());
        content(folder, &[&verify[..], &["-verify_ip", "10.0.0.1", "leaf.pem"]].concat());
        assert!(!openssl(folder, &["verify", "-CAfile", "root.pem", "leaf.pem"]).0);
        let own = content(folder, &["x509", "-in", "leaf.pem", "-noout", "-pubkey"]);
        assert_eq!(content(folder, &["pkey", "-in", "leaf.key", "-pubout"]), own);
        let shown = content(folder, &["x509", "-in", "leaf.pem", "-noout", "-text"]);
        for part in [
            "URI:spiffe://example.com/ns/a",
            "othername",
            "A notice",
            "TLS Web Server Authentication",
            "int/ocsp",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    }
}

#[test]
fn requests_of_openssl_are_signed() {
    if !available() {
        return;
    }
    let server = Server::dev();
    authorities(&server, "ec", false);
    let (root, folder) = (server.root(), server.folder());
    for (name, key) in [
        ("ec", &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"][..]),
        ("rsa", &["-newkey", "rsa:3072"]),
        ("ed", &["-newkey", "ed25519"]),
    ] {
        let request =
            ["req", "-new", "-nodes", "-keyout", "own.key", "-out", "own.csr", "-subj", "/CN=a.example.com"];
        let names = ["-addext", "subjectAltName=DNS:a.example.com,DNS:b.example.com"];
        content(folder, &[&request[..], &names[..], key].concat());
        let csr = fs::read_to_string(folder.join("own.csr")).unwrap();
        let made = write(&root, "int/sign/web", &json!({ "csr": csr }));
        fs::write(folder.join("own.pem"), text(&made["certificate"])).unwrap();
        content(folder, &["verify", "-CAfile", "root.pem", "-untrusted", "int.pem", "own.pem"]);
        let shown = content(folder, &["x509", "-in", "own.pem", "-noout", "-ext", "subjectAltName"]);
        assert!(shown.contains("DNS:b.example.com"), "{name}: {shown}");
        let verbatim = write(&root, "int/sign-verbatim", &json!({ "csr": csr }));
        fs::write(folder.join("own.pem"), text(&verbatim["certificate"])).unwrap();
        content(folder, &["verify", "-CAfile", "root.pem", "-untrusted", "int.pem", "own.pem"]);
    }
}

#[test]
fn openssl_sees_what_is_revoked() {
    if !available() {
        return;
    }
    for (key_type, use_pss) in [("ec", false), ("rsa", true)] {
        let server = Server::dev();
        authorities(&server, key_type, use_pss);
        let (root, folder) = (server.root(), server.folder());
        for name in ["good", "bad"] {
            let body = json!({"common_name": format!("{name}.example.com"), "key_type": "ec"});
            let made = write(&root, "int/issue/web", &body);
            fs::write(folder.join(format!("{name}.pem")), text(&made["certificate"])).unwrap();
            if name == "bad" {
                write(&root, "int/revoke", &json!({"serial_number": made["serial_number"]}));
            }
        }
        for mount in ["pki", "int"] {
            let list = server.guest().read(&format!("{mount}/crl/pem"));
            assert_eq!((list.status, list.header("content-type")), (200, Some("application/x-pem-file")));
            fs::write(folder.join(format!("{mount}.crl")), &list.body).unwrap();
        }
        content(folder, &["crl", "-in", "pki.crl", "-noout", "-verify", "-CAfile", "root.pem"]);
        let checked = [
            "verify",
            "-crl_check_all",
            "-CRLfile",
            "pki.crl",
            "-CRLfile",
            "int.crl",
            "-CAfile",
            "root.pem",
            "-untrusted",
            "int.pem",
        ];
        content(folder, &[&checked[..], &["good.pem"]].concat());
        let (fine, why) = openssl(folder, &[&checked[..], &["bad.pem"]].concat());
        assert!(!fine && why.contains("certificate revoked"), "{why}");
        let url = format!("{}/v1/int/ocsp", server.url());
        for (name, status) in [("good", "good.pem: good"), ("bad", "bad.pem: revoked")] {
            let file = format!("{name}.pem");
            let asked =
                ["ocsp", "-issuer", "int.pem", "-cert", &file, "-url", &url, "-CAfile", "root.pem", "-nonce"];
            let answer = content(folder, &asked);
            assert!(answer.contains("Response verify OK") && answer.contains(status), "{answer}");
            assert!(!answer.contains("WARNING"), "{answer}");
        }
        // The root is not the issuer of what is asked about here: signed by the default one, nothing is known.
        let asked = ["ocsp", "-issuer", "good.pem", "-cert", "int.pem", "-url", &url, "-noverify", "-nonce"];
        assert!(content(folder, &asked).contains("int.pem: unknown"));
    }
}

#[test]
fn ocsp_is_answered_by_get() {
    if !available() {
        return;
    }
    let server = Server::dev();
    authorities(&server, "ec", false);
    let (root, folder) = (server.root(), server.folder());
    let made = write(&root, "int/issue/web", &json!({"common_name": "a.example.com", "key_type": "ec"}));
    fs::write(folder.join("leaf.pem"), text(&made["certificate"])).unwrap();
    content(folder, &["ocsp", "-issuer", "int.pem", "-cert", "leaf.pem", "-reqout", "req.der", "-no_nonce"]);
    let encoded = content(folder, &["base64", "-A", "-in", "req.der"]);
    let escaped = encoded.trim().replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let answer = server.guest().read(&format!("int/ocsp/{escaped}"));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/ocsp-response")));
    fs::write(folder.join("answer.der"), &answer.body).unwrap();
    let checked =
        ["ocsp", "-issuer", "int.pem", "-cert", "leaf.pem", "-respin", "answer.der", "-CAfile", "root.pem"];
    assert!(content(folder, &checked).contains("leaf.pem: good"));
    let post = server.guest();
    let oversized = post.request("POST", "/v1/int/ocsp").header("Content-Type", "application/ocsp-request");
    assert_eq!(oversized.body(vec![0x30; 4096]).send().status, 400);
}

#[test]
fn openssl_checks_on_the_paths_of_all_clusters() {
    if !available() {
        return;
    }
    let server = Server::dev();
    authorities(&server, "ec", false);
    let (root, folder) = (server.root(), server.folder());
    write(&root, "int/config/crl", &json!({"auto_rebuild": true, "enable_delta": true, "unified_crl": true}));
    let made = write(&root, "int/issue/web", &json!({"common_name": "a.example.com", "key_type": "ec"}));
    fs::write(folder.join("leaf.pem"), text(&made["certificate"])).unwrap();
    content(folder, &["verify", "-CAfile", "root.pem", "-untrusted", "int.pem", "leaf.pem"]);
    write(&root, "int/revoke", &json!({"serial_number": made["serial_number"]}));
    write(&root, "int/crl/rotate", &json!({}));
    for (mount, path) in [("pki", "unified-crl/pem"), ("int", "issuer/default/unified-crl/pem")] {
        let list = server.guest().read(&format!("{mount}/{path}"));
        assert_eq!((list.status, list.header("content-type")), (200, Some("application/x-pem-file")));
        fs::write(folder.join(format!("{mount}.crl")), &list.body).unwrap();
    }
    let lists = ["-crl_check_all", "-CRLfile", "pki.crl", "-CRLfile", "int.crl"];
    let chain = ["-CAfile", "root.pem", "-untrusted", "int.pem", "leaf.pem"];
    let (fine, why) = openssl(folder, &[&["verify"], &lists[..], &chain].concat());
    assert!(!fine && why.contains("certificate revoked"), "{why}");
    let url = format!("{}/v1/int/unified-ocsp", server.url());
    let asked =
        ["ocsp", "-issuer", "int.pem", "-cert", "leaf.pem", "-url", &url, "-CAfile", "root.pem", "-nonce"];
    let answer = content(folder, &asked);
    assert!(answer.contains("Response verify OK") && answer.contains("leaf.pem: revoked"), "{answer}");
    let detailed = root.request("LIST", "/v1/int/certs/revoked/detailed").send().expect(200).data();
    let about = &detailed["key_info"][text(&made["serial_number"])];
    assert_eq!(about["issuer"], "CN=Example Issuing");
}

#[test]
fn openssl_takes_the_largest_rsa_keys() {
    if !available() {
        return;
    }
    let server = Server::dev();
    let (root, folder) = (server.root(), server.folder());
    write(&root, "sys/mounts/pki", &json!({"type": "pki"}));
    // Making such a key takes from seconds to minutes, for whoever makes it: this one of `openssl genrsa` is of no other use.
    fs::write(folder.join("large.key"), include_str!("../../data/rsa-8192.pem")).unwrap();
    let request = ["req", "-x509", "-new", "-key", "large.key", "-out", "large.pem", "-subj", "/CN=Large"];
    content(folder, &request);
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let bundle = json!({ "pem_bundle": format!("{}{}", read("large.key"), read("large.pem")) });
    let imported = write(&root, "pki/issuers/import/bundle", &bundle);
    assert_eq!(imported["imported_keys"].as_array().unwrap().len(), 1, "{imported}");
    let role = json!({"allow_any_name": true, "key_type": "rsa", "key_bits": 8192, "ttl": "1h"});
    write(&root, "pki/roles/large", &role);
    content(folder, &["req", "-new", "-key", "large.key", "-out", "leaf.csr", "-subj", "/CN=a.example.com"]);
    let made = write(&root, "pki/sign/large", &json!({"csr": read("leaf.csr")}));
    fs::write(folder.join("leaf.pem"), text(&made["certificate"])).unwrap();
    content(folder, &["verify", "-CAfile", "large.pem", "leaf.pem"]);
    let shown = content(folder, &["x509", "-in", "leaf.pem", "-noout", "-text"]);
    assert!(shown.contains("(8192 bit)"), "{shown}");
    // Transit has none, as in Vault.
    write(&root, "sys/mounts/transit", &json!({"type": "transit"}));
    assert_eq!(root.write("transit/keys/large", &json!({"type": "rsa-8192"})).status, 400);
}
