//! The sealed envelope: values bound to where they belong and signed by who made them, and what opens and verifies them.
//! Pure: files, terminals and clocks are the caller's.
//!
//! Who opens need not know how sealing is done, and must not: the root of trust and its ceremony are in `keyward-sealing`,
//! which no service of a cluster depends on.
//!
//! # What binds a value
//! age files have no associated data, so the context stands inside: each value is an age file whose plaintext begins with a
//! signed header ([`envelope`]), and the manifest around them is signed too ([`object`]). Opening compares both with each
//! other and with the place the value is asked for in, and releases nothing before everything fits. `age -d` opens each
//! value as well, with the header in front of it: that is the way out when there is no Keyward at hand.

pub mod author;
pub mod bundle;
pub mod document;
pub mod envelope;
pub mod object;
mod recipient;
pub mod secret;
mod shares;
pub mod violation;
pub mod zenlock;

pub use author::{AuthorKey, Signer};
pub use document::Document;
pub use object::{Opened, Place};
pub use recipient::recipient_id;
pub use secret::PlainSecret;
pub use violation::{Failure, Violation};
