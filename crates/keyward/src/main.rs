//! The one shipped binary: a file per subcommand, wiring only.

mod audit;
mod audit_search;
mod cli;
mod data;
mod dev;
mod examples;
mod kms;
mod kv;
mod lease;
mod login;
mod login_browser;
mod mounts;
mod operator;
mod policy;
mod policy_files;
mod server;
mod status;
mod token;
mod transit;

use clap::{CommandFactory, Parser, Subcommand};
use cli::output::Output;
use cli::{Connection, Failure, OutputArgs, Session};
use mounts::Class;
use std::ffi::OsString;
use std::process::ExitCode;

/// Secrets for Kubernetes, with no plaintext at rest.
///
/// Start with `keyward dev`: an authority in memory, ready in a moment. Clients of Vault work with it as they are;
/// the commands below are for people.
#[derive(Parser)]
#[command(version, max_term_width = 110, after_help = examples::KEYWARD)]
struct Keyward {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    output: OutputArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start an authority to try things on: initialised, unsealed, on plain HTTP
    Dev(dev::Args),
    /// Start an authority from a configuration file
    Server(server::Args),
    /// Show whether the authority is initialised and unsealed; exit code 2 when it is sealed
    Status,
    /// Log in and keep the token for later commands
    Login(login::Login),
    /// Forget the token that `login` kept
    Logout,
    /// Read any path
    Read(data::ReadArgs),
    /// Write any path
    Write(data::WriteArgs),
    /// Patch any path
    Patch(data::WriteArgs),
    /// List any path
    List(data::PathArgs),
    /// Delete any path
    Delete(data::ReadArgs),
    /// Show what a path is for
    PathHelp(data::PathArgs),
    /// Open a wrapped answer
    Unwrap(data::UnwrapArgs),
    /// Encrypt what a kube-apiserver writes to etcd
    #[command(subcommand, after_help = examples::KMS)]
    Kms(kms::Kms),
    /// Keep and read secrets
    #[command(subcommand, after_help = examples::KV)]
    Kv(kv::Kv),
    /// Encrypt, decrypt and sign with keys that do not leave the authority
    #[command(subcommand, after_help = examples::TRANSIT)]
    Transit(transit::Transit),
    /// Manage ACL policies of the authority, and check admission policies in files
    #[command(subcommand, after_help = examples::POLICY)]
    Policy(policy::Policy),
    /// Manage tokens
    #[command(subcommand, after_help = examples::TOKEN)]
    Token(token::Token),
    /// Manage leases
    #[command(subcommand, after_help = examples::LEASE)]
    Lease(lease::Lease),
    /// Manage secrets engines
    #[command(subcommand, after_help = examples::SECRETS)]
    Secrets(mounts::Mounts),
    /// Manage auth methods
    #[command(subcommand, after_help = examples::AUTH)]
    Auth(mounts::Mounts),
    /// Manage audit devices, verify logs and search them
    #[command(subcommand, after_help = examples::AUDIT)]
    Audit(audit::Audit),
    /// Initialise, unseal, seal and rotate
    #[command(subcommand, after_help = examples::OPERATOR)]
    Operator(operator::Operator),
    /// Print things a script may need
    #[command(subcommand)]
    Print(Print),
    /// Write a completion script for a shell to standard output
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Print things a script may need
#[derive(Subcommand)]
enum Print {
    /// The token later commands would use
    Token,
}

fn main() -> ExitCode {
    let arguments = match Keyward::try_parse_from(double_dashed(std::env::args_os())) {
        Ok(arguments) => arguments,
        // Help and the version come this way too.
        Err(mistake) => {
            let _ = mistake.print();
            return ExitCode::from(u8::from(mistake.use_stderr()));
        }
    };
    match run(arguments) {
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
    if let Command::Kms(command) = arguments.command {
        return kms::run(&arguments.connection, &arguments.output, command);
    }
    match &arguments.command {
        Command::Dev(args) => return dev::run(args),
        Command::Server(args) => return server::run(args),
        Command::Completion { shell } => {
            clap_complete::generate(*shell, &mut Keyward::command(), "keyward", &mut std::io::stdout());
            return Ok(());
        }
        Command::Policy(command) if command.is_about_files() => {
            return policy::of_files(command, &Output::from(&arguments.output));
        }
        Command::Audit(audit::Audit::Verify(verify)) => return audit::run_verify(verify),
        Command::Audit(audit::Audit::Search(search)) if !search.asks_the_authority() => {
            return audit_search::offline(&Output::from(&arguments.output), search);
        }
        _ => {}
    }
    let session = Session::open(&arguments.connection, &arguments.output)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(ask(&session, arguments.command))
}

async fn ask(session: &Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::Dev(_) | Command::Server(_) | Command::Kms(_) | Command::Completion { .. } => Ok(()),
        Command::Status => status::run(session).await,
        Command::Login(login) => login::run(session, &login).await,
        Command::Logout => data::log_out(session),
        Command::Read(args) => data::read(session, &args).await,
        Command::Write(args) => data::write(session, &args).await,
        Command::Patch(args) => data::patch(session, &args).await,
        Command::List(args) => data::list(session, &args).await,
        Command::Delete(args) => data::delete(session, &args).await,
        Command::PathHelp(args) => data::path_help(session, &args).await,
        Command::Unwrap(args) => data::unwrap(session, &args).await,
        Command::Kv(command) => kv::run(session, &command).await,
        Command::Transit(command) => transit::run(session, &command).await,
        Command::Policy(command) => policy::run(session, &command).await,
        Command::Token(command) => token::run(session, &command).await,
        Command::Lease(command) => lease::run(session, &command).await,
        Command::Secrets(command) => mounts::run(session, Class::Secrets, &command).await,
        Command::Auth(command) => mounts::run(session, Class::Auth, &command).await,
        Command::Audit(command) => audit::run(session, &command).await,
        Command::Operator(command) => operator::run(session, &command).await,
        Command::Print(Print::Token) => data::print_token(session),
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
        assert!(examples.len() > 30, "{examples:?}");
        for example in examples {
            let words = example.split(" #").next().unwrap_or_default().split_whitespace().map(OsString::from);
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
