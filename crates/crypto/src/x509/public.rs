//! Public keys of certificates and requests, whoever made them.

use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
    UnparsedPublicKey,
};
use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, UintRef};
use der::{Decode, Encode, Sequence};
use x509_cert::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

use super::{Error, Scheme};
use crate::keys::{Hash, Key, KeyType, Marshaling, UseError};

/// What a public key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicKind {
    /// RSA with a modulus of so many bits.
    Rsa(u64),
    /// ECDSA on a curve of so many bits: 256, 384 or 521.
    Ec(u64),
    /// Ed25519.
    Ed25519,
}

impl PublicKind {
    /// `rsa`, `ec` or `ed25519`.
    pub const fn name(self) -> &'static str {
        match self {
            PublicKind::Rsa(_) => "rsa",
            PublicKind::Ec(_) => "ec",
            PublicKind::Ed25519 => "ed25519",
        }
    }

    /// Bits of the modulus or the curve; 0 for Ed25519.
    pub const fn bits(self) -> u64 {
        match self {
            PublicKind::Rsa(bits) | PublicKind::Ec(bits) => bits,
            PublicKind::Ed25519 => 0,
        }
    }
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    spki: Vec<u8>,
    key_bits: Vec<u8>,
    kind: PublicKind,
}

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const CURVES: [(ObjectIdentifier, KeyType, u64); 3] = [
    (ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"), KeyType::EcdsaP256, 256),
    (ObjectIdentifier::new_unwrap("1.3.132.0.34"), KeyType::EcdsaP384, 384),
    (ObjectIdentifier::new_unwrap("1.3.132.0.35"), KeyType::EcdsaP521, 521),
];

#[derive(Sequence)]
struct RsaPublic<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

impl PublicKey {
    /// From the `SubjectPublicKeyInfo` in DER. A point that is not on its curve is refused.
    pub fn read(spki: &[u8]) -> Result<PublicKey, Error> {
        let info = SubjectPublicKeyInfoRef::from_der(spki).map_err(|_| Error::Malformed("a public key"))?;
        let key_bits = info.subject_public_key.as_bytes().ok_or(Error::Malformed("a public key"))?;
        let kind = match info.algorithm.oid {
            RSA => PublicKind::Rsa(modulus_bits(key_bits)?),
            EC => {
                let curve = info.algorithm.parameters.and_then(|curve| curve.decode_as().ok());
                let known = CURVES.iter().find(|(oid, _, _)| curve == Some(*oid));
                let (_, key_type, bits) = known.ok_or(Error::Key(
                    "the elliptic curve of the public key is not available: use P-256, P-384 or P-521",
                ))?;
                Key::import_public(*key_type, spki).map_err(|_| Error::Malformed("a public key"))?;
                PublicKind::Ec(*bits)
            }
            ED25519 => {
                Key::import_public(KeyType::Ed25519, spki).map_err(|_| Error::Malformed("a public key"))?;
                PublicKind::Ed25519
            }
            _ => {
                return Err(Error::Key(
                    "the type of the public key is not available: use RSA, ECDSA or Ed25519",
                ));
            }
        };
        Ok(PublicKey { spki: spki.to_vec(), key_bits: key_bits.to_vec(), kind })
    }

    /// The public part of `key`; none for keys that X.509 does not know here. What was checked when the key was made
    /// or read is not checked again.
    pub fn of(key: &Key) -> Option<PublicKey> {
        let kind = match key {
            Key::Rsa(key) => PublicKind::Rsa(key.size() as u64 * 8),
            Key::Ecdsa(key) => PublicKind::Ec(match key.curve() {
                "P-384" => 384,
                "P-521" => 521,
                _ => 256,
            }),
            Key::Ed25519(_) => PublicKind::Ed25519,
            Key::Symmetric(_) | Key::Hmac(_) | Key::MlDsa(_) => return None,
        };
        let spki = key.public()?;
        let key_bits = SubjectPublicKeyInfoRef::from_der(&spki).ok()?.subject_public_key.as_bytes()?.to_vec();
        Some(PublicKey { spki, key_bits, kind })
    }

    /// An RSA key of big-endian numbers.
    pub(crate) fn of_rsa_numbers(modulus: &[u8], exponent: &[u8]) -> Result<PublicKey, Error> {
        let malformed = |_| Error::Malformed("an RSA public key");
        let modulus = UintRef::new(modulus).map_err(malformed)?;
        let exponent = UintRef::new(exponent).map_err(malformed)?;
        let key = RsaPublic { modulus, exponent }.to_der().map_err(malformed)?;
        PublicKey::of_bits(RSA, Some(AnyRef::NULL), &key)
    }

    /// An ECDSA key of the coordinates of its point.
    pub(crate) fn of_point(curve: &str, x: &[u8], y: &[u8]) -> Result<PublicKey, Error> {
        let bits = curve.strip_prefix("P-").and_then(|bits| bits.parse::<u64>().ok());
        let known = CURVES.iter().find(|(_, _, known)| Some(*known) == bits);
        let (oid, _, bits) =
            known.ok_or(Error::Key("the elliptic curve is none of P-256, P-384 and P-521"))?;
        if x.len() != y.len() || x.len() as u64 != bits.div_ceil(8) {
            return Err(Error::Malformed("a point: its coordinates are not as long as the curve's field"));
        }
        PublicKey::of_bits(EC, Some(oid.into()), &[&[4], x, y].concat())
    }

    /// An Ed25519 key of its 32 bytes.
    pub(crate) fn of_ed25519(key: &[u8]) -> Result<PublicKey, Error> {
        PublicKey::of_bits(ED25519, None, key)
    }

    fn of_bits(
        oid: ObjectIdentifier,
        parameters: Option<AnyRef<'_>>,
        key: &[u8],
    ) -> Result<PublicKey, Error> {
        let malformed = |_| Error::Malformed("a public key");
        let info = SubjectPublicKeyInfoRef {
            algorithm: AlgorithmIdentifierRef { oid, parameters },
            subject_public_key: BitStringRef::from_bytes(key).map_err(malformed)?,
        };
        PublicKey::read(&info.to_der().map_err(malformed)?)
    }

    /// What it is.
    pub const fn kind(&self) -> PublicKind {
        self.kind
    }

    /// The `SubjectPublicKeyInfo` in DER.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The bits of the key alone, which OCSP requests hash.
    pub fn key_bits(&self) -> &[u8] {
        &self.key_bits
    }

    /// Modulus and exponent of an RSA key, big-endian and without leading zeros; none for others.
    pub fn rsa_numbers(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let PublicKind::Rsa(_) = self.kind else { return None };
        let key = RsaPublic::from_der(&self.key_bits).ok()?;
        Some((key.modulus.as_bytes().to_vec(), key.exponent.as_bytes().to_vec()))
    }

    /// The key identifier by the usual method: SHA-1 of the key's bits (RFC 5280, 4.2.1.2), 20 bytes.
    pub fn identifier(&self) -> Vec<u8> {
        crate::certain(Hash::Sha1.digest(&self.key_bits))
    }

    /// Whether `signature` is this key's of `message`.
    pub fn verify(&self, scheme: Scheme, message: &[u8], signature: &[u8]) -> Result<bool, Error> {
        match (scheme, self.kind) {
            (Scheme::Rsa(hash), PublicKind::Rsa(_)) => {
                let parameters: &RsaParameters = match hash {
                    Hash::Sha2_384 => &RSA_PKCS1_2048_8192_SHA384,
                    Hash::Sha2_512 => &RSA_PKCS1_2048_8192_SHA512,
                    _ => &RSA_PKCS1_2048_8192_SHA256,
                };
                Ok(UnparsedPublicKey::new(parameters, &self.spki).verify(message, signature).is_ok())
            }
            (Scheme::Pss(hash), PublicKind::Rsa(_)) => {
                let parameters: &RsaParameters = match hash {
                    Hash::Sha2_384 => &RSA_PSS_2048_8192_SHA384,
                    Hash::Sha2_512 => &RSA_PSS_2048_8192_SHA512,
                    _ => &RSA_PSS_2048_8192_SHA256,
                };
                Ok(UnparsedPublicKey::new(parameters, &self.spki).verify(message, signature).is_ok())
            }
            (Scheme::Ecdsa(hash), PublicKind::Ec(bits)) => {
                let curve = CURVES.iter().find(|(_, _, known)| *known == bits).ok_or(Error::Scheme)?;
                let Ok(Key::Ecdsa(key)) = Key::import_public(curve.1, &self.spki) else {
                    return Ok(false);
                };
                match key.verify(&hash.digest(message)?, signature, Marshaling::Asn1) {
                    Err(UseError::Signature) => Ok(false),
                    verified => Ok(verified?),
                }
            }
            (Scheme::Ed25519, PublicKind::Ed25519) => {
                let key = Key::import_public(KeyType::Ed25519, &self.spki);
                Ok(matches!(key, Ok(Key::Ed25519(key)) if key.verify(message, signature)))
            }
            _ => Ok(false),
        }
    }
}

fn modulus_bits(key: &[u8]) -> Result<u64, Error> {
    let malformed = |_| Error::Malformed("an RSA public key");
    let key = RsaPublic::from_der(key).map_err(malformed)?;
    let bytes = key.modulus.as_bytes();
    let unused = bytes.first().map_or(0, |byte| byte.leading_zeros());
    let bits = bytes.len() as u64 * 8 - u64::from(unused);
    let even = |number: &UintRef<'_>| number.as_bytes().last().is_none_or(|byte| byte % 2 == 0);
    if even(&key.exponent) || even(&key.modulus) || key.exponent.to_der().map_err(malformed)?.len() > 11 {
        return Err(Error::Malformed("an RSA public key"));
    }
    match bits {
        0..2048 => Err(Error::Key("RSA keys < 2048 bits are unsafe and not supported")),
        2048..=8192 => Ok(bits),
        _ => Err(Error::Key("RSA keys of more than 8192 bits are not available")),
    }
}
