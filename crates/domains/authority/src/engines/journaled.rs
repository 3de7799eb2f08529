//! Entries of engines that are gone on with by the clock: what is under way outside, and when somebody must look at it next.

use crate::act::About;
use crate::expiry::{self, Due};
use crate::mounts;
use crate::refusal::Refusal;
use crate::txn::Txn;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Where such an entry is.
#[derive(Clone, Copy)]
pub(super) struct Place<'p> {
    /// The engine's.
    pub(super) kind: &'static str,
    /// The mount's.
    pub(super) uuid: &'p str,
    /// The path below the mount, which is also what the journal calls it.
    pub(super) what: &'p str,
}

impl Place<'_> {
    fn key(&self) -> String {
        mounts::prefix(self.uuid) + self.what
    }

    fn due_name(&self) -> String {
        format!("{}/{}", self.uuid, self.what)
    }

    /// What the journal says an act for it is about.
    pub(super) fn about(&self) -> About {
        About::Engine { mount: self.uuid.to_owned(), kind: self.kind.to_owned(), what: self.what.to_owned() }
    }

    pub(super) fn get<T: DeserializeOwned>(&self, txn: &mut Txn<'_>) -> Result<Option<T>, Refusal> {
        txn.get_json(&self.key())
    }

    /// Stores `entry`, which somebody must look at when it is `due`, in nanoseconds since the epoch; nobody when zero. It
    /// `was_due` before.
    pub(super) fn put(
        &self,
        txn: &mut Txn<'_>,
        entry: &impl Serialize,
        (was_due, due): (u64, u64),
    ) -> Result<(), Refusal> {
        if was_due != due && was_due != 0 {
            expiry::forget(txn, was_due, &self.due_name());
        }
        if due != 0 {
            let then = Due::Engine {
                mount: self.uuid.to_owned(),
                kind: self.kind.to_owned(),
                what: self.what.to_owned(),
            };
            expiry::remember(txn, due, &self.due_name(), &then)?;
        }
        txn.put_json(&self.key(), entry)
    }

    /// Removes the entry that `was_due`.
    pub(super) fn delete(&self, txn: &mut Txn<'_>, was_due: u64) {
        if was_due != 0 {
            expiry::forget(txn, was_due, &self.due_name());
        }
        txn.delete(&self.key());
    }
}
