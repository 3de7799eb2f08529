//! Logins through a browser, at a real provider: another Keyward, and [`others`].

mod others;

use keyward_testkit::process::{Process, free_port, wait_for};
use keyward_tests::binary::keyward;
use keyward_tests::http::Client;
use keyward_tests::server::{SOON, Server};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;

fn write(root: &Client, path: &str, body: &Value) -> Value {
    let answer = root.write(path, body);
    assert!(answer.status < 300, "{path}: {}", String::from_utf8_lossy(&answer.body));
    if answer.body.is_empty() { Value::Null } else { answer.json() }
}

/// A provider that sends browsers back to `port` of this machine, who may sign in there, and the client's name and secret.
fn provider(port: u16) -> (Server, Client, Value) {
    let server = Server::dev();
    let root = server.root();
    write(&root, "identity/oidc/key/k", &json!({"algorithm": "ES256", "allowed_client_ids": "*"}));
    let back = format!("http://localhost:{port}/oidc/callback");
    let client = json!({"key": "k", "redirect_uris": back, "assignments": "allow_all"});
    write(&root, "identity/oidc/client/keyward", &client);
    let client = root.read("identity/oidc/client/keyward").expect(200).json()["data"].clone();
    let issuer = json!({"issuer": server.url(), "allowed_client_ids": client["client_id"]});
    write(&root, "identity/oidc/provider/staff", &issuer);
    write(
        &root,
        "sys/policies/acl/people",
        &json!({
            "policy": "path \"identity/oidc/provider/staff/authorize\" { capabilities = [\"read\", \"update\"] }",
        }),
    );
    write(&root, "sys/auth/userpass", &json!({"type": "userpass"}));
    write(&root, "auth/userpass/users/ann", &json!({"password": "p", "token_policies": "people"}));
    let login = write(&server.guest(), "auth/userpass/login/ann", &json!({"password": "p"}));
    let ann = server.guest().with_token(login["auth"]["client_token"].as_str().unwrap());
    (server, ann, client)
}

/// What a browser does at the provider: signs Ann in, and follows the redirection.
fn sign_in(ann: &Client, url: &str, change: impl FnOnce(&mut BTreeMap<String, String>)) -> String {
    let (_, query) = url.split_once('?').unwrap();
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let mut asked: BTreeMap<String, String> = pairs.map(|(n, v)| (n.to_owned(), unescaped(v))).collect();
    change(&mut asked);
    let given = write(ann, "identity/oidc/provider/staff/authorize", &json!(asked));
    let text = |name: &str| given[name].as_str().unwrap().to_owned();
    format!("/oidc/callback?code={}&state={}", text("code"), text("state"))
}

fn unescaped(text: &str) -> String {
    let mut parts = text.split('%');
    let mut out = parts.next().unwrap().to_owned();
    for part in parts {
        out.push(char::from(u8::from_str_radix(&part[..2], 16).unwrap()));
        out.push_str(&part[2..]);
    }
    out
}

fn relying(provider: &Server, client: &Value) -> Server {
    let server = Server::dev();
    let root = server.root();
    write(&root, "sys/auth/oidc", &json!({"type": "oidc"}));
    let config = json!({
        "oidc_discovery_url": format!("{}/v1/identity/oidc/provider/staff", provider.url()),
        "oidc_client_id": client["client_id"], "oidc_client_secret": client["client_secret"],
        "default_role": "people",
    });
    write(&root, "auth/oidc/config", &config);
    let role = json!({
        "role_type": "oidc", "user_claim": "sub", "allowed_redirect_uris": "http://localhost/oidc/callback",
        "token_policies": "staff", "token_ttl": "10m",
    });
    write(&root, "auth/oidc/role/people", &role);
    server
}

/// What the token that a waiting command line has come to says of itself.
fn logged_in(server: &Server, mut waiting: Process) -> Value {
    let ended = wait_for("the command line", SOON, || waiting.exited().unwrap());
    let output = waiting.output().unwrap();
    assert!(ended.unwrap().success(), "{output}");
    let token = output.split_whitespace().find(|word| word.starts_with("hvs.")).unwrap();
    let own = server.guest().with_token(token).read("auth/token/lookup-self").expect(200).json();
    assert_eq!(own["data"]["policies"], json!(["default", "staff"]));
    own
}

#[test]
fn the_command_line_logs_in_through_a_browser() {
    let port = free_port().unwrap();
    let (provider, ann, client) = provider(port);
    let server = relying(&provider, &client);
    let mut command = Command::new(keyward());
    command
        .args(["login", "--method=oidc", "--token-only", &format!("port={port}")])
        .env("VAULT_ADDR", server.url())
        .env("HOME", server.folder());
    let waiting = Process::spawn(&mut command, &server.folder().join("login.log")).unwrap();
    let url = wait_for("the address to sign in at", SOON, || {
        let output = waiting.output().unwrap();
        output.lines().find_map(|line| line.trim().strip_prefix("http").map(|rest| format!("http{rest}")))
    });
    let url = url.unwrap_or_else(|late| panic!("{late}: {}", waiting.output().unwrap()));
    let browser = Client::new(([127, 0, 0, 1], port).into());
    // Whatever else comes to the port is turned away.
    assert_eq!(browser.request("GET", "/favicon.ico").send().status, 404);
    let back = sign_in(&ann, &url, |_| {});
    assert_eq!(browser.request("GET", &back).send().status, 200);
    let own = logged_in(&server, waiting);
    assert_eq!(own["data"]["path"], "auth/oidc/oidc/callback");
    assert!(!provider.output().contains(client["client_secret"].as_str().unwrap()));
}

