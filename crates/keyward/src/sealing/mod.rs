//! `keyward seal` and its kin: secrets for Git, made and looked after without a network.

mod change;
mod cluster;
pub(crate) mod common;
pub(crate) mod examples;
mod import;
mod open;
mod paper;
#[cfg(feature = "hardware")]
mod pkcs11;
mod root;
mod seal;
mod tree;

#[cfg(feature = "authority")]
use crate::cli::Connection;
use crate::cli::Failure;
use crate::cli::output::Output;
use clap::Subcommand;
use keyward_sealer::SealerError;

/// What seals, and looks after what is sealed
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Seal a Secret for Git: bound to where it belongs, and signed
    #[command(after_help = examples::SEAL)]
    Seal(Box<seal::SealArgs>),
    /// Open a sealed Secret after checking what it is bound to; or any age file
    #[command(after_help = examples::OPEN)]
    Open(Box<open::OpenArgs>),
    /// Set one value of a sealed Secret, without opening any
    Set(Box<change::SetArgs>),
    /// Take one value out of a sealed Secret, without opening any
    Unset(Box<change::UnsetArgs>),
    /// Change one value of a sealed Secret in an editor, without seeing the others
    Edit(Box<change::EditArgs>),
    /// Seal a tree anew for its present recipients; nothing gets wider by it
    #[command(after_help = examples::RESEAL)]
    Reseal(Box<tree::ResealArgs>),
    /// Find plaintext, expired, unsigned and wrongly sealed Secrets in a tree; exit code 1 when there are any
    #[command(after_help = examples::LINT)]
    Lint(tree::LintArgs),
    /// Show what differs between two versions of a sealed Secret, without values
    Diff(tree::DiffArgs),
    /// Merge two changes of a sealed Secret by its items: a merge driver for Git
    #[command(after_help = examples::MERGE)]
    Merge(Box<tree::MergeArgs>),
    /// Seal what other tools sealed: SealedSecret, SOPS, ZenLock, or plain Secrets
    #[command(after_help = examples::IMPORT)]
    Import(Box<import::ImportArgs>),
    /// Make and look after the offline root of trust
    #[command(subcommand, after_help = examples::ROOT)]
    Root(Box<root::Root>),
    /// Keep identities in tokens by PKCS#11: smart cards, HSMs, TPMs
    #[cfg(feature = "hardware")]
    #[command(subcommand, after_help = examples::PKCS11)]
    Pkcs11(Box<pkcs11::Pkcs11>),
}

pub(crate) fn run(
    #[cfg(feature = "authority")] connection: &Connection,
    output: &Output,
    command: Command,
) -> Result<(), Failure> {
    keyward_sealer::harden();
    match command {
        Command::Seal(mut args) => match args.in_cluster.take() {
            Some(cluster::InCluster::Crds) => cluster::crds(),
            #[cfg(feature = "authority")]
            Some(cluster::InCluster::Serve(args)) => cluster::serve(connection, *args),
            None => seal::run(output, &args),
        },
        Command::Open(args) => open::run(output, &args),
        Command::Set(args) => change::set(output, &args),
        Command::Unset(args) => change::unset(output, &args),
        Command::Edit(args) => change::edit(output, &args),
        Command::Reseal(args) => tree::reseal(output, &args),
        Command::Lint(args) => tree::lint(output, &args),
        Command::Diff(args) => tree::diff(output, &args),
        Command::Merge(args) => tree::merge(&args),
        Command::Import(args) => import::run(output, &args),
        Command::Root(command) => root::run(output, &command),
        #[cfg(feature = "hardware")]
        Command::Pkcs11(command) => pkcs11::run(output, &command),
    }
}

impl From<SealerError> for Failure {
    fn from(why: SealerError) -> Failure {
        Failure::Usage(why.0)
    }
}

impl From<keyward_sealing::Failure> for Failure {
    fn from(why: keyward_sealing::Failure) -> Failure {
        Failure::Usage(why.to_string())
    }
}

impl From<keyward_intent::Invalid> for Failure {
    fn from(why: keyward_intent::Invalid) -> Failure {
        Failure::Usage(why.0)
    }
}

impl From<keyward_crypto::age::Error> for Failure {
    fn from(why: keyward_crypto::age::Error) -> Failure {
        Failure::Usage(why.to_string())
    }
}
