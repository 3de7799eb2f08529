//! The sealed envelope and the root of trust: values sealed for recipients, bound to where they belong and signed by who
//! made them; and the one key everything offline comes from. Pure: files, terminals and clocks are the caller's.
//!
//! # What binds a value
//! age files have no associated data, so the context stands inside: each value is an age file whose plaintext begins with a
//! signed header ([`envelope`]), and the manifest around them is signed too ([`object`]). Opening compares both with each
//! other and with the place the value is asked for in, and releases nothing before everything fits. `age -d` opens each
//! value as well, with the header in front of it: that is the way out when there is no Keyward at hand.
//!
//! # What a new sealing can change
//! Who can open, and nothing else: neither signature covers ciphertext or recipients, and both must still hold. Whoever
//! re-seals needs the identities, but no author's key, and cannot widen anything with them.

pub mod author;
pub mod diff;
pub mod envelope;
pub mod import;
pub mod lint;
pub mod object;
pub mod recipients;
pub mod root;
pub mod secret;
mod violation;

pub use author::{AuthorKey, Signer};
pub use object::{Opened, Place};
pub use recipients::{Audience, recipient_id};
pub use secret::PlainSecret;
pub use violation::{Failure, Violation};
