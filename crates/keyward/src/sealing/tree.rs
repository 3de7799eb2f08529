//! `keyward reseal`, `lint`, `diff` and `merge`: what is done to sealed files as they lie in Git.

use super::common::{
    IdentityArgs, RecipientArgs, SignArgs, Target, at, both, image, moment, now, phase, selector,
};
use crate::cli::Failure;
use crate::cli::output::{Output, line};
use keyward_crypto::SystemRandom;
use keyward_intent::{Bounds, LabelSelector, Moment, Phase, Rules, SealedSecret, yaml};
use keyward_sealer::tree::{self, Manifest, Outcome};
use keyward_sealer::{Keys, Ruled, SealerError, files};
use keyward_sealing::lint::{self, Weight};
use keyward_sealing::recipients::Sealer;
use keyward_sealing::{Place, Signer, diff, object};
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

/// A tree, and who opens it
#[derive(clap::Args)]
pub(crate) struct ResealArgs {
    /// Sealed manifests, or folders of them
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    identities: IdentityArgs,
    #[command(flatten)]
    recipients: RecipientArgs,
    #[command(flatten)]
    sign: SignArgs,
    /// Earlier expiry; needs an author's key
    #[arg(long, value_name = "TIME", value_parser = moment, requires = "sign_with")]
    not_after: Option<Moment>,
    /// Earlier last phase; needs an author's key
    #[arg(long, value_name = "PHASE", value_parser = phase, requires = "sign_with")]
    phase: Option<Phase>,
    /// More labels that the namespace of who asks must have; needs an author's key
    #[arg(long, value_name = "SELECTOR", value_parser = selector, requires = "sign_with")]
    namespace_selector: Option<LabelSelector>,
    /// One more condition of who asks, in CEL; needs an author's key
    #[arg(long = "condition", value_name = "EXPRESSION", requires = "sign_with")]
    conditions: Vec<String>,
    /// Image to keep of those that containers may run, or the first to name, by its digest; needs an author's key
    #[arg(long = "image", value_name = "DIGEST", value_parser = image, requires = "sign_with")]
    images: Vec<String>,
    /// Also what is sealed for the right recipients already
    #[arg(long)]
    all: bool,
    /// Say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Threads to work with
    #[arg(long, value_name = "NUMBER", default_value_t = 2)]
    threads: usize,
}

impl ResealArgs {
    /// Whether anything that is bound is to be narrower.
    fn is_narrower(&self) -> bool {
        let lists = [&self.conditions, &self.images];
        let demands = self.namespace_selector.is_some() || lists.iter().any(|list| !list.is_empty());
        self.not_after.is_some() || self.phase.is_some() || demands
    }
}

/// What came of one file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Done {
    Resealed,
    Kept,
    Nothing,
}

pub(super) fn reseal(output: &Output, args: &ResealArgs) -> Result<(), Failure> {
    let (keys, signer) = (args.identities.read()?, args.sign.optional()?);
    let paths = tree::manifests(&args.paths)?;
    let work = |path: &Path| reseal_file(args, path, &keys, signer.as_ref());
    let progress = Progress::new(paths.len());
    let outcomes = tree::each(&paths, args.threads, &work, &|done| progress.show(done));
    progress.end();
    let count = |wanted: Done| {
        outcomes.iter().filter(|outcome| outcome.result.as_ref().is_ok_and(|done| *done == wanted)).count()
    };
    let (fresh, kept) = (count(Done::Resealed), count(Done::Kept));
    let failed = say_failures(&outcomes);
    let told = json!({"resealed": fresh, "kept": kept, "failed": failed, "dry_run": args.dry_run});
    let rows = [("Sealed anew", fresh), ("Right already", kept), ("Failed", failed)];
    let rows: Vec<Vec<String>> =
        rows.iter().map(|(name, count)| vec![(*name).to_owned(), count.to_string()]).collect();
    output.rows(&["Files", "Count"], &rows, &told)?;
    if failed > 0 { Err(Failure::Code(1)) } else { Ok(()) }
}

fn say_failures<T>(outcomes: &[Outcome<T>]) -> usize {
    let failures = outcomes.iter().filter_map(|outcome| outcome.result.as_ref().err());
    failures.map(|why| eprintln!("{why}")).count()
}

