//! Who may open a store, and what is refused.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use keyward_core::Fault;
use keyward_storage::Sqlite;
use keyward_storage::conformance::{commit, get, puts};
use keyward_storage::sqlite::DATABASE;
use rusqlite::Connection;

use super::{OPTIONS, child, open};

fn refusal(dir: &Path) -> String {
    match Sqlite::open(dir, OPTIONS) {
        Err(Fault::Io(why)) => why,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("opened"),
    }
}

#[test]
fn a_second_process_is_told_why() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert!(refusal(dir.path()).contains("another process is using"));
    child::succeed(child::command("opening::is_refused", dir.path()));
    commit(&store, puts([("k", "v")])).unwrap();
    drop(store);
    child::succeed(child::command("opening::finds_an_entry", dir.path()));
    assert!(get(&open(dir.path()), b"k").is_some());
}

#[test]
#[ignore = "a process that another test starts"]
fn is_refused() {
    assert!(refusal(&child::dir()).contains("another process is using"));
}

#[test]
#[ignore = "a process that another test starts"]
fn finds_an_entry() {
    assert!(get(&open(&child::dir()), b"k").is_some());
}

#[test]
fn every_file_is_its_owners_alone() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("store");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let store = open(&dir);
    commit(&store, puts([("k", "v")])).unwrap();
    get(&store, b"other");
    assert_eq!(mode(&dir), 0o700);
    let files: Vec<_> = fs::read_dir(&dir).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 4, "{files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{file:?}");
    }
    drop(store);
    fs::set_permissions(dir.join(DATABASE), Permissions::from_mode(0o666)).unwrap();
    drop(open(&dir));
    assert_eq!(mode(&dir.join(DATABASE)), 0o600);
}

#[test]
fn a_newer_format_is_not_guessed_at() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let alter = |sql: &str| Connection::open(dir.path().join(DATABASE)).unwrap().execute_batch(sql).unwrap();
    alter("PRAGMA user_version = 2");
    let why = refusal(dir.path());
    assert!(why.contains("newer Keyward (format 2"), "{why}");
    alter("PRAGMA user_version = 1");
    drop(open(dir.path()));
    alter("CREATE TRIGGER t AFTER INSERT ON kv BEGIN DELETE FROM kv; END");
    assert!(refusal(dir.path()).contains("tables are not the ones"));
}

#[test]
fn what_is_not_a_store_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(DATABASE);
    Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE mine(x); INSERT INTO mine VALUES (1)")
        .unwrap();
    assert!(refusal(dir.path()).contains("not a store of Keyward"));
    let kept: i64 =
        Connection::open(&path).unwrap().query_row("SELECT x FROM mine", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 1);
    assert!(refusal(&dir.path().join("no/such/parent")).contains("creating"));
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(refusal(&file).contains("file"));
}

#[test]
fn a_store_that_lost_its_database_does_not_begin_anew() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    fs::remove_file(dir.path().join(DATABASE)).unwrap();
    assert!(refusal(dir.path()).contains("missing or empty"));
}

#[test]
fn the_file_is_laid_out_as_intended() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let connection = Connection::open(dir.path().join(DATABASE)).unwrap();
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
    let journal: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    const INCREMENTAL: i64 = 2;
    assert_eq!((number("page_size"), number("auto_vacuum"), journal.as_str()), (8192, INCREMENTAL, "wal"));
}

#[test]
fn reopens_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut batch = puts([("k", "v")]);
    batch.id = [7; 16];
    let rev = commit(&store, batch).unwrap();
    drop(store);
    assert!(!dir.path().join(format!("{DATABASE}-wal")).exists(), "the log was not written back");
    let store = open(dir.path());
    use keyward_storage::Store;
    assert_eq!((store.status().rev, store.status().kind), (rev, "sqlite"));
    assert_eq!(get(&store, b"k").unwrap().rev, rev);
    assert_eq!(store.committed([7; 16]), Ok(Some(rev)));
    assert_eq!(commit(&store, puts([("k", "v")])), Ok(rev + 1));
}
