//! `keyward root`: the offline root of trust, and its ceremonies.

use super::common::{IdentityArgs, at, now, parse};
use super::paper;
use crate::cli::Failure;
use crate::cli::output::{Output, line};
use clap::Subcommand;
use keyward_crypto::SystemRandom;
use keyward_crypto::age::{self, Mixing, Recipient, Unwrap, Wrap, armor, pq};
use keyward_crypto::secret::SecretString;
use keyward_intent::{Moment, SealedSecret};
use keyward_sealer::tree::{self, Manifest};
use keyward_sealer::{Keys, files};
use keyward_sealing::recipient_id;
use keyward_sealing::root::{Document, Purpose, Root as Key, Share};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The document's usual name.
const DOCUMENT: &str = "keyward-root.yaml";

/// Make and look after the offline root of trust
#[derive(Subcommand)]
pub(crate) enum Root {
    /// Make a root: shares of it, and the document of what is public
    Init(Box<InitArgs>),
    /// Prove that shares give the root of a document, and that everything in it comes from there
    Verify(VerifyArgs),
    /// Show a document, and what a tree is sealed for
    Status(StatusArgs),
    /// Write what is derived from the root: a sealing identity or the intent signing key
    Derive(DeriveArgs),
    /// Replace the root: the old one signs the new, and both open until everything is sealed anew
    Rotate(Box<RotateArgs>),
    /// Prove that nothing in a tree is sealed for a root any more; exit code 1 when something is
    Retire(RetireArgs),
}

/// Where shares go
#[derive(clap::Args)]
pub(crate) struct ShareArgs {
    /// How many shares
    #[arg(long, value_name = "NUMBER", default_value_t = 5)]
    shares: u8,
    /// How many of them give the root back
    #[arg(long, value_name = "NUMBER", default_value_t = 3)]
    required: u8,
    /// Folder for the shares as files, each for its owner to take away
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
    /// Folder for the shares as pages to print, with QR codes
    #[arg(long, value_name = "FOLDER")]
    paper: Option<PathBuf>,
    /// Custodian: an age recipient, one for each share; the files go to the folder of --to
    #[arg(long = "custodian", value_name = "RECIPIENT", requires = "to")]
    custodians: Vec<String>,
}

/// A new root
#[derive(clap::Args)]
pub(crate) struct InitArgs {
    #[command(flatten)]
    shares: ShareArgs,
    /// What to derive sealing identities for: CLUSTER or CLUSTER/NAMESPACE
    #[arg(long = "for", value_name = "PLACE")]
    places: Vec<String>,
    /// Where the document goes
    #[arg(long, value_name = "FILE", default_value = DOCUMENT)]
    document: PathBuf,
}

/// Shares of a root
#[derive(clap::Args)]
pub(crate) struct FromShares {
    /// File with a share, as text or in an age file; may be given more than once
    #[arg(long = "share", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    identities: IdentityArgs,
}

/// Shares and a document
#[derive(clap::Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    from: FromShares,
    /// The document
    #[arg(long, value_name = "FILE", default_value = DOCUMENT)]
    document: PathBuf,
}

/// A document
#[derive(clap::Args)]
pub(crate) struct StatusArgs {
    /// The document
    #[arg(default_value = DOCUMENT)]
    document: PathBuf,
    /// Folder to count sealed objects in, by recipient
    #[arg(long, value_name = "FOLDER")]
    tree: Vec<PathBuf>,
}

