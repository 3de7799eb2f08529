//! How a workload gets its secrets: what its pod asks for in annotations ([`Wish`]), what is put into the pod for it
//! ([`pod`]), where values lie in the pod's memory ([`Layout`]), and how long to wait between questions ([`pause`]).
//!
//! # What holds
//! The workload's containers get files and nothing else: the token that proves the pod to the authority is mounted in the
//! agent alone. Values lie in memory (`emptyDir`, `medium: Memory`), and no object of Kubernetes ever holds one. Nothing
//! here is done twice when a webhook is called twice, and nothing is done outside the answer.

mod layout;
mod pause;
pub mod pod;
mod wish;

use std::fmt;

pub use layout::Layout;
pub use pause::pause;
pub use wish::{Refresh, Wish};

/// Why a pod cannot have what it asks for: for the person who wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

fn refused<T>(why: impl Into<String>) -> Result<T, Refused> {
    Err(Refused(why.into()))
}