#[test]
fn a_code_is_of_no_use_to_who_did_not_begin() {
    let (provider, ann, client) = provider(8250);
    let server = relying(&provider, &client);
    let begin = |nonce: &str| {
        let asked = json!({"redirect_uri": "http://localhost:8250/oidc/callback", "client_nonce": nonce});
        let url = write(&server.guest(), "auth/oidc/oidc/auth_url", &asked)["data"]["auth_url"].clone();
        url.as_str().unwrap().to_owned()
    };
    let complete = |back: &str, nonce: &str| {
        let query = back.split_once('?').unwrap().1;
        let path = format!("/v1/auth/oidc/oidc/callback?{query}&client_nonce={nonce}");
        server.guest().request("GET", &path).send()
    };
    let back = sign_in(&ann, &begin("mine"), |_| {});
    assert_eq!(complete(&back, "theirs").status, 400);
    let login = complete(&back, "mine");
    assert_eq!(login.status, 200, "{}", String::from_utf8_lossy(&login.body));
    // The provider gives a code once.
    assert_eq!(complete(&back, "mine").status, 400);
    // A code of another login does not fit this one's proof key, nor a token its nonce.
    let (first, second) = (begin("mine"), sign_in(&ann, &begin("mine"), |_| {}));
    let state = first.split(['?', '&']).find_map(|pair| pair.strip_prefix("state=")).unwrap();
    let code = second.split(['?', '&']).find_map(|pair| pair.strip_prefix("code=")).unwrap();
    assert_eq!(complete(&format!("/x?state={state}&code={code}"), "mine").status, 400);
    let back = sign_in(&ann, &begin("mine"), |asked| {
        asked.insert("nonce".to_owned(), "another".to_owned());
    });
    assert!(String::from_utf8_lossy(&complete(&back, "mine").body).contains("invalid nonce"));
}

/// Waits for the address that a command line says to sign in at.
fn told_where(waiting: &Process) -> String {
    let url = wait_for("the address to sign in at", SOON, || {
        let output = waiting.output().unwrap();
        output.lines().find_map(|line| line.trim().strip_prefix("http").map(|rest| format!("http{rest}")))
    });
    url.unwrap_or_else(|late| panic!("{late}: {}", waiting.output().unwrap()))
}

fn begin_login(server: &Server, parameters: &[&str]) -> Process {
    let mut command = Command::new(keyward());
    command
        .args(["login", "--method=oidc", "--token-only"])
        .args(parameters)
        .env("VAULT_ADDR", server.url())
        .env("HOME", server.folder());
    Process::spawn(&mut command, &server.folder().join("login.log")).unwrap()
}

#[test]
fn the_command_line_logs_in_while_the_browser_comes_to_the_authority() {
    let (provider, ann, client) = provider(8250);
    let server = relying(&provider, &client);
    let back = format!("{}/v1/auth/oidc/oidc/callback", server.url());
    let known = json!({"key": "k", "redirect_uris": back, "assignments": "allow_all"});
    write(&provider.root(), "identity/oidc/client/keyward", &known);
    let role = json!({"callback_mode": "direct", "poll_interval": 1, "allowed_redirect_uris": back});
    write(&server.root(), "auth/oidc/role/people", &role);
    let waiting = begin_login(&server, &["callbackmode=direct"]);
    let brought = sign_in(&ann, &told_where(&waiting), |_| {});
    let browser = server.guest();
    let path = format!("/v1/auth/oidc{brought}");
    let asked = browser.request("GET", &path).send();
    let page = String::from_utf8(asked.body.clone()).unwrap();
    assert_eq!((asked.status, asked.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.contains("Somebody at <b>127.0.0.1</b>"), "{page}");
    let signed_in = browser.request("GET", &format!("{path}&confirmation=yes")).send();
    assert_eq!(signed_in.status, 200, "{}", String::from_utf8_lossy(&signed_in.body));
    logged_in(&server, waiting);
}

#[test]
fn the_command_line_takes_a_code_in_a_form() {
    let port = free_port().unwrap();
    let (provider, ann, client) = provider(port);
    let server = relying(&provider, &client);
    let config = json!({
        "oidc_discovery_url": format!("{}/v1/identity/oidc/provider/staff", provider.url()),
        "oidc_client_id": client["client_id"], "oidc_client_secret": client["client_secret"],
        "default_role": "people", "oidc_response_mode": "form_post",
    });
    write(&server.root(), "auth/oidc/config", &config);
    let mut waiting = begin_login(&server, &[&format!("port={port}")]);
    let url = told_where(&waiting);
    assert!(url.contains("response_mode=form_post"), "{url}");
    // Our own provider knows no forms: it gives the code as ever, and the test posts it as another would have the browser do.
    let brought = sign_in(&ann, &url, |asked| {
        asked.remove("response_mode");
    });
    let (path, form) = brought.split_once('?').unwrap();
    let browser = Client::new(([127, 0, 0, 1], port).into());
    let posted = browser.request("POST", path).header("Content-Type", "application/x-www-form-urlencoded");
    assert_eq!(posted.body(form.as_bytes().to_vec()).send().status, 200);
    let ended = wait_for("the command line", SOON, || waiting.exited().unwrap());
    let output = waiting.output().unwrap();
    assert!(ended.unwrap().success() && output.contains("hvs."), "{output}");
}
