//! The one shipped binary: a file per subcommand, wiring only.

#[cfg(feature = "authority")]
mod agent;
#[cfg(feature = "authority")]
mod audit;
#[cfg(feature = "authority")]
mod audit_search;
#[cfg(feature = "authority")]
mod authority;
#[cfg(all(feature = "authority", feature = "seal"))]
mod bundle;
mod cli;
#[cfg(feature = "authority")]
mod data;
#[cfg(feature = "authority")]
mod dev;
#[cfg(feature = "authority")]
mod examples;
#[cfg(feature = "authority")]
mod inject;
#[cfg(feature = "authority")]
mod inventory;
#[cfg(feature = "authority")]
mod kms;
#[cfg(feature = "authority")]
mod kv;
#[cfg(feature = "authority")]
mod lease;
#[cfg(feature = "authority")]
mod login;
#[cfg(feature = "authority")]
mod login_browser;
#[cfg(feature = "authority")]
mod mounts;
#[cfg(feature = "authority")]
mod operator;
#[cfg(feature = "authority")]
mod policy;
#[cfg(feature = "authority")]
mod policy_explain;
#[cfg(feature = "authority")]
mod policy_files;
#[cfg(feature = "authority")]
mod policy_outside;
#[cfg(feature = "authority")]
mod policy_rollout;
#[cfg(feature = "authority")]
mod policy_serve;
#[cfg(feature = "authority")]
mod posture;
#[cfg(feature = "seal")]
mod sealing;
#[cfg(feature = "authority")]
mod server;
#[cfg(feature = "authority")]
mod services;
#[cfg(feature = "authority")]
mod status;
#[cfg(feature = "authority")]
mod token;
#[cfg(feature = "authority")]
mod transit;

use clap::{CommandFactory, Parser, Subcommand};
#[cfg(feature = "authority")]
use cli::Connection;
#[cfg(feature = "seal")]
use cli::output::Output;
use cli::{Failure, OutputArgs};
use std::ffi::OsString;
use std::process::ExitCode;

#[cfg(feature = "authority")]
use examples::KEYWARD as EXAMPLES;
#[cfg(not(feature = "authority"))]
use sealing::examples::KEYWARD as EXAMPLES;

/// Secrets for Kubernetes, with no plaintext at rest.
///
/// Start with `keyward dev`: an authority in memory, ready in a moment. Clients of Vault work with it as they are;
/// the commands below are for people.
#[derive(Parser)]
#[command(version, max_term_width = 110, after_help = EXAMPLES)]
struct Keyward {
    #[cfg(feature = "authority")]
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    output: OutputArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[cfg(feature = "authority")]
    #[command(flatten)]
    Authority(Box<authority::Command>),
    #[cfg(feature = "seal")]
    #[command(flatten)]
    Sealing(Box<sealing::Command>),
    /// Write a completion script for a shell to standard output
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    #[cfg(feature = "hardware")]
    if keyward_sealer::hardware::is_plugin(std::env::args_os().next().as_ref()) {
        return told(keyward_sealer::hardware::serve(std::env::args_os().skip(1)).map_err(Failure::from));
    }
    let arguments = match Keyward::try_parse_from(double_dashed(std::env::args_os())) {
        Ok(arguments) => arguments,
        // Help and the version come this way too.
        Err(mistake) => {
            let _ = mistake.print();
            return ExitCode::from(u8::from(mistake.use_stderr()));
        }
    };
    told(run(arguments))
}

fn told(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let said = failure.to_string();
            if !said.is_empty() {
                eprintln!("{said}");
            }
            ExitCode::from(failure.code())
        }
    }
}

/// `-format=json` as `--format=json`: Vault's command line has long options with one dash. What stands behind `--`
/// stays as it is.
fn double_dashed(words: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    let mut options = true;
    words.map(move |word| {
        options &= word != "--";
        if options { with_two_dashes(word) } else { word }
    })
}

fn with_two_dashes(word: OsString) -> OsString {
    let Some(text) = word.to_str() else { return word };
    let long = text.strip_prefix('-').filter(|rest| !rest.starts_with('-'));
    let name = long.map(|rest| rest.split('=').next().unwrap_or(rest));
    match name {
        Some(name) if name.len() > 1 && name.starts_with(|first: char| first.is_ascii_lowercase()) => {
            OsString::from(format!("-{}", text.replacen(name, &name.replace('_', "-"), 1)))
        }
        _ => word,
    }
}

fn run(arguments: Keyward) -> Result<(), Failure> {
    match arguments.command {
        #[cfg(feature = "authority")]
        Command::Authority(command) => authority::run(&arguments.connection, &arguments.output, *command),
        #[cfg(feature = "seal")]
        Command::Sealing(command) => sealing::run(
            #[cfg(feature = "authority")]
            &arguments.connection,
            &Output::from(&arguments.output),
            *command,
        ),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Keyward::command(), "keyward", &mut std::io::stdout());
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Keyward::command().debug_assert();
    }

    #[test]
    fn one_dash_is_enough() {
        for (given, wanted) in [
            ("-format=json", "--format=json"),
            ("--format=json", "--format=json"),
            ("-key_shares=1", "--key-shares=1"),
            ("-n", "-n"),
            ("-", "-"),
            ("a-b=c", "a-b=c"),
            ("-1", "-1"),
            ("-field", "--field"),
        ] {
            assert_eq!(with_two_dashes(given.into()), OsString::from(wanted), "{given}");
        }
        let words = ["keyward", "-field=x", "--", "-field"].map(OsString::from);
        let read: Vec<OsString> = double_dashed(words.into_iter()).collect();
        assert_eq!(read, ["keyward", "--field=x", "--", "-field"].map(OsString::from));
    }

    /// Every command below `command`, with its words.
    fn each(command: &clap::Command, words: &str, see: &mut dyn FnMut(&clap::Command, &str)) {
        see(command, words);
        for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
            each(below, &format!("{words} {}", below.get_name()), see);
        }
    }

    #[test]
    fn every_command_and_option_says_what_it_is_for() {
        let mut command = Keyward::command();
        command.build();
        each(&command, "keyward", &mut |command, words| {
            assert!(command.get_about().is_some(), "{words}");
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{words}: {}", argument.get_id());
            }
            let is_group = command.get_subcommands().any(|below| below.get_name() != "help");
            let has_examples =
                command.get_after_help().is_some_and(|text| text.to_string().contains("Examples:"));
            assert!(
                !is_group || has_examples || words.ends_with("metadata") || words.ends_with("print"),
                "{words}"
            );
        });
    }

    #[test]
    fn every_example_of_the_help_is_understood() {
        let mut examples = Vec::new();
        each(&Keyward::command(), "keyward", &mut |command, _| {
            let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            examples.extend(text.lines().filter(|line| line.starts_with("  keyward ")).map(str::to_owned));
        });
        assert!(examples.len() > if cfg!(feature = "authority") { 30 } else { 10 }, "{examples:?}");
        for example in examples {
            // What stands behind a pipe is another program.
            let ours =
                example.split(" #").next().and_then(|line| line.split(" | ").next()).unwrap_or_default();
            let words = ours.split_whitespace().map(OsString::from);
            let read = Keyward::try_parse_from(words);
            let asks_for_help = read.as_ref().err().is_some_and(|mistake| !mistake.use_stderr());
            assert!(
                read.is_ok() || asks_for_help,
                "{example}: {}",
                read.err().map(|why| why.to_string()).unwrap_or_default()
            );
        }
    }
}
