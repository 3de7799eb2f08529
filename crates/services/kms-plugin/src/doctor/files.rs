//! The files a plugin depends on: whose they are, and who else may touch them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Findings;

pub(super) fn examine(state: Option<&Path>, secrets: &[PathBuf]) -> Findings {
    let mut found = Findings::new("files");
    match state {
        None => found.skip("state folder", "not named"),
        Some(folder) => {
            examine_one(&mut found, "state folder", folder, 0o022, "chmod 0700");
            examine_one(&mut found, "registry", &folder.join("registry.json"), 0o022, "chmod 0600");
        }
    }
    if secrets.is_empty() {
        found.skip("credentials", "none named");
    }
    for file in secrets {
        examine_one(&mut found, "credentials", file, 0o037, "chmod 0600");
    }
    found
}

fn examine_one(found: &mut Findings, name: &'static str, path: &Path, forbidden: u32, remedy: &str) {
    let shown = path.display();
    match fs::metadata(path) {
        Err(error) => {
            found.fail(name, format!("{shown}: {error}"), "correct the path, or run the doctor as root");
        }
        Ok(metadata) if metadata.mode() & forbidden != 0 => {
            found.fail(
                name,
                format!("{shown} has mode {:04o}", metadata.mode() & 0o7777),
                format!("{remedy} {shown}"),
            );
        }
        Ok(metadata) => {
            found
                .ok(name, format!("{shown}, mode {:04o}, user {}", metadata.mode() & 0o7777, metadata.uid()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn exposed_and_absent_files_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let (good, bad) = (folder.path().join("good"), folder.path().join("bad"));
        for (path, mode) in [(&good, 0o600), (&bad, 0o644)] {
            fs::write(path, "x").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let found = examine(Some(folder.path()), &[good, bad, folder.path().join("absent")]);
        let verdicts: Vec<_> = found.checks.iter().map(|check| check.verdict).collect();
        use Verdict::{Failed, Ok};
        assert_eq!(verdicts, [Ok, Failed, Ok, Failed, Failed]);
    }
}
