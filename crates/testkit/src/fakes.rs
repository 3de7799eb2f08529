//! Time and randomness that tests decide.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keyward_core::{Clock, Random, Timestamp};

/// A clock that stands still until a test moves it. Share it by reference or in an `Arc`.
#[derive(Debug)]
pub struct FixedClock(AtomicU64);

impl FixedClock {
    /// A clock that shows `now`.
    pub fn at(now: Timestamp) -> FixedClock {
        FixedClock(AtomicU64::new(now.nanos()))
    }

    /// Moves the clock forward by `span`; saturates at the last moment that can be told.
    pub fn advance(&self, span: Duration) {
        self.set(self.now().plus(span));
    }

    /// Steps the clock to `now`, forward or back, as a corrected wall clock does.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.nanos(), Ordering::SeqCst);
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.0.load(Ordering::SeqCst))
    }
}

/// The same bytes for the same seed and the same sequence of calls. Anyone can predict them: for tests only.
#[derive(Debug)]
pub struct SeededRandom(AtomicU64);

impl SeededRandom {
    /// The sequence that belongs to `seed`.
    pub fn new(seed: u64) -> SeededRandom {
        SeededRandom(AtomicU64::new(seed))
    }
}

/// SplitMix64's increment: the golden ratio's fraction, which walks every 64-bit state once.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random for SeededRandom {
    fn fill(&self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let state = self.0.fetch_add(STEP, Ordering::SeqCst).wrapping_add(STEP);
            chunk.copy_from_slice(&split_mix(state).to_le_bytes()[..chunk.len()]);
        }
    }
}

fn split_mix(state: u64) -> u64 {
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_moves_only_when_told() {
        let clock = FixedClock::at(Timestamp::from_secs(100));
        assert_eq!(clock.now(), Timestamp::from_secs(100));
        clock.advance(Duration::from_secs(60));
        assert_eq!(clock.now(), Timestamp::from_secs(160));
        clock.set(Timestamp::from_secs(1));
        assert_eq!(clock.now(), Timestamp::from_secs(1));
    }

    #[test]
    fn the_published_sequence_of_split_mix_64() {
        let mut out = [0; 16];
        SeededRandom::new(1234567).fill(&mut out);
        let words = [6_457_827_717_110_365_317_u64, 3_203_168_211_198_807_973];
        assert_eq!(out[..8], words[0].to_le_bytes());
        assert_eq!(out[8..], words[1].to_le_bytes());
    }

    #[test]
    fn a_seed_is_a_sequence() {
        let draw = |seed| {
            let random = SeededRandom::new(seed);
            let mut out = [0; 43];
            random.fill(&mut out[..5]);
            random.fill(&mut out[5..]);
            out
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
