//! TOTP: one-time passwords by time (RFC 6238), made for others or checked for others.
//!
//! A key of another service is kept here and gives codes to who may read them; a key made here is handed to somebody
//! once, as an address and a barcode, and their codes are checked.

mod code;
mod key;
#[cfg(test)]
mod tests;

use super::named;
use crate::request::Operation;
use crate::route::{Backend, Field, Kind, Route, field};
use key::Key;

/// See the module.
pub static BACKEND: Backend = Backend {
    kind: "totp",
    about: "Makes and checks one-time passwords.",
    routes: &[ROUTES],
    ..Backend::EMPTY
};

const KEY: &[Field] = &[
    field("generate", Kind::Bool, "Make a key here, to check codes with."),
    field("exported", Kind::Bool, "Answer with the new key's address and barcode; yes by default."),
    field("key_size", Kind::Int, "Bytes of the new key; 20."),
    field("key", Kind::Text, "A key made elsewhere, in base 32."),
    field("url", Kind::Text, "A key made elsewhere, as its `otpauth://totp/...` address."),
    field("issuer", Kind::Text, "The organization; needed for a new key."),
    field("account_name", Kind::Text, "The account; needed for a new key."),
    field("period", Kind::Duration, "How long a code is right; 30 seconds."),
    field("algorithm", Kind::Text, "`SHA1`, which every application knows, `SHA256` or `SHA512`."),
    field("digits", Kind::Int, "Digits of a code: 6 or 8."),
    field("skew", Kind::Int, "Periods before and after the present whose codes count: 0 or 1."),
    field("qr_size", Kind::Int, "Pixels of the side of the barcode; none when 0."),
];

const ROUTES: &[Route] = &[
    Route {
        pattern: "keys",
        operations: &[(Operation::List, named::list::<Key>)],
        help: "Lists the keys.",
        ..Route::EMPTY
    },
    // As in Vault, making a key needs no other capability than changing it.
    Route {
        pattern: "keys/{name}",
        operations: &[
            (Operation::Read, named::read::<Key>),
            (Operation::Update, key::write),
            (Operation::Delete, key::delete),
        ],
        fields: KEY,
        help: "A key, never shown again.",
        ..Route::EMPTY
    },
    Route {
        pattern: "code/{name}",
        operations: &[(Operation::Read, code::make), (Operation::Update, code::check)],
        fields: &[field("code", Kind::Text, "The code to check.")],
        help: "Makes a code, and checks one.",
        ..Route::EMPTY
    },
];
