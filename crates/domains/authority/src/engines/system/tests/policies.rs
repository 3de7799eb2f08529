use super::bench;
use crate::request::Operation::{Delete, List, Read, Update};
use crate::testing::Bench;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

const RULES: &str = r#"path "kv1/*" { capabilities = ["read"] }"#;

fn body(field: &str, text: &str) -> String {
    json!({ field: text }).to_string()
}

#[test]
fn policies_are_kept_word_for_word() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.write("sys/policies/acl/Mine", &body("policy", RULES)).body["warnings"],
        json!(["policy name was converted to mine"])
    );
    let read = bench.read("sys/policies/acl/mine");
    assert_eq!(read.data(), &json!({"name": "mine", "policy": RULES}));
    assert!(read.body.get("policy").is_none());
    assert_eq!(bench.read("sys/policies/acl/MINE").data()["name"], "mine");
    assert_eq!(bench.write("sys/policies/acl/coded", &body("policy", &STANDARD.encode(RULES))).status, 204);
    assert_eq!(bench.read("sys/policies/acl/coded").data()["policy"], RULES);
    let keys = json!(["coded", "default", "mine", "root"]);
    assert_eq!(bench.root(List, "sys/policies/acl", "").data(), &json!({"keys": keys}));
    assert_eq!(bench.read("sys/policies/acl").data(), &json!({"keys": keys}));
    assert_eq!(bench.root(Delete, "sys/policies/acl/mine", "").status, 204);
    assert_eq!(bench.root(Delete, "sys/policies/acl/mine", "").status, 204);
    assert_eq!(bench.root(Read, "sys/policies/acl/mine", "").status, 404);
}

#[test]
fn older_clients_are_served() {
    let mut bench = Bench::new();
    let written = bench.write("sys/policy/old", &body("rules", RULES));
    assert_eq!(written.body["warnings"], json!(["'rules' is deprecated, please use 'policy' instead"]));
    let read = bench.read("sys/policy/old");
    assert_eq!(read.data(), &json!({"name": "old", "rules": RULES}));
    assert_eq!((&read.body["rules"], &read.body["name"]), (&json!(RULES), &json!("old")));
    for listed in [bench.read("sys/policy"), bench.root(List, "sys/policy", "")] {
        let keys = json!(["default", "old", "root"]);
        assert_eq!(listed.data(), &json!({"keys": keys, "policies": keys}));
        assert_eq!(listed.body["policies"], keys);
    }
    assert_eq!(bench.write("sys/policy/new", &body("policy", RULES)).status, 204);
    assert_eq!(bench.root(Delete, "sys/policy/old", "").status, 204);
}

#[test]
fn the_policies_of_every_authority_are_protected() {
    let mut bench = Bench::new();
    assert_eq!(bench.read("sys/policies/acl/root").data(), &json!({"name": "root", "policy": ""}));
    assert_eq!(
        bench.root(Update, "sys/policies/acl/root", &body("policy", RULES)).errors(),
        "cannot update \"root\" policy"
    );
    assert_eq!(bench.root(Delete, "sys/policies/acl/root", "").errors(), "cannot delete \"root\" policy");
    assert_eq!(bench.root(Delete, "sys/policies/acl/default", "").errors(), "cannot delete default policy");
    let refused = bench.root(Update, "sys/policies/acl/response-wrapping", &body("policy", RULES));
    assert_eq!(refused.errors(), "cannot update \"response-wrapping\" policy");
    assert!(
        bench.read("sys/policies/acl/response-wrapping").data()["policy"]
            .as_str()
            .is_some_and(|text| text.contains("unwrap"))
    );
    bench.write("sys/policies/acl/default", &body("policy", RULES));
}

#[test]
fn mistakes_change_nothing() {
    let mut bench = Bench::new();
    bench.write("sys/policies/acl/mine", &body("policy", RULES));
    for (sent, error) in [
        ("{}".to_owned(), "'policy' parameter not supplied or empty"),
        (body("policy", ""), "'policy' parameter not supplied or empty"),
        (body("rules", RULES), "'policy' parameter not supplied or empty"),
        (body("policy", "path \"x\" {"), "failed to parse policy"),
        (body("policy", "path \"x\" { capabilities = [\"fly\"] }"), "fly"),
    ] {
        let answer = bench.root(Update, "sys/policies/acl/mine", &sent);
        assert_eq!(answer.status, 400, "{sent}");
        assert!(answer.errors().contains(error), "{sent}: {}", answer.errors());
    }
    assert_eq!(bench.read("sys/policies/acl/mine").data()["policy"], RULES);
}

