//! How long to wait between questions.

use std::time::Duration;

const LONGEST: Duration = Duration::from_secs(60);

/// The wait before the next question: `interval` less up to a quarter; after failures in a row 1, 2, 4... s up to a
/// minute, less up to a quarter too. `spread` is a random number, so that pods that start together do not ask together.
pub fn pause(interval: Duration, failures: u32, spread: u8) -> Duration {
    let full = match failures {
        0 => interval,
        _ => LONGEST.min(Duration::from_secs(1 << (failures - 1).min(10))),
    };
    full - full * u32::from(spread) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_longer_after_each_failure_and_never_in_step() {
        let interval = Duration::from_secs(30);
        assert_eq!(pause(interval, 0, 0), interval);
        assert!(pause(interval, 0, 255) > interval * 3 / 4 && pause(interval, 0, 255) < interval * 4 / 5);
        for (failures, seconds) in [(1, 1), (2, 2), (3, 4), (7, 60), (u32::MAX, 60)] {
            assert_eq!(pause(interval, failures, 0), Duration::from_secs(seconds), "{failures}");
        }
    }
}
