//! Posture: what policies say of pods, namespaces and nodes, and how nodes are, published to the authority as signed verdicts that
//! its conditions may demand.
//!
//! The background scan puts in what it finds; what changed is sent within a moment, and when nothing does, that everything still
//! holds, a quarter of the validity after it was last said. Only who leads publishes, and only while it hears of changes: an engine
//! that is cut off from the API server says nothing, and its verdicts end.

mod ledger;

pub(crate) use ledger::{Found, Judged, KINDS, Own, ruling};

use crate::log::{self, Wall};
use crate::metrics::Metrics;
use keyward_authority_client::{
    Body, ClientConfig, ClientError, ConfigError, KubernetesLogin, Method, RequestOptions, Workload,
};
use keyward_core::Clock;
use keyward_crypto::SystemRandom;
use keyward_kubernetes::Key;
use keyward_posture::{Publisher, Record, Said};
use ledger::Ledger;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Changes that come within this time are sent together.
const GATHER: Duration = Duration::from_millis(200);
/// Records of one report.
const MOST: usize = 250;
/// After how long it is tried again to begin.
const REST: Duration = Duration::from_secs(2);
/// A session that was good for so long is followed by another at once.
const LASTED: Duration = Duration::from_secs(5);
/// The longest that a request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where verdicts are published.
pub struct Options {
    /// How the authority is reached.
    pub client: ClientConfig,
    /// How we prove ourselves to it.
    pub login: KubernetesLogin,
    /// What the cluster is called.
    pub cluster: String,
    /// How long verdicts count unless they are confirmed.
    pub validity: Duration,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("cluster", &self.cluster).field("validity", &self.validity).finish()
    }
}

/// See the module.
pub(crate) struct Posture {
    workload: Workload,
    cluster: String,
    validity: Duration,
    metrics: Arc<Metrics>,
    ledger: Mutex<Ledger>,
    changed: Notify,
    /// Whether changes of policies are not heard of.
    deaf: Arc<AtomicBool>,
}

/// Why nothing is published.
enum Failed {
    /// The authority refuses, or cannot be asked.
    Client(ClientError),
    /// It answers with something else than was asked for, or nothing can be signed.
    Other(&'static str),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failed::Client(why) => write!(f, "{why}: {}", why.remedy()),
            Failed::Other(why) => f.write_str(why),
        }
    }
}

impl From<ClientError> for Failed {
    fn from(why: ClientError) -> Failed {
        Failed::Client(why)
    }
}

/// A session with its key, which is nowhere but here.
struct Session {
    id: String,
    publisher: Publisher,
    sequence: u64,
}

impl Posture {
    pub(crate) fn new(
        options: Options,
        metrics: Arc<Metrics>,
        deaf: Arc<AtomicBool>,
    ) -> Result<Posture, ConfigError> {
        let mut client = options.client;
        // What fails is begun anew.
        client.max_retries = 0;
        client.timeout = PATIENCE.min(options.validity / 2);
        Ok(Posture {
            workload: Workload::new(client, options.login)?,
            cluster: options.cluster,
            validity: options.validity,
            metrics,
            ledger: Mutex::default(),
            changed: Notify::new(),
            deaf,
        })
    }

    /// Notes what was found of an object.
    pub(crate) fn put(&self, judged: Judged, key: &Key, found: Found<'_>) {
        self.note(|ledger| ledger.put(judged, key, found, Wall.now()));
    }

    /// Notes that an object is gone.
    pub(crate) fn remove(&self, judged: Judged, key: &Key) {
        self.note(|ledger| ledger.remove(judged, key));
    }

    /// Notes that of a kind there are only these objects.
    pub(crate) fn retain(&self, judged: Judged, there: &HashSet<Key>) {
        self.note(|ledger| ledger.retain(judged, there));
    }

    /// Notes whether the changes of a kind are heard of.
    pub(crate) fn sees(&self, judged: Judged, sees: bool) {
        self.note(|ledger| ledger.sees(judged, sees));
    }

