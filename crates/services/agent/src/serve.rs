//! The agent's round: ask, write, wait.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::time::Duration;

use keyward_authority_client::{ClientConfig, KubernetesLogin, Workload};
use keyward_consumption::{Layout, Refused, pause};
use keyward_log::{Log, LogLevel};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

use crate::AgentError;
use crate::fetch::{Answer, Opened, fetch};
use crate::folder::{Content, Folder};
use crate::state::State;

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
    pub folder: PathBuf,
    /// How files are named.
    pub layout: Layout,
    /// The mode of files.
    pub mode: u32,
    /// Where the agent's state goes for [`check`](crate::check), if anywhere.
    pub state: Option<PathBuf>,
    /// Ends once everything is delivered, and leaves it there.
    pub once: bool,
    /// Also where the folder does not lie in memory.
    pub on_disk: bool,
    /// How much is told.
    pub log: LogLevel,
}

struct Agent {
    workload: Workload,
    options: Options,
    folder: Folder,
    state: State,
    log: Log,
    /// What was delivered: the digest of each object, and its files.
    digests: BTreeMap<String, String>,
    files: BTreeMap<String, Vec<String>>,
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
    if options.layout == Layout::Flat && options.objects.len() > 1 {
        return Err(AgentError::Options(
            "values of several objects go into folders: --layout folders".to_owned(),
        ));
    }
    harden(Log(options.log));
    let mut client = options.client;
    // Its own rounds repeat what fails.
    client.max_retries = 0;
    let options = Options { client: ClientConfig::new(client.address.clone()), ..options };
    let workload =
        Workload::new(client, options.login.clone()).map_err(|why| AgentError::Options(why.to_string()))?;
    let folder = Folder::open(&options.folder, options.mode, options.on_disk)?;
    let state = State::new(options.state.clone());
    let log = Log(options.log);
    let (digests, files) = Default::default();
    let mut agent = Agent { workload, options, folder, state, log, digests, files, failures: 0 };
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
    agent.folder.wipe()?;
    agent.log.event(LogLevel::Info, "stopped, and took everything away", &[]);
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
            self.deliver(answer)?;
        }
        Ok(refresh)
    }

    fn deliver(&mut self, answer: Answer) -> Result<(), AgentError> {
        let odd = |why: Refused| AgentError::NotUnderstood(why.0);
        let (mut content, mut digests, mut files) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for Opened { name, version, digest, items } in answer.objects {
            let mut named = Vec::new();
            match items {
                None => {
                    named = self.files.get(&name).cloned().unwrap_or_default();
                    content.extend(named.iter().map(|file| (file.clone(), Content::Kept)));
                }
                Some(items) => {
                    for (key, value) in items {
                        let file = self.options.layout.file(&name, &key).map_err(odd)?;
                        content.insert(file.clone(), Content::New(value.0));
                        named.push(file);
                    }
                    let told =
                        [("object", name.as_str()), ("version", &version.to_string()), ("digest", &digest)];
                    self.log.event(LogLevel::Info, "opened", &told);
                }
            }
            digests.insert(name.clone(), digest);
            files.insert(name, named);
        }
        self.folder.replace(&content)?;
        (self.digests, self.files) = (digests, files);
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
