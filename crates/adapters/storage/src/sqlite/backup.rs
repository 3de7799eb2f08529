//! Copies of the database while it is in use.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use keyward_core::{Fault, Rev};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::damage::{damaged, fault, os};
use super::folder::sync_parent;
use super::reader::Pool;
use super::{row, schema};

/// Copies one snapshot to the new file `to`, checks the copy whole, and returns its revision.
pub(super) fn backup(pool: &Pool, to: &Path) -> Result<Rev, Fault> {
    if to.try_exists().map_err(|error| os("examining", to, &error))? {
        let to = to.display();
        return Err(Fault::Io(format!("{to} exists already: choose a name that is new for the backup")));
    }
    let partial = partial(to);
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let partial = partial.display();
            return Err(Fault::Io(format!(
                "{partial} is left from a backup that did not finish, or is under way: remove it, or choose \
                 another name"
            )));
        }
        Err(error) => return Err(os("creating", &partial, &error)),
    }
    let done = copy(pool, &partial).and_then(|rev| {
        // What is not durable yet must not have the name of a backup.
        File::open(&partial)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&partial, to))
            .map_err(|error| os("finishing", to, &error))?;
        sync_parent(to)?;
        Ok(rev)
    });
    if done.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&partial);
    }
    done
}

fn partial(to: &Path) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

fn copy(pool: &Pool, to: &Path) -> Result<Rev, Fault> {
    let source = pool.open()?;
    let said = |error: rusqlite::Error| match fault(to, &error) {
        // It is the disk of the copy that is full.
        Fault::Full => Fault::Io(format!("there is no space left for {}", to.display())),
        other => other,
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut target = Connection::open_with_flags(to, flags).map_err(said)?;
    // Nothing to roll back to, and the whole file is flushed at the end.
    target.pragma_update(None, "synchronous", "OFF").map_err(said)?;
    target
        .pragma_update_and_check(None, "journal_mode", "OFF", |row| row.get::<_, String>(0))
        .map_err(said)?;
    // All in one step: in several, every commit in between would begin the copy anew.
    let step = Backup::new(&source, &mut target).and_then(|backup| backup.step(-1)).map_err(said)?;
    if step != StepResult::Done {
        return Err(Fault::Io("the engine was busy: try the backup again".into()));
    }
    let rev = verify(&target, to)?;
    target.close().map_err(|(_, error)| said(error))?;
    Ok(rev)
}

/// Reads everything once: structure, order, and the checksum of every entry. Returns the revision.
pub(super) fn verify(connection: &Connection, file: &Path) -> Result<Rev, Fault> {
    let said = |error| fault(file, &error);
    let damaged = |what: &str| damaged(file.display(), what);
    schema::check(connection, file)?;
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(said)?;
    if found != "ok" {
        return Err(damaged(&found));
    }
    let newest = schema::rev(connection, file)?;
    let mut statement = connection.prepare("SELECT k, v FROM kv ORDER BY k").map_err(said)?;
    let mut rows = statement.query([]).map_err(said)?;
    let mut last = Vec::new();
    while let Some(row) = rows.next().map_err(said)? {
        let key = row.get_ref(0).map_err(said)?.as_blob().unwrap_or_default();
        let value = row.get_ref(1).map_err(said)?.as_blob().unwrap_or_default();
        let whole = row::decode(key, value).is_some_and(|(rev, _)| rev <= newest);
        if !whole || key <= last.as_slice() {
            return Err(damaged("an entry is not what was written"));
        }
        last.clear();
        last.extend_from_slice(key);
    }
    Ok(newest)
}
