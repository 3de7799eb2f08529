//! What decisions ask about the world outside: each question is one call, or a few, that are bounded in time and size; answers are
//! kept for a while, for many decisions ask the same.

use crate::catalog::Catalog;
use crate::images::{Images, Reading, Secrets};
use crate::log::Wall;
use crate::reach;
use arc_swap::ArcSwap;
use keyward_admission::{Lookup, search};
use keyward_core::Clock;
use keyward_https::{Ask, Client, Limits, Verb};
use keyward_kubernetes::Cluster;
use keyward_tls::Trust;
use parking_lot::{Mutex, RwLock};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// How long an answer is kept: many requests at once ask the same.
const KEPT: Duration = Duration::from_secs(5);
/// The same where one command asks, which is to see one state of the cluster.
const KEPT_BY_COMMANDS: Duration = Duration::from_secs(60 * 60);
/// Answers that are kept, and about how many bytes of them; all are forgotten when there are more.
const MOST_KEPT: usize = 1000;
const MOST_BYTES: usize = 64 << 20;
/// Decisions that may wait for answers at a time: fewer than reviews, so that those that ask for nothing are still answered
/// where something outside hangs. More wait for a moment and then do without.
const ASKING: usize = 56;
/// The same for registries: those that are asked at a time, and a few that wait for them. With `ASKING`, and those
/// that compute, fewer than reviews.
const ASKING_REGISTRIES: usize = 40;
pub(crate) const MOMENT: Duration = Duration::from_millis(25);
/// The longest that a service other than the API server may take, and the most that it may say.
const SERVICE: Limits = Limits { duration: Duration::from_secs(10), body: 2 << 20 };
/// The longest that a command waits for one answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// How many answers a command waits for in vain, and for how long, before it asks no more.
const SLOW: Duration = Duration::from_secs(5);
const LATE: usize = 3;

pub(crate) type Answer = Result<Arc<Value>, Unanswered>;

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(crate) struct Unanswered {
    pub(crate) why: String,
    /// What was asked for is not there; everything else may be answered later.
    pub(crate) missing: bool,
}

impl From<String> for Unanswered {
    fn from(why: String) -> Unanswered {
        Unanswered { why, missing: false }
    }
}

impl From<keyward_kubernetes::Error> for Unanswered {
    fn from(why: keyward_kubernetes::Error) -> Unanswered {
        Unanswered { missing: why.is_missing(), why: why.to_string() }
    }
}

/// See the module.
// house: each lock is of a cache of its own, and none is held with another.
pub struct Outside {
    cluster: Cluster,
    pub(crate) catalog: ArcSwap<Catalog>,
    /// Entries of the global context: their `spec` by name.
    pub(crate) globals: RwLock<HashMap<String, Value>>,
    kept: Mutex<Kept>,
    keep: Duration,
    services: Client,
    images: Images,
    /// The namespace of whoever asks.
    own: String,
    asking: Semaphore,
    asking_registries: Semaphore,
    late: AtomicUsize,
}

impl Secrets for Outside {
    fn read<'s>(&'s self, namespace: &'s str, name: &'s str) -> Reading<'s> {
        let namespace = if namespace.is_empty() { &self.own } else { namespace };
        let question = Lookup::Object {
            api_version: "v1".to_owned(),
            resource: "secrets".to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        Box::pin(async move {
            let found = self.ask(&question).await.map_err(|why| why.why)?;
            Ok(Value::clone(&found))
        })
    }
}

/// Answers that are kept.
#[derive(Default)]
struct Kept {
    answers: HashMap<String, (Instant, Answer)>,
    bytes: usize,
    /// How often all were forgotten: an answer to an earlier question is not kept.
    epoch: u64,
}

impl Kept {
    fn clear(&mut self) {
        self.answers.clear();
        self.bytes = 0;
    }

    fn put(&mut self, key: String, answer: Answer) {
        let bytes = answer.as_ref().map_or(0, |value| weight(value));
        if bytes > MOST_BYTES {
            return;
        }
        if self.answers.len() >= MOST_KEPT || self.bytes + bytes > MOST_BYTES {
            self.clear();
        }
        self.bytes += bytes;
        if let Some((_, Ok(before))) = self.answers.insert(key, (Instant::now(), answer)) {
            self.bytes -= weight(&before);
        }
    }
}

/// About how many bytes of memory a value takes.
fn weight(value: &Value) -> usize {
    let own = size_of::<Value>();
    match value {
        Value::String(text) => own + text.len(),
        Value::Array(list) => own + list.iter().map(weight).sum::<usize>(),
        Value::Object(map) => {
            own + map.iter().map(|(key, value)| key.len() + own + weight(value)).sum::<usize>()
        }
        _ => own,
    }
}

