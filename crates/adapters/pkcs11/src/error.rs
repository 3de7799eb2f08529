//! What can be wrong with a token, and what to do.

use std::fmt;
use std::path::PathBuf;

use cryptoki::error::{Error, RvError};
use keyward_crypto::age;

/// Why a token did not do what it was asked. Holds no PIN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// The module's file is not there, or is none.
    Module {
        /// The file.
        path: PathBuf,
        /// What the loader or the module says.
        why: String,
    },
    /// No token has the label.
    Absent {
        /// The label.
        token: String,
        /// The labels that are there.
        present: Vec<String>,
    },
    /// Several tokens have the label.
    Ambiguous(String),
    /// The token has no PIN yet.
    NoUserPin(String),
    /// There is no PIN to be had; the text says why, and what to do.
    NoPin(String),
    /// The PIN is not the token's.
    WrongPin {
        /// The label.
        token: String,
        /// Whether the next wrong PIN locks it.
        last_try: bool,
    },
    /// Too many wrong PINs.
    Locked(String),
    /// The token has no such key.
    NoKey {
        /// The token's label.
        token: String,
        /// The key's id in hexadecimal.
        id: String,
    },
    /// There is a key of that id already.
    Exists {
        /// The token's label.
        token: String,
        /// The key's id in hexadecimal.
        id: String,
    },
    /// The key of that id is not the one that was sealed for.
    OtherKey {
        /// The token's label.
        token: String,
        /// The key's id in hexadecimal.
        id: String,
    },
    /// A key that the token would give out, or that cannot be used; the text says which.
    Unfit(String),
    /// An identity that cannot be read.
    Identity,
    /// The token refused something, for a reason of its own.
    Refused {
        /// The token's label, or the module's path.
        who: String,
        /// What it was asked.
        what: &'static str,
        /// What it says.
        why: String,
    },
}

impl TokenError {
    /// What a call that failed is to be told as.
    pub(crate) fn refused(who: &str, what: &'static str) -> impl FnOnce(Error) -> TokenError {
        let who = who.to_owned();
        move |error| match error {
            Error::Pkcs11(RvError::TokenNotPresent | RvError::DeviceRemoved, _) => {
                TokenError::Absent { token: who, present: Vec::new() }
            }
            Error::Pkcs11(RvError::PinLocked, _) => TokenError::Locked(who),
            Error::Pkcs11(code, _) => {
                TokenError::Refused { who, what, why: format!("CKR_{}", spelled(&code)) }
            }
            other => TokenError::Refused { who, what, why: other.to_string() },
        }
    }
}

/// The name of a code as the standard writes it, from `DeviceError` to `DEVICE_ERROR`.
fn spelled(code: &RvError) -> String {
    let mut out = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(letter.to_ascii_uppercase());
    }
    out
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenError::Module { path, why } => write!(
                f,
                "the PKCS#11 module {} cannot be used: {why}. Install the token's software, or name the module's whole path \
                 where it is on this machine by KEYWARD_PKCS11_MODULE",
                path.display()
            ),
            TokenError::Absent { token, present } if present.is_empty() => {
                write!(f, "there is no token {token}, nor any other: plug it in, and see that its reader or service runs")
            }
            TokenError::Absent { token, present } => {
                write!(f, "there is no token {token}: plug it in; there are {}", present.join(", "))
            }
            TokenError::Ambiguous(token) => {
                write!(f, "several tokens are called {token}: take out all but the one that is meant")
            }
            TokenError::NoUserPin(token) => {
                write!(f, "token {token} has no user PIN yet: set one with its own tool, such as pkcs11-tool --init-pin")
            }
            TokenError::NoPin(why) => f.write_str(why),
            TokenError::WrongPin { token, last_try: false } => write!(
                f,
                "that is not the PIN of token {token}: try again with the right one, for a few wrong ones lock it"
            ),
            TokenError::WrongPin { token, last_try: true } => write!(
                f,
                "that is not the PIN of token {token}, and the next wrong one locks it: look the PIN up before another try"
            ),
            TokenError::Locked(token) => write!(
                f,
                "token {token} is locked after too many wrong PINs: its security officer resets the PIN, with pkcs11-tool \
                 --init-pin or the maker's tool; a TPM also forgets wrong tries after a while. Meanwhile use another identity"
            ),
            TokenError::NoKey { token, id } => write!(
                f,
                "token {token} has no key {id}: the key was removed, or this is another token of that name. `keyward pkcs11 \
                 list` shows what is there; what was sealed for a lost key opens by another recipient alone"
            ),
            TokenError::Exists { token, id } => {
                write!(f, "token {token} has a key {id} already, and it is not replaced: choose another --id")
            }
            TokenError::OtherKey { token, id } => write!(
                f,
                "key {id} in token {token} is not the one this identity was made for: use the token that has it, or write the \
                 identity of this one with `keyward pkcs11 identity`"
            ),
            TokenError::Unfit(why) => f.write_str(why),
            TokenError::Identity => f.write_str(
                "the identity of a token's key is damaged, or of a newer program: write it anew with `keyward pkcs11 identity`",
            ),
            TokenError::Refused { who, what, why } => write!(f, "{who} refused to {what}: {why}"),
        }
    }
}

impl std::error::Error for TokenError {}

impl From<TokenError> for age::Error {
    fn from(error: TokenError) -> age::Error {
        age::Error::Plugin(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_spelled_as_the_standard_does() {
        assert_eq!(spelled(&RvError::DeviceError), "DEVICE_ERROR");
        assert_eq!(spelled(&RvError::MechanismInvalid), "MECHANISM_INVALID");
    }
}
