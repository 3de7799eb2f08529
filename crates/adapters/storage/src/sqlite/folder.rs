//! The folder a store lives in: who may enter, and that only one process does.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use keyward_core::Fault;

use super::damage::os;

/// The database inside the folder. A backup becomes a store by being put here, in a folder of its own.
pub const DATABASE: &str = "keyward.db";
const LOCK: &str = "keyward.lock";
/// What the lock file says once the database has been set up.
const SET_UP: &[u8] = b"The folder of a Keyward store. This file is its lock.\n";

/// A folder claimed by this process until it is dropped.
pub(super) struct Folder {
    path: PathBuf,
    lock: File,
}

impl Folder {
    /// Creates the folder (mode 0700) if need be, and locks it against other processes.
    ///
    /// A folder that exists keeps its mode, since it may be a mount shared with a group, but one that everybody
    /// may write to is refused: anybody could put another database in place.
    pub(super) fn claim(path: &Path) -> Result<Folder, Fault> {
        create(path)?;
        let lock_path = path.join(LOCK);
        let lock = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(|error| os("opening", &lock_path, &error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Folder { path: path.to_owned(), lock }),
            Err(TryLockError::WouldBlock) => Err(Fault::Io(format!(
                "another process is using {}: stop it first, or choose another folder",
                path.display()
            ))),
            Err(TryLockError::Error(error)) => Err(os("locking", &lock_path, &error)),
        }
    }

    pub(super) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path.join(format!("{DATABASE}-wal"))
    }

    /// Makes sure the database file exists and only its owner may read it; `true` when the database is still to
    /// be set up.
    pub(super) fn prepare(&self) -> Result<bool, Fault> {
        let path = self.database();
        // The file must not be open here once the engine has it: closing it would drop the engine's locks.
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(|error| os("opening", &path, &error))?;
        let about = file.metadata().map_err(|error| os("examining", &path, &error))?;
        if about.permissions().mode() & 0o077 != 0 {
            file.set_permissions(Permissions::from_mode(0o600))
                .map_err(|error| os("restricting", &path, &error))?;
        }
        let known = self.lock.metadata().map_err(|error| os("examining", &self.path, &error))?.len() > 0;
        if known && about.len() == 0 {
            return Err(Fault::Io(format!(
                "{} is missing or empty, though the folder holds a store: restore it from a backup, or remove \
                 the folder to begin a new store",
                path.display()
            )));
        }
        Ok(!known)
    }

    /// Records that the database has been set up, so that its loss is noticed rather than taken for a new store.
    pub(super) fn record(&self) -> Result<(), Fault> {
        let record = || {
            if self.lock.metadata()?.len() == 0 {
                (&self.lock).write_all(SET_UP)?;
                self.lock.sync_all()?;
                File::open(&self.path)?.sync_all()?;
            }
            Ok(())
        };
        record().map_err(|error: std::io::Error| os("writing to", &self.path, &error))
    }

    /// Bytes of the database and its log.
    pub(super) fn bytes(&self) -> u64 {
        [self.database(), self.log()].iter().filter_map(|path| fs::metadata(path).ok()).map(|m| m.len()).sum()
    }
}

fn create(path: &Path) -> Result<(), Fault> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let about = fs::metadata(path).map_err(|error| os("examining", path, &error))?;
            if about.permissions().mode() & 0o002 != 0 {
                return Err(Fault::Io(format!(
                    "everybody may write to {0}: run `chmod 700 {0}`, or choose another folder",
                    path.display()
                )));
            }
            Ok(())
        }
        Err(error) => Err(os("creating", path, &error)),
    }
}

/// Makes the name of a new file or folder outlive a loss of power.
pub(super) fn sync_parent(path: &Path) -> Result<(), Fault> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent).and_then(|folder| folder.sync_all()).map_err(|error| os("writing to", parent, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn only_the_owner_may_enter() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let folder = Folder::claim(&path).unwrap();
        assert!(folder.prepare().unwrap());
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&folder.database()), 0o600);
        assert_eq!(mode(&path.join(LOCK)), 0o600);
        fs::set_permissions(folder.database(), Permissions::from_mode(0o644)).unwrap();
        folder.prepare().unwrap();
        assert_eq!(mode(&folder.database()), 0o600);
    }

    #[test]
    fn a_folder_open_to_all_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        let Err(Fault::Io(why)) = Folder::claim(dir.path()) else { panic!("accepted") };
        assert!(why.contains("chmod 700"), "{why}");
        fs::set_permissions(dir.path(), Permissions::from_mode(0o770)).unwrap();
        Folder::claim(dir.path()).unwrap();
        assert_eq!(mode(dir.path()), 0o770);
    }

    #[test]
    fn a_database_that_vanished_is_not_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::claim(dir.path()).unwrap();
        folder.prepare().unwrap();
        folder.record().unwrap();
        let Err(Fault::Io(why)) = folder.prepare() else { panic!("begun anew") };
        assert!(why.contains("missing or empty"), "{why}");
    }
}
