//! What another system is asked to do over HTTP, as a value.

use crate::outside::{Credential, Roots};

/// One thing to ask for.
#[derive(Debug, PartialEq, Eq)]
pub enum Call {
    /// That what this JSON describes be made.
    Post {
        /// Where.
        url: String,
        /// What; holds no secret.
        body: String,
    },
    /// That what is there be deleted; it is well if nothing is.
    Delete {
        /// Where.
        url: String,
    },
}

/// Calls, in order. The first that does not succeed is the last, but among deletions: each of them is tried. What the
/// last call is answered is what the deed yields.
#[derive(Debug, PartialEq, Eq)]
pub struct Deed {
    /// Whose certificates are believed.
    pub roots: Roots,
    /// Who asks.
    pub credential: Credential,
    /// Few enough that all of them have ended before somebody else does the deed again; see [`crate::lease::GUARD`].
    pub calls: Vec<Call>,
}
