use super::bench;
use crate::request::Operation::Read;
use crate::testing::Bench;
use serde_json::{Value, json};

const RULES: &str = r#"
    path "kv2/data/mine/*" { capabilities = ["read"] }
    path "kv1/denied" { capabilities = ["deny"] }
    path "auth/app/login" { capabilities = ["update"] }
"#;

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect()
}

#[test]
fn callers_see_the_mounts_they_may_use() {
    let (mut bench, token) = bench(RULES);
    bench.write("sys/auth/app", r#"{"type":"approle"}"#);
    bench.write("sys/auth/open", r#"{"type":"userpass","config":{"listing_visibility":"unauth"}}"#);
    let seen = bench.ask(&token, Read, "sys/internal/ui/mounts", "");
    let visible: Vec<&str> = keys(&seen.data()["secret"]);
    assert!(visible.contains(&"kv2/") && !visible.contains(&"kv1/"), "{visible:?}");
    let visible: Vec<&str> = keys(&seen.data()["auth"]);
    assert!(visible.contains(&"app/") && visible.contains(&"open/"), "{visible:?}");
    assert_eq!(seen.data()["secret"]["kv2/"], bench.read("sys/mounts").data()["kv2/"]);
    // Without a token only what is listed for everyone, and little of it.
    let seen = bench.ask("", Read, "sys/internal/ui/mounts", "");
    assert_eq!(
        seen.data(),
        &json!({"auth": {"open/": {"type": "userpass", "description": "", "options": null}}, "secret": {}})
    );
    assert_eq!(bench.ask("hvs.bad", Read, "sys/internal/ui/mounts", "").status, 403);
    let all = bench.root(Read, "sys/internal/ui/mounts", "");
    assert_eq!(keys(&all.data()["secret"]), ["cubbyhole/", "identity/", "kv1/", "kv2/", "sys/"]);
}

#[test]
fn clients_find_the_engine_behind_a_path() {
    let (mut bench, token) = bench(RULES);
    bench.write("sys/auth/app", r#"{"type":"approle"}"#);
    for path in ["kv2", "kv2/", "kv2/mine/deep/er"] {
        let found = bench.ask(&token, Read, &format!("sys/internal/ui/mounts/{path}"), "");
        assert_eq!(found.data()["path"], "kv2/", "{path}");
        assert_eq!(
            (&found.data()["type"], &found.data()["options"]),
            (&json!("kv"), &json!({"version": "2"}))
        );
        assert!(found.data()["uuid"].is_string() && found.data()["config"].is_object());
    }
    assert_eq!(bench.ask(&token, Read, "sys/internal/ui/mounts/auth/app", "").data()["path"], "app/");
    // What may not be used and what is not there look alike.
    for path in ["kv1/denied", "none"] {
        let answer = bench.ask(&token, Read, &format!("sys/internal/ui/mounts/{path}"), "");
        assert_eq!(answer.status, 403);
        let error = format!(
            "preflight capability check returned 403, please ensure client's policies grant access to path \
             \"{path}/\""
        );
        assert_eq!(answer.errors(), error);
    }
    assert_eq!(bench.ask("", Read, "sys/internal/ui/mounts/kv2", "").status, 403);
    assert_eq!(bench.ask("hvs.bad", Read, "sys/internal/ui/mounts/kv2", "").status, 403);
}

#[test]
fn a_caller_sees_its_own_rights() {
    let (mut bench, token) = bench(RULES);
    let seen = bench.ask(&token, Read, "sys/internal/ui/resultant-acl", "");
    assert_eq!(seen.data()["root"], false);
    assert_eq!(seen.data()["glob_paths"]["kv2/data/mine/"], json!({"capabilities": ["read"]}));
    assert_eq!(seen.data()["exact_paths"]["kv1/denied"], json!({"capabilities": ["deny"]}));
    assert_eq!(seen.data()["exact_paths"]["auth/token/lookup-self"], json!({"capabilities": ["read"]}));
    assert_eq!(bench.read("sys/internal/ui/resultant-acl").data(), &json!({"root": true}));
}

fn openapi(bench: &mut Bench, token: &str, query: &str) -> Value {
    let answer = bench.ask(token, Read, &format!("sys/internal/specs/openapi{query}"), "");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["openapi"], "3.0.2");
    answer.body["paths"].clone()
}

#[test]
fn the_description_is_made_from_what_is_served() {
    let (mut bench, token) = bench(RULES);
    let paths = openapi(&mut bench, &token, "");
    let item = &paths["/kv2/data/{path}"];
    assert!(item["get"].is_object() && item["post"].is_object() && item["patch"].is_object());
    assert_eq!(item["parameters"][0]["name"], "path");
    assert!(keys(&paths).iter().all(|path| !path.starts_with("/kv1/")));
    let root = bench.root.clone();
    let paths = openapi(&mut bench, &root, "?generic_mount_paths=true");
    assert_eq!(paths["/{kv_v2_mount_path}/data/{path}"]["parameters"][0]["name"], "kv_v2_mount_path");
    assert_eq!(paths["/sys/auth/{path}"]["x-vault-sudo"], true);
    assert!(paths["/sys/mounts/{path}/tune"].is_object());
    // What the server answers by itself is told too, and lists from what is there to be read.
    assert_eq!(paths["/sys/health"]["x-vault-unauthenticated"], true);
    let list = |path: &str| paths[path]["get"]["parameters"][0]["required"].clone();
    assert_eq!(list("/sys/version-history"), true);
    assert_eq!(list("/{kv_v2_mount_path}/metadata/{path}"), false);
    assert_eq!(list("/sys/policies/acl/{name}"), Value::Null);
    assert_eq!(openapi(&mut bench, "", ""), json!({}));
}