    fn note(&self, note: impl FnOnce(&mut Ledger)) {
        let waits = {
            let mut ledger = self.ledger.lock();
            note(&mut ledger);
            ledger.is_pending() && !ledger.is_blind()
        };
        if waits {
            self.changed.notify_one();
        }
    }

    /// Publishes for as long as it is awaited, from nothing: what an earlier leader knew is found out anew.
    pub(crate) async fn publish(&self) {
        *self.ledger.lock() = Ledger::default();
        loop {
            let began = Instant::now();
            let why = match self.begin().await {
                Ok(mut session) => self.follow(&mut session).await,
                Err(why) => why,
            };
            // A session ends with the token that it was begun with, which is renewed once in a while, and when the authority
            // starts.
            if matches!(why, Failed::Client(ClientError::BadRequest(_))) && began.elapsed() > LASTED {
                log::info(&format!("another session is begun: {why}"));
                continue;
            }
            log::warn(&format!("verdicts are not published, and it is tried again: {why}"));
            tokio::time::sleep(REST).await;
        }
    }

    /// Gives the token up.
    pub(crate) async fn log_out(&self) {
        self.workload.log_out().await;
    }

    async fn ask(&self, path: &str, body: &Value) -> Result<Value, Failed> {
        let options = RequestOptions::default();
        let reply = self.workload.request(Method::Post, path, Some(Body::Json(body)), &options).await?;
        Ok(reply.data().unwrap_or_default())
    }

    async fn begin(&self) -> Result<Session, Failed> {
        let publisher = Publisher::new(&SystemRandom).ok_or(Failed::Other("no key can be made"))?;
        let validity = format!("{}s", self.validity.as_secs());
        let body = json!({ "cluster": self.cluster, "key": publisher.public(), "validity": validity });
        let begun = self.ask("sys/posture/sessions", &body).await?;
        let id = begun["session"].as_str().ok_or(Failed::Other("the authority has named no session"))?;
        log::info(&format!(
            "verdicts of the cluster {} are published in session {id}, for pods that log in at {}",
            self.cluster,
            begun["mount"].as_str().unwrap_or_default()
        ));
        self.ledger.lock().say_all();
        self.changed.notify_one();
        Ok(Session { id: id.to_owned(), publisher, sequence: 0 })
    }

    /// Says what changes, and that nothing does, until that fails.
    async fn follow(&self, session: &mut Session) -> Failed {
        let step = self.validity / 4;
        let mut due = Instant::now() + step;
        loop {
            tokio::select! {
                () = self.changed.notified() => tokio::time::sleep(GATHER).await,
                () = tokio::time::sleep_until(due) => {}
            }
            let said = {
                let mut ledger = self.ledger.lock();
                // Whatever is said confirms what was said before.
                let knows = !ledger.is_blind() && !self.deaf.load(Ordering::Relaxed);
                knows.then(|| ledger.take(MOST, Wall.now()))
            };
            let late = Instant::now() >= due;
            let said = match said {
                Some(said) if said.is_empty() && late => vec![Said::Holds],
                Some(said) => said,
                None => Vec::new(),
            };
            if late || !said.is_empty() {
                due = Instant::now() + step;
            }
            if said.is_empty() {
                continue;
            }
            if let Err(why) = self.send(session, said).await {
                return why;
            }
            if self.ledger.lock().is_pending() {
                self.changed.notify_one();
            }
        }
    }

    async fn send(&self, session: &mut Session, said: Vec<Said>) -> Result<(), Failed> {
        let (at, mut records) = (Wall.now(), Vec::with_capacity(said.len()));
        let verdicts = said.iter().filter(|said| matches!(said, Said::Verdict(_))).count();
        for said in said {
            session.sequence += 1;
            let record = Record {
                session: session.id.clone(),
                cluster: self.cluster.clone(),
                sequence: session.sequence,
                at,
                said,
            };
            records.push(session.publisher.sign(&record).ok_or(Failed::Other("a verdict cannot be signed"))?);
        }
        self.ask("sys/posture/report", &json!({ "session": session.id, "records": records })).await?;
        self.metrics.verdicts_published.add(verdicts as u64);
        Ok(())
    }
}
