//! X.509 (RFC 5280): certificates, certificate requests (RFC 2986), revocation lists and OCSP (RFC 6960), bytes in
//! and bytes out.
//!
//! Encoding is the RustCrypto project's `der` and `x509-cert`, signatures are aws-lc-rs's by way of [`crate::keys`].
//! What was signed is always verified over the bytes as they came, never over a rewritten form.
//!
//! Absent, and refused by name: DSA, P-224 and other curves than P-256, P-384 and P-521, RSA below 2,048 or above
//! 8,192 bits, signatures with SHA-1.

mod certificate;
mod chain;
mod crl;
mod extension;
mod name;
mod ocsp;
mod ocsp_client;
pub mod pem;
mod public;
mod request;
mod scheme;
mod signed;
mod time;
mod transparency;

use std::fmt;

use crate::keys::UseError;

pub use certificate::{Certificate, Template};
pub use chain::{ChainError, client_chain, signing_chain};
pub use crl::{RevocationList, Revoked, RevokedEntry};
pub use extension::{Extension, KeyUsages, PolicyIdentifier, San, oid};
pub use name::{Subject, attribute};
pub use ocsp::{CertStatus, OcspAnswer, OcspError, OcspQuery, OcspRequest};
pub use ocsp_client::{OcspWord, ocsp_request};
pub use public::{PublicKey, PublicKind};
pub use request::{Request, sign_request};
pub use scheme::Scheme;
pub use time::{NEVER, parse_time};
pub use transparency::{is_logged, log_signed};

/// Why something could not be read or made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Not the DER of what it should be.
    Malformed(&'static str),
    /// The signature is not that of the key it names.
    Signature,
    /// A signature algorithm that is not available.
    Scheme,
    /// A key of a type, size or curve that is not available.
    Key(&'static str),
    /// Something that X.509 cannot express, such as a name with characters its type has not.
    Value(&'static str),
    /// The signing key failed.
    Use(UseError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Malformed(what) => write!(f, "malformed DER of {what}"),
            Error::Signature => f.write_str("the signature is not valid for the key"),
            Error::Scheme => f.write_str(
                "unknown signature algorithm: use SHA-256, SHA-384 or SHA-512 with RSA or ECDSA, or Ed25519",
            ),
            Error::Key(why) => f.write_str(why),
            Error::Value(why) => f.write_str(why),
            Error::Use(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<UseError> for Error {
    fn from(why: UseError) -> Error {
        Error::Use(why)
    }
}

#[cfg(test)]
mod tests;
