//! The authority's clock: the wall's time at start, carried on by a clock that no one can set.
//!
//! Tokens and leases end by this clock, so a wall clock stepped by a day while the authority runs neither ends
//! all of them nor lets ended ones live on. Time spent suspended counts.

use keyward_core::{Clock, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// See the module.
pub struct SteadyClock {
    started: Timestamp,
    boot: Duration,
}

impl SteadyClock {
    /// Starts at the wall's present time.
    pub fn start() -> SteadyClock {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        SteadyClock { started: Timestamp::EPOCH.plus(wall), boot: since_boot() }
    }

    /// How far the wall's time is from this clock's, and whether it is ahead: an operator wants to know.
    pub fn drift(&self) -> (Duration, bool) {
        let wall = Timestamp::EPOCH.plus(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        let now = self.now();
        if wall > now { (wall.since(now), true) } else { (now.since(wall), false) }
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> Timestamp {
        self.started.plus(since_boot().saturating_sub(self.boot))
    }
}

fn since_boot() -> Duration {
    let at = clock_gettime(ClockId::Boottime);
    Duration::new(at.tv_sec.unsigned_abs(), u32::try_from(at.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_on_from_the_wall() {
        let clock = SteadyClock::start();
        let first = clock.now();
        assert!(clock.now() >= first);
        assert!(clock.drift().0 < Duration::from_secs(5));
    }
}
