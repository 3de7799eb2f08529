//! A workload's way from its own token to a database user that nobody else has, and that goes when its pod is revoked.

use crate::login::{ACCOUNTS, Setting};
use keyward_testkit::cluster::{Cluster, Options, check};
use keyward_testkit::process::run;
use keyward_testkit::require;
use keyward_tests::binary::keyward;
use keyward_tests::databases::{PASSWORD, Postgres};
use keyward_tests::http::Client;
use keyward_tests::server::{SOON, Server};
use serde_json::{Value, json};
use std::process::Command;

const PODS: &str = r#"{"apiVersion":"v1","kind":"List","items":[
    {"apiVersion":"v1","kind":"Pod","metadata":{"name":"api-1","namespace":"prod"},
        "spec":{"serviceAccountName":"api","containers":[{"name":"api","image":"api"}]}},
    {"apiVersion":"v1","kind":"Pod","metadata":{"name":"api-2","namespace":"prod"},
        "spec":{"serviceAccountName":"api","containers":[{"name":"api","image":"api"}]}}]}"#;

/// A token as the kubelet has it made for a pod: bound to it.
fn token_of(cluster: &Cluster, pod: &str) -> String {
    let arguments = [
        "create",
        "token",
        "api",
        "--namespace=prod",
        "--audience=keyward",
        "--bound-object-kind=Pod",
        &format!("--bound-object-name={pod}"),
    ];
    cluster.kubectl(&arguments, "").unwrap().trim().to_owned()
}

fn configure(root: &Client, postgres: &Postgres) {
    root.write("sys/mounts/database", &json!({ "type": "database" })).expect(204);
    let config = json!({
        "plugin_name": "postgresql-database-plugin",
        "allowed_roles": "api-role",
        "connection_url": postgres.url(),
        "username": "postgres",
        "password": PASSWORD,
    });
    root.write("database/config/postgres", &config).expect(204);
    let creation = "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'; \
                    GRANT SELECT ON ALL TABLES IN SCHEMA public TO \"{{name}}\";";
    let role = json!({
        "db_name": "postgres", "creation_statements": creation, "default_ttl": "1h", "max_ttl": "24h",
    });
    root.write("database/roles/api-role", &role).expect(204);
    let rules = r#"path "database/creds/api-role" { capabilities = ["read"] }"#;
    root.write("sys/policies/acl/api", &json!({ "policy": rules })).expect(204);
    root.write("sys/auth/kubernetes", &json!({ "type": "kubernetes" })).expect(204);
    let role = json!({
        "bound_service_account_names": "api",
        "bound_service_account_namespaces": "prod",
        "audience": "keyward",
        "token_policies": "api",
        "token_ttl": "20m",
    });
    root.write("auth/kubernetes/role/api", &role).expect(204);
}

fn works(postgres: &Postgres, made: &Value) -> bool {
    let text = |name: &str| made["data"][name].as_str().unwrap();
    postgres.try_sql(text("username"), text("password"), "SELECT 1").is_ok()
}

fn revoke(server: &Server, pod: &str) {
    let mut command = Command::new(keyward());
    command.env("VAULT_ADDR", server.url()).env("VAULT_TOKEN", &server.keys().root);
    let done = run(command.args(["lease", "revoke", "--pod", pod]), b"", SOON).unwrap();
    assert!(done.status.success(), "{}", done.stderr);
}

#[test]
fn a_pod_has_a_database_user_of_its_own_until_it_is_revoked() {
    if !require(check(false)) {
        return;
    }
    let cluster = Cluster::start(Options::named("test-workload")).unwrap();
    cluster.kubectl(&["apply", "--filename=-"], ACCOUNTS).unwrap();
    cluster.kubectl(&["apply", "--filename=-"], PODS).unwrap();
    let tokens = ["api-1", "api-2"].map(|pod| token_of(&cluster, pod));
    let finished = cluster.in_namespace(|| {
        let Some(postgres) = Postgres::start() else { return };
        let server = Server::dev();
        let root = server.root();
        configure(&root, &postgres);
        let setting = Setting { cluster: &cluster, server: &server };
        for verification in ["token-review", "keys"] {
            setting.configure(verification);
            let [(auth, one), (_, two)] = tokens.each_ref().map(|jwt| setting.holder(jwt));
            assert_eq!(auth["metadata"]["pod_name"], "api-1");
            assert!(!auth["metadata"]["pod_uid"].as_str().unwrap().is_empty());
            let [first, second] =
                [&one, &two].map(|client| client.read("database/creds/api-role").expect(200).json());
            assert_eq!(first["lease_duration"], 3600);
            assert_ne!(first["data"]["username"], second["data"]["username"]);
            assert!(works(&postgres, &first) && works(&postgres, &second));
            revoke(&server, "prod/api-1");
            assert!(!works(&postgres, &first) && works(&postgres, &second));
            one.read("auth/token/lookup-self").expect(403);
            two.read("auth/token/lookup-self").expect(200);
            revoke(&server, "prod/api-2");
            assert!(postgres.made().is_empty());
        }
    });
    finished.unwrap();
}
