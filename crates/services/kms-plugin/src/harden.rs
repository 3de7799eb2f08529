//! Keeps keys out of core dumps, other processes and swap.

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::{CapabilitySet, capabilities};

/// Applies what the system allows, and returns what it did not, in words for the log.
pub(crate) fn harden() -> Vec<String> {
    let mut missing = Vec::new();
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        missing.push(format!("core dumps cannot be ruled out: {error}"));
    }
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        missing.push(format!("other processes of this user can read this one's memory: {error}"));
    }
    if let Err(why) = lock_memory() {
        missing.push(format!(
            "keys may be swapped out: {why}; allow it with LimitMEMLOCK=infinity, or run without swap"
        ));
    }
    missing
}

/// Locks memory as it is touched. Under a finite limit nothing is locked: a later allocation would fail.
fn lock_memory() -> Result<(), String> {
    let exempt = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
    // Raising the limit takes rights of its own; the limit found is what counts.
    let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
    if !exempt && getrlimit(Resource::Memlock).current.is_some() {
        return Err("the limit of locked memory is finite".to_owned());
    }
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)
        .map_err(|error| error.to_string())
}
