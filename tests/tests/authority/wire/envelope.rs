//! What is around every answer.

use super::server;
use keyward_tests::http::{Answer, Client};
use serde_json::{Value, json};

#[test]
fn success_has_every_key() {
    let server = server();
    let root = server.root();
    root.write("secret/data/a", &json!({"data": {"word": "open"}})).expect(200);
    let answer = root.read("secret/data/a").expect(200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let mut body = answer.json();
    let id = body["request_id"].take();
    assert!(is_uuid(&id), "{id}");
    let data = body["data"].take();
    assert_eq!(data["data"], json!({"word": "open"}));
    let wanted = json!({
        "request_id": null, "lease_id": "", "renewable": false, "lease_duration": 0, "data": null,
        "wrap_info": null, "warnings": null, "auth": null, "mount_type": "kv",
    });
    assert_eq!(body, wanted);
    assert_ne!(root.read("secret/data/a").json()["request_id"], id);
}

fn is_uuid(id: &Value) -> bool {
    let text = id.as_str().unwrap_or("");
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    groups == [8, 4, 4, 4, 12] && text.chars().all(|c| c == '-' || matches!(c, '0'..='9' | 'a'..='f'))
}

#[test]
fn nothing_to_say_is_204_without_a_body() {
    let server = server();
    let root = server.root();
    let answers = [
        root.write("kv/a", &json!({"x": 1})),
        root.delete("kv/a"),
        root.delete("kv/never-there"),
        root.write("secret/metadata/a", &json!({"max_versions": 3})),
        root.write("secret/config", &json!({"max_versions": 5})),
        root.delete("sys/mounts/kv"),
        root.delete("sys/mounts/never-there"),
    ];
    for answer in answers {
        let answer = answer.expect(204);
        assert_eq!(answer.header("content-type"), None, "{answer:?}");
        assert!(answer.body.is_empty());
    }
}

#[test]
fn lists_of_mounts_are_repeated_at_the_top() {
    let server = server();
    let body = server.root().read("sys/mounts").expect(200).json();
    assert_eq!(body["data"]["secret/"]["options"], json!({"version": "2"}));
    assert_eq!(body["secret/"], body["data"]["secret/"]);
    assert_eq!(body["kv/"], body["data"]["kv/"]);
    for field in [
        "accessor",
        "config",
        "deprecation_status",
        "description",
        "external_entropy_access",
        "local",
        "options",
        "plugin_version",
        "running_plugin_version",
        "running_sha256",
        "seal_wrap",
        "type",
        "uuid",
    ] {
        assert!(body["kv/"].get(field).is_some(), "no {field} in {}", body["kv/"]);
    }
}

#[test]
fn refusals_are_lists_of_texts() {
    let server = server();
    let root = server.root();
    let refusals = [
        (root.read("kv/absent"), 404, ""),
        (root.list("kv/absent"), 404, ""),
        (root.read("secret/data/absent"), 404, ""),
        (root.read("nowhere/at/all"), 404, "no handler for route \"nowhere/at/all\". route entry not found."),
        (root.write("secret/data/a", &json!({"value": 1})), 400, "no data provided"),
        (root.write("sys/mounts/x", &json!({"type": "none"})), 400, "plugin not found in the catalog: none"),
        (root.delete("secret/config"), 405, "unsupported operation"),
        (
            root.request("PATCH", "/v1/secret/data/a").json(&json!({"data": {}})).send(),
            415,
            "merge-patch+json",
        ),
        (server.guest().read("kv/a"), 403, "permission denied"),
        (server.guest().read("nowhere/at/all"), 403, "permission denied"),
        (root.with_token("hvs.unknown").read("kv/a"), 403, "permission denied"),
        (root.with_token("not even a token").read("kv/a"), 403, "permission denied"),
    ];
    for (answer, status, words) in refusals {
        let answer = answer.refused(status, words);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.errors().is_empty(), words.is_empty(), "{}", answer.text());
    }
}

