//! The operating system's randomness.

use keyward_core::Random;

use crate::certain;

/// Randomness from the generator of aws-lc-rs, which the operating system seeds.
///
/// Should the generator fail, the process aborts: no key, nonce or token may come from anything weaker.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, out: &mut [u8]) {
        certain(aws_lc_rs::rand::fill(out));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_everything_and_differs() {
        let mut seen = [0u8; 4096];
        SystemRandom.fill(&mut seen);
        // A byte value absent from 4096 random bytes: once in 35,000 runs; sixteen of them: never.
        assert!((0..=255).filter(|value| !seen.contains(value)).count() < 16);
        let (one, two): ([u8; 32], [u8; 32]) =
            (keyward_core::random::bytes(&SystemRandom), keyward_core::random::bytes(&SystemRandom));
        assert_ne!(one, two);
        SystemRandom.fill(&mut []);
    }
}
