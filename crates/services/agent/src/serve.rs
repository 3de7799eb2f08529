//! The agent's round: ask, write, wait.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::time::Duration;

use keyward_authority_client::{ClientConfig, KubernetesLogin, Workload};
use keyward_consumption::pause;
use keyward_log::{Log, LogLevel};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

use crate::AgentError;
use crate::fetch::{Answer, fetch};
use crate::state::State;
use crate::target::{Target, To};

/// What the agent does, and for whom.
pub struct Options {
    /// How the authority is reached.
    pub client: ClientConfig,
    /// How the pod proves itself.
    pub login: KubernetesLogin,
    /// Where the engine `sealed` is mounted.
    pub mount: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The objects to have opened; at least one.
    pub objects: Vec<String>,
    /// Where values go.
    pub to: To,
    /// Where the agent's state goes for [`check`](crate::check), if anywhere.
    pub state: Option<PathBuf>,
    /// Ends once everything is delivered, and leaves it there.
    pub once: bool,
    /// How much is told.
    pub log: LogLevel,
}

struct Agent {
    workload: Workload,
    options: Options,
    target: Target,
    state: State,
    log: Log,
    /// Of what was delivered.
    digests: BTreeMap<String, String>,
    failures: u32,
}

/// Keeps values out of core dumps and of other processes of the same user, as far as the system allows: the workload may be
/// one of them.
fn harden(log: Log) {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let hardened =
        setrlimit(Resource::Core, none).and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable));
    if let Err(why) = hardened {
        log.event(LogLevel::Warn, "this process can be looked into", &[("error", &why.to_string())]);
    }
}

/// Delivers until `stop`, then takes everything away; or delivers once.
pub async fn run(options: Options, stop: impl Future<Output = ()>) -> Result<(), AgentError> {
    if options.objects.is_empty() {
        return Err(AgentError::Options("name at least one object with --object".to_owned()));
    }
    harden(Log(options.log));
    let mut client = options.client;
    // Its own rounds repeat what fails.
    client.max_retries = 0;
    let options = Options { client: ClientConfig::new(client.address.clone()), ..options };
    let workload =
        Workload::new(client, options.login.clone()).map_err(|why| AgentError::Options(why.to_string()))?;
    let target = Target::open(&options.to, &options.namespace, &options.objects).await?;
    let state = State::new(options.state.clone());
    let log = Log(options.log);
    let digests = BTreeMap::new();
    let mut agent = Agent { workload, options, target, state, log, digests, failures: 0 };
    tokio::select! {
        outcome = agent.rounds() => outcome?,
        () = stop => {}
    }
    agent.workload.log_out().await;
    if agent.options.once {
        return match agent.digests.is_empty() {
            true => Err(AgentError::Options("stopped before anything was delivered".to_owned())),
            false => Ok(()),
        };
    }
    let left = agent.target.leave()?;
    agent.log.event(LogLevel::Info, left, &[]);
    Ok(())
}

impl Agent {
    async fn rounds(&mut self) -> Result<(), AgentError> {
        self.state.tell(false, "the authority is being asked")?;
        loop {
            let refresh = match self.round().await {
                Ok(refresh) => {
                    self.succeeded()?;
                    if self.options.once {
                        return Ok(());
                    }
                    refresh
                }
                Err(why) if why.is_lasting() => {
                    self.state.tell(false, &why.to_string())?;
                    return Err(why);
                }
                Err(why) => {
                    self.failed(&why)?;
                    Duration::ZERO
                }
            };
            let spread = RandomState::new().build_hasher().finish().to_le_bytes()[0];
            let mut wait = pause(refresh, self.failures, spread);
            if self.digests.is_empty() {
                // The pod waits for it.
                wait = wait.min(Duration::from_secs(5));
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Asks, and writes what is new.
    async fn round(&mut self) -> Result<Duration, AgentError> {
        let Options { mount, namespace, objects, .. } = &self.options;
        let answer = fetch(&self.workload, mount, namespace, objects, &self.digests).await?;
        let refresh = answer.refresh();
        if answer.objects.iter().any(|opened| opened.items.is_some()) {
            self.deliver(answer).await?;
        }
        Ok(refresh)
    }

    async fn deliver(&mut self, answer: Answer) -> Result<(), AgentError> {
        for opened in answer.objects.iter().filter(|opened| opened.items.is_some()) {
            let version = opened.version.to_string();
            let told =
                [("object", opened.name.as_str()), ("version", version.as_str()), ("digest", &opened.digest)];
            self.log.event(LogLevel::Info, "opened", &told);
        }
        let digests =
            answer.objects.iter().map(|opened| (opened.name.clone(), opened.digest.clone())).collect();
        self.target.deliver(answer.objects).await?;
        self.digests = digests;
        Ok(())
    }

    fn succeeded(&mut self) -> Result<(), AgentError> {
        if self.failures > 0 {
            self.log.event(LogLevel::Info, "the authority opens again", &[]);
        }
        self.failures = 0;
        self.state.tell(true, "everything is delivered")
    }

    fn failed(&mut self, why: &AgentError) -> Result<(), AgentError> {
        self.failures = self.failures.saturating_add(1);
        let why = why.to_string();
        if self.digests.is_empty() {
            self.log.event(LogLevel::Warn, "not delivered", &[("error", &why)]);
            return self.state.tell(false, &why);
        }
        self.log.event(LogLevel::Warn, "what was delivered stays as it is", &[("error", &why)]);
        Ok(())
    }
}
