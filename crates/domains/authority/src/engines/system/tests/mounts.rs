use crate::mounts;
use crate::request::Operation::{Delete, Read, Update};
use crate::testing::Bench;
use serde_json::{Value, json};

#[test]
fn a_mount_is_described_as_vault_describes_it() {
    let mut bench = Bench::new();
    let body = r#"{"type":"kv-v2","description":"team","local":true,"seal_wrap":"true","external_entropy_access":1,
        "config":{"default_lease_ttl":"30m","max_lease_ttl":7200,"force_no_cache":true,"listing_visibility":"unauth",
                  "audit_non_hmac_request_keys":"a, b","audit_non_hmac_response_keys":["c"],
                  "passthrough_request_headers":["X-A"],"allowed_response_headers":"X-B"},
        "options":{"other":"x"}}"#;
    assert_eq!(bench.write("sys/mounts/team/a", body).status, 204);
    let all = bench.read("sys/mounts");
    let mount = &all.data()["team/a/"];
    let wanted = json!({
        "accessor": mount["accessor"], "uuid": mount["uuid"],
        "config": {
            "default_lease_ttl": 1800, "max_lease_ttl": 7200, "force_no_cache": true,
            "listing_visibility": "unauth", "audit_non_hmac_request_keys": ["a", "b"],
            "audit_non_hmac_response_keys": ["c"], "passthrough_request_headers": ["X-A"],
            "allowed_response_headers": ["X-B"],
        },
        "deprecation_status": "supported", "description": "team", "external_entropy_access": true,
        "local": true, "options": {"version": "2", "other": "x"}, "plugin_version": "",
        "running_plugin_version": "", "running_sha256": "", "seal_wrap": true, "type": "kv",
    });
    assert_eq!(mount, &wanted);
    assert!(mount["accessor"].as_str().unwrap().starts_with("kv_"));
    // Older clients read the top level.
    assert_eq!(all.body["team/a/"], wanted);
    let one = bench.read("sys/mounts/team/a/");
    assert_eq!((one.data(), &one.body["type"]), (&wanted, &json!("kv")));
    let system = &all.data()["sys/"];
    assert_eq!((&system["type"], &system["options"]), (&json!("system"), &Value::Null));
    assert!(all.data().get("token/").is_none());
}

#[test]
fn auth_methods_are_listed_by_their_own_paths() {
    let mut bench = Bench::new();
    let body = r#"{"type":"approle","config":{"token_type":"batch","default_lease_ttl":"1h"}}"#;
    assert_eq!(bench.write("sys/auth/team/app", body).status, 204);
    let all = bench.read("sys/auth");
    let method = &all.data()["team/app/"];
    assert_eq!(method["type"], "approle");
    assert_eq!(method["config"]["token_type"], "batch");
    assert_eq!(method["config"]["default_lease_ttl"], 3600);
    assert!(method["accessor"].as_str().unwrap().starts_with("auth_approle_"));
    assert_eq!(all.data()["token/"]["config"]["token_type"], "default-service");
    assert_eq!(all.body["team/app/"], *method);
    assert_eq!(bench.read("sys/auth/team/app").data(), method);
    assert_eq!(bench.root(Read, "sys/auth/none", "").errors(), "No auth engine mount at none/");
    assert_eq!(bench.root(Delete, "sys/auth/team/app", "").status, 204);
    assert!(bench.read("sys/auth").data().get("team/app/").is_none());
}

