//! Digests of contents, as registries write them: `sha256:` and hexadecimal digits.

use keyward_crypto::sha256;
use std::fmt;

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// That of contents.
    pub fn of(contents: &[u8]) -> Digest {
        Digest(sha256(contents))
    }

    /// Reads `sha256:` with 64 lower-case digits; other algorithms are not known.
    pub fn parse(text: &str) -> Option<Digest> {
        let digits = text.strip_prefix("sha256:")?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).ok()?;
        (hex::encode(bytes) == digits).then_some(Digest(bytes))
    }

    /// The digits alone.
    pub fn digits(&self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.digits())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
