//! Carrying keys between key managers: a key wrapped by AES-KWP (RFC 5649) under a one-time AES key, which is
//! encrypted by RSA-OAEP in front of it. PKCS#11 calls this CKM_RSA_AES_KEY_WRAP.

use std::fmt;

use aws_lc_rs::key_wrap::{AES_128, AES_256, AesKek, KeyWrapPadded};
use keyward_core::Random;

use super::{Hash, Padding, RsaKey, UseError};
use crate::certain;
use crate::secret::{Secret, SecretBytes};

/// What AES-KWP adds at most: a block of integrity check, and padding to a multiple of 8 bytes.
const OVERHEAD: usize = 16;

/// Why a wrapped key cannot be unwrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnwrapError {
    /// Shorter than the encrypted one-time key alone.
    TooShort,
    /// The one-time key does not decrypt: another wrapping key or another hash function was used.
    OneTimeKey,
    /// The one-time key is neither an AES-128 nor an AES-256 key.
    OneTimeKeySize(usize),
    /// The key itself does not unwrap under the one-time key.
    Wrapped,
    /// The hash function is not available for OAEP, or only the public part of the wrapping key is known.
    Use(UseError),
}

impl fmt::Display for UnwrapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnwrapError::TooShort => f.write_str("provided ciphertext is too short"),
            UnwrapError::OneTimeKey => f.write_str(
                "failed to decrypt the ephemeral AES key: it was encrypted for another wrapping key, or with \
                 another hash_function",
            ),
            UnwrapError::OneTimeKeySize(bytes) => {
                write!(f, "the ephemeral AES key has {bytes} bytes: use AES-256 (32 bytes)")
            }
            UnwrapError::Wrapped => {
                f.write_str("failed to unwrap the key: it was not wrapped by AES-KWP under the ephemeral key")
            }
            UnwrapError::Use(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for UnwrapError {}

/// Wraps `key`, which must not be empty, so that the holder of `target` can unwrap it.
pub fn wrap_for_import(
    target: &RsaKey,
    hash: Hash,
    key: &[u8],
    random: &dyn Random,
) -> Result<Vec<u8>, UseError> {
    let one_time = Secret::<[u8; 32]>::random(random);
    let mut out = target.encrypt(Padding::Oaep(hash), one_time.expose())?;
    let mut wrapped = vec![0; key.len() + OVERHEAD];
    let kek = certain(AesKek::new(&AES_256, one_time.expose()));
    let wrapped = kek.wrap_with_padding(key, &mut wrapped).map_err(|_| UseError::Failed)?;
    out.extend_from_slice(wrapped);
    Ok(out)
}

/// Unwraps what [`wrap_for_import`] or another key manager wrapped for `own`.
pub fn unwrap_for_import(own: &RsaKey, hash: Hash, wrapped: &[u8]) -> Result<SecretBytes, UnwrapError> {
    let (one_time, wrapped) = wrapped.split_at_checked(own.size()).ok_or(UnwrapError::TooShort)?;
    let one_time = own.decrypt(Padding::Oaep(hash), one_time).map_err(|error| match error {
        UseError::Decrypt => UnwrapError::OneTimeKey,
        other => UnwrapError::Use(other),
    })?;
    let kek = match one_time.expose().len() {
        16 => AesKek::new(&AES_128, one_time.expose()),
        32 => AesKek::new(&AES_256, one_time.expose()),
        other => return Err(UnwrapError::OneTimeKeySize(other)),
    };
    let mut out = Secret::new(vec![0; wrapped.len()]);
    let length = certain(kek).unwrap_with_padding(wrapped, &mut out.0).map(|key| key.len());
    out.0.truncate(length.map_err(|_| UnwrapError::Wrapped)?);
    Ok(out)
}