fn reseal_file(
    args: &ResealArgs,
    path: &Path,
    keys: &Keys,
    signer: Option<&Signer>,
) -> Result<Done, SealerError> {
    let mut manifest = Manifest::read(path)?;
    let sealed = manifest.sealed()?;
    if sealed.is_empty() {
        return Ok(Done::Nothing);
    }
    let target = args.recipients.target(path).map_err(|why| SealerError(why.to_string()))?;
    let narrower = args.is_narrower();
    let mut done = Done::Kept;
    for (document, sealed) in sealed {
        if !args.all && !narrower && target.audience.is_of(&sealed.spec) {
            continue;
        }
        let fresh = match narrower {
            true => narrow(args, &sealed, &target, keys, signer),
            false => anew(&sealed, &target, keys, signer),
        };
        manifest.put(document, &fresh.map_err(|why| SealerError(format!("{}: {why}", path.display())))?)?;
        done = Done::Resealed;
    }
    if !args.dry_run {
        manifest.save()?;
    }
    Ok(done)
}

fn anew(
    sealed: &SealedSecret,
    target: &Target,
    keys: &Keys,
    signer: Option<&Signer>,
) -> Result<SealedSecret, Failure> {
    let authors = target.authors()?;
    let sealer = Sealer::new(&target.audience, target.mixing, &SystemRandom)?;
    Ok(object::reseal(sealed, authors.as_deref(), &keys.unwraps(), &sealer, signer, &SystemRandom)?)
}

fn narrow(
    args: &ResealArgs,
    sealed: &SealedSecret,
    target: &Target,
    keys: &Keys,
    signer: Option<&Signer>,
) -> Result<SealedSecret, Failure> {
    let Some(signer) = signer else {
        return Err(Failure::Usage("narrower bounds need --sign-with".to_owned()));
    };
    let was = &sealed.spec.bounds;
    let bounds = Bounds {
        not_after: args.not_after.or(was.not_after),
        phase: args.phase.unwrap_or(was.phase),
        namespace_selector: both(was.namespace_selector.clone(), args.namespace_selector.clone()),
        conditions: was.conditions.iter().chain(&args.conditions).cloned().collect(),
        images: match args.images.is_empty() {
            false => args.images.iter().cloned().collect(),
            true => was.images.clone(),
        },
        ..was.clone()
    };
    let authors = target.authors()?;
    let place = Place { authors: authors.as_deref(), ..Place::offline(now()) };
    let sealer = Sealer::new(&target.audience, target.mixing, &SystemRandom)?;
    Ok(object::narrow(sealed, bounds, &place, &keys.unwraps(), &sealer, signer, &SystemRandom)?)
}

/// How far a tree is, on standard error where a terminal reads it.
struct Progress {
    all: usize,
    shown: bool,
}

impl Progress {
    fn new(all: usize) -> Progress {
        Progress { all, shown: std::io::stderr().is_terminal() }
    }

    fn show(&self, done: usize) {
        if self.shown && (done.is_multiple_of(50) || done == self.all) {
            let _ = write!(std::io::stderr(), "\r{done} of {} files", self.all);
        }
    }

    fn end(&self) {
        if self.shown && self.all > 0 {
            let _ = writeln!(std::io::stderr());
        }
    }
}

/// What to look at
#[derive(clap::Args)]
pub(crate) struct LintArgs {
    /// Manifests, or folders of them
    #[arg(default_value = ".")]
    paths: Vec<PathBuf>,
    /// Rules to hold them against; the nearest .keyward.yaml above each otherwise
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Warnings fail too
    #[arg(long)]
    strict: bool,
}

