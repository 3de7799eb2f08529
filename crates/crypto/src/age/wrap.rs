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

/// Whether multiplying by `point` forgets the scalar: the seven points of low order that a clamped scalar takes to zero,
/// with those that are not reduced (<https://cr.yp.to/ecdh.html#validate>). Points are public, so time may tell them.
pub(super) fn is_low_order(point: &[u8; 32]) -> bool {
    const EIGHTH: [[u8; 32]; 2] = [
        [
            0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a,
            0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
        ],
        [
            0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b,
            0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
        ],
    ];
    // The highest bit does not count (RFC 7748, 5).
    let mut masked = *point;
    masked[31] &= 0x7f;
    let [first, middle @ .., last] = masked;
    // 0 and 1; and p - 1, p and p + 1, where p is 2^255 - 19.
    let small = first <= 1 && middle == [0; 30] && last == 0;
    let large = (0xec..=0xee).contains(&first) && middle == [0xff; 30] && last == 0x7f;
    small || large || EIGHTH.contains(&masked)
}

fn cipher(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(certain(UnboundKey::new(&CHACHA20_POLY1305, key)))
}

/// The file key under a key that is used this once, hence the constant nonce.
pub(super) fn seal(key: &Secret<[u8; 32]>, file_key: &FileKey) -> Vec<u8> {
    seal_with(key, [0; 12], file_key)
}

/// The file key, when `key` wrapped it.
pub(super) fn open(key: &Secret<[u8; 32]>, body: [u8; 32]) -> Option<FileKey> {
    open_with(key, [0; 12], body)
}

/// As [`seal`], with a nonce that was derived as the key was.
pub(super) fn seal_with(key: &Secret<[u8; 32]>, nonce: [u8; 12], file_key: &FileKey) -> Vec<u8> {
    let mut body = file_key.expose().to_vec();
    let nonce = Nonce::assume_unique_for_key(nonce);
    certain(cipher(key.expose()).seal_in_place_append_tag(nonce, Aad::empty(), &mut body));
    body
}

/// As [`open`], with a nonce that was derived as the key was.
pub(super) fn open_with(key: &Secret<[u8; 32]>, nonce: [u8; 12], mut body: [u8; 32]) -> Option<FileKey> {
    let nonce = Nonce::assume_unique_for_key(nonce);
    let opened = cipher(key.expose()).open_in_place(nonce, Aad::empty(), &mut body);
    let file_key = opened.ok().and_then(|plain| <[u8; 16]>::try_from(&*plain).ok()).map(Secret::new);
    zeroize::Zeroize::zeroize(&mut body);
    file_key
}
