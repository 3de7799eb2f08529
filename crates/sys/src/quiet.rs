//! Notices when work has ended, so that the memory it took can be given back.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Work worth giving memory back after, besides that of the start: some thousand requests.
const WORK: Duration = Duration::from_millis(100);
/// Work in the time between two looks that is none: time's own ticking, a probe of health.
const REST: Duration = Duration::from_millis(10);

/// Compares the processor time this process has used with what it had used before. Looked at once a second.
pub struct Quiet {
    last: Duration,
    released: Option<Duration>,
}

impl Quiet {
    /// From now on; `used` so far.
    pub fn after(used: Duration) -> Quiet {
        Quiet { last: used, released: None }
    }

    /// Whether memory should be given back now: something was done since it last was, and nothing is being done.
    pub fn look(&mut self, used: Duration) -> bool {
        let rests = used.saturating_sub(self.last) < REST;
        self.last = used;
        let due = rests && self.released.is_none_or(|released| used.saturating_sub(released) >= WORK);
        if due {
            self.released = Some(used);
        }
        due
    }
}

/// Processor time used by all threads of this process.
pub fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_once_after_work() {
        let mut quiet = Quiet::after(Duration::from_millis(40));
        let looks = [60, 61, 62, 900, 1_700, 1_705, 1_706, 1_760, 1_761, 1_811, 1_812];
        let due = looks.map(|used| quiet.look(Duration::from_millis(used)));
        //          start  rest  rest   works  works  rest  rest   little rest   little rest
        let expected = [false, true, false, false, false, true, false, false, false, false, true];
        assert_eq!(due, expected);
    }

    #[test]
    fn work_takes_time() {
        let before = processor_time();
        let worked = (0..20_000_000_u64).fold(0, |sum, number| std::hint::black_box(sum ^ number));
        assert!(processor_time() > before, "{worked}");
    }
}
