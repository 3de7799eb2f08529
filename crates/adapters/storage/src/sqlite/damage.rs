//! What SQLite's errors mean to the store, in words a person can act on.

use std::path::Path;

use keyward_core::Fault;
use rusqlite::{Error, ErrorCode, ffi};

/// Turns an error of the engine into a fault that says what to do. `file` is the database.
pub(super) fn fault(file: &Path, error: &Error) -> Fault {
    let file = file.display();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Fault::Full,
        // The index of the log lives in a file of its own, which grows too.
        _ if extended(error) == Some(ffi::SQLITE_IOERR_SHMSIZE) => Fault::Full,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => damaged(file, error),
        Some(ErrorCode::SystemIoFailure) => {
            Fault::Io(format!("reading or writing {file} failed ({error}): check the disk and its logs"))
        }
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => Fault::Io(
            format!("{file} cannot be opened for writing ({error}): check its owner and permissions"),
        ),
        _ => Fault::Io(format!("{file}: {error}")),
    }
}

/// The fault for content that is not what was written.
pub(super) fn damaged(file: impl std::fmt::Display, what: impl std::fmt::Display) -> Fault {
    Fault::Io(format!("{file} is damaged ({what}): stop Keyward and restore the file from a backup"))
}

/// The fault for a file operation outside the engine.
pub(super) fn os(doing: &str, path: &Path, error: &std::io::Error) -> Fault {
    Fault::Io(format!("{doing} {} failed: {error}", path.display()))
}

/// Whether the engine failed to bring bytes to the disk, after which nobody knows what is on it: the kernel may
/// have dropped the pages it could not write, and would report success the next time.
pub(super) fn lost_a_write(error: &Error) -> bool {
    extended(error).is_some_and(|code| {
        matches!(
            code,
            ffi::SQLITE_IOERR_WRITE
                | ffi::SQLITE_IOERR_FSYNC
                | ffi::SQLITE_IOERR_DIR_FSYNC
                | ffi::SQLITE_IOERR_TRUNCATE
                | ffi::SQLITE_IOERR_CLOSE
        )
    })
}

/// As [`lost_a_write`], for the statement that commits: there, any I/O error leaves the outcome open.
pub(super) fn lost_a_commit(error: &Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure)
        && extended(error) != Some(ffi::SQLITE_IOERR_SHMSIZE)
}

fn extended(error: &Error) -> Option<i32> {
    error.sqlite_error().map(|error| error.extended_code)
}
