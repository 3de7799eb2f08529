use crate::request::Operation::{Delete, List, Patch, Read, Update};
use crate::testing::Bench;
use serde_json::{Value, json};
use std::time::Duration;

fn mounted() -> Bench {
    let mut bench = Bench::new();
    bench.write("sys/mounts/secret", r#"{"type":"kv","options":{"version":"2"}}"#);
    bench
}

fn put(bench: &mut Bench, path: &str, value: &Value) -> u64 {
    let answer = bench.write(&format!("secret/data/{path}"), &json!({ "data": value }).to_string());
    answer.data()["version"].as_u64().unwrap()
}

#[test]
fn versions_are_kept_and_pruned() {
    let mut bench = mounted();
    for number in 1..=12 {
        assert_eq!(put(&mut bench, "a", &json!({"n": number})), number);
    }
    assert_eq!(bench.read("secret/data/a").data()["data"], json!({"n": 12}));
    assert_eq!(bench.read("secret/data/a?version=3").data()["data"], json!({"n": 3}));
    assert_eq!(bench.root(Read, "secret/data/a?version=2", "").status, 404);
    assert_eq!(bench.root(Read, "secret/data/a?version=13", "").status, 404);
    let metadata = bench.read("secret/metadata/a");
    assert_eq!(metadata.data()["current_version"], 12);
    assert_eq!(metadata.data()["oldest_version"], 3);
    assert_eq!(metadata.data()["versions"].as_object().unwrap().len(), 10);
    assert_eq!(metadata.data()["custom_metadata"], Value::Null);
    assert_eq!(metadata.data()["delete_version_after"], "0s");
    let values =
        bench.store.entries().filter(|(key, _)| String::from_utf8_lossy(key).contains("/value/a")).count();
    assert_eq!(values, 10);
}

#[test]
fn digits_and_text_survive() {
    let mut bench = mounted();
    bench.write("secret/data/a", r#"{"data":{"n":123456789012345678901234567890,"f":1.50,"u":"\u00fc<&>"}}"#);
    let request = bench.request(&bench.root, Read, "secret/data/a", "");
    let admitted = bench.authority.admit(&bench.store, &request, request.arrived, &bench.random);
    let admitted = admitted.map_err(|rejected| rejected.refusal).unwrap();
    let outcome = bench.carry_out(&request, &admitted).unwrap();
    let body = String::from_utf8(outcome.response.body("id").unwrap()).unwrap();
    assert!(
        body.contains(r#""data":{"n":123456789012345678901234567890,"f":1.50,"u":"\u00fc<&>"}"#),
        "{body}"
    );
    assert!(outcome.batch.is_empty());
}

#[test]
fn check_and_set_is_checked() {
    let mut bench = mounted();
    let write = |bench: &mut Bench, cas: &str| {
        bench.root(Update, "secret/data/a", &format!(r#"{{"data":{{"a":1}},"options":{{"cas":{cas}}}}}"#))
    };
    assert_eq!(write(&mut bench, "1").errors(), "check-and-set parameter did not match the current version");
    assert_eq!(write(&mut bench, "0").status, 200);
    assert_eq!(write(&mut bench, "0").status, 400);
    assert_eq!(write(&mut bench, "\"1\"").status, 200);
    assert_eq!(write(&mut bench, "\"x\"").errors(), "error parsing check-and-set parameter");
    assert_eq!(write(&mut bench, "-1").status, 400);
    bench.write("secret/metadata/a", r#"{"cas_required":true}"#);
    let plain = bench.root(Update, "secret/data/a", r#"{"data":{"a":1}}"#);
    assert_eq!(plain.errors(), "check-and-set parameter required for this call");
    bench.write("secret/config", r#"{"cas_required":"true","max_versions":"3"}"#);
    assert_eq!(bench.root(Update, "secret/data/b", r#"{"data":{}}"#).status, 400);
    assert_eq!(bench.read("secret/config").data()["max_versions"], 3);
}

#[test]
fn metadata_may_come_before_data() {
    let mut bench = mounted();
    bench.write("secret/metadata/a", r#"{"custom_metadata":{"managed-by":"external-secrets"}}"#);
    assert_eq!(bench.read("secret/metadata/a").data()["current_version"], 0);
    assert_eq!(bench.root(Read, "secret/data/a", "").status, 404);
    let first = bench.write("secret/data/a", r#"{"data":{"a":1},"options":{"cas":0}}"#);
    assert_eq!(first.data()["version"], 1);
    assert_eq!(first.data()["custom_metadata"], json!({"managed-by": "external-secrets"}));
}

#[test]
fn deleted_versions_answer_404_with_a_body() {
    let mut bench = mounted();
    put(&mut bench, "a", &json!({"v": 1}));
    put(&mut bench, "a", &json!({"v": 2}));
    assert_eq!(bench.root(Delete, "secret/data/a", "").status, 204);
    let gone = bench.root(Read, "secret/data/a", "");
    assert_eq!((gone.status, &gone.data()["data"]), (404, &Value::Null));
    assert_eq!(gone.data()["metadata"]["version"], 2);
    assert_ne!(gone.data()["metadata"]["deletion_time"], "");
    assert_eq!(bench.root(Update, "secret/undelete/a", r#"{"versions":["2"]}"#).status, 204);
    assert_eq!(bench.read("secret/data/a").data()["data"], json!({"v": 2}));
    bench.write("secret/delete/a", r#"{"versions":"1,2"}"#);
    assert_eq!(bench.root(Read, "secret/data/a?version=1", "").status, 404);
    bench.write("secret/destroy/a", r#"{"versions":[1]}"#);
    bench.write("secret/undelete/a", r#"{"versions":[1,2]}"#);
    let destroyed = bench.root(Read, "secret/data/a?version=1", "");
    assert_eq!((destroyed.status, &destroyed.data()["metadata"]["destroyed"]), (404, &json!(true)));
    assert_eq!(bench.root(Update, "secret/destroy/a", "{}").errors(), "No version number provided");
    assert_eq!(bench.root(Delete, "secret/data/none", "").status, 204);
}

#[test]
fn versions_end_by_time() {
    let mut bench = mounted();
    bench.write("secret/config", r#"{"delete_version_after":"1h"}"#);
    bench.write("secret/metadata/never", r#"{"delete_version_after":"-1s"}"#);
    bench.write("secret/metadata/soon", r#"{"delete_version_after":60}"#);
    for path in ["a", "never", "soon"] {
        put(&mut bench, path, &json!({"v": 1}));
    }
    bench.clock.advance(Duration::from_secs(61));
    assert_eq!(bench.root(Read, "secret/data/soon", "").status, 404);
    assert_eq!(bench.read("secret/data/a").status, 200);
    bench.clock.advance(Duration::from_secs(3600));
    assert_eq!(bench.root(Read, "secret/data/a", "").status, 404);
    assert_eq!(bench.read("secret/data/never").status, 200);
    assert_eq!(bench.read("secret/config").data()["delete_version_after"], "1h0m0s");
}

#[test]
fn patches_merge() {
    let mut bench = mounted();
    assert_eq!(bench.root(Patch, "secret/data/a", r#"{"data":{"x":1}}"#).status, 404);
    put(&mut bench, "a", &json!({"keep": 1, "drop": 2, "deep": {"x": 1, "y": [1]}}));
    let patched =
        bench.root(Patch, "secret/data/a", r#"{"data":{"drop":null,"deep":{"y":{"z":1}},"new":"n"}}"#);
    assert_eq!((patched.status, &patched.data()["version"]), (200, &json!(2)));
    let wanted = json!({"keep": 1, "deep": {"x": 1, "y": {"z": 1}}, "new": "n"});
    assert_eq!(bench.read("secret/data/a").data()["data"], wanted);
    let mut request = bench.request(&bench.root, Patch, "secret/data/a", r#"{"data":{}}"#);
    request.media = crate::request::Media::Json;
    assert_eq!(bench.send(&request).status, 415);
    bench.write("secret/metadata/a", r#"{"custom_metadata":{"a":"1","b":"2"}}"#);
    assert_eq!(
        bench.root(Patch, "secret/metadata/a", r#"{"custom_metadata":{"a":null,"c":"3"}}"#).status,
        204
    );
    assert_eq!(bench.read("secret/metadata/a").data()["custom_metadata"], json!({"b": "2", "c": "3"}));
}

#[test]
fn subkeys_have_no_values() {
    let mut bench = mounted();
    put(&mut bench, "a", &json!({"x": "secret", "y": {"z": [1, 2], "w": {}}}));
    let shown = bench.read("secret/subkeys/a");
    assert_eq!(shown.data()["subkeys"], json!({"x": null, "y": {"z": null, "w": {}}}));
    assert_eq!(bench.read("secret/subkeys/a?depth=1").data()["subkeys"], json!({"x": null, "y": null}));
    assert_eq!(shown.data()["metadata"]["version"], 1);
}

#[test]
fn secrets_are_listed_and_removed_whole() {
    let mut bench = mounted();
    for path in ["a", "a/b", "c/d/e"] {
        put(&mut bench, path, &json!({"v": 1}));
    }
    assert_eq!(bench.root(List, "secret/metadata", "").data()["keys"], json!(["a", "a/", "c/"]));
    bench.write("secret/metadata/a", r#"{"max_versions":60}"#);
    for _ in 0..50 {
        put(&mut bench, "a", &json!({"v": 1}));
    }
    assert_eq!(bench.root(Delete, "secret/metadata/a", "").status, 204);
    assert_eq!(bench.root(List, "secret/metadata", "").data()["keys"], json!(["a/", "c/"]));
    assert!(!bench.store.entries().any(|(key, _)| String::from_utf8_lossy(key).contains("/value/a\0")));
    assert_eq!(put(&mut bench, "a", &json!({})), 1);
}

#[test]
fn bad_writes_change_nothing() {
    let mut bench = mounted();
    let rev = |bench: &Bench| keyward_core::View::rev(&bench.store);
    let before = rev(&bench);
    for (path, body, message) in [
        ("secret/data/a", "{}", "no data provided"),
        ("secret/data/a", r#"{"data":null}"#, "no data provided"),
        ("secret/data/a", r#"{"data":"x"}"#, "data must be an object"),
        ("secret/data/", r#"{"data":{}}"#, "missing path"),
        ("secret/metadata/a", r#"{"max_versions":-1}"#, "max_versions"),
        ("secret/metadata/a", r#"{"custom_metadata":{"a":1}}"#, "custom_metadata validation failed"),
        ("secret/metadata/a", r#"{"custom_metadata":"x"}"#, "custom_metadata validation failed"),
        ("secret/config", r#"{"delete_version_after":"soon"}"#, "delete_version_after"),
    ] {
        let answer = bench.root(Update, path, body);
        assert_eq!(answer.status, 400, "{path} {body}");
        assert!(answer.errors().contains(message), "{path} {body}: {}", answer.errors());
    }
    assert_eq!(rev(&bench), before);
    let long = json!({"custom_metadata": {"k": "v".repeat(513)}}).to_string();
    assert_eq!(bench.root(Update, "secret/metadata/a", &long).status, 400);
    let large = json!({"data": {"k": "v".repeat(600_000)}}).to_string();
    let request = bench.request(&bench.root, Update, "secret/data/a", &large);
    let admitted = bench.authority.admit(&bench.store, &request, request.arrived, &bench.random);
    let admitted = admitted.map_err(|rejected| rejected.refusal).unwrap();
    let outcome = bench.carry_out(&request, &admitted).unwrap();
    assert_eq!(bench.store.commit(outcome.batch), Err(keyward_core::Fault::TooBig));
}
