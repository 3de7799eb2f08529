//! Writes and flushes that fail: nothing is claimed that is not so, and nothing more is accepted.

use std::fs;
use std::path::Path;
use std::process::Command;

use keyward_core::Fault;
use keyward_storage::conformance::{commit, get, list, puts};
use keyward_storage::sqlite::{DATABASE, Options};
use keyward_storage::{Sqlite, Store, read};

use super::{OPTIONS, child, open};

/// Makes flushing fail from the moment a file named by `FAIL_FLUSH` exists.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
static int flush(const char *name, int fd) {
    const char *flag = getenv("FAIL_FLUSH");
    if (flag && access(flag, F_OK) == 0) { errno = EIO; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, name))(fd);
}
int fsync(int fd) { return flush("fsync", fd); }
int fdatasync(int fd) { return flush("fdatasync", fd); }
"#;

const ENTRIES: usize = 20;

#[test]
fn a_failed_flush_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let (source, shim) = (dir.path().join("shim.c"), dir.path().join("shim.so"));
    fs::write(&source, SHIM).unwrap();
    // There is a compiler: SQLite was built with it.
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&shim).arg(&source).status().unwrap();
    assert!(built.success());
    let store = dir.path().join("store");
    let mut command = child::command("lost_writes::sees_a_failed_flush", &store);
    command.env("LD_PRELOAD", &shim).env("FAIL_FLUSH", flag(&store));
    child::succeed(command);
    what_was_acknowledged_is_there(&store);
}

fn flag(store: &Path) -> std::path::PathBuf {
    store.with_extension("fail")
}

#[test]
#[ignore = "a process that another test starts, with flushes that fail"]
fn sees_a_failed_flush() {
    let dir = child::dir();
    let store = open(&dir);
    for i in 0..ENTRIES {
        commit(&store, puts([(format!("k/{i}"), "v")])).unwrap();
    }
    fs::write(flag(&dir), "").unwrap();
    assert_eq!(commit(&store, puts([("open", "v")])), Err(Fault::Unknown));
    refuses_everything(&store);
    fs::remove_file(flag(&dir)).unwrap();
    // A flush that would succeed now proves nothing about the one that did not.
    refuses_everything(&store);
}

#[test]
fn a_write_that_fails_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let child = child::command("lost_writes::sees_a_failed_write", &store);
    // A file size limit, in blocks of 512 bytes; a process that ignores the signal gets EFBIG from write(2).
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 1024; exec \"$@\"", "sh"]);
    command
        .arg(child.get_program())
        .args(child.get_args())
        .envs(child.get_envs().filter_map(|(k, v)| Some((k, v?))));
    child::succeed(command);
    what_was_acknowledged_is_there(&store);
}

#[test]
#[ignore = "a process that another test starts, with files that cannot grow"]
fn sees_a_failed_write() {
    // Without checkpoints, so that it is the log that cannot grow.
    let store = Sqlite::open(&child::dir(), Options { log_bytes: 1 << 30, ..OPTIONS }).unwrap();
    for i in 0..ENTRIES {
        commit(&store, puts([(format!("k/{i}"), "v")])).unwrap();
    }
    let mut outcome = Ok(0);
    for i in 0..100 {
        outcome = commit(&store, puts([(format!("large/{i}"), vec![0; 50_000])]));
        if outcome.is_err() {
            break;
        }
    }
    assert_eq!(outcome, Err(Fault::Unknown));
    refuses_everything(&store);
}

fn refuses_everything(store: &dyn Store) {
    let refused = |fault: Fault| {
        let Fault::Io(why) = fault else { panic!("{fault:?}") };
        assert!(why.contains("start Keyward again"), "{why}");
    };
    refused(commit(store, puts([("more", "v")])).unwrap_err());
    refused(read(store, |view| view.get(b"k/1")).unwrap_err());
    refused(store.committed([1; 16]).unwrap_err());
    refused(store.backup(Path::new("/nowhere/at/all")).unwrap_err());
    assert!(store.status().poisoned.is_some());
}

fn what_was_acknowledged_is_there(dir: &Path) {
    assert!(dir.join(format!("{DATABASE}-wal")).exists(), "the log was touched after it failed");
    let store = open(dir);
    store.verify().unwrap();
    assert_eq!(list(&store, b"k/").len(), ENTRIES);
    assert_eq!(get(&store, b"more"), None);
}
