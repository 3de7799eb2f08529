//! Directories (LDAP, RFC 4511): who binds, and what is searched for. Each question has a connection of its own, so that
//! nothing of one bind is left for the next.

use super::{Hidden, Roots};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Where a directory is, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// `ldap://HOST:PORT` or `ldaps://HOST:PORT`; tried one after the other.
    pub urls: Vec<String>,
    /// Turn to TLS before anything is said (RFC 4513, 3).
    pub starttls: bool,
    /// Whose certificates are believed.
    pub roots: Roots,
    /// Nothing below TLS 1.3.
    pub only_tls13: bool,
    /// How long each server may take to be reached.
    pub connect: Duration,
    /// How long the bind, and the search, may take.
    pub request: Duration,
}

/// Whether the search goes on where an alias points to (RFC 4511, 4.5.1.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aliases {
    /// No.
    #[default]
    Never,
    /// For the base.
    Finding,
    /// For what is below the base.
    Searching,
    /// For both.
    Always,
}

/// A search of everything below an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// The entry.
    pub base: String,
    /// What is searched for (RFC 4515); what others chose is escaped in it.
    pub filter: String,
    /// What is told of each entry.
    pub attributes: Vec<String>,
    /// Entries at most; more are not read.
    pub most: usize,
    /// See there.
    pub aliases: Aliases,
}

/// One question.
#[derive(Debug, PartialEq, Eq)]
pub struct Ask {
    /// Of whom.
    pub server: Arc<Server>,
    /// Who asks, by name and password; nobody in particular without.
    pub bind: Option<(String, Hidden)>,
    /// What is searched for once the bind has succeeded.
    pub search: Option<Search>,
}

/// One entry of a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub dn: String,
    /// What was asked for of it, by the names of attributes in lower case.
    pub attributes: BTreeMap<String, Vec<String>>,
}

/// What a directory says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The bind was refused; why, for the operator.
    Denied(String),
    /// The bind succeeded; what the search found, nothing without one.
    Entries(Vec<Entry>),
}

/// An answer, or why there is none: for the operator, without any secret.
pub type Answer = Result<Found, String>;
