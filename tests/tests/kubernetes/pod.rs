//! A running pod proves who it is with the token that the kubelet put into it.

use crate::login::{ACCOUNTS, Setting, api_server};
use keyward_testkit::cluster::{BUSYBOX, Cluster, Component, Options, check};
use keyward_testkit::process::wait_for;
use keyward_testkit::require;
use keyward_tests::http::Client;
use keyward_tests::server::Server;
use serde_json::json;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The longest an API server and then the authority believe a token that they have seen, on a loaded machine.
const FORGOTTEN: Duration = Duration::from_secs(90);

/// They are on the node's own network, where the authority is too.
const POD: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: NAME, namespace: prod}
spec:
  serviceAccountName: api
  automountServiceAccountToken: false
  hostNetwork: true
  terminationGracePeriodSeconds: 0
  containers:
  - name: api
    image: BUSYBOX
    imagePullPolicy: Never
    command: [sleep, "3600"]
    volumeMounts: [{name: identity, mountPath: /var/run/keyward, readOnly: true}]
  volumes:
  - name: identity
    projected:
      sources:
      - serviceAccountToken: {audience: keyward, expirationSeconds: 600, path: token}
"#;

/// What the pod does: it shows its token, and reads a secret with what it is given for it.
const SCRIPT: &str = r#"
set -e
body="{\"role\":\"api\",\"jwt\":\"$(cat /var/run/keyward/token)\"}"
login=$(wget -q -O - --header 'Content-Type: application/json' --post-data "$body" URL/v1/auth/kubernetes/login)
token=$(printf '%s' "$login" | sed -n 's/.*"client_token":"\([^"]*\)".*/\1/p')
wget -O - --header "X-Vault-Token: $token" URL/v1/secret/data/api 2>&1 || true
"#;

/// What only one pod may read, by its name, its account and the node it runs on.
const RULES: &str = r#"
path "secret/data/api" {
  capabilities = ["read"]
  condition = "pod.name == 'api-1' && pod.namespace == 'prod' && pod.service_account == 'api' && pod.node == 'node' && has(pod.uid)"
}
"#;

fn start_pod(cluster: &Cluster, name: &str) {
    let manifest = POD.replace("NAME", name).replace("BUSYBOX", BUSYBOX);
    cluster.kubectl(&["apply", "--filename=-"], &manifest).unwrap();
    let ready = ["wait", "pod", name, "--namespace=prod", "--for=condition=Ready", "--timeout=150s"];
    cluster.kubectl(&ready, "").unwrap();
}

fn in_pod(cluster: &Cluster, pod: &str, command: &[&str]) -> String {
    cluster.kubectl(&[&["exec", "--namespace=prod", pod, "--"], command].concat(), "").unwrap()
}

fn prepare(setting: &Setting<'_>) {
    let root = setting.server.root();
    root.write("secret/data/api", &json!({ "data": { "password": "hunter2" } })).expect(200);
    root.write("sys/policies/acl/api", &json!({ "policy": RULES })).expect(204);
    root.write("sys/auth/kubernetes", &json!({ "type": "kubernetes" })).expect(204);
    let role = json!({
        "bound_service_account_names": "api",
        "bound_service_account_namespaces": "prod",
        "audience": "keyward",
        "token_policies": "api",
        "token_type": "batch",
        "token_ttl": "10m",
    });
    root.write("auth/kubernetes/role/api", &role).expect(204);
}

#[test]
fn a_pod_logs_in_with_the_token_that_was_put_into_it() {
    if !require(check(true)) {
        return;
    }
    let mut cluster = Cluster::start(Options::named("test-pod").with_node()).unwrap();
    cluster.kubectl(&["apply", "--filename=-"], ACCOUNTS).unwrap();
    let server = cluster.in_namespace(Server::dev).unwrap();
    ["api-1", "api-2"].iter().for_each(|pod| start_pod(&cluster, pod));
    cluster
        .in_namespace(|| {
            let setting = Setting { cluster: &cluster, server: &server };
            prepare(&setting);
            for verification in ["keys", "token-review"] {
                setting.configure(verification);
                pods_read_what_is_theirs(&setting);
            }
            a_deleted_pod_is_refused(&setting);
            a_slow_api_server_holds_up_nobody_else(&setting);
        })
        .unwrap();
    let jwt = in_pod(&cluster, "api-1", &["cat", "/var/run/keyward/token"]);
    cluster.stop_component(Component::ApiServer).unwrap();
    cluster
        .in_namespace(|| {
            let answer = log_in(&server.guest(), &jwt);
            assert_eq!(answer, (403, "1 error occurred:\n\t* permission denied\n\n".to_owned()));
        })
        .unwrap();
    let log = server.output();
    assert!(log.contains("the API server cannot be asked") && log.contains("cannot connect"), "{log}");
    assert!(!log.contains(&jwt), "a token is in the log");
}

