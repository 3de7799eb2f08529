//! Why a registry has nothing to say.

use std::fmt;

/// No answer that can be used. The text holds no credential, and nothing of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// It does not have it.
    Missing(String),
    /// It does not let us.
    Refused(String),
    /// It is not reached, too slow, or ails: this may pass.
    Unreachable(String),
    /// What it answers cannot be used.
    Unusable(String),
}

impl Error {
    /// Whether it is about what the registry has, rather than about the registry.
    pub fn is_missing(&self) -> bool {
        matches!(self, Error::Missing(_))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Missing(what) => write!(f, "{what} is not there"),
            Error::Refused(why) | Error::Unreachable(why) | Error::Unusable(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Error {}
