//! What decisions need from outside: namespaces and bindings of roles from watches, everything else by calls that are bounded in
//! time, whose answers are kept for a few seconds.

use crate::catalog::Catalog;
use crate::images::{Images, Reading, Secrets};
use crate::log::Wall;
use crate::policies::Set;
use crate::reach;
use arc_swap::ArcSwap;
use keyward_admission::{Lookup, Outcome, Policy, Request, RuleKind, Snapshot, Surroundings, search};
use keyward_core::Clock;
use keyward_https::{Ask, Client, Limits, Verb};
use keyward_kubernetes::Cluster;
use keyward_tls::Trust;
use parking_lot::{Mutex, RwLock};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::time::{timeout, timeout_at};

/// How long an answer is kept: many requests at once ask the same.
const KEPT: Duration = Duration::from_secs(5);
/// Answers that are kept; all are forgotten when there are more.
const MOST_KEPT: usize = 1000;
/// How often a decision may come back with another question.
const ROUNDS: usize = 16;
/// Decisions that may wait for answers at a time: fewer than reviews, so that those that ask for nothing are still answered
/// where something outside hangs. More wait for a moment and then do without.
const ASKING: usize = 64;
/// The same for registries: those that are asked at a time, and half as many that wait for them. With `ASKING` fewer than reviews.
const ASKING_REGISTRIES: usize = 48;
const MOMENT: Duration = Duration::from_millis(25);
/// The longest that a service other than the API server may take, and the most that it may say.
const SERVICE: Limits = Limits { duration: Duration::from_secs(10), body: 2 << 20 };

/// Roles by who has them.
#[derive(Clone, Debug)]
pub(crate) struct RoleBinding {
    role: Value,
    subjects: Value,
}

impl RoleBinding {
    /// What is kept of a RoleBinding or ClusterRoleBinding.
    pub(crate) fn of(data: &Value) -> RoleBinding {
        RoleBinding { role: data["roleRef"].clone(), subjects: data["subjects"].clone() }
    }

    fn is_for(&self, namespace: &str, user: &str, groups: &[&str]) -> bool {
        let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
        self.subjects.as_array().into_iter().flatten().any(|subject| {
            let name = text(subject, "name");
            match subject["kind"].as_str() {
                Some("User") => name == user,
                Some("Group") => groups.contains(&name.as_str()),
                Some("ServiceAccount") => {
                    let own = text(subject, "namespace");
                    let own = if own.is_empty() { namespace } else { &own };
                    user == format!("system:serviceaccount:{own}:{name}")
                }
                _ => false,
            }
        })
    }
}

type Answer = Result<Value, Unanswered>;

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(crate) struct Unanswered {
    why: String,
    /// What was asked for is not there; everything else may be answered later.
    missing: bool,
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

/// What a policy said, with what was found out for it.
pub(crate) struct Decided {
    pub(crate) outcome: Outcome,
    answers: Answers,
}

impl Decided {
    /// The questions that were asked, with the answers to those that have one.
    pub(crate) fn asked(&self) -> impl Iterator<Item = (&Lookup, Option<&Value>)> {
        self.answers.0.iter().map(|(question, answer)| (question, answer.as_ref().ok()))
    }

    /// Whether an object that was asked for by its name is not there.
    pub(crate) fn lacks_an_object(&self) -> bool {
        let gone = |answer: &Answer| answer.as_ref().is_err_and(|why| why.missing);
        self.answers
            .0
            .iter()
            .any(|(question, answer)| matches!(question, Lookup::Object { .. }) && gone(answer))
    }
}

/// See the module.
// house: each lock is of a cache of its own, and none is held with another.
pub(crate) struct World {
    cluster: Cluster,
    pub(crate) catalog: ArcSwap<Catalog>,
    pub(crate) namespaces: RwLock<HashMap<String, Value>>,
    pub(crate) roles: RwLock<BTreeMap<(String, String), RoleBinding>>,
    pub(crate) globals: RwLock<HashMap<String, Value>>,
    kept: Mutex<Kept>,
    services: Client,
    images: Images,
    /// Our own namespace.
    own: String,
    asking: Semaphore,
    asking_registries: Semaphore,
}

impl Secrets for World {
    fn read<'s>(&'s self, namespace: &'s str, name: &'s str) -> Reading<'s> {
        let namespace = if namespace.is_empty() { &self.own } else { namespace };
        let question = Lookup::Object {
            api_version: "v1".to_owned(),
            resource: "secrets".to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        Box::pin(async move { self.ask(&question).await.map_err(|why| why.why) })
    }
}

/// Answers that are kept.
#[derive(Default)]
struct Kept {
    answers: HashMap<String, (Instant, Answer)>,
    /// How often all were forgotten: an answer to an earlier question is not kept.
    epoch: u64,
}

/// What one decision has found out.
#[derive(Default)]
struct Answers(Vec<(Lookup, Answer)>);

impl Snapshot for Answers {
    fn answer(&self, question: &Lookup) -> Option<Result<Cow<'_, Value>, String>> {
        let (_, answer) = self.0.iter().find(|(known, _)| known == question)?;
        Some(answer.as_ref().map(Cow::Borrowed).map_err(|why| why.why.clone()))
    }
}

