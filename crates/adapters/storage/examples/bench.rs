//! Rates of the SQLite store on this machine, beside each other: `cargo run --release --example bench [DIR]`.
//!
//! What one writer can do is mostly the disk's flush; what 64 can is what grouping makes of it. Ratios compare,
//! rates do not.
#![allow(clippy::unwrap_used, reason = "a benchmark ends at the first thing that fails")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use keyward_core::{Batch, Rev, Want};
use keyward_storage::sqlite::Options;
use keyward_storage::{Sqlite, Store, read};

const ENTRIES: u64 = 100_000;
const VALUE: usize = 600;
const SPAN: Duration = Duration::from_secs(2);

fn main() {
    let given = std::env::args_os().nth(1).map(PathBuf::from);
    let dir =
        given.unwrap_or_else(|| std::env::temp_dir().join(format!("keyward-bench-{}", std::process::id())));
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(&dir, Options::default()).unwrap());
    let began = Instant::now();
    load(&*store);
    println!("load of {ENTRIES} entries of {VALUE} bytes: {:.1} s", began.elapsed().as_secs_f64());

    let single = writers(&store, 1);
    let group = writers(&store, 64);
    println!("one writer: {single:.0} commits/s");
    println!("64 writers: {group:.0} commits/s, ratio {:.2}", group / single);

    let hit = per_read(&*store, |_| key(7));
    let miss = per_read(&*store, |i| key(scatter(i) % ENTRIES));
    println!("read from the cache: {:.0} ns", hit * 1e9);
    println!("read past the cache: {:.0} ns, ratio {:.2}", miss * 1e9, miss / hit);
    listing(&*store);

    let began = Instant::now();
    drop(store);
    let closed = began.elapsed();
    let began = Instant::now();
    let store = Sqlite::open(&dir, Options::default()).unwrap();
    println!(
        "close {:.1} ms, open {:.2} ms",
        closed.as_secs_f64() * 1e3,
        began.elapsed().as_secs_f64() * 1e3
    );
    println!("{:.1} MB on disk, {} KB resident", store.status().bytes as f64 / 1e6, resident());
    drop(store);
    std::fs::remove_dir_all(&dir).unwrap();
}

fn scatter(i: u64) -> u64 {
    i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20
}

fn key(i: u64) -> Vec<u8> {
    format!("logical/{:016x}/some/path/{:010}", scatter(i), i).into_bytes()
}

fn wait(store: &dyn Store, batch: Batch) -> Rev {
    keyward_storage::conformance::commit(store, batch).unwrap()
}

fn load(store: &dyn Store) {
    for from in (0..ENTRIES).step_by(100) {
        let puts = (from..from + 100).map(|i| (key(i), vec![i as u8; VALUE])).collect();
        wait(store, Batch { puts, ..Batch::default() });
    }
}

/// Commits per second of `count` writers, each relying on one entry and writing another.
fn writers(store: &Arc<dyn Store>, count: u64) -> f64 {
    let (done, commits) = (AtomicBool::new(false), AtomicU64::new(0));
    let began = Instant::now();
    thread::scope(|scope| {
        for writer in 0..count {
            let (store, done, commits) = (store, &done, &commits);
            scope.spawn(move || {
                let wants = vec![(key(ENTRIES + writer), Want::Absent)];
                let mut i = writer * 1_000_003;
                while !done.load(Ordering::Relaxed) {
                    i += 1;
                    let puts = vec![(key(scatter(i) % ENTRIES), vec![i as u8; VALUE])];
                    let mut id = [1; 16];
                    id[..8].copy_from_slice(&i.to_be_bytes());
                    wait(&**store, Batch { id, wants: wants.clone(), puts, ..Batch::default() });
                    commits.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        thread::sleep(SPAN);
        done.store(true, Ordering::Relaxed);
    });
    commits.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}

/// Seconds per look at one key.
fn per_read(store: &dyn Store, key: impl Fn(u64) -> Vec<u8>) -> f64 {
    let keys: Vec<_> = (0..50_000).map(key).collect();
    let (mut reads, mut spent) = (0, Duration::ZERO);
    while spent < SPAN / 2 {
        let began = Instant::now();
        for key in &keys {
            assert!(read(store, |view| view.get(key)).unwrap().is_some());
        }
        spent += began.elapsed();
        reads += keys.len();
    }
    spent.as_secs_f64() / reads as f64
}

fn listing(store: &dyn Store) {
    let began = Instant::now();
    let mut found = 0;
    store
        .look(&mut |view| {
            found = 0;
            view.keys(b"logical/", b"", &mut |_| {
                found += 1;
                true
            })
        })
        .unwrap();
    println!("listing: {:.0} ns a key", began.elapsed().as_secs_f64() * 1e9 / found as f64);
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}
