//! Bytes that change on the disk, anywhere: an error, or nothing lost; never a panic, never a wrong answer.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use keyward_core::{Batch, Fault, Key, Rev};
use keyward_storage::conformance::{commit, puts};
use keyward_storage::sqlite::DATABASE;
use keyward_storage::{Sqlite, Store, read};

use super::{OPTIONS, open, times};

type State = BTreeMap<Key, (Vec<u8>, Rev)>;

/// Entries of all sizes: several to a page, and over several pages.
fn build(store: &dyn Store) {
    for i in 0..150u32 {
        let value = vec![i as u8; [5, 60, 600, 3000, 30_000][i as usize % 5]];
        let mut batch = puts([(format!("some/key/{:08x}", i.wrapping_mul(0x9e37_79b9)), value)]);
        batch.id = [1 + i as u8 % 100; 16];
        commit(store, batch).unwrap();
    }
    let deletes =
        (0..20u32).map(|i| format!("some/key/{:08x}", (i * 5).wrapping_mul(0x9e37_79b9)).into()).collect();
    commit(store, Batch { deletes, ..Batch::default() }).unwrap();
}

fn state(store: &dyn Store) -> Result<State, Fault> {
    read(store, |view| {
        let mut keys = Vec::new();
        view.keys(b"", b"", &mut |key| {
            keys.push(key.to_vec());
            true
        })?;
        let mut state = State::new();
        for key in keys {
            if let Some(entry) = view.get(&key)? {
                state.insert(key, (entry.value.to_vec(), entry.rev));
            }
        }
        Ok(state)
    })
}

