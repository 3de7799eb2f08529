//! Logins through a browser.

use super::oidc::may_go_to;
use super::tests::{Issuer, NOW, reply};
use crate::outside::{Ask, Credential, Reply};
use crate::request::Operation::{Read, Update};
use crate::testing::{Answer, Bench};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_crypto::sha256;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

const REDIRECT: &str = "http://localhost:8250/oidc/callback";

#[test]
fn redirections_are_as_they_are_written_but_for_ports_of_this_machine() {
    for (allowed, asked, wanted) in [
        ("https://a.example.com/cb", "https://a.example.com/cb", true),
        ("https://a.example.com/cb", "https://a.example.com/cb/x", false),
        ("https://a.example.com/cb", "https://a.example.com:8443/cb", false),
        ("http://localhost:8250/oidc/callback", "http://localhost:49152/oidc/callback", true),
        ("http://localhost/oidc/callback", "http://localhost:49152/oidc/callback", true),
        ("http://127.0.0.1:1/cb", "http://[::1]:1/cb", false),
        ("http://[::1]:1/cb", "http://[::1]:2/cb", true),
        ("http://localhost:8250/cb", "http://localhost:8250/other", false),
        ("http://localhost:8250/cb", "http://localhost.example.com:8250/cb", false),
        ("http://localhost:8250/cb", "http://localhost:80@example.com/cb", false),
        ("http://localhost:8250/cb", "https://localhost:8250/cb", false),
    ] {
        assert_eq!(may_go_to(allowed, asked), wanted, "{allowed} {asked}");
    }
}

/// What the provider knows of the login under way, and how it changes the tokens it gives.
#[derive(Default)]
struct Known {
    nonce: String,
    challenge: String,
    change: Option<Value>,
    /// What it says to device codes; a token, when it says nothing.
    waiting: &'static str,
    /// The forms it was sent at its token endpoint.
    forms: Vec<BTreeMap<String, String>>,
}

fn unescaped(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let pair = [bytes.next().unwrap(), bytes.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&pair).unwrap(), 16).unwrap()
            }
            plain => plain,
        });
    }
    String::from_utf8(out).unwrap()
}

fn pairs(query: &str) -> BTreeMap<String, String> {
    let pair = |pair: &str| pair.split_once('=').map(|(name, value)| (name.to_owned(), unescaped(value)));
    query.split('&').filter_map(pair).collect()
}

fn bench() -> (Bench, Rc<RefCell<Known>>) {
    let (mut bench, known) = (Bench::new(), Rc::new(RefCell::new(Known::default())));
    let (issuer, asked) = (Issuer::new(), known.clone());
    bench.world = Box::new(move |ask: &Ask| match ask.url.as_str() {
        "https://id.test/.well-known/openid-configuration" => reply(&json!({
            "issuer": "https://id.test", "jwks_uri": "https://id.test/jwks",
            "authorization_endpoint": "https://id.test/authorize", "token_endpoint": "https://id.test/token",
            "device_authorization_endpoint": "https://id.test/device",
        })),
        "https://id.test/device" => {
            asked.borrow_mut().forms.push(pairs(ask.body.as_ref().unwrap().1.0.expose()));
            reply(&json!({
                "device_code": "device-1", "user_code": "WDJB-MJHT", "verification_uri": "https://id.test/enter",
                "expires_in": 900, "interval": 7,
            }))
        }
        "https://id.test/jwks" => reply(&issuer.jwks()),
        "https://id.test/token" => {
            let mut known = asked.borrow_mut();
            let form = pairs(ask.body.as_ref().unwrap().1.0.expose());
            let of_device = form.get("device_code").is_some_and(|code| code == "device-1");
            let verifier =
                form.get("code_verifier").map(|text| URL_SAFE_NO_PAD.encode(sha256(text.as_bytes())));
            let secret = matches!(&ask.credential, Credential::Basic(name, secret)
                if name == "keyward" && secret.0.expose() == "s%26cret");
            let code = form.get("code").is_some_and(|code| code == "good");
            let good = secret && (of_device || code && verifier.as_ref() == Some(&known.challenge));
            known.forms.push(form);
            if of_device && !known.waiting.is_empty() {
                let body = json!({ "error": known.waiting }).to_string();
                return Ok(Reply { status: 400, body: body.as_bytes().into(), version: 2 });
            }
            if !good {
                return Ok(Reply { status: 400, body: b"{}"[..].into(), version: 2 });
            }
            let mut change = json!({
                "iss": "https://id.test", "aud": "keyward", "sub": "ann", "nonce": known.nonce, "auth_time": NOW,
            });
            for (name, value) in known.change.iter().flat_map(|change| change.as_object().unwrap()) {
                change[name] = value.clone();
            }
            reply(&json!({ "id_token": issuer.token(&change) }))
        }
        other => Err(format!("{other} does not answer")),
    });
    bench.mount_auth("oidc", "oidc");
    let config = json!({
        "oidc_discovery_url": "https://id.test", "oidc_client_id": "keyward", "oidc_client_secret": "s&cret",
        "default_role": "people",
    });
    bench.write("auth/oidc/config", &config.to_string());
    let role = json!({
        "user_claim": "sub", "allowed_redirect_uris": REDIRECT, "token_policies": "staff", "oidc_scopes": "profile",
        "max_age": "1h",
    });
    bench.write("auth/oidc/role/people", &role.to_string());
    (bench, known)
}

