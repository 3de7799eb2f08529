//! JSON Web Signatures (RFC 7515) with the keys of this crate: algorithms (RFC 7518, section 3.1; RFC 8037) and the
//! public parts that a JSON Web Key shows (RFC 7518, section 6).

use super::{Hash, Key, KeyType, Marshaling, Scheme, UseError};
use crate::x509::{Error, PublicKey, PublicKind, Scheme as X509Scheme};

/// A signature algorithm of public keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RSA with PKCS#1 v1.5 and SHA-256.
    Rs256,
    /// RSA with PKCS#1 v1.5 and SHA-384.
    Rs384,
    /// RSA with PKCS#1 v1.5 and SHA-512.
    Rs512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-521 with SHA-512.
    Es512,
    /// Ed25519.
    EdDsa,
}

/// Every algorithm.
pub const ALGORITHMS: [Algorithm; 7] = [
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::Es512,
    Algorithm::EdDsa,
];

/// What a JSON Web Key shows of a public key: unsigned numbers, big-endian.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicParts {
    /// Modulus and exponent, without leading zeros.
    Rsa {
        /// `n`.
        modulus: Vec<u8>,
        /// `e`.
        exponent: Vec<u8>,
    },
    /// A point, each coordinate as long as the field.
    Ec {
        /// `P-256`, `P-384` or `P-521`.
        curve: &'static str,
        /// `x`.
        x: Vec<u8>,
        /// `y`.
        y: Vec<u8>,
    },
    /// The 32 bytes of an Ed25519 key.
    Ed25519(Vec<u8>),
}

impl Algorithm {
    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Rs256 => "RS256",
            Algorithm::Rs384 => "RS384",
            Algorithm::Rs512 => "RS512",
            Algorithm::Es256 => "ES256",
            Algorithm::Es384 => "ES384",
            Algorithm::Es512 => "ES512",
            Algorithm::EdDsa => "EdDSA",
        }
    }

    /// The algorithm with this name.
    pub fn parse(name: &str) -> Option<Algorithm> {
        ALGORITHMS.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// The type of new keys for it; RSA keys have 2048 bits.
    pub const fn key_type(self) -> KeyType {
        match self {
            Algorithm::Rs256 | Algorithm::Rs384 | Algorithm::Rs512 => KeyType::Rsa2048,
            Algorithm::Es256 => KeyType::EcdsaP256,
            Algorithm::Es384 => KeyType::EcdsaP384,
            Algorithm::Es512 => KeyType::EcdsaP521,
            Algorithm::EdDsa => KeyType::Ed25519,
        }
    }

    /// The hash function it begins with, or goes with.
    pub const fn hash(self) -> Hash {
        match self {
            Algorithm::Rs256 | Algorithm::Es256 => Hash::Sha2_256,
            Algorithm::Rs384 | Algorithm::Es384 => Hash::Sha2_384,
            Algorithm::Rs512 | Algorithm::Es512 | Algorithm::EdDsa => Hash::Sha2_512,
        }
    }
}

impl Key {
    /// Signs `message` as a JSON Web Signature has it. A key of another type is refused as one that failed.
    pub fn jws_sign(&self, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>, UseError> {
        let hash = algorithm.hash();
        match (self, algorithm) {
            (Key::Rsa(key), Algorithm::Rs256 | Algorithm::Rs384 | Algorithm::Rs512) => {
                key.sign(Scheme::Pkcs1v15, hash, &hash.digest(message)?)
            }
            (Key::Ecdsa(key), _) if key.curve() == curve(algorithm) => {
                key.sign(&hash.digest(message)?, Marshaling::Jws)
            }
            (Key::Ed25519(key), Algorithm::EdDsa) => key.sign(message),
            _ => Err(UseError::Failed),
        }
    }

    /// Whether `signature` is this key's of `message`.
    pub fn jws_verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let hash = algorithm.hash();
        let Ok(digest) = hash.digest(message) else { return false };
        match (self, algorithm) {
            (Key::Rsa(key), Algorithm::Rs256 | Algorithm::Rs384 | Algorithm::Rs512) => {
                key.verify(Scheme::Pkcs1v15, hash, &digest, signature).unwrap_or(false)
            }
            (Key::Ecdsa(key), _) if key.curve() == curve(algorithm) => {
                key.verify(&digest, signature, Marshaling::Jws).unwrap_or(false)
            }
            (Key::Ed25519(key), Algorithm::EdDsa) => key.verify(message, signature),
            _ => false,
        }
    }

    /// What a JSON Web Key shows of it; nothing for keys that JSON Web Signatures do not know here.
    pub fn public_parts(&self) -> Option<PublicParts> {
        let public = PublicKey::of(self)?;
        match self {
            Key::Rsa(_) => {
                let (modulus, exponent) = public.rsa_numbers()?;
                Some(PublicParts::Rsa { modulus, exponent })
            }
            Key::Ecdsa(key) => {
                // An uncompressed point (SEC 1, section 2.3.3).
                let (form, point) = public.key_bits().split_first()?;
                let (x, y) = point.split_at_checked(point.len() / 2).filter(|_| *form == 4)?;
                Some(PublicParts::Ec { curve: key.curve(), x: x.to_vec(), y: y.to_vec() })
            }
            Key::Ed25519(_) => Some(PublicParts::Ed25519(public.key_bits().to_vec())),
            Key::Symmetric(_) | Key::Hmac(_) | Key::MlDsa(_) => None,
        }
    }
}