/// Opens the damaged file and asks for everything. What is answered must be what was written, value by value: an
/// entry may be refused, and missing only where verification says that the file is damaged.
fn examine(dir: &Path, written: &State, what: &str) -> Verdict {
    let said_io = |fault: &Fault| assert!(matches!(fault, Fault::Io(_)), "{what}: {fault:?}");
    let store = match Sqlite::open(dir, OPTIONS) {
        Ok(store) => store,
        Err(fault) => {
            said_io(&fault);
            return Verdict::Noticed;
        }
    };
    let verified = store.verify();
    let mut noticed = verified.is_err();
    for (key, (value, rev)) in written {
        match read(&store, |view| view.get(key)) {
            Ok(Some(entry)) => {
                assert!(*entry.value == **value && entry.rev == *rev, "{what}: {key:?} came back changed");
            }
            Ok(None) => assert!(noticed, "{what}: {key:?} is gone, and no verification knows"),
            Err(fault) => {
                said_io(&fault);
                noticed = true;
            }
        }
    }
    match state(&store) {
        Ok(state) => {
            assert!(noticed || state == *written, "{what}: listed otherwise, and no verification knows");
        }
        Err(fault) => {
            said_io(&fault);
            noticed = true;
        }
    }
    if let Err(fault) = store.committed([1; 16]) {
        said_io(&fault);
    }
    // It may still be written to, or refuse; the process must live either way.
    if let Err(fault) = commit(&store, puts([("another", "one")])) {
        assert!(matches!(fault, Fault::Io(_) | Fault::Unknown), "{what}: {fault:?}");
    }
    if noticed { Verdict::Noticed } else { Verdict::Harmless }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Verdict {
    Noticed,
    Harmless,
}

#[test]
fn flipped_bytes_of_the_database() {
    let original = tempfile::tempdir().unwrap();
    let written = {
        let store = open(original.path());
        build(&store);
        state(&store).unwrap()
    };
    let bytes = fs::read(original.path().join(DATABASE)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let flips = times("KEYWARD_FLIPS", 600);
    // Every byte of the file's header, then evenly through the rest.
    let (head, stride) = (100, (bytes.len() / (flips - 100)) | 1);
    let offsets = (0..head).chain((head..bytes.len()).step_by(stride));
    let mut inside = 0;
    for offset in offsets {
        let path = dir.path().join(format!("{offset}"));
        fs::create_dir(&path).unwrap();
        let mut damaged = bytes.clone();
        damaged[offset] ^= [0x01, 0x80, 0xff][offset % 3];
        fs::write(path.join(DATABASE), damaged).unwrap();
        let verdict = examine(&path, &written, &format!("byte {offset}"));
        // Whatever was flipped, nothing wrong was answered: see `examine`. A flip may be harmless, since a database
        // has room to spare and keeps copies of entries that moved to another page; but not inside a value.
        if is_inside_a_value(&bytes, offset) {
            assert_eq!(verdict, Verdict::Noticed, "byte {offset}, inside a value");
            inside += 1;
        }
        fs::remove_dir_all(&path).unwrap();
    }
    // The longest values fill two thirds of the file.
    assert!(inside * 2 > flips - head, "only {inside} of {flips} flips fell inside a value");
}

/// Whether `offset` is on a page that holds nothing but a piece of one of the longest values, each of which is one
/// byte repeated. Such a page has no spare room, and is never copied.
fn is_inside_a_value(bytes: &[u8], offset: usize) -> bool {
    let byte = bytes[offset];
    let same = |piece: &&u8| **piece == byte;
    let (before, after) = bytes.split_at(offset);
    byte != 0 && before.iter().rev().take_while(same).count() + after.iter().take_while(same).count() >= 4_000
}

#[test]
fn a_database_cut_short() {
    let dir = tempfile::tempdir().unwrap();
    let written = {
        let store = open(dir.path());
        build(&store);
        state(&store).unwrap()
    };
    let path = dir.path().join(DATABASE);
    let bytes = fs::read(&path).unwrap();
    for len in
        [0, 1, 99, 100, 4096, 8191, 8192, 8193, 16384, bytes.len() / 2, bytes.len() - 8192, bytes.len() - 1]
    {
        for log in ["-wal", "-shm"] {
            let _ = fs::remove_file(dir.path().join(format!("{DATABASE}{log}")));
        }
        fs::write(&path, &bytes[..len]).unwrap();
        let verdict = examine(dir.path(), &written, &format!("cut at {len}"));
        // The last page may end in free space.
        assert!(verdict == Verdict::Noticed || len > bytes.len() - 8192, "cut at {len}");
    }
    fs::write(&path, "this is a text and nobody's database, only longer than a header".repeat(9)).unwrap();
    assert_eq!(examine(dir.path(), &written, "a text"), Verdict::Noticed);
}

/// The files of a store whose process is gone without closing it, and its states by revision.
fn torn_off(log_bytes: u64) -> (tempfile::TempDir, BTreeMap<Rev, State>) {
    let live = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let store = Sqlite::open(live.path(), keyward_storage::sqlite::Options { log_bytes, ..OPTIONS }).unwrap();
    let mut states = BTreeMap::from([(0, State::new())]);
    for i in 0..30u8 {
        let rev = commit(&store, puts([(vec![b'k', i % 20], vec![i; 700]), (vec![b'z'], vec![i; 20_000])]))
            .unwrap();
        states.insert(rev, state(&store).unwrap());
    }
    // By another process: closing the file in this one would drop the engine's locks.
    for file in [DATABASE.to_owned(), format!("{DATABASE}-wal"), "keyward.lock".to_owned()] {
        let done = Command::new("cp").arg(live.path().join(&file)).arg(copy.path()).status().unwrap();
        assert!(done.success());
    }
    (copy, states)
}

fn with_log(source: &Path, log: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(source.join(DATABASE), dir.path().join(DATABASE)).unwrap();
    fs::write(dir.path().join(format!("{DATABASE}-wal")), log).unwrap();
    let path = dir.path().to_owned();
    (dir, path)
}

#[test]
fn flipped_bytes_of_the_log() {
    let (source, states) = torn_off(1 << 30);
    let log = fs::read(source.path().join(format!("{DATABASE}-wal"))).unwrap();
    let newest = *states.last_key_value().unwrap().0;
    let flips = times("KEYWARD_FLIPS", 600) / 3;
    let (mut refused, mut whole, mut shorter) = (0, 0, 0);
    for offset in (0..32).chain((32..log.len()).step_by((log.len() / flips) | 1)) {
        let mut damaged = log.clone();
        damaged[offset] ^= 0x10;
        let (_keep, dir) = with_log(source.path(), &damaged);
        match Sqlite::open(&dir, OPTIONS) {
            Err(Fault::Io(why)) => {
                assert!(why.contains("-wal is damaged at byte"), "{why}");
                refused += 1;
            }
            Err(other) => panic!("{other:?}"),
            Ok(store) => {
                let rev = store.status().rev;
                assert!(state(&store).unwrap() == states[&rev], "byte {offset}: half a commit");
                // Damage in the last commit looks like a crash during it.
                assert!(rev + 1 >= newest, "byte {offset}: {rev} of {newest} commits, and not a word");
                if rev == newest { whole += 1 } else { shorter += 1 }
            }
        }
    }
    assert!(refused > flips * 8 / 10, "{refused} refused, {whole} whole, {shorter} shorter");
}

#[test]
fn a_log_cut_short_is_a_crash() {
    let (source, states) = torn_off(1 << 30);
    let log = fs::read(source.path().join(format!("{DATABASE}-wal"))).unwrap();
    let mut last = Rev::MAX;
    for len in (0..=log.len()).rev().step_by(log.len() / 60) {
        let (_keep, dir) = with_log(source.path(), &log[..len]);
        match Sqlite::open(&dir, OPTIONS) {
            Ok(store) => {
                let rev = store.status().rev;
                assert!(rev <= last && state(&store).unwrap() == states[&rev], "cut at {len}: half a commit");
                last = rev;
            }
            // Without its log the database was never set up, though the file is there.
            Err(Fault::Io(why)) => assert!(len < 1 << 16, "cut at {len}: {why}"),
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_log_begun_anew_is_not_damage() {
    // Checkpoints in between leave frames of earlier rounds behind the last commit.
    let (source, states) = torn_off(1 << 17);
    let log = fs::read(source.path().join(format!("{DATABASE}-wal"))).unwrap();
    let (_keep, dir) = with_log(source.path(), &log);
    let store = open(&dir);
    assert!(state(&store).unwrap() == *states.last_key_value().unwrap().1);
    let salts = |frame: usize| &log[32 + frame * (8192 + 24) + 8..][..8];
    let frames = (log.len() - 32) / (8192 + 24);
    assert!((0..frames).any(|frame| salts(frame) != salts(0)), "the test made no leftovers");
}
