//! Looking for secrets in everything that was written.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A secret, and the ways its bytes may be written.
pub struct Canary {
    name: String,
    forms: BTreeSet<String>,
}

impl Canary {
    /// At least eight bytes: fewer are found by chance.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn new(name: impl Into<String>, secret: &[u8]) -> Canary {
        assert!(secret.len() >= 8);
        let mut forms = BTreeSet::from([latin_1(secret), hex(secret), hex(secret).to_uppercase()]);
        for cut in 0..3 {
            // Base64 of a longer text shows the secret's bytes in one of three ways; those it shares with its
            // neighbours are left out.
            let shifted = [vec![0; cut], secret.to_vec()].concat();
            for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
                let text = engine.encode(&shifted);
                let whole = shifted.len() * 8 / 6;
                forms.insert(text[(cut * 8).div_ceil(6)..whole].to_owned());
            }
        }
        Canary { name: name.into(), forms }
    }

    /// The first file below `folder` that has it, in any of its forms.
    fn found_in(&self, files: &[(PathBuf, String)]) -> Option<String> {
        files.iter().find_map(|(path, text)| {
            let form = self.forms.iter().find(|form| text.contains(form.as_str()))?;
            let at = text.find(form.as_str())?;
            let around = text.get(at.saturating_sub(60)..(at + 80).min(text.len())).unwrap_or(form);
            Some(format!("{} in {}: …{around:?}…", self.name, path.display()))
        })
    }
}

/// Where each canary was found in the files below `folder`, one line each.
pub fn sightings(folder: &Path, canaries: &[Canary]) -> Vec<String> {
    let files: Vec<(PathBuf, String)> = files_below(folder)
        .into_iter()
        .map(|path| (path.clone(), latin_1(&std::fs::read(path).unwrap())))
        .collect();
    canaries.iter().filter_map(|canary| canary.found_in(&files)).collect()
}

/// Every file below `folder`.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files_below(&path)),
            false => found.push(path),
        }
    }
    found
}

/// One character a byte, so that bytes are searched as text.
fn latin_1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_is_found_however_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let secret = b"a secret of \xff some length";
        let canary = [Canary::new("ours", secret)];
        let write = |bytes: &[u8]| {
            std::fs::create_dir_all(folder.path().join("deep")).unwrap();
            std::fs::write(folder.path().join("deep/file"), [b"before", bytes, b"after"].concat()).unwrap();
            sightings(folder.path(), &canary).len()
        };
        assert_eq!(write(secret), 1);
        assert_eq!(write(hex(secret).as_bytes()), 1);
        assert_eq!(write(hex(secret).to_uppercase().as_bytes()), 1);
        for before in ["", "x", "xx", "xxx"] {
            for after in ["", "y", "yy"] {
                let longer = [before.as_bytes(), secret, after.as_bytes()].concat();
                assert_eq!(write(STANDARD_NO_PAD.encode(&longer).as_bytes()), 1, "{before} {after}");
                assert_eq!(write(URL_SAFE_NO_PAD.encode(&longer).as_bytes()), 1, "{before} {after}");
            }
        }
        assert_eq!(write(b"a secret of some other length"), 0);
    }
}
