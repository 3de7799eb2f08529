//! Sealing and the root of trust: values sealed for recipients, and the one key everything offline comes from. What is
//! sealed, and how it is opened again, is in [`keyward_envelope`]. Pure: files, terminals and clocks are the caller's.
//!
//! # What a new sealing can change
//! Who can open, and nothing else: neither signature covers ciphertext or recipients, and both must still hold. Whoever
//! re-seals needs the identities, but no author's key, and cannot widen anything with them.

pub mod diff;
pub mod import;
pub mod lint;
pub mod object;
pub mod recipients;
pub mod root;

pub use keyward_envelope::{
    AuthorKey, Failure, Opened, Place, PlainSecret, Signer, Violation, author, envelope, recipient_id,
    secret, violation,
};
pub use recipients::Audience;
