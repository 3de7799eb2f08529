//! Files: read within a limit, written whole or not at all, secrets for their owner alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use keyward_crypto::Secret;
use keyward_crypto::secret::{SecretBytes, SecretString};
use keyward_intent::yaml;

use crate::SealerError;

/// The longest key file.
const LONGEST_KEY: u64 = 1 << 20;

fn open(path: &Path) -> Result<(Box<dyn Read>, usize), SealerError> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin()), 0));
    }
    let file = File::open(path).map_err(|why| SealerError::at(path, why))?;
    let length = file.metadata().map_or(0, |found| usize::try_from(found.len()).unwrap_or(0));
    Ok((Box::new(file), length))
}

fn read_within(path: &Path, limit: u64) -> Result<SecretBytes, SealerError> {
    let (file, length) = open(path)?;
    // As large as the file is, so that no copy of a secret stays behind; standard input may grow.
    let mut bytes = Vec::with_capacity(length.min(yaml::LONGEST) + 1);
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|why| SealerError::at(path, why))?;
    if bytes.len() as u64 > limit {
        return Err(SealerError::at(path, format!("it is longer than {} MiB", limit >> 20)));
    }
    Ok(Secret::new(bytes))
}

/// A file whole; `-` is standard input.
pub fn read(path: &Path) -> Result<SecretBytes, SealerError> {
    read_within(path, yaml::LONGEST as u64)
}

/// A manifest as text.
pub fn read_text(path: &Path) -> Result<SecretString, SealerError> {
    let bytes = read(path)?;
    let text = yaml::text(bytes.expose()).map_err(|why| SealerError::at(path, why))?;
    Ok(Secret::new(text.to_owned()))
}

/// A file that holds a key: its owner's alone, or it is refused.
pub fn read_key(path: &Path) -> Result<SecretBytes, SealerError> {
    if let Ok(found) = fs::metadata(path)
        && found.is_file()
        && found.permissions().mode() & 0o077 != 0
    {
        let why = "others than its owner can read or change this key: chmod 600 it";
        return Err(SealerError::at(path, why));
    }
    read_within(path, LONGEST_KEY)
}

/// Writes a new file for its owner alone. What is there already is never overwritten.
pub fn create_private(path: &Path, bytes: &[u8]) -> Result<(), SealerError> {
    create(path, bytes, 0o600)
}

/// Writes a new file that anybody may read.
pub fn create_public(path: &Path, bytes: &[u8]) -> Result<(), SealerError> {
    fits(path, bytes)?;
    create(path, bytes, 0o644)
}

/// Several documents may be longer together than what is read of one file.
fn fits(path: &Path, bytes: &[u8]) -> Result<(), SealerError> {
    match bytes.len() <= yaml::LONGEST {
        true => Ok(()),
        false => Err(SealerError::at(path, "it would be longer than 64 MiB: divide the file")),
    }
}

fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<(), SealerError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = made.map_err(|why| match why.kind() {
        io::ErrorKind::AlreadyExists => SealerError::at(path, "it is there already, and is not overwritten"),
        _ => SealerError::at(path, why),
    })?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.map_err(|why| {
        let _ = fs::remove_file(path);
        SealerError::at(path, why)
    })
}

/// Puts new contents in the place of a file, whole or not at all, with the permissions it had.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), SealerError> {
    fits(path, bytes)?;
    // A link stays one: what it points to is replaced.
    let path = fs::canonicalize(path).map_err(|why| SealerError::at(path, why))?;
    let mode = fs::metadata(&path).map_err(|why| SealerError::at(&path, why))?.permissions();
    let fresh = beside(&path);
    create(&fresh, bytes, 0o600)?;
    let moved = fs::set_permissions(&fresh, mode).and_then(|()| fs::rename(&fresh, &path));
    moved.map_err(|why| {
        let _ = fs::remove_file(&fresh);
        SealerError::at(&path, why)
    })
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.keyward", std::process::id()))
}
