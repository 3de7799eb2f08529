//! What certificates, requests and lists have in common: contents, an algorithm and a signature over the contents.

use der::asn1::{AnyRef, BitString, BitStringRef};
use der::{Decode, Encode, Sequence};
use x509_cert::spki::AlgorithmIdentifierOwned;

use super::{Error, PublicKey, Scheme};
use crate::keys::Key;

#[derive(Sequence)]
struct Shown<'a> {
    contents: AnyRef<'a>,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitStringRef<'a>,
}

#[derive(Sequence)]
struct Made<'a> {
    contents: AnyRef<'a>,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
}

/// Checks the signature of `der` over the very bytes of its contents.
pub(super) fn verify(der: &[u8], what: &'static str, key: &PublicKey) -> Result<(), Error> {
    let malformed = |_| Error::Malformed(what);
    let shown = Shown::from_der(der).map_err(malformed)?;
    let contents = shown.contents.to_der().map_err(malformed)?;
    let scheme = Scheme::read(&shown.algorithm).ok_or(Error::Scheme)?;
    let signature = shown.signature.as_bytes().ok_or(Error::Malformed(what))?;
    if key.verify(scheme, &contents, signature)? { Ok(()) } else { Err(Error::Signature) }
}

/// Signs `contents`.
pub(super) fn sign(contents: &impl Encode, scheme: Scheme, key: &Key) -> Result<Vec<u8>, Error> {
    let unwritten = |_| Error::Value("the contents cannot be written as DER");
    let bytes = contents.to_der().map_err(unwritten)?;
    let signature = scheme.sign(key, &bytes)?;
    let made = Made {
        contents: AnyRef::from_der(&bytes).map_err(unwritten)?,
        algorithm: scheme.identifier()?,
        signature: BitString::from_bytes(&signature).map_err(unwritten)?,
    };
    made.to_der().map_err(unwritten)
}
