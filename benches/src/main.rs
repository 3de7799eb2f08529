//! Benchmarks: each line is a ratio against a floor measured in the same run, so that it means the same on a fast
//! machine and a slow one.

mod admission;
mod api_server;
mod authority;
mod bare;
mod certificate;
mod kms;
mod load;
mod measure;
mod seal;
mod server;
mod tls;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Why a benchmark did not come to its end; for people.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The authority over HTTP, beside a bare server of the same library
    Authority(authority::Arguments),
    /// What workloads ask for: conditions, certificates, database users, expiries
    Workloads(authority::Arguments),
    /// The KMS plugin through its socket, beside a call that does nothing
    Kms(kms::Arguments),
    /// Sealing, beside the cryptography it needs; a tree sealed anew; many objects in a cluster
    Seal(seal::Arguments),
    /// Admission policies: decisions, files, the webhook beside one that only answers
    Admission(admission::Arguments),
    /// Load on a server that runs already, for profiling it
    Load(load::Arguments),
    /// The bare server, as a process of its own
    #[command(hide = true)]
    Bare {
        /// Bytes of the answer's body
        body: usize,
        /// Make a certificate for each answer
        #[arg(long)]
        certify: bool,
        /// A certificate chain in PEM, for one over TLS
        #[arg(requires = "key")]
        certificate: Option<PathBuf>,
        /// The certificate's key
        key: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Authority(arguments) => authority::run(&arguments),
        Command::Workloads(arguments) => authority::run_workloads(&arguments),
        Command::Kms(arguments) => kms::run(&arguments),
        Command::Seal(arguments) => seal::run(&arguments),
        Command::Admission(arguments) => admission::run(&arguments),
        Command::Load(arguments) => load::report(&arguments),
        Command::Bare { body, certify, certificate, key } => bare::run(body, certify, certificate.zip(key)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}
