//! ServiceAccounts of a real API server log in.

use keyward_testkit::cluster::{Cluster, Component, Options, check};
use keyward_testkit::process::wait_for;
use keyward_testkit::require;
use keyward_tests::http::{Answer, Client};
use keyward_tests::server::Server;
use serde_json::{Value, json};
use std::time::Duration;

/// The longest an API server and then the authority believe a token that they have seen.
const FORGOTTEN: Duration = Duration::from_secs(60);

pub(crate) const ACCOUNTS: &str = r#"{"apiVersion":"v1","kind":"List","items":[
    {"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"reviewer","namespace":"default"}},
    {"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding","metadata":{"name":"reviewer"},
        "roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"system:auth-delegator"},
        "subjects":[{"kind":"ServiceAccount","name":"reviewer","namespace":"default"}]},
    {"apiVersion":"v1","kind":"Namespace","metadata":{"name":"prod"}},
    {"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"api","namespace":"prod"}},
    {"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"other","namespace":"prod"}}]}"#;

pub(crate) struct Setting<'c> {
    pub(crate) cluster: &'c Cluster,
    pub(crate) server: &'c Server,
}

impl Setting<'_> {
    pub(crate) fn token(&self, account: &str, namespace: &str, audience: &str) -> String {
        let audience = format!("--audience={audience}");
        let made =
            self.cluster.kubectl(&["create", "token", account, "--namespace", namespace, &audience], "");
        made.unwrap().trim().to_owned()
    }

    pub(crate) fn configure(&self, verification: &str) {
        self.configure_at(verification, &api_server(self.cluster).0);
    }

    /// The API server by another address, at which something stands before it.
    pub(crate) fn configure_at(&self, verification: &str, host: &str) {
        let (_, ca) = api_server(self.cluster);
        // The reviewer's own token is for the API server: it has the cluster's default audience.
        let reviewer = self.cluster.kubectl(&["create", "token", "reviewer"], "").unwrap();
        let config = json!({
            "kubernetes_host": host,
            "kubernetes_ca_cert": ca,
            "token_reviewer_jwt": reviewer.trim(),
            "disable_local_ca_jwt": true,
            "verification": verification,
        });
        self.server.root().write("auth/kubernetes/config", &config).expect(204);
    }

    fn log_in(&self, jwt: &str) -> Answer {
        log_in(self.server, jwt)
    }

    pub(crate) fn holder(&self, jwt: &str) -> (Value, Client) {
        let auth = self.log_in(jwt).expect(200).json()["auth"].clone();
        let client = self.server.guest().with_token(auth["client_token"].as_str().unwrap());
        (auth, client)
    }
}

/// The address of the API server, and the certificate it is believed by.
pub(crate) fn api_server(cluster: &Cluster) -> (String, String) {
    use base64::Engine as _;
    let view = cluster.kubectl(&["config", "view", "--raw", "--flatten", "--output=json"], "").unwrap();
    let view: Value = serde_json::from_str(&view).unwrap();
    let text = |name: &str| view["clusters"][0]["cluster"][name].as_str().unwrap().to_owned();
    let ca = base64::engine::general_purpose::STANDARD.decode(text("certificate-authority-data")).unwrap();
    (text("server"), String::from_utf8(ca).unwrap())
}

#[test]
fn a_service_account_reads_a_secret_for_as_long_as_it_exists() {
    if !require(check(false)) {
        return;
    }
    let mut cluster = Cluster::start(Options::named("test-login")).unwrap();
    cluster.kubectl(&["apply", "--filename=-"], ACCOUNTS).unwrap();
    let server = cluster.in_namespace(Server::dev).unwrap();
    let setting = Setting { cluster: &cluster, server: &server };
    let jwt = cluster.in_namespace(|| {
        prepare(&setting);
        for verification in ["token-review", "keys"] {
            setting.configure(verification);
            reads_what_its_policy_lets_it(&setting);
            strangers_are_refused(&setting);
        }
        setting.configure("token-review");
        a_deleted_account_is_refused(&setting);
        setting.token("other", "prod", "keyward")
    });
    let jwt = jwt.unwrap();
    cluster.stop_component(Component::ApiServer).unwrap();
    let refused = cluster.in_namespace(|| {
        let role = json!({"bound_service_account_names": "other"});
        server.root().write("auth/kubernetes/role/api", &role).expect(204);
        log_in(&server, &jwt)
    });
    refused.unwrap().expect(403);
    assert!(server.output().contains("the API server cannot be asked"), "{}", server.output());
}

fn log_in(server: &Server, jwt: &str) -> Answer {
    server.guest().write("auth/kubernetes/login", &json!({"role": "api", "jwt": jwt}))
}

fn prepare(setting: &Setting<'_>) {
    let root = setting.server.root();
    root.write("secret/data/api", &json!({"data": {"password": "hunter2"}})).expect(200);
    let rules = r#"path "secret/data/api" { capabilities = ["read"] }"#;
    root.write("sys/policies/acl/api", &json!({ "policy": rules })).expect(204);
    root.write("sys/auth/kubernetes", &json!({"type": "kubernetes"})).expect(204);
    let role = json!({
        "bound_service_account_names": "api",
        "bound_service_account_namespaces": "prod",
        "audience": "keyward",
        "token_policies": "api",
        "token_ttl": "10m",
        "token_type": "batch",
    });
    root.write("auth/kubernetes/role/api", &role).expect(204);
}

fn reads_what_its_policy_lets_it(setting: &Setting<'_>) {
    let (auth, client) = setting.holder(&setting.token("api", "prod", "keyward"));
    assert_eq!(auth["metadata"]["service_account_name"], "api");
    assert_eq!(auth["metadata"]["service_account_namespace"], "prod");
    let uid = setting.cluster.kubectl(
        &["get", "serviceaccount", "api", "--namespace=prod", "--output=jsonpath={.metadata.uid}"],
        "",
    );
    assert_eq!(auth["metadata"]["service_account_uid"], uid.unwrap());
    assert_eq!(auth["token_type"], "batch");
    let read = client.read("secret/data/api").expect(200).json();
    assert_eq!(read["data"]["data"]["password"], "hunter2");
    client.read("secret/data/other").expect(403);
}

fn strangers_are_refused(setting: &Setting<'_>) {
    for jwt in [
        setting.token("other", "prod", "keyward"),
        setting.token("api", "prod", "somebody-else"),
        setting.token("reviewer", "default", "keyward"),
        "no.jwt.atall".to_owned(),
    ] {
        setting.log_in(&jwt).expect(403);
    }
    let mut altered = setting.token("api", "prod", "keyward");
    let last = altered.pop().unwrap();
    altered.push(if last == 'A' { 'Q' } else { 'A' });
    setting.log_in(&altered).expect(403);
}

fn a_deleted_account_is_refused(setting: &Setting<'_>) {
    let jwt = setting.token("api", "prod", "keyward");
    setting.log_in(&jwt).expect(200);
    setting.cluster.kubectl(&["delete", "serviceaccount", "api", "--namespace=prod"], "").unwrap();
    let refused = wait_for("the token to be forgotten", FORGOTTEN, || {
        std::thread::sleep(Duration::from_secs(1));
        (setting.log_in(&jwt).status == 403).then_some(())
    });
    refused.unwrap();
    let log = setting.server.output();
    assert!(log.contains("deleted or recreated") || log.contains("lookup failed"), "{log}");
}
