//! Records of real requests.

use crate::request::Operation::{Delete, List, Read, Update};
use crate::testing::Bench;
use serde_json::{Value, json};

fn audited() -> Bench {
    let mut bench = Bench::new();
    bench.enable_audit(&[]);
    bench
}

fn hash(bench: &Bench, text: &str) -> String {
    bench.authority.auditing(&bench.store, &bench.random).unwrap().hash(text)
}

#[test]
fn records_are_those_of_vault() {
    let mut bench = audited();
    bench.write("sys/mounts/kv", r#"{"type":"kv"}"#);
    bench.write("kv/a", "{\n \"password\": \"x\",\n \"pin\": 1234 }");
    let (request, response) = bench.last_records();
    let (root, accessor) = (hash(&bench, &bench.root), response["auth"]["accessor"].clone());
    assert!(accessor.as_str().unwrap().starts_with("hmac-sha256:"));
    let auth = json!({
        "client_token": root, "accessor": accessor, "display_name": "root",
        "policies": ["root"], "token_policies": ["root"], "policy_results": {
            "allowed": true, "granting_policies": [{"name": "root", "namespace_id": "root", "type": "acl"}],
        },
        "token_type": "service", "token_issue_time": "2026-01-01T00:00:00Z",
    });
    assert_eq!(request["auth"], auth);
    let about = request["request"].clone();
    let mount_accessor = about["mount_accessor"].clone();
    assert_eq!(
        request,
        json!({
            "time": "2026-01-01T00:00:00Z", "type": "request", "auth": auth,
            "request": {
                "id": about["id"], "operation": "create", "path": "kv/a", "namespace": {"id": "root"},
                "mount_point": "kv/", "mount_type": "kv", "mount_accessor": mount_accessor, "mount_class": "secret",
                "client_token": root, "client_token_accessor": accessor,
                "data": {"password": hash(&bench, "x"), "pin": hash(&bench, "1234")},
                "remote_address": "127.0.0.1", "remote_port": 4321,
            },
        })
    );
    let served = json!({
        "mount_point": "kv/", "mount_type": "kv", "mount_accessor": mount_accessor, "mount_class": "secret",
    });
    assert_eq!(
        response,
        json!({
            "time": "2026-01-01T00:00:00Z", "type": "response", "auth": auth, "request": about,
            "response": served,
        })
    );
    bench.read("kv/a");
    let (request, response) = bench.last_records();
    assert_eq!(request["request"]["operation"], "read");
    assert_eq!(response["response"]["data"]["password"], hash(&bench, "x"));
    assert!(bench.records.iter().all(|record| !record.contains('\n')));
}

#[test]
fn refusals_are_recorded_with_their_reason() {
    let mut bench = audited();
    bench.ask("hvs.nobody", Read, "kv/a", "");
    let (request, response) = bench.last_records();
    assert_eq!(request["auth"], json!({"token_type": "default"}));
    assert_eq!(request["request"]["client_token"], hash(&bench, "hvs.nobody"));
    for record in [request, response] {
        let error = record["error"].as_str().unwrap();
        assert!(error.starts_with("permission denied: the token is unknown"), "{error}");
    }
    bench.root(Update, "sys/mounts/kv", "{}");
    let (request, response) = bench.last_records();
    assert_eq!(request["error"], Value::Null);
    assert_eq!(response["error"], "backend type must be specified as a string");
    assert_eq!(response["response"]["mount_type"], "system");
}

#[test]
fn wrapped_answers_and_their_tokens_are_hashed() {
    let mut bench = audited();
    bench.write("sys/mounts/kv", r#"{"type":"kv"}"#);
    bench.write("kv/a", r#"{"a":"x"}"#);
    let root = bench.root.clone();
    let answer = bench.ask_wrapped(&root, Read, "kv/a", "");
    let info = &answer.body["wrap_info"];
    let (request, response) = bench.last_records();
    assert_eq!(request["request"]["wrap_ttl"], 60);
    let shown = &response["response"]["wrap_info"];
    assert_eq!(shown["token"], hash(&bench, info["token"].as_str().unwrap()));
    assert_eq!(shown["accessor"], hash(&bench, info["accessor"].as_str().unwrap()));
    assert_eq!(shown["creation_path"], "kv/a");
    assert_eq!(response["response"]["data"], Value::Null);
}

#[test]
fn devices_choose_their_form() {
    let mut bench = Bench::new();
    bench.enable_audit(&[("hmac_accessor", "false"), ("elide_list_responses", "true")]);
    bench.write("sys/mounts/kv", r#"{"type":"kv"}"#);
    bench.write("kv/a", r#"{"a":"x"}"#);
    bench.write("kv/b", r#"{"a":"x"}"#);
    bench.root(List, "kv", "");
    let (request, response) = bench.last_records();
    assert!(!request["auth"]["accessor"].as_str().unwrap().starts_with("hmac"));
    assert_eq!(response["response"]["data"], json!({"keys": 2}));
}

#[test]
fn headers_are_shown_as_configured() {
    let mut bench = audited();
    let mut txn = bench.authority.begin(&bench.store, &bench.random).unwrap();
    super::show_header(&mut txn, "X-Trace", false).unwrap();
    super::show_header(&mut txn, "X-Vault-Token", true).unwrap();
    assert!(super::show_header(&mut txn, "Authorization", false).is_err());
    assert!(super::show_header(&mut txn, "a b", true).is_err());
    let batch = txn.finish();
    bench.store.commit(batch).unwrap();
    let mut request = bench.request(&bench.root, Read, "sys/mounts", "");
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    request.headers = vec![
        header("x-trace", "1"),
        header("X-Trace", "2"),
        header("X-Vault-Token", "x"),
        header("Accept", "*/*"),
    ];
    bench.send(&request);
    let (shown, _) = bench.last_records();
    assert_eq!(
        shown["request"]["headers"],
        json!({"x-trace": ["1", "2"], "x-vault-token": [hash(&bench, "x")]})
    );
}

#[test]
fn huge_data_is_hashed_whole() {
    let mut bench = audited();
    let body = format!("{{\"a\":\"first\",\"l\":[{}\"\"]}}", "\"\",".repeat(100_000));
    bench.root(Update, "kv/a", &body);
    let (request, _) = bench.last_records();
    let data = request["request"]["data"].as_object().unwrap();
    assert_eq!(data.len(), 1);
    assert!(data["*"].as_str().unwrap().starts_with("hmac-sha256:"));
    assert!(bench.records.iter().all(|record| record.len() < 4096));
}

#[test]
fn without_a_device_nothing_is_recorded() {
    let mut bench = Bench::new();
    bench.read("sys/mounts");
    assert!(bench.records.is_empty());
    let auditing = bench.authority.auditing(&bench.store, &bench.random).unwrap();
    assert_eq!(auditing.devices().len(), 0);
}

#[test]
fn devices_are_kept_apart() {
    let mut bench = Bench::new();
    let device = |path: &str, file: &str| super::Device {
        path: path.to_owned(),
        kind: "file".to_owned(),
        description: String::new(),
        local: false,
        options: [("file_path".to_owned(), file.to_owned())].into(),
    };
    let mut txn = bench.authority.begin(&bench.store, &bench.random).unwrap();
    super::enable(&mut txn, device("file/", "/var/log/a")).unwrap();
    for (path, file) in [("file/", "/b"), ("file/more/", "/b"), ("other/", "/var/log/a")] {
        assert!(super::enable(&mut txn, device(path, file)).is_err(), "{path} {file}");
    }
    super::enable(&mut txn, device("b/", "/var/log/b")).unwrap();
    let batch = txn.finish();
    bench.store.commit(batch).unwrap();
    let auditing = bench.authority.auditing(&bench.store, &bench.random).unwrap();
    let paths: Vec<&str> = auditing.devices().iter().map(|(device, _)| device.path.as_str()).collect();
    assert_eq!((paths, auditing.generation()), (vec!["b/", "file/"], 2));
    let mut txn = bench.authority.begin(&bench.store, &bench.random).unwrap();
    assert!(super::disable(&mut txn, "file/").unwrap() && !super::disable(&mut txn, "file/").unwrap());
}

/// Every engine is fed values that appear nowhere else, and made to reveal some of its own; no record may show
/// one.
#[test]
fn no_record_holds_a_secret() {
    let mut bench = audited();
    let mut canaries: Vec<String> =
        ["canary-", "8675309421", "Y2FuYXJ5", "hvs.", "hvb."].map(str::to_owned).into();
    canaries.push(bench.root.clone());
    key_values(&mut bench);
    canaries.extend(transit(&mut bench));
    canaries.extend(logins(&mut bench));
    canaries.extend(wrapping(&mut bench));
    bench.root(Read, "nowhere/hvs.canary-three/x", "");
    bench.root(Update, "nowhere", r#"{"x":"canary-four"}"#);
    bench.root(Update, "sys/audit-hash/test", r#"{"input":"canary-seven"}"#);
    bench.ask("canary-five", Update, "kv/a", r#"{"x":"canary-six"}"#);
    bench.ask("hvs.canary-eight", Read, "sys/internal/ui/mounts", "");
    assert!(bench.records.len() > 80 && canaries.len() > 12, "{} {}", bench.records.len(), canaries.len());
    for record in &bench.records {
        for canary in &canaries {
            assert!(!record.contains(canary.as_str()), "{canary} in {record}");
        }
    }
}

fn key_values(bench: &mut Bench) {
    let secret =
        r#"{"CANARY-NAME-IS-SHOWN":{"deep":["canary-one",{"x":"canary-two\u002d"}]},"number":8675309421}"#;
    let root = bench.root.clone();
    bench.write("sys/mounts/kv", r#"{"type":"kv"}"#);
    bench.write("sys/mounts/kv2", r#"{"type":"kv-v2"}"#);
    for path in ["kv/a", "cubbyhole/a"] {
        bench.write(path, secret);
        bench.read(path);
        bench.ask_wrapped(&root, Read, path, "");
        bench.root(Delete, path, "");
    }
    bench.write("kv2/data/a", &format!(r#"{{"data":{secret},"options":{{"cas":0}}}}"#));
    bench.read("kv2/data/a");
    bench.root(crate::request::Operation::Patch, "kv2/data/a", r#"{"data":{"more":"canary-nine"}}"#);
    let (_, response) = bench.last_records();
    assert_eq!(response["response"]["data"]["version"], 2, "what is no secret is shown");
}

/// Answers with the secrets that came out.
fn transit(bench: &mut Bench) -> Vec<String> {
    bench.write("sys/mounts/transit", r#"{"type":"transit"}"#);
    bench.write("transit/keys/k", r#"{"exportable":true,"allow_plaintext_backup":true}"#);
    let sealed = bench.write("transit/encrypt/k", r#"{"plaintext":"Y2FuYXJ5LXRlbg=="}"#);
    let sealed = sealed.data()["ciphertext"].clone();
    bench.write("transit/decrypt/k", &json!({ "ciphertext": sealed }).to_string());
    bench.write("transit/encrypt/k", r#"{"batch_input":[{"plaintext":"Y2FuYXJ5LTEx"}]}"#);
    let mut out = vec![bench.write("transit/datakey/plaintext/k", "").data()["plaintext"].clone()];
    out.push(bench.read("transit/export/encryption-key/k").data()["keys"]["1"].clone());
    out.push(bench.read("transit/backup/k").data()["backup"].clone());
    out.push(bench.write("transit/random/32", "").data()["random_bytes"].clone());
    out.push(bench.write("sys/tools/random/32", "").data()["random_bytes"].clone());
    texts(out)
}

fn logins(bench: &mut Bench) -> Vec<String> {
    bench.write("sys/auth/app", r#"{"type":"approle"}"#);
    bench.write("sys/auth/user", r#"{"type":"userpass"}"#);
    bench.write("auth/app/role/r", "{}");
    bench.write("auth/user/users/ada", r#"{"password":"canary-twelve"}"#);
    bench.ask("", Update, "auth/user/login/ada", r#"{"password":"canary-wrong"}"#);
    let user = bench.ask("", Update, "auth/user/login/ada", r#"{"password":"canary-twelve"}"#);
    let role = bench.read("auth/app/role/r/role-id").data()["role_id"].clone();
    let secret = bench.write("auth/app/role/r/secret-id", "").data()["secret_id"].clone();
    let body = json!({ "role_id": role, "secret_id": secret }).to_string();
    let app = bench.ask("", Update, "auth/app/login", &body);
    let own = bench.write("auth/token/create", r#"{"id":"canary-token","type":"service","meta":{"a":"b"}}"#);
    let token = user.body["auth"]["client_token"].as_str().unwrap().to_owned();
    bench.ask(&token, Read, "auth/token/lookup-self", "");
    bench.write("auth/token/lookup", &json!({ "token": token }).to_string());
    bench.write("auth/token/renew", &json!({ "token": token }).to_string());
    let of = |answer: &crate::testing::Answer| answer.body["auth"]["client_token"].clone();
    texts(vec![role, secret, of(&app), of(&own), of(&user), user.body["auth"]["accessor"].clone()])
}

fn wrapping(bench: &mut Bench) -> Vec<String> {
    let wrap = |bench: &mut Bench| {
        let mut request =
            bench.request(&bench.root, Update, "sys/wrapping/wrap", r#"{"a":"canary-13","pin":8675309421}"#);
        request.wrap = Some(crate::request::Wrap { ttl: std::time::Duration::from_secs(60) });
        bench.send(&request).body["wrap_info"]["token"].as_str().unwrap().to_owned()
    };
    let (first, second) = (wrap(bench), wrap(bench));
    assert_eq!(bench.ask(&first, Update, "sys/wrapping/unwrap", "").status, 200);
    let (_, response) = bench.last_records();
    assert_eq!(
        response["response"]["data"]["a"],
        hash(bench, "canary-13"),
        "it is shown as what was wrapped"
    );
    let body = json!({ "token": second }).to_string();
    bench.root(Update, "sys/wrapping/lookup", &body);
    let third = bench.root(Update, "sys/wrapping/rewrap", &body);
    let third = third.body["wrap_info"]["token"].as_str().unwrap().to_owned();
    assert_eq!(bench.root(Update, "sys/wrapping/unwrap", &json!({ "token": third }).to_string()).status, 200);
    // A wrapped login: the token inside must not be seen either, when it is wrapped and when it is unwrapped.
    let root = bench.root.clone();
    let login = bench.ask_wrapped(&root, Update, "auth/token/create", "{}");
    let fourth = login.body["wrap_info"]["token"].as_str().unwrap().to_owned();
    let inside = bench.ask(&fourth, Update, "sys/wrapping/unwrap", "").body["auth"]["client_token"].clone();
    [vec![first, second, third, fourth], texts(vec![inside])].concat()
}

fn texts(values: Vec<Value>) -> Vec<String> {
    values.into_iter().map(|value| value.as_str().unwrap().to_owned()).collect()
}
