//! `sys/`: the authority's own paths, those that need it unsealed.
//!
//! Absent, and answered as paths that are not there: quotas, raft, namespaces, replication, counters, loggers,
//! host-info, monitor, in-flight requests, CORS and user-interface headers.

mod audit;
mod capabilities;
pub(crate) mod catalog;
mod explain;
mod keys;
mod leases;
mod locked;
mod mfa;
mod mounts;
mod openapi;
mod passwords;
mod policies;
mod posture;
mod remount;
#[cfg(test)]
mod tests;
mod tools;
mod tune;
mod ui;
mod unsealed;
mod wrapping;

use crate::route::Backend;

pub use unsealed::{UNSEALED, Unsealed};

/// See the module.
pub static BACKEND: Backend = Backend {
    kind: "system",
    about: "Control, policy and debugging of the authority.",
    routes: &[
        tune::ROUTES,
        mounts::ROUTES,
        leases::ROUTES,
        locked::ROUTES,
        mfa::ROUTES,
        wrapping::ROUTES,
        remount::ROUTES,
        ui::ROUTES,
        openapi::ROUTES,
        explain::ROUTES,
        policies::ROUTES,
        passwords::ROUTES,
        posture::ROUTES,
        capabilities::ROUTES,
        audit::ROUTES,
        tools::ROUTES,
        keys::ROUTES,
        catalog::ROUTES,
    ],
    ..Backend::EMPTY
};

/// A mount's path: with one slash at its end.
fn directory(path: &str) -> String {
    format!("{}/", path.trim_end_matches('/'))
}
