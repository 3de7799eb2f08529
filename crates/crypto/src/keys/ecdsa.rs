//! ECDSA (FIPS 186-5) on the curves P-256, P-384 and P-521.
//!
//! A signature is over the leftmost bits of a hash, as many as the curve's order has; a shorter hash counts as
//! the number it is (FIPS 186-5, 6.4.1). So any hash function goes with any curve, although aws-lc-rs pairs
//! them: the hash is cut or padded with leading zeros to the size of the curve's own.

use std::sync::OnceLock;

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::encoding::{AsBigEndian, AsDer, EcPrivateKeyBin, PublicKeyX509Der};
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm, KeyPair, ParsedPublicKey,
};

use super::{ImportError, KeyType, UseError, der};
use crate::certain;
use crate::secret::{Secret, SecretBytes, SecretString};

/// How the two numbers of a signature are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marshaling {
    /// A DER sequence, as in X.509 (RFC 3279, 2.2.3).
    Asn1,
    /// Both at full length one after the other, as in JWS (RFC 7518, 3.4).
    Jws,
}

struct Curve {
    name: &'static str,
    object: &'static [u8],
    digest: &'static digest::Algorithm,
    sign_asn1: &'static EcdsaSigningAlgorithm,
    sign_jws: &'static EcdsaSigningAlgorithm,
    verify_asn1: &'static EcdsaVerificationAlgorithm,
    verify_jws: &'static EcdsaVerificationAlgorithm,
}

static CURVES: [Curve; 3] = [
    Curve {
        name: "P-256",
        object: der::P256,
        digest: &digest::SHA256,
        sign_asn1: &signature::ECDSA_P256_SHA256_ASN1_SIGNING,
        sign_jws: &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        verify_asn1: &signature::ECDSA_P256_SHA256_ASN1,
        verify_jws: &signature::ECDSA_P256_SHA256_FIXED,
    },
    Curve {
        name: "P-384",
        object: der::P384,
        digest: &digest::SHA384,
        sign_asn1: &signature::ECDSA_P384_SHA384_ASN1_SIGNING,
        sign_jws: &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
        verify_asn1: &signature::ECDSA_P384_SHA384_ASN1,
        verify_jws: &signature::ECDSA_P384_SHA384_FIXED,
    },
    Curve {
        name: "P-521",
        object: der::P521,
        digest: &digest::SHA512,
        sign_asn1: &signature::ECDSA_P521_SHA512_ASN1_SIGNING,
        sign_jws: &signature::ECDSA_P521_SHA512_FIXED_SIGNING,
        verify_asn1: &signature::ECDSA_P521_SHA512_ASN1,
        verify_jws: &signature::ECDSA_P521_SHA512_FIXED,
    },
];

const fn curve(kind: KeyType) -> &'static Curve {
    match kind {
        KeyType::EcdsaP384 => &CURVES[1],
        KeyType::EcdsaP521 => &CURVES[2],
        _ => &CURVES[0],
    }
}

/// Checks that a key is on the curve of its type.
pub(super) fn expect_curve(kind: KeyType, found: Option<&[u8]>) -> Result<(), ImportError> {
    let expected = curve(kind);
    if found == Some(expected.object) {
        return Ok(());
    }
    let found = CURVES.iter().find(|curve| found == Some(curve.object)).map_or("another", |curve| curve.name);
    Err(ImportError::Curve { expected: expected.name, found })
}

/// A key pair, or its public part.
pub struct EcdsaKey {
    curve: &'static Curve,
    private: Option<Private>,
    spki: Vec<u8>,
    /// The public part, read for each way to write signatures when one is first verified.
    asn1: OnceLock<ParsedPublicKey>,
    jws: OnceLock<ParsedPublicKey>,
}

/// The same pair twice: aws-lc-rs ties it to the way its signatures are written. Reading a pair checks it, which
/// costs more than a signature: the second is read when it is first used.
struct Private {
    asn1: EcdsaKeyPair,
    jws: OnceLock<EcdsaKeyPair>,
}

impl Private {
    fn pair(&self, curve: &'static Curve, marshaling: Marshaling) -> &EcdsaKeyPair {
        match marshaling {
            Marshaling::Asn1 => &self.asn1,
            Marshaling::Jws => self.jws.get_or_init(|| {
                let pkcs8 = certain(self.asn1.to_pkcs8v1());
                certain(EcdsaKeyPair::from_pkcs8(curve.sign_jws, pkcs8.as_ref()))
            }),
        }
    }
}

impl EcdsaKey {
    pub(super) fn generate(kind: KeyType) -> EcdsaKey {
        certain(EcdsaKey::from_pair(kind, certain(EcdsaKeyPair::generate(curve(kind).sign_asn1))))
    }

