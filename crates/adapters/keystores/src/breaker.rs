//! Spares a provider that is down the calls of everyone who waits for it.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failures in a row that open the breaker.
const LIMIT: u32 = 5;
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// Counts failures in a row. Past the limit, one call is let through per pause; pauses double up to 30 s and
/// are shortened at random by up to a quarter, so that the nodes of a cluster do not knock in step.
#[derive(Default)]
pub(crate) struct Breaker(Mutex<State>);

#[derive(Default)]
struct State {
    failures: u32,
    why: String,
    closed_until: Option<Instant>,
}

/// Why a call may not go ahead.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pause {
    /// How long until the next may.
    pub(crate) wait: Duration,
    /// How many calls failed in a row.
    pub(crate) failures: u32,
    /// Why the last of them did.
    pub(crate) why: String,
}

impl Breaker {
    /// Whether a call may go ahead at `now`.
    pub(crate) fn admit(&self, now: Instant) -> Result<(), Pause> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match state.closed_until {
            Some(until) if now < until => {
                Err(Pause { wait: until - now, failures: state.failures, why: state.why.clone() })
            }
            Some(_) => {
                // This call is the trial: others wait for its outcome, or for the next pause to end.
                state.closed_until = Some(now + pause(state.failures));
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Records how a call ended: served, or not, and why.
    pub(crate) fn record(&self, outcome: Result<(), String>, now: Instant) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Err(why) = outcome else {
            *state = State::default();
            return;
        };
        state.why = why;
        state.failures = state.failures.saturating_add(1);
        if state.failures >= LIMIT {
            state.closed_until = Some(now + pause(state.failures));
        }
    }
}

fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(LIMIT).min(10);
    let full = (SHORTEST * (1 << doublings)).min(LONGEST);
    let jitter = RandomState::new().build_hasher().finish() % 256;
    full - full.mul_f64(jitter as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_after_the_limit_and_closes_on_success() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        let down = || Err("down".to_owned());
        for _ in 1..LIMIT {
            breaker.record(down(), start);
            assert_eq!(breaker.admit(start), Ok(()));
        }
        breaker.record(down(), start);
        let Pause { wait, failures, why } = breaker.admit(start).unwrap_err();
        assert_eq!((failures, &*why), (LIMIT, "down"));
        assert!(wait <= SHORTEST && wait >= SHORTEST * 3 / 4, "{wait:?}");
        let later = start + wait;
        assert_eq!(breaker.admit(later), Ok(()), "one trial");
        assert!(breaker.admit(later).is_err(), "and only one");
        breaker.record(Ok(()), later);
        assert_eq!(breaker.admit(later), Ok(()));
        breaker.record(down(), later);
        assert_eq!(breaker.admit(later), Ok(()), "the count began anew");
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        for failures in [LIMIT, LIMIT + 3, LIMIT + 20, u32::MAX] {
            assert!(pause(failures) <= LONGEST && pause(failures) >= SHORTEST * 3 / 4);
        }
        assert!(pause(LIMIT + 3) > Duration::from_secs(5));
    }
}
