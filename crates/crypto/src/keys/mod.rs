//! The key types of Vault's transit engine: bytes in, bytes out.
//!
//! A [`Key`] is one version of a key, decoded once; what it can do depends on its type, so each type has its
//! own struct: [`SymmetricKey`], [`Ed25519Key`], [`EcdsaKey`], [`RsaKey`], [`MlDsaKey`], and plain secret bytes
//! for keyed hashes.
//!
//! Not here, because aws-lc-rs does not have it: RSA signatures with SHA-1, SHA-224, SHA-3 or no hash at all,
//! HMAC with SHA-3, SHA3-224, Ed25519ph and Ed25519ctx, OAEP with SHA-224. Each is refused with its name.
//!
//! RSA, ECDSA and ML-DSA keys and signatures draw their randomness inside aws-lc-rs, which takes no generator
//! from outside; everything else here uses the one it is given.

mod der;
mod detect;
mod ecdsa;
mod ed25519;
mod hash;
mod jws;
mod kind;
mod ml_dsa;
mod rsa;
mod symmetric;
mod wrap;

use std::fmt;

use keyward_core::Random;

pub use ecdsa::{EcdsaKey, Marshaling};
pub use ed25519::Ed25519Key;
pub use hash::Hash;
pub use jws::{ALGORITHMS as JWS_ALGORITHMS, Algorithm, PublicParts};
pub use kind::{ALL as ALL_KEY_TYPES, KeyType};
pub use ml_dsa::MlDsaKey;
pub use rsa::{Padding, RsaKey, Salt, Scheme};
pub use symmetric::SymmetricKey;
pub use wrap::{UnwrapError, unwrap_for_import, wrap_for_import};

use crate::secret::{Secret, SecretBytes, SecretString};

/// Bytes a key for keyed hashes may have.
pub const HMAC_SIZES: std::ops::RangeInclusive<usize> = 32..=512;

/// One version of a key.
pub enum Key {
    /// Any of the AEADs.
    Symmetric(SymmetricKey),
    /// A key for keyed hashes.
    Hmac(SecretBytes),
    /// Ed25519.
    Ed25519(Ed25519Key),
    /// ECDSA on any curve.
    Ecdsa(Box<EcdsaKey>),
    /// RSA of any size.
    Rsa(Box<RsaKey>),
    /// ML-DSA with any parameter set.
    MlDsa(Box<MlDsaKey>),
}

impl Key {
    /// A new key. `hmac_size` is in bytes and matters to [`KeyType::Hmac`] only, where it must be one of
    /// [`HMAC_SIZES`].
    pub fn generate(kind: KeyType, hmac_size: usize, random: &dyn Random) -> Result<Key, ImportError> {
        if kind.is_aead() || kind == KeyType::Hmac {
            let size = SymmetricKey::size(kind).unwrap_or(hmac_size);
            // Checked before it is filled: nobody may ask for gigabytes of randomness.
            if kind == KeyType::Hmac && !HMAC_SIZES.contains(&size) {
                return Err(ImportError::Size { kind, bytes: size });
            }
            let mut raw = vec![0; size];
            random.fill(&mut raw);
            return Key::import(kind, Secret::new(raw));
        }
        Ok(match kind {
            KeyType::Ed25519 => Key::Ed25519(Ed25519Key::generate(random)),
            KeyType::EcdsaP256 | KeyType::EcdsaP384 | KeyType::EcdsaP521 => {
                Key::Ecdsa(Box::new(EcdsaKey::generate(kind)))
            }
            KeyType::MlDsa44 | KeyType::MlDsa65 | KeyType::MlDsa87 => {
                Key::MlDsa(Box::new(MlDsaKey::generate(kind, random)))
            }
            _ => Key::Rsa(Box::new(RsaKey::generate(kind))),
        })
    }

    /// A key from outside or from storage: raw bytes where the type is symmetric, PKCS#8 DER otherwise.
    pub fn import(kind: KeyType, secret: SecretBytes) -> Result<Key, ImportError> {
        if kind.is_aead() {
            return SymmetricKey::new(kind, secret).map(Key::Symmetric);
        }
        if kind == KeyType::Hmac {
            let bytes = secret.expose().len();
            return match HMAC_SIZES.contains(&bytes) {
                true => Ok(Key::Hmac(secret)),
                false => Err(ImportError::Size { kind, bytes }),
            };
        }
        let pkcs8 = secret.expose().as_slice();
        let info = der::private_info(pkcs8)
            .ok_or_else(|| ImportError::NotPkcs8 { found: der::older_format(pkcs8) })?;
        expect(kind, &info)?;
        match kind {
            KeyType::Ed25519 => Ed25519Key::from_pkcs8(pkcs8).map(Key::Ed25519),
            _ if kind.is_ecdsa() => EcdsaKey::from_pkcs8(kind, pkcs8).map(Box::new).map(Key::Ecdsa),
            _ if kind.is_rsa() => RsaKey::from_pkcs1(kind, info.key).map(Box::new).map(Key::Rsa),
            _ => MlDsaKey::from_pkcs8(kind, pkcs8).map(Box::new).map(Key::MlDsa),
        }
    }

