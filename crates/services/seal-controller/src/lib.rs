//! The controller of sealed objects: what a cluster's SealedSecrets and ZenLocks say is written to the authority, and what the
//! authority says of them into their status.
//!
//! It holds no key and sees no value: it passes on what is sealed. Nobody believes it either. The authority checks signatures
//! and versions itself, so a controller that lies can keep an object back or repeat one, and no more.
//!
//! Two at once do no harm, since what is written is the same and the authority takes it once. One of several leads all the same,
//! to spare the authority. Of an object only its generation and state are kept in memory; the manifest is read again when it
//! is its turn.

mod authority;
mod desk;
mod object;
mod serve;
mod status;

pub use object::{SEALED_SECRETS, ZENLOCKS};
pub use serve::{ControllerError, Options, run};
