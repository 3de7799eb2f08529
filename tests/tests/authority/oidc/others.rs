//! Logins at a provider that others made: `oidc-provider`, which the OpenID Foundation has certified, in `tests/openid`.

use super::{begin_login, logged_in, told_where, write};
use keyward_testkit::process::{Process, free_port, run, wait_for};
use keyward_testkit::{packages, require, tools};
use keyward_tests::server::{SOON, Server};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const SECRET: &str = "what-only-the-client-knows";

struct Provider {
    modules: PathBuf,
    url: String,
    _process: Process,
}

fn script(modules: &Path) -> Command {
    let mut command = Command::new("node");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/openid/provider.mjs")).env("MODULES", modules);
    command
}

impl Provider {
    /// One that sends browsers back to `back`; none where it cannot be had.
    fn start(server: &Server, back: &str) -> Option<Provider> {
        let pinned = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/openid"));
        let modules = packages::install(packages::NODE).and_then(|()| tools::node(pinned));
        if !require(modules.as_ref().map(|_| ())) {
            return None;
        }
        let (modules, port) = (modules.unwrap(), free_port().unwrap());
        let mut command = script(&modules);
        command.args(["serve", &port.to_string(), SECRET, back]);
        let process = Process::spawn(&mut command, &server.folder().join("provider.log")).unwrap();
        let serves = || process.output().unwrap().contains("serving").then_some(());
        let ready = wait_for("the provider", SOON, serves);
        ready.unwrap_or_else(|late| panic!("{late}: {}", process.output().unwrap()));
        Some(Provider { modules, url: format!("http://127.0.0.1:{port}"), _process: process })
    }

    /// Has Ann sign in at `url`, and answers with the title of the page she is shown then.
    fn sign_in(&self, url: &str) -> String {
        let mut command = script(&self.modules);
        let finished = run(command.args(["sign-in", "ann", url]), b"", Duration::from_secs(60)).unwrap();
        assert!(finished.status.success(), "{}", finished.stderr);
        String::from_utf8_lossy(&finished.stdout).trim().to_owned()
    }
}

/// Has `server` believe `provider`.
fn rely(server: &Server, provider: &Provider, config: &Value, role: &Value) {
    let root = server.root();
    write(&root, "sys/auth/oidc", &json!({ "type": "oidc" }));
    let mut whole = json!({
        "oidc_discovery_url": provider.url, "oidc_client_id": "keyward", "oidc_client_secret": SECRET,
        "default_role": "people",
    });
    whole.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
    write(&root, "auth/oidc/config", &whole);
    let mut whole = json!({
        "role_type": "oidc", "user_claim": "sub", "oidc_scopes": "profile", "claim_mappings": { "name": "name" },
        "token_policies": "staff", "token_ttl": "10m",
    });
    whole.as_object_mut().unwrap().extend(role.as_object().unwrap().clone());
    write(&root, "auth/oidc/role/people", &whole);
}

/// The token that a command line which waited for Ann has come to is hers.
fn is_anns(server: &Server, waiting: Process) {
    let own = logged_in(server, waiting);
    assert_eq!(own["data"]["display_name"], "oidc-ann");
    assert_eq!(own["data"]["meta"], json!({ "name": "The person ann", "role": "people" }));
}

#[test]
fn a_device_logs_in_while_somebody_signs_in_elsewhere() {
    let server = Server::dev();
    let Some(provider) = Provider::start(&server, "http://localhost/unused") else { return };
    rely(&server, &provider, &json!({}), &json!({ "callback_mode": "device", "poll_interval": 1 }));
    let mut waiting = begin_login(&server, &["callbackmode=device"]);
    let url = told_where(&waiting);
    // It asks on until somebody has signed in.
    std::thread::sleep(Duration::from_millis(2500));
    assert!(waiting.exited().unwrap().is_none(), "{}", waiting.output().unwrap());
    assert_eq!(provider.sign_in(&url), "200 Sign-in Success");
    is_anns(&server, waiting);
}

#[test]
fn a_browser_brings_a_code_in_the_address_or_in_a_form() {
    for mode in ["query", "form_post"] {
        let (server, port) = (Server::dev(), free_port().unwrap());
        let back = format!("http://localhost:{port}/oidc/callback");
        let Some(provider) = Provider::start(&server, &back) else { return };
        let role = json!({ "allowed_redirect_uris": back });
        rely(&server, &provider, &json!({ "oidc_response_mode": mode }), &role);
        let waiting = begin_login(&server, &[&format!("port={port}")]);
        let shown = provider.sign_in(&told_where(&waiting));
        assert!(shown.starts_with("200"), "{mode}: {shown}");
        is_anns(&server, waiting);
    }
}
