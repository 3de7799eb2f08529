//! RSA (RFC 8017): encryption with OAEP or PKCS#1 v1.5, signatures with PSS or PKCS#1 v1.5.

use std::sync::OnceLock;

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OAEP_SHA384_MGF1SHA384, OAEP_SHA512_MGF1SHA512,
    OaepAlgorithm, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, Pkcs1PrivateDecryptingKey,
    Pkcs1PublicEncryptingKey, PrivateDecryptingKey, PublicEncryptingKey,
};
use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaKeyPair, RsaParameters, RsaPssSaltLength, RsaSignatureEncoding,
    UnparsedPublicKey,
};

use super::{Hash, ImportError, KeyType, UseError, der};
use crate::certain;
use crate::secret::{Secret, SecretBytes, SecretString};

/// How a plaintext is padded before encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// OAEP with this hash function, also for its mask generation, and no label.
    Oaep(Hash),
    /// PKCS#1 v1.5: only where something old demands it. Whoever can tell its decryption errors from successes
    /// for texts of their choice can decrypt (Bleichenbacher 1998).
    Pkcs1v15,
}

/// How a hash is padded before signing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// PSS.
    Pss(Salt),
    /// PKCS#1 v1.5.
    Pkcs1v15,
}

/// The length of the salt of PSS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Salt {
    /// The longest there can be when signing, any when verifying.
    Auto,
    /// That of the hash.
    Hash,
    /// So many bytes.
    Bytes(u16),
}

/// A key pair, or its public part.
pub struct RsaKey {
    private: Option<Private>,
    spki: Vec<u8>,
    oaep: OaepPublicEncryptingKey,
    pkcs1: Pkcs1PublicEncryptingKey,
}

/// One private key in the three forms aws-lc-rs wants; they share its memory.
struct Private {
    signing: RsaKeyPair,
    oaep: OaepPrivateDecryptingKey,
    pkcs1: Pkcs1PrivateDecryptingKey,
}

impl RsaKey {
    pub(super) fn generate(kind: KeyType) -> RsaKey {
        let size = match kind {
            KeyType::Rsa8192 => KeySize::Rsa8192,
            KeyType::Rsa4096 => KeySize::Rsa4096,
            KeyType::Rsa3072 => KeySize::Rsa3072,
            _ => KeySize::Rsa2048,
        };
        certain(RsaKey::from_decrypting(kind, &certain(PrivateDecryptingKey::generate(size))))
    }