impl PublicKey {
    /// The key that `parts` are of, if it is one that [`PublicKey::read`] takes.
    pub fn of_parts(parts: &PublicParts) -> Result<PublicKey, Error> {
        match parts {
            PublicParts::Rsa { modulus, exponent } => PublicKey::of_rsa_numbers(modulus, exponent),
            PublicParts::Ec { curve, x, y } => PublicKey::of_point(curve, x, y),
            PublicParts::Ed25519(x) => PublicKey::of_ed25519(x),
        }
    }

    /// Whether `signature` is this key's of `message`, as a JSON Web Signature has it.
    pub fn jws_verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        match (algorithm, self.kind()) {
            (Algorithm::Rs256 | Algorithm::Rs384 | Algorithm::Rs512, PublicKind::Rsa(_)) => {
                self.verify(X509Scheme::Rsa(algorithm.hash()), message, signature).unwrap_or(false)
            }
            (Algorithm::Es256, PublicKind::Ec(256))
            | (Algorithm::Es384, PublicKind::Ec(384))
            | (Algorithm::Es512, PublicKind::Ec(521))
            | (Algorithm::EdDsa, PublicKind::Ed25519) => {
                Key::import_public(algorithm.key_type(), self.spki())
                    .is_ok_and(|key| key.jws_verify(algorithm, message, signature))
            }
            _ => false,
        }
    }
}

/// The curve of an ECDSA algorithm; empty for the others.
const fn curve(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Es256 => "P-256",
        Algorithm::Es384 => "P-384",
        Algorithm::Es512 => "P-521",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Secret, SystemRandom};

    #[test]
    fn what_is_signed_is_verified_with_its_algorithm_alone() {
        for algorithm in ALGORITHMS {
            assert_eq!(Algorithm::parse(algorithm.name()), Some(algorithm));
            let key = Key::generate(algorithm.key_type(), 0, &SystemRandom).unwrap();
            let signature = key.jws_sign(algorithm, b"message").unwrap();
            let public = Key::import_public(algorithm.key_type(), &key.public().unwrap()).unwrap();
            assert!(public.jws_verify(algorithm, b"message", &signature), "{algorithm:?}");
            assert!(!public.jws_verify(algorithm, b"other", &signature));
            assert!(!public.jws_verify(algorithm, b"message", &signature[1..]));
            for other in ALGORITHMS.into_iter().filter(|other| *other != algorithm) {
                assert!(!public.jws_verify(other, b"message", &signature), "{algorithm:?} as {other:?}");
            }
        }
        let ed25519 = Key::generate(KeyType::Ed25519, 0, &SystemRandom).unwrap();
        assert_eq!(ed25519.jws_sign(Algorithm::Es256, b"x"), Err(UseError::Failed));
        assert_eq!(Algorithm::parse("none"), None);
    }

    #[test]
    fn a_key_of_parts_verifies_what_its_own_key_signed() {
        for algorithm in ALGORITHMS {
            let key = Key::generate(algorithm.key_type(), 0, &SystemRandom).unwrap();
            let signature = key.jws_sign(algorithm, b"message").unwrap();
            let public = PublicKey::of_parts(&key.public_parts().unwrap()).unwrap();
            assert_eq!(Some(public.spki()), key.public().as_deref(), "{algorithm:?}");
            assert!(public.jws_verify(algorithm, b"message", &signature), "{algorithm:?}");
            assert!(!public.jws_verify(algorithm, b"other", &signature));
            for other in ALGORITHMS.into_iter().filter(|other| *other != algorithm) {
                assert!(!public.jws_verify(other, b"message", &signature), "{algorithm:?} as {other:?}");
            }
        }
        let bad = [
            PublicParts::Ec { curve: "P-256", x: vec![1; 32], y: vec![1; 32] },
            PublicParts::Ec { curve: "P-256", x: vec![1; 31], y: vec![1; 33] },
            PublicParts::Ec { curve: "P-224", x: vec![1; 28], y: vec![1; 28] },
            PublicParts::Rsa { modulus: vec![0xff; 128], exponent: vec![1, 0, 1] },
            PublicParts::Rsa { modulus: Vec::new(), exponent: Vec::new() },
            PublicParts::Ed25519(vec![1; 31]),
        ];
        for parts in bad {
            assert!(PublicKey::of_parts(&parts).is_err(), "{parts:?}");
        }
    }

    #[test]
    fn public_parts_are_those_of_json_web_keys() {
        for (algorithm, lengths) in [
            (Algorithm::Rs256, (256, 3)),
            (Algorithm::Es256, (32, 32)),
            (Algorithm::Es384, (48, 48)),
            (Algorithm::Es512, (66, 66)),
            (Algorithm::EdDsa, (32, 0)),
        ] {
            let key = Key::generate(algorithm.key_type(), 0, &SystemRandom).unwrap();
            let found = match key.public_parts().unwrap() {
                PublicParts::Rsa { modulus, exponent } => (modulus.len(), exponent.len()),
                PublicParts::Ec { x, y, .. } => (x.len(), y.len()),
                PublicParts::Ed25519(x) => (x.len(), 0),
            };
            assert_eq!(found, lengths, "{algorithm:?}");
        }
        let symmetric = Key::import(KeyType::Aes128Gcm96, Secret::new(vec![0; 16])).unwrap();
        assert_eq!(symmetric.public_parts(), None);
    }
}
