//! `keyward seal crds` and `keyward seal serve`: sealed objects in a cluster.

use crate::cli::Failure;
use crate::cli::output::raw;
#[cfg(feature = "authority")]
use crate::cli::{Connection, client_config};
#[cfg(feature = "authority")]
use crate::services::{ClusterArgs, LogArgs, LoginArgs, duration, give_memory_back, until_stopped};
use clap::Subcommand;
#[cfg(feature = "authority")]
use std::time::Duration;

const CRDS: [&str; 2] = [
    include_str!("../../../../deploy/crds/sealedsecrets.keyward.io.yaml"),
    include_str!("../../../../deploy/crds/zenlocks.security.kube-zen.io.yaml"),
];

/// What a cluster needs for sealed objects
#[derive(Subcommand)]
pub(crate) enum InCluster {
    /// Write the custom resource definitions to standard output, for kubectl apply
    Crds,
    /// Run the controller: registers sealed objects with the authority, and writes their status
    #[cfg(feature = "authority")]
    Serve(Box<ServeArgs>),
}

/// The controller holds no key and sees no value
#[cfg(feature = "authority")]
#[derive(clap::Args)]
pub(crate) struct ServeArgs {
    /// Where the engine `sealed` is mounted
    #[arg(long, value_name = "PATH", default_value = "sealed", env = "KEYWARD_SEALED_MOUNT")]
    mount: String,
    /// Name of this controller among several, different for each: the pod's name
    #[arg(long, value_name = "NAME", env = "KEYWARD_POD_NAME")]
    identity: String,
    /// Lease by which one of several leads; empty where there is only one for sure
    #[arg(long, value_name = "NAME", default_value = "keyward-seal-controller")]
    lease: String,
    /// After how long objects that stand are looked at again
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = duration)]
    resync: Duration,
    #[command(flatten)]
    login: LoginArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    log: LogArgs,
}

pub(super) fn crds() -> Result<(), Failure> {
    raw(CRDS.join("---\n").as_bytes())
}

#[cfg(feature = "authority")]
pub(super) fn serve(connection: &Connection, args: ServeArgs) -> Result<(), Failure> {
    use keyward_seal_controller::{Options, run};
    let options = Options {
        client: client_config(connection)?,
        login: args.login.login()?,
        mount: args.mount,
        cluster: args.cluster.source(),
        identity: args.identity,
        lease: Some(args.lease).filter(|lease| !lease.is_empty()),
        resync: args.resync.max(Duration::from_secs(1)),
        log: args.log.log_level,
    };
    until_stopped(async |stop| {
        tokio::spawn(give_memory_back());
        run(options, stop.received()).await.map_err(|why| Failure::Usage(why.to_string()))
    })
}
