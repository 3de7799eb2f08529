//! What OCI registries have of images: manifests, blobs, and what is attached to an image, by the distribution specification.
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>
//!
//! A registry is anybody: what it answers is bounded in size, time and number, and contents are held against the digest they were
//! asked for by. A registry that does not answer is left alone for a moment, so that whoever waits for it next does not; and no
//! registry has more than a few requests at once, so that a slow one takes nothing from others.
//!
//! Over plain HTTP are only asked registries of this machine, and those that an operator has said so of.

mod challenge;
mod credentials;
mod error;
mod host;
mod manifest;
mod repository;
mod session;

pub use challenge::Challenge;
pub use credentials::{Credential, Keychain};
pub use error::Error;
pub use manifest::{Descriptor, Manifest};
pub use repository::Repository;
pub use session::Session;

use host::Hosts;
use keyward_https::{Client, Limits};
use std::sync::Arc;
use std::time::Duration;

/// The most bytes of a blob that is read.
pub const MOST_BLOB: usize = 10 << 20;
/// The most bytes of a manifest.
pub const MOST_MANIFEST: usize = 4 << 20;
/// The most artifacts of a kind that are looked at for one image.
pub const MOST_REFERRERS: usize = 50;
/// How long one request may take. All that an image needs is bounded by whoever asks.
const REQUEST: Duration = Duration::from_secs(8);

/// How a registry is asked.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Whose certificate it shows does not matter, and plain HTTP is good enough.
    pub insecure: bool,
    /// By which credentials; those that are for the repository are used.
    pub keychain: Arc<Keychain>,
}

/// Asks registries. Shared by reference; one for the whole process.
pub struct Registry {
    client: Client,
    hosts: Hosts,
}

impl Default for Registry {
    fn default() -> Registry {
        Registry::new()
    }
}

impl Registry {
    /// Connects only when asked.
    pub fn new() -> Registry {
        Registry {
            client: Client::new(Limits { duration: REQUEST, body: MOST_BLOB }),
            hosts: Hosts::default(),
        }
    }

    /// What is asked about one repository, with one login.
    pub fn session<'r>(&'r self, repository: &Repository, access: &Access) -> Session<'r> {
        Session::new(self, repository.clone(), access.clone())
    }
}

#[cfg(test)]
mod tests;
