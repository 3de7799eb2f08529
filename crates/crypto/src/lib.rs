//! Bytes in, bytes out: secrets in memory, authenticated encryption, keyed hashes, one-time passwords, Shamir shares,
//! X.509, OpenSSH's keys and certificates, age files.
//!
//! Everything here composes aws-lc-rs; the one algorithm written here is Shamir's secret sharing
//! ([`shamir`]), which that library does not have; of HPKE and OAEP what remains to be done where a token has the private key
//! ([`age::held`]) is written here too. Compressed points of P-256, XChaCha20-Poly1305, scrypt, ML-KEM-768 with X25519 and a change of an
//! Ed25519 point's form come from the RustCrypto project, dalek and `hpke`.
//!
//! # When the library itself fails
//! Some operations can fail only when memory cannot be had or the library's self-test does not pass. There is
//! no answer a caller could give then, and carrying on could release an unencrypted or predictable value, so
//! the process aborts.

pub mod aead;
pub mod age;
pub mod bech32;
pub mod keys;
pub mod mac;
pub mod otp;
pub mod scram;
pub mod secret;
pub mod shamir;
pub mod ssh;
pub mod system;
pub mod x509;

pub use aead::{AeadKey, OpenError};
pub use mac::{MacKey, Sha256, derive, sha256};
pub use secret::{Secret, same};
pub use system::SystemRandom;

/// The value of an operation that fails only when the cryptographic library is broken.
pub(crate) fn certain<T, E>(outcome: Result<T, E>) -> T {
    outcome.unwrap_or_else(|_| std::process::abort())
}