    /// The public part of a key, from a `SubjectPublicKeyInfo` (RFC 5280) in PEM (`PUBLIC KEY`).
    pub fn import_public_pem(kind: KeyType, pem: &[u8]) -> Result<Key, ImportError> {
        let spki = der::from_pem("PUBLIC KEY", pem).ok_or(ImportError::NotPem)?;
        Key::import_public(kind, &spki)
    }

    /// The public part of a key, from a `SubjectPublicKeyInfo` (RFC 5280) in DER.
    pub fn import_public(kind: KeyType, spki: &[u8]) -> Result<Key, ImportError> {
        if !kind.is_asymmetric() {
            return Err(ImportError::NoPublicPart(kind));
        }
        expect(kind, &der::public_info(spki).ok_or(ImportError::Rejected(kind))?)?;
        match kind {
            KeyType::Ed25519 => Ed25519Key::from_spki(spki).map(Key::Ed25519),
            _ if kind.is_ecdsa() => EcdsaKey::from_spki(kind, spki).map(Box::new).map(Key::Ecdsa),
            _ if kind.is_rsa() => RsaKey::from_spki(kind, spki).map(Box::new).map(Key::Rsa),
            _ => MlDsaKey::from_spki(kind, spki).map(Box::new).map(Key::MlDsa),
        }
    }

    /// What [`import`](Key::import) reads back; nothing when only the public part is known.
    pub fn private(&self) -> Option<SecretBytes> {
        match self {
            Key::Symmetric(key) => Some(Secret::new(key.raw().to_vec())),
            Key::Hmac(key) => Some(Secret::new(key.expose().clone())),
            Key::Ed25519(key) => key.pkcs8(),
            Key::Ecdsa(key) => key.pkcs8(),
            Key::Rsa(key) => key.pkcs8(),
            Key::MlDsa(key) => key.pkcs8(),
        }
    }

    /// The public part as `SubjectPublicKeyInfo` in DER; nothing for a symmetric key.
    pub fn public(&self) -> Option<Vec<u8>> {
        match self {
            Key::Symmetric(_) | Key::Hmac(_) => None,
            Key::Ed25519(key) => Some(key.spki()),
            Key::Ecdsa(key) => Some(key.spki().to_vec()),
            Key::Rsa(key) => Some(key.spki().to_vec()),
            Key::MlDsa(key) => Some(key.spki().to_vec()),
        }
    }

    /// Whether the private part is known; always so for a symmetric key.
    pub fn has_private(&self) -> bool {
        match self {
            Key::Symmetric(_) | Key::Hmac(_) => true,
            Key::Ed25519(key) => key.has_private(),
            Key::Ecdsa(key) => key.has_private(),
            Key::Rsa(key) => key.has_private(),
            Key::MlDsa(key) => key.has_private(),
        }
    }

    /// The public part in PEM (`PUBLIC KEY`).
    pub fn public_pem(&self) -> Option<String> {
        self.public().map(|spki| public_pem(&spki))
    }

