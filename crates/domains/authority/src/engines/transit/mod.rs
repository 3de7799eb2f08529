//! The transit engine: encryption, signatures and keyed hashes with keys that stay here.
//!
//! Texts, fields and messages are those of Vault's transit engine, so that its clients work unchanged, and
//! ciphertexts and signatures read each other's format. Where Vault answers 500 for what the caller could mend,
//! this answers 400: its clients repeat a 500.
//!
//! Absent, and refused or not routed: managed keys, certificates of keys, key agreement, CMAC, and what
//! [`keyward_crypto::keys`] lists. The first two versions of convergent encryption are not made and not read.

mod backup;
mod batch;
mod crypt;
mod export;
mod hmac;
mod import;
mod key;
mod keys;
mod sign;
pub(crate) mod tools;
pub(crate) mod wire;

use crate::context::Context;
use crate::refusal::Refusal;
use crate::route::{Backend, Route, Traits};

/// See the module.
pub static BACKEND: Backend = Backend {
    kind: "transit",
    about: "Encrypts, signs and hashes with named keys that never leave the authority unless allowed to.",
    routes: &[
        keys::ROUTES,
        crypt::ROUTES,
        sign::ROUTES,
        hmac::ROUTES,
        import::ROUTES,
        export::ROUTES,
        backup::ROUTES,
        tools::ROUTES,
    ],
    ..Backend::EMPTY
};

/// Making and importing RSA keys takes up to seconds, an RSA signature milliseconds.
const HEAVY: Traits = Traits { heavy: true, ..Route::EMPTY.traits };

/// The key's name from the path: word characters, with dots and dashes inside.
fn name(cx: &Context<'_, '_>) -> Result<String, Refusal> {
    checked_name(cx, cx.param("name"))
}

fn checked_name(cx: &Context<'_, '_>, name: &str) -> Result<String, Refusal> {
    match is_name(name) {
        true => Ok(name.to_owned()),
        false => Err(Refusal::NoRoute(cx.request.path.clone())),
    }
}

fn is_name(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.starts_with(word) && name.ends_with(word) && name.chars().all(|c| word(c) || c == '-' || c == '.')
}

#[cfg(test)]
mod tests;
