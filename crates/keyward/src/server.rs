//! `keyward server`: an authority from a configuration file.

use crate::cli::Failure;
use crate::services::runtime;
use keyward_authority_server::clock::SteadyClock;
use keyward_authority_server::config::{self, ServerConfig, Storage};
use keyward_authority_server::listener::Listener;
use keyward_authority_server::node::Node;
use keyward_authority_server::{log, server};
use keyward_crypto::SystemRandom;
use keyward_storage::sqlite::Options;
use keyward_storage::{Memory, Sqlite, Store};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The configuration is Keyward's own, Vault's or OpenBao's, in HCL or JSON; docs/configuration.md has every key
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Configuration file, or a folder of .hcl and .json files; may be given more than once
    #[arg(long, required = true, value_name = "PATH")]
    config: Vec<PathBuf>,
    /// Check the configuration and the files it names, and start nothing
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let files = gather(&args.config)?;
    let (config, warnings) = config::read(&files).map_err(|mistakes| Failure::Usage(mistakes.to_string()))?;
    for warning in &warnings {
        eprintln!("WARNING: {warning}");
    }
    if args.check {
        return check(&config);
    }
    log::set_level(config.log_level);
    harden();
    runtime()?.block_on(start(config))
}

fn gather(paths: &[PathBuf]) -> Result<Vec<(String, String)>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        let unreadable =
            |why: std::io::Error| Failure::Usage(format!("{} cannot be read: {why}", path.display()));
        if !path.is_dir() {
            files.push((path.display().to_string(), fs::read_to_string(path).map_err(unreadable)?));
            continue;
        }
        let mut names: Vec<PathBuf> = fs::read_dir(path)
            .map_err(unreadable)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|file| file.file_name().is_some_and(|name| config::is_read(&name.to_string_lossy())))
            .collect();
        names.sort();
        for name in names {
            let text = fs::read_to_string(&name).map_err(unreadable)?;
            files.push((name.display().to_string(), text));
        }
    }
    Ok(files)
}

/// What would keep the server from starting, found without starting it.
fn check(config: &ServerConfig) -> Result<(), Failure> {
    for listener in &config.listeners {
        if let Some(tls) = &listener.tls {
            keyward_tls::configure(tls).map_err(|why| Failure::Usage(why.to_string()))?;
        }
    }
    crate::cli::output::line("The configuration is good.")
}

/// Secrets in memory must not reach a disk by a core dump or swapping.
fn harden() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    if let Err(why) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        log::warn(&format!("core dumps of this process could not be turned off: {why}"));
    }
}

/// The store the configuration names, and the folder's lock with it.
pub(crate) fn open_store(storage: &Storage) -> Result<Arc<dyn Store>, Failure> {
    match storage {
        Storage::Memory => Ok(Arc::new(Memory::new())),
        Storage::Sqlite(folder) => match Sqlite::open(folder, Options::default()) {
            Ok(store) => Ok(Arc::new(store)),
            Err(why) => {
                Err(Failure::Usage(format!("the store in {} cannot be opened: {why}", folder.display())))
            }
        },
    }
}

async fn start(config: ServerConfig) -> Result<(), Failure> {
    let store = open_store(&config.storage)?;
    let node = Node::new(store, Arc::new(SteadyClock::start()), Arc::new(SystemRandom), config.settings());
    let node = Arc::new(node.with_audit(config.audit).with_challenges(config.reach));
    let mut listeners = Vec::new();
    for listener in &config.listeners {
        let bound = Listener::bind(listener).await;
        let bound =
            bound.map_err(|why| Failure::Usage(format!("cannot listen on {}: {why}", listener.address)))?;
        log::info(&format!("listening on {}", bound.address()));
        listeners.push(bound);
    }
    let _pid = config.pid_file.as_deref().map(PidFile::write).transpose()?;
    server::run(node, listeners).await?;
    Ok(())
}

/// The server's process id in a file, for as long as it runs.
struct PidFile(PathBuf);

impl PidFile {
    fn write(path: &Path) -> Result<PidFile, Failure> {
        fs::write(path, format!("{}\n", std::process::id()))
            .map_err(|why| Failure::Usage(format!("pid_file {}: {why}", path.display())))?;
        Ok(PidFile(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
