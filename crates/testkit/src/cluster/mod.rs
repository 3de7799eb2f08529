//! A real Kubernetes: etcd, API server and controllers, and on demand a node that runs pods.
//!
//! A cluster lives in a network namespace of its own, so several run at once with the same addresses and none
//! listens on the machine's. Its processes see the machine's files: a unix socket or configuration file made by a
//! test is reached by its path. A program that must reach the cluster's addresses is started with
//! [`Cluster::command_in_namespace`]; [`Cluster::in_namespace`] makes sockets there for the test itself.
//!
//! ```no_run
//! use keyward_testkit::cluster::{Cluster, Options};
//!
//! # fn main() -> Result<(), keyward_testkit::cluster::Error> {
//! let cluster = Cluster::start(Options::named("example"))?;
//! cluster.kubectl(&["create", "secret", "generic", "s", "--from-literal=k=v"], "")?;
//! assert!(cluster.etcd_get("/registry/secrets/default/s")?.is_some());
//! # Ok(())
//! # } // dropping the cluster removes it
//! ```

mod binaries;
mod cleanup;
mod control_plane;
mod error;
mod etcd;
mod images;
mod network;
mod node;
mod state;

pub(crate) use binaries::lock;
pub use binaries::{Binary, cache_folder};
pub use error::Error;
pub use images::{Entry, Image};
pub use network::NODE_ADDRESS;
pub use node::BUSYBOX;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::process::{ProcessId, spawn_detached};
use crate::say;
use binaries::Binaries;
use error::{doing, run, tail};
use network::Namespace;
use state::State;

/// A loaded machine needs a minute for what takes ten seconds.
const READY_LIMIT: Duration = Duration::from_secs(180);
/// No command of a test is worth more.
const COMMAND_LIMIT: Duration = Duration::from_secs(300);
/// How long a component may take to end by itself: the API server drains its requests first.
const GRACE: Duration = Duration::from_secs(90);

/// A process of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Component {
    /// The API server's store.
    Etcd,
    /// The API server.
    ApiServer,
    /// The controllers.
    ControllerManager,
    /// The scheduler; only with a node.
    Scheduler,
    /// The container runtime; only with a node.
    Containerd,
    /// The node's agent; only with a node.
    Kubelet,
    /// Services' addresses; only with a node.
    KubeProxy,
}

impl Component {
    /// The component's usual name, which its log is called by.
    pub fn name(self) -> &'static str {
        match self {
            Component::Containerd => "containerd",
            Component::Etcd => Binary::Etcd.name(),
            Component::ApiServer => Binary::ApiServer.name(),
            Component::ControllerManager => Binary::ControllerManager.name(),
            Component::Scheduler => Binary::Scheduler.name(),
            Component::Kubelet => Binary::Kubelet.name(),
            Component::KubeProxy => Binary::KubeProxy.name(),
        }
    }
}

/// What cluster to start.
#[derive(Clone, Debug)]
pub struct Options {
    name: String,
    node: bool,
    api_server_flags: Vec<String>,
}

impl Options {
    /// A control plane called `name`: 1 to 24 characters of `a-z`, `0-9` and `-`, different for each test that
    /// can run at the same time.
    pub fn named(name: &str) -> Options {
        Options { name: name.to_owned(), node: false, api_server_flags: Vec::new() }
    }

    /// Also a node that runs pods.
    #[must_use]
    pub fn with_node(mut self) -> Options {
        self.node = true;
        self
    }

    /// A flag for the API server, after those every cluster has: `--name=value`.
    #[must_use]
    pub fn api_server_flag(mut self, flag: &str) -> Options {
        self.api_server_flags.push(flag.to_owned());
        self
    }
}

/// Whether a cluster can run here, `node` included or not; the error says why not. Debian's packages that are
/// missing are installed, aloud.
pub fn check(node: bool) -> Result<(), Error> {
    let unavailable = |reason: String| Err(Error::Unavailable(reason));
    if std::env::var_os("KEYWARD_NO_CLUSTER").is_some() {
        return unavailable("KEYWARD_NO_CLUSTER says that no cluster is wanted".into());
    }
    if !rustix::process::geteuid().is_root() {
        return unavailable("making a network namespace needs root; run it again with sudo -E".into());
    }
    node::install_packages(node)?;
    let probe = crate::process::run(Command::new("unshare").args(["--net", "--mount", "true"]), b"", GRACE);
    match probe {
        Ok(finished) if finished.status.success() => {}
        Ok(finished) => return unavailable(format!("namespaces are forbidden: {}", finished.stderr.trim())),
        Err(error) => return unavailable(error.to_string()),
    }
    let missing = Binaries::locate()?.missing(binaries::CONTROL_PLANE);
    if !missing.is_empty() && Command::new("go").arg("version").output().is_err() {
        return unavailable(
            "Kubernetes is built once with Go, which is not installed: see https://go.dev/dl".into(),
        );
    }
    Ok(())
}

