//! Identities over HTTP: second factors, applications that people sign in to, and locked names.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use keyward_crypto::otp::Parameters;
use keyward_crypto::sha256;
use keyward_testkit::process::run;
use keyward_tests::binary::keyward;
use keyward_tests::http::{Answer, Client};
use keyward_tests::server::Server;
use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, SystemTime};

/// A dev server where ann may log in.
fn server() -> Server {
    let server = Server::dev();
    let root = server.root();
    root.write("sys/auth/userpass", &json!({"type": "userpass"})).expect(204);
    root.write("auth/userpass/users/ann", &json!({"password": "a good password"})).expect(204);
    server
}

fn log_in(client: &Client, factor: Option<&str>) -> Answer {
    let request = client.request("POST", "/v1/auth/userpass/login/ann");
    let request = request.json(&json!({"password": "a good password"}));
    match factor {
        Some(factor) => request.header("X-Vault-MFA", factor).send(),
        None => request.send(),
    }
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// The key in the address that applications read.
fn key_in(address: &str) -> Vec<u8> {
    let text = address.split_once("secret=").unwrap().1;
    let digit = |c: char| "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".find(c).unwrap() as u8;
    let bits: Vec<u8> = text.chars().flat_map(|c| (0..5).rev().map(move |at| digit(c) >> at & 1)).collect();
    bits.chunks_exact(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | bit)).collect()
}

/// A server where logins need a second factor, the key that ann has for it, and the method's id.
fn enrolled() -> (Server, Vec<u8>, Value) {
    let server = server();
    let (root, guest) = (server.root(), server.guest());
    let entity = log_in(&guest, None).expect(200).json()["auth"]["entity_id"].clone();
    let method = root.write("identity/mfa/method/totp", &json!({"issuer": "Keyward", "method_name": "app"}));
    let method = method.expect(200).data()["method_id"].clone();
    let wish = json!({"method_id": method, "entity_id": entity});
    let made = root.write("identity/mfa/method/totp/admin-generate", &wish).expect(200);
    let key = key_in(made.data()["url"].as_str().unwrap());
    let rule = json!({"mfa_method_ids": method, "auth_method_types": "userpass"});
    root.write("identity/mfa/login-enforcement/people", &rule).expect(204);
    (server, key, method)
}

/// The code of `key`, so many periods from now: a later one counts after one that was shown.
fn code(key: &[u8], ahead: u64) -> String {
    let parameters = Parameters::default();
    parameters.code(key, parameters.counter(seconds()) + ahead).unwrap()
}

#[test]
fn a_second_factor_is_shown_with_the_login() {
    let (server, key, _) = enrolled();
    let (root, guest) = (server.root(), server.guest());
    let first = code(&key, 0);
    let auth = log_in(&guest, Some(&format!("app:{first}"))).expect(200).json()["auth"].clone();
    root.with_token(auth["client_token"].as_str().unwrap()).read("auth/token/lookup-self").expect(200);
    log_in(&guest, Some(&format!("app:{first}"))).refused(403, "code already used");
    log_in(&guest, Some("app:nothing")).refused(403, "failed to satisfy enforcement people");

    // The command line asks for the code.
    let mut command = Command::new(keyward());
    command
        .args(["login", "--method=userpass", "--token-only", "username=ann", "password=a good password"])
        .env("VAULT_ADDR", server.url())
        .env("HOME", server.folder());
    let done = run(&mut command, format!("{}\n", code(&key, 1)).as_bytes(), Duration::from_secs(60)).unwrap();
    let token = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success() && token.starts_with("hvs."), "{token:?} {}", done.stderr);
}

#[test]
fn a_login_is_finished_with_its_second_factor() {
    let (server, key, method) = enrolled();
    let guest = server.guest();
    let waits = log_in(&guest, None).expect(200).json()["auth"].clone();
    assert_eq!(waits["client_token"], "");
    let id = &waits["mfa_requirement"]["mfa_request_id"];
    let body = json!({"mfa_request_id": id, "mfa_payload": {method.as_str().unwrap(): [code(&key, 0)]}});
    let done = guest.write("sys/mfa/validate", &body).expect(200).json()["auth"].clone();
    guest.with_token(done["client_token"].as_str().unwrap()).read("auth/token/lookup-self").expect(200);
}

