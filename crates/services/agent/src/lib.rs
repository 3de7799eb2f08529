//! The agent beside a workload: proves the pod to the authority with the token that the kubelet projected into it, has its
//! sealed objects opened, and keeps their values in files in the pod's memory; or, told so, in Secrets.
//!
//! What was delivered stays while the authority is sealed, down or refuses: a running workload has read it already. What is
//! deleted from the authority therefore does not leave running pods; restart them. Values are never in this process longer
//! than it takes to write them.

mod at_rest;
mod error;
mod fetch;
mod folder;
mod secrets;
mod serve;
mod state;
mod target;

pub use at_rest::verify as verify_at_rest;
pub use error::AgentError;
pub use serve::{Options, run};
pub use state::check;
pub use target::{AtRest, To};
