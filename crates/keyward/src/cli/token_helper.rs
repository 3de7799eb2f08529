//! The token file: where `login` leaves the token for later commands, as Vault's own command line does, so that
//! either finds what the other left.

use keyward_crypto::Secret;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

fn file() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty())?;
    Some(PathBuf::from(home).join(".vault-token"))
}

/// The token left by the last login.
pub(crate) fn read() -> io::Result<Option<Secret<String>>> {
    let Some(file) = file() else { return Ok(None) };
    match fs::read_to_string(file) {
        Ok(text) if text.trim().is_empty() => Ok(None),
        Ok(text) => Ok(Some(Secret::new(text.trim().to_owned()))),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(why),
    }
}

/// Leaves `token` for later commands, readable by its owner only. Written beside and renamed, so that a command
/// that reads meanwhile finds a whole one.
pub(crate) fn store(token: &str) -> io::Result<()> {
    let file = file().ok_or_else(|| io::Error::other("HOME is not set: there is no place for the token"))?;
    let beside = file.with_extension(format!("new.{}", std::process::id()));
    let mut opened = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    opened.write_all(token.as_bytes())?;
    fs::rename(beside, file)
}

/// Forgets the token.
pub(crate) fn erase() -> io::Result<()> {
    match file().map(fs::remove_file) {
        Some(Err(why)) if why.kind() != io::ErrorKind::NotFound => Err(why),
        _ => Ok(()),
    }
}
