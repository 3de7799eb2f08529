use crate::context::Effect;
use crate::request::Operation::{List, Read, Update};
use crate::testing::Bench;
use serde_json::json;
use std::time::Duration;

#[test]
fn rotation_adds_a_term() {
    let mut bench = Bench::new();
    bench.write("sys/mounts/kv", r#"{"type":"kv"}"#);
    bench.write("kv/old", r#"{"a":1}"#);
    let status = bench.read("sys/key-status");
    assert_eq!((&status.data()["term"], &status.body["term"]), (&json!(1), &json!(1)));
    assert_eq!(status.data()["install_time"], "2026-01-01T00:00:00Z");
    bench.pass(Duration::from_secs(60));
    for (path, term) in [("sys/rotate", 2), ("sys/rotate/keyring", 3)] {
        assert_eq!(bench.write(path, "").status, 204);
        assert_eq!(bench.read("sys/key-status").data()["term"], term);
    }
    assert_eq!(bench.read("sys/key-status").data()["install_time"], "2026-01-01T00:01:00Z");
    assert_eq!(bench.read("kv/old").data(), &json!({"a": 1}));
    bench.write("kv/new", r#"{"a":2}"#);
    assert_eq!(bench.read("kv/new").data(), &json!({"a": 2}));
}

#[test]
fn rotation_comes_by_itself_when_configured() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.read("sys/rotate/config").data(),
        &json!({"enabled": true, "max_operations": 3_865_470_566_u64, "interval": 0})
    );
    assert_eq!(
        bench.write("sys/rotate/config", r#"{"interval":"48h","max_operations":1000000}"#).status,
        204
    );
    assert_eq!(
        bench.read("sys/rotate/config").data(),
        &json!({"enabled": true, "max_operations": 1_000_000, "interval": "48h0m0s"})
    );
    bench.pass(Duration::from_secs(48 * 3600 - 1));
    assert_eq!(bench.read("sys/key-status").data()["term"], 1);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.read("sys/key-status").data()["term"], 2);
    bench.write("sys/rotate/config", r#"{"enabled":false}"#);
    bench.pass(Duration::from_secs(480 * 3600));
    assert_eq!(bench.read("sys/key-status").data()["term"], 2);
    for (sent, error) in [
        (r#"{"interval":"1h"}"#, "interval must be greater or equal to 24h0m0s"),
        (r#"{"max_operations":10}"#, "max_operations must be in the range [1000000,3865470566]"),
        (r#"{"max_operations":-1}"#, "max_operations must be in the range"),
        (r#"{"max_operations":4000000000}"#, "max_operations must be in the range"),
    ] {
        let answer = bench.root(Update, "sys/rotate/config", sent);
        assert!(answer.status == 400 && answer.errors().contains(error), "{sent}: {answer:?}");
    }
}

#[test]
fn sealing_is_the_servers_to_do() {
    let bench = Bench::new();
    let request = bench.request(&bench.root, Update, "sys/seal", "");
    let now = crate::testing::now(&bench);
    let admitted = bench.authority.admit(&bench.store, &request, now, &bench.random);
    let admitted = admitted.map_err(|why| why.refusal).unwrap();
    let outcome = bench.carry_out(&request, &admitted).unwrap();
    assert_eq!(outcome.effects, [Effect::Seal]);
    assert_eq!(outcome.response.http_status(), 204);
}

#[test]
fn tools_need_no_mount() {
    let mut bench = Bench::new();
    let random = |bench: &mut Bench, path: &str, body: &str| {
        let answer = bench.root(Update, path, body);
        answer.data()["random_bytes"].as_str().map_or_else(|| answer.errors(), |made| made.len().to_string())
    };
    assert_eq!(random(&mut bench, "sys/tools/random", r#"{"format":"hex"}"#), "64");
    assert_eq!(random(&mut bench, "sys/tools/random/16", r#"{"format":"hex"}"#), "32");
    assert_eq!(random(&mut bench, "sys/tools/random/platform/8", r#"{"format":"hex"}"#), "16");
    assert_eq!(random(&mut bench, "sys/tools/random/all", r#"{"bytes":3}"#), "4");
    assert_eq!(random(&mut bench, "sys/tools/random/0", ""), "\"bytes\" cannot be less than 1");
    let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(bench.write("sys/tools/hash", r#"{"input":"YWJj"}"#).data()["sum"], sum);
    assert_eq!(
        bench.write("sys/tools/hash/sha2-256", r#"{"input":"YWJj","format":"hex"}"#).data()["sum"],
        sum
    );
    assert_eq!(
        bench.root(Update, "sys/tools/hash/md5", r#"{"input":"YWJj"}"#).errors(),
        "unsupported algorithm md5"
    );
}

#[test]
fn what_it_consists_of_is_told() {
    let mut bench = Bench::new();
    let catalog = bench.read("sys/plugins/catalog");
    assert_eq!(catalog.data()["auth"], json!(crate::engines::kinds(true)));
    assert_eq!(catalog.data()["secret"], json!(crate::engines::kinds(false)));
    assert_eq!(catalog.data()["detailed"][0]["builtin"], true);
    assert_eq!(
        bench.root(List, "sys/plugins/catalog/secret", "").data()["keys"],
        json!(crate::engines::kinds(false))
    );
    let databases = json!(["mysql-database-plugin", "postgresql-database-plugin", "redis-database-plugin"]);
    assert_eq!(catalog.data()["database"], databases);
    assert_eq!(bench.root(List, "sys/plugins/catalog/database", "").data()["keys"], databases);
    assert_eq!(bench.root(List, "sys/plugins/catalog/x/y", "").status, 404);
    assert_eq!(bench.root(List, "sys/plugins/catalog/x", "").status, 400);
    assert_eq!(bench.read("sys/experiments").data(), &json!({"available": [], "enabled": []}));
    bench.pass(Duration::from_secs(1));
    let version = crate::settings::VERSION;
    let history = bench.root(List, "sys/version-history", "");
    assert_eq!(history.data()["keys"], json!([version]));
    assert_eq!(
        history.data()["key_info"][version],
        json!({"timestamp_installed": "2026-01-01T00:00:01Z", "build_date": "", "previous_version": null})
    );
    for absent in ["sys/quotas/config", "sys/storage/raft/configuration", "sys/host-info", "sys/loggers"] {
        assert_eq!(bench.root(Read, absent, "").status, 404, "{absent}");
    }
}
