use super::bench;
use crate::mounts::{self, Mount};
use crate::request::Operation::{List, Read, Update};
use crate::testing::Bench;
use serde_json::json;

#[test]
fn what_is_tuned_reads_back() {
    let (mut bench, _) = bench("");
    assert_eq!(
        bench.read("sys/mounts/kv2/tune").data(),
        &json!({
            "default_lease_ttl": 2_764_800, "max_lease_ttl": 2_764_800, "description": "",
            "force_no_cache": false, "options": {"version": "2"},
        })
    );
    let body = r#"{"default_lease_ttl":"1h","max_lease_ttl":"4h","description":"d","listing_visibility":"hidden",
        "audit_non_hmac_request_keys":["a"],"audit_non_hmac_response_keys":"b,c",
        "passthrough_request_headers":"X-A","allowed_response_headers":["X-B"],"options":{"x":"y"}}"#;
    assert_eq!(bench.write("sys/mounts/kv2/tune", body).status, 204);
    let tuned = json!({
        "default_lease_ttl": 3600, "max_lease_ttl": 14400, "description": "d", "force_no_cache": false,
        "listing_visibility": "hidden", "audit_non_hmac_request_keys": ["a"],
        "audit_non_hmac_response_keys": ["b", "c"], "passthrough_request_headers": ["X-A"],
        "allowed_response_headers": ["X-B"], "options": {"version": "2", "x": "y"},
    });
    assert_eq!(bench.read("sys/mounts/kv2/tune").data(), &tuned);
    assert_eq!(bench.read("sys/mounts/kv2/tune").body["description"], "d");
    // What is not sent stays; what is sent empty goes.
    let body = r#"{"default_lease_ttl":"system","max_lease_ttl":"","listing_visibility":"","options":{"x":""},
        "audit_non_hmac_request_keys":"","audit_non_hmac_response_keys":[]}"#;
    bench.write("sys/mounts/kv2/tune", body);
    let read = bench.read("sys/mounts/kv2/tune");
    assert_eq!((&read.data()["max_lease_ttl"], &read.data()["description"]), (&json!(14400), &json!("d")));
    assert_eq!(read.data()["default_lease_ttl"], 14400);
    assert_eq!(read.data()["options"], json!({"version": "2"}));
    for gone in ["listing_visibility", "audit_non_hmac_request_keys", "audit_non_hmac_response_keys"] {
        assert!(read.data().get(gone).is_none(), "{gone}");
    }
}

