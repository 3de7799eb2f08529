//! The PKI engine: authorities, and certificates under the rules of roles.
//!
//! Paths, fields and messages are those of Vault's PKI engine, so that its clients work unchanged. Where Vault
//! answers 500 for what the caller could mend, this answers 400: its clients repeat a 500.
//!
//! A revocation list is never stored: what is stored is who was revoked, in order, and which of them the list of
//! now shows. The list is made of that and signed when somebody fetches it, once for each change, so that a
//! revocation costs the same however many came before.
//!
//! Absent, and refused or not routed: managed keys, P-224, host names that are not ASCII (write
//! them as `xn--...`).

mod acme;
mod authority;
mod bundle;
mod cel;
mod config;
mod crl;
mod detailed;
mod fetch;
mod import;
mod intermediate;
mod issue;
mod issuers;
mod keys;
mod leased;
mod lists;
mod names;
mod ocsp;
mod params;
mod revoke;
mod role;
mod roles;
mod roots;
mod sign;
mod table;
pub(crate) mod tidy;
mod unified;
mod urls;
mod uses;
mod wanted;

use crate::context::Context;
use crate::refusal::Refusal;
use crate::route::{Backend, Route, Traits};
use keyward_core::random;
use keyward_crypto::x509;

/// See the module.
pub static BACKEND: Backend = Backend {
    kind: "pki",
    about: "Issues, signs and revokes X.509 certificates with authorities whose keys stay here.",
    routes: &[
        roles::ROUTES,
        cel::ROLES,
        cel::ISSUE,
        issue::ROUTES,
        sign::ROUTES,
        roots::ROUTES,
        intermediate::ROUTES,
        crl::ROUTES,
        lists::ROUTES,
        issuers::ROUTES,
        import::ROUTES,
        keys::ROUTES,
        config::ROUTES,
        revoke::ROUTES,
        ocsp::ROUTES,
        tidy::ROUTES,
        unified::ROUTES,
        detailed::ROUTES,
        fetch::ROUTES,
        acme::CONFIG_ROUTES,
        acme::EAB_ROUTES,
        acme::ROUTES,
        acme::OF_ROLE,
        acme::OF_ISSUER,
        acme::OF_ISSUER_AND_ROLE,
    ],
    leases: Some(leased::OPS),
    journal: Some(acme::JOURNAL),
    ..Backend::EMPTY
};

/// Making RSA keys takes up to seconds, an RSA signature milliseconds.
const HEAVY: Traits = Traits { heavy: true, ..Route::EMPTY.traits };
/// For everybody: what certificates say is no secret, and who checks one has no token.
const OPEN: Traits = Traits { open: true, ..Route::EMPTY.traits };
/// For operators.
const SUDO: Traits = Traits { sudo: true, heavy: true, ..Route::EMPTY.traits };

/// What the X.509 code refuses is the caller's to mend.
fn refuse(why: x509::Error) -> Refusal {
    match why {
        x509::Error::Use(why) => Refusal::Internal(format!("a signature could not be made: {why}")),
        other => Refusal::invalid(other.to_string()),
    }
}

/// Seconds since 1970.
fn now(cx: &Context<'_, '_>) -> u64 {
    cx.now.secs()
}

/// A serial number of 158 random bits in 20 bytes: positive, and never shorter.
fn new_serial(cx: &Context<'_, '_>) -> [u8; 20] {
    let mut serial: [u8; 20] = random::bytes(cx.random());
    serial[0] = serial[0] & 0x3f | 0x40;
    serial
}

/// Bytes as hexadecimal with colons between, as Vault writes serial numbers and key identifiers.
pub(super) fn colons(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(bytes.len() * 3);
    for (at, byte) in bytes.iter().enumerate() {
        if at > 0 {
            out.push(':');
        }
        for digit in [byte >> 4, byte & 15] {
            out.push(char::from(DIGITS[usize::from(digit)]));
        }
    }
    out
}

/// A serial number as clients write it, with colons, hyphens or nothing between: in the form it is stored under.
fn serial(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| !matches!(c, ':' | '-')).collect();
    let bytes = hex::decode(digits.to_ascii_lowercase()).ok()?;
    let first = bytes.iter().position(|byte| *byte != 0)?;
    (bytes.len() <= 32).then(|| colons(&bytes[first..]))
}

/// Where what the path names is kept below `folder`.
fn named(cx: &Context<'_, '_>, folder: &str) -> Result<String, Refusal> {
    match is_name(cx.param("name")) {
        true => Ok(format!("{folder}{}", cx.param("name"))),
        false => Err(Refusal::NoRoute(cx.request.path.clone())),
    }
}

/// A name of an issuer, a key or a role: word characters, with dots and dashes inside.
fn is_name(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.len() <= 256
        && name.starts_with(word)
        && name.ends_with(word)
        && name.chars().all(|c| word(c) || c == '-' || c == '.')
}

#[cfg(test)]
mod tests;
