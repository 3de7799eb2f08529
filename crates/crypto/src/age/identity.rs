//! Who opens a file, in any of the kinds, and the files that hold identities.

use std::str::FromStr;
use std::sync::Arc;

use super::format::Stanza;
use super::{Error, FileKey, Recipient, plugin, pq, ssh, x25519};
use crate::bech32;

/// What unwraps the key of a file.
pub trait Unwrap {
    /// The file key; none when no stanza is for this identity. A stanza of its kind that breaks the kind's rules is
    /// an error, whomever it is for.
    fn unwrap(&self, stanzas: &[Stanza]) -> Result<Option<FileKey>, Error>;
}

/// An identity as files hold it.
pub enum Identity {
    /// `AGE-SECRET-KEY-1...`
    X25519(Box<x25519::Identity>),
    /// `AGE-SECRET-KEY-PQ-1...`
    PostQuantum(Box<pq::Identity>),
    /// A private key of OpenSSH.
    Ssh(ssh::Identity),
    /// `AGE-PLUGIN-NAME-1...`
    Plugin(plugin::Identity),
}

impl Identity {
    /// Who to seal for; none where only a plugin knows.
    pub fn recipient(&self) -> Option<Recipient> {
        match self {
            Identity::X25519(identity) => Some(Recipient::X25519(identity.recipient())),
            Identity::PostQuantum(identity) => Some(Recipient::PostQuantum(Box::new(identity.recipient()))),
            Identity::Ssh(identity) => Some(Recipient::Ssh(identity.recipient().clone())),
            Identity::Plugin(_) => None,
        }
    }

    /// The same, with plugins started by `host`.
    #[must_use]
    pub fn with_plugins(self, host: &Arc<dyn plugin::Host>) -> Identity {
        match self {
            Identity::Plugin(identity) => Identity::Plugin(identity.started_by(host)),
            other => other,
        }
    }
}

impl Unwrap for Identity {
    fn unwrap(&self, stanzas: &[Stanza]) -> Result<Option<FileKey>, Error> {
        match self {
            Identity::X25519(identity) => identity.unwrap(stanzas),
            Identity::PostQuantum(identity) => identity.unwrap(stanzas),
            Identity::Ssh(identity) => identity.unwrap(stanzas),
            Identity::Plugin(identity) => identity.unwrap(stanzas),
        }
    }
}

impl FromStr for Identity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Identity, Error> {
        let text = text.trim();
        let unreadable =
            Error::Key("an identity is AGE-SECRET-KEY-PQ-1..., AGE-SECRET-KEY-1... or AGE-PLUGIN-NAME-1...");
        if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
            return Err(unreadable);
        }
        let (prefix, data) = bech32::decode(text).ok_or(unreadable.clone())?;
        match prefix.to_ascii_lowercase().as_str() {
            x25519::IDENTITY => x25519::Identity::from_data(&data).map(|key| Identity::X25519(Box::new(key))),
            pq::IDENTITY => pq::Identity::from_data(&data).map(|key| Identity::PostQuantum(Box::new(key))),
            other => {
                let name = other.strip_prefix("age-plugin-").and_then(|rest| rest.strip_suffix('-'));
                match name.and_then(plugin::Name::new) {
                    Some(name) => Ok(Identity::Plugin(plugin::Identity::new(name, text))),
                    None => Err(unreadable),
                }
            }
        }
    }
}

/// The identities of a file: one a line, with comments, or one private key of OpenSSH. The number of the line goes with
/// an error.
pub fn read_identities(text: &str) -> Result<Vec<Identity>, (usize, Error)> {
    if text.trim_start().starts_with("-----BEGIN") {
        return ssh::Identity::read(text)
            .map(|identity| vec![Identity::Ssh(identity)])
            .map_err(|error| (1, error));
    }
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            found.push(line.parse().map_err(|error| (at + 1, error))?);
        }
    }
    match found.is_empty() {
        true => Err((0, Error::Key("it holds no identity"))),
        false => Ok(found),
    }
}

/// As what unwraps.
pub fn identities(list: &[Identity]) -> Vec<&dyn Unwrap> {
    list.iter().map(|identity| identity as &dyn Unwrap).collect()
}
