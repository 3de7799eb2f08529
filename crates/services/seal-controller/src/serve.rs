//! Watches, works and tells.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keyward_authority_client::{ClientConfig, ConfigError, KubernetesLogin, Workload};
use keyward_core::Timestamp;
use keyward_kubernetes::{Change, Changes, Cluster, Election, Events, Key, Selection, Severity, Source};
use keyward_log::{Log, LogLevel};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::authority::{Authority, Failed};
use crate::desk::{Desk, Outcome, Work};
use crate::object::{self, Id, Which};
use crate::status;

/// Objects that are worked on at once.
const AT_ONCE: usize = 8;
/// How long the authority is not asked again after it was away.
const REST: Duration = Duration::from_secs(2);
const COMPONENT: &str = "keyward.io/seal-controller";

/// How the controller runs.
pub struct Options {
    /// How the authority is reached.
    pub client: ClientConfig,
    /// How the controller proves itself to it.
    pub login: KubernetesLogin,
    /// Where the engine `sealed` is mounted.
    pub mount: String,
    /// The cluster.
    pub cluster: Source,
    /// Who this controller is among several; different for each.
    pub identity: String,
    /// The lease by which one of several leads, in the controller's own namespace; none where there is one for sure.
    pub lease: Option<String>,
    /// After how long what stands is looked at again: times and phases pass without anybody writing an object.
    pub resync: Duration,
    /// How much is told.
    pub log: LogLevel,
}

/// Why the controller does not run.
#[derive(Debug)]
pub enum ControllerError {
    /// The way to the authority is configured wrongly.
    Authority(ConfigError),
    /// The cluster.
    Cluster(keyward_kubernetes::Error),
}

