//! Leases that were made and handed out, and are recorded as being made still: that they are made is recorded a moment later,
//! for many in one commit. Whoever asks for a database user waits for one flush of the disk instead of two.

use keyward_authority::act::About;
use keyward_core::Rev;
use parking_lot::Mutex;
use std::time::Duration;
use tokio::sync::Semaphore;

/// How long after the first of them.
pub(crate) const MOMENT: Duration = Duration::from_millis(250);
/// In one batch: each takes two of the hundred operations that a batch may have.
pub(crate) const TOGETHER: usize = 40;

/// See the module.
pub(crate) struct Made {
    unrecorded: Mutex<Vec<(About, Rev)>>,
    /// For who records them: another who comes meanwhile finds them recorded.
    pub(crate) turn: Semaphore,
}

impl Default for Made {
    fn default() -> Made {
        Made { unrecorded: Mutex::default(), turn: Semaphore::new(1) }
    }
}

impl Made {
    /// One more, with the revision that it was recorded at. True for the first, who sees to it that they are recorded.
    pub(crate) fn add(&self, about: About, recorded: Rev) -> bool {
        let mut unrecorded = self.unrecorded.lock();
        unrecorded.push((about, recorded));
        unrecorded.len() == 1
    }

    /// All of them.
    pub(crate) fn take(&self) -> Vec<(About, Rev)> {
        std::mem::take(&mut *self.unrecorded.lock())
    }
}
