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
    /// Which versions of TLS are spoken.
    pub versions: Versions,
    /// What is shown to the server: certificates in PEM, and their key.
    pub identity: Option<(Arc<str>, Arc<Hidden>)>,
    /// How long each server may take to be reached.
    pub connect: Duration,
    /// How long the bind, and the search, may take.
    pub request: Duration,
}

/// Versions of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// 1.2 and 1.3.
    Both,
    /// 1.2 alone.
    Only12,
    /// 1.3 alone.
    Only13,
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

/// A search of an entry and everything below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// The entry.
    pub base: String,
    /// Of the entry alone.
    pub alone: bool,
    /// What is searched for (RFC 4515); what others chose is escaped in it.
    pub filter: String,
    /// What is told of each entry.
    pub attributes: Vec<String>,
    /// Entries at most; more are not read.
    pub most: usize,
    /// See there.
    pub aliases: Aliases,
    /// Entries that are asked for at a time (RFC 2696); all at once when zero.
    pub page: u32,
}

/// One question.
#[derive(Debug, PartialEq, Eq)]
pub struct Ask {
    /// Of whom.
    pub server: Arc<Server>,
    /// Who asks, by name and password; nobody in particular without.
    pub bind: Option<(String, Hidden)>,
    /// Another password that may be theirs by now.
    pub also: Option<Hidden>,
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
    /// The same where a value is not text.
    pub bytes: BTreeMap<String, Vec<Vec<u8>>>,
}

impl Entry {
    /// The values of an attribute, given in lower case, whatever they are.
    pub fn values(&self, attribute: &str) -> impl Iterator<Item = &[u8]> {
        let texts = self.attributes.get(attribute).into_iter().flatten().map(String::as_bytes);
        texts.chain(self.bytes.get(attribute).into_iter().flatten().map(Vec::as_slice))
    }
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
