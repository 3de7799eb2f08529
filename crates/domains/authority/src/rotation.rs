//! When the barrier's key ring gets a new term by itself.

use crate::barrier::KeyStatus;
use crate::refusal::Refusal;
use crate::txn::Txn;
use keyward_core::{LIMITS, Timestamp};
use serde::{Deserialize, Serialize};

/// Encryptions after which a term is replaced: a hundredth of what random nonces allow, at
/// [`LIMITS`]`.operations` encryptions a revision.
pub const ROTATE_AFTER: u64 = (1 << 32) / (LIMITS.operations as u64);

/// When the barrier adds a term by itself, as an operator configures it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// Without it only the limit of random nonces counts.
    pub enabled: bool,
    /// Encryptions, counted as many for each commit as one can have.
    pub max_operations: u64,
    /// Seconds; never when zero.
    pub interval: u64,
}

impl Default for Rotation {
    fn default() -> Rotation {
        Rotation { enabled: true, max_operations: Rotation::GREATEST, interval: 0 }
    }
}

impl Rotation {
    /// The fewest operations that may be configured.
    pub const LEAST: u64 = 1_000_000;
    /// The most: nine tenths of what random nonces allow.
    pub const GREATEST: u64 = 3_865_470_566;
    const KEY: &str = "core/rotation";

    /// As stored, or as it is from the beginning.
    pub fn load(txn: &mut Txn<'_>) -> Result<Rotation, Refusal> {
        Ok(txn.get_json(Rotation::KEY)?.unwrap_or_default())
    }

    /// Stores it.
    pub fn store(&self, txn: &mut Txn<'_>) -> Result<(), Refusal> {
        txn.put_json(Rotation::KEY, self)
    }

    /// Whether a term used as `status` tells is to be replaced: it has been used enough, whether or not this is
    /// enabled, or this says so.
    pub fn is_due(&self, status: &KeyStatus, now: Timestamp) -> bool {
        let used = status.encryptions.saturating_mul(LIMITS.operations as u64);
        let age = now.since(status.installed).as_secs();
        let asked = used >= self.max_operations || (self.interval > 0 && age >= self.interval);
        status.encryptions >= ROTATE_AFTER || (self.enabled && asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_term_is_replaced_by_use_and_by_age() {
        let installed = Timestamp::from_secs(9);
        let day = 24 * 3600;
        let due = |encryptions, after, rotation: &Rotation| {
            let status = KeyStatus { term: 2, installed, encryptions };
            rotation.is_due(&status, installed.plus(Duration::from_secs(after)))
        };
        let usual = Rotation::default();
        let disabled = Rotation { enabled: false, max_operations: Rotation::LEAST, interval: day };
        let daily = Rotation { interval: day, ..Rotation::default() };
        let often = Rotation { max_operations: Rotation::LEAST, ..Rotation::default() };
        assert!(!due(0, day * 999, &usual));
        assert!(!due(0, day - 1, &daily) && due(0, day, &daily));
        assert!(!due(9_999, 0, &often) && due(10_000, 0, &often));
        assert!(!due(10_000, day, &disabled) && due(ROTATE_AFTER, 0, &disabled));
    }
}