impl World {
    pub(crate) fn new(cluster: Cluster, own: &str) -> World {
        World {
            cluster,
            catalog: ArcSwap::default(),
            namespaces: RwLock::default(),
            roles: RwLock::default(),
            globals: RwLock::default(),
            kept: Mutex::default(),
            services: Client::new(SERVICE),
            images: Images::default(),
            own: own.to_owned(),
            asking: Semaphore::new(ASKING),
            asking_registries: Semaphore::new(ASKING_REGISTRIES),
        }
    }

    /// A namespace as policies see it, with the label that every namespace has.
    pub(crate) fn namespace(&self, name: &str) -> Option<Value> {
        if name.is_empty() {
            return None;
        }
        let known = self.namespaces.read().get(name).cloned();
        Some(known.unwrap_or_else(
            || json!({"metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}}}),
        ))
    }

    /// The roles and cluster roles that somebody has in a namespace, as policies name them.
    pub(crate) fn roles_of(&self, user: &Value, namespace: &str) -> (Value, Value) {
        let name = user["username"].as_str().unwrap_or_default();
        let groups: Vec<&str> =
            user["groups"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let (mut roles, mut cluster_roles) = (Vec::new(), Vec::new());
        for ((within, _), binding) in &*self.roles.read() {
            if !(within.is_empty() || within == namespace) || !binding.is_for(within, name, &groups) {
                continue;
            }
            let role = binding.role["name"].as_str().unwrap_or_default();
            match binding.role["kind"].as_str() {
                Some("Role") => roles.push(json!(format!("{within}:{role}"))),
                _ => cluster_roles.push(json!(role)),
            }
        }
        (Value::Array(roles), Value::Array(cluster_roles))
    }

    /// What a policy says about a request, with everything found out that it asks for before the deadline.
    pub(crate) async fn decide(
        &self,
        set: &Set,
        policy: &Policy,
        task: RuleKind,
        request: &Request,
        deadline: Instant,
    ) -> Outcome {
        self.find_out(set, policy, task, request, deadline, false).await.outcome
    }

    /// As [`decide`](World::decide), with what was asked; of what is `fresh` nothing was found out before.
    pub(crate) async fn find_out(
        &self,
        set: &Set,
        policy: &Policy,
        task: RuleKind,
        request: &Request,
        deadline: Instant,
        fresh: bool,
    ) -> Decided {
        let home = &policy.metadata.namespace;
        let mut answers = Answers::default();
        for round in 0.. {
            let now = Wall.now().nanos();
            let outcome = policy.decide(
                task,
                request,
                &Surroundings {
                    snapshot: &answers,
                    exceptions: &set.exceptions,
                    bindings: &set.bindings,
                    now: i128::from(now),
                    seed: now,
                },
            );
            let mut asked: Vec<Lookup> = outcome.lacks.clone();
            asked.retain(|question| answers.answer(question).is_none());
            if asked.is_empty() || round == ROUNDS {
                return Decided { outcome, answers };
            }
            for question in asked {
                if answers.answer(&question).is_some() {
                    continue;
                }
                let found = match reach::within(home, &question) {
                    Ok(question) if fresh => timeout_at(deadline.into(), self.find(&question)).await,
                    Ok(question) => timeout_at(deadline.into(), self.ask(&question)).await,
                    Err(why) => Ok(Err(why.into())),
                };
                let found = found.unwrap_or_else(|_| Err("there was no answer in time".to_owned().into()));
                answers.0.push((question, found));
            }
        }
        Decided { outcome: Outcome::default(), answers }
    }

    /// Forgets what was answered: something of it has changed.
    pub(crate) fn forget(&self) {
        let mut kept = self.kept.lock();
        kept.epoch += 1;
        kept.answers.clear();
    }

    async fn ask(&self, question: &Lookup) -> Answer {
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
                && at.elapsed() < KEPT
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
        if kept.answers.len() >= MOST_KEPT {
            kept.answers.clear();
        }
        if kept.epoch == epoch {
            kept.answers.insert(key, (Instant::now(), answer.clone()));
        }
        answer
    }

    async fn find(&self, question: &Lookup) -> Answer {
        match question {
            Lookup::ConfigMap { namespace, name } => self.one("v1", "configmaps", namespace, name).await,
            Lookup::Kubernetes { method, path, body } => {
                let body = (method == "POST").then_some(body);
                Ok(self.cluster.call(path, body).await?)
            }
            Lookup::Object { api_version, resource, namespace, name } => {
                self.one(api_version, resource, namespace, name).await
            }
            Lookup::Objects { api_version, resource, namespace, selector } => {
                let path = self.path(api_version, resource, namespace)?;
                let query = reach::labels(selector)?;
                let mut listed = self.cluster.call(&format!("{path}{query}"), None).await?;
                self.complete(&mut listed, api_version, resource);
                Ok(listed)
            }
            Lookup::Access { spec } => {
                let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec});
                let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
                Ok(self.cluster.call(path, Some(&review)).await?["status"].take())
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
                Ok(Box::pin(self.images.answer(question, self, now)).await?)
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
        Ok(self.cluster.call(&format!("{path}/{name}"), None).await?)
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
            self.ask(&question).await?["items"].take()
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
        Ok(search(&text(wanted, "jmesPath"), &found)?)
    }
}
