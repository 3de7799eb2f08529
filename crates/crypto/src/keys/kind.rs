//! The names of the key types and what each can do.

use std::fmt;

/// A key type of the transit engine, or of certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// AES-128-GCM with a 96-bit nonce.
    Aes128Gcm96,
    /// AES-256-GCM with a 96-bit nonce.
    Aes256Gcm96,
    /// ChaCha20-Poly1305 (RFC 8439).
    ChaCha20Poly1305,
    /// XChaCha20-Poly1305: the same with a 192-bit nonce.
    XChaCha20Poly1305,
    /// Ed25519 (RFC 8032), without context and not prehashed.
    Ed25519,
    /// ECDSA on the curve P-256.
    EcdsaP256,
    /// ECDSA on the curve P-384.
    EcdsaP384,
    /// ECDSA on the curve P-521.
    EcdsaP521,
    /// RSA with a modulus of 2048 bits.
    Rsa2048,
    /// RSA with a modulus of 3072 bits.
    Rsa3072,
    /// RSA with a modulus of 4096 bits.
    Rsa4096,
    /// RSA with a modulus of 8192 bits, which only certificates have: making one takes many seconds.
    Rsa8192,
    /// A key for keyed hashes, 32 to 512 bytes long.
    Hmac,
    /// ML-DSA-44 (FIPS 204), pure, with an empty context.
    MlDsa44,
    /// ML-DSA-65.
    MlDsa65,
    /// ML-DSA-87.
    MlDsa87,
}

/// Every key type of the transit engine.
pub const ALL: [KeyType; 15] = [
    KeyType::Aes128Gcm96,
    KeyType::Aes256Gcm96,
    KeyType::ChaCha20Poly1305,
    KeyType::XChaCha20Poly1305,
    KeyType::Ed25519,
    KeyType::EcdsaP256,
    KeyType::EcdsaP384,
    KeyType::EcdsaP521,
    KeyType::Rsa2048,
    KeyType::Rsa3072,
    KeyType::Rsa4096,
    KeyType::Hmac,
    KeyType::MlDsa44,
    KeyType::MlDsa65,
    KeyType::MlDsa87,
];

impl KeyType {
    /// The name on the wire. The three parameter sets of ML-DSA share one.
    pub const fn name(self) -> &'static str {
        match self {
            KeyType::Aes128Gcm96 => "aes128-gcm96",
            KeyType::Aes256Gcm96 => "aes256-gcm96",
            KeyType::ChaCha20Poly1305 => "chacha20-poly1305",
            KeyType::XChaCha20Poly1305 => "xchacha20-poly1305",
            KeyType::Ed25519 => "ed25519",
            KeyType::EcdsaP256 => "ecdsa-p256",
            KeyType::EcdsaP384 => "ecdsa-p384",
            KeyType::EcdsaP521 => "ecdsa-p521",
            KeyType::Rsa2048 => "rsa-2048",
            KeyType::Rsa3072 => "rsa-3072",
            KeyType::Rsa4096 => "rsa-4096",
            KeyType::Rsa8192 => "rsa-8192",
            KeyType::Hmac => "hmac",
            KeyType::MlDsa44 | KeyType::MlDsa65 | KeyType::MlDsa87 => "ml-dsa",
        }
    }

    /// The parameter set of an ML-DSA key: `44`, `65` or `87`.
    pub const fn parameter_set(self) -> Option<&'static str> {
        match self {
            KeyType::MlDsa44 => Some("44"),
            KeyType::MlDsa65 => Some("65"),
            KeyType::MlDsa87 => Some("87"),
            _ => None,
        }
    }

    /// The key type of the transit engine with this name and, for `ml-dsa`, this parameter set.
    pub fn parse(name: &str, parameter_set: Option<&str>) -> Option<KeyType> {
        ALL.into_iter().find(|kind| {
            kind.name() == name && (kind.parameter_set().is_none() || kind.parameter_set() == parameter_set)
        })
    }

    /// The key type with this name, among those that certificates have too.
    pub fn named(name: &str) -> Option<KeyType> {
        KeyType::parse(name, None).or_else(|| (name == KeyType::Rsa8192.name()).then_some(KeyType::Rsa8192))
    }

    /// Whether keys of this type encrypt and decrypt.
    pub const fn encrypts(self) -> bool {
        self.is_aead() || self.is_rsa()
    }

    /// Whether keys of this type sign and verify.
    pub const fn signs(self) -> bool {
        !self.is_aead() && !matches!(self, KeyType::Hmac)
    }

    /// Whether other keys can be derived from keys of this type.
    pub const fn derives(self) -> bool {
        self.is_aead() || matches!(self, KeyType::Ed25519)
    }

    /// Whether keys of this type authenticate associated data beside the plaintext.
    pub const fn is_aead(self) -> bool {
        matches!(
            self,
            KeyType::Aes128Gcm96
                | KeyType::Aes256Gcm96
                | KeyType::ChaCha20Poly1305
                | KeyType::XChaCha20Poly1305
        )
    }

    /// Whether this is RSA of any size.
    pub const fn is_rsa(self) -> bool {
        matches!(self, KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 | KeyType::Rsa8192)
    }

    /// Whether this is ECDSA on any curve.
    pub const fn is_ecdsa(self) -> bool {
        matches!(self, KeyType::EcdsaP256 | KeyType::EcdsaP384 | KeyType::EcdsaP521)
    }

    /// Whether keys of this type have a public part.
    pub const fn is_asymmetric(self) -> bool {
        self.signs()
    }

    /// Whether a signature is over a hash of the input, so that a prehashed input can be given instead.
    pub const fn hashes_input(self) -> bool {
        self.is_rsa() || self.is_ecdsa()
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for kind in ALL {
            assert_eq!(KeyType::parse(kind.name(), kind.parameter_set()), Some(kind));
        }
        assert_eq!(KeyType::parse("ml-dsa", None), None);
        assert_eq!(KeyType::parse("ml-dsa", Some("45")), None);
        assert_eq!(KeyType::parse("aes256-gcm96", Some("44")), Some(KeyType::Aes256Gcm96));
        assert_eq!(KeyType::parse("aes256", None), None);
    }

    #[test]
    fn what_each_can_do() {
        for kind in ALL {
            assert!(!(kind.is_aead() && kind.signs()), "{kind}");
            assert_eq!(kind.encrypts() || kind.signs(), kind != KeyType::Hmac, "{kind}");
        }
        assert!(KeyType::Rsa2048.encrypts() && KeyType::Rsa2048.signs() && !KeyType::Rsa2048.derives());
        assert!(KeyType::Ed25519.derives() && !KeyType::Ed25519.hashes_input());
    }
}
