//! What reads bytes that others made, one target each, for `cargo xtask fuzz`.
//!
//! A target gets any bytes and must neither panic nor hang; most also hold what they read to something, such as
//! that what was read is written the same. Its seeds are made here, in code. The test below runs each target on its
//! seeds and on thousands of small changes of them, without a fuzzer: that is what `cargo xtask test` runs.

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
    use keyward_testkit::fakes::SeededRandom;
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

    #[test]
    fn every_target_stands_its_seeds_and_what_is_near_them() {
        for target in TARGETS {
            let (random, began) = (SeededRandom::new(7), Instant::now());
            let seeds = (target.seeds)();
            assert!(!seeds.is_empty(), "{}", target.name);
            (target.run)(b"");
            seeds.iter().for_each(|seed| (target.run)(seed));
            // Some targets make keys or open connections: as many changes as fit into a second.
            for seed in seeds.iter().cycle().take(4_000) {
                if began.elapsed() > Duration::from_secs(1) {
                    break;
                }
                (target.run)(&changed(seed, &random));
            }
        }
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
