//! What is done outside: a user of a database made, changed or dropped, an object of another system made or deleted, a
//! proof of a name looked at.
//!
//! A handler is run again after a conflict and does nothing itself. It commits what it is about to have done, be it a
//! lease that is being made or a password that is going to be set, and hands out an [`Undertaking`]; the server does
//! it, and [`crate::authority::Authority::conclude`] commits what came of it before anybody is answered, or a moment later
//! where that says no more than that it succeeded ([`About::is_told_first`]). Wherever a crash falls in between, what was
//! committed first says what is left to do: every act can be done twice.

pub mod challenge;
pub mod database;
pub mod http;
pub mod ldap;

use crate::lease::Issued;
use crate::outside::Hidden;
use challenge::Challenge;
use keyward_core::Timestamp;

/// Something to be done outside.
#[derive(Debug, PartialEq, Eq)]
pub enum Act {
    /// By a database.
    Database(Box<database::Deed>),
    /// By looking at what somebody shows as a proof.
    Challenge(Box<Challenge>),
    /// By a system that is asked over HTTP.
    Http(Box<http::Deed>),
    /// By a directory.
    Ldap(Box<ldap::Deed>),
}

/// Why an act was not done; for people, without any secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What happened.
    pub why: String,
    /// It is certain that nothing was changed: there was no connection.
    pub nothing_done: bool,
}

/// What came of an act.
pub type Done = Result<(), Failure>;

/// The same with what it yielded, which is nothing where all of it was known before, as passwords are. What was yielded
/// is handed out and stored nowhere.
pub type Yielded = Result<Option<Hidden>, Failure>;

/// An act, and what its result is recorded in.
#[derive(Debug, PartialEq, Eq)]
pub struct Undertaking {
    /// What is to be done.
    pub act: Act,
    /// What for.
    pub about: About,
}

impl std::fmt::Display for About {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            About::Make(id, _) => write!(f, "lease {id} was not made"),
            About::Extend(id, _) => write!(f, "lease {id} was not extended"),
            About::Revoke(id) => write!(f, "lease {id} was not revoked"),
            About::Engine { kind, what, .. } => write!(f, "{what} of a {kind} mount was not done"),
        }
    }
}

impl About {
    /// Whether the answer that waits for a success need not wait until it is recorded; see [`Issued::is_presumed`].
    pub fn is_told_first(&self, now: Timestamp) -> bool {
        matches!(self, About::Make(_, lease) if lease.is_presumed() && lease.due() > now.nanos())
    }
}

/// What an act is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// A lease is made, under this id and as it was recorded.
    Make(String, Box<Issued>),
    /// A lease is extended to a moment, in nanoseconds since the epoch.
    Extend(String, u64),
    /// A lease is taken back.
    Revoke(String),
    /// Something of an engine's own.
    Engine {
        /// The mount's uuid.
        mount: String,
        /// The mount's type.
        kind: String,
        /// In the engine's words.
        what: String,
    },
}
