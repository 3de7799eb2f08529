use crate::authority::Outcome;
use crate::request::Operation::{Delete, List, Read, Update};
use crate::testing::{Answer, Bench};
use serde_json::{Value, json};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.mount_auth("approle", "approle");
    bench.policy("p", "path \"x\" { capabilities = [\"read\"] }");
    bench
}

/// A bench with the role `web` of the role id `web-id`, and the settings `body`.
fn with_role(body: &str) -> Bench {
    let mut bench = bench();
    bench.write("auth/approle/role/web", body);
    bench.write("auth/approle/role/web/role-id", r#"{"role_id":"web-id"}"#);
    bench
}

fn secret_id(bench: &mut Bench, body: &str) -> Value {
    bench.write("auth/approle/role/web/secret-id", body).data().clone()
}

fn log_in(bench: &mut Bench, role_id: &str, secret_id: &Value) -> Answer {
    let body = json!({ "role_id": role_id, "secret_id": secret_id }).to_string();
    bench.ask("", Update, "auth/approle/login", &body)
}

#[test]
fn both_ids_make_a_token() {
    let mut bench =
        with_role(r#"{"token_policies":"p","token_ttl":"20m","token_max_ttl":"30m","token_num_uses":5}"#);
    let made = secret_id(&mut bench, r#"{"metadata":"{\"tag\":\"prod\"}"}"#);
    assert_eq!(made["secret_id"].as_str().unwrap().len(), 36);
    assert_eq!(made["secret_id_accessor"].as_str().unwrap().len(), 36);
    assert_eq!((&made["secret_id_ttl"], &made["secret_id_num_uses"]), (&json!(0), &json!(0)));
    let answer = log_in(&mut bench, "web-id", &made["secret_id"]);
    let auth = &answer.body["auth"];
    assert_eq!(auth["policies"], json!(["default", "p"]));
    assert_eq!(auth["metadata"], json!({"role_name": "web", "tag": "prod"}));
    assert_eq!((&auth["lease_duration"], &auth["num_uses"]), (&json!(1200), &json!(5)));
    assert_eq!((&auth["renewable"], &auth["orphan"]), (&json!(true), &json!(true)));
    let token = auth["client_token"].as_str().unwrap().to_owned();
    let own = bench.ask(&token, Read, "auth/token/lookup-self", "");
    assert_eq!(own.data()["display_name"], "approle");
    assert_eq!(own.data()["path"], "auth/approle/login");
    assert_eq!(own.data()["entity_id"], auth["entity_id"]);
}

#[test]
fn a_wrong_id_is_not_told_from_another() {
    let mut bench = with_role("");
    let good = secret_id(&mut bench, "")["secret_id"].clone();
    bench.write("auth/approle/role/other", r#"{"role_id":"other-id"}"#);
    for (role, secret) in [
        ("web-id", json!("wrong")),
        ("none", good.clone()),
        ("none", json!("wrong")),
        ("other-id", good.clone()),
        ("web", good.clone()),
        ("web-id", json!("x".repeat(5000))),
        ("web-id", json!("../secret")),
    ] {
        let answer = log_in(&mut bench, role, &secret);
        assert_eq!((answer.status, answer.errors().as_str()), (400, "invalid role or secret ID"), "{role}");
    }
    for role in ["web-id", "none"] {
        assert_eq!(log_in(&mut bench, role, &json!("")).errors(), "missing secret_id");
    }
    assert_eq!(log_in(&mut bench, "", &good).errors(), "missing role_id");
    assert_eq!(log_in(&mut bench, " web-id ", &good).status, 200);
}

#[test]
fn secret_ids_are_not_stored() {
    let mut bench = with_role("");
    bench.write("auth/approle/role/web/custom-secret-id", r#"{"secret_id":"canary-secret-id"}"#);
    for (key, entry) in bench.store.entries() {
        let found = |bytes: &[u8]| bytes.windows(16).any(|part| part == b"canary-secret-id");
        assert!(!found(key) && !found(&entry.value));
    }
    assert_eq!(log_in(&mut bench, "web-id", &json!("canary-secret-id")).status, 200);
    let again =
        bench.root(Update, "auth/approle/role/web/custom-secret-id", r#"{"secret_id":"canary-secret-id"}"#);
    assert_eq!(again.errors(), "failed to store secret_id: SecretID is already registered");
    for (body, wanted) in [
        ("", "missing secret_id"),
        (r#"{"secret_id":" x"}"#, "secret_id must not begin or end with spaces: logins drop them"),
    ] {
        assert_eq!(bench.root(Update, "auth/approle/role/web/custom-secret-id", body).errors(), wanted);
    }
}

#[test]
fn roles_are_read_back_as_written() {
    let mut bench = bench();
    assert_eq!(bench.root(List, "auth/approle/role", "").status, 404);
    assert_eq!(bench.root(Update, "auth/approle/role/Web", "").status, 204);
    assert_eq!(
        *bench.read("auth/approle/role/wEB").data(),
        json!({"bind_secret_id":true,"local_secret_ids":false,"secret_id_bound_cidrs":[],"secret_id_num_uses":0,
            "secret_id_ttl":0,"token_bound_cidrs":[],"token_explicit_max_ttl":0,"token_max_ttl":0,
            "token_no_default_policy":false,"token_num_uses":0,"token_period":0,"token_policies":[],"token_ttl":0,
            "token_type":"default"})
    );
    let role_id = bench.read("auth/approle/role/web/role-id").data()["role_id"].clone();
    assert_eq!(role_id.as_str().unwrap().len(), 36);
    bench.write(
        "auth/approle/role/web",
        r#"{"secret_id_ttl":"10m","secret_id_num_uses":"3","bound_cidr_list":"127.0.0.0/8","policies":"a,b",
            "period":"1h","bind_secret_id":"false"}"#,
    );
    let role = bench.read("auth/approle/role/web").data().clone();
    for (name, wanted) in [
        ("secret_id_ttl", json!(600)),
        ("secret_id_num_uses", json!(3)),
        ("secret_id_bound_cidrs", json!(["127.0.0.0/8"])),
        ("policies", json!(["a", "b"])),
        ("token_policies", json!(["a", "b"])),
        ("period", json!(3600)),
        ("token_period", json!(3600)),
        ("bind_secret_id", json!(false)),
    ] {
        assert_eq!(role[name], wanted, "{name}");
    }
    assert_eq!(bench.read("auth/approle/role/web/role-id").data()["role_id"], role_id);
    assert_eq!(bench.root(List, "auth/approle/role", "").data()["keys"], json!(["web"]));
    assert_eq!(bench.root(Delete, "auth/approle/role/WEB", "").status, 204);
    assert_eq!(bench.root(Read, "auth/approle/role/web", "").status, 404);
}

#[test]
fn bad_roles_are_refused() {
    let mut bench = with_role("");
    for (body, wanted) in [
        (r#"{"bind_secret_id":false}"#, "at least one constraint should be enabled on the role"),
        (r#"{"role_id":""}"#, "invalid role_id supplied, or failed to generate a role_id"),
        (r#"{"role_id":"web-id"}"#, "role_id already in use"),
        (r#"{"secret_id_num_uses":-1}"#, "secret_id_num_uses cannot be negative"),
        (r#"{"token_ttl":2,"token_max_ttl":1}"#, "'token_ttl' cannot be greater than 'token_max_ttl'"),
        (
            r#"{"period":"1000h"}"#,
            "period of \"1000h0m0s\" is greater than the backend's maximum lease TTL of \"768h0m0s\"",
        ),
    ] {
        let answer = bench.root(Update, "auth/approle/role/other", body);
        assert_eq!((answer.status, answer.errors().as_str()), (400, wanted), "{body}");
    }
    assert_eq!(
        bench.root(Update, "auth/approle/role/other", r#"{"secret_id_bound_cidrs":"ten"}"#).status,
        400
    );
    assert_eq!(bench.root(Read, "auth/approle/role/other", "").status, 404);
    let long = bench.root(Update, "auth/approle/role/other", r#"{"token_max_ttl":"1000h"}"#);
    assert!(long.body["warnings"][0].as_str().unwrap().starts_with("token_max_ttl is greater than"));
}

#[test]
fn every_setting_has_a_path() {
    let mut bench = with_role("");
    for (path, body, name, written, reset) in [
        ("policies", r#"{"token_policies":"a"}"#, "token_policies", json!(["a"]), json!([])),
        (
            "secret-id-bound-cidrs",
            r#"{"secret_id_bound_cidrs":"::/0"}"#,
            "secret_id_bound_cidrs",
            json!(["::/0"]),
            json!([]),
        ),
        ("bound-cidr-list", r#"{"bound_cidr_list":["::/0"]}"#, "bound_cidr_list", json!(["::/0"]), json!([])),
        (
            "token-bound-cidrs",
            r#"{"token_bound_cidrs":"::/0"}"#,
            "token_bound_cidrs",
            json!(["::/0"]),
            json!([]),
        ),
        ("secret-id-num-uses", r#"{"secret_id_num_uses":4}"#, "secret_id_num_uses", json!(4), json!(0)),
        ("secret-id-ttl", r#"{"secret_id_ttl":"4m"}"#, "secret_id_ttl", json!(240), json!(0)),
        ("period", r#"{"token_period":"4m"}"#, "token_period", json!(240), json!(0)),
        ("token-num-uses", r#"{"token_num_uses":4}"#, "token_num_uses", json!(4), json!(0)),
        ("token-max-ttl", r#"{"token_max_ttl":"4m"}"#, "token_max_ttl", json!(240), json!(0)),
        ("token-ttl", r#"{"token_ttl":"4m"}"#, "token_ttl", json!(240), json!(0)),
    ] {
        let path = format!("auth/approle/role/WEB/{path}");
        assert_eq!(bench.root(Update, &path, body).status, 204, "{path}");
        assert_eq!(bench.read(&path).data()[name], written, "{path}");
        assert_eq!(bench.root(Delete, &path, "").status, 204, "{path}");
        assert_eq!(bench.read(&path).data()[name], reset, "{path}");
        assert!(bench.root(Update, &path, "").errors().starts_with("missing "), "{path}");
    }
    bench.write("auth/approle/role/web/policies", r#"{"policies":"x"}"#);
    let both = json!({"policies":["x"],"token_policies":["x"]});
    assert_eq!(*bench.read("auth/approle/role/web/policies").data(), both);
    assert_eq!(bench.read("auth/approle/role/web/local-secret-ids").data()["local_secret_ids"], false);
    bench.write("auth/approle/role/local", r#"{"local_secret_ids":true}"#);
    assert_eq!(bench.read("auth/approle/role/local/local-secret-ids").data()["local_secret_ids"], true);
    assert_eq!(bench.read("auth/approle/role/local").data()["local_secret_ids"], true);
    for (role, local) in [("web", true), ("local", false)] {
        let body = json!({ "local_secret_ids": local }).to_string();
        let refused = bench.root(Update, &format!("auth/approle/role/{role}"), &body);
        assert!(refused.errors().contains("can only be modified during role creation"), "{refused:?}");
    }
    // A path writes what it is named after, and nothing else.
    bench.write("auth/approle/role/web/token-ttl", r#"{"token_ttl":60,"token_policies":"root"}"#);
    assert_eq!(bench.read("auth/approle/role/web").data()["token_policies"], json!(["x"]));
    bench.write("auth/approle/role/web/secret-id-bound-cidrs", r#"{"secret_id_bound_cidrs":"::/0"}"#);
    bench.write("auth/approle/role/web/bind-secret-id", r#"{"bind_secret_id":false}"#);
    let last = bench.root(Delete, "auth/approle/role/web/secret-id-bound-cidrs", "");
    assert_eq!(last.errors(), "at least one constraint should be enabled on the role");
    bench.root(Delete, "auth/approle/role/web/bind-secret-id", "");
    assert_eq!(bench.read("auth/approle/role/web/bind-secret-id").data()["bind_secret_id"], true);
    assert_eq!(bench.root(Read, "auth/approle/role/none/period", "").status, 404);
    assert_eq!(bench.root(Update, "auth/approle/role/none/period", r#"{"period":1}"#).status, 404);
    assert_eq!(bench.root(Read, "auth/approle/role/web/nothing", "").status, 404);
}

#[test]
fn secret_ids_are_known_by_their_accessors() {
    let mut bench = with_role("");
    assert_eq!(bench.root(List, "auth/approle/role/web/secret-id", "").status, 404);
    let made = secret_id(&mut bench, r#"{"cidr_list":["127.0.0.1/32"],"num_uses":7,"ttl":"1h"}"#);
    let wanted = json!({"cidr_list":["127.0.0.1/32"],"creation_time":"2026-01-01T00:00:00Z",
        "expiration_time":"2026-01-01T01:00:00Z","last_updated_time":"2026-01-01T00:00:00Z","metadata":{},
        "secret_id_accessor":made["secret_id_accessor"],"secret_id_num_uses":7,"secret_id_ttl":3600,
        "token_bound_cidrs":[]});
    let (by_secret, by_accessor) = (
        json!({"secret_id": made["secret_id"]}).to_string(),
        json!({"secret_id_accessor": made["secret_id_accessor"]}).to_string(),
    );
    let web = "auth/approle/role/web";
    assert_eq!(*bench.root(Update, &format!("{web}/secret-id/lookup"), &by_secret).data(), wanted);
    assert_eq!(*bench.root(Update, &format!("{web}/secret-id-accessor/lookup"), &by_accessor).data(), wanted);
    let keys = bench.root(List, &format!("{web}/secret-id"), "").data()["keys"].clone();
    assert_eq!(keys, json!([made["secret_id_accessor"]]));
    assert_eq!(bench.root(Update, &format!("{web}/secret-id-accessor/destroy"), &by_accessor).status, 204);
    assert_eq!(log_in(&mut bench, "web-id", &made["secret_id"]).status, 400);
    assert_eq!(bench.root(Update, &format!("{web}/secret-id/lookup"), &by_secret).status, 204);
    let gone = bench.root(Update, &format!("{web}/secret-id-accessor/lookup"), &by_accessor);
    assert!(gone.status == 404 && gone.errors().starts_with("failed to find accessor entry"));
    let made = secret_id(&mut bench, r#"{"ttl":"1h"}"#);
    let by_secret = json!({"secret_id": made["secret_id"]}).to_string();
    assert_eq!(bench.root(Delete, &format!("{web}/secret-id/destroy"), &by_secret).status, 204);
    assert_eq!(bench.count("lease/due/"), 1, "the failed login before is forgotten in time");
    assert_eq!(log_in(&mut bench, "web-id", &made["secret_id"]).status, 400);
    assert_eq!(bench.count("lease/due/"), 1, "and so is this one");
    let elsewhere = bench.root(Update, "auth/approle/role/none/secret-id/lookup", &by_secret);
    assert_eq!(elsewhere.errors(), "role \"none\" does not exist");
}

#[test]
fn secret_ids_are_used_up() {
    let mut bench = with_role(r#"{"secret_id_num_uses":2}"#);
    let secret = secret_id(&mut bench, "")["secret_id"].clone();
    assert_eq!(log_in(&mut bench, "web-id", &secret).status, 200);
    let by_secret = json!({ "secret_id": secret }).to_string();
    let known = bench.root(Update, "auth/approle/role/web/secret-id/lookup", &by_secret);
    assert_eq!(known.data()["secret_id_num_uses"], 1);
    assert_eq!(log_in(&mut bench, "web-id", &secret).status, 200);
    assert_eq!(log_in(&mut bench, "web-id", &secret).errors(), "invalid role or secret ID");
    for (body, wanted) in [
        (r#"{"num_uses":3}"#, "num_uses cannot be higher than the role's secret_id_num_uses"),
        (r#"{"num_uses":0}"#, "num_uses cannot be higher than the role's secret_id_num_uses"),
        (r#"{"num_uses":-1}"#, "num_uses cannot be negative"),
    ] {
        assert_eq!(bench.root(Update, "auth/approle/role/web/secret-id", body).errors(), wanted);
    }
}

#[test]
fn one_use_is_not_used_twice_at_once() {
    let mut bench = with_role(r#"{"secret_id_num_uses":1}"#);
    let secret = secret_id(&mut bench, "")["secret_id"].clone();
    let body = json!({ "role_id": "web-id", "secret_id": secret }).to_string();
    let request = bench.request("", Update, "auth/approle/login", &body);
    let carry_out = |bench: &Bench| {
        let admitted =
            bench.authority.admit(&bench.store, &request, request.arrived, &bench.random).ok().unwrap();
        bench.carry_out(&request, &admitted).and_then(Outcome::settled).map(|done| done.batch)
    };
    let (one, other) = (carry_out(&bench).unwrap(), carry_out(&bench).unwrap());
    assert!(bench.store.commit(one).is_ok());
    assert!(matches!(bench.store.commit(other), Err(keyward_core::Fault::Conflict(_))));
    assert_eq!(carry_out(&bench).err().map(|why| why.status()), Some(400));
}

#[test]
fn time_ends_secret_ids() {
    let mut bench = with_role(r#"{"secret_id_ttl":"1h"}"#);
    let secret = secret_id(&mut bench, "")["secret_id"].clone();
    let shorter = secret_id(&mut bench, r#"{"ttl":"10m"}"#)["secret_id"].clone();
    for body in [r#"{"ttl":"2h"}"#, r#"{"ttl":0}"#] {
        let answer = bench.root(Update, "auth/approle/role/web/secret-id", body);
        assert_eq!(answer.errors(), "ttl cannot be longer than the role's secret_id_ttl");
    }
    bench.clock.advance(HOUR / 6);
    assert_eq!(log_in(&mut bench, "web-id", &shorter).status, 400);
    assert_eq!(log_in(&mut bench, "web-id", &secret).status, 200);
    let role_entries = |bench: &Bench| {
        bench.store.entries().filter(|(key, _)| key.windows(8).any(|part| part == b"/secret/")).count()
    };
    assert_eq!(role_entries(&bench), 2);
    bench.pass(HOUR);
    assert_eq!(log_in(&mut bench, "web-id", &secret).status, 400);
    assert_eq!(role_entries(&bench), 0);
    bench.write("auth/approle/role/web", r#"{"secret_id_ttl":0}"#);
    assert_eq!(secret_id(&mut bench, r#"{"ttl":"1000h"}"#)["secret_id_ttl"], 2_764_800);
    assert_eq!(bench.root(Update, "auth/approle/tidy/secret-id", "").status, 202);
    bench.pass(Duration::ZERO);
    assert_eq!((role_entries(&bench), bench.count("job/")), (1, 0));
}

#[test]
fn logins_come_from_the_networks_of_role_and_secret_id() {
    let mut bench =
        with_role(r#"{"secret_id_bound_cidrs":"127.0.0.0/8,10.0.0.0/8","token_bound_cidrs":"127.0.0.0/8"}"#);
    let outside = bench.root(Update, "auth/approle/role/web/secret-id", r#"{"cidr_list":"192.168.0.0/16"}"#);
    assert!(outside.errors().starts_with("failed to verify subset relationship"));
    let outside =
        bench.root(Update, "auth/approle/role/web/secret-id", r#"{"token_bound_cidrs":"0.0.0.0/0"}"#);
    assert_eq!(outside.status, 400);
    let secret =
        secret_id(&mut bench, r#"{"cidr_list":"10.0.0.0/8","token_bound_cidrs":"127.0.0.2"}"#)["secret_id"]
            .clone();
    let from = |bench: &mut Bench, address: &str, secret: &Value| {
        let body = json!({ "role_id": "web-id", "secret_id": secret }).to_string();
        let mut request = bench.request("", Update, "auth/approle/login", &body);
        request.remote = format!("{address}:1").parse().ok();
        bench.send(&request)
    };
    let refused = from(&mut bench, "127.0.0.1", &secret);
    assert_eq!(
        refused.errors(),
        "source address \"127.0.0.1\" unauthorized through CIDR restrictions on the secret ID"
    );
    let answer = from(&mut bench, "10.1.1.1", &secret);
    let token = answer.body["auth"]["client_token"].as_str().unwrap().to_owned();
    assert_eq!(bench.ask(&token, Read, "auth/token/lookup-self", "").status, 403);
    let plain = secret_id(&mut bench, "")["secret_id"].clone();
    let refused = from(&mut bench, "1.1.1.1", &plain);
    assert_eq!(refused.errors(), "source address \"1.1.1.1\" unauthorized by CIDR restrictions on the role");
    bench.write("auth/approle/role/web", r#"{"secret_id_bound_cidrs":"127.0.0.0/8"}"#);
    assert!(from(&mut bench, "10.1.1.1", &secret).errors().starts_with("failed to verify subset"));
    // Without secret ids the networks are the proof.
    bench.write("auth/approle/role/web", r#"{"bind_secret_id":false}"#);
    assert_eq!(from(&mut bench, "127.0.0.1", &json!("")).status, 200);
    assert_eq!(from(&mut bench, "10.1.1.1", &json!("")).status, 400);
    let none = bench.root(Update, "auth/approle/role/web/secret-id", "");
    assert_eq!(none.errors(), "bind_secret_id is not set on the role");
}

#[test]
fn a_deleted_role_leaves_nothing_to_its_successor() {
    let mut bench = with_role("");
    let secrets: Vec<Value> =
        (0..200).map(|_| secret_id(&mut bench, r#"{"ttl":"1h"}"#)["secret_id"].clone()).collect();
    bench.root(Delete, "auth/approle/role/web", "");
    bench.write("auth/approle/role/web", r#"{"role_id":"web-id"}"#);
    assert_eq!(log_in(&mut bench, "web-id", &secrets[0]).status, 400);
    let entries =
        bench.store.entries().filter(|(key, _)| key.windows(8).any(|part| part == b"/secret/")).count();
    assert_eq!(entries, 0);
    bench.pass(HOUR);
    assert_eq!(bench.count("lease/"), 0);
}

#[test]
fn a_renamed_role_id_leads_nowhere() {
    let mut bench = with_role("");
    let secret = secret_id(&mut bench, "")["secret_id"].clone();
    bench.write("auth/approle/role/web/role-id", r#"{"role_id":"new-id"}"#);
    assert_eq!(log_in(&mut bench, "web-id", &secret).status, 400);
    assert_eq!(log_in(&mut bench, "new-id", &secret).status, 200);
    bench.write("auth/approle/role/other", r#"{"role_id":"web-id"}"#);
    let taken = bench.root(Update, "auth/approle/role/other/role-id", r#"{"role_id":"new-id"}"#);
    assert_eq!(taken.errors(), "role_id already in use");
}

#[test]
fn a_login_writes_little() {
    let mut bench = with_role(r#"{"token_policies":"p"}"#);
    let secret = secret_id(&mut bench, "")["secret_id"].clone();
    let body = json!({ "role_id": "web-id", "secret_id": secret }).to_string();
    let writes = |bench: &mut Bench| {
        let request = bench.request("", Update, "auth/approle/login", &body);
        let now = request.arrived;
        let admitted = bench.authority.admit(&bench.store, &request, now, &bench.random).ok().unwrap();
        let done = bench.carry_out(&request, &admitted).ok().unwrap();
        let writes = done.batch.puts.len() + done.batch.deletes.len();
        assert!(admitted.claim.is_empty());
        bench.store.commit(done.batch).unwrap();
        writes
    };
    assert_eq!(writes(&mut bench), 7, "token, end, lease; once the entity and the ways to it");
    assert_eq!(writes(&mut bench), 3, "token, end, lease");
    bench.write("auth/approle/role/web", r#"{"token_type":"batch"}"#);
    assert_eq!(writes(&mut bench), 0, "a batch token is not stored");
    let batch = log_in(&mut bench, "web-id", &secret);
    assert_eq!(batch.body["auth"]["token_type"], "batch");
    assert_eq!(batch.body["auth"]["entity_id"].as_str().unwrap().len(), 36);
}

#[test]
fn the_mount_has_the_last_word_on_the_kind_of_tokens() {
    for (mount, role, wanted) in [
        ("", "default", "service"),
        ("default-service", "batch", "batch"),
        ("default-batch", "default", "batch"),
        ("default-batch", "service", "service"),
        ("batch", "service", "batch"),
        ("service", "batch", "service"),
    ] {
        let mut bench = Bench::new();
        let mut made = bench.mount_auth("approle", "approle");
        made.config.token_type = mount.to_owned();
        let mut txn = bench.authority.begin(&bench.store, &bench.random).unwrap();
        crate::mounts::put(&mut txn, &made).unwrap();
        let batch = txn.finish();
        bench.store.commit(batch).unwrap();
        let body = json!({"token_type": role, "role_id": "web-id"}).to_string();
        bench.write("auth/approle/role/web", &body);
        let secret = secret_id(&mut bench, "")["secret_id"].clone();
        let answer = log_in(&mut bench, "web-id", &secret);
        assert_eq!(answer.body["auth"]["token_type"], wanted, "{mount} {role}");
    }
}

#[test]
fn a_renewal_follows_the_role_as_it_is_now() {
    let mut bench = with_role(r#"{"token_ttl":"1h","token_max_ttl":"4h"}"#);
    let secret = secret_id(&mut bench, "")["secret_id"].clone();
    let token =
        log_in(&mut bench, "web-id", &secret).body["auth"]["client_token"].as_str().unwrap().to_owned();
    let renew = |bench: &mut Bench, body: &str| bench.ask(&token, Update, "auth/token/renew-self", body);
    assert_eq!(renew(&mut bench, r#"{"increment":"9h"}"#).body["auth"]["lease_duration"], 4 * 3600);
    assert_eq!(renew(&mut bench, "").body["auth"]["lease_duration"], 3600);
    bench.write("auth/approle/role/web", r#"{"token_ttl":"2h","token_max_ttl":"3h"}"#);
    assert_eq!(renew(&mut bench, "").body["auth"]["lease_duration"], 7200);
    bench.pass(2 * HOUR - Duration::from_secs(1));
    assert_eq!(renew(&mut bench, "").body["auth"]["lease_duration"], 3601);
    bench.write("auth/approle/role/web", r#"{"token_period":"5h","token_max_ttl":0}"#);
    assert_eq!(renew(&mut bench, "").body["auth"]["lease_duration"], 5 * 3600);
    bench.root(Delete, "auth/approle/role/web", "");
    assert_eq!(renew(&mut bench, "").errors(), "role web does not exist during renewal");
}

#[test]
fn secret_ids_are_delivered_wrapped() {
    let mut bench = with_role("");
    let root = bench.root.clone();
    let wrapped = bench.ask_wrapped(&root, Update, "auth/approle/role/web/secret-id", "");
    let info = wrapped.body["wrap_info"].clone();
    assert_eq!(wrapped.body["data"], json!(null));
    assert_eq!(info["creation_path"], "auth/approle/role/web/secret-id");
    let accessors = bench.root(List, "auth/approle/role/web/secret-id", "").data()["keys"].clone();
    assert_eq!(json!([info["wrapped_accessor"]]), accessors);
}

#[test]
fn metadata_of_a_secret_id_are_of_no_pod() {
    let mut bench = with_role(r#"{"token_policies":"pods"}"#);
    bench.write("sys/mounts/kv", r#"{"type":"kv"}"#);
    bench.policy(
        "pods",
        r#"path "kv/a" { capabilities = ["create"] condition = "pod.name == 'api-1'" }
           path "kv/b" { capabilities = ["create"] condition = "token.metadata.pod_name == 'api-1'" }"#,
    );
    let named = json!({"pod_name": "api-1", "pod_uid": "u", "service_account_namespace": "prod"}).to_string();
    let made = secret_id(&mut bench, &json!({ "metadata": named }).to_string());
    let answer = log_in(&mut bench, "web-id", &made["secret_id"]);
    let token = answer.body["auth"]["client_token"].as_str().unwrap().to_owned();
    assert_eq!(bench.ask(&token, Update, "kv/a", r#"{"a":"b"}"#).status, 403);
    // What a policy asks of metadata by name is for its author to judge.
    assert_eq!(bench.ask(&token, Update, "kv/b", r#"{"a":"b"}"#).status, 204);
}
