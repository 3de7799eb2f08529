//! Post-quantum recipients, `age1pq1...` and `AGE-SECRET-KEY-PQ-1...`: HPKE (RFC 9180) with ML-KEM-768 and X25519
//! together (<https://c2sp.org/age>, "The MLKEM768-X25519 hybrid post-quantum recipient type").

use std::convert::Infallible;
use std::fmt;

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::XWing;
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use keyward_core::Random;

use super::format::{Stanza, decode, encode};
use super::{Error, FileKey, Unwrap, Wrap, wrap};
use crate::bech32;
use crate::secret::{Secret, SecretKey, SecretString};

const TAG: &str = "mlkem768x25519";
const INFO: &[u8] = b"age-encryption.org/mlkem768x25519";
pub(super) const RECIPIENT: &str = "age1pq";
pub(super) const IDENTITY: &str = "age-secret-key-pq-";
/// An encapsulated key: of ML-KEM-768, and a point of X25519.
const ENCAPSULATED: usize = 1088 + 32;

/// Who can be sealed for: 1,216 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient(<XWing as Kem>::PublicKey);

impl Recipient {
    pub(super) fn from_data(data: &[u8]) -> Result<Recipient, Error> {
        if data.last_chunk().is_none_or(wrap::is_low_order) {
            return Err(Error::Key("a post-quantum recipient has a point of low order, which hides nothing"));
        }
        let key = <XWing as Kem>::PublicKey::from_bytes(data);
        key.map(Recipient).map_err(|_| Error::Key("a post-quantum recipient is no ML-KEM-768 and X25519 key"))
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bech32::encode(RECIPIENT, &self.0.to_bytes()))
    }
}

/// The project's randomness as the library wants it.
struct Source<'a>(&'a dyn Random);

impl TryRng for Source<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(keyward_core::random::bytes(self.0)))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(keyward_core::random::bytes(self.0)))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(out);
        Ok(())
    }
}

impl TryCryptoRng for Source<'_> {}

impl Wrap for Recipient {
    fn wrap(&self, file_key: &FileKey, random: &dyn Random) -> Result<Vec<Stanza>, Error> {
        let sealed = hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, XWing>(
            &OpModeS::Base,
            &self.0,
            INFO,
            file_key.expose(),
            &[],
            &mut Source(random),
        );
        let (encapsulated, body) =
            sealed.map_err(|_| Error::Key("a post-quantum recipient cannot be sealed for"))?;
        Ok(vec![Stanza::new(TAG, &[&encode(&encapsulated.to_bytes())], body)])
    }

    fn post_quantum(&self) -> bool {
        true
    }
}

/// Who opens: a seed of 32 bytes.
pub struct Identity {
    seed: SecretKey,
    key: <XWing as Kem>::PrivateKey,
}

impl Identity {
    /// Of a seed; every 32 bytes are one.
    pub fn new(seed: SecretKey) -> Identity {
        let key = crate::certain(<XWing as Kem>::PrivateKey::from_bytes(seed.expose()));
        Identity { seed, key }
    }

    /// A new one.
    pub fn generate(random: &dyn Random) -> Identity {
        Identity::new(Secret::random(random))
    }

    pub(super) fn from_data(data: &[u8]) -> Result<Identity, Error> {
        let seed = SecretKey::from_slice(data);
        seed.map(Identity::new).ok_or(Error::Key("a post-quantum identity has not 32 bytes"))
    }

    /// Who to seal for.
    pub fn recipient(&self) -> Recipient {
        Recipient(XWing::sk_to_pk(&self.key))
    }

    /// As identity files have it.
    pub fn text(&self) -> SecretString {
        bech32::encode_upper(IDENTITY, self.seed.expose())
    }
}

impl Unwrap for Identity {
    fn unwrap(&self, stanzas: &[Stanza]) -> Result<Option<FileKey>, Error> {
        for stanza in stanzas.iter().filter(|stanza| stanza.tag() == TAG) {
            let [encapsulated] = stanza.exactly()?;
            let encapsulated: [u8; ENCAPSULATED] = decode(encapsulated)?;
            let body = stanza.wrapped_key()?;
            // The library takes a share of low order, whose secret would be all zeros.
            if encapsulated.last_chunk().is_none_or(wrap::is_low_order) {
                return Err(Error::Header("an X25519 share is a point of low order"));
            }
            if let Some(file_key) = self.open(&encapsulated, &body) {
                return Ok(Some(file_key));
            }
        }
        Ok(None)
    }
}

impl Identity {
    fn open(&self, encapsulated: &[u8], body: &[u8]) -> Option<FileKey> {
        let encapsulated = <XWing as Kem>::EncappedKey::from_bytes(encapsulated).ok()?;
        let opened = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, XWing>(
            &OpModeR::Base,
            &self.key,
            &encapsulated,
            INFO,
            body,
            &[],
        );
        let opened = zeroize::Zeroizing::new(opened.ok()?);
        opened.as_slice().try_into().ok().map(Secret::new)
    }
}
