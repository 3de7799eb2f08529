//! Files as they stand in a revision of a Git repository, whatever is checked out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The files of a revision, in a folder that goes when this does.
#[derive(Debug)]
pub struct Tree {
    folder: PathBuf,
    /// Where the repository has its root.
    top: PathBuf,
}

impl Tree {
    /// Of the repository that a path is in.
    ///
    /// # Errors
    ///
    /// That `git` is not there, that the path is in no repository, that the revision is none.
    pub fn new(path: &Path, revision: &str) -> Result<Tree, String> {
        if revision.starts_with('-') {
            return Err(format!("{revision} is no revision"));
        }
        let near = if path.is_dir() {
            path
        } else {
            path.parent().filter(|above| above.is_dir()).unwrap_or(Path::new("."))
        };
        let git = |arguments: &[&str]| {
            let out = Command::new("git").arg("-C").arg(near).args(arguments).output();
            let out = out.map_err(|why| format!("git cannot be run: {why}"))?;
            match out.status.success() {
                true => Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned()),
                false => Err(String::from_utf8_lossy(&out.stderr).trim().to_owned()),
            }
        };
        let top = PathBuf::from(git(&["rev-parse", "--show-toplevel"])?);
        let commit = git(&["rev-parse", "--verify", "--end-of-options", &format!("{revision}^{{commit}}")])?;
        let folder = std::env::temp_dir().join(format!("keyward-{}-{commit}", std::process::id()));
        fs::create_dir_all(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
        let tree = Tree { folder, top };
        tree.unpack(&commit)?;
        Ok(tree)
    }

    fn unpack(&self, commit: &str) -> Result<(), String> {
        let failed = |why: std::io::Error| format!("git archive or tar cannot be run: {why}");
        let mut archive = Command::new("git")
            .arg("-C")
            .arg(&self.top)
            .args(["archive", "--format=tar", commit])
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let input = archive.stdout.take().map_or_else(Stdio::null, Stdio::from);
        let unpacked = Command::new("tar")
            .arg("-x")
            .arg("-C")
            .arg(&self.folder)
            .stdin(input)
            .status()
            .map_err(failed)?;
        let archived = archive.wait().map_err(failed)?;
        if archived.success() && unpacked.success() {
            Ok(())
        } else {
            Err(format!("{commit} could not be unpacked"))
        }
    }

    /// Where a path of the repository is in this tree.
    ///
    /// # Errors
    ///
    /// That the path is outside of the repository.
    pub fn path(&self, path: &Path) -> Result<PathBuf, String> {
        let whole = std::path::absolute(path).map_err(|why| why.to_string())?;
        let whole = whole.canonicalize().unwrap_or(whole);
        let top = self.top.canonicalize().unwrap_or_else(|_| self.top.clone());
        match whole.strip_prefix(&top) {
            Ok(within) => Ok(self.folder.join(within)),
            Err(_) => Err(format!("{} is not in the repository at {}", path.display(), top.display())),
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // Left behind it would only take room.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
