//! The bytes that rest in etcd: the seed sealed under a local key, and the local key wrapped by the provider.
//!
//! The wrapped key rides in one annotation of every object, so that any node that may use the provider opens
//! any object, whichever node wrote it. Both parts are repeated in each object: they are kept short.

use keyward_core::Random;
use keyward_crypto::{AeadKey, OpenError, sha256};
use keyward_keystores::KeyVersion;

/// The annotation that carries the wrapped key; a domain name, as the contract wants.
pub const ANNOTATION: &str = "kek.keyward.io";
/// The longest ciphertext the API server accepts, in bytes.
pub const LONGEST_CIPHERTEXT: usize = 1024;
/// The longest annotations we allow ourselves, keys and values, in bytes. The API server accepts 32 KiB.
pub const LONGEST_ANNOTATIONS: usize = 4096 - 1;
/// The longest plaintext whose ciphertext fits. The API server's seeds have 32 bytes.
pub const LONGEST_SEED: usize =
    LONGEST_CIPHERTEXT - 1 - keyward_crypto::aead::NONCE - keyward_crypto::aead::TAG;

const FORMAT: u8 = 1;

/// A local key as the provider wrapped it, with what it takes to unwrap it. Public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKek {
    /// The operator's rotation counter when it was made.
    pub epoch: u64,
    /// The provider's key version it is wrapped under.
    pub version: KeyVersion,
    /// What the provider gave.
    pub wrapped: Vec<u8>,
}

impl WrappedKek {
    /// The annotation's value; `None` when it would be longer than [`LONGEST_ANNOTATIONS`] allows.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let version = self.version.as_str().as_bytes();
        let mut out = vec![FORMAT];
        out.extend_from_slice(&self.epoch.to_be_bytes());
        out.push(u8::try_from(version.len()).ok()?);
        out.extend_from_slice(version);
        out.extend_from_slice(&self.wrapped);
        (ANNOTATION.len() + out.len() <= LONGEST_ANNOTATIONS).then_some(out)
    }

    /// Reads an annotation's value.
    pub fn decode(value: &[u8]) -> Option<WrappedKek> {
        let (&format, rest) = value.split_first()?;
        let (epoch, rest) = rest.split_first_chunk::<8>()?;
        let (&length, rest) = rest.split_first()?;
        let (version, wrapped) = rest.split_at_checked(usize::from(length))?;
        if format != FORMAT || wrapped.is_empty() {
            return None;
        }
        let version = KeyVersion::new(std::str::from_utf8(version).ok()?)?;
        Some(WrappedKek { epoch: u64::from_be_bytes(*epoch), version, wrapped: wrapped.to_vec() })
    }
}

/// Seals a seed of at most [`LONGEST_SEED`] bytes. `annotation` is the encoded wrapped key it goes with.
pub(crate) fn seal_seed(
    kek: &AeadKey,
    random: &dyn Random,
    key_id: &str,
    annotation: &[u8],
    seed: &[u8],
) -> Vec<u8> {
    let mut out = vec![FORMAT];
    out.extend_from_slice(&kek.seal_with(random, &associated_data(key_id, annotation), seed));
    out
}

/// Opens what [`seal_seed`] made with the same identifier and annotation.
pub(crate) fn open_seed(
    kek: &AeadKey,
    key_id: &str,
    annotation: &[u8],
    sealed: &[u8],
) -> Result<Vec<u8>, OpenError> {
    match sealed.split_first() {
        Some((&FORMAT, sealed)) => kek.open_prefixed(&associated_data(key_id, annotation), sealed),
        _ => Err(OpenError),
    }
}

fn associated_data(key_id: &str, annotation: &[u8]) -> Vec<u8> {
    let mut out = b"keyward seed v1".to_vec();
    out.extend_from_slice(&sha256(annotation));
    out.extend_from_slice(key_id.as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_crypto::SystemRandom;
    use proptest::prelude::*;

    fn record(wrapped: Vec<u8>) -> WrappedKek {
        WrappedKek { epoch: 7, version: KeyVersion::new("3@1700000000").unwrap(), wrapped }
    }

    #[test]
    fn a_seed_opens_with_its_identifier_and_annotation_only() {
        let kek = AeadKey::new(&[1; 32]);
        let sealed = seal_seed(&kek, &SystemRandom, "id", b"annotation", &[9; 32]);
        assert_eq!(sealed.len(), 1 + 12 + 32 + 16);
        assert_eq!(open_seed(&kek, "id", b"annotation", &sealed), Ok(vec![9; 32]));
        assert!(open_seed(&kek, "di", b"annotation", &sealed).is_err());
        assert!(open_seed(&kek, "id", b"another", &sealed).is_err());
        assert!(open_seed(&AeadKey::new(&[2; 32]), "id", b"annotation", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(open_seed(&kek, "id", b"annotation", &altered).is_err(), "byte {at}");
            assert!(open_seed(&kek, "id", b"annotation", &sealed[..at]).is_err(), "{at} bytes");
        }
    }

    #[test]
    fn the_budgets_hold() {
        let kek = AeadKey::new(&[1; 32]);
        let longest = seal_seed(&kek, &SystemRandom, "id", b"annotation", &[0; LONGEST_SEED]);
        assert_eq!(longest.len(), LONGEST_CIPHERTEXT);
        // A transit key of today costs every object this much.
        let usual = record(vec![0; 12 + 65 + 16]).encode().unwrap();
        assert!(ANNOTATION.len() + usual.len() < 160, "{}", usual.len());
        assert!(record(vec![0; 4000]).encode().is_some());
        assert!(record(vec![0; 4096]).encode().is_none());
    }

    proptest! {
        #[test]
        fn a_record_reads_back(epoch: u64, version in "[!-~]{1,128}", wrapped in prop::collection::vec(any::<u8>(), 1..2000)) {
            let record = WrappedKek { epoch, version: KeyVersion::new(version).unwrap(), wrapped };
            prop_assert_eq!(WrappedKek::decode(&record.encode().unwrap()), Some(record));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            if let Some(record) = WrappedKek::decode(&bytes) {
                prop_assert_eq!(record.encode(), Some(bytes));
            }
        }
    }
}
