//! AEAD keys: sealing, opening, derivation and convergent encryption.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use keyward_core::Random;

use super::{ImportError, KeyType, UseError};
use crate::aead::{AeadKey, NONCE, TAG};
use crate::certain;
use crate::mac::{MacKey, derive_into};
use crate::secret::{Secret, SecretBytes};

/// Bytes of the nonce of XChaCha20-Poly1305.
const LONG_NONCE: usize = 24;

/// A key of one of the AEADs, expanded once. What it seals is nonce, ciphertext and tag, in this order.
pub struct SymmetricKey {
    kind: KeyType,
    raw: SecretBytes,
    cipher: Cipher,
}

enum Cipher {
    Short(AeadKey),
    Long(Box<XChaCha20Poly1305>),
}

impl SymmetricKey {
    /// Bytes of a key of this type, if it is an AEAD.
    pub const fn size(kind: KeyType) -> Option<usize> {
        match kind {
            KeyType::Aes128Gcm96 => Some(16),
            KeyType::Aes256Gcm96 | KeyType::ChaCha20Poly1305 | KeyType::XChaCha20Poly1305 => Some(32),
            _ => None,
        }
    }

    /// Expands a key. The wrong number of bytes, or a type that is no AEAD, is refused.
    pub fn new(kind: KeyType, raw: SecretBytes) -> Result<SymmetricKey, ImportError> {
        let bytes = raw.expose().as_slice();
        if SymmetricKey::size(kind) != Some(bytes.len()) {
            return Err(ImportError::Size { kind, bytes: bytes.len() });
        }
        let cipher = match kind {
            KeyType::Aes128Gcm96 => Cipher::Short(AeadKey::of(&AES_128_GCM, bytes)),
            KeyType::ChaCha20Poly1305 => Cipher::Short(AeadKey::of(&CHACHA20_POLY1305, bytes)),
            KeyType::XChaCha20Poly1305 => {
                Cipher::Long(Box::new(certain(XChaCha20Poly1305::new_from_slice(bytes))))
            }
            _ => Cipher::Short(AeadKey::of(&AES_256_GCM, bytes)),
        };
        Ok(SymmetricKey { kind, raw, cipher })
    }

    /// The key itself.
    pub fn raw(&self) -> &[u8] {
        self.raw.expose()
    }

    /// Bytes of a nonce of this key's type.
    pub const fn nonce_size(&self) -> usize {
        match self.cipher {
            Cipher::Short(_) => NONCE,
            Cipher::Long(_) => LONG_NONCE,
        }
    }

    /// The key of the same type that HKDF-SHA256 (no salt, `context` as info) derives from this one.
    pub fn derived(&self, context: &[u8]) -> SymmetricKey {
        let mut raw = vec![0; self.raw().len()];
        derive_into(self.raw(), &[], context, &mut raw);
        self.again(Secret::new(raw))
    }

    /// As [`derived`](Self::derived), but twice as much is derived: the key, and one to compute nonces from
    /// plaintexts with (convergent encryption, version 3).
    pub fn convergent(&self, context: &[u8]) -> (SymmetricKey, NonceKey) {
        let size = self.raw().len();
        let mut both = Secret::new(vec![0; size + 32]);
        derive_into(self.raw(), &[], context, &mut both.0);
        let (key, nonces) = both.expose().split_at(size);
        (self.again(Secret::new(key.to_vec())), NonceKey(MacKey::new(nonces)))
    }

    /// Seals under a random nonce. With 96-bit nonces one key may seal 2^32 messages (NIST SP 800-38D, 8.3).
    pub fn seal(&self, random: &dyn Random, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let mut nonce = [0; LONG_NONCE];
        let nonce = &mut nonce[..self.nonce_size()];
        random.fill(nonce);
        self.seal_with_nonce(nonce, aad, plaintext)
    }

    /// Seals under the nonce that `nonces` computes from the plaintext, so that equal plaintexts seal equally.
    pub fn seal_convergent(&self, nonces: &NonceKey, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        self.seal_with_nonce(&nonces.0.tag(plaintext)[..self.nonce_size()], aad, plaintext)
    }

    fn seal_with_nonce(&self, nonce: &[u8], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(nonce.len() + plaintext.len() + TAG);
        out.extend_from_slice(nonce);
        match &self.cipher {
            Cipher::Short(key) => key.seal_onto(&mut out, certain(nonce.try_into()), aad, plaintext),
            Cipher::Long(key) => {
                let payload = Payload { msg: plaintext, aad };
                out.extend_from_slice(&certain(key.encrypt(XNonce::from_slice(nonce), payload)));
            }
        }
        out
    }

    /// The plaintext, when nothing was altered. [`UseError::Decrypt`] otherwise, and nothing more is told.
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<SecretBytes, UseError> {
        let (nonce, ciphertext) = sealed.split_at_checked(self.nonce_size()).ok_or(UseError::Decrypt)?;
        let plaintext = match &self.cipher {
            Cipher::Short(key) => key.open(certain(nonce.try_into()), aad, ciphertext).ok(),
            Cipher::Long(key) => {
                key.decrypt(XNonce::from_slice(nonce), Payload { msg: ciphertext, aad }).ok()
            }
        };
        plaintext.map(Secret::new).ok_or(UseError::Decrypt)
    }

    fn again(&self, raw: SecretBytes) -> SymmetricKey {
        certain(SymmetricKey::new(self.kind, raw))
    }
}