    pub(super) fn from_pkcs8(kind: KeyType, pkcs8: &[u8]) -> Result<EcdsaKey, ImportError> {
        let pair = EcdsaKeyPair::from_pkcs8(curve(kind).sign_asn1, pkcs8);
        EcdsaKey::from_pair(kind, pair.map_err(|_| ImportError::Rejected(kind))?)
    }

    fn from_pair(kind: KeyType, pair: EcdsaKeyPair) -> Result<EcdsaKey, ImportError> {
        let spki: PublicKeyX509Der<'_> =
            pair.public_key().as_der().map_err(|_| ImportError::Rejected(kind))?;
        let spki = spki.as_ref().to_vec();
        let private = Some(Private { asn1: pair, jws: OnceLock::new() });
        Ok(EcdsaKey { curve: curve(kind), private, spki, asn1: OnceLock::new(), jws: OnceLock::new() })
    }

    /// From `SubjectPublicKeyInfo`, or from a point as SEC 1 encodes it.
    pub(super) fn from_spki(kind: KeyType, public: &[u8]) -> Result<EcdsaKey, ImportError> {
        let curve = curve(kind);
        let asn1 =
            ParsedPublicKey::new(curve.verify_asn1, public).map_err(|_| ImportError::Rejected(kind))?;
        let spki: PublicKeyX509Der<'_> = asn1.as_der().map_err(|_| ImportError::Rejected(kind))?;
        let spki = spki.as_ref().to_vec();
        Ok(EcdsaKey { curve, private: None, spki, asn1: asn1.into(), jws: OnceLock::new() })
    }

    /// The curve's name, such as `P-256`.
    pub const fn curve(&self) -> &'static str {
        self.curve.name
    }

    pub(super) fn spki(&self) -> &[u8] {
        &self.spki
    }

    pub(super) const fn has_private(&self) -> bool {
        self.private.is_some()
    }

    /// PKCS#8 with the curve named inside as well, which some readers insist on.
    pub(super) fn pkcs8(&self) -> Option<SecretBytes> {
        let curve = der::element(der::OBJECT, &[self.curve.object]);
        Some(Secret::new(der::pkcs8(der::EC, &curve, self.sec1()?.expose()).to_vec()))
    }

    /// The older private key format in PEM (`EC PRIVATE KEY`, RFC 5915).
    pub fn sec1_pem(&self) -> Option<SecretString> {
        Some(der::secret_pem("EC PRIVATE KEY", self.sec1()?.expose()))
    }

    fn sec1(&self) -> Option<SecretBytes> {
        let pair = &self.private.as_ref()?.asn1;
        let scalar: EcPrivateKeyBin<'_> = certain(pair.private_key().as_be_bytes());
        let sec1 = der::sec1(self.curve.object, scalar.as_ref(), pair.public_key().as_ref());
        Some(Secret::new(sec1.to_vec()))
    }

    /// Signs a hash of 1 to 64 bytes, whichever function it is of.
    pub fn sign(&self, hash: &[u8], marshaling: Marshaling) -> Result<Vec<u8>, UseError> {
        let private = self.private.as_ref().ok_or(UseError::NoPrivatePart)?;
        let digest = self.fit(hash)?;
        let pair = private.pair(self.curve, marshaling);
        pair.sign_digest(&digest).map(|signature| signature.as_ref().to_vec()).map_err(|_| UseError::Failed)
    }

    /// Whether `signature` is one of the hash. A DER signature that is not well formed is an error.
    pub fn verify(&self, hash: &[u8], signature: &[u8], marshaling: Marshaling) -> Result<bool, UseError> {
        let digest = self.fit(hash)?;
        let read = |algorithm: &'static EcdsaVerificationAlgorithm| {
            certain(ParsedPublicKey::new(algorithm, &self.spki))
        };
        let public = match marshaling {
            Marshaling::Asn1 => self.asn1.get_or_init(|| read(self.curve.verify_asn1)),
            Marshaling::Jws => self.jws.get_or_init(|| read(self.curve.verify_jws)),
        };
        if marshaling == Marshaling::Asn1 && !der::is_sequence(signature) {
            return Err(UseError::Signature);
        }
        Ok(public.verify_digest_sig(&digest, signature).is_ok())
    }

    /// The hash as one of the curve's own size. See the module's head.
    fn fit(&self, hash: &[u8]) -> Result<Digest, UseError> {
        let size = self.curve.digest.output_len();
        // The order of P-521 is longer than the longest hash here: nothing may be cut.
        if hash.is_empty() || hash.len() > digest::MAX_OUTPUT_LEN {
            return Err(UseError::DigestLength { expected: size, found: hash.len() });
        }
        let mut fitted = vec![0; size.saturating_sub(hash.len())];
        fitted.extend_from_slice(&hash[..hash.len().min(size)]);
        Ok(certain(Digest::import_less_safe(&fitted, self.curve.digest)))
    }
}