#[test]
fn a_changed_policy_counts_at_once() {
    let (mut bench, token) = bench(RULES);
    bench.write("kv1/a", r#"{"a":1}"#);
    assert_eq!(bench.ask(&token, Read, "kv1/a", "").status, 200);
    bench.write("sys/policies/acl/tested", &body("policy", r#"path "kv1/*" { capabilities = ["list"] }"#));
    assert_eq!(bench.ask(&token, Read, "kv1/a", "").status, 403);
    bench.root(Delete, "sys/policies/acl/tested", "");
    assert_eq!(bench.ask(&token, List, "kv1", "").status, 403);
}

#[test]
fn capabilities_are_told_by_token_and_by_accessor() {
    let (mut bench, token) = bench(
        r#"path "kv1/*" { capabilities = ["update", "read", "sudo"] }
           path "kv1/no" { capabilities = ["deny"] }
           path "sys/capabilities" { capabilities = ["update"] }"#,
    );
    let two = r#"{"paths":["kv1/a","kv1/no"]}"#;
    let wanted = json!({"kv1/a": ["read", "sudo", "update"], "kv1/no": ["deny"]});
    let own = bench.ask(&token, Update, "sys/capabilities-self", two);
    assert_eq!(own.data(), &wanted);
    assert_eq!(own.body["kv1/a"], wanted["kv1/a"]);
    let by_token = json!({"token": token, "paths": "kv1/a,kv1/no"}).to_string();
    assert_eq!(bench.root(Update, "sys/capabilities", &by_token).data(), &wanted);
    let accessor = bench.ask(&token, Read, "auth/token/lookup-self", "").data()["accessor"].clone();
    let by_accessor = json!({"accessor": accessor, "path": "kv1/a"}).to_string();
    let answer = bench.root(Update, "sys/capabilities-accessor", &by_accessor);
    assert_eq!(answer.data(), &json!({"kv1/a": wanted["kv1/a"], "capabilities": wanted["kv1/a"]}));
    assert_eq!(
        bench.root(Update, "sys/capabilities-self", r#"{"path":"any"}"#).data()["capabilities"],
        json!(["root"])
    );
    for (path, sent, error) in [
        ("capabilities", r#"{"paths":["a"]}"#, "no token found"),
        ("capabilities", r#"{"token":"hvs.bad","paths":["a"]}"#, "invalid token"),
        ("capabilities-accessor", r#"{"paths":["a"]}"#, "missing accessor"),
        ("capabilities-accessor", r#"{"accessor":"bad","paths":["a"]}"#, "invalid accessor"),
        ("capabilities-self", "{}", "paths must be supplied"),
        ("capabilities-self", r#"{"paths":[""]}"#, "missing path"),
    ] {
        let answer = bench.root(Update, &format!("sys/{path}"), sent);
        assert_eq!((answer.status, answer.errors().as_str()), (400, error), "{path} {sent}");
    }
}

#[test]
fn lists_show_what_policies_let_them() {
    let (mut bench, token) = bench(
        r#"path "kv1/" { capabilities = ["list"] list_scan_response_keys_filter_path = "{{ .path }}{{ .key }}" }
           path "kv1/a" { capabilities = ["read"] }
           path "kv1/c" { capabilities = ["read"] }"#,
    );
    for name in ["a", "b", "c"] {
        bench.write(&format!("kv1/{name}"), r#"{"v":1}"#);
    }
    assert_eq!(bench.ask(&token, List, "kv1", "").data()["keys"], json!(["a", "c"]));
    assert_eq!(bench.root(List, "kv1", "").data()["keys"], json!(["a", "b", "c"]));
}

#[test]
fn the_rule_that_decides_is_named() {
    let (mut bench, token) = bench(
        r#"path "kv1/*" { capabilities = ["read"] }
           path "kv1/no" { capabilities = ["deny"] }
           path "kv1/team" {
               capabilities = ["update"]
               allowed_parameters = { "color" = ["red"] }
           }"#,
    );
    let accessor = bench.ask(&token, Read, "auth/token/lookup-self", "").data()["accessor"].clone();
    for (sent, allowed, reason, decided_by) in [
        (json!({"path": "kv1/a"}), true, "the rule grants read", "kv1/*"),
        (json!({"path": "/kv1/a", "operation": "delete"}), false, "the rule does not grant delete", "kv1/*"),
        (json!({"path": "kv1/no"}), false, "the rule denies", "kv1/no"),
        (
            json!({"path": "kv1/team", "operation": "update", "parameters": {"color": "red"}}),
            true,
            "the rule grants update",
            "kv1/team",
        ),
    ] {
        let mut sent = sent.clone();
        sent["accessor"] = accessor.clone();
        let told = bench.root(Update, "sys/policies/explain", &sent.to_string());
        assert_eq!(told.data()["allowed"], allowed, "{sent}");
        assert_eq!(told.data()["reason"], reason, "{sent}");
        assert_eq!(told.data()["decided_by"]["path"], decided_by, "{sent}");
        assert_eq!(told.data()["decided_by"]["rules"][0]["policy"], "tested", "{sent}");
    }
    let refused =
        json!({"path": "kv1/team", "operation": "update", "parameters": {"color": "blue"}, "token": token});
    let told = bench.root(Update, "sys/policies/explain", &refused.to_string());
    assert!(told.data()["reason"].as_str().unwrap().contains("color"), "{told:?}");
    let none = bench.root(Update, "sys/policies/explain", r#"{"path":"elsewhere","policies":"tested"}"#);
    assert_eq!(none.data()["text"], "denied: no rule matches the path");
    let own = bench.root(Update, "sys/policies/explain", r#"{"path":"any","operation":"list"}"#);
    assert_eq!(own.data()["reason"], "the root policy allows everything");
    assert_eq!(bench.ask(&token, Update, "sys/policies/explain", r#"{"path":"kv1/a"}"#).status, 403);
    for (sent, error) in [
        (json!({}), "missing path"),
        (json!({"path": "a", "operation": "fly"}), "operation must be one of"),
        (json!({"path": "a", "policies": "none"}), "there is no policy \"none\""),
        (json!({"path": "a", "token": "hvs.bad"}), "invalid token"),
        (json!({"path": "a", "accessor": "bad"}), "invalid accessor"),
        (
            json!({"path": "a", "token": token, "accessor": accessor}),
            "give one of token, accessor and policies",
        ),
    ] {
        let answer = bench.root(Update, "sys/policies/explain", &sent.to_string());
        assert_eq!(answer.status, 400, "{sent}");
        assert!(answer.errors().contains(error), "{sent}: {}", answer.errors());
    }
}
