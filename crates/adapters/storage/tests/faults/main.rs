//! What goes wrong on a real machine, with real parts: killed processes, full disks, bytes that change, flushes
//! that fail, a second process.
//!
//! `KEYWARD_KILLS` and `KEYWARD_FLIPS` set how often the longer tests try; what they need and do not have is said
//! aloud, and is a failure where `CI=true`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests, and what they share")]

mod child;
mod damage;
mod full;
mod kill;
mod lost_writes;
mod opening;
mod running;

use std::path::Path;

use keyward_storage::Sqlite;
use keyward_storage::sqlite::Options;

/// A small log, so that checkpoints happen while a test runs.
const OPTIONS: Options =
    Options { cache_bytes: 1 << 20, readers: 2, queue_bytes: 1 << 20, log_bytes: 1 << 18 };

fn open(dir: &Path) -> Sqlite {
    Sqlite::open(dir, OPTIONS).unwrap_or_else(|fault| panic!("{fault}"))
}

/// How often to try, unless the environment says otherwise.
fn times(variable: &str, usual: usize) -> usize {
    std::env::var(variable).map_or(usual, |times| times.parse().expect("a number"))
}

/// Something this machine lacks: a failure in CI, and never silent.
fn skipped(test: &str, why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} cannot run: {why}");
    eprintln!("SKIPPED {test}: {why}");
}
