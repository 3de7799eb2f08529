use crate::context::Effect;
use crate::request::Operation::{Delete, Read, Update};
use crate::testing::Bench;
use serde_json::json;

const FILE: &str =
    r#"{"type":"file","description":"d","options":{"file_path":"/var/log/kw.log","mode":"0640"}}"#;

#[test]
fn devices_are_enabled_listed_and_disabled() {
    let mut bench = Bench::new();
    assert_eq!(bench.read("sys/audit").data(), &json!({}));
    assert_eq!(bench.write("sys/audit/file", FILE).status, 204);
    let listed = bench.read("sys/audit");
    let wanted = json!({
        "type": "file", "description": "d", "local": false, "path": "file/",
        "options": {"file_path": "/var/log/kw.log", "mode": "0640"},
    });
    assert_eq!(listed.data(), &json!({"file/": wanted}));
    assert_eq!(listed.body["file/"], wanted);
    for (path, sent, error) in [
        ("file", FILE, "path already in use"),
        ("other", FILE, "writes to the same place"),
        ("x", "{}", "unknown backend type"),
        ("x", r#"{"type":"file"}"#, "file_path is required"),
        ("x", r#"{"type":"file","options":{"file_path":"/a","log_raw":"true"}}"#, "log_raw is not supported"),
    ] {
        let answer = bench.root(Update, &format!("sys/audit/{path}"), sent);
        assert_eq!(answer.status, 400, "{path} {sent}");
        assert!(answer.errors().contains(error), "{sent}: {}", answer.errors());
    }
    assert_eq!(bench.root(Delete, "sys/audit/none", "").status, 204);
    assert_eq!(bench.root(Delete, "sys/audit/file", "").status, 204);
    assert_eq!(bench.read("sys/audit").data(), &json!({}));
}

#[test]
fn a_device_is_tried_before_it_is_enabled() {
    let bench = Bench::new();
    let request = bench.request(&bench.root, Update, "sys/audit/a/b", FILE);
    let now = crate::testing::now(&bench);
    let admitted = bench.authority.admit(&bench.store, &request, now, &bench.random);
    let admitted = admitted.map_err(|why| why.refusal).unwrap();
    let outcome = bench.carry_out(&request, &admitted).unwrap();
    let [Effect::ProbeAudit(device)] = &outcome.effects[..] else { panic!("{:?}", outcome.effects) };
    assert_eq!((device.path.as_str(), device.kind.as_str()), ("a/b/", "file"));
}

#[test]
fn hashes_find_values_in_records() {
    let mut bench = Bench::new();
    bench.write("sys/mounts/kv", r#"{"type":"kv"}"#);
    bench.write("sys/audit/file", FILE);
    bench.write("kv/a", r#"{"a":"needle"}"#);
    let (request, _) = bench.last_records();
    let answer = bench.write("sys/audit-hash/file", r#"{"input":"needle"}"#);
    assert_eq!(answer.data()["hash"], request["request"]["data"]["a"]);
    assert_eq!(answer.body["hash"], answer.data()["hash"]);
    let refused = bench.root(Update, "sys/audit-hash/none", r#"{"input":"x"}"#);
    assert_eq!(refused.errors(), "unknown audit backend \"none/\"");
    assert_eq!(bench.root(Update, "sys/audit-hash/file", "{}").errors(), "the \"input\" parameter is empty");
}

#[test]
fn a_mounts_own_keys_are_shown() {
    let mut bench = Bench::new();
    bench.write("sys/audit/file", FILE);
    bench.write("sys/mounts/kv", r#"{"type":"kv"}"#);
    let keys = r#"{"audit_non_hmac_request_keys":["user"],"audit_non_hmac_response_keys":["host"]}"#;
    bench.write("sys/mounts/kv/tune", keys);
    bench.write("kv/a", r#"{"user":"ada","host":"h","password":"x"}"#);
    let (request, _) = bench.last_records();
    let data = &request["request"]["data"];
    assert_eq!(data["user"], "ada");
    assert!(
        data["host"].as_str().unwrap().starts_with("hmac")
            && data["password"].as_str().unwrap().starts_with("hmac")
    );
    bench.read("kv/a");
    let (_, response) = bench.last_records();
    let data = &response["response"]["data"];
    assert_eq!(data["host"], "h");
    assert!(data["user"].as_str().unwrap().starts_with("hmac"));
}

#[test]
fn recorded_headers_are_configured() {
    let mut bench = Bench::new();
    let path = "sys/config/auditing/request-headers";
    assert_eq!(bench.read(path).data(), &json!({"headers": {}}));
    bench.write(&format!("{path}/X-Trace"), "{}");
    bench.write(&format!("{path}/x-vault-token"), r#"{"hmac":"true"}"#);
    assert_eq!(
        bench.read(path).data(),
        &json!({"headers": {"x-trace": {"hmac": false}, "x-vault-token": {"hmac": true}}})
    );
    assert_eq!(bench.read(&format!("{path}/X-Trace")).data(), &json!({"X-Trace": {"hmac": false}}));
    let refused = bench.root(Update, &format!("{path}/Authorization"), r#"{"hmac":false}"#);
    assert!(refused.errors().contains("carries credentials"), "{}", refused.errors());
    assert_eq!(bench.root(Delete, &format!("{path}/x-trace"), "").status, 204);
    assert_eq!(bench.root(Read, &format!("{path}/x-trace"), "").errors(), "Could not find header in config");
}
