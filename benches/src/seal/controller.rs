//! The controller of a cluster with many sealed objects: what it keeps in memory, and what it ever took.

use super::authority;
use crate::Failure;
use crate::api_server::{ApiServer, Content, Watches, missing};
use crate::measure::figure;
use crate::server::Server;
use http::{Method, StatusCode, Uri};
use keyward_intent::SealedSecret;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// MB that the controller may keep with 10,000 objects.
const MEMORY: f64 = 40.0;
/// How long it may take to register one object, with much to spare.
const PATIENCE: Duration = Duration::from_millis(50);

const POLICY: &str = r#"
path "sealed/objects"   { capabilities = ["list"] }
path "sealed/objects/*" { capabilities = ["create", "read", "update", "delete", "list"] }
"#;

/// Where all sealed objects are listed and watched, and where those of the namespace are.
const ALL: &str = "/apis/keyward.io/v1alpha1/sealedsecrets";
const OURS: &str = "/apis/keyward.io/v1alpha1/namespaces/bench/sealedsecrets/";

/// Starts the controller in a cluster of `wanted` objects, and waits until each has a status that says it is ready.
pub(super) fn figures(program: &Path, wanted: usize) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let (keyward, sealed) = authority::start(program, &folder.path().join("data"))?;
    keyward.manage("PUT", "sys/policies/acl/seal-controller", &json!({ "policy": POLICY }))?;
    let (token, kubeconfig) = (folder.path().join("token"), folder.path().join("kubeconfig"));
    fs::write(&token, keyward.pod("seal-controller")?)?;
    for phase in ["git", "bootstrap"] {
        keyward.manage("POST", "sealed/phase", &json!({ "phase": phase, "reason": "a benchmark" }))?;
    }
    let objects = Arc::new(Objects::applied(&sealed, wanted)?);
    let cluster = ApiServer::start(objects.clone())?;
    fs::write(&kubeconfig, cluster.kubeconfig())?;
    let mut command = Command::new(program);
    command.args(["seal", "serve", "--identity=bench", "--lease=", "--role=bench", "--log-level=warn"]);
    command.arg("--kubeconfig").arg(&kubeconfig).arg("--token-file").arg(&token);
    command.env("VAULT_ADDR", format!("http://{}", keyward.server.address));
    let began = Instant::now();
    let controller = Server::silent(&mut command, cluster.address)?;
    while objects.ready() < wanted {
        if began.elapsed() > PATIENCE * wanted as u32 {
            return Err(format!("{} of {wanted} objects are ready", objects.ready()).into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let rate = wanted as f64 / began.elapsed().as_secs_f64();
    let kept = controller.memory_at_rest()?;
    let peak = controller.peak()?;
    let behind = format!("{kept:.1} MB of {MEMORY} MB with {wanted} objects; {rate:.0} registered a second");
    figure("controller-memory", kept / MEMORY, behind)?;
    figure("controller-memory-peak", peak / MEMORY, format!("{peak:.1} MB while it registered them"))
}

/// Sealed objects of the namespace `bench` by number, as `kubectl apply` makes them.
struct Objects {
    object: Value,
    statuses: Mutex<Vec<Value>>,
}

impl Objects {
    fn applied(sealed: &SealedSecret, count: usize) -> Result<Objects, Failure> {
        let mut object = serde_json::to_value(sealed)?;
        let applied = object.to_string();
        let fields = json!({"f:metadata": {"f:annotations": {".": {}, "f:kubectl.kubernetes.io/last-applied-configuration": {}}}, "f:spec": {".": {}}});
        object["metadata"] = json!({
            "namespace": "bench", "generation": 1, "creationTimestamp": "2026-11-22T00:00:00Z",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": applied},
            "managedFields": [{"apiVersion": "keyward.io/v1alpha1", "manager": "kubectl-client-side-apply", "operation": "Update",
                "time": "2026-11-22T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": fields}],
        });
        Ok(Objects { object, statuses: Mutex::new(vec![Value::Null; count]) })
    }

    fn statuses(&self) -> std::sync::MutexGuard<'_, Vec<Value>> {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ready(&self) -> usize {
        let ready = json!({"type": "Ready", "status": "True"});
        let is_ready = |status: &&Value| {
            let mut conditions = status["conditions"].as_array().into_iter().flatten();
            conditions.any(|one| one["type"] == ready["type"] && one["status"] == ready["status"])
        };
        self.statuses().iter().filter(is_ready).count()
    }

    fn object(&self, number: usize, status: &Value) -> Value {
        let mut object = self.object.clone();
        object["metadata"]["name"] = json!(format!("db-{number}"));
        object["metadata"]["uid"] = json!(format!("5f0c4ff4-1f5d-4b3e-9f5f-{number:012x}"));
        object["metadata"]["resourceVersion"] = json!(if status.is_null() { "1" } else { "2" });
        if !status.is_null() {
            object["status"] = status.clone();
        }
        object
    }

    /// A page, which goes on where the last one's token says.
    fn page(&self, uri: &Uri) -> Value {
        let asked = |name: &str| {
            let mut words = uri.query().unwrap_or_default().split('&');
            words.find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse::<usize>().ok())
        };
        let statuses = self.statuses();
        let from = asked("continue").unwrap_or_default();
        let until = statuses.len().min(from + asked("limit").unwrap_or(statuses.len()));
        let items: Vec<Value> = (from..until).map(|number| self.object(number, &statuses[number])).collect();
        let next = if until < statuses.len() { until.to_string() } else { String::new() };
        json!({"apiVersion": "keyward.io/v1alpha1", "kind": "SealedSecretList",
            "metadata": {"resourceVersion": "1", "continue": next}, "items": items})
    }
}

impl Content for Objects {
    fn answer(&self, method: &Method, uri: &Uri, sent: &[u8], watches: &Watches) -> (StatusCode, Value) {
        let path = uri.path();
        let named = path.strip_prefix(OURS).map(|rest| rest.split('/').next().unwrap_or_default());
        let number = named.and_then(|name| name.strip_prefix("db-")?.parse::<usize>().ok());
        let mut statuses = self.statuses();
        match (method, number.and_then(|number| Some((number, statuses.get_mut(number)?)))) {
            (&Method::GET, Some((number, status))) => (StatusCode::OK, self.object(number, status)),
            (_, Some((number, status))) => {
                let patch: Value = serde_json::from_slice(sent).unwrap_or_default();
                *status = patch["status"].clone();
                let object = self.object(number, status);
                watches.modified(ALL, &object);
                (StatusCode::OK, object)
            }
            (&Method::GET, None) if path == ALL => {
                drop(statuses);
                (StatusCode::OK, self.page(uri))
            }
            (&Method::GET, None) if path.ends_with("/zenlocks") => {
                let none = json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "1"}, "items": []});
                (StatusCode::OK, none)
            }
            (&Method::GET, None) => missing(),
            // An event.
            (_, None) => (StatusCode::CREATED, serde_json::from_slice(sent).unwrap_or_default()),
        }
    }
}