#[test]
fn what_is_gone_is_404_with_its_envelope() {
    let server = server();
    let root = server.root();
    root.write("secret/data/a", &json!({"data": {"n": 1}})).expect(200);
    root.delete("secret/data/a").expect(204);
    let gone = root.read("secret/data/a").expect(404).json();
    assert_eq!(gone["data"]["data"], Value::Null);
    assert_eq!(gone["data"]["metadata"]["destroyed"], false);
    assert!(gone["data"]["metadata"]["deletion_time"].as_str().unwrap().contains('T'));
    assert!(is_uuid(&gone["request_id"]));
    root.write("secret/destroy/a", &json!({"versions": [1]})).expect(204);
    assert_eq!(root.read("secret/data/a").expect(404).data()["metadata"]["destroyed"], true);
}

#[test]
fn nothing_may_keep_an_answer() {
    let server = server();
    let root = server.root();
    let big = format!("{{\"x\":\"{}\"}}", "a".repeat(33 << 20));
    let answers = [
        root.write("secret/data/a", &json!({"data": {}})).expect(200),
        root.write("kv/a", &json!({"x": 1})).expect(204),
        root.read("kv/absent").expect(404),
        root.request("GET", "/").send().expect(404),
        root.request("GET", "/ui/").send().expect(404),
        root.request("GET", "/v1/kv/%ff").send().expect(400),
        root.request("POST", "/v1/kv/a").body("{").send().expect(400),
        server.guest().read("kv/a").expect(403),
        root.request("TRACE", "/v1/kv/a").send().expect(405),
        root.request("POST", "/v1/kv/a").body(big).send().expect(413),
        root.request("GET", "/v1/kv/a?help=1").send().expect(200),
        root.request("HEAD", "/v1/sys/health").send().expect(200),
        server.guest().read("sys/seal-status").expect(200),
        root.read("sys/health?activecode=299").expect(299),
    ];
    for answer in &answers {
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
        let transport = answer.header("strict-transport-security");
        assert_eq!(transport, Some("max-age=31536000; includeSubDomains"), "{answer:?}");
    }
}

#[test]
fn a_token_comes_by_either_header() {
    let server = server();
    let guest = server.guest();
    let ask = |headers: &[(&str, &str)]| -> Answer {
        let ask = guest.request("GET", "/v1/sys/mounts");
        headers.iter().fold(ask, |ask, (name, value)| ask.header(name, value)).send()
    };
    let token = &server.keys().root;
    let bearer = format!("Bearer {token}");
    ask(&[("X-Vault-Token", token)]).expect(200);
    ask(&[("x-vault-token", token)]).expect(200);
    ask(&[("Authorization", &bearer)]).expect(200);
    ask(&[("Authorization", &format!("bearer {token}"))]).expect(200);
    ask(&[("X-Vault-Token", ""), ("Authorization", &bearer)]).expect(200);
    ask(&[("X-Vault-Token", token), ("X-Vault-Request", "true")]).expect(200);
    ask(&[("X-Vault-Token", "hvs.bad"), ("Authorization", &bearer)]).expect(403);
    ask(&[("Authorization", token)]).expect(403);
    ask(&[("Authorization", &format!("Basic {token}"))]).expect(403);
    ask(&[("Authorization", "Bearer ")]).expect(403);
    ask(&[("X-Vault-Token", "schlüssel")]).refused(400, "ASCII");
    ask(&[]).expect(403);
}

#[test]
fn the_root_namespace_is_the_only_one() {
    let server = server();
    let root = server.root();
    let ask = |root: &Client, name: &str| {
        root.request("GET", "/v1/sys/mounts").header("X-Vault-Namespace", name).send()
    };
    for name in ["", "root", "/", "root/"] {
        ask(&root, name).expect(200);
    }
    // A secret meant for a tenant's namespace must not land among everybody's.
    ask(&root, "team-a").refused(400, "namespaces are not available");
}
