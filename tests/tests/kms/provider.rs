//! The plugin's ways to its provider: the transit engine of the real authority, and an age identity.

use keyward_testkit::process::wait_for;
use keyward_tests::kms::{Plugin, stdout};
use keyward_tests::server::{SOON, Server};
use rustix::process::Signal;
use serde_json::json;

const POLICY: &str = r#"
path "transit/keys/kube" { capabilities = ["read"] }
path "transit/encrypt/kube" { capabilities = ["update"] }
path "transit/decrypt/kube" { capabilities = ["update"] }
"#;

/// A transit key, and an AppRole that may use it for as long as `ttl` at a time.
fn prepared(ttl: &str) -> Server {
    let server = Server::dev();
    let root = server.root();
    root.write("sys/mounts/transit", &json!({"type": "transit"}));
    root.write("transit/keys/kube", &json!({})).expect(200);
    root.write("sys/policies/acl/kms", &json!({"policy": POLICY})).expect(204);
    root.write("sys/auth/approle", &json!({"type": "approle"})).expect(204);
    let role = json!({"token_policies": ["kms"], "token_ttl": ttl, "token_max_ttl": "1h"});
    root.write("auth/approle/role/kms", &role).expect(204);
    server
}

fn by_role(server: &Server) -> Plugin {
    let root = server.root();
    let role_id = root.read("auth/approle/role/kms/role-id").data()["role_id"].as_str().unwrap().to_owned();
    let secret = root.write("auth/approle/role/kms/secret-id", &json!({})).data();
    let plugin = Plugin::stopped(&server.url(), &[]);
    let role_id = plugin.secret("role-id", &role_id);
    let secret_id = plugin.secret("secret-id", secret["secret_id"].as_str().unwrap());
    let files = [role_id.to_str().unwrap(), secret_id.to_str().unwrap()];
    plugin.with(&["--key", "kube", "--role-id-file", files[0], "--secret-id-file", files[1]])
}

#[test]
fn an_approle_with_least_rights_is_enough() {
    let server = prepared("20m");
    let plugin = by_role(&server).started();
    plugin.key_id().unwrap();
    let doctor = plugin.kms(&["doctor", "--state", plugin.state().to_str().unwrap()]);
    assert!(doctor.status.success(), "{}{}", stdout(&doctor), doctor.stderr);
}

#[test]
fn short_tokens_are_renewed_and_revoked_ones_replaced() {
    let server = prepared("3s");
    let mut plugin = by_role(&server).started();
    let key_id = plugin.key_id().unwrap();
    // Three lives of the token.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(9);
    while std::time::Instant::now() < until {
        assert_eq!(plugin.key_id().as_ref(), Ok(&key_id));
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let root = server.root();
    for accessor in root.list("auth/token/accessors").data()["keys"].as_array().unwrap() {
        let of = json!({"accessor": accessor});
        let policies = root.write("auth/token/lookup-accessor", &of).data()["policies"].clone();
        if policies.as_array().is_some_and(|policies| policies.contains(&json!("kms"))) {
            root.write("auth/token/revoke-accessor", &of).expect(204);
        }
    }
    plugin.process().signal(Signal::HUP).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(12));
    assert_eq!(plugin.wait_for_key(|_| true), key_id, "a login replaces the revoked token");
}

#[test]
fn a_provider_that_refuses_stops_at_once_and_says_why() {
    let server = prepared("20m");
    let plugin = by_role(&server).started();
    plugin.key_id().unwrap();
    let less = POLICY.replace("transit/decrypt/kube", "transit/decrypt/other");
    server.root().write("sys/policies/acl/kms", &json!({"policy": less})).expect(204);
    let refused = wait_for("the status to fail", SOON, || plugin.key_id().err()).unwrap();
    assert!(refused.contains("permission denied"), "a lost decrypt must not look healthy: {refused}");
    server.root().write("sys/policies/acl/kms", &json!({"policy": POLICY})).expect(204);
    plugin.wait_for_key(|_| true);
}

#[test]
fn a_replaced_key_is_not_followed() {
    let server = prepared("20m");
    let plugin = by_role(&server).started();
    plugin.key_id().unwrap();
    let root = server.root();
    root.write("transit/keys/kube/config", &json!({"deletion_allowed": true})).expect(200);
    // The moment a key was made is told in seconds.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    root.delete("transit/keys/kube").expect(204);
    root.write("transit/keys/kube", &json!({})).expect(200);
    let refused =
        wait_for("the status to fail", SOON, || plugin.key_id().err().filter(|why| why.contains("rotate")));
    assert!(refused.is_ok(), "{:?}: {}", plugin.key_id(), plugin.output());
}

#[test]
fn a_key_of_the_wrong_kind_is_named() {
    let server = prepared("20m");
    server.root().write("transit/keys/signing", &json!({"type": "ed25519"})).expect(200);
    let plugin = Plugin::stopped(&server.url(), &[]);
    let token = plugin.secret("token", &server.keys().root);
    let plugin = plugin.with(&["--key", "signing", "--token-file", token.to_str().unwrap()]).started();
    let refused = plugin.key_id().unwrap_err();
    assert!(refused.contains("aes256-gcm96"), "{refused}");
}
