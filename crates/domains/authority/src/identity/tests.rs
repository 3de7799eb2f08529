//! Whom tokens belong to, and what that changes.

use crate::request::Operation::{Read, Update};
use crate::testing::Bench;
use crate::txn::Txn;
use keyward_core::Timestamp;
use serde_json::json;
use std::collections::BTreeMap;

fn log_in_as(txn: &mut Txn<'_>, accessor: &str, name: &str, metadata: &BTreeMap<String, String>) -> String {
    let known = super::Known { accessor, name, metadata, groups: None };
    super::of_login(txn, known, Timestamp::from_secs(1)).unwrap().id.clone()
}

fn log_in(bench: &mut Bench, path: &str, body: &str) -> String {
    let answer = bench.ask("", Update, path, body);
    answer.body["auth"]["client_token"].as_str().unwrap().to_owned()
}

#[test]
fn templates_name_who_logged_in() {
    let mut bench = Bench::new();
    bench.write("sys/mounts/kv", r#"{"type":"kv"}"#);
    let people = bench.mount_auth("userpass", "people");
    let machines = bench.mount_auth("approle", "machines");
    bench.policy(
        "own",
        &format!(
            "path \"kv/{{{{identity.entity.aliases.{}.name}}}}\" {{ capabilities = [\"read\"] }}
             path \"kv/{{{{identity.entity.aliases.{}.metadata.role_name}}}}\" {{ capabilities = [\"read\"] }}",
            people.accessor, machines.accessor
        ),
    );
    for name in ["ann", "bob", "web"] {
        bench.write(&format!("kv/{name}"), r#"{"a":1}"#);
        bench.write(&format!("auth/people/users/{name}"), r#"{"password":"x","policies":"own"}"#);
    }
    bench.write(
        "auth/machines/role/web",
        r#"{"role_id":"r","token_policies":"own","bind_secret_id":false,"secret_id_bound_cidrs":"127.0.0.1",
            "token_type":"batch"}"#,
    );
    let ann = log_in(&mut bench, "auth/people/login/ann", r#"{"password":"x"}"#);
    let bob = log_in(&mut bench, "auth/people/login/bob", r#"{"password":"x"}"#);
    let web = log_in(&mut bench, "auth/machines/login", r#"{"role_id":"r"}"#);
    for (token, own, other) in [(&ann, "ann", "bob"), (&bob, "bob", "ann"), (&web, "web", "ann")] {
        assert_eq!(bench.ask(token, Read, &format!("kv/{own}"), "").status, 200, "{own}");
        assert_eq!(bench.ask(token, Read, &format!("kv/{other}"), "").status, 403, "{own}");
    }
    // A child has its creator's identity; an orphan has none.
    bench.policy("creator", "path \"auth/token/*\" { capabilities = [\"create\", \"update\"] }");
    bench.write("auth/people/users/ann", r#"{"policies":"own,creator"}"#);
    let ann = log_in(&mut bench, "auth/people/login/ann", r#"{"password":"x"}"#);
    let child = bench.created(&ann, "{}");
    assert_eq!(bench.ask(&child, Read, "kv/ann", "").status, 200);
    let orphan = bench.ask(&ann, Update, "auth/token/create-orphan", "{}");
    let orphan = orphan.body["auth"]["client_token"].as_str().unwrap().to_owned();
    assert_eq!(bench.ask(&orphan, Read, "kv/ann", "").status, 403);
}

#[test]
fn a_changed_entity_is_another_right_at_once() {
    let mut bench = Bench::new();
    bench.write("sys/mounts/kv", r#"{"type":"kv"}"#);
    bench.write("kv/red", r#"{"a":1}"#);
    let mount = bench.mount_auth("userpass", "people");
    let path = format!("kv/{{{{identity.entity.aliases.{}.metadata.team}}}}", mount.accessor);
    bench.policy("team", &format!("path \"{path}\" {{ capabilities = [\"read\"] }}"));
    bench.write("auth/people/users/ann", r#"{"password":"x","policies":"team"}"#);
    let ann = log_in(&mut bench, "auth/people/login/ann", r#"{"password":"x"}"#);
    for (team, wanted) in [("red", 200), ("blue", 403), ("red", 200)] {
        let mut txn = bench.authority.begin(&bench.store, &bench.random).unwrap();
        let metadata = BTreeMap::from([("team".to_owned(), team.to_owned())]);
        let id = log_in_as(&mut txn, &mount.accessor, "ann", &metadata);
        let again = log_in_as(&mut txn, &mount.accessor, "ann", &metadata);
        assert_eq!(id, again);
        let batch = txn.finish();
        bench.store.commit(batch).unwrap();
        assert_eq!(bench.ask(&ann, Read, "kv/red", "").status, wanted, "{team}");
    }
    assert_eq!(bench.count("identity/"), 4);
}

#[test]
fn the_same_name_at_another_mount_is_another() {
    let mut bench = Bench::new();
    let mut id = |accessor: &str, name: &str| {
        let mut txn = bench.authority.begin(&bench.store, &bench.random).unwrap();
        let id = log_in_as(&mut txn, accessor, name, &BTreeMap::new());
        let batch = txn.finish();
        bench.store.commit(batch).unwrap();
        id
    };
    let first = id("auth_a", "n");
    assert_eq!(id("auth_a", "n"), first);
    assert_ne!(id("auth_b", "n"), first);
    assert_ne!(id("auth_a", "m"), first);
    assert_ne!(id("auth_", "an"), id("auth_a", "n"));
    assert_eq!(json!(first).as_str().map(str::len), Some(36));
}

/// Prints; asserts only the answers. What an identity adds to a read must stay within 10 microseconds.
#[test]
fn an_identity_costs_little() {
    let mut bench = Bench::new();
    bench.write("sys/mounts/kv", r#"{"type":"kv"}"#);
    bench.write("kv/red/a", r#"{"a":1}"#);
    bench.mount_auth("userpass", "people");
    bench.policy("reader", "path \"kv/red/*\" { capabilities = [\"read\"] }");
    bench.policy(
        "team",
        "path \"kv/{{identity.groups.names.team.metadata.color}}/*\" { capabilities = [\"read\"] }",
    );
    bench.write("auth/people/users/ann", r#"{"password":"x","policies":"team"}"#);
    let auth = bench.ask("", Update, "auth/people/login/ann", r#"{"password":"x"}"#).body["auth"].clone();
    let group = json!({"name": "team", "metadata": {"color": "red"}, "member_entity_ids": auth["entity_id"]});
    bench.write("identity/group", &group.to_string());
    let with = auth["client_token"].as_str().unwrap().to_owned();
    let without = bench.token(&["reader"]);
    let mut took = [0; 2];
    for (took, token) in took.iter_mut().zip([&without, &with]) {
        let request = bench.request(token, Read, "kv/red/a", "");
        let rounds = 2000;
        #[expect(clippy::disallowed_methods, reason = "a measurement needs a clock")]
        let begun = std::time::Instant::now();
        for _ in 0..rounds {
            assert!(bench.authority.admit(&bench.store, &request, request.arrived, &bench.random).is_ok());
        }
        *took = begun.elapsed().as_nanos() / rounds;
    }
    println!("admitting a read: {} ns without an identity, {} ns with one", took[0], took[1]);
}
