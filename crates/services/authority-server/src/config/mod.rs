//! The server's configuration: files in Vault's language in, one typed value or every mistake out.
//!
//! Nothing here touches a file, a socket or the clock: [`read`] is a function of texts. `docs/configuration.md`
//! documents every key; a test keeps it in step with [`keys`].
//!
//! [`schema`] checks each block against its table of keys; `build` then reads what passed. A mistake is
//! reported once, by whichever of them sees it first.

mod address;
mod audit;
mod build;
mod forwarded;
pub mod keys;
mod listener;
mod report;
pub mod schema;
mod storage;
mod vault;

#[cfg(test)]
mod tests;

pub use forwarded::{Forwarded, Untrusted};
pub use report::{Mistake, Mistakes, Warning};

use crate::acts::Reach;
use crate::http::Limits;
use crate::listener::Address;
use crate::log::Level;
use keyward_authority::audit::Device;
use keyward_authority::hcl;
use keyward_authority::settings::{self, Settings};
use keyward_tls::TlsFiles;
use report::Report;
use std::path::PathBuf;
use std::time::Duration;

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// At least one, no two at the same address.
    pub listeners: Vec<Listener>,
    /// Where secrets are kept.
    pub storage: Storage,
    /// Audit devices declared in the files, no two at the same path.
    pub audit: Vec<Device>,
    /// How much the log says.
    pub log_level: Level,
    /// Time to live where nothing else says.
    pub default_lease_ttl: Duration,
    /// Longest time to live where nothing else says.
    pub max_lease_ttl: Duration,
    /// The URL clients reach this server at; empty if the operator did not say.
    pub api_addr: String,
    /// The name shown to clients.
    pub cluster_name: String,
    /// Where challenges of the ACME server may lead to.
    pub reach: Reach,
    /// Gets the server's process id.
    pub pid_file: Option<PathBuf>,
}

/// One listener.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Where.
    pub address: Address,
    /// Plain HTTP without.
    pub tls: Option<TlsFiles>,
    /// What a request may take.
    pub limits: Limits,
    /// Whose `X-Forwarded-For` headers are believed, if anyone's.
    pub forwarded: Option<Forwarded>,
}

/// Where secrets are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Nowhere: they are gone with the process.
    Memory,
    /// In a database in this folder.
    Sqlite(PathBuf),
}

impl ServerConfig {
    /// What the authority itself needs of it.
    pub fn settings(&self) -> Settings {
        Settings {
            default_ttl: self.default_lease_ttl,
            max_ttl: self.max_lease_ttl,
            cluster_name: self.cluster_name.clone(),
            version: settings::VERSION.to_owned(),
            storage_type: match self.storage {
                Storage::Memory => "memory".to_owned(),
                Storage::Sqlite(_) => "sqlite".to_owned(),
            },
            api_addr: self.api_addr.clone(),
        }
    }
}

/// Reads a configuration out of files, each a name and its text, in the order they count: a later file
/// overrides a key of an earlier one, while listeners, audit devices and seals add up.
///
/// Relative paths in it are relative to the server's working directory.
///
/// # Errors
/// Every mistake in every file. A file that is not HCL or JSON counts as one mistake, and what may be said in
/// it is not missed elsewhere.
pub fn read(files: &[(String, String)]) -> Result<(ServerConfig, Vec<Warning>), Mistakes> {
    let mut report = Report::default();
    let mut parsed = Vec::new();
    for (number, (_, text)) in files.iter().enumerate() {
        match hcl::parse(text) {
            Ok(object) => parsed.push((number, object)),
            Err(error) => report.error(number, error),
        }
    }
    for (number, object) in &parsed {
        schema::check(&mut report, *number, object, &keys::ROOT);
    }
    let whole = parsed.len() == files.len();
    let config = build::config(&mut report, &parsed, whole);
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    match config {
        Some(config) if report.mistakes() == 0 => Ok((config, report.warnings(&names))),
        _ => Err(report.failed(&names)),
    }
}

/// Whether a file of a configuration folder is read: `.hcl` and `.json`, but no editor's leftovers. Files are
/// read in the order of their names.
pub fn is_read(file_name: &str) -> bool {
    let wanted = file_name.ends_with(".hcl") || file_name.ends_with(".json");
    wanted && !file_name.starts_with(".#")
}
