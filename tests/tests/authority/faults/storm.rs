//! A thousand clients log in at once, as after a power cut.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use keyward_tests::http::Client;
use keyward_tests::server::{ON_DISK, Server};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{SystemTime, UNIX_EPOCH};

const CLIENTS: usize = 1000;
/// What the server may need for a thousand connections besides what it has, in KiB.
const MOST_MEMORY: u64 = 150 * 1024;
/// A client does little, and a thousand stacks of the usual size are much.
const STACK: usize = 256 * 1024;

/// Where a cluster publishes its keys, and how often it was asked for them.
struct Cluster {
    url: String,
    asked: Arc<AtomicUsize>,
}

impl Cluster {
    /// With the public key of a transit key, which signs the tokens.
    fn start(root: &Client) -> Cluster {
        root.write("sys/mounts/transit", &json!({ "type": "transit" })).expect(204);
        root.write("transit/keys/cluster", &json!({ "type": "ecdsa-p256" })).expect(200);
        let key = root.read("transit/keys/cluster").expect(200).data()["keys"]["1"]["public_key"].clone();
        let pem: String = key.as_str().unwrap().lines().filter(|line| !line.starts_with('-')).collect();
        let der = STANDARD.decode(pem).unwrap();
        // A point that is not compressed ends a SubjectPublicKeyInfo (RFC 5480).
        let (x, y) = der[der.len() - 64..].split_at(32);
        let [x, y] = [x, y].map(|part| URL_SAFE_NO_PAD.encode(part));
        let keys = json!({"keys": [
            {"kty": "EC", "crv": "P-256", "kid": "one", "alg": "ES256", "use": "sig", "x": x, "y": y},
        ]});
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/openid/v1/jwks", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let (count, body) = (asked.clone(), keys.to_string());
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::Relaxed);
                let mut lines = BufReader::new(&connection).lines();
                while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                let length = body.len();
                let head =
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
                let _ = (&connection).write_all(format!("{head}{body}").as_bytes());
            }
        });
        Cluster { url, asked }
    }

    /// The tokens of so many pods.
    fn tokens(root: &Client, many: usize) -> Vec<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let head = part(json!({ "alg": "ES256", "kid": "one" }));
        let unsigned: Vec<String> = (0..many)
            .map(|pod| {
                let bound = json!({
                    "namespace": "prod",
                    "serviceaccount": { "name": "api", "uid": "uid-1" },
                    "pod": { "name": format!("api-{pod}"), "uid": format!("pod-{pod}") },
                });
                let claims = json!({
                    "aud": ["keyward"], "exp": now + 3600, "iat": now, "nbf": now, "kubernetes.io": bound,
                    "iss": "https://cluster", "sub": "system:serviceaccount:prod:api",
                });
                format!("{head}.{}", part(claims))
            })
            .collect();
        let batch: Vec<Value> =
            unsigned.iter().map(|text| json!({ "input": STANDARD.encode(text) })).collect();
        let wish = json!({ "batch_input": batch, "marshaling_algorithm": "jws" });
        let signed = root.write("transit/sign/cluster", &wish).expect(200);
        let signed = signed.data()["batch_results"].clone();
        let signature =
            |at: usize| signed[at]["signature"].as_str().unwrap().trim_start_matches("vault:v1:").to_owned();
        unsigned.iter().enumerate().map(|(at, text)| format!("{text}.{}", signature(at))).collect()
    }
}

fn memory_kib(server: &mut Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process().pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_ascii_whitespace().next().unwrap().parse().unwrap()
}

fn prepare(root: &Client, jwks_url: &str) -> Value {
    root.write("sys/mounts/secret", &json!({ "type": "kv" })).expect(204);
    root.write("secret/app", &json!({ "password": "hunter2" })).expect(204);
    let rules = r#"path "secret/app" { capabilities = ["read"] }"#;
    root.write("sys/policies/acl/app", &json!({ "policy": rules })).expect(204);
    for method in ["approle", "kubernetes"] {
        root.write(&format!("sys/auth/{method}"), &json!({ "type": method })).expect(204);
    }
    let config =
        json!({ "kubernetes_host": "https://127.0.0.1:1", "verification": "keys", "jwks_url": jwks_url });
    root.write("auth/kubernetes/config", &config).expect(204);
    let tokens = json!({ "token_policies": "app", "token_type": "batch", "token_ttl": "10m" });
    let mut role = tokens.clone();
    role["bound_service_account_names"] = json!("api");
    role["bound_service_account_namespaces"] = json!("prod");
    role["audience"] = json!("keyward");
    root.write("auth/kubernetes/role/api", &role).expect(204);
    root.write("auth/approle/role/app", &tokens).expect(204);
    let role_id = root.read("auth/approle/role/app/role-id").expect(200).data()["role_id"].clone();
    let secret = root.write("auth/approle/role/app/secret-id", &json!({})).expect(200);
    json!({ "role_id": role_id, "secret_id": secret.data()["secret_id"] })
}

/// Sends every login at the same moment, each on a connection of its own, and reads a secret with what it yields.
fn storm(guest: &Client, path: &str, logins: &[Value]) {
    let start = Barrier::new(logins.len());
    std::thread::scope(|scope| {
        let clients: Vec<_> = logins
            .iter()
            .map(|login| {
                let logs_in = || {
                    start.wait();
                    let auth = guest.write(path, login).expect(200).json()["auth"].clone();
                    assert_eq!((&auth["token_type"], &auth["accessor"]), (&json!("batch"), &json!("")));
                    let client = guest.with_token(auth["client_token"].as_str().unwrap());
                    assert_eq!(client.read("secret/app").expect(200).data()["password"], "hunter2");
                };
                std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, logs_in).unwrap()
            })
            .collect();
        let failed = clients.into_iter().filter_map(|client| client.join().err()).count();
        assert_eq!(failed, 0, "of {} clients at {path}", logins.len());
    });
}

#[test]
fn a_thousand_logins_at_once_are_all_answered() {
    let mut server = Server::unsealed(ON_DISK);
    let (root, guest) = (server.root(), server.guest());
    let cluster = Cluster::start(&root);
    let secret = prepare(&root, &cluster.url);
    let tokens = Cluster::tokens(&root, CLIENTS);
    let accessors = || root.list("auth/token/accessors").expect(200).data()["keys"].as_array().unwrap().len();
    let (before, known) = (memory_kib(&mut server), accessors());
    storm(&guest, "auth/approle/login", &vec![secret; CLIENTS]);
    let pods: Vec<Value> = tokens.iter().map(|jwt| json!({ "role": "api", "jwt": jwt })).collect();
    storm(&guest, "auth/kubernetes/login", &pods);
    let after = memory_kib(&mut server);
    assert!(after < before + MOST_MEMORY, "{before} KiB became {after} KiB");
    assert_eq!(accessors(), known, "logins were stored");
    root.list("sys/leases/lookup/auth").expect(404);
    // Of those who want the same keys at once, one asks.
    assert!(cluster.asked.load(Ordering::Relaxed) < 5, "{} questions", cluster.asked.load(Ordering::Relaxed));
    assert!(!server.output().contains("panicked"), "{}", server.output());
}
