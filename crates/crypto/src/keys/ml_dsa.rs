//! ML-DSA (FIPS 204): pure, with an empty context.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{
    self, KeyPair, ParsedPublicKey, PqdsaKeyPair, PqdsaSigningAlgorithm, PqdsaVerificationAlgorithm,
};
use keyward_core::Random;

use super::{ImportError, KeyType, UseError};
use crate::certain;
use crate::secret::{Secret, SecretBytes};

/// A key pair, or its public part.
pub struct MlDsaKey {
    private: Option<Private>,
    spki: Vec<u8>,
    parsed: ParsedPublicKey,
}

struct Private {
    pair: PqdsaKeyPair,
    /// As it was given: a key imported in its expanded form cannot be written from its seed.
    pkcs8: SecretBytes,
}

const fn algorithms(kind: KeyType) -> (&'static PqdsaSigningAlgorithm, &'static PqdsaVerificationAlgorithm) {
    match kind {
        KeyType::MlDsa65 => (&signature::ML_DSA_65_SIGNING, &signature::ML_DSA_65),
        KeyType::MlDsa87 => (&signature::ML_DSA_87_SIGNING, &signature::ML_DSA_87),
        _ => (&signature::ML_DSA_44_SIGNING, &signature::ML_DSA_44),
    }
}

impl MlDsaKey {
    pub(super) fn generate(kind: KeyType, random: &dyn Random) -> MlDsaKey {
        let seed = Secret::<[u8; 32]>::random(random);
        let pair = certain(PqdsaKeyPair::from_seed(algorithms(kind).0, seed.expose()));
        certain(MlDsaKey::from_pkcs8(kind, certain(pair.to_pkcs8v1()).as_ref()))
    }

    pub(super) fn from_pkcs8(kind: KeyType, pkcs8: &[u8]) -> Result<MlDsaKey, ImportError> {
        let (signing, verifying) = algorithms(kind);
        let rejected = ImportError::Rejected(kind);
        let pair = PqdsaKeyPair::from_pkcs8(signing, pkcs8).map_err(|_| rejected)?;
        let parsed = ParsedPublicKey::new(verifying, pair.public_key().as_ref()).map_err(|_| rejected)?;
        let spki: PublicKeyX509Der<'_> = parsed.as_der().map_err(|_| rejected)?;
        let spki = spki.as_ref().to_vec();
        Ok(MlDsaKey { private: Some(Private { pair, pkcs8: Secret::new(pkcs8.to_vec()) }), spki, parsed })
    }

    pub(super) fn from_spki(kind: KeyType, spki: &[u8]) -> Result<MlDsaKey, ImportError> {
        let parsed =
            ParsedPublicKey::new(algorithms(kind).1, spki).map_err(|_| ImportError::Rejected(kind))?;
        Ok(MlDsaKey { private: None, spki: spki.to_vec(), parsed })
    }

    pub(super) fn spki(&self) -> &[u8] {
        &self.spki
    }

    pub(super) const fn has_private(&self) -> bool {
        self.private.is_some()
    }

    pub(super) fn pkcs8(&self) -> Option<SecretBytes> {
        self.private.as_ref().map(|private| Secret::new(private.pkcs8.expose().clone()))
    }

    /// The signature of `message`: 2420, 3309 or 4627 bytes.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, UseError> {
        let private = self.private.as_ref().ok_or(UseError::NoPrivatePart)?;
        let mut out = vec![0; private.pair.algorithm().signature_len()];
        private.pair.sign(message, &mut out).map_err(|_| UseError::Failed)?;
        Ok(out)
    }

    /// Whether `signature` is one of `message`.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }
}
