//! Snapshots: the cache at the published revision, and SQLite's where the cache does not know.

use std::cell::{Cell, OnceCell, RefCell};
use std::path::PathBuf;

use keyward_core::{Each, Entry, Fault, Rev, View};
use parking_lot::{Mutex, RwLockReadGuard};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use super::damage::{damaged, fault};
use super::{Shared, row, schema};
use crate::{first, past};

/// Connections that read, opened when there are too few and kept for the next reader.
pub(super) struct Pool {
    file: PathBuf,
    idle: Mutex<Vec<Connection>>,
    keep: usize,
}

impl Pool {
    pub(super) fn new(file: PathBuf, keep: usize) -> Pool {
        Pool { file, idle: Mutex::new(Vec::new()), keep }
    }

    /// Opens a snapshot of what is committed now.
    pub(super) fn snapshot(&self) -> Result<Snapshot<'_>, Fault> {
        let idle = self.idle.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.open()?,
        };
        Snapshot::begin(self, connection)
    }

    /// A connection of the caller's own.
    pub(super) fn open(&self) -> Result<Connection, Fault> {
        schema::reader(&self.file).map_err(|error| fault(&self.file, &error))
    }

    /// Closes what is idle.
    pub(super) fn clear(&self) {
        self.idle.lock().clear();
    }

    fn give_back(&self, connection: Connection) {
        let mut idle = self.idle.lock();
        if idle.len() < self.keep {
            idle.push(connection);
        }
    }
}

/// One read transaction of SQLite.
pub(super) struct Snapshot<'a> {
    pool: &'a Pool,
    /// `None` only while it is dropped.
    connection: Option<Connection>,
    rev: Rev,
}

impl<'a> Snapshot<'a> {
    fn begin(pool: &'a Pool, connection: Connection) -> Result<Snapshot<'a>, Fault> {
        connection
            .prepare_cached("BEGIN")
            .and_then(|mut begin| begin.execute([]))
            .map_err(|error| fault(&pool.file, &error))?;
        // The first read fixes the snapshot.
        let rev = schema::rev(&connection, &pool.file)?;
        Ok(Snapshot { pool, connection: Some(connection), rev })
    }

    pub(super) fn rev(&self) -> Rev {
        self.rev
    }

    fn connection(&self) -> Result<&Connection, Fault> {
        self.connection.as_ref().ok_or_else(|| Fault::Io("the snapshot has ended".into()))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Entry>, Fault> {
        let said = |error| fault(&self.pool.file, &error);
        let mut statement =
            self.connection()?.prepare_cached("SELECT v FROM kv WHERE k = ?1").map_err(said)?;
        let mut rows = statement.query([key]).map_err(said)?;
        let Some(row) = rows.next().map_err(said)? else { return Ok(None) };
        let (rev, value) = self.stored(key, row.get_ref(0).map_err(said)?)?;
        Ok(Some(Entry { value: value.into(), rev }))
    }

    /// Revision and value of an entry as it is stored.
    fn stored<'r>(&self, key: &[u8], stored: ValueRef<'r>) -> Result<(Rev, &'r [u8]), Fault> {
        let decoded = stored.as_blob().ok().and_then(|stored| row::decode(key, stored));
        // Revisions only grow, so one from the future is not what was written either.
        let decoded = decoded.filter(|(rev, _)| *rev <= self.rev);
        decoded.ok_or_else(|| damaged(self.pool.file.display(), "an entry is not what was written"))
    }

    fn keys(&self, prefix: &[u8], after: &[u8], each: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), Fault> {
        let sql = [
            "SELECT k FROM kv WHERE k >= ?1 AND k < ?2 ORDER BY k",
            "SELECT k FROM kv WHERE k >= ?1 ORDER BY k",
        ];
        self.rows(sql, prefix, after, |key, _| Ok(each(key)))
    }

    fn entries(&self, prefix: &[u8], after: &[u8], each: &mut Each<'_>) -> Result<(), Fault> {
        let sql = [
            "SELECT k, v FROM kv WHERE k >= ?1 AND k < ?2 ORDER BY k",
            "SELECT k, v FROM kv WHERE k >= ?1 ORDER BY k",
        ];
        self.rows(sql, prefix, after, |key, row| {
            let stored = row.get_ref(1).map_err(|error| fault(&self.pool.file, &error))?;
            let (rev, value) = self.stored(key, stored)?;
            Ok(each(key, rev, value))
        })
    }

    /// What lies under `prefix` and after `after`, by a statement with an end and by one without.
    fn rows(
        &self,
        [bounded, open]: [&str; 2],
        prefix: &[u8],
        after: &[u8],
        mut each: impl FnMut(&[u8], &Row<'_>) -> Result<bool, Fault>,
    ) -> Result<(), Fault> {
        let said = |error| fault(&self.pool.file, &error);
        let start = first(prefix, after);
        let end = past(prefix);
        let sql = if end.is_some() { bounded } else { open };
        let mut statement = self.connection()?.prepare_cached(sql).map_err(said)?;
        statement.raw_bind_parameter(1, start.as_slice()).map_err(said)?;
        if let Some(end) = &end {
            statement.raw_bind_parameter(2, end.as_slice()).map_err(said)?;
        }
        let mut rows = statement.raw_query();
        let mut last = Vec::new();
        while let Some(row) = rows.next().map_err(said)? {
            let key = row.get_ref(0).map_err(said)?.as_blob().unwrap_or_default();
            // A listing that goes back would never end for a caller who pages through it.
            if !key.starts_with(prefix) || key <= last.as_slice() {
                return Err(damaged(self.pool.file.display(), "its keys are not in order"));
            }
            if !each(key, row)? {
                break;
            }
            last.clear();
            last.extend_from_slice(key);
        }
        Ok(())
    }

    /// The revision that `recent` has for a batch id.
    pub(super) fn committed(&self, id: &[u8]) -> Result<Option<Rev>, Fault> {
        let said = |error| fault(&self.pool.file, &error);
        let mut statement = self.connection()?.prepare_cached("SELECT slot, v FROM recent").map_err(said)?;
        let mut rows = statement.query([]).map_err(said)?;
        let mut found = None;
        while let Some(row) = rows.next().map_err(said)? {
            let slot: i64 = row.get(0).map_err(said)?;
            let stored = row.get_ref(1).map_err(said)?.as_blob().ok();
            let Some((rev, stored_id)) = stored.and_then(|stored| row::decode(&slot.to_be_bytes(), stored))
            else {
                return Err(damaged(self.pool.file.display(), "a batch id is not what was written"));
            };
            if stored_id == id {
                found = found.max(Some(rev));
            }
        }
        Ok(found)
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let ended = connection.prepare_cached("ROLLBACK").and_then(|mut end| end.execute([])).is_ok();
        // A snapshot left open would keep the log from being reused: better to lose the connection.
        if ended {
            self.pool.give_back(connection);
        }
    }
}

impl View for Snapshot<'_> {
    fn rev(&self) -> Rev {
        self.rev
    }

    fn get(&self, key: &[u8]) -> Result<Option<Entry>, Fault> {
        Snapshot::get(self, key)
    }

    fn keys(&self, prefix: &[u8], after: &[u8], each: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), Fault> {
        Snapshot::keys(self, prefix, after, each)
    }

    fn entries(&self, prefix: &[u8], after: &[u8], each: &mut Each<'_>) -> Result<(), Fault> {
        Snapshot::entries(self, prefix, after, each)
    }
}

/// The published revision: what the thread read last, then the cache, and a snapshot from the first miss on.
///
/// While the guard is held the committer cannot publish, so cache and snapshot are of one revision. A listing
/// lets go of the guard, since it may be long, and of the cache with it.
pub(super) struct Reading<'a> {
    shared: &'a Shared,
    rev: Rev,
    guard: RefCell<Option<RwLockReadGuard<'a, Rev>>>,
    snapshot: OnceCell<Snapshot<'a>>,
    overtaken: Cell<bool>,
}