/// Begins a login; answers with its state.
fn begin(bench: &mut Bench, known: &Rc<RefCell<Known>>) -> String {
    let body = json!({"redirect_uri": REDIRECT, "client_nonce": "mine"}).to_string();
    let answer = bench.ask("", Update, "auth/oidc/oidc/auth_url", &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    let url = answer.data()["auth_url"].as_str().unwrap();
    let (endpoint, query) = url.split_once('?').unwrap();
    let asked = pairs(query);
    assert_eq!(endpoint, "https://id.test/authorize");
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "keyward"),
        ("redirect_uri", REDIRECT),
        ("scope", "openid profile"),
        ("code_challenge_method", "S256"),
        ("max_age", "3600"),
    ] {
        assert_eq!(asked[name], value);
    }
    let mut known = known.borrow_mut();
    known.nonce.clone_from(&asked["nonce"]);
    known.challenge.clone_from(&asked["code_challenge"]);
    asked["state"].clone()
}

fn complete(bench: &mut Bench, state: &str, code: &str, nonce: &str) -> Answer {
    let path = format!("auth/oidc/oidc/callback?state={state}&code={code}&client_nonce={nonce}");
    bench.ask("", Read, &path, "")
}

#[test]
fn who_signs_in_at_the_provider_logs_in() {
    let (mut bench, known) = bench();
    let state = begin(&mut bench, &known);
    let answer = complete(&mut bench, &state, "good", "mine");
    assert_eq!(answer.body["auth"]["policies"], json!(["default", "staff"]), "{answer:?}");
    assert_eq!(answer.body["auth"]["metadata"], json!({"role": "people"}));
    let form = known.borrow().forms[0].clone();
    assert_eq!(
        (form["grant_type"].as_str(), form["redirect_uri"].as_str()),
        ("authorization_code", REDIRECT)
    );
    let shown = bench.read("auth/oidc/config").data().clone();
    assert!(shown["oidc_client_id"] == "keyward" && !shown.to_string().contains("s&cret"));
    assert_eq!(bench.read("auth/oidc/role/people").data()["role_type"], "oidc");
    // A token alone does not log in to such a role.
    let jwt = json!({"role": "people", "jwt": "a.b.c"}).to_string();
    assert!(
        bench.ask("", Update, "auth/oidc/login", &jwt).errors().contains("oidc role_type is not allowed")
    );
}

#[test]
fn only_who_began_a_login_completes_it_and_in_time() {
    let (mut bench, known) = bench();
    let state = begin(&mut bench, &known);
    for (state, code, nonce, words) in [
        (state.as_str(), "good", "other", "invalid client_nonce"),
        (&state, "good", "", "invalid client_nonce"),
        (&state, "bad", "mine", "HTTP status 400"),
        (&state, "", "mine", "no code was sent"),
        (&state[1..], "good", "mine", "Expired or missing"),
        ("", "good", "mine", "Expired or missing"),
    ] {
        let answer = complete(&mut bench, state, code, nonce);
        assert!(answer.status == 400 && answer.errors().contains(words), "{words}: {answer:?}");
    }
    let path = format!("auth/oidc/oidc/callback?state={state}&error=access_denied&client_nonce=mine");
    assert!(bench.ask("", Read, &path, "").errors().contains("access_denied"));
    // The state of one mount is of no use at another.
    bench.mount_auth("oidc", "other");
    let config = json!({"oidc_discovery_url": "https://id.test", "oidc_client_id": "keyward"}).to_string();
    bench.write("auth/other/config", &config);
    let path = format!("auth/other/oidc/callback?state={state}&code=good&client_nonce=mine");
    assert!(bench.ask("", Read, &path, "").errors().contains("Expired or missing"));
    bench.clock.advance(Duration::from_secs(601));
    assert!(complete(&mut bench, &state, "good", "mine").errors().contains("Expired or missing"));
}

