//! Where things are.

use std::path::{Path, PathBuf};

/// The top of the tree this was built from.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_owned()
}