impl<'a> Reading<'a> {
    pub(super) fn begin(shared: &'a Shared) -> Reading<'a> {
        let guard = shared.published.read();
        Reading {
            shared,
            rev: *guard,
            guard: RefCell::new(Some(guard)),
            snapshot: OnceCell::new(),
            overtaken: Cell::new(false),
        }
    }

    /// The snapshot, if it turned out newer than the published revision: what was read is then of two
    /// revisions, and has to be read again from the snapshot alone.
    pub(super) fn overtaken(self) -> Option<Snapshot<'a>> {
        self.overtaken.get().then(|| self.snapshot.into_inner()).flatten()
    }

    fn snapshot(&self) -> Result<&Snapshot<'a>, Fault> {
        if self.snapshot.get().is_none() {
            let snapshot = self.shared.pool.snapshot()?;
            // Between the engine's commit and its publication a snapshot sees what the cache does not.
            self.overtaken.set(snapshot.rev() != self.rev);
            let _ = self.snapshot.set(snapshot);
        }
        match self.snapshot.get() {
            Some(snapshot) if !self.overtaken.get() => Ok(snapshot),
            _ => Err(Fault::Io("the snapshot is being taken again".into())),
        }
    }
}

impl View for Reading<'_> {
    fn rev(&self) -> Rev {
        self.rev
    }

    fn get(&self, key: &[u8]) -> Result<Option<Entry>, Fault> {
        if self.guard.borrow().is_none() {
            return self.snapshot()?.get(key);
        }
        if let Some(known) = self.shared.near.get(key, self.rev) {
            return Ok(known);
        }
        let entry = match self.shared.cache.get(key) {
            Some(known) => known,
            None => {
                let entry = self.snapshot()?.get(key)?;
                self.shared.cache.keep(key, &entry);
                entry
            }
        };
        self.shared.near.keep(key, self.rev, &entry);
        Ok(entry)
    }

    fn keys(&self, prefix: &[u8], after: &[u8], each: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), Fault> {
        let snapshot = self.snapshot()?;
        drop(self.guard.take());
        snapshot.keys(prefix, after, each)
    }

    fn entries(&self, prefix: &[u8], after: &[u8], each: &mut Each<'_>) -> Result<(), Fault> {
        let snapshot = self.snapshot()?;
        drop(self.guard.take());
        snapshot.entries(prefix, after, each)
    }
}
