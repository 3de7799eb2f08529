//! Revocation lists that an operator hands in. They are believed as they are: whoever may write here is trusted.

use crate::context::Context;
use crate::mounts::Mount;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::txn::Txn;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_crypto::x509::{Certificate, Revoked, Subject, pem};
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use std::collections::BTreeSet;
use std::sync::Arc;

const DIRECTORY: &str = "crl/";
/// Certificates on one list: their numbers are one entry of the store.
const MOST_REVOKED: usize = 8_000;

/// A list, as it is stored. Bytes are in hexadecimal.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Stored {
    issuer: String,
    serials: BTreeSet<String>,
}

fn key(cx: &Context<'_, '_>) -> String {
    format!("{DIRECTORY}{}", cx.param("name").to_lowercase())
}

pub(super) fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Response::keys(&cx.list(DIRECTORY)?)
}

pub(super) fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = key(cx);
    let stored: Arc<Stored> = cx.built_json(&path)?.ok_or(Refusal::missing())?;
    let number = |serial: &String| (decimal(&hex::decode(serial).unwrap_or_default()), json!({}));
    let serials: Map<_, _> = stored.serials.iter().map(number).collect();
    Response::data(&json!({ "serials": serials, "cdp": null }))
}

pub(super) fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    if cx.fields().string("url")?.is_some_and(|url| !url.is_empty()) {
        return Err(Refusal::invalid(
            "url: revocation lists are not fetched; write the list itself as crl, and again when it changes",
        ));
    }
    let sent = cx.fields().required("crl")?;
    let der = match pem::first(&[pem::CRL], &sent) {
        Some(der) => der.to_vec(),
        None => STANDARD
            .decode(sent.split_whitespace().collect::<String>())
            .map_err(|_| Refusal::invalid("failed to parse CRL: write it in PEM, or in DER as base64"))?,
    };
    let read = Revoked::read(&der).map_err(|why| Refusal::invalid(format!("failed to parse CRL: {why}")))?;
    if read.serials.len() > MOST_REVOKED {
        return Err(Refusal::invalid(format!(
            "the list has {} certificates, and at most {MOST_REVOKED} can be kept: leave out those that have expired",
            read.serials.len()
        )));
    }
    let stored = Stored {
        issuer: hex::encode(read.issuer.der()),
        serials: read.serials.iter().map(hex::encode).collect(),
    };
    let path = key(cx);
    cx.put_json(&path, &stored)?;
    Ok(Response::empty())
}

pub(super) fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = key(cx);
    cx.delete(&path);
    Ok(Response::empty())
}

/// What is revoked, of all lists of a mount.
pub(super) struct Lists(Vec<Arc<Stored>>);

impl Lists {
    pub(super) fn of(txn: &mut Txn<'_>, mount: &Mount) -> Result<Lists, Refusal> {
        let directory = format!("{}{DIRECTORY}", mount.prefix());
        let names = txn.list(&directory, "", usize::MAX)?;
        let lists = names.iter().map(|name| txn.built_json(&format!("{directory}{name}")));
        Ok(Lists(lists.filter_map(Result::transpose).collect::<Result<_, _>>()?))
    }

    /// Whether a list of its issuer names the certificate.
    pub(super) fn have(&self, certificate: &Certificate) -> bool {
        let issuer = hex::encode(Subject::der(certificate.issuer()));
        let serial = hex::encode(certificate.serial());
        self.0.iter().any(|list| list.issuer == issuer && list.serials.contains(&serial))
    }
}

/// A number, big endian, as people write it.
pub(super) fn decimal(bytes: &[u8]) -> String {
    let mut digits = vec![0u8];
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            carry += u32::from(*digit) * 256;
            *digit = u8::try_from(carry % 10).unwrap_or(0);
            carry /= 10;
        }
        while carry > 0 {
            digits.push(u8::try_from(carry % 10).unwrap_or(0));
            carry /= 10;
        }
    }
    digits.iter().rev().map(|digit| char::from(b'0' + digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_tens() {
        for (bytes, wanted) in [
            (&[][..], "0"),
            (&[0], "0"),
            (&[9], "9"),
            (&[1, 0], "256"),
            (&[0xff; 8], "18446744073709551615"),
            (&[1, 0, 0, 0, 0, 0, 0, 0, 0], "18446744073709551616"),
        ] {
            assert_eq!(decimal(bytes), wanted);
        }
    }

    proptest::proptest! {
        #[test]
        fn decimal_agrees_with_the_machine(number: u128) {
            assert_eq!(decimal(&number.to_be_bytes()), number.to_string());
        }
    }
}
