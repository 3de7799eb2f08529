mod history;

use crate::request::Operation::{Delete, List, Read, Update};
use crate::testing::{Answer, Bench};
use serde_json::{Value, json};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const CREATOR: &str =
    r#"path "auth/token/*" { capabilities = ["create", "read", "update", "delete", "list"] }"#;
const SUDO: &str = r#"path "auth/token/*" { capabilities = ["create", "update", "list", "sudo"] }"#;

/// With the policies `a`, `b`, `creator` and `sudo`, the latter two for tokens' own paths.
fn bench() -> Bench {
    let mut bench = Bench::new();
    for name in ["a", "b"] {
        bench.policy(name, "path \"x\" { capabilities = [\"read\"] }");
    }
    bench.policy("creator", CREATOR);
    bench.policy("sudo", SUDO);
    bench
}

fn create(bench: &mut Bench, creator: &str, body: &str) -> Answer {
    bench.ask(creator, Update, "auth/token/create", body)
}

fn auth(answer: &Answer) -> &Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    &answer.body["auth"]
}

fn token_in(answer: &Answer) -> String {
    auth(answer)["client_token"].as_str().unwrap().to_owned()
}

fn lookup(bench: &mut Bench, token: &str) -> Answer {
    bench.root(Update, "auth/token/lookup", &json!({ "token": token }).to_string())
}

#[test]
fn tokens_are_stored_in_the_order_of_their_making() {
    let mut bench = bench();
    let root = bench.root.clone();
    let mut made = Vec::new();
    for _ in 0..3 {
        bench.clock.advance(Duration::from_millis(1));
        let created = create(&mut bench, &root, "{}");
        let (token, accessor) = (token_in(&created), auth(&created)["accessor"].clone());
        let moment = token.strip_prefix("hvs.").unwrap().get(..7).unwrap();
        assert!(accessor.as_str().unwrap().starts_with(moment), "{token} {accessor}");
        made.push(accessor);
        // The moment is part of what is hashed.
        let mut moved = token.clone();
        moved.replace_range(4..5, "z");
        assert_eq!(bench.ask(&moved, Read, "auth/token/lookup-self", "").status, 403);
    }
    let listed = bench.root(List, "auth/token/accessors", "").data()["keys"].clone();
    assert!(listed.as_array().unwrap().ends_with(&made), "{listed} {made:?}");
}

#[test]
fn what_is_created_is_told_and_looked_up() {
    let mut bench = bench();
    let root = bench.root.clone();
    let body = r#"{"policies":["b","A","a"],"ttl":"1h","explicit_max_ttl":"2h","display_name":"it's me!",
        "meta":{"k":"v"},"num_uses":5}"#;
    let created = create(&mut bench, &root, body);
    let (token, accessor) = (token_in(&created), auth(&created)["accessor"].clone());
    assert!(token.starts_with("hvs.") && token.len() > 20);
    assert_eq!(
        *auth(&created),
        json!({"client_token": token, "accessor": accessor, "policies": ["a","b","default"],
            "token_policies": ["a","b","default"], "metadata": {"k":"v"}, "lease_duration": 3600,
            "renewable": true, "entity_id": "", "token_type": "service", "orphan": false,
            "mfa_requirement": null, "num_uses": 5})
    );
    let wanted = |id: &str| {
        json!({"accessor": accessor, "creation_time": 1_767_225_600, "creation_ttl": 3600,
            "display_name": "token-it-s-me", "entity_id": "", "expire_time": "2026-01-01T01:00:00Z",
            "explicit_max_ttl": 7200, "id": id, "issue_time": "2026-01-01T00:00:00Z", "meta": {"k":"v"},
            "num_uses": 5, "orphan": false, "path": "auth/token/create", "policies": ["a","b","default"],
            "renewable": true, "ttl": 3600, "type": "service"})
    };
    assert_eq!(*lookup(&mut bench, &token).data(), wanted(&token));
    let by_accessor = json!({ "accessor": accessor }).to_string();
    assert_eq!(*bench.root(Update, "auth/token/lookup-accessor", &by_accessor).data(), wanted(""));
    let query = bench.root(Read, &format!("auth/token/lookup?token={token}"), "");
    assert_eq!(query.data()["id"], *token);
    let keys = bench.root(List, "auth/token/accessors", "").data()["keys"].clone();
    assert!(keys.as_array().unwrap().contains(&accessor) && keys.as_array().unwrap().len() == 2);
}

