//! `keyward inject`: the webhook that puts the agent into pods.

use crate::cli::{Connection, Failure, client_config};
use crate::services::{ClusterArgs, LogArgs, duration, until_stopped};
use clap::Subcommand;
use keyward_consumption::pod::Setup;
use keyward_injector::{Options, Shown, run as answer};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Put secrets into pods that ask for them
#[derive(Subcommand)]
pub(crate) enum Inject {
    /// Serve the mutating webhook
    Serve(Box<ServeArgs>),
}

/// What pods get, and how the API server is answered. Pods reach the authority at --address, and believe --ca-cert
#[derive(clap::Args)]
pub(crate) struct ServeArgs {
    /// Address to listen at
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9443", env = "KEYWARD_INJECT_LISTEN")]
    listen: SocketAddr,
    /// Name that the API server calls the webhook by, such as keyward-injector.keyward.svc; may be given more than once
    #[arg(
        long = "name",
        value_name = "NAME",
        required_unless_present = "tls_cert",
        env = "KEYWARD_INJECT_NAMES",
        value_delimiter = ','
    )]
    names: Vec<String>,
    /// MutatingWebhookConfiguration to write the certificate to believe into
    #[arg(
        long,
        value_name = "NAME",
        default_value = "keyward-injector",
        env = "KEYWARD_INJECT_CONFIGURATION"
    )]
    configuration: String,
    /// Certificate chain to show in place of one of its own making
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Key of --tls-cert
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    #[command(flatten)]
    pods: PodArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    log: LogArgs,
}

/// What pods get
#[derive(clap::Args)]
#[command(next_help_heading = "Pods")]
struct PodArgs {
    /// Image with this program on its path
    #[arg(long, value_name = "IMAGE", env = "KEYWARD_INJECT_IMAGE")]
    image: String,
    /// When it is pulled: IfNotPresent, Always or Never
    #[arg(long, value_name = "POLICY", default_value = "IfNotPresent", value_parser = ["IfNotPresent", "Always", "Never"])]
    pull_policy: String,
    /// Where the auth method kubernetes is mounted below auth/
    #[arg(long, value_name = "PATH", default_value = "kubernetes", env = "KEYWARD_AUTH_MOUNT")]
    auth_mount: String,
    /// Role that pods log in with unless keyward.io/role names one
    #[arg(long, value_name = "NAME", default_value = "workload", env = "KEYWARD_INJECT_ROLE")]
    role: String,
    /// Where the engine `sealed` is mounted
    #[arg(long, value_name = "PATH", default_value = "sealed", env = "KEYWARD_SEALED_MOUNT")]
    mount: String,
    /// Audience of the agents' tokens, as the role says
    #[arg(long, value_name = "NAME", default_value = "keyward", env = "KEYWARD_INJECT_AUDIENCE")]
    audience: String,
    /// Life of the agents' tokens; at least 10 minutes
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = token_life)]
    token_life: Duration,
    /// Memory for the values of one pod, of which there are two copies while they change
    #[arg(long, value_name = "QUANTITY", default_value = "32Mi")]
    memory: String,
}

/// The kubelet's least.
const SHORTEST_LIFE: Duration = Duration::from_secs(600);

fn token_life(text: &str) -> Result<Duration, String> {
    let life = duration(text)?;
    if life < SHORTEST_LIFE {
        Err("the kubelet issues tokens for 10 minutes or more".to_owned())
    } else {
        Ok(life)
    }
}

pub(crate) fn run(connection: &Connection, command: Inject) -> Result<(), Failure> {
    let Inject::Serve(args) = command;
    let config = client_config(connection)?;
    let ca = match (&config.ca_file, config.ca_pem) {
        (_, Some(pem)) => Some(pem),
        (Some(file), None) => Some(
            std::fs::read_to_string(file)
                .map_err(|why| Failure::Usage(format!("{}: {why}", file.display())))?,
        ),
        (None, None) => None,
    };
    let setup = Setup {
        image: args.pods.image,
        pull_policy: args.pods.pull_policy,
        address: config.address.to_string(),
        ca,
        tls_server_name: config.tls_server_name,
        auth_mount: args.pods.auth_mount,
        role: args.pods.role,
        mount: args.pods.mount,
        audience: args.pods.audience,
        token_life: args.pods.token_life,
        memory: args.pods.memory,
    };
    let shown = match (args.tls_cert, args.tls_key) {
        (Some(certificate), Some(key)) => Shown::Files { certificate, key },
        _ => Shown::Own { names: args.names, configuration: args.configuration },
    };
    let options = Options {
        listen: args.listen,
        shown,
        setup,
        cluster: args.cluster.source(),
        log: args.log.log_level,
    };
    until_stopped(async |stop| {
        answer(options, stop.received()).await.map_err(|why| Failure::Usage(why.to_string()))
    })
}