    /// From the `RSAPrivateKey` inside PKCS#8, so that a key marked for PSS is read like any other.
    pub(super) fn from_pkcs1(kind: KeyType, pkcs1: &[u8]) -> Result<RsaKey, ImportError> {
        let rejected = ImportError::Rejected(kind);
        let pair = RsaKeyPair::from_der(pkcs1).map_err(|_| rejected)?;
        let pkcs8: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| rejected)?;
        let key = PrivateDecryptingKey::from_pkcs8(pkcs8.as_ref()).map_err(|_| rejected)?;
        RsaKey::from_decrypting(kind, &key)
    }

    fn from_decrypting(kind: KeyType, key: &PrivateDecryptingKey) -> Result<RsaKey, ImportError> {
        let rejected = ImportError::Rejected(kind);
        let mut out = RsaKey::from_public(kind, &key.public_key())?;
        let pkcs8: Pkcs8V1Der<'_> = key.as_der().map_err(|_| rejected)?;
        out.private = Some(Private {
            signing: RsaKeyPair::from_pkcs8(pkcs8.as_ref()).map_err(|_| rejected)?,
            oaep: OaepPrivateDecryptingKey::new(key.clone()).map_err(|_| rejected)?,
            pkcs1: Pkcs1PrivateDecryptingKey::new(key.clone()).map_err(|_| rejected)?,
        });
        Ok(out)
    }

    pub(super) fn from_spki(kind: KeyType, spki: &[u8]) -> Result<RsaKey, ImportError> {
        let key = PublicEncryptingKey::from_der(spki).map_err(|_| ImportError::Rejected(kind))?;
        RsaKey::from_public(kind, &key)
    }

    /// Of modulus and exponent, big-endian and without leading zeros (RFC 8017, A.1.1).
    pub fn of_numbers(modulus: &[u8], exponent: &[u8]) -> Result<RsaKey, ImportError> {
        let kind = match modulus.len() {
            1024 => KeyType::Rsa8192,
            512 => KeyType::Rsa4096,
            384 => KeyType::Rsa3072,
            _ => KeyType::Rsa2048,
        };
        let number = |bytes: &[u8]| {
            // A number whose first bit is set would be negative.
            let sign: &[u8] = if bytes.first().is_some_and(|first| *first >= 0x80) { &[0] } else { &[] };
            der::element(der::INTEGER, &[sign, bytes])
        };
        let key = der::element(der::SEQUENCE, &[&number(modulus), &number(exponent)]);
        let named = der::element(der::SEQUENCE, &[&der::element(der::OBJECT, &[der::RSA]), &[5, 0]]);
        let bits = der::element(der::BIT_STRING, &[&[0], &key]);
        RsaKey::from_spki(kind, &der::element(der::SEQUENCE, &[&named, &bits]))
    }

    fn from_public(kind: KeyType, key: &PublicEncryptingKey) -> Result<RsaKey, ImportError> {
        let expected = match kind {
            KeyType::Rsa8192 => 1024,
            KeyType::Rsa4096 => 512,
            KeyType::Rsa3072 => 384,
            _ => 256,
        };
        // A modulus of 2047 bits fills 256 bytes too, but is not what the type promises.
        if key.key_size_bits() != expected * 8 {
            return Err(ImportError::Modulus { expected, found: key.key_size_bits().div_ceil(8) });
        }
        let rejected = ImportError::Rejected(kind);
        let spki: PublicKeyX509Der<'_> = key.as_der().map_err(|_| rejected)?;
        let spki = spki.as_ref().to_vec();
        let oaep = OaepPublicEncryptingKey::new(key.clone()).map_err(|_| rejected)?;
        let pkcs1 = Pkcs1PublicEncryptingKey::new(key.clone()).map_err(|_| rejected)?;
        Ok(RsaKey { private: None, spki, oaep, pkcs1 })
    }

    /// Bytes of the modulus; of every ciphertext and signature too.
    pub fn size(&self) -> usize {
        self.oaep.key_size_bytes()
    }

    pub(super) fn spki(&self) -> &[u8] {
        &self.spki
    }

    pub(super) const fn has_private(&self) -> bool {
        self.private.is_some()
    }

    pub(super) fn pkcs8(&self) -> Option<SecretBytes> {
        let pkcs8: Pkcs8V1Der<'_> = certain(self.private.as_ref()?.signing.as_der());
        Some(Secret::new(pkcs8.as_ref().to_vec()))
    }

    /// The older private key format in PEM (`RSA PRIVATE KEY`, RFC 8017, A.1.2).
    pub fn pkcs1_pem(&self) -> Option<SecretString> {
        let pkcs8 = self.pkcs8()?;
        let info = der::private_info(pkcs8.expose())?;
        Some(der::secret_pem("RSA PRIVATE KEY", info.key))
    }

    /// Encrypts. OAEP takes at most the modulus less two hashes and 2 bytes, PKCS#1 v1.5 less 11 bytes.
    pub fn encrypt(&self, padding: Padding, plaintext: &[u8]) -> Result<Vec<u8>, UseError> {
        let mut out = vec![0; self.size()];
        let (done, limit) = match padding {
            Padding::Oaep(hash) => {
                let algorithm = oaep(hash)?;
                let limit = self.oaep.max_plaintext_size(algorithm);
                (self.oaep.encrypt(algorithm, plaintext, &mut out, None).is_ok(), limit)
            }
            Padding::Pkcs1v15 => {
                (self.pkcs1.encrypt(plaintext, &mut out).is_ok(), self.pkcs1.max_plaintext_size())
            }
        };
        if done { Ok(out) } else { Err(UseError::TooLong { limit }) }
    }

    /// Decrypts.
    pub fn decrypt(&self, padding: Padding, ciphertext: &[u8]) -> Result<SecretBytes, UseError> {
        let private = self.private.as_ref().ok_or(UseError::NoPrivatePart)?;
        let mut out = Secret::new(vec![0; self.size()]);
        let length = match padding {
            Padding::Oaep(hash) => {
                private.oaep.decrypt(oaep(hash)?, ciphertext, &mut out.0, None).map(|text| text.len())
            }
            Padding::Pkcs1v15 => private.pkcs1.decrypt(ciphertext, &mut out.0).map(|text| text.len()),
        };
        out.0.truncate(length.map_err(|_| UseError::Decrypt)?);
        Ok(out)
    }

    /// Encrypts with OAEP and a label (RFC 8017, 7.1), which whoever decrypts must name too.
    pub fn encrypt_labelled(&self, hash: Hash, label: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, UseError> {
        let mut out = vec![0; self.size()];
        let algorithm = oaep(hash)?;
        let limit = self.oaep.max_plaintext_size(algorithm);
        let done = self.oaep.encrypt(algorithm, plaintext, &mut out, Some(label)).is_ok();
        if done { Ok(out) } else { Err(UseError::TooLong { limit }) }
    }

    /// Decrypts what [`RsaKey::encrypt_labelled`] encrypted with the same label.
    pub fn decrypt_labelled(
        &self,
        hash: Hash,
        label: &[u8],
        ciphertext: &[u8],
    ) -> Result<SecretBytes, UseError> {
        let private = self.private.as_ref().ok_or(UseError::NoPrivatePart)?;
        let mut out = Secret::new(vec![0; self.size()]);
        let length = private.oaep.decrypt(oaep(hash)?, ciphertext, &mut out.0, Some(label));
        let length = length.map(|text| text.len()).map_err(|_| UseError::Decrypt)?;
        out.0.truncate(length);
        Ok(out)
    }

    /// Signs a hash of the function `hash`: SHA-256, SHA-384 or SHA-512.
    pub fn sign(&self, scheme: Scheme, hash: Hash, digest: &[u8]) -> Result<Vec<u8>, UseError> {
        let private = self.private.as_ref().ok_or(UseError::NoPrivatePart)?;
        let family = family(hash)?;
        let digest = import(family.digest, digest)?;
        let encoding = match scheme {
            Scheme::Pkcs1v15 => family.pkcs1_signing,
            Scheme::Pss(salt) => family.pss_signing.with(self.salt_bytes(salt, hash)?),
        };
        let mut out = vec![0; self.size()];
        private.signing.sign_digest(encoding, &digest, &mut out).map_err(|_| UseError::Failed)?;
        Ok(out)
    }

    /// Whether `signature` is one of a hash of the function `hash`; SHA-1 too with PKCS#1 v1.5.
    pub fn verify(
        &self,
        scheme: Scheme,
        hash: Hash,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<bool, UseError> {
        let valid = |parameters: &'static RsaParameters, digest: &Digest| {
            UnparsedPublicKey::new(parameters, &self.spki).verify_digest(digest, signature).is_ok()
        };
        if (hash, scheme) == (Hash::Sha1, Scheme::Pkcs1v15) {
            let digest = import(&digest::SHA1_FOR_LEGACY_USE_ONLY, digest)?;
            return Ok(valid(&RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, &digest));
        }
        let family = family(hash)?;
        let digest = import(family.digest, digest)?;
        let valid_pss = |salt| valid(family.pss_verifying.with(salt), &digest);
        Ok(match scheme {
            Scheme::Pkcs1v15 => valid(family.pkcs1_verifying, &digest),
            Scheme::Pss(Salt::Auto) => {
                let longest = self.longest_salt(hash);
                let usual = [longest, hash.length() as u16];
                // aws-lc-rs does not find the length out by itself. The usual ones go first, so that only
                // unusual and invalid signatures cost more than one or two checks.
                usual.into_iter().chain(0..longest).any(valid_pss)
            }
            Scheme::Pss(salt) => valid_pss(self.salt_bytes(salt, hash)?),
        })
    }

    fn longest_salt(&self, hash: Hash) -> u16 {
        // RFC 8017, 9.1.1: emLen - hLen - 2; at most 478, for 4096 bits and SHA-256.
        (self.size() - hash.length() - 2) as u16
    }

    fn salt_bytes(&self, salt: Salt, hash: Hash) -> Result<u16, UseError> {
        match salt {
            Salt::Auto => Ok(self.longest_salt(hash)),
            Salt::Hash => Ok(hash.length() as u16),
            Salt::Bytes(length) if length <= self.longest_salt(hash) => Ok(length),
            Salt::Bytes(length) => Err(UseError::SaltLength(length)),
        }
    }
}

