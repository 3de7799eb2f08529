//! The plugin's life: claim the socket, reach the provider, serve, keep checking, drain, leave.

use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use keyward_keystores::{AgeFile, Keystore, Transit, TransitOptions};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tonic::transport::Server;

use crate::broker::{Broker, Found};
use crate::error::ServeError;
use crate::harden::harden;
use crate::proto::v2::key_management_service_server::KeyManagementServiceServer;
use crate::registry::State;
use crate::service::Service;
use crate::socket::{Claim, Incoming};
use keyward_log::{Log, LogLevel};

/// The longest message that is read: the API server's largest request with room for its framing.
const LONGEST_MESSAGE: usize = 64 << 10;
/// Requests of one connection served at a time; others wait.
const CONCURRENT: u32 = 128;
/// The longest the first check may hold up the socket.
const FIRST_CHECK: Duration = Duration::from_secs(3);
/// The longest that requests under way are waited for at the end.
const DRAIN: Duration = Duration::from_secs(5);

/// Which provider wraps the local keys.
pub enum ProviderOptions {
    /// An age identity file, for a laptop or a rehearsal.
    AgeFile(PathBuf),
    /// The transit engine of Keyward, Vault or OpenBao.
    Transit(Box<TransitOptions>),
}

impl ProviderOptions {
    /// Makes the provider; it is reached with the first call.
    pub fn keystore(self) -> Result<Box<dyn Keystore>, ServeError> {
        match self {
            ProviderOptions::AgeFile(path) => Ok(Box::new(AgeFile::new(path))),
            ProviderOptions::Transit(options) => {
                let transit = Transit::new(*options).map_err(|error| ServeError::Options(error.0))?;
                Ok(Box::new(transit))
            }
        }
    }
}

/// How the plugin runs.
pub struct Options {
    /// The socket's path, absolute; its folder must exist.
    pub socket: PathBuf,
    /// A folder for the registry, which this process alone uses. Made when absent.
    pub state: PathBuf,
    /// The cluster's name: 1 to 128 characters. It can never be changed; it must be the same on every node, and
    /// differ from any other cluster's.
    pub cluster: String,
    /// The least epoch, the same on every node. Raising it makes a new key.
    pub epoch: u64,
    /// Users that may connect besides root and this process's own.
    pub allowed_uids: Vec<u32>,
    /// How often the provider is tried.
    pub check_interval: Duration,
    /// How long `Status` stays good while the provider cannot be reached. The API server goes on writing for
    /// another 3 minutes. A provider that refuses is believed at once.
    pub max_staleness: Duration,
    /// What wraps the local keys.
    pub provider: ProviderOptions,
    /// How much is told on standard error.
    pub log: LogLevel,
    /// Whether to rule out core dumps and swap for the whole process.
    pub harden: bool,
}

impl Options {
    /// The shortest and the longest check interval.
    pub const CHECK_INTERVALS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3600)];

    /// Usual values: a check every 30 s, 90 s of staleness, epoch 1.
    pub fn new(socket: PathBuf, state: PathBuf, cluster: String, provider: ProviderOptions) -> Options {
        Options {
            socket,
            state,
            cluster,
            epoch: 1,
            allowed_uids: Vec::new(),
            check_interval: Duration::from_secs(30),
            max_staleness: Duration::from_secs(90),
            provider,
            log: LogLevel::Info,
            harden: true,
        }
    }

    fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let printable = self.cluster.bytes().all(|byte| byte.is_ascii_graphic());
        if self.cluster.is_empty() || self.cluster.len() > 128 || !printable {
            mistakes
                .push(format!("{:?} is no name of a cluster: 1 to 128 printable characters", self.cluster));
        }
        let [shortest, longest] = Self::CHECK_INTERVALS;
        if self.check_interval < shortest || self.check_interval > longest {
            mistakes.push(format!("the check interval must be between {shortest:?} and {longest:?}"));
        }
        if self.max_staleness < self.check_interval * 2 {
            mistakes.push("the staleness allowed must be at least two check intervals".to_owned());
        }
        mistakes
    }
}

/// Serves until SIGTERM or SIGINT. SIGHUP checks the provider, its credentials and the epoch at once.
pub async fn serve(options: Options) -> Result<(), ServeError> {
    let (stop, refresh) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let failed = |error: std::io::Error| ServeError::System(format!("cannot receive signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    let (stopping, refreshing) = (stop.clone(), refresh.clone());
    let signals = tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => break stopping.notify_one(),
                _ = interrupt.recv() => break stopping.notify_one(),
                _ = hangup.recv() => refreshing.notify_one(),
            }
        }
    });
    let outcome = run(options, async move { stop.notified().await }, refresh).await;
    signals.abort();
    outcome
}

/// Serves until `stop` ends; every notification of `refresh` brings the next check forward.
pub async fn run(
    options: Options,
    stop: impl Future<Output = ()>,
    refresh: Arc<Notify>,
) -> Result<(), ServeError> {
    let mistakes = options.mistakes();
    if !mistakes.is_empty() {
        return Err(ServeError::Options(mistakes));
    }
    let log = Log(options.log);
    if options.harden {
        for missing in harden() {
            log.event(LogLevel::Warn, &missing, &[]);
        }
    }
    let claim = Claim::take(&options.socket).map_err(ServeError::Socket)?;
    let state = State::open(&options.state).map_err(ServeError::State)?;
    let keystore = options.provider.keystore()?;
    let broker = Broker::new(keystore, state, &options.cluster, options.epoch, options.max_staleness);
    let broker = Arc::new(broker.map_err(ServeError::State)?);
    let mut keeper =
        Keeper { broker: broker.clone(), log, interval: options.check_interval, failures: 0, notice: None };
    if tokio::time::timeout(FIRST_CHECK, keeper.check()).await.is_err() {
        log.event(LogLevel::Warn, "the provider does not answer; serving without it", &[]);
    }
    let mut allowed_uids = options.allowed_uids;
    allowed_uids.extend([0, rustix::process::geteuid().as_raw()]);
    let incoming = Incoming { socket: claim.listen().map_err(ServeError::Socket)?, allowed_uids, log };
    let key_id = broker.recorded_key_id().unwrap_or_default();
    log.event(
        LogLevel::Info,
        "serving",
        &[("socket", &options.socket.to_string_lossy()), ("key_id", &key_id)],
    );
    let keeping = tokio::spawn(async move { keeper.keep(&refresh).await });
    let outcome = listen(Service { broker, log }, incoming, stop).await;
    keeping.abort();
    log.event(LogLevel::Info, "stopped", &[]);
    outcome
}

