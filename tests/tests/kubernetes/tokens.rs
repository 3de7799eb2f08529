//! Tokens of ServiceAccounts made on demand, judged by the API server that they are for.

use crate::login::api_server;
use keyward_testkit::cluster::{Cluster, Component, Options, check};
use keyward_testkit::process::{Finished, run, wait_for};
use keyward_testkit::require;
use keyward_tests::http::Client;
use keyward_tests::server::{ON_DISK, SOON, Server};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What Keyward may do, as it is shipped.
const RIGHTS: &str = include_str!("../../../deploy/kubernetes/tokens.yaml");

const OBJECTS: &str = r#"{"apiVersion":"v1","kind":"List","items":[
    {"apiVersion":"v1","kind":"Namespace","metadata":{"name":"prod","labels":{"tier":"gold"}}},
    {"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"deployer","namespace":"prod"}},
    {"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"name":"deployer","namespace":"prod"},
        "roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"view"},
        "subjects":[{"kind":"ServiceAccount","name":"deployer","namespace":"prod"}]}]}"#;

/// The longest an API server believes a token that it has seen, on a loaded machine.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// Longer than what a process that died had for what it had begun.
const PATIENCE: Duration = Duration::from_secs(150);
/// Each ends in a `kill -9`.
const DEATHS: u64 = 15;

fn configure(cluster: &Cluster, root: &Client) {
    let (host, ca) = api_server(cluster);
    root.write("sys/mounts/kubernetes", &json!({ "type": "kubernetes" })).expect(204);
    let config = json!({
        "kubernetes_host": host,
        "kubernetes_ca_cert": ca,
        "service_account_jwt": cluster.kubectl(&["create", "token", "keyward"], "").unwrap(),
        "disable_local_ca_jwt": true,
    });
    root.write("kubernetes/config", &config).expect(204);
    let rules = "rules: [{apiGroups: [''], resources: [pods], verbs: [list]}]";
    for (name, way) in [
        ("existing", json!({ "service_account_name": "deployer" })),
        ("bound", json!({ "kubernetes_role_name": "view", "kubernetes_role_type": "ClusterRole" })),
        ("generated", json!({ "generated_role_rules": rules })),
        ("everywhere", json!({ "generated_role_rules": rules, "kubernetes_role_type": "ClusterRole" })),
    ] {
        let mut role = json!({
            "allowed_kubernetes_namespaces": "default",
            "allowed_kubernetes_namespace_selector": "matchLabels: {tier: gold}",
            "token_default_ttl": "1h",
        });
        role.as_object_mut().unwrap().extend(way.as_object().unwrap().clone());
        root.write(&format!("kubernetes/roles/{name}"), &role).expect(204);
    }
}

/// `kubectl` with this token and no other credential.
fn kubectl_as(cluster: &Cluster, token: &str, arguments: &[&str]) -> Finished {
    let ca = cluster.folder().join("credentials/ca.crt");
    let (server, _) = api_server(cluster);
    let mut command = cluster.kubectl_command();
    command.env("KUBECONFIG", "/dev/null").args([
        &format!("--server={server}"),
        &format!("--certificate-authority={}", ca.display()),
        &format!("--token={token}"),
    ]);
    run(command.args(arguments), b"", SOON).unwrap()
}

/// Everything that Keyward made and has not deleted.
fn made(cluster: &Cluster) -> Vec<String> {
    let kinds = "secrets,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings";
    let arguments = [
        "get",
        kinds,
        "--all-namespaces",
        "--selector=app.kubernetes.io/managed-by=keyward",
        "--output=name",
    ];
    cluster.kubectl(&arguments, "").unwrap().lines().map(str::to_owned).collect()
}

fn creds(client: &Client, role: &str, body: &Value) -> Value {
    client.write(&format!("kubernetes/creds/{role}"), body).expect(200).json()
}

#[test]
fn tokens_work_until_their_leases_are_revoked() {
    if !require(check(false)) {
        return;
    }
    let mut cluster = Cluster::start(Options::named("test-tokens")).unwrap();
    cluster.kubectl(&["apply", "--filename=-"], OBJECTS).unwrap();
    cluster.kubectl(&["apply", "--filename=-"], RIGHTS).unwrap();
    let server = cluster.in_namespace(Server::dev).unwrap();
    cluster.in_namespace(|| each_way(&cluster, &server)).unwrap();
    let client = server.root();
    let made_of = |role: &str| creds(&client, role, &json!({ "kubernetes_namespace": "prod" }));
    let left = cluster.in_namespace(|| made_of("generated")).unwrap();
    cluster.stop_component(Component::ApiServer).unwrap();
    let lease = json!({ "lease_id": left["lease_id"] });
    cluster
        .in_namespace(|| {
            let body = json!({ "kubernetes_namespace": "prod" });
            let refused = client.write("kubernetes/creds/bound", &body);
            // Its labels cannot be had, or it cannot be asked to make anything.
            assert_eq!(refused.status, 502, "{}", refused.text());
            client.write("sys/leases/revoke", &lease).expect(204);
        })
        .unwrap();
    cluster.start_component(Component::ApiServer).unwrap();
    cluster.wait_ready(PATIENCE).unwrap();
    wait_for("what was made to be deleted", PATIENCE, || made(&cluster).is_empty().then_some(())).unwrap();
}

