//! The engine's side of files: policies and resources are read from them, test suites of the form `kyverno-test.yaml` are run,
//! and what policies say about resources is reported.
//!
//! [`rollout`] says what enforcing policies would refuse; `enforce` changes them in their files.
//!
//! Nothing is decided here about requests: `keyward-admission` does that. What a suite means is in [`suite`] and [`judge`].

pub mod apply;
mod enforce;
pub mod git;
pub mod judge;
pub mod load;
pub mod report;
pub mod rollout;
pub mod suite;
pub mod world;