#[test]
fn the_root_token_never_ends() {
    let mut bench = bench();
    let own = bench.read("auth/token/lookup-self");
    assert_eq!(own.data()["path"], "auth/token/root");
    assert_eq!(own.data()["policies"], json!(["root"]));
    assert_eq!((&own.data()["ttl"], &own.data()["expire_time"]), (&json!(0), &json!(null)));
    assert_eq!(own.data()["meta"], json!(null));
    assert_eq!(bench.root(Update, "auth/token/renew-self", "").errors(), "lease is not renewable");
}

#[test]
fn children_have_no_more_than_their_creator() {
    let mut bench = bench();
    let root = bench.root.clone();
    let creator = bench.created(&root, r#"{"policies":["a","creator"]}"#);
    let mut ask = |body: &str| create(&mut bench, &creator, body);
    assert_eq!(auth(&ask("{}"))["policies"], json!(["a", "creator", "default"]));
    assert_eq!(auth(&ask(r#"{"policies":"a"}"#))["policies"], json!(["a", "default"]));
    let without = ask(r#"{"policies":"a","no_default_policy":true}"#);
    assert_eq!(auth(&without)["policies"], json!(["a"]));
    for (body, wanted) in [
        (r#"{"policies":["b"]}"#, "child policies must be subset of parent"),
        (r#"{"policies":["root"]}"#, "child policies must be subset of parent"),
        (r#"{"id":"mine"}"#, "root or sudo privileges required to specify token id"),
        (r#"{"no_parent":true}"#, "root or sudo privileges required to create orphan token"),
        (r#"{"period":"1h"}"#, "root or sudo privileges required to create periodic token"),
        (r#"{"type":"odd"}"#, "invalid 'token_type' value"),
        (r#"{"num_uses":-1}"#, "number of uses cannot be negative"),
        (r#"{"entity_alias":"x"}"#, "'entity_alias' is only allowed in combination with token role"),
    ] {
        let answer = ask(body);
        assert_eq!((answer.status, answer.errors().as_str()), (400, wanted), "{body}");
    }
    // A creator without `default` passes none on.
    let bare = bench.created(&root, r#"{"policies":["a","creator"],"no_default_policy":true}"#);
    let created = create(&mut bench, &bare, r#"{"policies":"a"}"#);
    assert_eq!(auth(&created)["policies"], json!(["a"]));
}

#[test]
fn sudo_widens_but_does_not_make_root() {
    let mut bench = bench();
    let root = bench.root.clone();
    let sudo = bench.created(&root, r#"{"policies":["sudo"]}"#);
    let mut ask = |body: &str| create(&mut bench, &sudo, body);
    let created = ask(r#"{"policies":["b","none"],"id":"mine","no_parent":true,"period":"1h"}"#);
    assert_eq!(created.body["warnings"], json!(["Policy \"none\" does not exist"]));
    assert_eq!(auth(&created)["client_token"], "mine");
    assert_eq!(auth(&created)["policies"], json!(["b", "default", "none"]));
    assert_eq!(auth(&created)["orphan"], true);
    assert_eq!(auth(&created)["lease_duration"], 3600);
    for (body, wanted) in [
        (r#"{"policies":["root"]}"#, "root tokens may not be created without parent token being root"),
        (r#"{"policies":["response-wrapping"]}"#, "cannot assign policy \"response-wrapping\""),
        (r#"{"id":"mine"}"#, "cannot create a token with a duplicate ID"),
        (r#"{"id":"hvs.mine"}"#, "custom token ID cannot have the 'hvs.' prefix"),
        (r#"{"id":"s.mine"}"#, "custom token ID cannot have the 's.' prefix"),
        (r#"{"id":"mi.ne"}"#, "custom token ID cannot have a '.' in the value"),
        (r#"{"id":"mi ne"}"#, "custom token ID must consist of printable ASCII characters without spaces"),
    ] {
        let answer = ask(body);
        assert_eq!((answer.status, answer.errors().as_str()), (400, wanted), "{body}");
    }
    assert_eq!(lookup(&mut bench, "mine").data()["period"], 3600);
}

#[test]
fn root_makes_root_for_as_long_as_it_lives() {
    let mut bench = bench();
    let root = bench.root.clone();
    let endless = create(&mut bench, &root, "{}");
    assert_eq!(auth(&endless)["policies"], json!(["root"]));
    assert_eq!((&auth(&endless)["lease_duration"], &auth(&endless)["renewable"]), (&json!(0), &json!(false)));
    let limited = create(&mut bench, &root, r#"{"explicit_max_ttl":"1h"}"#);
    assert_eq!(auth(&limited)["lease_duration"], 3600);
    let ending = bench.created(&root, r#"{"policies":["root"],"ttl":"1h"}"#);
    let answer = create(&mut bench, &ending, "{}");
    assert_eq!(answer.errors(), "expiring root tokens cannot create non-expiring root tokens");
    assert_eq!(auth(&create(&mut bench, &ending, r#"{"ttl":"10m"}"#))["lease_duration"], 600);
    let batch = create(&mut bench, &root, r#"{"policies":["root"],"type":"batch"}"#);
    assert_eq!(batch.errors(), "batch tokens cannot be root tokens");
}

#[test]
fn times_to_live_are_bounded() {
    let mut bench = bench();
    let root = bench.root.clone();
    let default = create(&mut bench, &root, r#"{"policies":"a"}"#);
    assert_eq!(auth(&default)["lease_duration"], 2_764_800);
    let capped = create(&mut bench, &root, r#"{"policies":"a","ttl":"30m","explicit_max_ttl":"5m"}"#);
    assert_eq!(auth(&capped)["lease_duration"], 300);
    let warning = "TTL of \"30m\" exceeded the effective max_ttl of \"5m\"; TTL value is capped accordingly";
    assert_eq!(capped.body["warnings"], json!([warning]));
    let long = create(&mut bench, &root, r#"{"policies":"a","lease":"800h"}"#);
    assert_eq!(auth(&long)["lease_duration"], 2_764_800);
}

#[test]
fn batch_tokens_are_not_stored() {
    let mut bench = bench();
    let root = bench.root.clone();
    let parent = bench.created(&root, r#"{"policies":["a","creator"]}"#);
    let entries = bench.store.entries().count();
    let created =
        create(&mut bench, &parent, r#"{"type":"batch","policies":"a","ttl":"1h","meta":{"k":"v"}}"#);
    assert_eq!(bench.store.entries().count(), entries);
    let batch = token_in(&created);
    assert!(batch.starts_with("hvb."));
    assert_eq!((&auth(&created)["accessor"], &auth(&created)["renewable"]), (&json!(""), &json!(false)));
    let known = lookup(&mut bench, &batch).data().clone();
    assert_eq!(
        (&known["type"], &known["meta"], &known["ttl"]),
        (&json!("batch"), &json!({"k":"v"}), &json!(3600))
    );
    assert_eq!(bench.ask(&batch, Read, "auth/token/lookup-self", "").data()["id"], *batch);
    let named = json!({ "token": batch }).to_string();
    for (path, wanted) in [
        ("renew", "batch tokens cannot be renewed"),
        ("revoke", "batch tokens cannot be revoked"),
        ("revoke-orphan", "batch tokens cannot be revoked"),
    ] {
        let answer = bench.root(Update, &format!("auth/token/{path}"), &named);
        assert_eq!((answer.status, answer.errors().as_str()), (400, wanted));
    }
    let own = bench.ask(&batch, Update, "auth/token/revoke-self", "");
    assert_eq!(own.errors(), "batch tokens cannot be revoked");
    let sudo_batch = bench.created(&root, r#"{"policies":["sudo"],"type":"batch"}"#);
    let grandchild = create(&mut bench, &sudo_batch, "{}");
    assert_eq!(grandchild.errors(), "batch tokens cannot create more tokens");
    for name in ["explicit_max_ttl", "period", "num_uses"] {
        let body = format!("{{\"type\":\"batch\",\"policies\":\"a\",\"{name}\":3}}");
        let answer = bench.root(Update, "auth/token/create", &body);
        assert_eq!(answer.errors(), format!("batch tokens cannot have \"{name}\" set"));
    }
    // It ends with its parent, and by its time; a changed one is none.
    let mut forged = batch.clone();
    let last = if forged.pop() == Some('A') { 'B' } else { 'A' };
    forged.push(last);
    assert_eq!(lookup(&mut bench, &forged).status, 403);
    let orphan = token_in(&bench.root(
        Update,
        "auth/token/create-orphan",
        r#"{"type":"batch","policies":"a","ttl":"1h"}"#,
    ));
    bench.root(Update, "auth/token/revoke", &json!({ "token": parent }).to_string());
    assert_eq!(lookup(&mut bench, &batch).status, 403);
    assert_eq!(lookup(&mut bench, &orphan).status, 200);
    bench.clock.advance(HOUR);
    assert_eq!(lookup(&mut bench, &orphan).status, 403);
}

#[test]
fn children_inherit_networks_and_identity() {
    let mut bench = bench();
    bench.write(
        "auth/token/roles/r",
        r#"{"allowed_entity_aliases":"web-*","token_bound_cidrs":"127.0.0.0/8","allowed_policies":"creator,a"}"#,
    );
    let refused = bench.root(Update, "auth/token/create/r", r#"{"entity_alias":"db-1"}"#);
    assert_eq!(refused.errors(), "invalid 'entity_alias' value");
    let created = bench.root(Update, "auth/token/create/r", r#"{"entity_alias":"Web-1"}"#);
    let (token, entity) = (token_in(&created), auth(&created)["entity_id"].clone());
    assert_eq!(entity.as_str().unwrap().len(), 36);
    let again = bench.root(Update, "auth/token/create/r", r#"{"entity_alias":"wEB-1"}"#);
    assert_eq!(auth(&again)["entity_id"], entity);
    let child = create(&mut bench, &token, r#"{"policies":"a"}"#);
    assert_eq!(auth(&child)["entity_id"], entity);
    let known = lookup(&mut bench, &token_in(&child));
    assert_eq!(known.data()["bound_cidrs"], json!(["127.0.0.0/8"]));
    let orphan = bench.ask(&token, Update, "auth/token/create-orphan", r#"{"policies":"a"}"#);
    assert_eq!((&auth(&orphan)["entity_id"], &auth(&orphan)["orphan"]), (&json!(""), &json!(true)));
    let mut elsewhere = bench.request(&token_in(&child), Read, "auth/token/lookup-self", "");
    elsewhere.remote = "10.1.1.1:1".parse().ok();
    assert_eq!(bench.send(&elsewhere).status, 403);
}

#[test]
fn roles_are_read_back_as_written() {
    let mut bench = bench();
    assert_eq!(bench.root(List, "auth/token/roles", "").status, 404);
    assert_eq!(bench.root(Update, "auth/token/roles/r", "").status, 204);
    let plain = json!({"allowed_entity_aliases":[],"allowed_policies":[],"allowed_policies_glob":[],
        "disallowed_policies":[],"disallowed_policies_glob":[],"explicit_max_ttl":0,"name":"r","orphan":false,
        "path_suffix":"","period":0,"renewable":true,"token_explicit_max_ttl":0,"token_no_default_policy":false,
        "token_period":0,"token_type":"default-service"});
    assert_eq!(*bench.read("auth/token/roles/r").data(), plain);
    let body = r#"{"allowed_policies":"b,A","orphan":true,"period":"1h","token_num_uses":3,"bound_cidrs":["::1/128"],
        "renewable":"false","path_suffix":"v-1.x","token_type":"service"}"#;
    bench.write("auth/token/roles/r", body);
    let read = bench.read("auth/token/roles/r").data().clone();
    for (name, wanted) in [
        ("allowed_policies", json!(["a", "b"])),
        ("orphan", json!(true)),
        ("period", json!(3600)),
        ("token_period", json!(3600)),
        ("token_num_uses", json!(3)),
        ("bound_cidrs", json!(["::1/128"])),
        ("token_bound_cidrs", json!(["::1/128"])),
        ("renewable", json!(false)),
        ("path_suffix", json!("v-1.x")),
        ("token_type", json!("service")),
    ] {
        assert_eq!(read[name], wanted, "{name}");
    }
    let both = bench.root(Update, "auth/token/roles/r", r#"{"period":1,"token_period":2}"#);
    let warning = "Both 'token_period' and deprecated 'period' value supplied, ignoring the deprecated value";
    assert_eq!(both.body["warnings"], json!([warning]));
    assert_eq!(bench.root(List, "auth/token/roles", "").data()["keys"], json!(["r"]));
    assert_eq!(bench.root(Delete, "auth/token/roles/r", "").status, 204);
    assert_eq!(bench.root(Read, "auth/token/roles/r", "").status, 404);
    assert_eq!(bench.root(Update, "auth/token/create/r", "").errors(), "unknown role r");
}

#[test]
fn bad_roles_are_refused() {
    let mut bench = bench();
    for (body, wanted) in [
        (r#"{"token_type":"odd"}"#, "invalid 'token_type' value \"odd\""),
        (
            r#"{"token_type":"batch"}"#,
            "'token_type' cannot be 'batch' when role is set to generate non-orphan tokens",
        ),
        (
            r#"{"token_type":"batch","orphan":true}"#,
            "'token_type' cannot be 'batch' when role is set to generate renewable tokens",
        ),
        (
            r#"{"token_type":"batch","orphan":true,"period":1}"#,
            "'token_type' cannot be 'batch' when role is set to generate periodic tokens",
        ),
    ] {
        let answer = bench.root(Update, "auth/token/roles/r", body);
        assert_eq!((answer.status, answer.errors().as_str()), (400, wanted), "{body}");
    }
    for suffix in ["a/b", "..", "ab", "-ab", "a..b"] {
        let body = json!({ "path_suffix": suffix }).to_string();
        assert_eq!(bench.root(Update, "auth/token/roles/r", &body).status, 400, "{suffix}");
    }
    assert_eq!(bench.root(Read, "auth/token/roles/r", "").status, 404);
}

#[test]
fn a_role_stands_for_itself() {
    let mut bench = bench();
    let root = bench.root.clone();
    bench.write("auth/token/roles/some", r#"{"allowed_policies":"b","allowed_policies_glob":"team-*"}"#);
    bench.write("auth/token/roles/most", r#"{"disallowed_policies":"a","disallowed_policies_glob":"ro*"}"#);
    bench.write("auth/token/roles/bare", r#"{"allowed_policies":"b","token_no_default_policy":true}"#);
    let creator = bench.created(&root, r#"{"policies":["a","creator"]}"#);
    let mut ask =
        |role: &str, body: &str| bench.ask(&creator, Update, &format!("auth/token/create/{role}"), body);
    assert_eq!(auth(&ask("some", ""))["policies"], json!(["b", "default"]));
    let teams = ask("some", r#"{"policies":["team-x"],"no_default_policy":true}"#);
    assert_eq!(auth(&teams)["policies"], json!(["team-x"]));
    assert_eq!(auth(&ask("bare", ""))["policies"], json!(["b"]));
    assert_eq!(
        ask("some", r#"{"policies":["a"]}"#).errors(),
        "token policies ([\"a\" \"default\"]) must be subset of the role's allowed policies ([\"b\" \"default\"]) \
         or glob policies ([\"team-*\"])"
    );
    assert_eq!(auth(&ask("most", r#"{"policies":["b"]}"#))["policies"], json!(["b", "default"]));
    assert_eq!(ask("most", "").errors(), "token policy \"a\" is disallowed by this role");
    let root_by_role = ask("most", r#"{"policies":["root"]}"#);
    assert_eq!(root_by_role.errors(), "token policy \"root\" is disallowed by this role");
}

#[test]
fn a_role_bounds_its_tokens() {
    let mut bench = bench();
    bench.write(
        "auth/token/roles/r",
        r#"{"token_explicit_max_ttl":"1h","token_num_uses":3,"path_suffix":"v-2","orphan":true,"renewable":false}"#,
    );
    let created =
        bench.root(Update, "auth/token/create/r", r#"{"policies":"a","num_uses":9,"explicit_max_ttl":"2h"}"#);
    let warning = "Explicit max TTL specified both during creation call and in role; using the lesser value of 3600 seconds";
    assert_eq!(created.body["warnings"][0], warning);
    assert_eq!((&auth(&created)["num_uses"], &auth(&created)["lease_duration"]), (&json!(3), &json!(3600)));
    assert_eq!((&auth(&created)["renewable"], &auth(&created)["orphan"]), (&json!(false), &json!(true)));
    let known = lookup(&mut bench, &token_in(&created)).data().clone();
    assert_eq!((&known["path"], &known["role"]), (&json!("auth/token/create/r/v-2"), &json!("r")));
    bench.write("auth/token/roles/b", r#"{"token_type":"default-batch"}"#);
    let batch = bench.root(Update, "auth/token/create/b", r#"{"policies":"a"}"#);
    assert_eq!(auth(&batch)["token_type"], "batch");
    let service = bench.root(Update, "auth/token/create/b", r#"{"policies":"a","type":"service"}"#);
    assert_eq!(auth(&service)["token_type"], "service");
}

#[test]
fn renewals_extend_within_the_maximum() {
    let mut bench = bench();
    let root = bench.root.clone();
    let created = create(&mut bench, &root, r#"{"policies":"a","ttl":"1h","explicit_max_ttl":"3h"}"#);
    let (token, accessor) = (token_in(&created), auth(&created)["accessor"].clone());
    bench.pass(HOUR / 2);
    let renewed = bench.ask(&token, Update, "auth/token/renew-self", "");
    assert_eq!(auth(&renewed)["lease_duration"], 3600);
    assert_eq!(auth(&renewed)["client_token"], *token);
    let known = lookup(&mut bench, &token).data().clone();
    assert_eq!((&known["ttl"], &known["creation_ttl"]), (&json!(3600), &json!(3600)));
    assert_eq!(known["last_renewal"], "2026-01-01T00:30:00Z");
    assert_eq!(known["last_renewal_time"], 1_767_227_400);
    let body = json!({"accessor": accessor, "increment": "20m"}).to_string();
    let by_accessor = bench.root(Update, "auth/token/renew-accessor", &body);
    assert_eq!(
        (&auth(&by_accessor)["client_token"], &auth(&by_accessor)["lease_duration"]),
        (&json!(""), &json!(1200))
    );
    // Without an increment as it was granted last.
    bench.pass(HOUR / 6);
    let body = json!({ "token": token }).to_string();
    assert_eq!(auth(&bench.root(Update, "auth/token/renew", &body))["lease_duration"], 1200);
    let body = json!({ "token": token, "increment": "9h" }).to_string();
    let capped = bench.root(Update, "auth/token/renew", &body);
    assert_eq!(auth(&capped)["lease_duration"], 3 * 3600 - 2400);
    let warning =
        "TTL of \"9h\" exceeded the effective max_ttl of \"2h20m\"; TTL value is capped accordingly";
    assert_eq!(capped.body["warnings"], json!([warning]));
    bench.pass(2 * HOUR + HOUR / 3 - Duration::from_millis(1));
    assert_eq!(lookup(&mut bench, &token).status, 200);
    bench.pass(Duration::from_millis(1));
    assert_eq!(lookup(&mut bench, &token).status, 403);
    assert_eq!(bench.root(Update, "auth/token/renew", &body).errors(), "token not found");
    assert_eq!(bench.count("lease/"), 0);
    assert_eq!(bench.count("token/"), 1);
}

#[test]
fn periodic_tokens_live_as_long_as_they_are_renewed() {
    let mut bench = bench();
    let root = bench.root.clone();
    let token = bench.created(&root, r#"{"policies":"a","period":"24h","ttl":"1h"}"#);
    for _ in 0..60 {
        bench.pass(20 * HOUR);
        let renewed = bench.ask(&token, Update, "auth/token/renew-self", r#"{"increment":"1h"}"#);
        assert_eq!(auth(&renewed)["lease_duration"], 86_400);
    }
    bench.pass(24 * HOUR);
    assert_eq!(lookup(&mut bench, &token).status, 403);
}

#[test]
fn a_renewal_follows_the_role_as_it_is_now() {
    let mut bench = bench();
    bench.write("auth/token/roles/r", r#"{"token_period":"1h","allowed_policies":"a"}"#);
    let token = token_in(&bench.root(Update, "auth/token/create/r", ""));
    bench.write("auth/token/roles/r", r#"{"token_period":"2h"}"#);
    let renew = |bench: &mut Bench| bench.ask(&token, Update, "auth/token/renew-self", "");
    assert_eq!(auth(&renew(&mut bench))["lease_duration"], 7200);
    bench.write("auth/token/roles/r", r#"{"token_period":0,"token_explicit_max_ttl":"30m"}"#);
    assert_eq!(auth(&renew(&mut bench))["lease_duration"], 1800);
    bench.root(Delete, "auth/token/roles/r", "");
    let gone = renew(&mut bench);
    assert_eq!(gone.errors(), "original token role \"r\" could not be found, not renewing");
}

#[test]
fn a_revoked_token_takes_its_children_along() {
    let mut bench = bench();
    let root = bench.root.clone();
    let parent = bench.created(&root, r#"{"policies":["a","creator"]}"#);
    let mut tree = vec![parent.clone()];
    for _ in 0..3 {
        let last = tree.last().unwrap().clone();
        tree.push(bench.created(&last, "{}"));
    }
    for _ in 0..1000 {
        tree.push(bench.created(&parent, r#"{"policies":"a"}"#));
    }
    let orphan = token_in(&bench.ask(&parent, Update, "auth/token/create-orphan", "{}"));
    bench.ask(&tree[2], Update, "cubbyhole/x", r#"{"a":1}"#);
    assert_eq!(bench.ask(&parent, Update, "auth/token/revoke-self", "").status, 204);
    for token in tree.iter().take(10) {
        assert_eq!(lookup(&mut bench, token).status, 403);
    }
    assert_eq!(lookup(&mut bench, &orphan).status, 200);
    assert_eq!((bench.count("token/"), bench.count("lease/")), (2, 2));
    assert_eq!((bench.count("cubbyhole/"), bench.count("job/")), (0, 0));
}

#[test]
fn revoking_an_orphanage_leaves_the_children() {
    let mut bench = bench();
    let root = bench.root.clone();
    let parent = bench.created(&root, r#"{"policies":["a","creator"]}"#);
    let children: Vec<String> = (0..30).map(|_| bench.created(&parent, r#"{"policies":"a"}"#)).collect();
    let body = json!({ "token": parent }).to_string();
    let refused = bench.ask(&parent, Update, "auth/token/revoke-orphan", &body);
    assert_eq!(refused.errors(), "root or sudo privileges required to revoke and orphan");
    assert_eq!(bench.root(Update, "auth/token/revoke-orphan", &body).status, 204);
    assert_eq!(lookup(&mut bench, &parent).status, 403);
    for child in &children {
        assert_eq!(lookup(&mut bench, child).data()["orphan"], true);
    }
    assert_eq!(bench.root(Update, "auth/token/revoke-orphan", &body).errors(), "token to revoke not found");
}

#[test]
fn what_is_not_there_is_refused_as_clients_expect() {
    let mut bench = bench();
    let (gone, nobody) = (r#"{"token":"hvs.none"}"#, r#"{"accessor":"none"}"#);
    for (path, body, status, wanted) in [
        ("lookup", gone, 403, "bad token"),
        ("lookup-accessor", nobody, 400, "invalid accessor"),
        ("lookup-accessor", r#"{"accessor":"../id"}"#, 400, "invalid accessor"),
        ("lookup-accessor", "", 400, "missing accessor"),
        ("renew", gone, 400, "token not found"),
        ("renew", "", 400, "missing token ID"),
        ("renew-accessor", nobody, 400, "invalid accessor"),
        ("revoke", gone, 204, ""),
        ("revoke", "", 400, "missing token ID"),
        ("revoke-accessor", "", 400, "missing accessor"),
        ("revoke-orphan", gone, 400, "token to revoke not found"),
    ] {
        let answer = bench.root(Update, &format!("auth/token/{path}"), body);
        assert_eq!((answer.status, answer.errors().as_str()), (status, wanted), "{path} {body}");
    }
    let answer = bench.root(Update, "auth/token/revoke-accessor", nobody);
    assert_eq!(answer.body["warnings"][0], "No token found with this accessor");
}

#[test]
fn tokens_are_revoked_by_accessor() {
    let mut bench = bench();
    let root = bench.root.clone();
    let created = create(&mut bench, &root, r#"{"policies":"a"}"#);
    let body = json!({ "accessor": auth(&created)["accessor"] }).to_string();
    assert_eq!(bench.root(Update, "auth/token/revoke-accessor", &body).status, 204);
    assert_eq!(bench.root(Update, "auth/token/lookup-accessor", &body).status, 400);
    assert_eq!(lookup(&mut bench, &token_in(&created)).status, 403);
    let ordinary = bench.created(&root, r#"{"policies":["a","creator"]}"#);
    assert_eq!(bench.ask(&ordinary, List, "auth/token/accessors", "").status, 403);
}

#[test]
fn a_token_is_good_for_its_number_of_uses() {
    let mut bench = bench();
    let root = bench.root.clone();
    let token = bench.created(&root, r#"{"policies":"creator","num_uses":3}"#);
    let refused = create(&mut bench, &token, "{}");
    assert_eq!(refused.errors(), "restricted use token cannot generate child tokens");
    let own = |bench: &mut Bench| bench.ask(&token, Read, "auth/token/lookup-self", "");
    assert_eq!(own(&mut bench).data()["num_uses"], 1);
    assert_eq!(own(&mut bench).data()["num_uses"], -1);
    assert_eq!(own(&mut bench).status, 403);
    assert_eq!((bench.count("token/id/"), bench.count("lease/")), (1, 0));
    // A refused use is a use: what is left of the token goes with the next sweep.
    let token = bench.created(&root, r#"{"policies":"a","num_uses":2,"ttl":"10h"}"#);
    assert_eq!(bench.ask(&token, Read, "auth/token/lookup?token=none", "").status, 403);
    assert_eq!(lookup(&mut bench, &token).data()["num_uses"], 1);
    let token = bench.created(&root, r#"{"policies":"creator","num_uses":1,"ttl":"10h"}"#);
    assert_eq!(bench.ask(&token, Read, "auth/token/lookup?token=none", "").status, 403);
    assert_eq!(lookup(&mut bench, &token).status, 403);
    assert_eq!(bench.count("token/id/"), 3);
    bench.pass(Duration::from_secs(60));
    assert_eq!(bench.count("token/id/"), 2);
}

#[test]
fn two_claims_of_one_use_conflict() {
    let mut bench = bench();
    let root = bench.root.clone();
    let token = bench.created(&root, r#"{"policies":"creator","num_uses":1}"#);
    let request = bench.request(&token, Read, "auth/token/lookup-self", "");
    let admit = |bench: &Bench| {
        let admitted = bench.authority.admit(
            &bench.store,
            &request,
            bench.request("", Read, "", "").arrived,
            &bench.random,
        );
        admitted.map(|admitted| admitted.claim).map_err(|rejected| rejected.refusal.status())
    };
    let (one, other) = (admit(&bench).unwrap(), admit(&bench).unwrap());
    assert!(bench.store.commit(one).is_ok());
    assert!(matches!(bench.store.commit(other), Err(keyward_core::Fault::Conflict(_))));
    assert_eq!(admit(&bench).err(), Some(403));
}

#[test]
fn time_ends_tokens_before_the_sweeper_comes() {
    let mut bench = bench();
    let root = bench.root.clone();
    let token = bench.created(&root, r#"{"policies":"a","ttl":"1h"}"#);
    bench.clock.advance(HOUR);
    assert_eq!(bench.ask(&token, Read, "auth/token/lookup-self", "").status, 403);
    assert_eq!(bench.count("token/id/"), 2);
    bench.pass(Duration::ZERO);
    assert_eq!(bench.count("token/"), 1);
}

#[test]
fn families_that_end_at_one_moment_leave_nothing() {
    let mut bench = bench();
    let root = bench.root.clone();
    let body = r#"{"policies":["a","creator"],"ttl":"1h"}"#;
    for _ in 0..20 {
        let parent = bench.created(&root, body);
        bench.ask(&parent, Update, "cubbyhole/x", r#"{"a":1}"#);
        for _ in 0..10 {
            bench.created(&parent, r#"{"policies":"a","ttl":"1h"}"#);
        }
    }
    let bystander = bench.created(&root, r#"{"policies":"a","ttl":"2h"}"#);
    bench.pass(HOUR);
    assert_eq!(lookup(&mut bench, &bystander).status, 200);
    // The two that live, and the place of one among the other's children.
    assert_eq!((bench.count("token/"), bench.count("lease/")), (3, 2));
    assert_eq!((bench.count("cubbyhole/"), bench.count("job/")), (0, 0));
}

#[test]
fn a_clock_that_steps_back_revives_nothing() {
    let mut bench = bench();
    let root = bench.root.clone();
    let (revoked, expired, living) = (
        bench.created(&root, r#"{"policies":"a","ttl":"9h"}"#),
        bench.created(&root, r#"{"policies":"a","ttl":"1h"}"#),
        bench.created(&root, r#"{"policies":"a","ttl":"2h","explicit_max_ttl":"3h"}"#),
    );
    bench.root(Update, "auth/token/revoke", &json!({ "token": revoked }).to_string());
    bench.pass(HOUR);
    let before = keyward_core::Timestamp::parse_rfc3339("2025-12-31T00:00:00Z").unwrap();
    bench.clock.set(before);
    assert_eq!(lookup(&mut bench, &revoked).status, 403);
    assert_eq!(lookup(&mut bench, &expired).status, 403);
    assert_eq!(lookup(&mut bench, &living).status, 200);
    // A renewal before the creation does not reach past the maximum either.
    let renewed = bench.ask(&living, Update, "auth/token/renew-self", r#"{"increment":"9h"}"#);
    assert_eq!(auth(&renewed)["lease_duration"], 3 * 3600);
}

#[test]
fn the_store_holds_no_token() {
    let mut bench = bench();
    let root = bench.root.clone();
    let token = bench.created(&root, r#"{"policies":"a","id":"canary-token"}"#);
    for (key, entry) in bench.store.entries() {
        for secret in [&root, &token] {
            let found = |bytes: &[u8]| bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found(key) && !found(&entry.value));
        }
    }
}

#[test]
fn tidying_removes_what_belongs_to_nobody() {
    let mut bench = bench();
    let root = bench.root.clone();
    let parent = bench.created(&root, r#"{"policies":["a","creator"]}"#);
    let children: Vec<String> = (0..40).map(|_| bench.created(&parent, r#"{"policies":"a"}"#)).collect();
    bench.ask(&parent, Update, "cubbyhole/x", r#"{"a":1}"#);
    let bystander = bench.created(&root, r#"{"policies":"a"}"#);
    // A store restored without the parent's own entry.
    let accessor = lookup(&mut bench, &parent).data()["accessor"].as_str().unwrap().to_owned();
    let batch = keyward_core::Batch {
        deletes: vec![format!("token/id/{accessor}").into_bytes()],
        ..keyward_core::Batch::default()
    };
    bench.store.commit(batch).unwrap();
    let started = bench.root(Update, "auth/token/tidy", "");
    assert_eq!(started.status, 202);
    assert!(started.body["warnings"][0].as_str().unwrap().starts_with("Tidy operation successfully started"));
    bench.pass(Duration::ZERO);
    for child in &children {
        assert_eq!(lookup(&mut bench, child).status, 403);
    }
    assert_eq!(lookup(&mut bench, &bystander).status, 200);
    assert_eq!((bench.count("cubbyhole/"), bench.count("job/"), bench.count("lease/id/")), (0, 0, 1));
    assert_eq!(bench.count("token/"), 3);
}
