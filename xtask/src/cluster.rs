//! `cargo xtask cluster`: a test cluster that stays until it is taken down.

use std::error::Error;
use std::time::Instant;

use clap::{Args, Subcommand};
use keyward_testkit::cluster::{Cluster, Options, check};
use keyward_testkit::{continuous_integration, say};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Start a cluster and wait until it is ready; the first time builds Kubernetes
    Up {
        #[command(flatten)]
        name: Name,
        /// Also run a node: scheduler, kubelet, proxy and containerd
        #[arg(long)]
        node: bool,
        /// A flag for the API server, such as --encryption-provider-config=FILE; may be given more than once
        #[arg(long = "api-server-flag", value_name = "FLAG", allow_hyphen_values = true)]
        api_server_flags: Vec<String>,
    },
    /// Remove a cluster: its processes, pods, mounts, network and files, also after a crash
    Down {
        #[command(flatten)]
        name: Name,
    },
    /// Show the clusters on this machine, their processes and memory
    Status,
}

#[derive(Args)]
pub(crate) struct Name {
    /// Which cluster, where there are several
    #[arg(long, default_value = "default", env = "KEYWARD_CLUSTER")]
    name: String,
}

pub(crate) fn run(command: Command) -> Result<(), Box<dyn Error>> {
    match command {
        Command::Up { name, node, api_server_flags } => up(&name.name, node, &api_server_flags),
        Command::Down { name } => down(&name.name),
        Command::Status => status(),
    }
}

fn up(name: &str, node: bool, api_server_flags: &[String]) -> Result<(), Box<dyn Error>> {
    check(false)?;
    let node = node && node_runs_here()?;
    let stays =
        |cluster: &Cluster| cluster.is_detached() && cluster.status().iter().any(|part| part.pid.is_some());
    if Cluster::attach(name)?.as_ref().is_some_and(stays) {
        return Err(format!(
            "cluster {name:?} is up; take it down first: cargo xtask cluster down --name {name}"
        )
        .into());
    }
    let options = Options::named(name);
    let options = if node { options.with_node() } else { options };
    let options = api_server_flags.iter().fold(options, |options, flag| options.api_server_flag(flag));
    let began = Instant::now();
    let cluster = Cluster::start(options)?;
    println!("cluster {name} is ready after {:.1?}", began.elapsed());
    println!("  programs:     export PATH={}:$PATH   # kubectl, etcdctl", cluster.programs().display());
    println!("  kubeconfig:   {}", cluster.kubeconfig().display());
    println!("  logs:         {}", cluster.folder().join("logs").display());
    println!("  run inside:   nsenter --net=/run/netns/keyward-{name} PROGRAM");
    println!("  take it down: cargo xtask cluster down --name {name}");
    Ok(cluster.detach()?)
}

/// Where a node cannot run, says so and goes on without; where nobody reads that, it is an error.
fn node_runs_here() -> Result<bool, Box<dyn Error>> {
    match check(true) {
        Ok(()) => Ok(true),
        Err(reason) if continuous_integration() => Err(reason.into()),
        Err(reason) => {
            say(format_args!("SKIPPED the node: {reason}"));
            Ok(false)
        }
    }
}

fn down(name: &str) -> Result<(), Box<dyn Error>> {
    let found = Cluster::down(name)?;
    println!("cluster {name} {}", if found { "is removed" } else { "was not there" });
    Ok(())
}

fn status() -> Result<(), Box<dyn Error>> {
    let names = Cluster::names()?;
    if names.is_empty() {
        println!("no cluster; start one: cargo xtask cluster up");
    }
    for name in names {
        println!("cluster {name}");
        let Some(cluster) = Cluster::attach(&name)? else {
            println!("  left behind; remove it: cargo xtask cluster down --name {name}");
            continue;
        };
        for part in cluster.status() {
            match part.pid {
                Some(pid) => {
                    println!("  {:<24} {pid:>8} {:>5} MiB", part.component.name(), part.memory_kib / 1024);
                }
                None => println!("  {:<24}  stopped", part.component.name()),
            }
        }
    }
    Ok(())
}
