//! What sealed objects cost when a pod that asks for them is made.

use crate::Failure;
use crate::load::{self, Ask};
use crate::measure;
use crate::server::Server;
use crate::tls::Tls;
use keyward_testkit::process::free_port;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Microseconds of processor time that a pod with [`OBJECTS`] objects may cost.
const BUDGET: f64 = 5_000.0;
const OBJECTS: usize = 10;
/// How long the program has to listen.
const START: Duration = Duration::from_secs(10);

/// A pod with ten objects is asked about over one connection, for `span`.
pub(super) fn figure(program: &Path, span: Duration) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let tls = Tls::new(folder.path())?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let mut command = Command::new(program);
    command.args(["inject", "serve", "--image", "keyward:latest", "--log-level", "warn"]);
    command.args(["--listen", &address.to_string()]);
    command.arg("--tls-cert").arg(&tls.certificate).arg("--tls-key").arg(&tls.key);
    command.env("VAULT_ADDR", "https://authority.example.org:8200");
    let injector = Server::silent(&mut command, address)?;
    let ask = Ask::new("POST", "/inject", "", &review().to_string()).over(tls.connector);
    let began = Instant::now();
    let answer = loop {
        match load::once(address, &ask) {
            Ok(answer) => break answer,
            Err(why) if began.elapsed() > START => return Err(format!("nobody injects: {why}").into()),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let answer: Value = serde_json::from_str(&answer)?;
    if answer["response"]["allowed"] != true || answer["response"]["patch"].is_null() {
        return Err(format!("the pod has no agent: {answer}").into());
    }
    let before = injector.cpu()?;
    let load = load::run(address, &ask, 1, span)?;
    let cpu = (injector.cpu()? - before) / load.requests as f64;
    measure::figure(
        "admission-of-ten-objects",
        cpu / BUDGET,
        format!("{cpu:.0} us of processor time of {BUDGET:.0} us, TLS included, for a pod with {OBJECTS}"),
    )
}

/// What the API server asks about a Deployment's pod.
fn review() -> Value {
    let objects: Vec<String> = (0..OBJECTS).map(|at| format!("db-{at}")).collect();
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "operation": "CREATE", "dryRun": false,
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "bench",
            "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
            "object": {
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"generateName": "web-", "annotations": {"keyward.io/inject": objects.join(",")}},
                "spec": {"serviceAccountName": "web", "containers": [
                    {"name": "web", "image": "web", "resources": {"limits": {"memory": "64Mi"}}},
                    {"name": "proxy", "image": "proxy", "ports": [{"containerPort": 8443}]},
                ]},
            },
        },
    })
}