/// kubectl, for what it does without a cluster; built where it is not yet.
///
/// # Errors
///
/// Why it cannot be built.
pub fn kubectl() -> Result<PathBuf, Error> {
    let binaries = Binaries::locate()?;
    if !binaries.missing(&[Binary::Kubectl]).is_empty() && Command::new("go").arg("version").output().is_err()
    {
        return Err(Error::Unavailable(
            "kubectl is built once with Go, which is not installed: see https://go.dev/dl".into(),
        ));
    }
    binaries.build(&[Binary::Kubectl])?;
    Ok(binaries.path(Binary::Kubectl))
}

/// A component as `status` shows it.
#[derive(Clone, Copy, Debug)]
pub struct ComponentStatus {
    /// Which.
    pub component: Component,
    /// Its process number; none when it does not run.
    pub pid: Option<u32>,
    /// Its resident memory in KiB.
    pub memory_kib: u64,
}

/// A running cluster. Dropping the handle removes the cluster, unless it was attached to or detached.
#[derive(Debug)]
pub struct Cluster {
    state: State,
    folder: PathBuf,
    namespace: Namespace,
    binaries: Binaries,
    owned: bool,
}

impl Cluster {
    /// Starts a cluster and waits until it is ready. An earlier one of the same name is removed first, left behind
    /// or detached; one that another live process holds is waited for, for ten minutes.
    pub fn start(options: Options) -> Result<Cluster, Error> {
        check(options.node)?;
        let binaries = Binaries::locate()?;
        binaries.build(binaries::CONTROL_PLANE)?;
        if options.node {
            binaries.build(binaries::NODE)?;
        }
        let mut cluster = Cluster::prepare(options, binaries)?;
        cluster.bring_up().inspect_err(|_| cluster.keep_logs())?;
        Ok(cluster)
    }

    /// The cluster called `name` that another process started; none when there is none.
    pub fn attach(name: &str) -> Result<Option<Cluster>, Error> {
        let Some(state) = State::load(name)? else { return Ok(None) };
        Cluster::from(state, Binaries::locate()?, false).map(Some)
    }

    /// The names of the clusters that are kept on this machine, running or left behind.
    pub fn names() -> Result<Vec<String>, Error> {
        state::names()
    }

    /// Removes the cluster called `name`: its processes, pods, mounts, control groups, namespace and files. True
    /// when there was one. Safe at any time, after any crash, and more than once.
    pub fn down(name: &str) -> Result<bool, Error> {
        let _lock = state::lock_name(name)?;
        cleanup::remove(name)
    }

    /// Everything that is left of the cluster called `name`, in words; empty after [`Cluster::down`].
    pub fn remains(name: &str) -> Result<Vec<String>, Error> {
        cleanup::remains(name)
    }

    /// Lets the cluster run on after this process.
    pub fn detach(mut self) -> Result<(), Error> {
        self.state.owner = None;
        self.state.save()?;
        self.owned = false;
        Ok(())
    }

    fn prepare(options: Options, binaries: Binaries) -> Result<Cluster, Error> {
        let Options { name, node, api_server_flags } = options;
        let folder = state::folder(&name)?;
        let _lock = state::claim(&name)?;
        cleanup::remove(&name)?;
        fs::create_dir_all(folder.join("logs")).map_err(doing(format!("making {}", folder.display())))?;
        let owner = ProcessId::of(std::process::id());
        let state =
            State { name, node, owner, api_server_flags, components: Default::default(), mounts: None };
        state.save()?;
        Cluster::from(state, binaries, true)
    }

    fn from(state: State, binaries: Binaries, owned: bool) -> Result<Cluster, Error> {
        let (folder, namespace) = (state::folder(&state.name)?, Namespace::of(&state.name));
        Ok(Cluster { state, folder, namespace, binaries, owned })
    }

