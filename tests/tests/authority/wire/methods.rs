//! What a method means.

use super::server;
use keyward_tests::http::{Answer, Client};
use serde_json::{Value, json};

const MERGE_PATCH: &str = "application/merge-patch+json";

fn patch(client: &Client, path: &str, content_type: &str, body: &Value) -> Answer {
    let path = format!("/v1/{path}");
    client.request("PATCH", &path).header("Content-Type", content_type).body(body.to_string()).send()
}

#[test]
fn lists_are_asked_for_in_two_ways() {
    let server = server();
    let root = server.root();
    for name in ["b", "a", "c/d", "c/e/f"] {
        root.write(&format!("kv/{name}"), &json!({"x": 1})).expect(204);
    }
    let keys = |answer: Answer| answer.expect(200).data()["keys"].clone();
    let wanted = json!(["a", "b", "c/"]);
    for path in ["kv", "kv/"] {
        assert_eq!(keys(root.list(path)), wanted);
        for asked in ["list=true", "list=1", "list=t", "list=True", "x=y&list=true"] {
            assert_eq!(keys(root.read(&format!("{path}?{asked}"))), wanted);
        }
    }
    assert_eq!(keys(root.list("kv/c")), json!(["d", "e/"]));
    root.read("kv?list=false").refused(404, "");
    root.read("kv/a?list=0").expect(200);
    // An entry is not a directory.
    root.list("kv/a").refused(404, "");
    assert_eq!(root.list("kv/absent").errors(), Vec::<String>::new());
}

#[test]
fn put_and_post_are_one() {
    let server = server();
    let root = server.root();
    for (number, method) in ["PUT", "POST", "PUT"].into_iter().enumerate() {
        let body = json!({"data": {"by": method}});
        let made = root.request(method, "/v1/secret/data/a").json(&body).send().expect(200);
        assert_eq!(made.data()["version"], number + 1);
        assert_eq!(root.read("secret/data/a").data()["data"]["by"], method);
    }
    root.request("PUT", "/v1/sys/mounts/other").json(&json!({"type": "kv"})).send().expect(204);
}

#[test]
fn a_patch_names_its_type() {
    let server = server();
    let root = server.root();
    root.write("secret/data/a", &json!({"data": {"keep": 1, "drop": 2, "deep": {"x": 1}}})).expect(200);
    let body = json!({"data": {"drop": null, "deep": {"y": 2}}});
    for refused in ["application/json", "", "application/json-patch+json", "text/plain"] {
        patch(&root, "secret/data/a", refused, &body).refused(415, MERGE_PATCH);
    }
    assert_eq!(root.read("secret/data/a").data()["metadata"]["version"], 1);
    let patched = patch(&root, "secret/data/a", MERGE_PATCH, &body).expect(200);
    assert_eq!(patched.data()["version"], 2);
    let wanted = json!({"keep": 1, "deep": {"x": 1, "y": 2}});
    assert_eq!(root.read("secret/data/a").data()["data"], wanted);
    let with_charset = format!("{MERGE_PATCH}; charset=utf-8");
    patch(&root, "secret/data/a", &with_charset, &json!({"data": {}})).expect(200);
    patch(&root, "secret/data/absent", MERGE_PATCH, &body).refused(404, "");
    patch(&root, "kv/a", MERGE_PATCH, &json!({"x": 1})).refused(405, "unsupported operation");
    let metadata = json!({"custom_metadata": {"owner": "team", "gone": null}});
    patch(&root, "secret/metadata/a", MERGE_PATCH, &metadata).expect(204);
    assert_eq!(root.read("secret/metadata/a").data()["custom_metadata"], json!({"owner": "team"}));
}

#[test]
fn other_methods_are_not_served() {
    let server = server();
    let root = server.root();
    root.write("kv/a", &json!({"x": 1})).expect(204);
    for method in ["OPTIONS", "TRACE", "PROPFIND", "get", "BREW"] {
        root.request(method, "/v1/kv/a").send().refused(405, "unsupported operation");
    }
    // HEAD has no body, whatever it would say.
    assert_eq!(root.request("HEAD", "/v1/kv/a").send().status, 405);
    for path in ["/v1/sys/health", "/v1/sys/seal-status", "/v1/sys/init"] {
        let head = server.guest().request("HEAD", path).send().expect(200);
        assert!(head.body.is_empty());
        let get = server.guest().request("GET", path).send().expect(200);
        assert_eq!(head.header("content-type"), get.header("content-type"));
    }
    server.guest().request("DELETE", "/v1/sys/health").send().refused(405, "unsupported operation");
    assert_eq!(root.read("kv/a").data(), json!({"x": 1}));
}

#[test]
fn paths_explain_themselves() {
    let server = server();
    let root = server.root();
    for path in ["sys/mounts/secret", "kv/any", "secret/data/any", "cubbyhole/any"] {
        let help = root.read(&format!("{path}?help=1")).expect(200);
        assert_eq!(help.header("content-type"), Some("application/json"));
        let help = help.json();
        assert!(help["help"].as_str().unwrap().len() > 40, "{help}");
        assert!(help.get("see_also").is_some(), "{help}");
        assert_eq!(help["openapi"]["paths"].as_object().unwrap().len(), 1, "{help}");
    }
    assert!(root.read("sys/mounts/x?help=1").json()["help"].as_str().unwrap().contains("description"));
    server.guest().read("kv/any?help=1").refused(403, "permission denied");
    root.read("nowhere?help=1").refused(404, "no handler for route");
}