pub(super) fn lint(output: &Output, args: &LintArgs) -> Result<(), Failure> {
    let paths = tree::manifests(&args.paths)?;
    let given = args.rules.as_deref().map(Ruled::read).transpose()?;
    let (mut rows, mut told, mut failed) = (Vec::new(), Vec::new(), false);
    for path in &paths {
        for finding in lint_file(path, given.as_ref())? {
            failed |= finding.weight == Weight::Error || args.strict;
            let weight = if finding.weight == Weight::Error { "error" } else { "warning" };
            let shown = path.display().to_string();
            told.push(
                json!({"file": shown, "weight": weight, "rule": finding.rule, "message": finding.said}),
            );
            rows.push(vec![shown, weight.to_owned(), finding.rule.to_owned(), finding.said]);
        }
    }
    match rows.is_empty() && output.is_table() {
        true => line(&format!("{} files, and nothing wrong with them", paths.len()))?,
        false => output.rows(&["File", "Weight", "Rule", "Finding"], &rows, &Value::Array(told))?,
    }
    if failed { Err(Failure::Code(1)) } else { Ok(()) }
}

fn lint_file(path: &Path, given: Option<&Ruled>) -> Result<Vec<lint::Finding>, Failure> {
    let above = if given.is_some() { None } else { Ruled::above(path)? };
    let ruled = given.or(above.as_ref());
    let empty = Rules::empty();
    let rules = ruled.map_or(&empty, |ruled| &ruled.rules);
    let rule = ruled.map(|ruled| ruled.rule_for(path)).transpose()?.flatten();
    let text = files::read(path)?;
    let text = match yaml::text(text.expose()) {
        Ok(text) => text,
        // Others may read it all the same, as UTF-16, and find a Secret.
        Err(why) => {
            return Ok(vec![lint::Finding { weight: Weight::Error, rule: "unreadable", said: why.0 }]);
        }
    };
    let documents = yaml::documents(text);
    Ok(documents.into_iter().flat_map(|document| lint::document(document, rules, rule, now())).collect())
}

/// Two versions
#[derive(clap::Args)]
pub(crate) struct DiffArgs {
    /// The older one; /dev/null when there is none
    old: PathBuf,
    /// The newer one
    new: PathBuf,
}

pub(super) fn diff(output: &Output, args: &DiffArgs) -> Result<(), Failure> {
    let read = |path: &Path| -> Result<Option<SealedSecret>, Failure> {
        match files::read(path)?.expose().is_empty() {
            true => Ok(None),
            false => Ok(Some(Manifest::read(path)?.only()?.1)),
        }
    };
    let changes = diff::between(read(&args.old)?.as_ref(), read(&args.new)?.as_ref());
    let cell = |side: &Option<String>| side.clone().unwrap_or_else(|| "-".to_owned());
    let rows: Vec<Vec<String>> = changes
        .iter()
        .map(|change| vec![change.field.clone(), cell(&change.old), cell(&change.new)])
        .collect();
    let told: Vec<Value> = changes
        .iter()
        .map(|change| json!({"field": change.field, "old": change.old, "new": change.new}))
        .collect();
    match rows.is_empty() && output.is_table() {
        true => line("The same, but for ciphertext"),
        false => output.rows(&["Field", "Old", "New"], &rows, &Value::Array(told)),
    }
}

/// What Git gives a merge driver: %O %A %B %P
#[derive(clap::Args)]
pub(crate) struct MergeArgs {
    /// The common ancestor; empty when there is none
    base: PathBuf,
    /// Ours, where the result goes
    ours: PathBuf,
    /// Theirs
    theirs: PathBuf,
    /// The path in the repository, for messages
    path: Option<PathBuf>,
    #[command(flatten)]
    sign: SignArgs,
}

pub(super) fn merge(args: &MergeArgs) -> Result<(), Failure> {
    let shown = args.path.as_deref().unwrap_or(&args.ours);
    let signer = args.sign.read()?;
    let mut ours = Manifest::read(&args.ours)?;
    let (document, mine) = ours.only()?;
    let theirs = Manifest::read(&args.theirs)?.only()?.1;
    let base = Manifest::read(&args.base).and_then(|manifest| manifest.only()).ok().map(|(_, object)| object);
    for (side, object) in [("ours", &mine), ("theirs", &theirs)] {
        object::verify(object, None).map_err(|why| at(shown, format!("{side}: {why}")))?;
    }
    let merged = object::merge(base.as_ref(), &mine, &theirs, &signer)
        .map_err(|conflicts| at(shown, format!("changed on both sides: {}", conflicts.join(", "))))?;
    ours.put(document, &merged)?;
    ours.save()?;
    Ok(())
}