#[test]
fn the_providers_token_is_for_us_and_this_login() {
    let (mut bench, known) = bench();
    for (change, words) in [
        (json!({"aud": "another"}), "another client"),
        (json!({"aud": ["keyward", "another"]}), "authorized party"),
        (json!({"azp": "another"}), "authorized party"),
        (json!({"iss": "https://else.test"}), "issuer"),
        (json!({"nonce": "of another login"}), "invalid nonce"),
        (json!({"nonce": null}), "invalid nonce"),
        (json!({"auth_time": NOW - 7_200}), "max_age"),
        (json!({"auth_time": null}), "max_age"),
        (json!({"exp": NOW - 600}), "expired"),
        (json!({"sub": null}), "claim \"sub\" not found"),
    ] {
        let state = begin(&mut bench, &known);
        known.borrow_mut().change = Some(change.clone());
        let answer = complete(&mut bench, &state, "good", "mine");
        assert!(answer.status == 400 && answer.errors().contains(words), "{change}: {answer:?}");
    }
    known.borrow_mut().change = Some(json!({"aud": ["keyward", "another"], "azp": "keyward"}));
    let state = begin(&mut bench, &known);
    assert_eq!(complete(&mut bench, &state, "good", "mine").status, 200);
}

#[test]
fn a_machine_without_a_browser_waits_for_somebody_to_sign_in() {
    let (mut bench, known) = bench();
    let role = json!({"user_claim": "sub", "callback_mode": "device", "token_policies": "staff"}).to_string();
    bench.write("auth/oidc/role/headless", &role);
    let begin = json!({"role": "headless", "client_nonce": "mine"}).to_string();
    let begun = bench.ask("", Update, "auth/oidc/oidc/auth_url", &begin).data().clone();
    assert_eq!(
        (&begun["auth_url"], &begun["user_code"]),
        (&json!("https://id.test/enter"), &json!("WDJB-MJHT"))
    );
    assert_eq!(begun["poll_interval"], "7");
    assert_eq!(known.borrow().forms[0]["scope"], "openid");
    let state = begun["state"].as_str().unwrap().to_owned();
    assert!(!state.contains("device-1"));
    let poll = |bench: &mut Bench, state: &str, nonce: &str| {
        let body = json!({"state": state, "client_nonce": nonce}).to_string();
        bench.ask("", Update, "auth/oidc/oidc/poll", &body)
    };
    for (waiting, words) in [
        ("authorization_pending", "authorization_pending"),
        ("slow_down", "slow_down"),
        ("access_denied", "authorization failed: access_denied"),
    ] {
        known.borrow_mut().waiting = waiting;
        let answer = poll(&mut bench, &state, "mine");
        assert_eq!((answer.status, answer.errors().as_str()), (400, words));
    }
    known.borrow_mut().waiting = "";
    for (state, nonce, words) in [
        (state.as_str(), "other", "invalid client_nonce"),
        (&state[1..], "mine", "Expired or missing"),
        ("", "mine", "Expired or missing"),
    ] {
        assert!(poll(&mut bench, state, nonce).errors().contains(words), "{words}");
    }
    known.borrow_mut().change = Some(json!({"aud": "another"}));
    assert!(poll(&mut bench, &state, "mine").errors().contains("another client"));
    known.borrow_mut().change = Some(json!({"nonce": null}));
    let answer = poll(&mut bench, &state, "mine");
    assert_eq!(answer.body["auth"]["policies"], json!(["default", "staff"]), "{answer:?}");
    bench.clock.advance(Duration::from_secs(901));
    assert!(poll(&mut bench, &state, "mine").errors().contains("Expired or missing"));
    let unsafe_begin = json!({"role": "headless"}).to_string();
    assert!(
        bench
            .ask("", Update, "auth/oidc/oidc/auth_url", &unsafe_begin)
            .errors()
            .contains("missing client_nonce")
    );
    bench.write("auth/oidc/role/headless", r#"{"poll_interval":3}"#);
    assert_eq!(bench.ask("", Update, "auth/oidc/oidc/auth_url", &begin).data()["poll_interval"], "3");
}

#[test]
fn a_login_begins_where_the_role_allows() {
    let (mut bench, _) = bench();
    bench.write("auth/oidc/role/tokens", r#"{"role_type":"jwt","user_claim":"sub","bound_subject":"a"}"#);
    for (body, words) in [
        (json!({}), "missing redirect_uri"),
        (json!({"redirect_uri": "https://evil.example.com/"}), "unauthorized redirect_uri"),
        (json!({"redirect_uri": REDIRECT, "role": "none"}), "could not be found"),
        (json!({"redirect_uri": REDIRECT, "role": "tokens"}), "not of the type oidc"),
        (json!({"redirect_uri": REDIRECT, "client_nonce": "x".repeat(3_000)}), "too long"),
    ] {
        let answer = bench.ask("", Update, "auth/oidc/oidc/auth_url", &body.to_string());
        assert!(answer.status == 400 && answer.errors().contains(words), "{body}: {answer:?}");
    }
    for (path, body, words) in [
        ("role/x", json!({"user_claim": "a", "role_type": "oidc"}), "allowed_redirect_uris"),
        ("config", json!({"oidc_discovery_url": "https://id.test", "oidc_client_secret": "x"}), "need both"),
        ("config", json!({"jwks_url": "https://id.test/jwks", "oidc_client_id": "x"}), "need both"),
        (
            "config",
            json!({"oidc_discovery_url": "https://id.test", "oidc_response_mode": "fragment"}),
            "response_mode",
        ),
        (
            "config",
            json!({"oidc_discovery_url": "https://id.test", "oidc_response_types": "id_token"}),
            "response_types",
        ),
        (
            "config",
            json!({"oidc_discovery_url": "https://id.test", "provider_config": {"provider": "azure"}}),
            "provider_config",
        ),
    ] {
        let answer = bench.root(Update, &format!("auth/oidc/{path}"), &body.to_string());
        assert!(answer.status == 400 && answer.errors().contains(words), "{body}: {answer:?}");
    }
    bench.world = Box::new(|_| Err("refused".to_owned()));
    let body = json!({ "redirect_uri": REDIRECT }).to_string();
    assert_eq!(bench.ask("", Update, "auth/oidc/oidc/auth_url", &body).status, 403);
}

/// Makes the logins of the role direct; answers with what a login begins with.
fn begin_direct(bench: &mut Bench, known: &Rc<RefCell<Known>>) -> String {
    bench.write("auth/oidc/role/people", r#"{"callback_mode": "direct", "poll_interval": 3}"#);
    let nameless = json!({ "redirect_uri": REDIRECT }).to_string();
    let refused = bench.ask("", Update, "auth/oidc/oidc/auth_url", &nameless);
    assert!(refused.errors().contains("missing client_nonce"), "{refused:?}");
    let body = json!({"redirect_uri": REDIRECT, "client_nonce": "mine"}).to_string();
    let begun = bench.ask("", Update, "auth/oidc/oidc/auth_url", &body).data().clone();
    assert_eq!(begun["poll_interval"], "3");
    let asked = pairs(begun["auth_url"].as_str().unwrap().split_once('?').unwrap().1);
    assert_eq!(asked["state"], begun["state"]);
    let mut known = known.borrow_mut();
    known.nonce.clone_from(&asked["nonce"]);
    known.challenge.clone_from(&asked["code_challenge"]);
    asked["state"].clone()
}

/// What a browser gets that comes back.
fn brought(bench: &mut Bench, operation: crate::request::Operation, path: &str, body: &str) -> (u16, String) {
    let response = bench.answer(&bench.request("", operation, path, body)).unwrap();
    (response.http_status(), String::from_utf8(response.body("id").unwrap()).unwrap())
}

#[test]
fn who_began_asks_for_what_a_browser_brought() {
    let (mut bench, known) = bench();
    let state = begin_direct(&mut bench, &known);
    let poll = |bench: &mut Bench, nonce: &str| {
        let body = json!({"state": state, "client_nonce": nonce}).to_string();
        bench.ask("", Update, "auth/oidc/oidc/poll", &body)
    };
    assert!(poll(&mut bench, "mine").errors().contains("authorization_pending"));
    let back = format!("auth/oidc/oidc/callback?state={state}&code=good");
    // Whoever signs in is asked first, and the code is kept.
    let (status, asked) = brought(&mut bench, Read, &back, "");
    assert!(
        status == 200 && asked.contains("role <b>people</b>") && asked.contains("value=\"good\""),
        "{asked}"
    );
    assert!(known.borrow().forms.is_empty());
    assert!(poll(&mut bench, "mine").errors().contains("authorization_pending"));
    let (status, shown) = brought(&mut bench, Read, &format!("{back}&confirmation=yes"), "");
    assert!(status == 200 && shown.contains("You are signed in"), "{shown}");
    let (status, shown) = brought(&mut bench, Read, &format!("{back}&confirmation=yes"), "");
    assert!(status == 400 && shown.contains("already"), "{shown}");
    assert!(poll(&mut bench, "other").errors().contains("invalid client_nonce"));
    let login = poll(&mut bench, "mine");
    assert_eq!(login.body["auth"]["policies"], json!(["default", "staff"]), "{login:?}");
    assert!(poll(&mut bench, "mine").errors().contains("authorization_pending"), "given once");
    let stored = |bench: &Bench| {
        bench.store.entries().filter(|(key, _)| String::from_utf8_lossy(key).contains("/arrived/")).count()
    };
    assert_eq!(stored(&bench), 0);
    // What nobody asks for is forgotten.
    bench.write("auth/oidc/role/people", r#"{"oidc_disable_confirmation": true}"#);
    let state = begin_direct(&mut bench, &known);
    let back = format!("auth/oidc/oidc/callback?state={state}&code=good");
    assert_eq!(brought(&mut bench, Read, &back, "").0, 200);
    assert_eq!(stored(&bench), 1);
    bench.pass(Duration::from_secs(601));
    assert_eq!(stored(&bench), 0);
}

#[test]
fn a_browser_that_brings_nothing_good_completes_no_login() {
    let (mut bench, known) = bench();
    bench.write("auth/oidc/role/people", r#"{"oidc_disable_confirmation": true}"#);
    let state = begin_direct(&mut bench, &known);
    for (more, words) in [
        ("&error=access_denied", "The provider refused"),
        ("", "The provider refused"),
        ("&code=bad", "HTTP status 400"),
    ] {
        let (status, shown) =
            brought(&mut bench, Read, &format!("auth/oidc/oidc/callback?state={state}{more}"), "");
        assert!(status == 400 && shown.contains(words), "{more}: {shown}");
    }
    known.borrow_mut().change = Some(json!({"nonce": "of another login"}));
    let back = format!("auth/oidc/oidc/callback?state={state}&code=good");
    assert!(bench.ask("", Read, &back, "").errors().contains("invalid nonce"));
    let body = json!({"state": state, "client_nonce": "mine"}).to_string();
    let waits = bench.ask("", Update, "auth/oidc/oidc/poll", &body);
    assert!(waits.errors().contains("authorization_pending"), "{waits:?}");
    let odd = r#"<script>alert("x")</script>"#.replace('"', "%22");
    let (_, shown) = {
        bench.write("auth/oidc/role/people", r#"{"oidc_disable_confirmation": false}"#);
        brought(&mut bench, Read, &format!("auth/oidc/oidc/callback?state={state}&code={odd}"), "")
    };
    assert!(shown.contains("&lt;script&gt;") && !shown.contains("<script>"), "{shown}");
}

#[test]
fn codes_come_in_forms_where_the_configuration_says_so() {
    let (mut bench, known) = bench();
    let config = json!({
        "oidc_discovery_url": "https://id.test", "oidc_client_id": "keyward", "oidc_client_secret": "s&cret",
        "default_role": "people", "oidc_response_mode": "form_post",
    });
    bench.write("auth/oidc/config", &config.to_string());
    assert_eq!(bench.read("auth/oidc/config").data()["oidc_response_mode"], "form_post");
    let body = json!({"redirect_uri": REDIRECT, "client_nonce": "mine"}).to_string();
    let url = bench.ask("", Update, "auth/oidc/oidc/auth_url", &body).data()["auth_url"].clone();
    assert!(url.as_str().unwrap().contains("&response_mode=form_post&"), "{url}");
    // As Vault's command line does it: the form first, and then what it says.
    let state = begin(&mut bench, &known);
    let form = json!({"state": state, "code": "good", "client_nonce": "mine"}).to_string();
    assert_eq!(brought(&mut bench, Update, "auth/oidc/oidc/callback", &form).0, 200);
    assert!(known.borrow().forms.is_empty());
    assert_eq!(complete(&mut bench, &state, "good", "mine").status, 200);
    // A direct login takes the form for the outcome, once it is confirmed.
    let state = begin_direct(&mut bench, &known);
    let form = |more: &str| format!(r#"{{"state": "{state}", "code": "good"{more}}}"#);
    let (_, asked) = brought(&mut bench, Update, "auth/oidc/oidc/callback", &form(""));
    assert!(asked.contains("method=\"post\""), "{asked}");
    let confirmed = form(r#", "confirmation": "yes""#);
    assert_eq!(brought(&mut bench, Update, "auth/oidc/oidc/callback", &confirmed).0, 200);
    let body = json!({"state": state, "client_nonce": "mine"}).to_string();
    assert_eq!(bench.ask("", Update, "auth/oidc/oidc/poll", &body).status, 200);
    let refused = bench.root(Update, "auth/oidc/config", r#"{"oidc_response_mode": "fragment"}"#);
    assert!(refused.errors().contains("use query or form_post"), "{refused:?}");
}
