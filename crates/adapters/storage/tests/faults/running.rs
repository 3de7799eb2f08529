//! A store in use: backups, the size of its files, its queue.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use keyward_core::{Batch, Fault};
use keyward_storage::conformance::{block_on, commit, get, list, puts};
use keyward_storage::sqlite::{DATABASE, Options};
use keyward_storage::{Sqlite, Store, read};

use super::{OPTIONS, open};

/// Runs `during` while several threads commit pairs as fast as they can.
fn while_writing(store: &Sqlite, during: impl FnOnce()) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for writer in 0..4 {
            let done = &done;
            scope.spawn(move || {
                let mut i = 0u64;
                while !done.load(Ordering::Relaxed) {
                    i += 1;
                    let value = format!("{i:0700}");
                    let slot = i % 50;
                    let pair = ["a", "z"].map(|side| (format!("{side}/{writer}/{slot}"), value.clone()));
                    commit(store, puts(pair)).unwrap();
                }
            });
        }
        let _ends = Ends(&done);
        during();
    });
}

/// Ends the writers however the test ends.
struct Ends<'a>(&'a AtomicBool);
impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_backup_under_writes_is_one_revision() {
    let dir = tempfile::tempdir().unwrap();
    let out = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    commit(&store, puts([("large", vec![1; 500_000])])).unwrap();
    while_writing(&store, || {
        for i in 0..5 {
            let before = store.status().rev;
            let copy = out.path().join(format!("{i}.db"));
            let rev = store.backup(&copy).unwrap();
            assert!(rev >= before && rev <= store.status().rev);
            restored(&copy, rev);
        }
    });
}

fn restored(copy: &Path, rev: u64) {
    assert_eq!(fs::metadata(copy).unwrap().permissions().mode() & 0o777, 0o600);
    let dir = tempfile::tempdir().unwrap();
    fs::copy(copy, dir.path().join(DATABASE)).unwrap();
    let store = open(dir.path());
    assert_eq!(store.verify(), Ok(rev));
    assert_eq!(get(&store, b"large").unwrap().value.len(), 500_000);
    let left = list(&store, b"a/");
    assert_eq!(left.len(), list(&store, b"z/").len());
    for key in left {
        let other = [b"z", &key[1..]].concat();
        assert_eq!(get(&store, &key), get(&store, &other), "half a batch");
    }
    assert_eq!(commit(&store, puts([("k", "v")])), Ok(rev + 1));
}

#[test]
fn a_backup_replaces_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("store"));
    let to = dir.path().join("copy");
    fs::write(&to, "precious").unwrap();
    let Err(Fault::Io(why)) = store.backup(&to) else { panic!("replaced") };
    assert!(why.contains("exists already"), "{why}");
    assert_eq!(fs::read(&to).unwrap(), b"precious");
    let Err(Fault::Io(why)) = store.backup(&dir.path().join("no/such/folder/copy")) else { panic!("made") };
    assert!(why.contains("no/such/folder"), "{why}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "something was left behind");
}

#[test]
fn the_log_stays_short_though_there_are_always_readers() {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(dir.path(), Options { cache_bytes: 4096, ..OPTIONS }).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _ends = Ends(&done);
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    // Each lists slowly, so that there is no moment without a snapshot.
                    let listing = |_: &[u8]| {
                        thread::sleep(std::time::Duration::from_micros(50));
                        true
                    };
                    store.look(&mut |view| view.keys(b"", b"", &mut { listing })).unwrap();
                }
            });
        }
        let log = dir.path().join(format!("{DATABASE}-wal"));
        for i in 0..1500u32 {
            commit(&store, puts([(format!("k/{}", i % 100), vec![i as u8; 3000])])).unwrap();
            let len = fs::metadata(&log).unwrap().len();
            // Eight times, and some for the turns at which slow readers outlast the wait.
            assert!(len <= OPTIONS.log_bytes * 16, "{len} bytes of log after {i} commits");
        }
    });
}

#[test]
fn deleted_entries_give_their_space_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let key = |i: u32| format!("k/{i}").into_bytes();
    for i in 0..800 {
        commit(&store, puts([(key(i), vec![0; 30_000])])).unwrap();
    }
    let full = store.status().bytes;
    assert!(full > 800 * 30_000);
    for i in 0..800 {
        commit(&store, Batch { deletes: vec![key(i)], ..Batch::default() }).unwrap();
    }
    for i in 0..400 {
        commit(&store, puts([("busy", vec![i as u8; 3000])])).unwrap();
    }
    assert!(store.status().bytes < full / 2, "{} of {full} bytes are still used", store.status().bytes);
    store.verify().unwrap();
}

#[test]
fn what_does_not_fit_the_queue_waits() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { queue_bytes: 2048, ..OPTIONS };
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(dir.path(), options).unwrap());
    // Larger than the whole queue, and many at once.
    commit(&*store, puts([("large", vec![0; 200_000])])).unwrap();
    let commits: Vec<_> = (0..100u8).map(|i| store.commit(puts([(vec![i], vec![i; 900])]))).collect();
    let waiting: Vec<_> = commits.into_iter().map(|commit| thread::spawn(move || block_on(commit))).collect();
    let mut revs: Vec<_> = waiting.into_iter().map(|commit| commit.join().unwrap().unwrap()).collect();
    revs.sort_unstable();
    assert_eq!(revs, (2..102).collect::<Vec<_>>());
}

#[test]
fn a_commit_outlives_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let never_polled = store.commit(puts([("never", "v")]));
    let late = store.commit(puts([("late", "v")]));
    drop(never_polled);
    drop(store);
    let Err(Fault::Io(why)) = block_on(late) else { panic!("committed to a store that is gone") };
    assert!(why.contains("closed"), "{why}");
    assert_eq!(list(&open(dir.path()), b""), Vec::<Vec<u8>>::new());
}

#[test]
fn a_cache_of_any_size_answers_the_same() {
    for cache_bytes in [0, 1, 1 << 12, 1 << 24] {
        let dir = tempfile::tempdir().unwrap();
        let store = Sqlite::open(dir.path(), Options { cache_bytes, ..OPTIONS }).unwrap();
        for round in 0..3u8 {
            for i in 0..40u8 {
                commit(&store, puts([([b'k', i], vec![round; 300])])).unwrap();
                for at in [i, i / 2, 39] {
                    let there = at <= i || round > 0;
                    let found = read(&store, |view| view.get(&[b'k', at])).unwrap();
                    assert_eq!(found.is_some(), there, "{round} {i} {at}");
                    let expected = if at <= i { round } else { round.wrapping_sub(1) };
                    assert!(found.is_none_or(|entry| entry.value[0] == expected));
                }
            }
        }
    }
}