impl Outside {
    /// For an engine of the namespace `own`, which sets what is served and the global context as they change.
    pub(crate) fn new(cluster: Cluster, own: &str) -> Outside {
        Outside {
            cluster,
            catalog: ArcSwap::default(),
            globals: RwLock::default(),
            kept: Mutex::default(),
            keep: KEPT,
            services: Client::new(SERVICE),
            images: Images::default(),
            own: own.to_owned(),
            asking: Semaphore::new(ASKING),
            asking_registries: Semaphore::new(ASKING_REGISTRIES),
            late: AtomicUsize::new(0),
        }
    }

    /// For a command of somebody who asks with rights of their own: a cluster that serves `catalog`, with the entries of the global
    /// context that are among `objects`. Answers are kept as long as there is room.
    pub fn for_command<'o>(
        cluster: Cluster,
        catalog: Catalog,
        objects: impl IntoIterator<Item = &'o Value>,
    ) -> Outside {
        let own = cluster.namespace().to_owned();
        let outside = Outside { keep: KEPT_BY_COMMANDS, ..Outside::new(cluster, &own) };
        outside.catalog.store(Arc::new(catalog));
        let entries = objects.into_iter().filter(|object| object["kind"] == "GlobalContextEntry");
        let name = |entry: &Value| entry["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        *outside.globals.write() = entries.map(|entry| (name(entry), entry["spec"].clone())).collect();
        outside
    }

    /// The answer that a command gets to a question of a policy of the namespace `home`, or of one of the whole cluster, whose `home` is
    /// empty. Nothing in the cluster is changed by it.
    ///
    /// # Errors
    ///
    /// Why there is none; also what may not be asked.
    pub async fn answer(&self, home: &str, question: &Lookup) -> Result<Arc<Value>, String> {
        let question = reach::within(home, question)?;
        if let Lookup::Kubernetes { method, path, .. } = &question
            && method == "POST"
            && !reach::is_review_of_access(path)
        {
            return Err(format!(
                "nothing is posted to {path}: a command only reads, and asks who may do what"
            ));
        }
        if self.late.load(Ordering::Relaxed) >= LATE {
            return Err(format!(
                "nothing more is asked of the cluster, for {LATE} answers did not come in time"
            ));
        }
        let began = Instant::now();
        let answer = timeout(PATIENCE, self.ask(&question)).await;
        let answer =
            answer.unwrap_or_else(|_| Err(format!("there was no answer within {PATIENCE:?}").into()));
        if answer.is_err() && began.elapsed() > SLOW {
            self.late.fetch_add(1, Ordering::Relaxed);
        }
        answer.map_err(|why| why.why)
    }

    /// Forgets what was answered: something of it has changed.
    pub(crate) fn forget(&self) {
        let mut kept = self.kept.lock();
        kept.epoch += 1;
        kept.clear();
    }

    /// The answer to a question, which may be one that was given a moment ago.
    pub(crate) async fn ask(&self, question: &Lookup) -> Answer {
        // Whoever waits for a registry takes no place from those who wait for the API server.
        if question.is_about_images() {
            return match timeout(MOMENT, self.asking_registries.acquire()).await {
                Ok(_place) => self.find(question).await,
                Err(_) => Err("too many decisions wait for registries".to_owned().into()),
            };
        }
        let key = format!("{question:?}");
        let epoch = {
            let kept = self.kept.lock();
            if let Some((at, answer)) = kept.answers.get(&key)
                && at.elapsed() < self.keep
            {
                return answer.clone();
            }
            kept.epoch
        };
        let answer = match timeout(MOMENT, self.asking.acquire()).await {
            Ok(_place) => self.find(question).await,
            Err(_) => return Err("too many decisions wait for answers from outside".to_owned().into()),
        };
        let mut kept = self.kept.lock();
        if kept.epoch == epoch {
            kept.put(key, answer.clone());
        }
        answer
    }

    /// The answer to a question, found out now.
    pub(crate) async fn find(&self, question: &Lookup) -> Answer {
        match question {
            Lookup::ConfigMap { namespace, name } => self.one("v1", "configmaps", namespace, name).await,
            Lookup::Kubernetes { method, path, body } => {
                let body = (method == "POST").then_some(body);
                Ok(Arc::new(self.cluster.call(path, body).await?))
            }
            Lookup::Object { api_version, resource, namespace, name } => {
                self.one(api_version, resource, namespace, name).await
            }
            Lookup::Objects { api_version, resource, namespace, selector } => {
                let path = self.path(api_version, resource, namespace)?;
                let query = reach::labels(selector)?;
                let mut listed = self.cluster.call(&format!("{path}{query}"), None).await?;
                self.complete(&mut listed, api_version, resource);
                Ok(Arc::new(listed))
            }
            Lookup::Access { spec } => {
                let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec});
                let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
                Ok(Arc::new(self.cluster.call(path, Some(&review)).await?["status"].take()))
            }
            Lookup::Service { method, url, body, headers, ca_bundle } => {
                self.service(method, url, body, headers, ca_bundle).await
            }
            Lookup::Global { name, projection } => Box::pin(self.global(name, projection)).await,
            Lookup::Signatures { .. }
            | Lookup::Attestations { .. }
            | Lookup::Referrer { .. }
            | Lookup::Image { .. } => {
                let now = Wall.now().secs();
                Ok(Arc::new(Box::pin(self.images.answer(question, self, now)).await?))
            }
        }
    }

    fn path(&self, api_version: &str, resource: &str, namespace: &str) -> Result<String, String> {
        let catalog = self.catalog.load();
        let unknown = || format!("the API server does not serve {resource} of {api_version}");
        let kind = catalog.named(api_version, resource).ok_or_else(unknown)?;
        let version = match api_version {
            "" | "*" => kind.api_version(),
            given => given.to_owned(),
        };
        let root = if version.contains('/') { "/apis" } else { "/api" };
        Ok(match kind.namespaced && !namespace.is_empty() {
            true => format!("{root}/{version}/namespaces/{namespace}/{}", kind.plural),
            false => format!("{root}/{version}/{}", kind.plural),
        })
    }

    async fn one(&self, api_version: &str, resource: &str, namespace: &str, name: &str) -> Answer {
        let path = self.path(api_version, resource, namespace)?;
        Ok(Arc::new(self.cluster.call(&format!("{path}/{name}"), None).await?))
    }

    /// Says of what kind listed objects are, which the API server says of the list alone.
    fn complete(&self, listed: &mut Value, api_version: &str, resource: &str) {
        let catalog = self.catalog.load();
        let Some(kind) = catalog.named(api_version, resource) else { return };
        let version = match api_version {
            "" | "*" => kind.api_version(),
            given => given.to_owned(),
        };
        for item in listed["items"].as_array_mut().into_iter().flatten() {
            if item["kind"].is_null() {
                item["apiVersion"] = json!(version);
                item["kind"] = json!(kind.kind);
            }
        }
    }

    async fn service(
        &self,
        method: &str,
        url: &str,
        body: &Value,
        headers: &[(String, String)],
        ca_bundle: &str,
    ) -> Answer {
        if let Some((name, _)) = headers.iter().find(|(name, _)| !name.eq_ignore_ascii_case("content-type")) {
            return Err(format!(
                "{url}: the header {name} cannot be sent: services are asked without credentials"
            )
            .into());
        }
        let body = body.to_string();
        let verb = match method {
            "POST" => Verb::Post { media_type: "application/json", body: &body },
            _ => Verb::Get,
        };
        let trust = if ca_bundle.is_empty() { Trust::System } else { Trust::Pem(ca_bundle.into()) };
        let reply = self.services.ask(&Ask { url, trust, authorization: None, accept: None, verb }).await;
        let reply = reply.map_err(|why| format!("{url}: {why}"))?;
        if !(200..300).contains(&reply.status) {
            return Err(format!("{url} answers with {}", reply.status).into());
        }
        serde_json::from_slice(&reply.body)
            .map(Arc::new)
            .map_err(|_| format!("{url} answers with something that is not JSON").into())
    }

    /// An entry of the global context, with its projections.
    async fn global(&self, name: &str, projection: &str) -> Answer {
        let entry = self.globals.read().get(name).cloned();
        let entry = entry.ok_or_else(|| format!("there is no global context entry {name}"))?;
        let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let (resource, call) = (&entry["kubernetesResource"], &entry["apiCall"]);
        let found = if resource.is_object() {
            let (group, version) = (text(resource, "group"), text(resource, "version"));
            let question = Lookup::Objects {
                api_version: if group.is_empty() { version } else { format!("{group}/{version}") },
                resource: text(resource, "resource"),
                namespace: text(resource, "namespace"),
                selector: Value::Null,
            };
            Arc::new(self.ask(&question).await?["items"].clone())
        } else {
            let question = Lookup::Kubernetes {
                method: "GET".to_owned(),
                path: text(call, "urlPath"),
                body: Value::Null,
            };
            self.ask(&question).await?
        };
        if projection.is_empty() {
            return Ok(found);
        }
        let projections = entry["projections"].as_array();
        let wanted = projections.into_iter().flatten().find(|one| one["name"] == projection);
        let wanted = wanted.ok_or_else(|| format!("{name} has no projection {projection}"))?;
        Ok(Arc::new(search(&text(wanted, "jmesPath"), &found)?))
    }
}
