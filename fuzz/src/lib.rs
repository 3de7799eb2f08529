//! What reads bytes that others made, one target each, for `cargo xtask fuzz`.
//!
//! A target gets any bytes and must neither panic nor hang; most also hold what they read to something, such as
//! that what was read is written the same. Its seeds are made here, in code. The test below runs each target on its
//! seeds and on small changes of them, without a fuzzer: that is what `cargo xtask test` runs, for a second each, and
//! for eight on the same ones each time where `CI=true`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a target fails by panicking, and what it prepares is known to work"
)]

mod open;
mod targets;

pub use targets::TARGETS;

/// Something that reads bytes.
pub struct Target {
    /// The name of its file in `src/targets`.
    pub name: &'static str,
    /// Reads the bytes; a panic is a finding.
    pub run: fn(&[u8]),
    /// Where the fuzzer begins.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// The target of that name.
pub fn named(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Bytes as text, when they are.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// Seeds that are text.
fn texts(seeds: &[&str]) -> Vec<Vec<u8>> {
    seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_core::Random;
    use keyward_testkit::continuous_integration;
    use keyward_testkit::fakes::SeededRandom;
    use std::hash::{BuildHasher, Hasher, RandomState};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    /// `seed` with a few bytes flipped, cut out, doubled or put in.
    fn changed(seed: &[u8], random: &SeededRandom) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=number(random) % 4 {
            let (at, byte) = (number(random) % (bytes.len() + 1), number(random) as u8);
            let end = bytes.len().min(at + number(random) % 9);
            match number(random) % 5 {
                0 if at < bytes.len() => bytes[at] ^= 1 << (byte % 8),
                1 if at < bytes.len() => bytes[at] = byte,
                2 => drop(bytes.drain(at..end)),
                3 => bytes.truncate(at),
                4 => {
                    let again = bytes[at..end].to_vec();
                    bytes.splice(at..at, again);
                }
                _ => bytes.insert(at, byte),
            }
        }
        bytes
    }

    fn number(random: &SeededRandom) -> usize {
        let mut bytes = [0; 4];
        random.fill(&mut bytes);
        u32::from_le_bytes(bytes) as usize
    }

    /// A panic is told with what makes it come again.
    fn stand(target: &Target, bytes: &[u8]) {
        if std::panic::catch_unwind(|| (target.run)(bytes)).is_err() {
            panic!("{} does not stand what is {} in hexadecimal", target.name, hex::encode(bytes));
        }
    }

    /// What is near the seeds, as far as there is time.
    fn stand_what_is_near(target: &Target, seeds: &[Vec<u8>], random: &SeededRandom, span: Duration) {
        let began = Instant::now();
        for seed in seeds.iter().cycle() {
            if began.elapsed() > span {
                break;
            }
            stand(target, &changed(seed, random));
        }
    }

    #[test]
    fn every_target_stands_its_seeds_and_what_is_near_them() {
        // Minutes in all where nobody waits, of the same changes each time: a failure there is to come of what was changed.
        let (span, seed) = match continuous_integration() {
            true => (8, 7),
            false => (1, RandomState::new().build_hasher().finish()),
        };
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(target) = TARGETS.get(next.fetch_add(1, Ordering::Relaxed)) {
                let seeds = (target.seeds)();
                assert!(!seeds.is_empty(), "{}", target.name);
                stand(target, b"");
                seeds.iter().for_each(|seed| stand(target, seed));
                stand_what_is_near(target, &seeds, &SeededRandom::new(seed), Duration::from_secs(span));
            }
        };
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            (0..workers).for_each(|_| drop(scope.spawn(work)));
        });
    }

    #[test]
    fn every_file_is_a_target() {
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/targets")).unwrap();
        let mut names: Vec<String> = files
            .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .filter(|name| name != "mod")
            .collect();
        names.sort();
        assert_eq!(names, TARGETS.iter().map(|target| target.name).collect::<Vec<_>>());
    }
}
