//! Why a provider did not serve, by blame.

use std::fmt;

/// A provider's failure. Holds no key, token or wrapped bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeystoreError {
    /// The provider cannot be reached, is sealed, overloaded or broken. It may serve again by itself.
    Unavailable(String),
    /// The provider refuses our credentials, or they cannot be read.
    Denied(String),
    /// The provider's key is absent, disabled or of a kind that cannot wrap.
    Key(String),
    /// The wrapped bytes do not open: altered, moved to another context, or made by another key.
    Rejected(String),
}

impl KeystoreError {
    /// Whether waiting alone may help.
    pub fn is_transient(&self) -> bool {
        matches!(self, KeystoreError::Unavailable(_))
    }

    pub(crate) fn does_not_open() -> KeystoreError {
        KeystoreError::Rejected(
            "the wrapped key does not open here: it was altered, or belongs to another cluster, provider or key"
                .to_owned(),
        )
    }
}

impl fmt::Display for KeystoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeystoreError::Unavailable(why) => write!(f, "the provider does not answer: {why}"),
            KeystoreError::Denied(why) => write!(f, "the provider refuses: {why}"),
            KeystoreError::Key(why) => write!(f, "the provider's key cannot be used: {why}"),
            KeystoreError::Rejected(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for KeystoreError {}
