//! Verdicts on workloads decide what their tokens may read, for as long as they are confirmed and the authority runs. On a real
//! cluster the engine itself reports them: tests/tests/kubernetes/posture.rs.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use keyward_core::{Clock as _, Timestamp};
use keyward_crypto::SystemRandom;
use keyward_posture::{Finding, Publisher, Record, Ruling, Said, Subject, Verdict};
use keyward_testkit::certificates::Authority;
use keyward_testkit::process::run;
use keyward_tests::binary::keyward;
use keyward_tests::http::{Answer, Client};
use keyward_tests::server::{ON_DISK, SOON, Server};
use serde_json::{Value, json};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

struct Wall;

impl keyward_core::Clock for Wall {
    fn now(&self) -> Timestamp {
        Timestamp::EPOCH.plus(SystemTime::now().duration_since(UNIX_EPOCH).unwrap())
    }
}

/// The token of a pod's ServiceAccount, as a cluster whose key is that of `cluster` signs it.
fn jwt(cluster: &Authority, namespace: &str, account: &str, pod: &str) -> String {
    let now = Wall.now().secs();
    let claims = json!({
        "iss": "https://kubernetes.default.svc", "sub": format!("system:serviceaccount:{namespace}:{account}"),
        "aud": ["keyward"], "exp": now + 600, "iat": now, "nbf": now,
        "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": account, "uid": account},
            "pod": {"name": pod, "uid": format!("uid-of-{pod}")}},
    });
    let key = EncodingKey::from_ec_pem(cluster.key().as_bytes()).unwrap();
    jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &key).unwrap()
}

fn prepare(server: &Server, cluster: &Authority) {
    let root = server.root();
    let options = json!({ "file_path": server.folder().join("audit.log") });
    root.write("sys/audit/file", &json!({ "type": "file", "options": options })).expect(204);
    root.write("sys/mounts/secret", &json!({"type": "kv"})).expect(204);
    root.write("secret/gated", &json!({"password": "hunter2"})).expect(204);
    for (name, rules) in [
        (
            "api",
            r#"path "secret/gated" { capabilities = ["read"] condition = "posture.compliant" }
                   path "sys/policies/explain" { capabilities = ["update"] }"#,
        ),
        (
            "engine",
            r#"path "sys/posture/sessions" { capabilities = ["update"] }
                      path "sys/posture/report" { capabilities = ["update"] }"#,
        ),
    ] {
        root.write(&format!("sys/policies/acl/{name}"), &json!({ "policy": rules })).expect(204);
    }
    root.write("sys/auth/kubernetes", &json!({"type": "kubernetes"})).expect(204);
    let config = json!({"kubernetes_host": "https://127.0.0.1:1", "verification": "keys",
        "pem_keys": cluster.certificate()});
    root.write("auth/kubernetes/config", &config).expect(204);
    for (role, namespace) in [("api", "shop"), ("engine", "keyward")] {
        let body = json!({"bound_service_account_names": role, "bound_service_account_namespaces": namespace,
            "audience": "keyward", "token_policies": role, "token_ttl": "1h"});
        root.write(&format!("auth/kubernetes/role/{role}"), &body).expect(204);
    }
}

fn log_in(server: &Server, role: &str, jwt: &str) -> Answer {
    server.guest().write("auth/kubernetes/login", &json!({ "role": role, "jwt": jwt }))
}

fn client(server: &Server, role: &str, jwt: &str) -> Client {
    let auth = log_in(server, role, jwt).expect(200).json();
    server.guest().with_token(auth["auth"]["client_token"].as_str().unwrap())
}

/// Who reports, in one session.
struct Engine {
    client: Client,
    publisher: Publisher,
    session: String,
    sequence: u64,
}

impl Engine {
    fn begin(client: Client, validity: &str) -> Engine {
        let publisher = Publisher::new(&SystemRandom).unwrap();
        let body = json!({"cluster": "shop-1", "key": publisher.public(), "validity": validity});
        let begun = client.write("sys/posture/sessions", &body).expect(200).data();
        let session = begun["session"].as_str().unwrap().to_owned();
        Engine { client, publisher, session, sequence: 0 }
    }

    fn say(&mut self, said: Said) -> Answer {
        self.sequence += 1;
        let record = Record {
            session: self.session.clone(),
            cluster: "shop-1".to_owned(),
            sequence: self.sequence,
            at: Wall.now(),
            said,
        };
        let signed = self.publisher.sign(&record).unwrap();
        self.client.write("sys/posture/report", &json!({"session": self.session, "records": [signed]}))
    }

    fn judge(&mut self, pod: &str, violated: Option<&str>) -> Answer {
        let subject =
            Subject::Pod { namespace: "shop".to_owned(), name: pod.to_owned(), uid: format!("uid-of-{pod}") };
        let ruling = violated.map(|policy| Ruling {
            policy: policy.to_owned(),
            result: Finding::Fail,
            tier: None,
            critical: true,
            rules: vec!["check".to_owned()],
            exceptions: Vec::new(),
        });
        self.say(Said::Verdict(Verdict::new(subject, Wall.now(), &ruling)))
    }
}

