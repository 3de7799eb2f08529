//! Private keys in tokens, by PKCS#11 (OASIS, versions 2.40 and 3): smart cards, HSMs, SoftHSM, and TPMs behind tpm2-pkcs11.
//!
//! A key is made in the token and never leaves it. P-256 keys do `CKM_ECDH1_DERIVE`, and are age's tagged recipients; RSA
//! keys do `CKM_RSA_X_509`, and are its `ssh-rsa` recipients, for tokens that cannot agree on secrets, as TPMs behind
//! tpm2-pkcs11 before 1.10. Stock age seals for both.
//!
//! # Threats
//! A module is a library of somebody else's that is loaded into this process, with all its rights: only a whole path is
//! taken, never a name that the loader would search for. Whoever has the token and its PIN opens what was sealed for its keys,
//! until the token locks itself.

mod error;
mod module;
mod reference;
mod token;

pub use error::TokenError;
pub use module::{Module, TokenInfo};
pub use reference::{PLUGIN, Reference};
pub use token::{Found, KeyKind, Token};

use keyward_crypto::secret::SecretString;

/// Yields a PIN for the question, or says why there is none ([`TokenError::NoPin`]).
pub type AskPin<'a> = &'a mut dyn FnMut(&str) -> Result<SecretString, TokenError>;
