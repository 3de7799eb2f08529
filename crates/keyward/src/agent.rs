//! `keyward agent`: secrets in the memory of one pod.

use crate::cli::{Connection, Failure, client_config};
use crate::services::{ClusterArgs, LogArgs, LoginArgs, duration, until_stopped};
use keyward_agent::{AgentError, Options, To, check, run as deliver};
use keyward_consumption::Layout;
use std::path::PathBuf;
use std::time::Duration;

/// Keeps the values of sealed objects in files in memory, for one pod. `keyward inject serve` puts it there
#[derive(clap::Args)]
pub(crate) struct AgentArgs {
    /// Sealed object to have opened; may be given more than once
    #[arg(long = "object", value_name = "NAME", required_unless_present = "check")]
    objects: Vec<String>,
    /// The pod's namespace
    #[arg(
        long = "of-namespace",
        value_name = "NAME",
        env = "KEYWARD_AGENT_NAMESPACE",
        default_value = "default"
    )]
    of_namespace: String,
    /// Folder for the files; it must lie in memory
    #[arg(long, value_name = "FOLDER", default_value = keyward_consumption::pod::SECRETS_FOLDER)]
    to: PathBuf,
    /// How files are named: folders (OBJECT/KEY) or flat (KEY, of one object)
    #[arg(long, value_name = "LAYOUT", default_value = "folders", value_parser = layout)]
    layout: Layout,
    /// Mode of the files, in octal
    #[arg(long, value_name = "MODE", default_value = "0400", value_parser = mode)]
    mode: u32,
    /// Where the engine `sealed` is mounted
    #[arg(long, value_name = "PATH", default_value = "sealed", env = "KEYWARD_SEALED_MOUNT")]
    mount: String,
    #[command(flatten)]
    login: LoginArgs,
    /// Folder that says how the agent is, for --check
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
    /// Deliver once and end; otherwise values follow the objects, and are taken away at the end
    #[arg(long)]
    once: bool,
    /// Also write to a folder that does not lie in memory, where secrets would rest
    #[arg(long)]
    on_disk: bool,
    /// Write Secrets of the objects' names instead, for what can read nothing else. They rest in etcd, and whoever may read
    /// Secrets reads them; the pod's ServiceAccount must be a sealed subject, and may write Secrets
    #[arg(long, conflicts_with_all = ["to", "layout", "mode", "on_disk"])]
    to_secrets: bool,
    /// With --to-secrets: how etcd keeps Secrets
    #[arg(long, value_enum, value_name = "HOW", default_value = "verified", requires = "to_secrets")]
    at_rest: AtRest,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Ask the agent whose --state it is whether everything is delivered; exit code 2 and the reason when it is not
    #[arg(long, requires = "state")]
    check: bool,
    /// With --check: how long to wait for it
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    wait: Duration,
    #[command(flatten)]
    log: LogArgs,
}

/// How the API server has etcd keep Secrets.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum AtRest {
    /// Encrypted by a KMS plugin, as the API server's metrics say; else nothing is written
    Verified,
    /// Encrypted, on your word
    Encrypted,
    /// In plaintext, or it is not known: accepted
    Plaintext,
}

fn layout(text: &str) -> Result<Layout, String> {
    text.parse().map_err(|why: keyward_consumption::Refused| why.0)
}

fn mode(text: &str) -> Result<u32, String> {
    let read = u32::from_str_radix(text, 8).ok().filter(|mode| mode & !0o444 == 0 && mode & 0o400 != 0);
    read.ok_or_else(|| "files are read by their owner and written by nobody: 0400, 0440 or 0444".to_owned())
}

pub(crate) fn run(connection: &Connection, args: AgentArgs) -> Result<(), Failure> {
    if let (true, Some(state)) = (args.check, &args.state) {
        return check(state, args.wait).map_err(Failure::Remote);
    }
    if args.at_rest == AtRest::Plaintext {
        eprintln!("WARNING: values are written to Secrets, which etcd and its backups keep in plaintext");
    }
    let to = match args.to_secrets {
        true => {
            let at_rest = match args.at_rest {
                AtRest::Verified => keyward_agent::AtRest::Verified,
                AtRest::Encrypted | AtRest::Plaintext => keyward_agent::AtRest::Accepted,
            };
            To::Secrets(args.cluster.source(), at_rest)
        }
        false => To::Files { folder: args.to, layout: args.layout, mode: args.mode, on_disk: args.on_disk },
    };
    let options = Options {
        client: client_config(connection)?,
        login: args.login.login()?,
        mount: args.mount,
        namespace: args.of_namespace,
        objects: args.objects,
        to,
        state: args.state,
        once: args.once,
        log: args.log.log_level,
    };
    until_stopped(async |stop| deliver(options, stop.received()).await.map_err(Failure::from))
}

impl From<AgentError> for Failure {
    fn from(why: AgentError) -> Failure {
        match why.is_lasting() {
            true => Failure::Usage(why.to_string()),
            false => Failure::Remote(why.to_string()),
        }
    }
}
