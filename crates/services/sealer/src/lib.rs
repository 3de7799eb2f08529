//! The I/O face of sealing: what reads and writes files, walks trees of manifests, starts plugins and asks people. It has no
//! network, and whatever it decides is decided in `keyward-sealing`.

pub mod files;
#[cfg(feature = "hardware")]
pub mod hardware;
mod keys;
mod plugins;
mod rules;
pub mod terminal;
pub mod tree;

use std::fmt;
use std::path::{Path, PathBuf};

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

pub use keys::{Keys, signer};
pub use plugins::Programs;
pub use rules::Ruled;

/// Keeps keys out of core dumps and of other processes of the same user, as far as the system allows.
pub fn harden() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    // Where it cannot be had the work is still worth doing: whoever runs it owns the keys.
    let _ = setrlimit(Resource::Core, none);
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// What went wrong, with a file's name in front where there is one.
#[derive(Debug)]
pub struct SealerError(pub String);

impl SealerError {
    /// About a file.
    pub fn at(path: &Path, why: impl fmt::Display) -> SealerError {
        SealerError(format!("{}: {why}", path.display()))
    }
}

impl fmt::Display for SealerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SealerError {}

impl From<keyward_sealing::Failure> for SealerError {
    fn from(why: keyward_sealing::Failure) -> SealerError {
        SealerError(why.to_string())
    }
}

/// Where a document came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file.
    pub path: PathBuf,
    /// The document in it, from 0.
    pub document: usize,
}