fn oaep(hash: Hash) -> Result<&'static OaepAlgorithm, UseError> {
    match hash {
        Hash::Sha1 => Ok(&OAEP_SHA1_MGF1SHA1),
        Hash::Sha2_256 => Ok(&OAEP_SHA256_MGF1SHA256),
        Hash::Sha2_384 => Ok(&OAEP_SHA384_MGF1SHA384),
        Hash::Sha2_512 => Ok(&OAEP_SHA512_MGF1SHA512),
        _ => Err(UseError::Hash { hash, purpose: "OAEP" }),
    }
}

fn import(algorithm: &'static digest::Algorithm, bytes: &[u8]) -> Result<Digest, UseError> {
    let wrong = UseError::DigestLength { expected: algorithm.output_len(), found: bytes.len() };
    Digest::import_less_safe(bytes, algorithm).map_err(|_| wrong)
}

/// More than any salt is long: the modulus of RSA-4096 in bytes.
const SALTS: usize = 512;

/// What goes with one hash function.
struct Family {
    digest: &'static digest::Algorithm,
    pkcs1_signing: &'static RsaSignatureEncoding,
    pkcs1_verifying: &'static RsaParameters,
    pss_signing: Made<RsaSignatureEncoding>,
    pss_verifying: Made<RsaParameters>,
}

