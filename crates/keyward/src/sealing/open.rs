//! `keyward open`: a sealed Secret, or with `--age` any age file.

use super::common::{IdentityArgs, at, now, phase};
use crate::cli::Failure;
use crate::cli::output::{Output, raw};
use keyward_crypto::age::scrypt::Passphrase;
use keyward_crypto::age::{self, Error};
use keyward_intent::Phase;
use keyward_sealer::tree::Manifest;
use keyward_sealer::{Keys, Ruled, files, terminal};
use keyward_sealing::{Place, object};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{self, BufReader, Seek, Write};
use std::path::PathBuf;

/// A sealed file, and where it is opened
#[derive(clap::Args)]
pub(crate) struct OpenArgs {
    /// Sealed manifest; with --age any age file, or - for standard input
    file: PathBuf,
    #[command(flatten)]
    identities: IdentityArgs,
    /// Only this value, byte for byte
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Cluster that opens it; any otherwise
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Phase the cluster is in; any otherwise
    #[arg(long, value_name = "PHASE", value_parser = phase)]
    phase: Option<Phase>,
    /// Author whose signature is taken, an SSH public key; those of the rules otherwise
    #[arg(long = "author", value_name = "KEY")]
    authors: Vec<String>,
    /// Open any age file; nothing is written before all of it is known to be whole
    #[arg(long)]
    age: bool,
    /// With --age: open with a passphrase, which is asked for
    #[arg(long, requires = "age")]
    passphrase: bool,
}

pub(super) fn run(output: &Output, args: &OpenArgs) -> Result<(), Failure> {
    if args.age {
        return open_file(args);
    }
    let keys = args.identities.read()?;
    let (_, sealed) = Manifest::read(&args.file)?.only()?;
    let ruled = Ruled::above(&args.file)?;
    let rule = ruled.as_ref().map(|ruled| ruled.rule_for(&args.file)).transpose()?.flatten();
    let by_rule = ruled.as_ref().zip(rule).map(|(ruled, rule)| ruled.rules.authors_of(rule));
    let named: Vec<&str> = args.authors.iter().map(String::as_str).collect();
    let authors = if named.is_empty() { by_rule.filter(|authors| !authors.is_empty()) } else { Some(named) };
    let place = Place {
        cluster: args.cluster.as_deref(),
        phase: args.phase,
        authors: authors.as_deref(),
        ..Place::offline(now())
    };
    if let Some(key) = &args.key {
        let value =
            object::open_one(&sealed, key, &place, &keys.unwraps()).map_err(|why| at(&args.file, why))?;
        return raw(value.value());
    }
    let opened = object::open(&sealed, &place, &keys.unwraps()).map_err(|why| at(&args.file, why))?;
    if !output.is_table() {
        let values: Map<String, Value> = opened
            .values()
            .map(|(key, value)| (key.to_owned(), Value::String(String::from_utf8_lossy(value).into_owned())))
            .collect();
        return output.value(&Value::Object(values));
    }
    raw(object::plain(&sealed, &opened).write()?.expose().as_bytes())
}

/// Two passes: the first proves the file whole, the second writes it.
fn open_file(args: &OpenArgs) -> Result<(), Failure> {
    let mut keys = if args.passphrase { Keys::default() } else { args.identities.read()? };
    if args.passphrase {
        let passphrase = terminal::ask("Passphrase:", true)
            .ok_or_else(|| Failure::Usage("there is no terminal to ask for a passphrase on".to_owned()))?;
        keys.with_passphrase(Passphrase::new(passphrase)?);
    }
    if args.file.as_os_str() == "-" {
        let sealed = files::read(&args.file)?;
        let opened = age::open(sealed.expose(), &keys.unwraps(), usize::MAX)?;
        return raw(opened.expose());
    }
    let mut file = File::open(&args.file).map_err(|why| at(&args.file, why))?;
    let file_key = pass(&file, &keys, None, &mut io::sink()).map_err(|why| at(&args.file, why))?;
    file.rewind().map_err(|why| at(&args.file, why))?;
    let out = io::stdout();
    pass(&file, &keys, Some(file_key), &mut out.lock()).map_err(|why| at(&args.file, why))?;
    Ok(())
}

/// Decrypts a file, with its key when it is known already.
fn pass(
    file: &File,
    keys: &Keys,
    known: Option<age::FileKey>,
    out: &mut dyn Write,
) -> Result<age::FileKey, Error> {
    let mut input = age::armor::detect(BufReader::with_capacity(1 << 16, file))?;
    let header = age::Header::read(&mut input)?;
    let file_key = match known {
        Some(file_key) => file_key,
        None => age::unwrap(&header, &keys.unwraps())?,
    };
    let mut reader = age::begin_payload(&file_key, input)?;
    reader.copy_to(out)?;
    Ok(file_key)
}
