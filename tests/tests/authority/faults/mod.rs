//! What must hold when processes, disks, clocks and networks do not.

mod clock;
mod crash;
mod disk;
mod shutdown;
mod storm;
mod tls;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A small generator of randomness (SplitMix64) for moments that no test may depend on.
pub(crate) struct Moments(u64);

impl Moments {
    pub(crate) fn new() -> Moments {
        Moments(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos().into())
    }

    /// A time from nothing to `most`.
    pub(crate) fn up_to(&mut self, most: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        most.mul_f64((mixed >> 11) as f64 / (1_u64 << 53) as f64)
    }
}