/// Parameters for every length of the salt, each made when it is first used: aws-lc-rs wants parameters that
/// live for ever, and the length is one of them.
struct Made<T: 'static> {
    make: fn(RsaPssSaltLength) -> T,
    made: [OnceLock<T>; SALTS],
}

impl<T> Made<T> {
    const fn new(make: fn(RsaPssSaltLength) -> T) -> Made<T> {
        Made { make, made: [const { OnceLock::new() }; SALTS] }
    }

    fn with(&'static self, salt: u16) -> &'static T {
        self.made[usize::from(salt)].get_or_init(|| (self.make)(RsaPssSaltLength::Custom(salt)))
    }
}

static SHA256: Family = Family {
    digest: &digest::SHA256,
    pkcs1_signing: &RSA_PKCS1_SHA256,
    pkcs1_verifying: &RSA_PKCS1_2048_8192_SHA256,
    pss_signing: Made::new(|salt| RSA_PSS_SHA256.with_pss_salt_length(salt)),
    pss_verifying: Made::new(|salt| RSA_PSS_2048_8192_SHA256.with_pss_salt_length(salt)),
};

static SHA384: Family = Family {
    digest: &digest::SHA384,
    pkcs1_signing: &RSA_PKCS1_SHA384,
    pkcs1_verifying: &RSA_PKCS1_2048_8192_SHA384,
    pss_signing: Made::new(|salt| RSA_PSS_SHA384.with_pss_salt_length(salt)),
    pss_verifying: Made::new(|salt| RSA_PSS_2048_8192_SHA384.with_pss_salt_length(salt)),
};

static SHA512: Family = Family {
    digest: &digest::SHA512,
    pkcs1_signing: &RSA_PKCS1_SHA512,
    pkcs1_verifying: &RSA_PKCS1_2048_8192_SHA512,
    pss_signing: Made::new(|salt| RSA_PSS_SHA512.with_pss_salt_length(salt)),
    pss_verifying: Made::new(|salt| RSA_PSS_2048_8192_SHA512.with_pss_salt_length(salt)),
};

fn family(hash: Hash) -> Result<&'static Family, UseError> {
    match hash {
        Hash::Sha2_256 => Ok(&SHA256),
        Hash::Sha2_384 => Ok(&SHA384),
        Hash::Sha2_512 => Ok(&SHA512),
        _ => Err(UseError::Hash { hash, purpose: "RSA signatures" }),
    }
}
