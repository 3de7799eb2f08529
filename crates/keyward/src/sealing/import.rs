//! `keyward import`: what other tools sealed, sealed by the rules.

use super::common::at;
use super::seal::SealOptions;
use crate::cli::Failure;
use crate::cli::output::Output;
use keyward_intent::{Subject, ZenLock, yaml};
use keyward_sealer::{Keys, files};
use keyward_sealing::{PlainSecret, import};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Files of other tools, and how to seal what is in them
#[derive(clap::Args)]
pub(crate) struct ImportArgs {
    /// Manifest: a Secret, Bitnami's SealedSecret, a ZenLock, or a Secret that SOPS encrypted
    file: PathBuf,
    /// File of age identities, for SOPS and ZenLock
    #[arg(long = "identity", short = 'i', value_name = "FILE")]
    identities: Vec<PathBuf>,
    /// Private key of the sealed-secrets controller: PEM, or its Secrets as YAML
    #[arg(long, value_name = "FILE")]
    private_key: Option<PathBuf>,
    #[command(flatten)]
    options: SealOptions,
}

pub(super) fn run(output: &Output, args: &ImportArgs) -> Result<(), Failure> {
    let text = files::read_text(&args.file)?;
    let mut sealed = Vec::new();
    for document in yaml::documents(text.expose()) {
        if yaml::body(document).trim().is_empty() {
            continue;
        }
        let (secret, subjects) = opened(args, document).map_err(|why| at(&args.file, why))?;
        sealed.push(args.options.seal(&args.file, &secret, &subjects)?);
    }
    args.options.write(output, &sealed)
}

fn opened(args: &ImportArgs, document: &str) -> Result<(PlainSecret, BTreeSet<Subject>), Failure> {
    let kind: yaml::Kind = yaml::read(yaml::body(document))?;
    if ZenLock::is(&kind) {
        return Ok(import::open_zenlock(document, &keys(args)?.unwraps())?);
    }
    if import::is_sealed_secret(&kind) {
        let file = args.private_key.as_deref().ok_or_else(|| {
            Failure::Usage("it is a SealedSecret: name the controller's key with --private-key".to_owned())
        })?;
        let pem = files::read_key(file)?;
        let pem = yaml::text(pem.expose())?;
        let private = import::PrivateKeys::read(pem).map_err(|why| at(file, why))?;
        return Ok((import::open_sealed_secret(document, &private)?.0, BTreeSet::new()));
    }
    if import::is_sops(document) {
        return Ok((import::open_sops(document, &keys(args)?.unwraps())?, BTreeSet::new()));
    }
    if PlainSecret::is(&kind) {
        return Ok((PlainSecret::read(yaml::body(document))?, BTreeSet::new()));
    }
    Err(Failure::Usage("it is neither a Secret nor a SealedSecret, a ZenLock or a file of SOPS".to_owned()))
}

fn keys(args: &ImportArgs) -> Result<Keys, Failure> {
    if args.identities.is_empty() {
        return Err(Failure::Usage("no identity was given: name a file with --identity".to_owned()));
    }
    Ok(Keys::read(args.identities.iter().map(PathBuf::as_path))?)
}
