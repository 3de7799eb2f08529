//! A disk that is full, and then is not.

use std::fs;
use std::path::Path;

use keyward_core::{Batch, Fault};
use keyward_storage::Store;
use keyward_storage::conformance::{commit, get, list, puts};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::{open, skipped};

/// A file system of its own, gone with the test.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(mebibytes: usize) -> Small {
        let dir = tempfile::tempdir().unwrap();
        let size = std::ffi::CString::new(format!("size={mebibytes}m,mode=0700")).unwrap();
        mount("none", dir.path(), "tmpfs", MountFlags::empty(), size.as_c_str()).unwrap();
        Small(dir)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = unmount(self.0.path(), UnmountFlags::DETACH);
    }
}

/// Fills the store until it refuses; returns how many entries it took.
fn fill(store: &dyn Store) -> usize {
    for i in 0.. {
        let value = vec![i as u8; 20_000];
        match commit(store, puts([(format!("fill/{i:04}"), value)])) {
            Ok(_) => {}
            Err(Fault::Full) => return i,
            Err(other) => panic!("{other}"),
        }
    }
    unreachable!()
}

fn intact(store: &dyn Store, entries: usize) {
    assert_eq!(list(store, b"fill/").len(), entries);
    for i in 0..entries {
        let entry = get(store, format!("fill/{i:04}").as_bytes()).unwrap();
        assert!(*entry.value == vec![i as u8; 20_000], "entry {i} changed");
    }
}

#[test]
fn refuses_writes_keeps_reading_and_heals() {
    if !rustix::process::geteuid().is_root() {
        return skipped("a full disk", "only root can mount a small file system");
    }
    let disk = Small::mount(6);
    let dir = disk.0.path().join("store");
    let ballast = disk.0.path().join("ballast");
    fs::write(&ballast, vec![0; 2 << 20]).unwrap();
    let store = open(&dir);
    let taken = fill(&store);
    let rev = store.status().rev;
    assert!(taken > 20 && store.status().full);
    // Several refused at once, then again: reading goes on all the while.
    std::thread::scope(|scope| {
        for i in 0..8 {
            let store = &store;
            scope.spawn(move || {
                let batch = puts([(format!("more/{i}"), vec![0; 300_000])]);
                assert_eq!(commit(store, batch), Err(Fault::Full));
                intact(store, taken);
            });
        }
    });
    assert_eq!(store.status().rev, rev);
    assert_eq!(list(&store, b"more/"), Vec::<Vec<u8>>::new());
    // Wants are still answered for what they are once there is space, and without a restart.
    fs::remove_file(&ballast).unwrap();
    let healed = commit(&store, puts([("healed", "yes")])).unwrap();
    assert!(healed > rev && !store.status().full);
    intact(&store, taken);
    store.verify().unwrap();
    drop(store);
    intact(&open(&dir), taken);
}

#[test]
fn survives_a_restart_while_full() {
    if !rustix::process::geteuid().is_root() {
        return skipped("a restart with a full disk", "only root can mount a small file system");
    }
    let disk = Small::mount(6);
    let dir = disk.0.path().join("store");
    let ballast = disk.0.path().join("ballast");
    fs::write(&ballast, vec![0; 1 << 20]).unwrap();
    let store = open(&dir);
    let taken = fill(&store);
    eat_what_is_left(disk.0.path());
    drop(store);
    // There may be too little for the engine's index of the log; then that is what it says.
    match keyward_storage::Sqlite::open(&dir, super::OPTIONS) {
        Ok(store) => intact(&store, taken),
        Err(Fault::Io(why)) => assert!(why.contains("no space left"), "{why}"),
        Err(other) => panic!("{other:?}"),
    }
    fs::remove_file(ballast).unwrap();
    let store = open(&dir);
    intact(&store, taken);
    let gone = (0..taken).map(|i| format!("fill/{i:04}").into_bytes());
    for key in gone {
        // Deleting needs room in the log too, but there is some now.
        commit(&store, Batch { deletes: vec![key], ..Batch::default() }).unwrap();
    }
    assert_eq!(fill(&store).min(taken / 2), taken / 2, "deleted entries give their room back");
}

fn eat_what_is_left(disk: &Path) {
    use std::io::Write;
    let mut file = fs::File::create(disk.join("eaten")).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
}
