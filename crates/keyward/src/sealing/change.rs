//! `keyward set`, `unset` and `edit`: one value of a sealed Secret.

use super::common::{IdentityArgs, RecipientArgs, SignArgs, at, now};
use crate::cli::Failure;
use crate::cli::output::Output;
use keyward_crypto::SystemRandom;
use keyward_crypto::secret::SecretBytes;
use keyward_sealer::tree::Manifest;
use keyward_sealer::{files, terminal};
use keyward_sealing::recipients::Sealer;
use keyward_sealing::{Place, object};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A value, and where it goes
#[derive(clap::Args)]
pub(crate) struct SetArgs {
    /// Sealed manifest
    file: PathBuf,
    /// Key of the value
    key: String,
    /// File that holds the value, or - for standard input; asked for at the terminal otherwise
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    #[command(flatten)]
    recipients: RecipientArgs,
    #[command(flatten)]
    sign: SignArgs,
}

/// A value to take out
#[derive(clap::Args)]
pub(crate) struct UnsetArgs {
    /// Sealed manifest
    file: PathBuf,
    /// Key of the value
    key: String,
    #[command(flatten)]
    recipients: RecipientArgs,
    #[command(flatten)]
    sign: SignArgs,
}

/// A value to edit
#[derive(clap::Args)]
pub(crate) struct EditArgs {
    /// Sealed manifest
    file: PathBuf,
    /// Key of the value
    key: String,
    #[command(flatten)]
    identities: IdentityArgs,
    #[command(flatten)]
    recipients: RecipientArgs,
    #[command(flatten)]
    sign: SignArgs,
}

pub(super) fn set(output: &Output, args: &SetArgs) -> Result<(), Failure> {
    let value = match &args.from {
        Some(file) => files::read(file)?,
        None => {
            let question = format!("Value of {} (will be hidden):", args.key);
            let typed = terminal::ask(&question, true).ok_or_else(|| {
                Failure::Usage("there is no terminal to ask for the value on: use --from".to_owned())
            })?;
            keyward_crypto::Secret::new(typed.expose().clone().into_bytes())
        }
    };
    put(&args.file, &args.key, &value, &args.recipients, &args.sign)?;
    output.done(&format!("Set {} in {}", args.key, args.file.display()))
}

fn put(
    file: &Path,
    key: &str,
    value: &SecretBytes,
    recipients: &RecipientArgs,
    sign: &SignArgs,
) -> Result<(), Failure> {
    let mut manifest = Manifest::read(file)?;
    let (document, mut sealed) = manifest.only()?;
    let target = recipients.target(file)?;
    // What is built upon is what a known author made.
    object::verify(&sealed, target.authors()?.as_deref()).map_err(|why| at(file, why))?;
    let sealer =
        Sealer::same(sealed.spec.threshold.as_ref(), &target.audience, target.mixing, &SystemRandom)?;
    if sealed.spec.threshold.is_none() && sealed.spec.recipients != target.audience.ids() {
        let why = "the other values are sealed for other recipients than this one would be: `keyward reseal` it first";
        return Err(at(file, why));
    }
    object::set(&mut sealed, key, value.expose(), &sealer, &sign.read()?, &SystemRandom)
        .map_err(|why| at(file, why))?;
    manifest.put(document, &sealed)?;
    manifest.save()?;
    Ok(())
}

pub(super) fn unset(output: &Output, args: &UnsetArgs) -> Result<(), Failure> {
    let mut manifest = Manifest::read(&args.file)?;
    let (document, mut sealed) = manifest.only()?;
    let target = args.recipients.target(&args.file)?;
    object::verify(&sealed, target.authors()?.as_deref()).map_err(|why| at(&args.file, why))?;
    if !object::unset(&mut sealed, &args.key, &args.sign.read()?)? {
        return Err(at(&args.file, format!("there is no item {}", args.key)));
    }
    manifest.put(document, &sealed)?;
    manifest.save()?;
    output.done(&format!("Took {} out of {}", args.key, args.file.display()))
}

pub(super) fn edit(output: &Output, args: &EditArgs) -> Result<(), Failure> {
    let keys = args.identities.read()?;
    let (_, sealed) = Manifest::read(&args.file)?.only()?;
    let target = args.recipients.target(&args.file)?;
    let authors = target.authors()?;
    let place = Place { authors: authors.as_deref(), ..Place::offline(now()) };
    let opened = object::open_one(&sealed, &args.key, &place, &keys.unwraps());
    let opened = opened.map_err(|why| at(&args.file, why))?;
    let scratch = Scratch::new()?;
    let file = scratch.0.join(&args.key);
    files::create_private(&file, opened.value())?;
    run_editor(&file)?;
    let value = files::read(&file)?;
    if value.is(opened.value()) {
        return output.done("Nothing was changed");
    }
    put(&args.file, &args.key, &value, &args.recipients, &args.sign)?;
    output.done(&format!("Set {} in {}", args.key, args.file.display()))
}

fn run_editor(file: &Path) -> Result<(), Failure> {
    let named = std::env::var("VISUAL").or_else(|_| std::env::var("EDITOR"));
    let editor = named.unwrap_or_else(|_| "vi".to_owned());
    // As Git does: the variable may hold options.
    let ended = Command::new("sh").args(["-c", &format!("{editor} \"$1\""), "sh"]).arg(file).status();
    match ended {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::Usage(format!("the editor ended with {status}: nothing was changed"))),
        Err(why) => Err(Failure::Usage(format!("the editor {editor} cannot be started: {why}"))),
    }
}

/// A folder in memory, where a plaintext may lie while it is edited; overwritten and gone with this value.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Scratch, Failure> {
        let nowhere = || {
            Failure::Usage(
                "there is no file system in memory to edit in (/dev/shm or XDG_RUNTIME_DIR): use `keyward set`".to_owned(),
            )
        };
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let bases = runtime.into_iter().chain([PathBuf::from("/dev/shm")]);
        let base = bases.into_iter().find(|base| is_memory(base)).ok_or_else(nowhere)?;
        let folder = base.join(format!("keyward-edit-{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&folder).map_err(|why| at(&folder, why))?;
        Ok(Scratch(folder))
    }
}

fn is_memory(folder: &Path) -> bool {
    // The number of tmpfs (linux/magic.h).
    rustix::fs::statfs(folder).is_ok_and(|found| found.f_type == 0x0102_1994)
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let length = entry.metadata().map_or(0, |found| found.len());
            let _ = fs::write(entry.path(), vec![0; usize::try_from(length).unwrap_or(0)]);
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}
