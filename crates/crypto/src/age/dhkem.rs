//! HPKE (RFC 9180) in its base mode with DHKEM(P-256, HKDF-SHA256), HKDF-SHA256 and ChaCha20-Poly1305, for one message.
//!
//! The `hpke` library wants the private key itself, which a token does not give away. Here whoever has the key agrees on the
//! Diffie-Hellman secret, and this is everything that follows from it, for both sides.

use super::{FileKey, wrap};
use crate::certain;
use crate::mac::{MacKey, expand_into};
use crate::secret::{Secret, SecretKey};

/// A point on P-256 as it is exchanged: uncompressed (SEC 1, 2.3.3).
pub(super) type Point = [u8; 65];

/// RFC 9180, 7.1 to 7.3.
const KEM: &[u8] = b"KEM\x00\x10";
const SUITE: &[u8] = b"HPKE\x00\x10\x00\x01\x00\x03";

/// What one message is encrypted with: a key and the nonce of the first message.
pub(super) struct Context {
    pub(super) key: SecretKey,
    pub(super) nonce: [u8; 12],
}

impl Context {
    /// Of the x coordinate both sides agreed on, the sender's point and the recipient's (RFC 9180, 4.1 and 5.1).
    pub(super) fn new(agreed: &SecretKey, sender: &Point, recipient: &Point, info: &[u8]) -> Context {
        let secret = extract(&[], KEM, "eae_prk", agreed.expose());
        let shared: SecretKey =
            expand(&secret, KEM, "shared_secret", &[sender.as_slice(), recipient].concat());
        let nothing = extract(&[], SUITE, "psk_id_hash", &[]);
        let info = extract(&[], SUITE, "info_hash", info);
        let context = [&[0], nothing.expose().as_slice(), info.expose().as_slice()].concat();
        let secret = extract(shared.expose(), SUITE, "secret", &[]);
        let nonce: Secret<[u8; 12]> = expand(&secret, SUITE, "base_nonce", &context);
        Context { key: expand(&secret, SUITE, "key", &context), nonce: *nonce.expose() }
    }

    pub(super) fn seal(&self, file_key: &FileKey) -> Vec<u8> {
        wrap::seal_with(&self.key, self.nonce, file_key)
    }

    pub(super) fn open(&self, body: [u8; 32]) -> Option<FileKey> {
        wrap::open_with(&self.key, self.nonce, body)
    }
}

fn extract(salt: &[u8], suite: &[u8], label: &str, input: &[u8]) -> SecretKey {
    Secret::new(MacKey::new(salt).tag_parts(&[b"HPKE-v1", suite, label.as_bytes(), input]))
}

fn expand<const N: usize>(secret: &SecretKey, suite: &[u8], label: &str, info: &[u8]) -> Secret<[u8; N]> {
    let mut out = Secret([0; N]);
    let length = certain(u16::try_from(N)).to_be_bytes();
    let info = [length.as_slice(), b"HPKE-v1", suite, label.as_bytes(), info];
    expand_into(secret.expose(), &info, &mut out.0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

    fn bytes<const N: usize>(text: &str) -> [u8; N] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    /// RFC 9180, A.5.1: the base mode of this very suite.
    #[test]
    fn the_vector_of_rfc_9180() {
        let sender = bytes(
            "04c07836a0206e04e31d8ae99bfd549380b072a1b1b82e563c935c095827824fc1559eac6fb9e3c70cd3193968994e7fe9781aa103f5b50e934b5b2f387e381291",
        );
        let recipient = bytes(
            "04a697bffde9405c992883c5c439d6cc358170b51af72812333b015621dc0f40bad9bb726f68a5c013806a790ec716ab8669f84f6b694596c2987cf35baba2a006",
        );
        let private: [u8; 32] = bytes("a4d1c55836aa30f9b3fbb6ac98d338c877c2867dd3a77396d13f68d3ab150d3b");
        let key = super::super::tag::private(&private).unwrap();
        let agreed = super::super::tag::agree(&key, &sender).unwrap();
        let context = Context::new(
            &agreed,
            &sender,
            &recipient,
            &hex::decode("4f6465206f6e2061204772656369616e2055726e").unwrap(),
        );
        assert_eq!(
            hex::encode(context.key.expose()),
            "a8f45490a92a3b04d1dbf6cf2c3939ad8bfc9bfcb97c04bffe116730c9dfe3fc"
        );
        assert_eq!(hex::encode(context.nonce), "726b4390ed2209809f58c693");
        let mut message = hex::decode("4265617574792069732074727574682c20747275746820626561757479").unwrap();
        let cipher = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, context.key.expose()).unwrap());
        let nonce = Nonce::assume_unique_for_key(context.nonce);
        cipher.seal_in_place_append_tag(nonce, Aad::from(b"Count-0"), &mut message).unwrap();
        assert_eq!(
            hex::encode(message),
            "6469c41c5c81d3aa85432531ecf6460ec945bde1eb428cb2fedf7a29f5a685b4ccb0d057f03ea2952a27bb458b"
        );
    }
}