fn command(server: &Server, token: &str, words: &[&str]) -> String {
    let mut command = Command::new(keyward());
    command.args(words).env("VAULT_ADDR", server.url()).env("VAULT_TOKEN", token);
    command.env("VAULT_MAX_RETRIES", "0").env("HOME", server.folder());
    let done = run(&mut command, b"", SOON).unwrap();
    format!("{}{}", String::from_utf8(done.stdout).unwrap(), done.stderr)
}

fn last_record(server: &Server) -> Value {
    let log = std::fs::read_to_string(server.folder().join("audit.log")).unwrap();
    serde_json::from_str(log.lines().last().unwrap()).unwrap()
}

#[test]
fn a_pods_token_reads_for_as_long_as_its_posture_is_good_and_known() {
    let cluster = Authority::new("cluster").unwrap();
    let mut server = Server::unsealed(ON_DISK);
    prepare(&server, &cluster);
    let pod = client(&server, "api", &jwt(&cluster, "shop", "api", "api-1"));
    let engine_token = client(&server, "engine", &jwt(&cluster, "keyward", "engine", "engine-1"));
    pod.read("secret/gated").expect(403);
    assert!(last_record(&server)["error"].as_str().unwrap().contains("no verdict on the pod is known"));

    let mut engine = Engine::begin(engine_token.clone(), "60s");
    engine.judge("api-1", None).expect(200);
    assert_eq!(pod.read("secret/gated").expect(200).data()["password"], "hunter2");
    engine.judge("api-1", Some("no-root")).expect(200);
    pod.read("secret/gated").refused(403, "permission denied");
    let record = last_record(&server);
    let why = record["error"].as_str().unwrap();
    assert!(why.contains("the pod shop/api-1 violates critical policies: no-root"), "{why}");
    assert!(record["auth"]["policy_results"]["posture"]["pod"].as_str().unwrap().starts_with("sha256:"));
    is_shown(&server, &pod);
    a_login_can_demand_it(&server, &cluster, &mut engine);

    // Who may not report is refused, and who may cannot forge what another signed.
    pod.write("sys/posture/sessions", &json!({"cluster": "x", "key": "x"})).expect(403);
    let thief = Engine { publisher: Publisher::new(&SystemRandom).unwrap(), ..engine };
    let mut thief = thief;
    thief.judge("api-1", None).refused(400, "signature is none of the session's key");
    pod.read("secret/gated").expect(403);

    // Nothing of it is stored: a restart knows no verdict, good or bad, and no session.
    let mut engine = Engine::begin(engine_token.clone(), "60s");
    engine.judge("api-1", None).expect(200);
    pod.read("secret/gated").expect(200);
    server.restart();
    server.unseal();
    pod.read("secret/gated").expect(403);
    engine.judge("api-1", None).refused(400, "there is no session");
    let mut engine = Engine::begin(engine_token, "2s");
    engine.judge("api-1", None).expect(200);
    pod.read("secret/gated").expect(200);
    // The engine is dead.
    std::thread::sleep(std::time::Duration::from_millis(2100));
    pod.read("secret/gated").expect(403);
    engine.say(Said::Holds).expect(200);
    pod.read("secret/gated").expect(200);
}

fn is_shown(server: &Server, pod: &Client) {
    let root = &server.keys().root;
    let listed = command(server, root, &["posture", "list", "--violating"]);
    assert!(listed.contains("shop/api-1") && listed.contains("no-root"), "{listed}");
    let got = command(server, root, &["posture", "get", "shop/api-1"]);
    assert!(got.contains("shop/api-1 violates critical policies") && got.contains("check"), "{got}");
    let json = command(server, root, &["posture", "list", "shop", "--output", "json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json[0]["subject"], &json[0]["compliant"]), (&json!("shop/api-1"), &json!(false)));
    let none = command(server, root, &["posture", "get", "shop/api-9"]);
    assert!(none.contains("There is no verdict on shop/api-9"), "{none}");
    let publishers = command(server, root, &["posture", "publishers"]);
    assert!(publishers.contains("shop-1") && publishers.contains("SHA256:"), "{publishers}");
    let explained = command(server, pod.token().unwrap(), &["policy", "explain", "read", "secret/gated"]);
    assert!(
        explained.contains("posture: the pod shop/api-1 violates critical policies: no-root"),
        "{explained}"
    );
}

fn a_login_can_demand_it(server: &Server, cluster: &Authority, engine: &mut Engine) {
    let root = server.root();
    root.write("auth/kubernetes/role/api", &json!({"condition": "posture.compliant"})).expect(204);
    let jwt = jwt(cluster, "shop", "api", "api-1");
    log_in(server, "api", &jwt).refused(403, "permission denied");
    let output = server.output();
    assert!(
        output.contains("the condition of the role api does not hold for shop-api, pod api-1"),
        "{output}"
    );
    engine.judge("api-1", None).expect(200);
    log_in(server, "api", &jwt).expect(200);
    engine.judge("api-1", Some("no-root")).expect(200);
}