#[test]
fn an_application_signs_somebody_in_with_a_form() {
    const VERIFIER: &str = "a-proof-key-of-forty-three-characters-or-more";
    let server = server();
    let (root, guest) = (server.root(), server.guest());
    let client = json!({"redirect_uris": "https://app.test/cb", "assignments": "allow_all"});
    root.write("identity/oidc/client/web", &client).expect(204);
    let client = root.read("identity/oidc/client/web").expect(200).data();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (id, secret) = (text(&client["client_id"]), text(&client["client_secret"]));
    let ann = text(&log_in(&guest, None).expect(200).json()["auth"]["client_token"]);
    let challenge = URL_SAFE_NO_PAD.encode(sha256(VERIFIER.as_bytes()));
    let asked = format!(
        "/v1/identity/oidc/provider/default/authorize?client_id={id}&redirect_uri=https%3A%2F%2Fapp.test%2Fcb\
         &response_type=code&scope=openid%20profile&state=s&code_challenge={challenge}&code_challenge_method=S256"
    );
    let answer = root.with_token(&ann).request("GET", &asked).send().expect(200).json();
    assert_eq!(answer["state"], "s");
    let form = format!(
        "grant_type=authorization_code&code={}&redirect_uri=https%3A%2F%2Fapp.test%2Fcb&code_verifier={VERIFIER}",
        text(&answer["code"])
    );
    let exchange = |secret: &str| {
        guest
            .request("POST", "/v1/identity/oidc/provider/default/token")
            .header("Authorization", &format!("Basic {}", STANDARD.encode(format!("{id}:{secret}"))))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(form.clone())
            .send()
    };
    assert_eq!(exchange("wrong").expect(401).json()["error"], "invalid_client");
    let tokens = exchange(&secret).expect(200).json();
    assert_eq!(exchange(&secret).expect(400).json()["error"], "invalid_grant");
    let userinfo = |token: &str| {
        let request = guest.request("GET", "/v1/identity/oidc/provider/default/userinfo");
        request.header("Authorization", &format!("Bearer {token}")).send()
    };
    let info = userinfo(&text(&tokens["access_token"])).expect(200).json();
    let claims = text(&tokens["id_token"]);
    let claims = URL_SAFE_NO_PAD.decode(claims.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!((&claims["sub"], &claims["aud"]), (&info["sub"], &json!(id)));
    assert_eq!(userinfo(&ann).expect(401).json()["error"], "invalid_token");
    let keys = guest.read("identity/oidc/provider/default/.well-known/keys").expect(200).json();
    assert_eq!(keys["keys"][0]["alg"], "RS256");
}

#[test]
fn names_are_locked_and_unlocked() {
    let server = server();
    let (root, guest) = (server.root(), server.guest());
    let tune = json!({"user_lockout_config": {"lockout_threshold": "3", "lockout_duration": "1h"}});
    root.write("sys/auth/userpass/tune", &tune).expect(204);
    let wrong = json!({"password": "wrong"});
    for _ in 0..3 {
        guest.write("auth/userpass/login/ann", &wrong).refused(400, "invalid username or password");
    }
    log_in(&guest, None).refused(403, "permission denied");
    let locked = root.read("sys/locked-users").expect(200).data();
    assert_eq!(locked["total"], 1);
    let accessor =
        locked["by_namespace"][0]["mount_accessors"][0]["mount_accessor"].as_str().unwrap().to_owned();
    root.write(&format!("sys/locked-users/{accessor}/unlock/ann"), &json!({})).expect(204);
    log_in(&guest, None).expect(200);
}

#[test]
fn first_logins_at_once_are_of_one_entity() {
    let server = server();
    let guests: Vec<Client> = (0..8).map(|_| server.guest()).collect();
    let ids: Vec<Value> = std::thread::scope(|scope| {
        let running: Vec<_> = guests
            .iter()
            .map(|guest| scope.spawn(|| log_in(guest, None).expect(200).json()["auth"]["entity_id"].clone()))
            .collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let listed = server.root().list("identity/entity/id").expect(200).data();
    assert_eq!(listed["keys"], json!([ids[0]]));
}
