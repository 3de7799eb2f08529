//! The age-file provider's identity file.

use super::age_file::{IDENTITY, Provider};

pub(crate) fn run(data: &[u8]) {
    let provider = Provider::with(data);
    if let Some(version) = provider.version() {
        assert!(version.as_str().starts_with("age1"), "{version}");
    }
    provider.folder.close().unwrap();
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    crate::texts(&[IDENTITY, "# created: 2024-01-01\n# public key: age1...\n\nAGE-SECRET-KEY-1\n", ""])
}
