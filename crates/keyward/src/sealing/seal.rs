//! `keyward seal`: a Secret, or with `--age` anything.

use super::cluster::InCluster;
use super::common::{self, BoundArgs, RecipientArgs, SignArgs, at, write};
use crate::cli::Failure;
use crate::cli::output::{Output, raw};
use keyward_crypto::SystemRandom;
use keyward_crypto::age::{self, Wrap, armor, scrypt};
use keyward_intent::{SealedSecret, Subject, yaml};
use keyward_sealer::{files, terminal};
use keyward_sealing::recipients::Sealer;
use keyward_sealing::{PlainSecret, object};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A Secret, and what it is bound to
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct SealArgs {
    #[command(subcommand)]
    pub(super) in_cluster: Option<InCluster>,
    /// Manifest of a Secret of v1, or - for standard input
    #[arg(default_value = "-")]
    file: PathBuf,
    #[command(flatten)]
    pub(super) options: SealOptions,
    /// Seal any file as a plain age file, in armor, bound to nothing
    #[arg(long, conflicts_with_all = ["to", "sign_with"])]
    age: bool,
    /// With --age: seal under a passphrase, which is asked for
    #[arg(long, requires = "age", conflicts_with = "recipients")]
    passphrase: bool,
}

/// How to seal
#[derive(clap::Args)]
pub(super) struct SealOptions {
    /// Where the sealed manifest goes, and by whose place the rule is found; standard output otherwise
    #[arg(long, value_name = "FILE")]
    pub(super) to: Option<PathBuf>,
    #[command(flatten)]
    pub(super) recipients: RecipientArgs,
    #[command(flatten)]
    pub(super) sign: SignArgs,
    #[command(flatten)]
    pub(super) bounds: BoundArgs,
}

pub(super) fn run(output: &Output, args: &SealArgs) -> Result<(), Failure> {
    if args.age {
        return seal_file(args);
    }
    let text = files::read_text(&args.file)?;
    let mut sealed = Vec::new();
    for document in yaml::documents(text.expose()) {
        let body = yaml::body(document);
        if body.trim().is_empty() {
            continue;
        }
        let kind: yaml::Kind = yaml::read(body).map_err(|why| at(&args.file, why))?;
        if !PlainSecret::is(&kind) {
            let said = if kind.kind.is_empty() { "something that says no kind" } else { kind.kind.as_str() };
            return Err(at(&args.file, format!("it holds {said}: only Secrets of v1 are sealed")));
        }
        let secret = PlainSecret::read(body).map_err(|why| at(&args.file, why))?;
        sealed.push(args.options.seal(&args.file, &secret, &BTreeSet::new())?);
    }
    if sealed.is_empty() {
        return Err(at(&args.file, "it holds no Secret"));
    }
    args.options.write(output, &sealed)
}

impl SealOptions {
    /// The path whose rule holds.
    fn place<'a>(&'a self, from: &'a Path) -> &'a Path {
        match &self.to {
            Some(to) => to,
            None if from == Path::new("-") => Path::new("."),
            None => from,
        }
    }

    /// Seals a Secret by its rule, for `subjects` too. Where the file it goes to holds an older version, this is the next one.
    pub(super) fn seal(
        &self,
        from: &Path,
        secret: &PlainSecret,
        subjects: &BTreeSet<Subject>,
    ) -> Result<SealedSecret, Failure> {
        let target = self.recipients.target(self.place(from))?;
        let rule = target.rule()?;
        let namespace = secret.metadata.namespace.as_deref().unwrap_or("default");
        let mut bounds = self.bounds.bounds(rule, namespace)?;
        bounds.subjects.extend(subjects.iter().cloned());
        let sealer = Sealer::new(&target.audience, target.mixing, &SystemRandom)?;
        let version = self.next_version(secret)?;
        Ok(object::seal(secret, bounds, version, &sealer, &self.sign.read()?, &SystemRandom)?)
    }

    fn next_version(&self, secret: &PlainSecret) -> Result<u64, Failure> {
        let Some(to) = self.to.as_deref().filter(|to| to.exists()) else { return Ok(1) };
        let older = keyward_sealer::tree::Manifest::read(to)?.sealed()?;
        let same = older.iter().find(|(_, object)| {
            object.metadata.name == secret.metadata.name
                && object.metadata.namespace == secret.metadata.namespace
        });
        match same {
            Some((_, object)) => Ok(object::next(object)?),
            None => Err(at(to, "it is there already, and holds another object")),
        }
    }

    pub(super) fn write(&self, output: &Output, sealed: &[SealedSecret]) -> Result<(), Failure> {
        let texts = sealed.iter().map(SealedSecret::write).collect::<Result<Vec<_>, _>>()?;
        write(self.to.as_deref(), &texts.join("---\n"))?;
        match &self.to {
            Some(to) => output.done(&format!("Sealed {} in {}", named(sealed), to.display())),
            None => Ok(()),
        }
    }
}

fn named(sealed: &[SealedSecret]) -> String {
    let names: Vec<String> =
        sealed.iter().map(|object| format!("{}/{}", object.namespace(), object.metadata.name)).collect();
    names.join(", ")
}

fn seal_file(args: &SealArgs) -> Result<(), Failure> {
    let plaintext = files::read(&args.file)?;
    let sealed = if args.passphrase {
        let passphrase = terminal::ask("Passphrase:", true);
        let again = terminal::ask("The same again:", true);
        let (Some(passphrase), Some(again)) = (passphrase, again) else {
            return Err(Failure::Usage("there is no terminal to ask for a passphrase on".to_owned()));
        };
        if !passphrase.is(again.expose().as_bytes()) {
            return Err(Failure::Usage("the two passphrases differ".to_owned()));
        }
        let recipient = scrypt::Passphrase::new(passphrase)?;
        age::seal(&[&recipient], age::Mixing::Refuse, &SystemRandom, plaintext.expose())?
    } else {
        let recipients = common::parse(&args.options.recipients.recipients)?;
        let wraps: Vec<&dyn Wrap> = recipients.iter().map(|recipient| recipient as &dyn Wrap).collect();
        let mixing =
            if args.options.recipients.allow_mixed { age::Mixing::Allow } else { age::Mixing::Refuse };
        age::seal(&wraps, mixing, &SystemRandom, plaintext.expose())?
    };
    raw(armor::encode(&sealed)?.as_bytes())
}
