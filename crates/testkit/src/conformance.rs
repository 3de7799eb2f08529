//! Other projects' test data, which is not part of this repository.

use std::path::{Path, PathBuf};

/// Where the data of `name` is: a folder below `KEYWARD_CONFORMANCE`, which is `../shared/conformance` unless it is set.
/// For [`require`](crate::require), which says aloud or fails when it is not there.
pub fn folder(name: &str) -> Result<PathBuf, String> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let given = std::env::var_os("KEYWARD_CONFORMANCE").map(PathBuf::from);
    let folder = repository.join(given.unwrap_or_else(|| "../shared/conformance".into())).join(name);
    match folder.is_dir() {
        true => Ok(folder),
        false => Err(format!(
            "{} is not there: let KEYWARD_CONFORMANCE name the folder of conformance data",
            folder.display()
        )),
    }
}
