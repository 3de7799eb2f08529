//! Signing in to applications.

use super::super::tests::{bench, log_in, verified};
use crate::request::Operation::{Delete, List, Read, Update};
use crate::testing::{Answer, Bench};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_crypto::{Secret, sha256};
use serde_json::{Value, json};
use std::time::Duration;

const PROVIDER: &str = "identity/oidc/provider/test";
const VERIFIER: &str = "a-proof-key-of-forty-three-characters-or-more";

struct App {
    id: String,
    secret: String,
}

/// A provider, and two applications: one that keeps a secret, and one that cannot.
fn ready() -> (Bench, App, App) {
    let mut bench = bench();
    bench.write("identity/oidc/key/k", r#"{"algorithm":"ES256","allowed_client_ids":"*"}"#);
    bench.write(
        "identity/oidc/scope/user",
        &json!({"template": r#"{"user": {{identity.entity.name}}}"#}).to_string(),
    );
    let mut app = |name: &str, kind: &str| {
        let body = json!({"key": "k", "redirect_uris": "https://app.test/cb,http://127.0.0.1/cb",
            "assignments": "allow_all", "client_type": kind, "id_token_ttl": "1h", "access_token_ttl": "30m"});
        bench.write(&format!("identity/oidc/client/{name}"), &body.to_string());
        let told = bench.read(&format!("identity/oidc/client/{name}")).data().clone();
        App {
            id: told["client_id"].as_str().unwrap().to_owned(),
            secret: told["client_secret"].as_str().unwrap_or_default().to_owned(),
        }
    };
    let (confidential, public) = (app("web", "confidential"), app("phone", "public"));
    let provider = json!({"issuer": "https://keyward.test", "allowed_client_ids": [confidential.id, public.id],
        "scopes_supported": "user"});
    bench.write(PROVIDER, &provider.to_string());
    (bench, confidential, public)
}

fn ask(client: &App) -> Value {
    json!({"client_id": client.id, "redirect_uri": "https://app.test/cb", "response_type": "code",
        "scope": "openid user unknown", "state": "s", "nonce": "n", "max_age": 3600,
        "code_challenge": URL_SAFE_NO_PAD.encode(sha256(VERIFIER.as_bytes())), "code_challenge_method": "S256"})
}

fn with(mut body: Value, change: &Value) -> Value {
    for (name, value) in change.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

fn code(bench: &mut Bench, token: &str, body: &Value) -> String {
    let answer = bench.ask(token, Update, &format!("{PROVIDER}/authorize"), &body.to_string());
    assert_eq!((answer.status, &answer.body["state"]), (200, &json!("s")), "{answer:?}");
    answer.body["code"].as_str().unwrap().to_owned()
}

fn exchange(bench: &mut Bench, body: &Value) -> Answer {
    bench.ask("", Update, &format!("{PROVIDER}/token"), &body.to_string())
}

fn trade(client: &App, code: &str) -> Value {
    json!({"grant_type": "authorization_code", "code": code, "redirect_uri": "https://app.test/cb",
        "client_id": client.id, "client_secret": client.secret, "code_verifier": VERIFIER})
}

#[test]
fn people_sign_in_to_applications() {
    let (mut bench, web, phone) = ready();
    let (ann, entity) = log_in(&mut bench);
    for app in [&web, &phone] {
        let code = code(&mut bench, &ann, &ask(app));
        let tokens = exchange(&mut bench, &trade(app, &code));
        assert_eq!(tokens.status, 200, "{tokens:?}");
        assert_eq!(
            (&tokens.body["token_type"], &tokens.body["expires_in"]),
            (&json!("Bearer"), &json!(1800))
        );
        let id_token = tokens.body["id_token"].as_str().unwrap();
        let claims = verified(&mut bench, &format!("{PROVIDER}/.well-known/keys"), id_token).unwrap();
        assert_eq!(claims["iss"], format!("https://keyward.test/v1/{PROVIDER}"));
        assert_eq!(
            (&claims["sub"], &claims["aud"], &claims["nonce"]),
            (&json!(entity), &json!(app.id), &json!("n"))
        );
        assert!(claims["user"].as_str().unwrap().starts_with("entity_"));
        let access = tokens.body["access_token"].as_str().unwrap().to_owned();
        let half = URL_SAFE_NO_PAD.encode(&sha256(access.as_bytes())[..16]);
        assert_eq!((&claims["at_hash"], claims["auth_time"].is_u64()), (&json!(half), true));
        let info = bench.ask(&access, Read, &format!("{PROVIDER}/userinfo"), "");
        assert_eq!(info.body, json!({"sub": entity, "user": claims["user"]}));
        // It is good for nothing else.
        assert_eq!(bench.ask(&access, Read, "auth/token/lookup-self", "").status, 403);
        let elsewhere = bench.ask(&access, Read, "identity/oidc/provider/default/userinfo", "");
        assert_eq!((elsewhere.status, &elsewhere.body["error"]), (401, &json!("invalid_token")));
        // And a code counts once.
        let again = exchange(&mut bench, &trade(app, &code));
        assert_eq!((again.status, &again.body["error"]), (400, &json!("invalid_grant")));
        bench.pass(Duration::from_secs(1800));
        assert_eq!(bench.ask(&access, Read, &format!("{PROVIDER}/userinfo"), "").status, 401);
    }
    assert_eq!(bench.count("lease/due/"), 2, "the end of the token and the next rotation");
}

#[test]
fn applications_name_themselves_in_the_head_too() {
    let (mut bench, web, _) = ready();
    let (ann, _) = log_in(&mut bench);
    let code = code(&mut bench, &ann, &ask(&web));
    let mut body = trade(&web, &code);
    body.as_object_mut().unwrap().retain(|name, _| !name.starts_with("client_"));
    let mut request = bench.request("", Update, &format!("{PROVIDER}/token"), &body.to_string());
    request.shown.basic = Some(Secret::new(format!("{}:wrong", web.id)));
    let refused = bench.send(&request);
    assert_eq!((refused.status, &refused.body["error"]), (401, &json!("invalid_client")));
    request.shown.basic = Some(Secret::new(format!("{}:{}", web.id, web.secret)));
    assert_eq!(bench.send(&request).status, 200);
}

#[test]
fn who_may_not_sign_in_gets_no_code() {
    let (mut bench, web, phone) = ready();
    let (ann, entity) = log_in(&mut bench);
    let root = bench.root.clone();
    let refused = |bench: &mut Bench, token: &str, body: &Value| {
        let answer = bench.ask(token, Update, &format!("{PROVIDER}/authorize"), &body.to_string());
        assert_eq!((answer.status, &answer.body["state"]), (400, &json!("s")), "{answer:?}");
        answer.body["error"].as_str().unwrap().to_owned()
    };
    for (app, change, error) in [
        (&web, json!({"client_id": "none"}), "invalid_client_id"),
        (&web, json!({"client_id": ""}), "invalid_client_id"),
        (&web, json!({"redirect_uri": ""}), "invalid_request"),
        (&web, json!({"redirect_uri": "https://app.test/cb/"}), "invalid_redirect_uri"),
        (&web, json!({"redirect_uri": "http://127.0.0.1.evil.test/cb"}), "invalid_redirect_uri"),
        (&web, json!({"scope": "user"}), "invalid_request"),
        (&web, json!({"response_type": "token"}), "unsupported_response_type"),
        (&web, json!({"request": "x"}), "request_not_supported"),
        (&web, json!({"max_age": 0}), "invalid_request"),
        (&web, json!({"code_challenge": "short"}), "invalid_request"),
        (&web, json!({"code_challenge_method": "S512"}), "invalid_request"),
        (&phone, json!({"code_challenge": null}), "invalid_request"),
    ] {
        assert_eq!(refused(&mut bench, &ann, &with(ask(app), &change)), error, "{change}");
    }
    assert_eq!(refused(&mut bench, &root, &ask(&web)), "access_denied");
    let loopback = with(ask(&web), &json!({"redirect_uri": "http://127.0.0.1:4321/cb"}));
    code(&mut bench, &ann, &loopback);
    bench.pass(Duration::from_secs(3601));
    assert_eq!(refused(&mut bench, &ann, &ask(&web)), "max_age_violation");
    // Only those who are assigned.
    let (ann, _) = log_in(&mut bench);
    bench.write("identity/oidc/assignment/few", r#"{"group_ids":"g"}"#);
    bench.write("identity/oidc/client/web", r#"{"assignments":"few"}"#);
    assert_eq!(refused(&mut bench, &ann, &ask(&web)), "access_denied");
    let group = bench.write("identity/group", &json!({"member_entity_ids": entity}).to_string());
    bench.write("identity/oidc/assignment/few", &json!({"group_ids": group.data()["id"]}).to_string());
    code(&mut bench, &ann, &ask(&web));
    bench.write(PROVIDER, r#"{"allowed_client_ids":"other"}"#);
    assert_eq!(refused(&mut bench, &ann, &ask(&web)), "unauthorized_client");
}

#[test]
fn a_code_is_for_whom_it_was_made() {
    let (mut bench, web, phone) = ready();
    let (ann, entity) = log_in(&mut bench);
    for (app, change, error) in [
        (&web, json!({"client_secret": "wrong"}), "invalid_client"),
        (&web, json!({"client_id": "none"}), "invalid_client"),
        (&web, json!({"client_id": phone.id}), "invalid_grant"),
        (&web, json!({"grant_type": "password"}), "unsupported_grant_type"),
        (&web, json!({"code": ""}), "invalid_request"),
        (&web, json!({"code": "wrong"}), "invalid_grant"),
        (&web, json!({"redirect_uri": "http://127.0.0.1/cb"}), "invalid_grant"),
        (&web, json!({"redirect_uri": ""}), "invalid_request"),
        (&phone, json!({"code_verifier": ""}), "invalid_request"),
        (&phone, json!({"code_verifier": "wrong"}), "invalid_grant"),
    ] {
        let code = code(&mut bench, &ann, &ask(app));
        let answer = exchange(&mut bench, &with(trade(app, &code), &change));
        assert_eq!(answer.body["error"], error, "{change}: {answer:?}");
        assert_eq!(answer.status, if error == "invalid_client" { 401 } else { 400 });
    }
    let late = code(&mut bench, &ann, &ask(&web));
    bench.pass(Duration::from_secs(300));
    assert_eq!(exchange(&mut bench, &trade(&web, &late)).body["error"], "invalid_grant");
    let disabled = code(&mut bench, &ann, &ask(&web));
    bench.write(&format!("identity/entity/id/{entity}"), r#"{"disabled":true}"#);
    assert_eq!(exchange(&mut bench, &trade(&web, &disabled)).body["error"], "invalid_request");
}

#[test]
fn what_is_configured_is_kept_in_order() {
    let (mut bench, web, _) = ready();
    let discovery = bench.ask("", Read, &format!("{PROVIDER}/.well-known/openid-configuration"), "").body;
    assert_eq!(discovery["token_endpoint"], format!("https://keyward.test/v1/{PROVIDER}/token"));
    assert_eq!(discovery["scopes_supported"], json!(["user", "openid"]));
    assert_eq!(bench.root(List, "identity/oidc/provider", "").data()["keys"], json!(["default", "test"]));
    let listed = bench.root(List, &format!("identity/oidc/provider?allowed_client_id={}", web.id), "");
    assert_eq!(listed.data()["keys"], json!(["default", "test"]));
    assert_eq!(bench.root(List, "identity/oidc/client", "").data()["keys"], json!(["phone", "web"]));
    assert_eq!(bench.root(List, "identity/oidc/scope", "").data()["keys"], json!(["user"]));
    assert_eq!(bench.root(List, "identity/oidc/assignment", "").data()["keys"], json!(["allow_all"]));
    for (operation, path, body, why) in [
        (Update, "scope/openid", json!({}), "the \"openid\" scope name is reserved"),
        (Update, "scope/x", json!({"template": "{"}), "error parsing template JSON"),
        (Update, "assignment/allow_all", json!({}), "modification of assignment"),
        (Update, "client/web", json!({"key": "other"}), "key modification is not allowed"),
        (Update, "client/web", json!({"client_type": "public"}), "client_type modification is not allowed"),
        (Update, "client/x", json!({"client_type": "odd"}), "invalid client_type \"odd\""),
        (Update, "client/x", json!({"key": "none"}), "key \"none\" does not exist"),
        (Update, "client/x", json!({"assignments": "none"}), "assignment \"none\" does not exist"),
        (Update, "client/x", json!({"id_token_ttl": "25h"}), "a client's id_token_ttl cannot be greater"),
        (Update, "provider/x", json!({"scopes_supported": "none"}), "scope \"none\" does not exist"),
        (Update, "provider/x", json!({"issuer": "x"}), "invalid issuer"),
        (Update, "key/k", json!({"verification_ttl": 60}), "unable to update key"),
        (
            Delete,
            "key/k",
            json!({}),
            "unable to delete key \"k\" because it is currently referenced by these clients",
        ),
        (Delete, "scope/user", json!({}), "unable to delete scope \"user\""),
        (Delete, "assignment/allow_all", json!({}), "deletion of assignment"),
        (Delete, "provider/default", json!({}), "deletion of OIDC provider \"default\" not allowed"),
    ] {
        let answer = bench.root(operation, &format!("identity/oidc/{path}"), &body.to_string());
        assert!(answer.status == 400 && answer.errors().starts_with(why), "{path} {body}: {answer:?}");
    }
    for path in ["provider/test", "client/web", "client/phone", "scope/user", "key/k"] {
        assert_eq!(bench.root(Delete, &format!("identity/oidc/{path}"), "").status, 204, "{path}");
    }
    assert_eq!(bench.ask("", Read, &format!("{PROVIDER}/.well-known/keys"), "").status, 404);
}
