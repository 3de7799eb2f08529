//! The tables of a store, and how each connection to them is set up.

use std::path::Path;
use std::time::Duration;

use keyward_core::{Fault, Rev};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, params};

use super::damage::{damaged, fault};
use super::row;

/// Marks the file as a store of Keyward: "KYWD".
const APPLICATION: i32 = 0x4b59_5744;
/// The format written by this version. A newer one is refused, never guessed at.
const FORMAT: i32 = 1;
/// Bytes of a page: at SQLite's default of 4,096 a value of 2,000 bytes no longer fits beside others.
pub(super) const PAGE: u32 = 8192;

/// `meta` holds the revision. `recent` is a ring of batch ids. All values are stored as [`row`] says.
const TABLES: [&str; 3] = [
    "CREATE TABLE kv(k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE meta(k TEXT PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE recent(slot INTEGER PRIMARY KEY, v BLOB NOT NULL)",
];

/// The row of `meta` with the revision of the last commit.
const REVISION: &str = "rev";

/// How long a connection waits for a lock of the engine. Only recovery and the closing of the last connection
/// hold one that others wait for.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Opens the connection that writes. There must be only one.
pub(super) fn writer(file: &Path, log_bytes: u64) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE | COMMON)?;
    settle(&connection, 4096)?;
    // Both must precede the first page; later, setting them again would only cost a write.
    if connection.pragma_query_value(None, "page_count", |row| row.get::<_, i64>(0))? == 0 {
        connection.pragma_update(None, "page_size", PAGE)?;
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))?;
    // Anything less loses acknowledged commits when power is lost.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Checkpoints are the committer's own, so that no commit waits for one it did not ask for.
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |row| row.get::<_, i64>(0))?;
    connection
        .pragma_update_and_check(None, "journal_size_limit", log_bytes as i64, |row| row.get::<_, i64>(0))?;
    Ok(connection)
}

/// Opens a connection that only reads.
pub(super) fn reader(file: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY | COMMON)?;
    settle(&connection, 256)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

const COMMON: OpenFlags = OpenFlags::SQLITE_OPEN_NO_MUTEX;

fn settle(connection: &Connection, cache_kib: i64) -> rusqlite::Result<()> {
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    // Mapped pages turn an I/O error into a signal, and count as resident memory.
    connection.pragma_update_and_check(None, "mmap_size", 0, |_| Ok(())).optional()?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // A damaged or planted file must not run anything, and is noticed sooner.
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    Ok(())
}

/// Creates the tables in an empty database, at revision 0.
pub(super) fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for table in TABLES {
        transaction.execute(table, [])?;
    }
    set_rev(&transaction, 0, &mut Vec::new())?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()
}

/// Whether nothing has been created in the database yet.
pub(super) fn is_blank(connection: &Connection) -> rusqlite::Result<bool> {
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let objects: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(application == 0 && objects == 0)
}

/// Checks that the database is a store in the format this version knows.
pub(super) fn check(connection: &Connection, file: &Path) -> Result<(), Fault> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let said = |error| fault(file, &error);
    if pragma("application_id").map_err(said)? != APPLICATION {
        let path = file.display();
        return Err(Fault::Io(format!("{path} is not a store of Keyward: choose another folder")));
    }
    let format = pragma("user_version").map_err(said)?;
    if format > FORMAT {
        return Err(Fault::Io(format!(
            "{} was written by a newer Keyward (format {format}; this one knows formats up to {FORMAT}): run that \
             version, or restore a backup made before the upgrade",
            file.display()
        )));
    }
    let tables = tables(connection).map_err(said)?;
    if format != FORMAT || tables != TABLES {
        return Err(damaged(file.display(), "its tables are not the ones that were created"));
    }
    let encoding: String = connection.pragma_query_value(None, "encoding", |row| row.get(0)).map_err(said)?;
    if encoding != "UTF-8" {
        return Err(damaged(file.display(), "its text encoding was changed"));
    }
    Ok(())
}

fn tables(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("SELECT sql FROM sqlite_schema ORDER BY name")?;
    statement.query_map([], |row| row.get(0))?.collect()
}

/// The revision of the last commit.
pub(super) fn rev(connection: &Connection, file: &Path) -> Result<Rev, Fault> {
    let said = |error| fault(file, &error);
    let mut statement = connection.prepare_cached("SELECT v FROM meta WHERE k = ?1").map_err(said)?;
    let mut rows = statement.query([REVISION]).map_err(said)?;
    let stored = rows.next().map_err(said)?.and_then(|row| row.get_ref(0).ok()?.as_blob().ok());
    let rev = stored.and_then(|stored| row::decode(REVISION.as_bytes(), stored)).map(|(rev, _)| rev);
    rev.ok_or_else(|| damaged(file.display(), "its revision cannot be read"))
}

/// Sets the revision of the last commit, inside its transaction. `scratch` is for reuse.
pub(super) fn set_rev(connection: &Connection, rev: Rev, scratch: &mut Vec<u8>) -> rusqlite::Result<()> {
    row::encode(REVISION.as_bytes(), rev, b"", scratch);
    let mut statement = connection.prepare_cached("REPLACE INTO meta(k, v) VALUES (?1, ?2)")?;
    statement.execute(params![REVISION, *scratch])?;
    Ok(())
}
