//! The webhook over TLS, beside one that only answers; and what it keeps in memory.

use super::cluster::Policies;
use super::{POD_SECURITY, pods, unmatched};
use crate::Failure;
use crate::api_server::ApiServer;
use crate::bare;
use crate::load::{self, Ask};
use crate::measure::{Case, Effort, Sample, figure, in_turn, median, ratio};
use crate::server::Server;
use crate::tls::Tls;
use keyward_admission::yaml;
use keyward_testkit::process::free_port;
use serde_json::{Value, json};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The part of the rate of a webhook that only answers that is to be reached.
const RATE: f64 = 0.6;
/// MB that it may keep with 500 policies.
const MEMORY: f64 = 30.0;
const CONNECTIONS: usize = 16;
/// How long the program has to read its policies.
const START: Duration = Duration::from_secs(20);

pub(super) fn figures(program: &Path, span: Duration) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let tls = Tls::new(folder.path())?;
    let policies = yaml::values(POD_SECURITY)?;
    rates(program, folder.path(), &tls, &policies, span)?;
    let many = policies.into_iter().chain(yaml::values(&unmatched(483))?).collect::<Vec<Value>>();
    let count = many.len();
    let cluster = ApiServer::start(Arc::new(Policies(many)))?;
    let served = serve(program, folder.path(), &tls, &cluster)?;
    let idle = served.memory_at_rest()?;
    figure(
        "admission-memory-idle",
        idle / MEMORY,
        format!("{idle:.1} MB of {MEMORY} MB with {count} policies"),
    )
}

/// Reviews a second, by one policy and by all, beside a webhook that reads the review and allows it.
fn rates(
    program: &Path,
    folder: &Path,
    tls: &Tls,
    policies: &[Value],
    span: Duration,
) -> Result<(), Failure> {
    let all = ApiServer::start(Arc::new(Policies(policies.to_vec())))?;
    let one = ApiServer::start(Arc::new(Policies(policies[..1].to_vec())))?;
    let [all, one] = [serve(program, folder, tls, &all)?, serve(program, folder, tls, &one)?];
    let ask = Ask::new("POST", "/validate/fail", "", &review()?.to_string()).over(tls.connector.clone());
    let echo = Server::start(bare::command(0)?.arg(&tls.certificate).arg(&tls.key))?;
    let case = |server| Case { server, ask: &ask, connections: CONNECTIONS };
    let [all, one, echo] = in_turn(Effort { rounds: 7, span }, [case(&all), case(&one), case(&echo)])?;
    let of = |samples: &[Sample]| median(samples, |sample| sample.rate);
    let count = policies.len();
    for (name, ours, by, wanted) in [
        ("admission-webhook-rate", &one, "one policy".to_owned(), format!("; wanted {RATE}")),
        ("admission-webhook-rate-of-all", &all, format!("{count} policies"), String::new()),
    ] {
        let behind = format!("{:.0} reviews a second by {by}; an echo {:.0}{wanted}", of(ours), of(&echo));
        figure(name, ratio(ours, &echo, |sample| sample.rate), behind)?;
    }
    Ok(())
}

/// The program, once it has read the policies of a cluster.
fn serve(program: &Path, folder: &Path, tls: &Tls, cluster: &ApiServer) -> Result<Server, Failure> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let kubeconfig = folder.join(format!("{}.kubeconfig", address.port()));
    fs::write(&kubeconfig, cluster.kubeconfig())?;
    let mut command = Command::new(program);
    command.args(["policy", "serve", "--identity", "bench", "--reports", "none"]);
    command.args(["--url", &format!("https://{address}"), "--listen", &address.to_string()]);
    command.arg("--kubeconfig").arg(kubeconfig);
    command.arg("--tls-certificate").arg(&tls.certificate).arg("--tls-key").arg(&tls.key);
    command.arg("--tls-authorities").arg(&tls.authority);
    let server = Server::silent(&mut command, address)?;
    let ready = Ask::new("GET", "/readyz", "", "").over(tls.connector.clone());
    let began = Instant::now();
    while let Err(why) = load::once(address, &ready) {
        if began.elapsed() > START {
            return Err(format!("policies are not served: {why}").into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(server)
}

/// What the API server asks about a pod that is made.
fn review() -> Result<Value, Failure> {
    let pod = yaml::values(&pods::text(1))?.into_iter().next().ok_or("there is no pod")?;
    Ok(json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "operation": "CREATE", "dryRun": false,
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "requestKind": {"group": "", "version": "v1", "kind": "Pod"},
            "requestResource": {"group": "", "version": "v1", "resource": "pods"},
            "name": pod["metadata"]["name"], "namespace": pod["metadata"]["namespace"],
            "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller", "groups": ["system:authenticated"]},
            "object": pod, "oldObject": null, "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
        },
    }))
}
