//! Who a file is for, in any of the kinds.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use keyward_core::Random;

use super::format::Stanza;
use super::{Error, FileKey, plugin, pq, ssh, tag, x25519};
use crate::bech32;

/// What wraps the key of a file.
pub trait Wrap {
    /// Wraps it, in one stanza or more.
    fn wrap(&self, file_key: &FileKey, random: &dyn Random) -> Result<Vec<Stanza>, Error>;

    /// Whether a quantum computer could not unwrap it, as far as anybody knows.
    fn post_quantum(&self) -> bool {
        false
    }

    /// Whether nothing may stand beside it.
    fn alone(&self) -> bool {
        false
    }
}

/// A recipient as people write it.
#[derive(Clone, Debug)]
pub enum Recipient {
    /// `age1...`
    X25519(x25519::Recipient),
    /// `age1pq1...`
    PostQuantum(Box<pq::Recipient>),
    /// `age1tag1...`, in hardware
    Tag(tag::Recipient),
    /// `ssh-ed25519 AAAA...` or `ssh-rsa AAAA...`
    Ssh(ssh::Recipient),
    /// `age1NAME1...`: what the plugin of that name knows.
    Plugin(plugin::Recipient),
}

impl Recipient {
    /// The same, with plugins started by `host`.
    #[must_use]
    pub fn with_plugins(self, host: &Arc<dyn plugin::Host>) -> Recipient {
        match self {
            Recipient::Plugin(recipient) => Recipient::Plugin(recipient.started_by(host)),
            other => other,
        }
    }

    fn kind(&self) -> &dyn Wrap {
        match self {
            Recipient::X25519(recipient) => recipient,
            Recipient::PostQuantum(recipient) => recipient.as_ref(),
            Recipient::Tag(recipient) => recipient,
            Recipient::Ssh(recipient) => recipient,
            Recipient::Plugin(recipient) => recipient,
        }
    }
}

impl Wrap for Recipient {
    fn wrap(&self, file_key: &FileKey, random: &dyn Random) -> Result<Vec<Stanza>, Error> {
        self.kind().wrap(file_key, random)
    }

    fn post_quantum(&self) -> bool {
        self.kind().post_quantum()
    }
}

impl FromStr for Recipient {
    type Err = Error;

    fn from_str(text: &str) -> Result<Recipient, Error> {
        let text = text.trim();
        if text.starts_with("ssh-") {
            return ssh::Recipient::read(text).map(Recipient::Ssh);
        }
        let unreadable = Error::Key(
            "a recipient is age1..., age1pq1..., age1tag1..., age1PLUGIN1..., ssh-ed25519 ... or ssh-rsa ..., without a typing error",
        );
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(unreadable);
        }
        let (prefix, data) = bech32::decode(text).ok_or(unreadable.clone())?;
        match prefix.as_str() {
            x25519::RECIPIENT => x25519::Recipient::from_data(&data).map(Recipient::X25519),
            pq::RECIPIENT => pq::Recipient::from_data(&data).map(|key| Recipient::PostQuantum(Box::new(key))),
            tag::RECIPIENT => tag::Recipient::from_data(&data).map(Recipient::Tag),
            other => match other.strip_prefix("age1").and_then(plugin::Name::new) {
                Some(name) => Ok(Recipient::Plugin(plugin::Recipient::new(name, text))),
                None => Err(unreadable),
            },
        }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Recipient::X25519(recipient) => recipient.fmt(f),
            Recipient::PostQuantum(recipient) => recipient.fmt(f),
            Recipient::Tag(recipient) => recipient.fmt(f),
            Recipient::Ssh(recipient) => recipient.fmt(f),
            Recipient::Plugin(recipient) => recipient.fmt(f),
        }
    }
}

impl PartialEq for Recipient {
    fn eq(&self, other: &Recipient) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for Recipient {}