#[test]
fn types_have_several_names() {
    let mut bench = Bench::new();
    for (path, body, kind, version) in [
        ("a", r#"{"type":"kv"}"#, "kv", Value::Null),
        ("b", r#"{"type":"kv-v1"}"#, "kv", json!("1")),
        ("c", r#"{"type":"kv","options":{"version":"2"}}"#, "kv", json!("2")),
        ("d", r#"{"type":"kv","options":{"version":2}}"#, "kv", json!("2")),
        ("e", r#"{"type":"plugin","plugin_name":"transit"}"#, "transit", Value::Null),
        ("f", r#"{"type":"plugin","config":{"plugin_name":"transit"}}"#, "transit", Value::Null),
    ] {
        assert_eq!(bench.write(&format!("sys/mounts/{path}"), body).status, 204, "{path}");
        let mount = bench.read(&format!("sys/mounts/{path}"));
        assert_eq!(mount.data()["type"], kind, "{path}");
        assert_eq!(mount.data()["options"].get("version").cloned().unwrap_or_default(), version, "{path}");
    }
}

#[test]
fn mistakes_change_nothing() {
    let mut bench = Bench::new();
    bench.write("sys/mounts/kv/deep", r#"{"type":"kv"}"#);
    bench.write("sys/auth/app", r#"{"type":"approle"}"#);
    let before = bench.store.entries().count();
    for (path, body, error) in [
        ("mounts/x", "{}", "backend type must be specified as a string"),
        (
            "mounts/x",
            r#"{"type":"nosuch"}"#,
            "plugin not found in the catalog: nosuch; known types: database, ",
        ),
        ("mounts/x", r#"{"type":"approle"}"#, "plugin not found in the catalog: approle"),
        ("mounts/x", r#"{"type":"plugin"}"#, "plugin_name must be provided for plugin backend"),
        ("mounts/x", r#"{"type":"system"}"#, "mount type of \"system\" is not mountable"),
        ("mounts/x", r#"{"type":"cubbyhole"}"#, "mount type of \"cubbyhole\" is not mountable"),
        ("mounts/sys/x", r#"{"type":"kv"}"#, "cannot mount \"sys/x/\""),
        ("mounts/auth/x", r#"{"type":"kv"}"#, "cannot mount \"auth/x/\""),
        ("mounts/kv/deep", r#"{"type":"kv"}"#, "path is already in use at kv/deep/"),
        ("mounts/kv", r#"{"type":"kv"}"#, "path is already in use at kv/deep/"),
        ("mounts/kv/deep/er", r#"{"type":"kv"}"#, "path is already in use at kv/deep/"),
        ("mounts/x", r#"{"type":"kv","options":{"version":"3"}}"#, "invalid version provided: 3"),
        (
            "mounts/x",
            r#"{"type":"transit","options":{"version":"2"}}"#,
            "secrets engine \"transit\" does not allow setting a version",
        ),
        (
            "mounts/x",
            r#"{"type":"kv","config":{"default_lease_ttl":"2h","max_lease_ttl":"1h"}}"#,
            "given default lease TTL greater than given max lease TTL",
        ),
        (
            "mounts/x",
            r#"{"type":"kv","config":{"default_lease_ttl":"9999h"}}"#,
            "given default lease TTL greater than system max lease TTL of 2764800",
        ),
        ("mounts/x", r#"{"type":"kv","config":{"default_lease_ttl":"soon"}}"#, "write a duration: "),
        (
            "mounts/x",
            r#"{"type":"kv","config":{"listing_visibility":"yes"}}"#,
            "invalid listing_visibility yes",
        ),
        ("mounts/x", r#"{"type":"kv","config":{"plugin_version":"v1.0.0"}}"#, "plugin_version"),
        ("mounts/x", r#"{"type":"kv","config":"x"}"#, "send one JSON object"),
        ("auth/x", r#"{"type":"token"}"#, "token credential backend cannot be instantiated"),
        ("auth/x", r#"{"type":"kv"}"#, "plugin not found in the catalog: kv; known types: approle, "),
        ("auth/app", r#"{"type":"approle"}"#, "path is already in use at app/"),
        ("auth/token/x", r#"{"type":"approle"}"#, "path is already in use at token/"),
        ("auth/x", r#"{"type":"approle","config":{"token_type":"x"}}"#, "invalid value for 'token_type'"),
        (
            "auth/x",
            r#"{"type":"approle","options":{"version":"2"}}"#,
            "auth method \"approle\" does not allow setting a version",
        ),
    ] {
        let answer = bench.root(Update, &format!("sys/{path}"), body);
        assert_eq!(answer.status, 400, "{path} {body}: {answer:?}");
        assert!(answer.errors().contains(error), "{path} {body}: {}", answer.errors());
    }
    assert_eq!(bench.store.entries().count(), before);
    let warned = bench.root(Update, "sys/mounts/x", r#"{"type":"kv","config":{"new":1},"newer":2}"#);
    assert_eq!(
        warned.body["warnings"],
        json!([
            "Endpoint ignored these unrecognized parameters: [config.new]",
            "Endpoint ignored these unrecognized parameters: [newer]"
        ])
    );
}

#[test]
fn what_every_authority_has_stays() {
    let mut bench = Bench::new();
    for (path, error) in [
        ("mounts/sys", "cannot unmount \"sys/\""),
        ("mounts/cubbyhole", "cannot unmount \"cubbyhole/\""),
        ("mounts/auth/token", "cannot unmount \"auth/token/\""),
        ("auth/token", "token credential backend cannot be disabled"),
    ] {
        assert_eq!(bench.root(Delete, &format!("sys/{path}"), "").errors(), error);
    }
    // Nobody learns what is there.
    assert_eq!(bench.root(Delete, "sys/mounts/none", "").status, 204);
    assert_eq!(bench.root(Read, "sys/mounts/none", "").errors(), "No secret engine mount at none/");
}

#[test]
fn a_disabled_method_ends_what_it_issued() {
    let mut bench = Bench::new();
    bench.write("sys/auth/user", r#"{"type":"userpass"}"#);
    bench.write("auth/user/users/ada", r#"{"password":"correct horse"}"#);
    let login = bench.ask("", Update, "auth/user/login/ada", r#"{"password":"correct horse"}"#);
    let token = login.body["auth"]["client_token"].as_str().unwrap().to_owned();
    assert_eq!(bench.ask(&token, Read, "auth/token/lookup-self", "").status, 200);
    assert_eq!(bench.root(Delete, "sys/auth/user", "").status, 204);
    assert_eq!(bench.ask(&token, Read, "auth/token/lookup-self", "").status, 403);
    assert!(!bench.store.entries().any(|(key, _)| key.starts_with(b"m/")));
}

#[test]
fn nothing_is_written_to_a_mount_that_is_gone() {
    let mut bench = Bench::new();
    bench.write("sys/mounts/kv", r#"{"type":"kv"}"#);
    let request = bench.request(&bench.root, Update, "kv/late", r#"{"a":1}"#);
    let now = crate::testing::now(&bench);
    let admitted = bench.authority.admit(&bench.store, &request, now, &bench.random);
    let admitted = admitted.map_err(|why| why.refusal).unwrap();
    bench.root(Delete, "sys/mounts/kv", "");
    let late = bench.carry_out(&request, &admitted);
    assert_eq!(late.err().map(|why| why.status()), Some(404));
    let mut txn = bench.authority.begin(&bench.store, &bench.random).unwrap();
    assert!(mounts::table(&mut txn).unwrap().at("kv/").is_none());
}