#[test]
fn auth_methods_are_tuned_by_either_path() {
    let mut bench = Bench::new();
    bench.write("sys/auth/app", r#"{"type":"approle"}"#);
    bench.write("sys/auth/app/tune", r#"{"token_type":"default-batch","max_lease_ttl":60}"#);
    for path in ["sys/auth/app/tune", "sys/mounts/auth/app/tune"] {
        let read = bench.read(path);
        assert_eq!(
            (&read.data()["token_type"], &read.data()["max_lease_ttl"]),
            (&json!("default-batch"), &json!(60))
        );
    }
    bench.write("sys/mounts/auth/app/tune", r#"{"token_type":""}"#);
    assert_eq!(bench.read("sys/auth/app/tune").data()["token_type"], "default-service");
    bench.write("sys/auth/token/tune", r#"{"description":"mine"}"#);
    assert_eq!(bench.read("sys/auth").data()["token/"]["description"], "mine");
}

#[test]
fn mistakes_change_nothing() {
    let (mut bench, _) = bench("");
    bench.write("sys/auth/app", r#"{"type":"approle"}"#);
    let before = (bench.read("sys/mounts"), bench.read("sys/auth"));
    for (path, body, error) in [
        ("mounts/sys", "{}", "cannot tune \"sys/\""),
        ("mounts/cubbyhole", "{}", "cannot tune \"cubbyhole/\""),
        ("mounts/none", "{}", "tune of path \"none/\" failed: no mount entry found"),
        ("mounts/kv1", r#"{"token_type":"batch"}"#, "'token_type' can only be modified on auth mounts"),
        ("auth/token", r#"{"token_type":"batch"}"#, "'token_type' cannot be set for 'token'"),
        ("auth/app", r#"{"token_type":"x"}"#, "invalid value for 'token_type'"),
        (
            "auth/app",
            r#"{"user_lockout_config":{"lockout_threshold":-1}}"#,
            "lockout_threshold cannot be negative",
        ),
        (
            "mounts/kv1",
            r#"{"default_lease_ttl":"2h","max_lease_ttl":"1h"}"#,
            "backend max lease TTL of 3600 would be less than backend default lease TTL of 7200",
        ),
        ("mounts/kv1", r#"{"max_lease_ttl":"-1h"}"#, "max_lease_ttl"),
        ("mounts/kv1", r#"{"description":"x","listing_visibility":"x"}"#, "invalid listing_visibility x"),
        ("mounts/kv2", r#"{"options":{"version":"1"}}"#, "cannot downgrade mount from version 2"),
        ("mounts/kv2", r#"{"options":{"version":"3"}}"#, "invalid version provided: 3"),
        ("auth/app", r#"{"options":{"version":"2"}}"#, "does not allow setting a version"),
    ] {
        let answer = bench.root(Update, &format!("sys/{path}/tune"), body);
        assert_eq!(answer.status, 400, "{path} {body}: {answer:?}");
        assert!(answer.errors().contains(error), "{path} {body}: {}", answer.errors());
    }
    let same = |a: &crate::testing::Answer, b: &crate::testing::Answer| a.data() == b.data();
    assert!(same(&bench.read("sys/mounts"), &before.0) && same(&bench.read("sys/auth"), &before.1));
    assert_eq!(
        bench.root(Read, "sys/mounts/none/tune", "").errors(),
        "cannot fetch sysview for path \"none/\""
    );
}

#[test]
fn secrets_become_their_own_first_versions() {
    let (mut bench, _) = bench("");
    let before = bench.read("sys/mounts/kv1");
    for at in 0..120 {
        bench.write(&format!("kv1/dir/{at:03}"), &format!(r#"{{"n":{at}}}"#));
    }
    // Names that version 2 has in its own layout.
    for name in ["meta/a", "value/b", "config", "data/x"] {
        bench.write(&format!("kv1/{name}"), &format!(r#"{{"name":"{name}"}}"#));
    }
    bench.write("kv1/large", &format!(r#"{{"v":"{}"}}"#, "x".repeat(480 * 1024)));
    let answer = bench.root(Update, "sys/mounts/kv1/tune", r#"{"options":{"version":"2"}}"#);
    assert_eq!(answer.status, 200);
    assert!(
        answer.body["warnings"][0]
            .as_str()
            .unwrap()
            .starts_with("Upgrading mount from version 1 to version 2")
    );
    let after = bench.read("sys/mounts/kv1");
    assert_eq!(after.data()["options"], json!({"version": "2"}));
    assert_eq!(after.data()["accessor"], before.data()["accessor"]);
    let read = bench.read("kv1/data/dir/077");
    assert_eq!(read.data()["data"], json!({"n": 77}));
    assert_eq!(read.data()["metadata"]["version"], 1);
    for name in ["meta/a", "value/b", "config", "data/x"] {
        assert_eq!(bench.read(&format!("kv1/data/{name}")).data()["data"], json!({"name": name}));
    }
    assert_eq!(bench.read("kv1/data/large").data()["data"]["v"].as_str().map(str::len), Some(480 * 1024));
    let listed = bench.root(List, "kv1/metadata/dir", "");
    assert_eq!(listed.data()["keys"].as_array().map(Vec::len), Some(120));
    bench.write("kv1/data/dir/077", r#"{"options":{"cas":1},"data":{"n":78}}"#);
    let old = format!("m/{}/", before.data()["uuid"].as_str().unwrap());
    assert!(!bench.store.entries().any(|(key, _)| key.starts_with(old.as_bytes())), "the old layout is gone");
    assert!(!bench.store.entries().any(|(key, _)| key.starts_with(b"job/")));
}

#[test]
fn nobody_comes_between_an_upgrade() {
    let (mut bench, _) = bench("");
    bench.write("kv1/a", r#"{"a":1}"#);
    let mut txn = bench.authority.begin(&bench.store, &bench.random).unwrap();
    let table = mounts::table(&mut txn).unwrap();
    let mount = Mount { upgrading: true, ..Mount::clone(table.at("kv1/").unwrap()) };
    mounts::put(&mut txn, &mount).unwrap();
    let batch = txn.finish();
    bench.store.commit(batch).unwrap();
    for (operation, path, body) in [
        (Read, "kv1/a", ""),
        (Update, "kv1/a", r#"{"a":2}"#),
        (Update, "sys/mounts/kv1/tune", r#"{"options":{"version":"2"}}"#),
        (Update, "sys/remount", r#"{"from":"kv1","to":"kv3"}"#),
    ] {
        let answer = bench.root(operation, path, body);
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.errors().starts_with("Upgrading from non-versioned to versioned data."), "{path}");
    }
}
