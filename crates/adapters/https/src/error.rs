//! Why there is no answer.

use keyward_tls::BadTrust;
use std::error::Error as _;
use std::fmt;
use std::time::Duration;

/// No answer. The text never holds a credential or a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Not an absolute `https` or `http` URL.
    BadUrl,
    /// The credential has a character that no header may have.
    BadCredential,
    /// The certificates to believe cannot be read.
    BadTrust(BadTrust),
    /// Nobody answers there, or not over TLS that can be trusted.
    Unreachable(String),
    /// The connection ended, or what came is no HTTP.
    Broken(String),
    /// The answer is longer than so many bytes.
    TooLong(usize),
    /// The answer took longer than this.
    Late(Duration),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::BadUrl => {
                f.write_str("the address is no https or http URL: write https://HOST[:PORT]/...")
            }
            Error::BadCredential => f.write_str("the credential has characters that no HTTP header may have"),
            Error::BadTrust(why) => write!(f, "the certificates to believe cannot be used: {why}"),
            Error::Unreachable(why) => write!(f, "cannot connect: {why}"),
            Error::Broken(why) => write!(f, "the connection broke: {why}"),
            Error::TooLong(most) => write!(f, "the answer is longer than {most} bytes"),
            Error::Late(after) => write!(f, "no answer within {} s", after.as_secs_f32()),
        }
    }
}

impl std::error::Error for Error {}

impl From<BadTrust> for Error {
    fn from(why: BadTrust) -> Error {
        Error::BadTrust(why)
    }
}

impl From<hyper_util::client::legacy::Error> for Error {
    fn from(error: hyper_util::client::legacy::Error) -> Error {
        let mut why = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        let mut inner = error.source().and_then(|source| source.source());
        while let Some(source) = inner {
            why = format!("{why}: {source}");
            inner = source.source();
        }
        if error.is_connect() { Error::Unreachable(why) } else { Error::Broken(why) }
    }
}
