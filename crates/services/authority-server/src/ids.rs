//! Request ids: random, but no secret.

use keyward_core::{Random, random};
use std::cell::RefCell;

/// Bytes drawn at once: drawing costs about as much for sixteen as for all of these.
const DRAWN: usize = 512;

struct Pool {
    bytes: [u8; DRAWN],
    used: usize,
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; DRAWN], used: DRAWN }) };
}

/// Randomness drawn in advance. Never for keys, nonces or tokens: a machine that is copied while it runs would draw
/// the same twice.
struct Advance<'r>(&'r dyn Random);

impl Random for Advance<'_> {
    fn fill(&self, out: &mut [u8]) {
        POOL.with_borrow_mut(|pool| {
            for byte in out {
                if pool.used == DRAWN {
                    self.0.fill(&mut pool.bytes);
                    pool.used = 0;
                }
                *byte = pool.bytes[pool.used];
                pool.used += 1;
            }
        });
    }
}

/// A new request id: a version 4 UUID (RFC 9562).
pub(crate) fn next(random: &dyn Random) -> String {
    random::uuid(&Advance(random))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_two_are_the_same() {
        let ids: HashSet<String> = (0..1000).map(|_| next(&keyward_crypto::SystemRandom)).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 36 && id.as_bytes()[14] == b'4'));
    }
}
