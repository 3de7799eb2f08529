//! How many objects still need each version of a namespace's key: the proof that an old one may go.

use crate::context::Context;
use crate::refusal::Refusal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Counts by the oldest version that opens an object; version 0 stands for objects that another identity opens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Usage(pub(super) BTreeMap<u64, u64>);

impl Usage {
    /// Objects that no version from `min` on opens.
    pub(super) fn below(&self, min: u64) -> u64 {
        self.0.range(1..min).map(|(_, count)| count).sum()
    }

    /// All objects.
    pub(super) fn all(&self) -> u64 {
        self.0.values().sum()
    }
}

fn path(namespace: &str) -> String {
    ["use/", namespace].concat()
}

pub(super) fn of(cx: &mut Context<'_, '_>, namespace: &str) -> Result<Usage, Refusal> {
    Ok(cx.get_json(&path(namespace))?.unwrap_or_default())
}

/// Counts that an object needed `before` and needs `after` now.
pub(super) fn moved(
    cx: &mut Context<'_, '_>,
    namespace: &str,
    before: Option<Option<u64>>,
    after: Option<Option<u64>>,
) -> Result<(), Refusal> {
    if before == after {
        return Ok(());
    }
    let mut usage = of(cx, namespace)?;
    if let Some(before) = before {
        let version = before.unwrap_or(0);
        let left = usage.0.get(&version).copied().unwrap_or(0).saturating_sub(1);
        match left {
            0 => drop(usage.0.remove(&version)),
            left => drop(usage.0.insert(version, left)),
        }
    }
    if let Some(after) = after {
        *usage.0.entry(after.unwrap_or(0)).or_default() += 1;
    }
    cx.put_json(&path(namespace), &usage)
}

/// Forgets the counts of a namespace, which are all zero.
pub(super) fn forget(cx: &mut Context<'_, '_>, namespace: &str) {
    cx.delete(&path(namespace));
}