async fn listen(
    service: Service,
    incoming: Incoming,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let service = KeyManagementServiceServer::new(service)
        .max_decoding_message_size(LONGEST_MESSAGE)
        .max_encoding_message_size(LONGEST_MESSAGE);
    let stopping = Arc::new(Notify::new());
    let stopped = stopping.clone();
    let serving = Server::builder()
        .max_concurrent_streams(CONCURRENT)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_max_header_list_size(16 << 10)
        .serve_with_incoming_shutdown(service, incoming, async move { stopped.notified().await });
    tokio::pin!(serving);
    tokio::select! {
        outcome = &mut serving => return outcome.map_err(|error| ServeError::System(error.to_string())),
        () = stop => stopping.notify_one(),
    }
    // The API server keeps its connection open while there is nothing to ask: it is not waited for long.
    match tokio::time::timeout(DRAIN, serving).await {
        Ok(outcome) => outcome.map_err(|error| ServeError::System(error.to_string())),
        Err(_) => Ok(()),
    }
}

/// Checks the provider again and again.
struct Keeper {
    broker: Arc<Broker>,
    log: Log,
    interval: Duration,
    failures: u32,
    notice: Option<String>,
}

impl Keeper {
    async fn keep(mut self, refresh: &Notify) {
        loop {
            let wait = pause(self.interval, self.failures, self.broker.keystore().due());
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = refresh.notified() => self.log.event(LogLevel::Info, "checking at once", &[]),
            }
            self.check().await;
        }
    }

    async fn check(&mut self) {
        match self.broker.check().await {
            Ok(found) => {
                if self.failures > 0 {
                    self.log.event(LogLevel::Info, "the provider serves again", &[]);
                }
                self.failures = 0;
                self.tell(&found);
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                let level = if error.is_transient() { LogLevel::Warn } else { LogLevel::Error };
                self.log.event(level, "the provider failed its check", &[("error", &error.to_string())]);
            }
        }
        let notice = self.broker.keystore().notice();
        if let Some(notice) = notice.as_ref().filter(|_| notice != self.notice) {
            self.log.event(LogLevel::Warn, notice, &[]);
        }
        self.notice = notice;
    }

    fn tell(&self, found: &Found) {
        match found {
            Found::Same => self.log.event(LogLevel::Debug, "the provider passed its check", &[]),
            Found::Promoted(before, key_id) => {
                let before = before.as_deref().unwrap_or("none");
                self.log.event(
                    LogLevel::Info,
                    "a new key is in use",
                    &[("key_id", key_id), ("before", before)],
                );
            }
            Found::Backwards(version) => self.log.event(
                LogLevel::Warn,
                "the provider went back to an earlier version; the later one stays in use",
                &[("version", version.as_str())],
            ),
        }
    }
}

/// The wait before the next check: the interval less up to a quarter, sooner when credentials want renewing, and
/// after a failure 1, 2, 4... s.
fn pause(interval: Duration, failures: u32, due: Option<Duration>) -> Duration {
    let full = match failures {
        0 => interval,
        _ => interval.min(Duration::from_secs(1 << (failures - 1).min(10))),
    };
    let jitter = RandomState::new().build_hasher().finish() % 256;
    let wait = full - full.mul_f64(jitter as f64 / 1024.0);
    let due = due.unwrap_or(Duration::MAX).max(Duration::from_secs(1));
    wait.min(due)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_spread_and_soon_after_a_failure() {
        let interval = Duration::from_secs(30);
        for _ in 0..50 {
            let usual = pause(interval, 0, None);
            assert!(usual <= interval && usual > interval * 7 / 10, "{usual:?}");
            assert!(pause(interval, 1, None) <= Duration::from_secs(1));
            assert!(pause(interval, 4, None) <= Duration::from_secs(8));
            assert!(pause(interval, 40, None) > interval * 7 / 10);
            assert_eq!(pause(interval, 0, Some(Duration::from_secs(5))), Duration::from_secs(5));
            assert_eq!(
                pause(interval, 0, Some(Duration::ZERO)),
                Duration::from_secs(1),
                "never in a tight loop"
            );
        }
    }

    #[test]
    fn every_mistake_is_told() {
        let provider = ProviderOptions::AgeFile(PathBuf::from("/key"));
        let mut options = Options::new("/s".into(), "/t".into(), "two words".to_owned(), provider);
        assert_eq!(options.mistakes().len(), 1);
        options.check_interval = Duration::ZERO;
        options.max_staleness = Duration::from_secs(1);
        assert_eq!(options.mistakes().len(), 2, "{:?}", options.mistakes());
        options.check_interval = Duration::from_secs(60);
        assert_eq!(options.mistakes().len(), 2, "{:?}", options.mistakes());
    }
}
