//! Identities whose private key is held by something else, such as a token, that does one operation with it and never gives it
//! out.

use super::{Error, FileKey, Recipient, Stanza};
use crate::secret::SecretBytes;

/// What the holder does with its private key, and what comes out:
/// - P-256: it is given a point, uncompressed, and answers with the x coordinate of the product, 32 bytes;
/// - RSA: it is given a block as long as the modulus, and answers with its power by the private exponent, as long (RFC 8017,
///   5.1.2).
pub type Operation<'a> = &'a mut dyn FnMut(&[u8]) -> Result<SecretBytes, Error>;

/// Unwraps the file key as the identity of `recipient` would, which is tagged or an RSA key of SSH. The holder is asked only
/// about stanzas that say they are for it.
pub fn unwrap(
    recipient: &Recipient,
    stanzas: &[Stanza],
    operate: Operation<'_>,
) -> Result<Option<FileKey>, Error> {
    match recipient {
        Recipient::Tag(recipient) => recipient.unwrap_with(stanzas, operate),
        Recipient::Ssh(recipient) => recipient.unwrap_with(stanzas, operate),
        _ => Err(Error::Key("a token holds keys for age1tag1... and ssh-rsa ... recipients")),
    }
}
