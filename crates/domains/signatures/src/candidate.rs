//! Something that claims to be signed, read and not yet verified.

use crate::digest::Digest;
use crate::log::Entry;
use keyward_crypto::x509::Certificate;
use serde_json::Value;
use std::collections::BTreeMap;

/// See the module.
pub(crate) struct Candidate {
    /// The bytes that are signed.
    pub(crate) message: Vec<u8>,
    /// The bytes whose hash a transparency log has: the message, or the payload of an envelope.
    pub(crate) hashed: Vec<u8>,
    /// Any one of these is to be a signature.
    pub(crate) signatures: Vec<Vec<u8>>,
    pub(crate) claim: Claim,
    pub(crate) certificate: Option<Certificate>,
    /// Certificates that may stand above that one, in DER.
    pub(crate) between: Vec<Vec<u8>>,
    pub(crate) entries: Vec<Entry>,
}

/// What is said by signing.
pub(crate) enum Claim {
    /// That the images are good.
    Image { digests: Vec<Digest>, annotations: BTreeMap<String, String> },
    /// Something of them: an in-toto statement.
    Statement { digests: Vec<Digest>, statement: Value },
}

impl Claim {
    pub(crate) fn is_about(&self, digest: &Digest) -> bool {
        let (Claim::Image { digests, .. } | Claim::Statement { digests, .. }) = self;
        digests.contains(digest)
    }
}