impl fmt::Display for ControllerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ControllerError::Authority(why) => why.fmt(f),
            ControllerError::Cluster(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for ControllerError {}

/// What workers share.
struct Shared {
    authority: Authority,
    cluster: Cluster,
    events: Events,
    log: Log,
}

type Mark = Changes<u64>;

/// Runs until `stop`.
pub async fn run(options: Options, stop: impl Future<Output = ()>) -> Result<(), ControllerError> {
    let log = Log(options.log);
    let cluster = Cluster::connect(&options.cluster).await.map_err(ControllerError::Cluster)?;
    let mut client = options.client;
    // The desk repeats what fails.
    client.max_retries = 0;
    let workload = Workload::new(client, options.login).map_err(ControllerError::Authority)?;
    let events = cluster.events(COMPONENT, Some(&options.identity));
    let authority = Authority { workload, mount: options.mount.trim_matches('/').to_owned() };
    let shared = Arc::new(Shared { authority, cluster: cluster.clone(), events, log });
    let trouble = move |why: &keyward_kubernetes::Error| {
        log.event(LogLevel::Warn, "the lease is out of reach", &[("error", &why.to_string())]);
    };
    let election = options.lease.map(|name| Election {
        namespace: cluster.namespace().to_owned(),
        name,
        identity: options.identity.clone(),
        term: Duration::from_secs(15),
    });
    let mut leadership = election.map(|election| election.stand(&cluster, trouble));
    log.event(LogLevel::Info, "started", &[("cluster", cluster.address()), ("identity", &options.identity)]);
    let working = async {
        loop {
            let Some(leadership) = &mut leadership else { break lead(&shared, options.resync).await };
            while !leadership.is_leader() {
                leadership.changed().await;
            }
            log.event(LogLevel::Info, "leads", &[]);
            tokio::select! {
                () = lead(&shared, options.resync) => {}
                _ = leadership.changed() => log.event(LogLevel::Warn, "leads no longer", &[]),
            }
        }
    };
    tokio::select! {
        () = working => {}
        () = stop => {}
    }
    if let Some(leadership) = leadership {
        leadership.resign().await;
    }
    shared.authority.workload.log_out().await;
    log.event(LogLevel::Info, "stopped", &[]);
    Ok(())
}

/// Keeps the authority and the cluster together for as long as it is awaited.
async fn lead(shared: &Arc<Shared>, resync: Duration) {
    let watch = |which: Which| {
        let objects = shared.cluster.objects(which.kind(), None);
        objects.changes_of_metadata(&Selection::default(), |metadata| object::mark(&metadata))
    };
    let mut leader = Leader {
        desk: Desk::default(),
        jobs: JoinSet::new(),
        listed: [false; 2],
        pruned: false,
        rests: None,
        shared: shared.clone(),
        resync,
    };
    let [mut sealed, mut zen]: [Mark; 2] = Which::ALL.map(watch);
    loop {
        leader.start_jobs();
        let due = leader.desk.next().filter(|_| leader.jobs.len() < AT_ONCE);
        tokio::select! {
            change = sealed.next() => leader.changed(Which::Sealed, change),
            change = zen.next() => leader.changed(Which::Zen, change),
            Some(done) = leader.jobs.join_next() => if let Ok(done) = done { leader.finished(done) },
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
        }
    }
}

struct Leader {
    desk: Desk,
    jobs: JoinSet<Done>,
    listed: [bool; 2],
    pruned: bool,
    /// The authority was away, and is spared until then.
    rests: Option<(Instant, Failed)>,
    shared: Arc<Shared>,
    resync: Duration,
}

enum Done {
    Job(Id, Outcome, Option<Failed>),
    /// What is registered at the authority.
    Registered(Result<Vec<Key>, Failed>),
}

impl Leader {
    fn changed(&mut self, which: Which, change: Change<u64>) {
        let now = Instant::now();
        let id = |key: Key| Id { which, key: Arc::new(key) };
        match change {
            Change::Listing => self.desk.listing(which),
            Change::There(key, mark) => self.desk.there(id(key), mark, now),
            Change::Gone(key) => self.desk.gone(&id(key), now),
            Change::Listed => {
                self.desk.listed(which, now);
                self.listed[which as usize] = true;
                let told = [("kind", which.kind().kind.as_ref()), ("objects", &self.desk.len().to_string())];
                self.shared.log.event(LogLevel::Info, "listed", &told);
                if self.listed == [true; 2] && !self.pruned {
                    self.pruned = true;
                    self.ask_what_is_registered();
                }
            }
            Change::Trouble(why) => {
                self.shared.log.event(LogLevel::Warn, "cannot watch", &[("error", &why.to_string())]);
            }
        }
    }

    /// What went while nobody watched is forgotten.
    fn ask_what_is_registered(&mut self) {
        let shared = self.shared.clone();
        self.jobs.spawn(async move { Done::Registered(shared.authority.registered().await) });
    }

    fn start_jobs(&mut self) {
        let now = Instant::now();
        if self.rests.as_ref().is_some_and(|(until, _)| *until <= now) {
            self.rests = None;
        }
        while self.jobs.len() < AT_ONCE {
            let Some((id, work)) = self.desk.take(now) else { return };
            let shared = self.shared.clone();
            let away = self.rests.as_ref().map(|(_, why)| why.clone());
            self.jobs.spawn(async move {
                let (outcome, away) = shared.job(&id, work, away).await;
                Done::Job(id, outcome, away)
            });
        }
    }

    fn finished(&mut self, done: Done) {
        let now = Instant::now();
        match done {
            Done::Job(id, outcome, away) => {
                if let Some(why) = away.filter(|_| self.rests.is_none()) {
                    if let Failed::Away(reason, message) = &why {
                        let told = [("reason", *reason), ("error", message.as_str())];
                        self.shared.log.event(LogLevel::Warn, "the authority is away", &told);
                    }
                    self.rests = Some((now + REST, why));
                }
                let spread = RandomState::new().build_hasher().finish().to_le_bytes()[0];
                self.desk.finished(&id, outcome, now, self.resync, spread);
            }
            Done::Registered(Ok(keys)) => {
                for key in keys {
                    let key = Arc::new(key);
                    let ids = Which::ALL.map(|which| Id { which, key: key.clone() });
                    if ids.iter().all(|id| self.desk.is_stranger(id)) {
                        self.desk.gone(&ids[0], now);
                    }
                }
            }
            Done::Registered(Err(_)) => {
                let shared = self.shared.clone();
                self.jobs.spawn(async move {
                    tokio::time::sleep(REST * 5).await;
                    Done::Registered(shared.authority.registered().await)
                });
            }
        }
    }
}

impl Shared {
    /// Does it, and tells how it went and whether the authority is away. With `away` it is known to be.
    async fn job(&self, id: &Id, work: Work, away: Option<Failed>) -> (Outcome, Option<Failed>) {
        match work {
            Work::Register => self.register(id, away).await,
            Work::Forget => self.forget(id, away).await,
        }
    }

    async fn forget(&self, id: &Id, away: Option<Failed>) -> (Outcome, Option<Failed>) {
        // What this controller does not know yet may be registered by another one already.
        match self.is_there(&id.key).await {
            Ok(false) => {}
            Ok(true) => return (Outcome::Gone, None),
            Err(why) => {
                self.log.event(LogLevel::Warn, "cannot read", &[("error", &why.to_string())]);
                return (Outcome::Again, None);
            }
        }
        let forgotten = match away {
            Some(why) => Err(why),
            None => self.authority.forget(&id.key).await,
        };
        match forgotten {
            Ok(()) => {
                self.log.event(LogLevel::Info, "forgotten", &[("object", &id.to_string())]);
                (Outcome::Gone, None)
            }
            Err(why) => (Outcome::Again, Some(why).filter(|why| matches!(why, Failed::Away(..)))),
        }
    }

    /// Whether an object of any kind has this name now, whatever the watches have told.
    async fn is_there(&self, key: &Key) -> Result<bool, keyward_kubernetes::Error> {
        for which in Which::ALL {
            let objects = self.cluster.objects(which.kind(), Some(&key.namespace));
            if objects.get(&key.name).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn register(&self, id: &Id, away: Option<Failed>) -> (Outcome, Option<Failed>) {
        let objects = self.cluster.objects(id.which.kind(), Some(&id.key.namespace));
        let object = match objects.get(&id.key.name).await {
            Ok(Some(object)) => object,
            // The watch tells of it, or has told.
            Ok(None) => return (Outcome::Done, None),
            Err(why) => {
                self.log.event(LogLevel::Warn, "cannot read", &[("error", &why.to_string())]);
                return (Outcome::Again, None);
            }
        };
        let verdict = match away {
            Some(why) => Err(why),
            None => self.authority.register(&id.key, &object::manifest(id.which, &object)).await,
        };
        let now = Timestamp::EPOCH.plus(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        let generation = object.metadata.generation.unwrap_or_default();
        let change = status::change(id.which, &object.data["status"], generation, &verdict, now);
        let mut outcome = match &verdict {
            Ok(_) | Err(Failed::Refused(_)) => Outcome::Done,
            Err(Failed::Away(..)) => Outcome::Again,
        };
        if let Some(change) = change {
            let patch = json!({
                "metadata": {"resourceVersion": object.metadata.resource_version},
                "status": change.status,
            });
            match objects.merge_status(&id.key.name, &patch).await {
                Ok(_) => self.tell(id, &object, change.news).await,
                Err(why) if why.is_missing() => {}
                Err(why) => {
                    self.log.event(
                        LogLevel::Debug,
                        "cannot write the status",
                        &[("error", &why.to_string())],
                    );
                    outcome = Outcome::Again;
                }
            }
        }
        (outcome, verdict.err().filter(|why| matches!(why, Failed::Away(..))))
    }

    async fn tell(&self, id: &Id, object: &keyward_kubernetes::Object, news: Option<status::News>) {
        let Some(news) = news else { return };
        let (level, severity) = match news.good {
            true => (LogLevel::Info, Severity::Normal),
            false => (LogLevel::Warn, Severity::Warning),
        };
        let told = [("object", &*id.to_string()), ("reason", &news.reason), ("message", &news.note)];
        self.log.event(level, "status", &told);
        let about = object::about(id.which, object);
        let published = self.events.publish(&about, severity, &news.reason, "Register", &news.note).await;
        if let Err(why) = published {
            self.log.event(LogLevel::Warn, "no event", &[("error", &why.to_string())]);
        }
    }
}
