//! Signature algorithms, by their identifiers in X.509 (RFC 3279, 4055, 5758, 8410).

use der::asn1::{Any, ObjectIdentifier};
use der::{Decode, Encode, Sequence};
use x509_cert::spki::AlgorithmIdentifierOwned;

use super::Error;
use crate::keys::{self, Hash, Key, Marshaling, Salt};

/// How something is signed. Hashes are SHA-256, SHA-384 or SHA-512.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// RSA with PKCS#1 v1.5.
    Rsa(Hash),
    /// RSA with PSS, with a salt as long as the hash.
    Pss(Hash),
    /// ECDSA.
    Ecdsa(Hash),
    /// Ed25519.
    Ed25519,
}

const RSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ECDSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

const HASHES: [(ObjectIdentifier, Hash); 4] = [
    (ObjectIdentifier::new_unwrap("1.3.14.3.2.26"), Hash::Sha1),
    (ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1"), Hash::Sha2_256),
    (ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2"), Hash::Sha2_384),
    (ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3"), Hash::Sha2_512),
];

/// RFC 4055, 3.1.
#[derive(Sequence)]
struct PssParameters {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    hash: AlgorithmIdentifierOwned,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT")]
    mask: AlgorithmIdentifierOwned,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT")]
    salt: u8,
}

/// The names of Go's `x509.SignatureAlgorithm`, which Vault's clients write.
const NAMES: [(&str, Scheme); 10] = [
    ("SHA256WithRSA", Scheme::Rsa(Hash::Sha2_256)),
    ("SHA384WithRSA", Scheme::Rsa(Hash::Sha2_384)),
    ("SHA512WithRSA", Scheme::Rsa(Hash::Sha2_512)),
    ("SHA256WithRSAPSS", Scheme::Pss(Hash::Sha2_256)),
    ("SHA384WithRSAPSS", Scheme::Pss(Hash::Sha2_384)),
    ("SHA512WithRSAPSS", Scheme::Pss(Hash::Sha2_512)),
    ("ECDSAWithSHA256", Scheme::Ecdsa(Hash::Sha2_256)),
    ("ECDSAWithSHA384", Scheme::Ecdsa(Hash::Sha2_384)),
    ("ECDSAWithSHA512", Scheme::Ecdsa(Hash::Sha2_512)),
    ("Ed25519", Scheme::Ed25519),
];

/// The hash function with an identifier; those that OCSP requests name.
pub(super) fn hash_of(oid: &ObjectIdentifier) -> Option<Hash> {
    HASHES.iter().find(|(known, _)| known == oid).map(|(_, hash)| *hash)
}

pub(super) fn hash_identifier(hash: Hash) -> Result<AlgorithmIdentifierOwned, Error> {
    let (oid, _) = HASHES.iter().find(|(_, known)| *known == hash).ok_or(Error::Scheme)?;
    Ok(AlgorithmIdentifierOwned { oid: *oid, parameters: Some(Any::null()) })
}

impl Scheme {
    /// What `key` signs with. `bits` is 256, 384, 512, or 0 for the usual: that of the curve, or SHA-256. An
    /// elliptic curve takes its own whatever `bits` says, as Vault has it.
    pub fn of(key: &Key, bits: u64, pss: bool) -> Option<Scheme> {
        let hash = match bits {
            0 | 256 => Hash::Sha2_256,
            384 => Hash::Sha2_384,
            512 => Hash::Sha2_512,
            _ => return None,
        };
        match key {
            Key::Rsa(_) if pss => Some(Scheme::Pss(hash)),
            Key::Rsa(_) => Some(Scheme::Rsa(hash)),
            Key::Ecdsa(key) => Some(Scheme::Ecdsa(match key.curve() {
                "P-384" => Hash::Sha2_384,
                "P-521" => Hash::Sha2_512,
                _ => Hash::Sha2_256,
            })),
            Key::Ed25519(_) => Some(Scheme::Ed25519),
            Key::Symmetric(_) | Key::Hmac(_) | Key::MlDsa(_) => None,
        }
    }

    /// The scheme with one of Go's names, such as `SHA256WithRSA`.
    pub fn named(name: &str) -> Option<Scheme> {
        NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, scheme)| *scheme)
    }

    /// Go's name.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, known)| *known == self).map_or("", |(name, _)| name)
    }

    /// Whether `key` can sign so.
    pub fn fits(self, key: &Key) -> bool {
        match self {
            Scheme::Rsa(_) | Scheme::Pss(_) => matches!(key, Key::Rsa(_)),
            Scheme::Ecdsa(_) => matches!(key, Key::Ecdsa(_)),
            Scheme::Ed25519 => matches!(key, Key::Ed25519(_)),
        }
    }

    pub(super) fn read(identifier: &AlgorithmIdentifierOwned) -> Option<Scheme> {
        Some(match identifier.oid {
            RSA_SHA256 => Scheme::Rsa(Hash::Sha2_256),
            RSA_SHA384 => Scheme::Rsa(Hash::Sha2_384),
            RSA_SHA512 => Scheme::Rsa(Hash::Sha2_512),
            ECDSA_SHA256 => Scheme::Ecdsa(Hash::Sha2_256),
            ECDSA_SHA384 => Scheme::Ecdsa(Hash::Sha2_384),
            ECDSA_SHA512 => Scheme::Ecdsa(Hash::Sha2_512),
            ED25519 => Scheme::Ed25519,
            RSA_PSS => {
                let parameters = identifier.parameters.as_ref()?.to_der().ok()?;
                let parameters = PssParameters::from_der(&parameters).ok()?;
                let hash = hash_of(&parameters.hash.oid).filter(|hash| *hash != Hash::Sha1)?;
                (usize::from(parameters.salt) == hash.length()).then_some(Scheme::Pss(hash))?
            }
            _ => return None,
        })
    }

    pub(super) fn identifier(self) -> Result<AlgorithmIdentifierOwned, Error> {
        let (oid, parameters) = match self {
            Scheme::Rsa(Hash::Sha2_256) => (RSA_SHA256, Some(Any::null())),
            Scheme::Rsa(Hash::Sha2_384) => (RSA_SHA384, Some(Any::null())),
            Scheme::Rsa(_) => (RSA_SHA512, Some(Any::null())),
            Scheme::Pss(hash) => (RSA_PSS, Some(pss_parameters(hash)?)),
            Scheme::Ecdsa(Hash::Sha2_256) => (ECDSA_SHA256, None),
            Scheme::Ecdsa(Hash::Sha2_384) => (ECDSA_SHA384, None),
            Scheme::Ecdsa(_) => (ECDSA_SHA512, None),
            Scheme::Ed25519 => (ED25519, None),
        };
        Ok(AlgorithmIdentifierOwned { oid, parameters })
    }

    pub(super) fn sign(self, key: &Key, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(match (self, key) {
            (Scheme::Rsa(hash), Key::Rsa(key)) => {
                key.sign(keys::Scheme::Pkcs1v15, hash, &hash.digest(message)?)?
            }
            (Scheme::Pss(hash), Key::Rsa(key)) => {
                key.sign(keys::Scheme::Pss(Salt::Hash), hash, &hash.digest(message)?)?
            }
            (Scheme::Ecdsa(hash), Key::Ecdsa(key)) => key.sign(&hash.digest(message)?, Marshaling::Asn1)?,
            (Scheme::Ed25519, Key::Ed25519(key)) => key.sign(message)?,
            _ => return Err(Error::Key("the signature algorithm does not fit the issuer's key")),
        })
    }
}

fn pss_parameters(hash: Hash) -> Result<Any, Error> {
    let unwritten = |_| Error::Value("the parameters of PSS cannot be written as DER");
    let inner = hash_identifier(hash)?;
    let mask = AlgorithmIdentifierOwned {
        oid: MGF1,
        parameters: Some(Any::encode_from(&inner).map_err(unwritten)?),
    };
    let salt = u8::try_from(hash.length()).map_err(|_| Error::Scheme)?;
    Any::encode_from(&PssParameters { hash: inner, mask, salt }).map_err(unwritten)
}