fn log_in(client: &Client, jwt: &str) -> (u16, String) {
    let answer = client.write("auth/kubernetes/login", &json!({ "role": "api", "jwt": jwt }));
    let errors = answer.json()["errors"][0].as_str().unwrap_or_default().to_owned();
    (answer.status, errors)
}

fn pods_read_what_is_theirs(setting: &Setting<'_>) {
    let Setting { cluster, server } = setting;
    let script = SCRIPT.replace("URL", &server.url());
    let read = in_pod(cluster, "api-1", &["sh", "-c", &script]);
    assert!(read.contains("hunter2"), "{read}");
    let refused = in_pod(cluster, "api-2", &["sh", "-c", &script]);
    assert!(refused.contains("403 Forbidden") && !refused.contains("hunter2"), "{refused}");

    let jwt = in_pod(cluster, "api-1", &["cat", "/var/run/keyward/token"]);
    let (auth, _) = setting.holder(&jwt);
    let uid = ["get", "pod", "api-1", "--namespace=prod", "--output=jsonpath={.metadata.uid}"];
    assert_eq!(auth["metadata"]["pod_uid"], cluster.kubectl(&uid, "").unwrap());
    assert_eq!(
        (&auth["metadata"]["pod_name"], &auth["metadata"]["node_name"]),
        (&json!("api-1"), &json!("node"))
    );
}

fn a_deleted_pod_is_refused(setting: &Setting<'_>) {
    let Setting { cluster, server } = setting;
    let jwt = in_pod(cluster, "api-2", &["cat", "/var/run/keyward/token"]);
    assert_eq!(log_in(&server.guest(), &jwt).0, 200);
    cluster.kubectl(&["delete", "pod", "api-2", "--namespace=prod", "--timeout=60s"], "").unwrap();
    wait_for("the pod's token to be forgotten", FORGOTTEN, || {
        std::thread::sleep(Duration::from_secs(1));
        (log_in(&server.guest(), &jwt).0 == 403).then_some(())
    })
    .unwrap();
    // The account is there: another pod of it logs in.
    let other = in_pod(cluster, "api-1", &["cat", "/var/run/keyward/token"]);
    assert_eq!(log_in(&server.guest(), &other).0, 200);
}

/// Something between the authority and the API server that, once told so, takes what it is sent and answers nothing.
struct Slow {
    address: SocketAddr,
    stuck: Arc<AtomicBool>,
}

impl Slow {
    fn start(to: SocketAddr) -> Slow {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stuck = Arc::new(AtomicBool::new(false));
        let told = stuck.clone();
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let (Ok(far), told) = (TcpStream::connect(to), told.clone()) else { continue };
                let (Ok(back), Ok(forth)) = (far.try_clone(), near.try_clone()) else { continue };
                std::thread::spawn(move || pass_on(near, far, None));
                std::thread::spawn(move || pass_on(back, forth, Some(told)));
            }
        });
        Slow { address, stuck }
    }
}

/// Passes bytes on until the end; answers only while nobody says that they are to be held back.
fn pass_on(mut from: TcpStream, mut to: TcpStream, held: Option<Arc<AtomicBool>>) {
    use std::io::{Read, Write};
    let mut bytes = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        while held.as_ref().is_some_and(|held| held.load(Ordering::Relaxed)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        if to.write_all(&bytes[..length]).is_err() {
            return;
        }
    }
}

fn a_slow_api_server_holds_up_nobody_else(setting: &Setting<'_>) {
    let Setting { cluster, server } = setting;
    let (host, _) = api_server(cluster);
    let slow = Slow::start(host.strip_prefix("https://").unwrap().parse().unwrap());
    setting.configure_at("token-review", &format!("https://{}", slow.address));
    let jwt = in_pod(cluster, "api-1", &["cat", "/var/run/keyward/token"]);
    assert_eq!(log_in(&server.guest(), &jwt).0, 200);
    slow.stuck.store(true, Ordering::Relaxed);
    // One that was not looked at just now.
    let fresh = setting.token("api", "prod", "keyward");
    let (root, guest) = (server.root(), server.guest());
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..50).map(|_| scope.spawn(|| log_in(&guest, &fresh))).collect();
        for _ in 0..50 {
            root.read("secret/data/api").expect(200);
        }
        assert!(waiting.iter().all(|login| !login.is_finished()), "nobody was waited for");
        for login in waiting {
            // In bounded time, and without a word of why.
            let answer = login.join().unwrap();
            assert_eq!(answer, (403, "1 error occurred:\n\t* permission denied\n\n".to_owned()));
        }
    });
    let log = server.output();
    assert!(log.contains("the API server cannot be asked") && log.contains("no answer within 10 s"), "{log}");
    slow.stuck.store(false, Ordering::Relaxed);
    assert_eq!(log_in(&guest, &setting.token("api", "prod", "keyward")).0, 200);
    setting.configure("token-review");
}
