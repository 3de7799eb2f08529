//! Authenticated encryption with AES-256-GCM (NIST SP 800-38D): 96-bit nonce, 128-bit tag at the end.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Algorithm, LessSafeKey, Nonce, UnboundKey};
use keyward_core::Random;

use crate::certain;
use crate::secret::{Secret, SecretBytes, SecretKey};

/// Bytes of a nonce.
pub const NONCE: usize = 12;

/// Bytes of the tag that follows the ciphertext.
pub const TAG: usize = 16;

/// An AES-256-GCM key, expanded once.
///
/// With random nonces one key may seal 2^32 messages (SP 800-38D, 8.3); rotate it before.
pub struct AeadKey(LessSafeKey);

/// The ciphertext is too short, was altered, or was sealed under another key, nonce or associated data. Which
/// of these cannot be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenError;

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot decrypt: the data was altered, moved, or encrypted under another key")
    }
}

impl std::error::Error for OpenError {}

impl AeadKey {
    /// Expands a 256-bit key.
    pub fn new(key: &[u8; 32]) -> AeadKey {
        AeadKey::of(&AES_256_GCM, key)
    }

    /// Expands a key of another algorithm with the same sizes of nonce and tag; `key` has the size it wants.
    pub(crate) fn of(algorithm: &'static Algorithm, key: &[u8]) -> AeadKey {
        AeadKey(LessSafeKey::new(certain(UnboundKey::new(algorithm, key))))
    }

    /// Ciphertext and tag. `nonce` must never be used twice with one key.
    pub fn seal(&self, nonce: [u8; NONCE], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(plaintext.len() + TAG);
        self.seal_onto(&mut out, nonce, aad, plaintext);
        out
    }

    /// A random nonce, then ciphertext and tag.
    pub fn seal_with(&self, random: &dyn Random, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE] = keyward_core::random::bytes(random);
        let mut out = Vec::with_capacity(NONCE + plaintext.len() + TAG);
        out.extend_from_slice(&nonce);
        self.seal_onto(&mut out, nonce, aad, plaintext);
        out
    }

    /// Appends ciphertext and tag to `out`, which may already hold a header.
    pub fn seal_onto(&self, out: &mut Vec<u8>, nonce: [u8; NONCE], aad: &[u8], plaintext: &[u8]) {
        out.reserve(plaintext.len() + TAG);
        let start = out.len();
        out.extend_from_slice(plaintext);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = certain(self.0.seal_in_place_separate_tag(nonce, Aad::from(aad), &mut out[start..]));
        out.extend_from_slice(tag.as_ref());
    }

    /// The plaintext of what [`seal`](Self::seal) made.
    pub fn open(&self, nonce: [u8; NONCE], aad: &[u8], ciphertext: &[u8]) -> Result<Vec<u8>, OpenError> {
        let length = ciphertext.len().checked_sub(TAG).ok_or(OpenError)?;
        let (body, tag) = ciphertext.split_at(length);
        let mut out = vec![0; length];
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0
            .open_separate_gather(nonce, Aad::from(aad), body, tag, &mut out)
            .map(|()| out)
            .map_err(|_| OpenError)
    }

    /// The plaintext of what [`seal_with`](Self::seal_with) made.
    pub fn open_prefixed(&self, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE>().ok_or(OpenError)?;
        self.open(*nonce, aad, ciphertext)
    }
}

/// Opens AES-256-GCM with a nonce of 32 bytes, as SOPS has it, which aws-lc-rs does not offer; `sealed` ends with the tag.
pub fn open_with_long_nonce(
    key: &SecretKey,
    nonce: &[u8; 32],
    aad: &[u8],
    sealed: &[u8],
) -> Result<SecretBytes, OpenError> {
    type Cipher = aes_gcm::AesGcm<aes_gcm::aes::Aes256, aes_gcm::aead::consts::U32>;
    let cipher = <Cipher as aes_gcm::KeyInit>::new(key.expose().into());
    let payload = aes_gcm::aead::Payload { msg: sealed, aad };
    let opened = aes_gcm::aead::Aead::decrypt(&cipher, nonce.into(), payload);
    opened.map(Secret::new).map_err(|_| OpenError)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemRandom;
    use proptest::prelude::*;

    fn unhex(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    /// Test cases 13 to 16 of the GCM specification that NIST SP 800-38D refers to.
    #[test]
    fn vectors_of_the_specification() {
        let zero = AeadKey::new(&[0; 32]);
        assert_eq!(hex::encode(zero.seal([0; 12], &[], &[])), "530f8afbc74536b9a963b4f1c4cb738b");
        assert_eq!(
            hex::encode(zero.seal([0; 12], &[], &[0; 16])),
            "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"
        );
        let key: [u8; 32] =
            unhex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308").try_into().unwrap();
        let key = AeadKey::new(&key);
        let nonce: [u8; 12] = unhex("cafebabefacedbaddecaf888").try_into().unwrap();
        let plaintext = unhex(concat!(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72",
            "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
        ));
        let aad = unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let sealed = key.seal(nonce, &aad, &plaintext);
        assert_eq!(
            hex::encode(&sealed),
            concat!(
                "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa",
                "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
                "76fc6ece0f4e1768cddf8853bb2d551b"
            )
        );
        assert_eq!(key.open(nonce, &aad, &sealed), Ok(plaintext));
    }

    #[test]
    fn nothing_altered_opens() {
        let (key, other) = (AeadKey::new(&[1; 32]), AeadKey::new(&[2; 32]));
        let sealed = key.seal_with(&SystemRandom, b"path", b"value");
        assert_eq!(sealed.len(), NONCE + 5 + TAG);
        assert_eq!(key.open_prefixed(b"path", &sealed).as_deref(), Ok(&b"value"[..]));
        assert_eq!(key.open_prefixed(b"other path", &sealed), Err(OpenError));
        assert_eq!(other.open_prefixed(b"path", &sealed), Err(OpenError));
        for bit in 0..sealed.len() * 8 {
            let mut altered = sealed.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.open_prefixed(b"path", &altered), Err(OpenError), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert_eq!(key.open_prefixed(b"path", &sealed[..length]), Err(OpenError), "{length} bytes");
        }
        let mut longer = sealed;
        longer.push(0);
        assert_eq!(key.open_prefixed(b"path", &longer), Err(OpenError));
    }

    #[test]
    fn the_same_plaintext_seals_differently() {
        let key = AeadKey::new(&[1; 32]);
        assert_ne!(key.seal_with(&SystemRandom, &[], b"x"), key.seal_with(&SystemRandom, &[], b"x"));
    }

    proptest! {
        #[test]
        fn opens_what_it_seals(key: [u8; 32], nonce: [u8; 12], aad: Vec<u8>, plaintext: Vec<u8>, header: Vec<u8>) {
            let key = AeadKey::new(&key);
            let sealed = key.seal(nonce, &aad, &plaintext);
            prop_assert_eq!(sealed.len(), plaintext.len() + TAG);
            prop_assert_eq!(key.open(nonce, &aad, &sealed), Ok(plaintext.clone()));
            let mut onto = header.clone();
            key.seal_onto(&mut onto, nonce, &aad, &plaintext);
            prop_assert_eq!(onto, [header, sealed].concat());
            let prefixed = key.seal_with(&SystemRandom, &aad, &plaintext);
            prop_assert_eq!(key.open_prefixed(&aad, &prefixed), Ok(plaintext));
        }

        #[test]
        fn garbage_does_not_open(garbage: Vec<u8>) {
            prop_assert_eq!(AeadKey::new(&[3; 32]).open_prefixed(&[], &garbage), Err(OpenError));
        }
    }
}