/// What computes the nonce of convergent encryption: HMAC-SHA256 of the plaintext, cut to the nonce's size.
pub struct NonceKey(MacKey);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemRandom;
    use proptest::prelude::*;

    const AEADS: [KeyType; 4] =
        [KeyType::Aes128Gcm96, KeyType::Aes256Gcm96, KeyType::ChaCha20Poly1305, KeyType::XChaCha20Poly1305];

    fn key(kind: KeyType, byte: u8) -> SymmetricKey {
        SymmetricKey::new(kind, Secret::new(vec![byte; SymmetricKey::size(kind).unwrap()])).unwrap()
    }

    fn opened(key: &SymmetricKey, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, UseError> {
        key.open(aad, sealed).map(|plaintext| plaintext.expose().clone())
    }

    /// RFC 8439, 2.8.2, and draft-irtf-cfrg-xchacha-03, A.3.1.
    #[test]
    fn vectors_of_the_standards() {
        let plaintext = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for \
                          the future, sunscreen would be it.";
        let aad = hex::decode("50515253c0c1c2c3c4c5c6c7").unwrap();
        let raw: Vec<u8> = (0x80..=0x9f).collect();
        for (kind, nonce, tag) in [
            (KeyType::ChaCha20Poly1305, "070000004041424344454647", "1ae10b594f09e26a7e902ecbd0600691"),
            (
                KeyType::XChaCha20Poly1305,
                "404142434445464748494a4b4c4d4e4f5051525354555657",
                "c0875924c1c7987947deafd8780acf49",
            ),
        ] {
            let key = SymmetricKey::new(kind, Secret::new(raw.clone())).unwrap();
            let sealed = key.seal_with_nonce(&hex::decode(nonce).unwrap(), &aad, plaintext);
            assert!(hex::encode(&sealed).ends_with(tag), "{kind}");
            assert_eq!(opened(&key, &aad, &sealed), Ok(plaintext.to_vec()));
        }
        // The GCM specification's test case 2.
        let zero = key(KeyType::Aes128Gcm96, 0);
        assert_eq!(
            hex::encode(&zero.seal_with_nonce(&[0; 12], &[], &[0; 16])[12..]),
            "0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf"
        );
    }

    #[test]
    fn nothing_altered_opens() {
        for kind in AEADS {
            let (key, other) = (key(kind, 1), key(kind, 2));
            let sealed = key.seal(&SystemRandom, b"aad", b"value");
            assert_eq!(sealed.len(), key.nonce_size() + 5 + TAG);
            assert_eq!(opened(&key, b"aad", &sealed).as_deref(), Ok(&b"value"[..]));
            assert_eq!(opened(&key, b"", &sealed), Err(UseError::Decrypt));
            assert_eq!(opened(&other, b"aad", &sealed), Err(UseError::Decrypt));
            for at in 0..sealed.len() {
                let mut altered = sealed.clone();
                altered[at] ^= 0x10;
                assert_eq!(opened(&key, b"aad", &altered), Err(UseError::Decrypt), "{kind}, byte {at}");
                assert_eq!(
                    opened(&key, b"aad", &sealed[..at]),
                    Err(UseError::Decrypt),
                    "{kind}, cut at {at}"
                );
            }
        }
    }

    #[test]
    fn sizes_are_checked() {
        for kind in AEADS {
            for bytes in [0, 15, 16, 17, 31, 32, 33] {
                let made = SymmetricKey::new(kind, Secret::new(vec![0; bytes]));
                assert_eq!(made.is_ok(), SymmetricKey::size(kind) == Some(bytes), "{kind}, {bytes}");
            }
        }
        let error = SymmetricKey::new(KeyType::Aes256Gcm96, Secret::new(vec![0; 16])).err().unwrap();
        assert_eq!(error.to_string(), "invalid key size 16 bytes for key type aes256-gcm96");
    }

    /// Ciphertexts of Vault's own implementation: type, key, context, plaintext, ciphertext after the prefix.
    #[test]
    fn convergent_ciphertexts_made_elsewhere() {
        let lines =
            include_str!("../../testdata/convergent.txt").lines().filter(|line| !line.starts_with('#'));
        let mut count = 0;
        for line in lines {
            let fields: Vec<&str> = line.split(' ').collect();
            let [kind, raw, context, plaintext, expected] = fields[..] else { panic!("{line}") };
            let kind = KeyType::parse(kind, None).unwrap();
            let key = SymmetricKey::new(kind, Secret::new(hex::decode(raw).unwrap())).unwrap();
            let (context, plaintext) = (hex::decode(context).unwrap(), hex::decode(plaintext).unwrap());
            let (derived, nonces) = key.convergent(&context);
            assert_eq!(hex::encode(derived.seal_convergent(&nonces, &[], &plaintext)), expected);
            // Decryption derives only the key: the nonce travels with the ciphertext.
            let sealed = hex::decode(expected).unwrap();
            assert_eq!(opened(&key.derived(&context), &[], &sealed), Ok(plaintext));
            count += 1;
        }
        assert!(count >= 6, "{count}");
    }

    proptest! {
        #[test]
        fn contexts_separate(one: Vec<u8>, two: Vec<u8>, plaintext: Vec<u8>) {
            for kind in AEADS {
                let master = key(kind, 3);
                let sealed = master.derived(&one).seal(&SystemRandom, &[], &plaintext);
                prop_assert_eq!(opened(&master.derived(&one), &[], &sealed), Ok(plaintext.clone()));
                prop_assert_eq!(opened(&master.derived(&two), &[], &sealed).is_ok(), one == two);
            }
        }
    }
}
