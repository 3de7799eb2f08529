//! `cargo xtask bench`: builds what is shipped and measures it.

use crate::setup::root;
use cargo_metadata::MetadataCommand;
use std::error::Error;
use std::process::Command as Process;

/// What to measure; each prints `NAME ratio X.XX` for every figure, against a floor of the same run
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// The authority over HTTP: reads, writes, encryption, logins, memory, start
    Authority(Arguments),
    /// What workloads ask for: conditions, certificates, database users, the end of many leases
    Workloads(Arguments),
    /// The KMS plugin through its socket: time, memory, descriptors
    Kms(Arguments),
    /// Sealing beside the cryptography it needs; a tree of 10,000 objects sealed anew; as many in a cluster
    Seal(Arguments),
    /// Admission policies: decisions, 10,000 pods of files, the webhook beside one that only answers
    Admission(Arguments),
}

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Shorter and coarser: done within 50 seconds after the build
    #[arg(long)]
    quick: bool,
}

pub(crate) fn run(command: &Command) -> Result<(), Box<dyn Error>> {
    let (what, arguments) = match command {
        Command::Authority(arguments) => ("authority", arguments),
        Command::Workloads(arguments) => ("workloads", arguments),
        Command::Kms(arguments) => ("kms", arguments),
        Command::Seal(arguments) => ("seal", arguments),
        Command::Admission(arguments) => ("admission", arguments),
    };
    let mut build = Process::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.current_dir(root()).args(["build", "--release", "--locked"]);
    build.args(["--package", "keyward", "--package", "keyward-benches"]);
    if !build.status()?.success() {
        return Err("the release build failed".into());
    }
    let built = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec()?;
    let built = built.target_directory.join("release");
    let mut bench = Process::new(built.join("keyward-benches"));
    bench.arg(what).arg("--keyward").arg(built.join("keyward"));
    if arguments.quick {
        bench.arg("--quick");
    }
    if bench.status()?.success() { Ok(()) } else { Err("the benchmark failed".into()) }
}
