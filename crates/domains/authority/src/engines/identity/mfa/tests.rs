//! Logins that need a second factor.

use crate::barcode::tests::read as read_barcode;
use crate::request::Operation::{Delete, List, Read, Update};
use crate::testing::{Answer, Bench, now};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_crypto::Secret;
use keyward_crypto::otp::{Parameters, base32};
use serde_json::{Value, json};
use std::time::Duration;

/// `ann` may log in, and must show a code; her entity, the method, and the key that her application has.
fn bench() -> (Bench, String, String, Vec<u8>) {
    let mut bench = Bench::new();
    let accessor = bench.mount_auth("userpass", "people").accessor;
    bench.policy("own", "path \"identity/mfa/method/totp/generate\" { capabilities = [\"update\"] }");
    for user in ["ann", "bob"] {
        bench.write(&format!("auth/people/users/{user}"), r#"{"password":"x","policies":"own","ttl":"1h"}"#);
    }
    let auth = log_in(&mut bench, "ann").body["auth"].clone();
    let method = bench.write("identity/mfa/method/totp", r#"{"issuer":"Key Ward","method_name":"app"}"#);
    let method = method.data()["method_id"].as_str().unwrap().to_owned();
    let token = auth["client_token"].as_str().unwrap();
    let body = json!({ "method_id": method }).to_string();
    let made = bench.ask(token, Update, "identity/mfa/method/totp/generate", &body);
    let url = made.data()["url"].as_str().unwrap();
    let picture = STANDARD.decode(made.data()["barcode"].as_str().unwrap()).unwrap();
    assert_eq!(read_barcode(&picture), (url.to_owned(), 200));
    let key = key_in(url);
    let rule = json!({"mfa_method_ids": method, "auth_method_accessors": accessor});
    assert_eq!(bench.write("identity/mfa/login-enforcement/people", &rule.to_string()).status, 204);
    (bench, auth["entity_id"].as_str().unwrap().to_owned(), method, key)
}

/// The key in the address, as an application reads it.
fn key_in(address: &str) -> Vec<u8> {
    assert!(address.starts_with("otpauth://totp/Key%20Ward:"), "{address}");
    let text = address.split_once("secret=").unwrap().1;
    let digit = |c: char| "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".find(c).unwrap() as u8;
    let bits: Vec<u8> = text.chars().flat_map(|c| (0..5).rev().map(move |at| digit(c) >> at & 1)).collect();
    let key: Vec<u8> =
        bits.chunks_exact(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | bit)).collect();
    assert_eq!((base32(&key).as_str(), key.len()), (text, 20));
    key
}

fn code(bench: &Bench, key: &[u8]) -> String {
    let parameters = Parameters::default();
    parameters.code(key, parameters.counter(now(bench).secs())).unwrap()
}

fn log_in(bench: &mut Bench, name: &str) -> Answer {
    bench.ask("", Update, &format!("auth/people/login/{name}"), r#"{"password":"x"}"#)
}

fn log_in_with(bench: &mut Bench, factor: &str) -> Answer {
    let mut request = bench.request("", Update, "auth/people/login/ann", r#"{"password":"x"}"#);
    request.shown.factors.push(Secret::new(factor.to_owned()));
    bench.send(&request)
}

fn validate(bench: &mut Bench, id: &Value, method: &str, code: &str) -> Answer {
    let body = json!({"mfa_request_id": id, "mfa_payload": {method: [code]}}).to_string();
    bench.ask("", Update, "sys/mfa/validate", &body)
}

#[test]
fn a_login_waits_for_its_second_factor() {
    let (mut bench, entity, method, key) = bench();
    let tokens = bench.count("token/id/");
    let first = log_in(&mut bench, "ann");
    let auth = &first.body["auth"];
    assert_eq!((first.status, &auth["client_token"]), (200, &json!("")), "{first:?}");
    assert_eq!(bench.count("token/id/"), tokens);
    let constraints =
        json!({"people": {"any": [{"type": "totp", "id": method, "uses_passcode": true, "name": "app"}]}});
    assert_eq!(auth["mfa_requirement"]["mfa_constraints"], constraints);
    let id = auth["mfa_requirement"]["mfa_request_id"].clone();
    let right = code(&bench, &key);
    let wrong = if right == "000000" { "000001" } else { "000000" };
    let refused = validate(&mut bench, &id, &method, wrong);
    assert_eq!(
        (refused.status, refused.errors().as_str()),
        (403, "failed to satisfy enforcement people. error: failed to validate TOTP passcode")
    );
    let done = validate(&mut bench, &id, "app", &right);
    let auth = done.body["auth"].clone();
    assert_eq!((&auth["entity_id"], &auth["lease_duration"]), (&json!(entity), &json!(3600)), "{done:?}");
    let token = auth["client_token"].as_str().unwrap().to_owned();
    let own = bench.ask(&token, Read, "auth/token/lookup-self", "");
    assert_eq!(own.data()["path"], "auth/people/login/ann");
    assert_eq!(bench.ask(&token, Update, "auth/token/renew-self", "").status, 200);
    // It waits no more, and one that waits too long is forgotten.
    assert_eq!(validate(&mut bench, &id, "app", &right).errors(), "invalid request ID");
    let id = log_in(&mut bench, "ann").body["auth"]["mfa_requirement"]["mfa_request_id"].clone();
    bench.pass(Duration::from_secs(300));
    let late = code(&bench, &key);
    assert_eq!(validate(&mut bench, &id, "app", &late).errors(), "invalid request ID");
    assert_eq!(bench.count("identity/mfa-login/"), 0);
}

#[test]
fn a_code_is_shown_at_once_and_counts_once() {
    let (mut bench, _, method, key) = bench();
    let right = code(&bench, &key);
    let auth = log_in_with(&mut bench, &format!("app:{right}")).body["auth"].clone();
    assert!(auth["client_token"].as_str().unwrap().starts_with("hvs."), "{auth}");
    assert_eq!(auth["mfa_requirement"], Value::Null);
    let again = log_in_with(&mut bench, &format!("{method}:passcode={right}"));
    assert_eq!(again.status, 403);
    assert!(again.errors().contains("code already used"), "{again:?}");
    bench.pass(Duration::from_secs(30));
    // Nor does an earlier one, though the clock's skew would allow it.
    assert_eq!(log_in_with(&mut bench, &format!("app:{right}")).status, 403);
    let next = code(&bench, &key);
    assert_eq!(log_in_with(&mut bench, &format!("app:{next}")).status, 200);
    for nothing in ["app", "app:", "other:123456", ""] {
        assert_eq!(log_in_with(&mut bench, nothing).status, 403, "{nothing}");
    }
}

#[test]
fn guesses_are_limited() {
    let (mut bench, _, _, key) = bench();
    let right = code(&bench, &key);
    let wrong = if right == "000000" { "000001" } else { "000000" };
    for _ in 0..5 {
        assert!(log_in_with(&mut bench, &format!("app:{wrong}")).errors().contains("failed to validate"));
    }
    let rests = log_in_with(&mut bench, &format!("app:{right}"));
    assert!(rests.status == 403 && rests.errors().contains("try again in 90 seconds"), "{rests:?}");
    bench.pass(Duration::from_secs(90));
    assert!(log_in_with(&mut bench, &format!("app:{wrong}")).errors().contains("failed to validate"));
    let right = code(&bench, &key);
    assert_eq!(log_in_with(&mut bench, &format!("app:{right}")).status, 200);
}

#[test]
fn rules_concern_mounts_kinds_groups_and_entities() {
    let (mut bench, entity, method, _) = bench();
    let group = bench.write("identity/group", &json!({"member_entity_ids": entity}).to_string());
    let waits = |bench: &mut Bench, name: &str| log_in(bench, name).body["auth"]["client_token"] == "";
    assert!(waits(&mut bench, "ann") && waits(&mut bench, "bob"));
    for (rule, bob) in [
        (json!({"auth_method_types": "userpass"}), true),
        (json!({"identity_group_ids": group.data()["id"]}), false),
        (json!({"identity_entity_ids": entity}), false),
    ] {
        bench.root(Delete, "identity/mfa/login-enforcement/people", "");
        assert!(!waits(&mut bench, "ann"));
        let mut body = json!({"mfa_method_ids": [method]});
        body.as_object_mut().unwrap().extend(rule.as_object().unwrap().clone());
        bench.write("identity/mfa/login-enforcement/people", &body.to_string());
        assert_eq!((waits(&mut bench, "ann"), waits(&mut bench, "bob")), (true, bob), "{rule}");
    }
    // Who has no key is told so, and gets in by no other way.
    bench.write(
        "identity/mfa/method/totp/admin-destroy",
        &json!({"method_id": method, "entity_id": entity}).to_string(),
    );
    let refused = log_in_with(&mut bench, "app:123456");
    assert!(refused.errors().contains("the entity has no key for the MFA method"), "{refused:?}");
}

#[test]
fn methods_and_rules_are_kept_in_order() {
    let (mut bench, entity, method, _) = bench();
    let at = format!("identity/mfa/method/totp/{method}");
    let told = json!({"algorithm": "SHA1", "digits": 6, "id": method, "issuer": "Key Ward", "key_size": 20,
        "max_validation_attempts": 5, "name": "app", "namespace_id": "root", "namespace_path": "", "period": 30,
        "qr_size": 200, "skew": 1, "type": "totp"});
    assert_eq!(bench.read(&at).data(), &told);
    assert_eq!(bench.read(&format!("identity/mfa/method/{method}")).data(), &told);
    assert_eq!(bench.root(List, "identity/mfa/method/totp", "").data()["key_info"][&method], told);
    assert_eq!(bench.root(Update, &at, r#"{"issuer":"Other","digits":8}"#).status, 204);
    assert_eq!(bench.read(&at).data()["digits"], 8);
    let both = json!({"method_id": method, "entity_id": entity});
    let again = bench.write("identity/mfa/method/totp/admin-generate", &both.to_string());
    assert_eq!(again.body["warnings"], json!(["Entity already has a secret for MFA method \"app\""]));
    for (path, body, why) in [
        ("method/totp", json!({}), "issuer must be set"),
        ("method/totp", json!({"issuer": "x", "algorithm": "MD5"}), "unrecognized algorithm"),
        ("method/totp", json!({"issuer": "x", "digits": 7}), "digits can only be 6 or 8"),
        ("method/totp", json!({"issuer": "x", "period": 0}), "period must be greater than zero"),
        ("method/totp", json!({"issuer": "x", "skew": 2}), "skew must be 0 or 1"),
        ("method/totp", json!({"issuer": "x", "key_size": 4}), "key_size must be from 16 to 64"),
        ("method/totp/generate", json!({"method_id": method}), "missing entityID"),
        (
            "method/totp/admin-generate",
            json!({"method_id": "none"}),
            "configuration for method ID \"none\" does",
        ),
        (
            "method/totp/admin-generate",
            json!({"method_id": method, "entity_id": "none"}),
            "invalid entity ID",
        ),
        ("login-enforcement/x", json!({}), "missing method ids"),
        (
            "login-enforcement/x",
            json!({"mfa_method_ids": "none"}),
            "one of the provided method ids doesn't exist",
        ),
        ("login-enforcement/x", json!({"mfa_method_ids": method}), "One of auth_method_accessors"),
        (
            "login-enforcement/x",
            json!({"mfa_method_ids": method, "auth_method_accessors": "x"}),
            "one of the auth method accessors",
        ),
        (
            "login-enforcement/x",
            json!({"mfa_method_ids": method, "auth_method_types": "x"}),
            "one of the auth method types",
        ),
        (
            "login-enforcement/x",
            json!({"mfa_method_ids": method, "identity_group_ids": "x"}),
            "one of the provided",
        ),
    ] {
        let answer = bench.root(Update, &format!("identity/mfa/{path}"), &body.to_string());
        assert!(answer.status == 400 && answer.errors().starts_with(why), "{path} {body}: {answer:?}");
    }
    for (body, why) in [
        (json!({}), "missing request ID"),
        (json!({"mfa_request_id": "x"}), "missing mfa payload"),
        (json!({"mfa_request_id": "x", "mfa_payload": []}), "invalid mfa payload"),
        (json!({"mfa_request_id": "x", "mfa_payload": {"a": ["1", "2"]}}), "found multiple passcodes"),
        (json!({"mfa_request_id": "x/y", "mfa_payload": {}}), "invalid request ID"),
    ] {
        let answer = bench.ask("", Update, "sys/mfa/validate", &body.to_string());
        assert!(answer.status == 400 && answer.errors().starts_with(why), "{body}: {answer:?}");
    }
    assert!(bench.root(Delete, &at, "").errors().starts_with("methodID is still used by an enforcement"));
    let rule = bench.read("identity/mfa/login-enforcement/people").data().clone();
    assert_eq!((&rule["name"], &rule["mfa_method_ids"]), (&json!("people"), &json!([method])));
    assert_eq!(bench.root(List, "identity/mfa/login-enforcement", "").data()["keys"], json!(["people"]));
    assert_eq!(bench.root(Delete, "identity/mfa/login-enforcement/people", "").status, 204);
    assert_eq!(bench.root(Delete, &at, "").status, 204);
    assert_eq!(bench.root(List, "identity/mfa/method", "").status, 404);
    bench.root(Delete, &format!("identity/entity/id/{entity}"), "");
    assert_eq!(bench.count("identity/mfa-"), 0);
}

#[test]
fn keys_follow_an_entity_that_is_merged() {
    let (mut bench, entity, method, key) = bench();
    let bob = log_in(&mut bench, "bob");
    assert_eq!(bob.body["auth"]["client_token"], "");
    let into = bench.write("identity/entity", r#"{"name":"into"}"#).data()["id"].clone();
    let body = json!({"to_entity_id": into, "from_entity_ids": entity});
    bench.write("identity/entity/merge", &body.to_string());
    let right = code(&bench, &key);
    let auth = log_in_with(&mut bench, &format!("app:{right}")).body["auth"].clone();
    assert_eq!(auth["entity_id"], into);
    // Where both have a key, that of the one that remains stays.
    let other = bench.write("identity/entity", r#"{"name":"other"}"#).data()["id"].clone();
    let both = json!({"method_id": method, "entity_id": other});
    bench.write("identity/mfa/method/totp/admin-generate", &both.to_string());
    let mut body = json!({"to_entity_id": into, "from_entity_ids": other});
    let refused = bench.root(Update, "identity/entity/merge", &body.to_string());
    assert!(refused.status == 400 && refused.errors().contains("conflicting MFA config ID"), "{refused:?}");
    body["force"] = json!(true);
    bench.write("identity/entity/merge", &body.to_string());
    bench.pass(Duration::from_secs(30));
    let right = code(&bench, &key);
    assert_eq!(log_in_with(&mut bench, &format!("app:{right}")).status, 200);
}
