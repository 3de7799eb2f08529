//! The project's own commands: `cargo xtask help`.

mod bench;
#[cfg(target_os = "linux")]
mod cluster;
mod deny;
mod fuzz;
mod house;
mod setup;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Keyward's own commands, for those who work on it
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure, against floors measured in the same run
    #[command(subcommand)]
    Bench(bench::Command),
    /// A real Kubernetes on this machine, as the tests use it (needs root)
    #[cfg(target_os = "linux")]
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// Check licences, sources and banned dependencies with cargo-deny
    Deny,
    /// Fuzz what reads bytes that others made; lists the targets when none is named
    Fuzz(fuzz::Arguments),
    /// Check the crates' edges and the budgets of files, functions and structs
    House,
    /// Set up what the tests need and run them
    Test(test::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Bench(command) => bench::run(&command),
        #[cfg(target_os = "linux")]
        Command::Cluster(command) => cluster::run(command),
        Command::Deny => deny::run(),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::House => house::run(),
        Command::Test(arguments) => test::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
