//! How many secrets stand between the cluster and its next phase. Kept with every change, for a guard must not look at all
//! objects.

use crate::context::Context;
use crate::refusal::Refusal;
use serde::{Deserialize, Serialize};

const PATH: &str = "census";

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Census {
    /// Bootstrap secrets that Git still owns.
    pub(super) bootstrap: u64,
    /// Secrets that were handed over and have the value they had in Git.
    pub(super) rotation_due: u64,
}

pub(super) fn read(cx: &mut Context<'_, '_>) -> Result<Census, Refusal> {
    Ok(cx.get_json(PATH)?.unwrap_or_default())
}

/// Counts that an object was `before` and is `after` now.
pub(super) fn moved(cx: &mut Context<'_, '_>, before: Census, after: Census) -> Result<(), Refusal> {
    if before == after {
        return Ok(());
    }
    let now = read(cx)?;
    let step = |now: u64, before: u64, after: u64| (now + after).saturating_sub(before);
    cx.put_json(
        PATH,
        &Census {
            bootstrap: step(now.bootstrap, before.bootstrap, after.bootstrap),
            rotation_due: step(now.rotation_due, before.rotation_due, after.rotation_due),
        },
    )
}
