//! The rules for a file: of the nearest `.keyward.yaml` above it.

use std::path::{Component, Path, PathBuf};

use keyward_intent::{RULES_FILE, Rule, Rules};

use crate::{SealerError, files};

/// Rules, and the folder they are for.
pub struct Ruled {
    /// What they say.
    pub rules: Rules,
    folder: PathBuf,
}

impl Ruled {
    /// From a file.
    pub fn read(path: &Path) -> Result<Ruled, SealerError> {
        let text = files::read_text(path)?;
        let rules = Rules::read(text.expose()).map_err(|why| SealerError::at(path, why))?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(Ruled { rules, folder: absolute(&folder)? })
    }

    /// The nearest above a file or folder; none where there is none.
    pub fn above(path: &Path) -> Result<Option<Ruled>, SealerError> {
        let from = absolute(path)?;
        for folder in from.ancestors() {
            let file = folder.join(RULES_FILE);
            if file.is_file() {
                return Ruled::read(&file).map(Some);
            }
        }
        Ok(None)
    }

    /// The rule for a file, which need not be there.
    pub fn rule_for(&self, path: &Path) -> Result<Option<&Rule>, SealerError> {
        let whole = absolute(path)?;
        let Ok(below) = whole.strip_prefix(&self.folder) else { return Ok(None) };
        let names: Vec<_> = below.components().map(|name| name.as_os_str().to_string_lossy()).collect();
        Ok(self.rules.rule_for(&names.join("/")))
    }
}

/// A path from the root, without `.` and `..`, whether or not there is something.
fn absolute(path: &Path) -> Result<PathBuf, SealerError> {
    let whole = std::path::absolute(path).map_err(|why| SealerError::at(path, why))?;
    let mut out = PathBuf::new();
    for part in whole.components() {
        match part {
            Component::ParentDir => drop(out.pop()),
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    Ok(out)
}