    /// The private part in PEM as PKCS#8 (`PRIVATE KEY`); nothing for a symmetric key.
    pub fn private_pem(&self) -> Option<SecretString> {
        match self {
            Key::Symmetric(_) | Key::Hmac(_) => None,
            _ => self.private().map(|pkcs8| der::secret_pem("PRIVATE KEY", pkcs8.expose())),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// A `SubjectPublicKeyInfo` in PEM (`PUBLIC KEY`).
pub fn public_pem(spki: &[u8]) -> String {
    der::pem("PUBLIC KEY", spki)
}

/// Checks that a key says it is of the type `kind`.
fn expect(kind: KeyType, info: &der::Info<'_>) -> Result<(), ImportError> {
    let found = match info.algorithm {
        der::RSA | der::RSA_PSS => "RSA",
        der::EC => "ECDSA",
        der::ED25519 => "Ed25519",
        other if der::ML_DSA.contains(&other) => "ML-DSA",
        _ => "another",
    };
    let right = match kind {
        KeyType::Ed25519 => found == "Ed25519",
        KeyType::MlDsa44 => info.algorithm == der::ML_DSA[0],
        KeyType::MlDsa65 => info.algorithm == der::ML_DSA[1],
        KeyType::MlDsa87 => info.algorithm == der::ML_DSA[2],
        _ if kind.is_rsa() => found == "RSA",
        _ => found == "ECDSA",
    };
    if !right {
        return Err(ImportError::Type { expected: kind, found });
    }
    if kind.is_ecdsa() { ecdsa::expect_curve(kind, info.curve) } else { Ok(()) }
}

/// Why bytes are not a key of the type they were given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportError {
    /// A symmetric key of the wrong size.
    Size {
        /// The type it was given for.
        kind: KeyType,
        /// Bytes given.
        bytes: usize,
    },
    /// Not a PKCS#8 private key.
    NotPkcs8 {
        /// The older format it looks like.
        found: Option<&'static str>,
    },
    /// Not a PEM block of the type `PUBLIC KEY`.
    NotPem,
    /// A key of another type.
    Type {
        /// The type it was given for.
        expected: KeyType,
        /// The type it has.
        found: &'static str,
    },
    /// An ECDSA key on another curve.
    Curve {
        /// The curve of the type it was given for.
        expected: &'static str,
        /// The curve it has.
        found: &'static str,
    },
    /// An RSA key of another size, in bytes of the modulus.
    Modulus {
        /// The size of the type it was given for.
        expected: usize,
        /// The size it has.
        found: usize,
    },
    /// The parts of the key contradict each other or are not well formed.
    Rejected(KeyType),
    /// Keys of this type have no public part.
    NoPublicPart(KeyType),
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImportError::Size { kind, bytes } => {
                write!(f, "invalid key size {bytes} bytes for key type {kind}")
            }
            ImportError::NotPkcs8 { found } => {
                f.write_str("error parsing asymmetric key: private key must be encoded as PKCS#8")?;
                found.map_or(Ok(()), |found| write!(f, "; detected key format: {found}"))
            }
            ImportError::NotPem => f.write_str(
                "error parsing public key: not in PEM format (a block of the type PUBLIC KEY is expected)",
            ),
            ImportError::Type { expected, found } => {
                write!(f, "invalid key type: expected {expected}, got {found}")?;
                expected.parameter_set().map_or(Ok(()), |set| write!(f, " (parameter_set {set} is expected)"))
            }
            ImportError::Curve { expected, found } => {
                write!(f, "invalid curve: expected {expected}, got {found}")
            }
            ImportError::Modulus { expected, found } => {
                write!(f, "invalid key size: expected {expected} bytes, got {found} bytes")
            }
            ImportError::Rejected(kind) => {
                write!(f, "error parsing {kind} key: it is malformed or its parts do not belong together")
            }
            ImportError::NoPublicPart(kind) => {
                write!(f, "keys of type {kind} have no public part: import the key itself")
            }
        }
    }
}

impl std::error::Error for ImportError {}

/// Why a key cannot do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UseError {
    /// Only the public part is known.
    NoPrivatePart,
    /// The hash function is not available for this purpose.
    Hash {
        /// The hash function.
        hash: Hash,
        /// What it was wanted for.
        purpose: &'static str,
    },
    /// The input is said to be a hash, but does not have its length (bytes).
    DigestLength {
        /// What the hash function gives, or the most there can be.
        expected: usize,
        /// What was given.
        found: usize,
    },
    /// The salt does not fit between hash and modulus (bytes).
    SaltLength(u16),
    /// The plaintext does not fit in the modulus (bytes).
    TooLong {
        /// The most there can be.
        limit: usize,
    },
    /// A signature that is not well formed.
    Signature,
    /// The ciphertext was altered, or is of another key or another context.
    Decrypt,
    /// The cryptographic library refused, as it does for an imported key that contradicts itself.
    Failed,
}

impl fmt::Display for UseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UseError::NoPrivatePart => {
                f.write_str("the requested key version does not contain a private part")
            }
            UseError::Hash { hash, purpose } => {
                write!(
                    f,
                    "hash algorithm {hash} is not available for {purpose}: use sha2-256, sha2-384 or sha2-512"
                )
            }
            UseError::DigestLength { expected, found } => {
                write!(f, "the prehashed input has {found} bytes, but the hash algorithm gives {expected}")
            }
            UseError::SaltLength(length) => write!(f, "requested salt length {length} is invalid"),
            UseError::TooLong { limit } => {
                write!(f, "message too long for RSA key size: at most {limit} bytes can be encrypted")
            }
            UseError::Signature => f.write_str("supplied signature is invalid"),
            UseError::Decrypt => f.write_str("cipher: message authentication failed"),
            UseError::Failed => {
                f.write_str("the cryptographic library refused the operation: the key may be damaged")
            }
        }
    }
}

impl std::error::Error for UseError {}

#[cfg(test)]
mod tests;
