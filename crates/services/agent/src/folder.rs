//! Files in memory that change all at once, as those of the kubelet's own volumes do: what stands on top are links into
//! `..data`, itself a link that one rename turns from the old folder to the new one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use keyward_consumption::Layout;
use keyward_crypto::secret::SecretBytes;
use rustix::fs::statfs;

use crate::AgentError;

const DATA: &str = "..data";
const NEXT: &str = "..data_next";
/// `TMPFS_MAGIC` and `RAMFS_MAGIC` of `linux/magic.h`.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// A file to be: with a value, or as it lies there now.
pub(crate) enum Content {
    New(SecretBytes),
    Kept,
}

/// The folder that a workload reads.
pub(crate) struct Folder {
    path: PathBuf,
    /// Of files; folders let those search who may read.
    mode: u32,
}

impl Folder {
    /// Refuses a folder that does not lie in memory, unless `anywhere`.
    pub(crate) fn open(path: &Path, mode: u32, anywhere: bool) -> Result<Folder, AgentError> {
        let wrong = |why: &dyn std::fmt::Display| AgentError::file(path, why);
        if !path.is_dir() {
            return Err(wrong(&"it is no folder: mount an emptyDir with medium Memory there"));
        }
        let kind = statfs(path).map_err(|why| wrong(&why))?.f_type;
        let in_memory = u64::try_from(kind).is_ok_and(|kind| IN_MEMORY.contains(&(kind & 0xffff_ffff)));
        if !in_memory && !anywhere {
            return Err(wrong(
                &"it lies on a disk, where secrets would rest: mount a tmpfs there, or say --on-disk",
            ));
        }
        Ok(Folder { path: path.to_owned(), mode })
    }

    /// Makes `files` all that is there, at once.
    pub(crate) fn replace(&self, files: &BTreeMap<String, Content>) -> Result<(), AgentError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("..{}", now.as_nanos());
        let fresh = self.path.join(&name);
        let written = self.write(&fresh, files).and_then(|()| {
            let next = self.path.join(NEXT);
            remove_file(&next)?;
            symlink(&name, &next)?;
            fs::rename(&next, self.path.join(DATA))
        });
        if let Err(why) = written {
            // Nothing reads it yet.
            let _ = fs::remove_dir_all(&fresh);
            return Err(AgentError::file(&self.path, why));
        }
        let tops = Layout::tops(files.keys().map(String::as_str));
        self.link(&tops).and_then(|()| self.clear(&name)).map_err(|why| AgentError::file(&self.path, why))
    }

    fn write(&self, fresh: &Path, files: &BTreeMap<String, Content>) -> std::io::Result<()> {
        self.make(fresh)?;
        for (file, content) in files {
            let path = fresh.join(file);
            if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
                self.make(parent)?;
            }
            match content {
                Content::Kept => fs::hard_link(self.path.join(DATA).join(file), &path)?,
                Content::New(value) => {
                    let mut made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
                    made.write_all(value.expose())?;
                    // Past the umask, and after the folder's group was inherited.
                    made.set_permissions(fs::Permissions::from_mode(self.mode))?;
                }
            }
        }
        Ok(())
    }

    fn make(&self, folder: &Path) -> std::io::Result<()> {
        DirBuilder::new().mode(0o700).create(folder)?;
        let inherited = fs::metadata(folder)?.permissions().mode() & 0o2000;
        let search = (self.mode & 0o444) >> 2;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700 | self.mode | search | inherited))
    }

    /// Links what stands on top, and takes away the links of what no longer does.
    fn link(&self, tops: &BTreeSet<&str>) -> std::io::Result<()> {
        for top in tops {
            let (at, to) = (self.path.join(top), Path::new(DATA).join(top));
            match symlink(&to, &at) {
                Err(why) if why.kind() == ErrorKind::AlreadyExists && fs::read_link(&at).ok() == Some(to) => {
                }
                made => made?,
            }
        }
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let ours = fs::read_link(entry.path()).is_ok_and(|to| to.starts_with(DATA));
            let wanted = entry.file_name().to_str().is_some_and(|name| tops.contains(name));
            if ours && !wanted {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Removes every folder of values but `current`: older ones, and what a killed agent left.
    fn clear(&self, current: &str) -> std::io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            let ours = name.to_str().is_some_and(|name| {
                name.strip_prefix("..").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
            });
            if ours && name != current && entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    /// Takes everything away that was delivered.
    pub(crate) fn wipe(&self) -> Result<(), AgentError> {
        let wiped = self
            .link(&BTreeSet::new())
            .and_then(|()| remove_file(&self.path.join(DATA)))
            .and_then(|()| self.clear(""));
        wiped.map_err(|why| AgentError::file(&self.path, why))
    }
}

fn remove_file(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(why) if why.kind() != ErrorKind::NotFound => Err(why),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]
    use super::*;
    use keyward_crypto::Secret;

    fn files(content: &[(&str, Option<&str>)]) -> BTreeMap<String, Content> {
        let content = content.iter().map(|(file, text)| {
            let value = text.map(|text| Content::New(Secret::new(text.as_bytes().to_vec())));
            ((*file).to_owned(), value.unwrap_or(Content::Kept))
        });
        content.collect()
    }

    fn names(path: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn everything_changes_at_once_and_nothing_old_stays() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::open(temporary.path(), 0o400, true).unwrap();
        let read = |file: &str| fs::read_to_string(temporary.path().join(file)).unwrap();
        folder
            .replace(&files(&[
                ("db/user", Some("ada")),
                ("db/password", Some("one")),
                ("old/key", Some("k")),
            ]))
            .unwrap();
        assert_eq!((read("db/user"), read("db/password")), ("ada".to_owned(), "one".to_owned()));
        let mode =
            |file: &str| fs::metadata(temporary.path().join(file)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("db/user"), mode("db")), (0o400, 0o700));

        // One value is new, one as it was, an object is gone; a killed agent had left its half of a change.
        fs::create_dir(temporary.path().join("..123")).unwrap();
        folder.replace(&files(&[("db/user", None), ("db/password", Some("two"))])).unwrap();
        assert_eq!((read("db/user"), read("db/password")), ("ada".to_owned(), "two".to_owned()));
        let left = names(temporary.path());
        assert_eq!((left.len(), left[1].as_str(), left[2].as_str()), (3, DATA, "db"), "{left:?}");

        folder.wipe().unwrap();
        assert_eq!(names(temporary.path()), Vec::<String>::new());
    }

    #[test]
    fn what_cannot_be_written_leaves_what_was_there() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::open(temporary.path(), 0o444, true).unwrap();
        folder.replace(&files(&[("key", Some("one"))])).unwrap();
        let before = names(temporary.path());
        assert!(folder.replace(&files(&[("key", Some("two")), ("other", None)])).is_err());
        assert_eq!(names(temporary.path()), before);
        assert_eq!(fs::read_to_string(temporary.path().join("key")).unwrap(), "one");
    }

    #[test]
    fn a_folder_on_a_disk_is_refused() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let why = Folder::open(here, 0o400, false).err().unwrap().to_string();
        assert!(why.contains("tmpfs"), "{why}");
        assert!(Folder::open(&here.join("missing"), 0o400, true).is_err());
        assert!(Folder::open(Path::new("/dev/shm"), 0o400, false).is_ok());
    }
}
