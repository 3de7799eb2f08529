//! What the long-running commands of a cluster have in common.

use crate::cli::Failure;
use keyward_authority_client::KubernetesLogin;
use keyward_kms_plugin::LogLevel;
use keyward_kubernetes::Source;
use keyward_sys::{Quiet, processor_time, release_free_memory, release_program_pages};
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

/// How often it is looked whether work has ended.
const LOOK: Duration = Duration::from_secs(1);

/// Which cluster
#[derive(clap::Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct ClusterArgs {
    /// Kubeconfig file; KUBECONFIG otherwise, then ~/.kube/config, then the pod's own ServiceAccount
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context in it, other than the current one
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

impl ClusterArgs {
    pub(crate) fn source(&self) -> Source {
        Source { kubeconfig: self.kubeconfig.clone(), context: self.context.clone() }
    }
}

/// How to log in to the authority: with the token of a ServiceAccount, by the auth method kubernetes
#[derive(clap::Args, Clone)]
#[command(next_help_heading = "Authority")]
pub(crate) struct LoginArgs {
    /// Where the auth method is mounted below auth/
    #[arg(long, value_name = "PATH", default_value = "kubernetes", env = "KEYWARD_AUTH_MOUNT")]
    auth_mount: String,
    /// Role to log in with
    #[arg(long, value_name = "NAME", env = "KEYWARD_ROLE")]
    role: Option<String>,
    /// File with the ServiceAccount's token; read again with each login
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/var/run/secrets/keyward/token",
        env = "KEYWARD_SERVICE_ACCOUNT_TOKEN_FILE"
    )]
    token_file: PathBuf,
}

impl LoginArgs {
    pub(crate) fn login(self) -> Result<KubernetesLogin, Failure> {
        let role = self.role.ok_or_else(|| {
            Failure::Usage("name the role to log in with: --role, or KEYWARD_ROLE".to_owned())
        })?;
        Ok(KubernetesLogin { mount: self.auth_mount, role, token_file: self.token_file })
    }
}

/// How much is told
#[derive(clap::Args)]
pub(crate) struct LogArgs {
    /// How much is told on standard error: error, warn, info or debug
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "KEYWARD_LOG_LEVEL", value_parser = level)]
    pub(crate) log_level: LogLevel,
}

fn level(text: &str) -> Result<LogLevel, String> {
    let found = LogLevel::ALL.into_iter().find(|level| level.name() == text);
    found.ok_or_else(|| "error, warn, info or debug".to_owned())
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    keyward_core::parse_duration(text).map_err(|why| why.to_string())
}

/// For what waits most of the time, or carries its connections on threads of their own: one worker beside the thread
/// that asks for it.
pub(crate) fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).enable_all().build()
}

/// Runs `work` until it is over; what it is given ends with SIGTERM or SIGINT.
pub(crate) fn until_stopped<W: Future<Output = Result<(), Failure>>>(
    work: impl FnOnce(StopSignal) -> W,
) -> Result<(), Failure> {
    runtime()?.block_on(async { work(StopSignal::listen()?).await })
}

/// Gives back the memory that work took, a second after it has ended: services do much at the start, and little for long.
pub(crate) async fn give_memory_back() {
    let mut quiet = Quiet::after(processor_time());
    loop {
        tokio::time::sleep(LOOK).await;
        if quiet.look(processor_time()) {
            let released = tokio::task::spawn_blocking(|| {
                release_free_memory();
                // Where the system does not tell what can be given back, nothing is.
                release_program_pages()
            });
            let _ = released.await;
        }
    }
}

/// SIGTERM and SIGINT, from when they are listened for.
pub(crate) struct StopSignal {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl StopSignal {
    fn listen() -> io::Result<StopSignal> {
        Ok(StopSignal {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    pub(crate) async fn received(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