fn each_way(cluster: &Cluster, server: &Server) {
    let root = server.root();
    configure(cluster, &root);
    root.read("kubernetes/check").expect(204);
    let pods = ["get", "pods", "--namespace=prod"];
    for (role, body, account, objects) in [
        ("existing", json!({}), Some("deployer"), 1),
        ("bound", json!({}), None, 2),
        ("generated", json!({}), None, 3),
        ("everywhere", json!({ "cluster_role_binding": true }), None, 3),
    ] {
        let mut body = body;
        body["kubernetes_namespace"] = json!("prod");
        let answer = creds(&root, role, &body);
        let text = |name: &str| answer["data"][name].as_str().unwrap().to_owned();
        let token = text("service_account_token");
        assert!(account.is_none_or(|account| account == text("service_account_name")), "{answer}");
        let used = kubectl_as(cluster, &token, &pods);
        assert!(used.status.success(), "{role}: {}", used.stderr);
        let more = kubectl_as(cluster, &token, &["get", "nodes"]);
        assert!(!more.status.success() && more.stderr.contains("forbidden"), "{role}: {}", more.stderr);
        let elsewhere = kubectl_as(cluster, &token, &["get", "pods", "--namespace=default"]);
        assert_eq!(elsewhere.status.success(), role == "everywhere", "{role}: {}", elsewhere.stderr);
        assert_eq!(made(cluster).len(), objects, "{role}: {:?}", made(cluster));
        root.write("sys/leases/revoke", &json!({ "lease_id": answer["lease_id"] })).expect(204);
        assert_eq!(made(cluster), [""; 0], "{role}");
        wait_for("the token to be forgotten", FORGOTTEN, || {
            let used = kubectl_as(cluster, &token, &pods);
            (!used.status.success() && used.stderr.contains("Unauthorized")).then_some(())
        })
        .unwrap_or_else(|late| panic!("{role}: {late}"));
    }
    let other = json!({ "kubernetes_namespace": "kube-system" });
    root.write("kubernetes/creds/bound", &other).expect(400);
    without_rights_nothing_is_left(cluster, &root);
}

/// The last thing that is made is refused: what was made before goes.
fn without_rights_nothing_is_left(cluster: &Cluster, root: &Client) {
    let patch = |verbs: &str| {
        let rules = format!(
            r#"[{{"op":"replace","path":"/rules/0","value":{{"apiGroups":[""],"resources":["serviceaccounts/token"],
                "verbs":["{verbs}"]}}}}]"#
        );
        let arguments =
            ["patch", "clusterrole", "keyward-tokens", "--type=json", &format!("--patch={rules}")];
        cluster.kubectl(&arguments, "").unwrap();
    };
    patch("get");
    let body = json!({ "kubernetes_namespace": "prod" });
    let refused = wait_for("the right to be gone", FORGOTTEN, || {
        let answer = root.write("kubernetes/creds/generated", &body);
        (answer.status == 502).then_some(answer)
    });
    let refused = refused.unwrap().text();
    assert!(refused.contains("HTTP status 403") && refused.contains("serviceaccounts/token"), "{refused}");
    root.write("sys/leases/revoke-prefix/kubernetes", &json!({})).expect(204);
    wait_for("what was made to be deleted", FORGOTTEN, || made(cluster).is_empty().then_some(())).unwrap();
    patch("create");
}

/// Makes tokens, and takes some of them back, until the server is gone.
fn busy(client: &Client, stop: &AtomicBool) {
    for round in 0.. {
        let role = ["existing", "bound", "generated"][round % 3];
        let body = json!({ "kubernetes_namespace": "prod" });
        let path = format!("/v1/kubernetes/creds/{role}");
        let Ok(answer) = client.request("POST", &path).json(&body).try_send() else { return };
        if answer.status != 200 || stop.load(Ordering::Relaxed) {
            return;
        }
        let lease = json!({ "lease_id": answer.json()["lease_id"] });
        if round % 2 == 1 && client.request("PUT", "/v1/sys/leases/revoke").json(&lease).try_send().is_err() {
            return;
        }
    }
}

#[test]
fn nothing_is_orphaned_whenever_the_machine_dies() {
    if !require(check(false)) {
        return;
    }
    let cluster = Cluster::start(Options::named("test-orphans")).unwrap();
    cluster.kubectl(&["apply", "--filename=-"], OBJECTS).unwrap();
    cluster.kubectl(&["apply", "--filename=-"], RIGHTS).unwrap();
    let finished = cluster.in_namespace(|| {
        let mut server = Server::unsealed(ON_DISK);
        configure(&cluster, &server.root());
        for death in 0..DEATHS {
            let (client, stop) = (server.root(), AtomicBool::new(false));
            std::thread::scope(|scope| {
                scope.spawn(|| busy(&client, &stop));
                // Another moment each time: a call takes the API server some milliseconds.
                std::thread::sleep(Duration::from_millis(20 + death * 37 % 150));
                server.restart();
                stop.store(true, Ordering::Relaxed);
            });
            server.unseal();
        }
        let root = server.root();
        root.write("sys/leases/revoke-prefix/kubernetes", &json!({})).expect(204);
        let gone = || {
            let no_lease = root.list("sys/leases/lookup/kubernetes").status == 404;
            (no_lease && made(&cluster).is_empty()).then_some(())
        };
        wait_for("everything to be gone", PATIENCE, gone)
            .unwrap_or_else(|late| panic!("{late}: {:?}: {}", made(&cluster), server.output()));
    });
    finished.unwrap();
}