/// What to derive
#[derive(clap::Args)]
pub(crate) struct DeriveArgs {
    /// break-glass, recovery, CLUSTER or CLUSTER/NAMESPACE for an identity; author for the intent signing key
    what: String,
    #[command(flatten)]
    from: FromShares,
    /// The document
    #[arg(long, value_name = "FILE", default_value = DOCUMENT)]
    document: PathBuf,
    /// Where the private key goes; for its owner alone
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

/// The old root, and the new
#[derive(clap::Args)]
pub(crate) struct RotateArgs {
    #[command(flatten)]
    from: FromShares,
    /// The old root's document
    #[arg(long, value_name = "FILE", default_value = DOCUMENT)]
    document: PathBuf,
    /// Where the new root's document goes
    #[arg(long, value_name = "FILE")]
    new_document: PathBuf,
    #[command(flatten)]
    shares: ShareArgs,
    /// What else to derive sealing identities for; what the old document names is taken over
    #[arg(long = "for", value_name = "PLACE")]
    places: Vec<String>,
}

/// A root to retire
#[derive(clap::Args)]
pub(crate) struct RetireArgs {
    /// The old root's document
    document: PathBuf,
    /// The new root's document, which the old root signed
    #[arg(long, value_name = "FILE")]
    new_document: PathBuf,
    /// Folder to search
    #[arg(long, value_name = "FOLDER", required = true)]
    tree: Vec<PathBuf>,
    /// File with a share of the old root: with enough of them every age file is tried, and no manifest is believed
    #[arg(long = "share", value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    identities: IdentityArgs,
}

pub(super) fn run(output: &Output, command: &Root) -> Result<(), Failure> {
    match command {
        Root::Init(args) => init(output, args),
        Root::Verify(args) => verify(output, args),
        Root::Status(args) => status(output, args),
        Root::Derive(args) => derive(output, args),
        Root::Rotate(args) => rotate(output, args),
        Root::Retire(args) => retire(output, args),
    }
}

fn init(output: &Output, args: &InitArgs) -> Result<(), Failure> {
    if args.document.exists() {
        let why = "a root is there already, and is never made anew: `keyward root rotate` replaces it";
        return Err(at(&args.document, why));
    }
    let purposes = args.places.iter().map(|place| Purpose::parse(place)).collect::<Result<Vec<_>, _>>()?;
    let root = Key::generate(None, &SystemRandom);
    make(output, &root, &args.shares, &purposes, None, &args.document)
}

fn rotate(output: &Output, args: &RotateArgs) -> Result<(), Failure> {
    let (old_document, old) = proved(&args.from, &args.document)?;
    let names = old_document.spec.recipients.keys().chain(&args.places);
    let purposes = names.map(|name| Purpose::parse(name)).collect::<Result<Vec<_>, _>>()?;
    let new = Key::generate(Some(&old), &SystemRandom);
    make(output, &new, &args.shares, &purposes, Some(&old), &args.new_document)?;
    output.done(
        "Name both roots' recipients in .keyward.yaml and run `keyward reseal`; then only the new ones, and again. \
         `keyward root retire` proves that nothing is left",
    )
}

/// Writes shares and document, after proving that any enough shares, as they were written, give the root back.
fn make(
    output: &Output,
    root: &Key,
    args: &ShareArgs,
    purposes: &[Purpose],
    old: Option<&Key>,
    to: &Path,
) -> Result<(), Failure> {
    if args.to.is_none() && args.paper.is_none() {
        return Err(Failure::Usage("the shares go nowhere: name a folder with --to or --paper".to_owned()));
    }
    let custodians = parse(&args.custodians)?;
    if !custodians.is_empty() && custodians.len() != usize::from(args.shares) {
        return Err(Failure::Usage("there must be as many --custodian as --shares".to_owned()));
    }
    let created = Moment::of(now());
    let shares = root.split(args.shares, args.required, &SystemRandom)?;
    let document = root.document(created, (args.required, args.shares), purposes, old)?;
    prove(&shares, &document)?;
    for share in &shares {
        let (number, ..) = share.counts();
        if let Some(folder) = &args.to {
            let custodian = custodians.get(usize::from(number) - 1);
            write_share(folder, share, custodian)?;
        }
        if let Some(folder) = &args.paper {
            let page = paper::page(share, &created.to_string())?;
            files::create_private(&folder.join(name(share, "html")), page.expose().as_bytes())?;
        }
    }
    // Last: a document says that its shares are there.
    files::create_public(to, document.write()?.as_bytes())?;
    let rows = vec![
        vec!["Root".to_owned(), document.spec.id.clone()],
        vec!["Generation".to_owned(), document.spec.generation.to_string()],
        vec!["Shares".to_owned(), format!("{} of {} give it back", args.required, args.shares)],
        vec!["Document".to_owned(), to.display().to_string()],
    ];
    output.rows(&["Key", "Value"], &rows, &serde_json::to_value(&document.spec).unwrap_or(Value::Null))
}

fn prove(shares: &[Share], document: &Document) -> Result<(), Failure> {
    let texts: Vec<SecretString> = shares.iter().map(Share::text).collect();
    let read = |text: &SecretString| Share::read(text.expose());
    let required = usize::from(document.spec.required);
    for start in 0..texts.len() {
        let chosen = texts.iter().cycle().skip(start).take(required).map(read);
        let root = Key::combine(&chosen.collect::<Result<Vec<_>, _>>()?)?;
        root.proves(document)?;
    }
    Ok(())
}

fn name(share: &Share, extension: &str) -> String {
    let (number, shares, _) = share.counts();
    format!("root-{}-share-{number}-of-{shares}.{extension}", share.root())
}

fn write_share(folder: &Path, share: &Share, custodian: Option<&Recipient>) -> Result<(), Failure> {
    let (number, shares, required) = share.counts();
    let text = keyward_crypto::Secret::new(format!(
        "# Share {number} of {shares} of root {}; any {required} give it back.\n{}\n",
        share.root(),
        share.text().expose()
    ));
    let Some(recipient) = custodian else {
        return Ok(files::create_private(&folder.join(name(share, "txt")), text.expose().as_bytes())?);
    };
    let wraps: [&dyn Wrap; 1] = [recipient];
    let sealed = age::seal(&wraps, Mixing::Refuse, &SystemRandom, text.expose().as_bytes())?;
    Ok(files::create_private(&folder.join(name(share, "age")), armor::encode(&sealed)?.as_bytes())?)
}

/// The root that shares give, and its document, which belong together.
fn proved(from: &FromShares, document: &Path) -> Result<(Document, Key), Failure> {
    proved_by(&from.files, &from.identities, document)
}

fn proved_by(
    paths: &[PathBuf],
    identities: &IdentityArgs,
    document: &Path,
) -> Result<(Document, Key), Failure> {
    let read = read_document(document)?;
    let keys = match identities.identities.is_empty() {
        true => Keys::default(),
        false => identities.read()?,
    };
    let mut shares = Vec::with_capacity(paths.len());
    for path in paths {
        let bytes = files::read_key(path)?;
        let sealed =
            bytes.expose().starts_with(b"-----BEGIN AGE") || bytes.expose().starts_with(b"age-encryption");
        let text = if sealed {
            age::open(bytes.expose(), &keys.unwraps(), 1 << 16).map_err(|why| at(path, why))?
        } else {
            bytes
        };
        let text = std::str::from_utf8(text.expose()).map_err(|_| at(path, "it is not text"))?;
        shares.push(Share::read(text).map_err(|why| at(path, why))?);
    }
    let root = Key::combine(&shares)?;
    root.proves(&read).map_err(|why| at(document, why))?;
    Ok((read, root))
}

fn verify(output: &Output, args: &VerifyArgs) -> Result<(), Failure> {
    let (document, _) = proved(&args.from, &args.document)?;
    output.told_as(
        &format!(
            "The shares give root {}, and everything in {} comes from it",
            document.spec.id,
            args.document.display()
        ),
        &json!({"id": document.spec.id, "verified": true}),
    )
}

fn derive(output: &Output, args: &DeriveArgs) -> Result<(), Failure> {
    let (_, root) = proved(&args.from, &args.document)?;
    let (public, private) = if args.what == "author" {
        let author = root.author()?;
        let text = author.text().ok_or_else(|| Failure::Usage("the key cannot be written".to_owned()))?;
        (author.public(), text)
    } else {
        let identity = root.identity(&Purpose::parse(&args.what)?);
        (identity.recipient().to_string(), identity.text())
    };
    let text = keyward_crypto::Secret::new(format!("{}\n", private.expose().trim_end()));
    files::create_private(&args.to, text.expose().as_bytes())?;
    output.told_as(&public, &json!({"public": public, "file": args.to}))
}

/// How many objects below folders are sealed for each recipient, by its id.
fn counted(folders: &[PathBuf]) -> Result<BTreeMap<String, usize>, Failure> {
    let mut counts = BTreeMap::new();
    for path in tree::manifests(folders)? {
        for (_, object) in Manifest::read(&path)?.sealed()? {
            for id in ids_of(&object) {
                *counts.entry(id).or_insert(0) += 1;
            }
        }
    }
    Ok(counts)
}

fn ids_of(object: &SealedSecret) -> Vec<String> {
    let shares = object.spec.threshold.iter().flat_map(|threshold| &threshold.shares);
    shares.flat_map(|share| share.recipients.clone()).chain(object.spec.recipients.clone()).collect()
}

/// A document's recipients by their ids.
fn ids(document: &Document) -> Result<BTreeMap<String, String>, Failure> {
    let each = document.spec.recipients.iter().map(|(name, text)| {
        let recipient: Recipient = text.parse()?;
        Ok((recipient_id(&recipient), name.clone()))
    });
    each.collect()
}

fn read_document(path: &Path) -> Result<Document, Failure> {
    let text = files::read_text(path)?;
    Document::read(text.expose()).map_err(|why| at(path, why))
}

fn status(output: &Output, args: &StatusArgs) -> Result<(), Failure> {
    let document = read_document(&args.document)?;
    let counts = if args.tree.is_empty() { BTreeMap::new() } else { counted(&args.tree)? };
    let ids = ids(&document)?;
    if output.is_table() {
        line(&format!(
            "Root {}, generation {}, made {}; {} of {} shares give it back{}",
            document.spec.id,
            document.spec.generation,
            document.spec.created,
            document.spec.required,
            document.spec.shares,
            document
                .spec
                .predecessor
                .as_ref()
                .map_or(String::new(), |old| format!("; it follows {}", old.id)),
        ))?;
    }
    let row = |(id, name): (&String, &String)| {
        vec![name.clone(), id.clone(), counts.get(id).copied().unwrap_or(0).to_string()]
    };
    let mut rows: Vec<Vec<String>> = ids.iter().map(row).collect();
    rows.sort();
    let others = counts.iter().filter(|(id, _)| !ids.contains_key(*id));
    rows.extend(others.map(|(id, count)| vec!["of no root here".to_owned(), id.clone(), count.to_string()]));
    let told = json!({"root": document.spec, "objects": counts});
    output.rows(&["Recipient", "Id", "Objects"], &rows, &told)
}

fn retire(output: &Output, args: &RetireArgs) -> Result<(), Failure> {
    let (old, new) = (read_document(&args.document)?, read_document(&args.new_document)?);
    old.is_followed_by(&new)?;
    let (names, identities) = (ids(&old)?, old_identities(args, &old)?);
    let identities: Vec<&dyn Unwrap> = identities.iter().map(|identity| identity as &dyn Unwrap).collect();
    let (mut left, mut objects) = (Vec::new(), 0);
    for path in tree::manifests(&args.tree)? {
        for (document, object) in Manifest::read(&path)?.sealed()? {
            objects += 1;
            let found = still_open(&object, &names, &identities).map_err(|why| at(&path, why))?;
            left.extend(found.map(|name| vec![path.display().to_string(), document.to_string(), name]));
        }
    }
    let tried = !identities.is_empty();
    let told = json!({"root": old.spec.id, "successor": new.spec.id, "objects": objects, "tried": tried, "left": left});
    if !left.is_empty() {
        output.rows(&["File", "Document", "Sealed for"], &left, &told)?;
        return Err(Failure::Code(1));
    }
    let said = format!(
        "None of {objects} sealed objects is for root {}{}: destroy its shares, and keep its document beside that of {}",
        old.spec.id,
        if tried { "; all were tried with its identities" } else { ", by what the manifests say" },
        new.spec.id
    );
    output.told_as(&said, &told)
}

/// Every identity of the old root, when there are shares of it.
fn old_identities(args: &RetireArgs, old: &Document) -> Result<Vec<pq::Identity>, Failure> {
    if args.files.is_empty() {
        return Ok(Vec::new());
    }
    let (_, root) = proved_by(&args.files, &args.identities, &args.document)?;
    let purposes = old.spec.recipients.keys().map(|name| Purpose::parse(name));
    let identities = purposes.map(|purpose| Ok(root.identity(&purpose?)));
    identities.collect()
}

/// Who of the old root an object is still sealed for.
fn still_open(
    object: &SealedSecret,
    names: &BTreeMap<String, String>,
    identities: &[&dyn Unwrap],
) -> Result<Option<String>, Failure> {
    if let Some(name) = ids_of(object).iter().find_map(|id| names.get(id)) {
        return Ok(Some(name.clone()));
    }
    if !identities.is_empty() {
        return Ok(tree::opens(object, identities)?.then(|| "one of its identities, unnamed".to_owned()));
    }
    let unnamed = object.spec.threshold.is_none() && tree::stanzas(object)? > object.spec.recipients.len();
    Ok(unnamed.then(|| "somebody the manifest does not name".to_owned()))
}
