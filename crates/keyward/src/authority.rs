//! The commands that ask an authority, and those that are one.

#[cfg(feature = "seal")]
use crate::bundle;
use crate::cli::output::Output;
use crate::cli::{Connection, Failure, OutputArgs, Session};
use crate::mounts::{self, Class};
use crate::{
    agent, audit, audit_search, data, dev, examples, inject, inventory, kms, kv, lease, login, operator,
    policy, policy_serve, posture, server, status, token, transit,
};
use clap::Subcommand;

/// What asks an authority, or is one
#[derive(Subcommand)]
pub(crate) enum Command {
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
    /// Put secrets into pods that ask for them
    #[command(subcommand, after_help = examples::INJECT)]
    Inject(inject::Inject),
    /// Keep the values of sealed objects in the memory of one pod
    #[command(after_help = examples::AGENT)]
    Agent(Box<agent::AgentArgs>),
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
    /// Show which pods, namespaces and nodes comply with the policies of their cluster
    #[command(subcommand, after_help = examples::POSTURE)]
    Posture(posture::Posture),
    /// Manage tokens
    #[command(subcommand, after_help = examples::TOKEN)]
    Token(token::Token),
    /// Show every sealed secret: who owns it, why it is there, who consumes it, when it changed and by what
    #[command(after_help = examples::INVENTORY)]
    Inventory(inventory::Inventory),
    /// Hand values over to one recipient, once, for a short time
    #[cfg(feature = "seal")]
    #[command(subcommand, after_help = examples::BUNDLE)]
    Bundle(bundle::Bundle),
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
}

/// Print things a script may need
#[derive(Subcommand)]
pub(crate) enum Print {
    /// The token later commands would use
    Token,
}

pub(crate) fn run(connection: &Connection, output: &OutputArgs, command: Command) -> Result<(), Failure> {
    let command = match command {
        Command::Kms(command) => return kms::run(connection, output, command),
        Command::Inject(command) => return inject::run(connection, command),
        Command::Agent(args) => return agent::run(connection, *args),
        Command::Policy(policy::Policy::Serve(args)) => return policy_serve::serve(connection, &args),
        command => command,
    };
    match &command {
        Command::Dev(args) => return dev::run(args),
        Command::Server(args) => return server::run(args),
        Command::Policy(command) if command.is_about_files() => {
            return policy::of_files(command, &Output::from(output));
        }
        Command::Audit(audit::Audit::Verify(verify)) => return audit::run_verify(verify),
        Command::Audit(audit::Audit::Search(search)) if !search.asks_the_authority() => {
            return audit_search::offline(&Output::from(output), search);
        }
        _ => {}
    }
    let session = Session::open(connection, output)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(ask(&session, command))
}

async fn ask(session: &Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::Dev(_) | Command::Server(_) | Command::Kms(_) | Command::Inject(_) | Command::Agent(_) => {
            Ok(())
        }
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
        Command::Posture(command) => posture::run(session, &command).await,
        Command::Token(command) => token::run(session, &command).await,
        Command::Inventory(args) => inventory::run(session, &args).await,
        #[cfg(feature = "seal")]
        Command::Bundle(command) => bundle::run(session, &command).await,
        Command::Lease(command) => lease::run(session, &command).await,
        Command::Secrets(command) => mounts::run(session, Class::Secrets, &command).await,
        Command::Auth(command) => mounts::run(session, Class::Auth, &command).await,
        Command::Audit(command) => audit::run(session, &command).await,
        Command::Operator(command) => operator::run(session, &command).await,
        Command::Print(Print::Token) => data::print_token(session),
    }
}