    fn bring_up(&mut self) -> Result<(), Error> {
        self.namespace.create()?;
        control_plane::write_credentials(&self.folder)?;
        self.write_programs()?;
        self.start_component(Component::Etcd)?;
        self.start_component(Component::ApiServer)?;
        if self.state.node {
            self.prepare_node()?;
        }
        self.wait_ready(READY_LIMIT)?;
        self.start_component(Component::ControllerManager)?;
        if self.state.node {
            self.join_node()?;
        }
        // Pods need it, and it is what the controllers make last.
        self.wait_until("the default service account", Component::ControllerManager, READY_LIMIT, |cluster| {
            cluster.kubectl(&["--namespace=default", "get", "serviceaccount", "default"], "").is_ok()
        })
    }

    /// The cluster's name.
    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// Whether the cluster stays when the process that started it ends.
    pub fn is_detached(&self) -> bool {
        self.state.owner.is_none()
    }

    /// Whether the cluster has a node.
    pub fn has_node(&self) -> bool {
        self.state.node
    }

    /// The cluster's folder, removed with it. Unix sockets made here are short enough for the kernel.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The administrator's kubeconfig. Its address is reached from inside the namespace only.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("credentials/admin.kubeconfig")
    }

    /// A folder with `kubectl` and `etcdctl` of this cluster, for a person's shell: put it on the `PATH`.
    pub fn programs(&self) -> PathBuf {
        self.folder.join("bin")
    }

    /// The file of a program of this cluster's version.
    pub fn binary(&self, binary: Binary) -> PathBuf {
        self.binaries.path(binary)
    }

    /// Runs `kubectl` as the administrator with `input`, for five minutes at most, and returns its output. What
    /// it says on standard error when it fails is in the error.
    pub fn kubectl(&self, arguments: &[&str], input: &str) -> Result<String, Error> {
        let output = run(self.kubectl_command().args(arguments), input.as_bytes(), COMMAND_LIMIT)?;
        Ok(String::from_utf8_lossy(&output).into_owned())
    }

    /// `kubectl` as the administrator, to be run by the caller.
    pub fn kubectl_command(&self) -> Command {
        let mut command = self.command_in_namespace(self.binaries.path(Binary::Kubectl));
        command.env("KUBECONFIG", self.kubeconfig()).env("KUBECACHEDIR", self.folder.join("kubectl-cache"));
        command
    }

    /// A command that becomes `program` inside the cluster's network namespace, keeping its process number. It is
    /// ended with the cluster at the latest.
    pub fn command_in_namespace(&self, program: impl AsRef<OsStr>) -> Command {
        self.namespace.command(program)
    }

    /// Runs `work` on a thread inside the cluster's network namespace. Sockets it makes stay there wherever they
    /// are used: this is how a test listens where the API server can reach it, at [`NODE_ADDRESS`].
    pub fn in_namespace<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        self.namespace.enter(work)
    }

    /// Starts a component that was stopped. It is not waited for; see [`Cluster::wait_ready`].
    pub fn start_component(&mut self, component: Component) -> Result<(), Error> {
        if self.running(component).is_some() {
            return Ok(());
        }
        let mut command = self.command_of(component)?;
        let process = spawn_detached(&mut command, &self.log_file(component))
            .map_err(doing(format!("starting {}", component.name())))?;
        self.state.components.insert(component, process);
        self.state.save()
    }

    /// Asks a component to end and waits until it has; nothing happens when it does not run.
    pub fn stop_component(&mut self, component: Component) -> Result<(), Error> {
        self.end(component, |process| process.terminate(GRACE))
    }

    /// Ends a component as `kill -9` does, and waits until it has ended.
    pub fn kill_component(&mut self, component: Component) -> Result<(), Error> {
        self.end(component, ProcessId::kill)
    }

    /// Stops and starts a component; of the API server, waits until it is ready again.
    pub fn restart_component(&mut self, component: Component) -> Result<(), Error> {
        self.stop_component(component)?;
        self.start_component(component)?;
        if component == Component::ApiServer { self.wait_ready(READY_LIMIT) } else { Ok(()) }
    }

    /// Replaces the API server's further flags; they count from its next start.
    pub fn set_api_server_flags(&mut self, flags: &[&str]) -> Result<(), Error> {
        self.state.api_server_flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        self.state.save()
    }

    /// Waits until the API server says it is ready, or has ended.
    pub fn wait_ready(&self, limit: Duration) -> Result<(), Error> {
        self.wait_until("the API server to be ready", Component::ApiServer, limit, |cluster| {
            cluster.kubectl(&["get", "--raw=/readyz"], "").is_ok_and(|answer| answer == "ok")
        })
    }

    /// What a component has written so far, over all its starts.
    pub fn log(&self, component: Component) -> Result<String, Error> {
        let file = self.log_file(component);
        crate::process::read_lossy(&file).map_err(doing(format!("reading {}", file.display())))
    }

    /// Which components run, and how much memory they use.
    pub fn status(&self) -> Vec<ComponentStatus> {
        let components = self.state.components.keys().copied();
        components
            .map(|component| {
                let pid = self.running(component).map(ProcessId::pid);
                ComponentStatus { component, pid, memory_kib: pid.map_or(0, resident_kib) }
            })
            .collect()
    }

    fn running(&self, component: Component) -> Option<ProcessId> {
        self.state.components.get(&component).copied().filter(|process| process.is_running())
    }

    fn end(
        &mut self,
        component: Component,
        how: impl FnOnce(ProcessId) -> std::io::Result<()>,
    ) -> Result<(), Error> {
        match self.running(component) {
            Some(process) => how(process).map_err(doing(format!("ending {}", component.name()))),
            None => Ok(()),
        }
    }

    fn command_of(&self, component: Component) -> Result<Command, Error> {
        let (binary, flags) = match component {
            Component::Etcd => (Binary::Etcd, control_plane::etcd_flags(&self.folder)),
            Component::ApiServer => (
                Binary::ApiServer,
                control_plane::api_server_flags(&self.folder, &self.state.api_server_flags),
            ),
            Component::ControllerManager => {
                (Binary::ControllerManager, control_plane::controller_manager_flags(&self.folder))
            }
            Component::Scheduler | Component::Containerd | Component::Kubelet | Component::KubeProxy => {
                return self.node_command(component);
            }
        };
        let mut command = self.command_in_namespace(self.binaries.path(binary));
        command.args(flags);
        Ok(command)
    }

    fn log_file(&self, component: Component) -> PathBuf {
        self.folder.join("logs").join(format!("{}.log", component.name()))
    }

    /// Waits for a condition that `component` brings about; that it ended, or never did, shows its log's end.
    fn wait_until(
        &self,
        what: &str,
        component: Component,
        limit: Duration,
        condition: impl Fn(&Cluster) -> bool,
    ) -> Result<(), Error> {
        let deadline = Instant::now() + limit;
        let not_ready = |what| Err(Error::NotReady { what, log: tail(&self.log_file(component)) });
        loop {
            if condition(self) {
                return Ok(());
            }
            if self.running(component).is_none() {
                return not_ready(format!("{} ended while waiting for {what}", component.name()));
            }
            if Instant::now() >= deadline {
                return not_ready(format!("waited {limit:?} in vain for {what}"));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn write_programs(&self) -> Result<(), Error> {
        use std::os::unix::fs::PermissionsExt;
        let programs = self.programs();
        fs::create_dir_all(&programs).map_err(doing(format!("making {}", programs.display())))?;
        for (name, command) in [("kubectl", self.kubectl_command()), ("etcdctl", self.etcdctl_command())] {
            let variables = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
            let variables: Vec<String> = variables
                .map(|(name, value)| {
                    format!("export {}='{}'\n", name.to_string_lossy(), value.to_string_lossy())
                })
                .collect();
            let words = std::iter::once(command.get_program()).chain(command.get_args());
            let words: Vec<String> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
            let file = programs.join(name);
            let script = format!("#!/bin/sh\n{}exec {} \"$@\"\n", variables.concat(), words.join(" "));
            control_plane::write(&file, &script)?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o700))
                .map_err(doing(format!("making {} executable", file.display())))?;
        }
        Ok(())
    }

    /// Keeps the logs of a failure, which the cluster's folder takes away.
    fn keep_logs(&self) {
        let kept = state::kept_logs(self.name());
        let _ = fs::remove_dir_all(&kept);
        let made = kept.parent().map_or(Ok(()), fs::create_dir_all);
        let moved = made.and_then(|()| fs::rename(self.folder.join("logs"), &kept));
        if moved.is_ok() {
            say(format_args!("the logs of cluster {} are kept in {}", self.name(), kept.display()));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.owned {
            return;
        }
        if std::thread::panicking() {
            self.keep_logs();
        }
        if let Err(error) = Cluster::down(self.name()) {
            say(format_args!("cluster {} could not be removed: {error}", self.name()));
        }
    }
}

fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}
