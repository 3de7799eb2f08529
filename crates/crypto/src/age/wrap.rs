//! What several kinds of recipient share: X25519 (RFC 7748) and the wrapping of a file key.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};

use super::FileKey;
use crate::certain;
use crate::secret::Secret;

/// A private key by its 32 bytes; every 32 bytes are one.
pub(super) fn private(bytes: &[u8; 32]) -> PrivateKey {
    certain(PrivateKey::from_private_key(&X25519, bytes))
}

pub(super) fn public(key: &PrivateKey) -> [u8; 32] {
    certain(certain(key.compute_public_key()).as_ref().try_into())
}

/// The shared secret; none when the point is of low order, and the secret all zeros.
pub(super) fn agree(key: &PrivateKey, point: &[u8; 32]) -> Option<Secret<[u8; 32]>> {
    let peer = UnparsedPublicKey::new(&X25519, point);
    let shared = agreement::agree(key, peer, (), |shared| {
        Ok(Secret::new(<[u8; 32]>::try_from(shared).map_err(|_| ())?))
    });
    shared.ok().filter(|shared| !shared.is(&[0; 32]))
}

/// Whether multiplying by `point` forgets the scalar. Every clamped scalar is a multiple of the cofactor, so any one
/// tells.
pub(super) fn is_low_order(point: &[u8; 32]) -> bool {
    agree(&private(&[1; 32]), point).is_none()
}

fn cipher(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(certain(UnboundKey::new(&CHACHA20_POLY1305, key)))
}

/// The file key under a key that is used this once, hence the constant nonce.
pub(super) fn seal(key: &Secret<[u8; 32]>, file_key: &FileKey) -> Vec<u8> {
    let mut body = file_key.expose().to_vec();
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    certain(cipher(key.expose()).seal_in_place_append_tag(nonce, Aad::empty(), &mut body));
    body
}

/// The file key, when `key` wrapped it.
pub(super) fn open(key: &Secret<[u8; 32]>, mut body: [u8; 32]) -> Option<FileKey> {
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    let opened = cipher(key.expose()).open_in_place(nonce, Aad::empty(), &mut body);
    let file_key = opened.ok().and_then(|plain| <[u8; 16]>::try_from(&*plain).ok()).map(Secret::new);
    zeroize::Zeroize::zeroize(&mut body);
    file_key
}
