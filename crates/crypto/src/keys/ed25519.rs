//! Ed25519 (RFC 8032): pure, without context.

use aws_lc_rs::encoding::{AsBigEndian, AsDer, Curve25519SeedBin, PublicKeyX509Der};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, ParsedPublicKey};
use keyward_core::Random;

use super::{ImportError, KeyType, UseError, der};
use crate::certain;
use crate::mac::derive_into;
use crate::secret::{Secret, SecretBytes};

/// A key pair, or its public part.
pub struct Ed25519Key {
    private: Option<Private>,
    public: [u8; 32],
    parsed: ParsedPublicKey,
}

struct Private {
    pair: Ed25519KeyPair,
    seed: Secret<[u8; 32]>,
}

impl Ed25519Key {
    /// A new key pair.
    pub fn generate(random: &dyn Random) -> Ed25519Key {
        Ed25519Key::from_seed(Secret::random(random))
    }

    /// The key pair of a seed (RFC 8032, 5.1.5); every 32 bytes are one.
    pub fn from_seed(seed: Secret<[u8; 32]>) -> Ed25519Key {
        let pair = certain(Ed25519KeyPair::from_seed_unchecked(seed.expose()));
        let public = certain(pair.public_key().as_ref().try_into());
        let parsed = certain(ParsedPublicKey::new(&ED25519, public));
        Ed25519Key { private: Some(Private { pair, seed }), public, parsed }
    }

    /// From PKCS#8 (RFC 8410), with or without the public part; when it is there it must belong.
    pub(super) fn from_pkcs8(pkcs8: &[u8]) -> Result<Ed25519Key, ImportError> {
        let rejected = ImportError::Rejected(KeyType::Ed25519);
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).map_err(|_| rejected)?;
        let seed: Curve25519SeedBin<'_> =
            pair.seed().and_then(|seed| seed.as_be_bytes()).map_err(|_| rejected)?;
        Secret::from_slice(seed.as_ref()).map(Ed25519Key::from_seed).ok_or(rejected)
    }

    pub(super) fn from_spki(spki: &[u8]) -> Result<Ed25519Key, ImportError> {
        let rejected = ImportError::Rejected(KeyType::Ed25519);
        let parsed = ParsedPublicKey::new(&ED25519, spki).map_err(|_| rejected)?;
        // The 32 bytes of the point are the whole rest of the structure.
        let public = *spki.last_chunk::<32>().ok_or(rejected)?;
        Ok(Ed25519Key { private: None, public, parsed })
    }

    /// The public key: 32 bytes.
    pub const fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// Seed and public key together, 64 bytes: how Vault stores, exports and derives from such a key.
    pub fn seed_and_public(&self) -> Option<SecretBytes> {
        let seed = self.private.as_ref()?.seed.expose();
        Some(Secret::new([seed.as_slice(), &self.public].concat()))
    }

    pub(super) const fn has_private(&self) -> bool {
        self.private.is_some()
    }

    pub(super) fn pkcs8(&self) -> Option<SecretBytes> {
        let seed = self.private.as_ref()?.seed.expose();
        let inner = der::element(der::OCTET_STRING, &[seed]);
        Some(Secret::new(der::pkcs8(der::ED25519, &[], &inner).to_vec()))
    }

    pub(super) fn spki(&self) -> Vec<u8> {
        let spki: PublicKeyX509Der<'_> = certain(self.parsed.as_der());
        spki.as_ref().to_vec()
    }

    /// The key pair that HKDF-SHA256 (no salt, `context` as info) derives from seed and public key.
    pub fn derived(&self, context: &[u8]) -> Result<Ed25519Key, UseError> {
        let master = self.seed_and_public().ok_or(UseError::NoPrivatePart)?;
        let mut seed = Secret::new([0; 32]);
        derive_into(master.expose(), &[], context, &mut seed.0);
        Ok(Ed25519Key::from_seed(seed))
    }

    /// The 64 bytes of the signature of `message`.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, UseError> {
        let private = self.private.as_ref().ok_or(UseError::NoPrivatePart)?;
        private.pair.try_sign(message).map(|made| made.as_ref().to_vec()).map_err(|_| UseError::Failed)
    }

    /// Whether `signature` is one of `message`.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }
}
