//! Revocation lists: those that an operator hands in, and those that are fetched from a URL.
//!
//! What is handed in is believed as it is: whoever may write here is trusted. What is fetched, perhaps over plain HTTP, must
//! be signed by the issuer of the certificates that it is about; that is known when one of them is shown, and so it is fetched
//! at logins: when half of its time is over, at most once a minute. Until its time is over the last one counts; then nobody
//! logs in with a certificate of that issuer, for nobody knows whether it is revoked.

use super::ocsp::is_url;
use crate::context::Context;
use crate::mounts::Mount;
use crate::outside::{Ask, Roots};
use crate::refusal::Refusal;
use crate::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_core::Timestamp;
use keyward_crypto::x509::{Certificate, Revoked, Subject, pem};
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const DIRECTORY: &str = "crl/";
/// Certificates on one list: their numbers are one entry of the store.
const MOST_REVOKED: usize = 8_000;
/// Lists of one mount that are fetched: a login asks for no more than it may.
const MOST_FETCHED: usize = 5;
/// Seconds between two attempts to fetch a list that is due.
const PAUSE: u64 = 60;
/// Seconds after which a list is fetched anew that does not say when the next one is made.
const ENDLESS: u64 = 3600;
/// Seconds after which a list is fetched anew however long its time is.
const LONGEST: u64 = 7 * 86_400;
/// How old the answer to a fetch may be: logins that come together fetch once.
const FRESH: Duration = Duration::from_secs(5);

/// A list, as it is stored. Bytes are in hexadecimal.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Stored {
    issuer: String,
    serials: BTreeSet<String>,
    /// None where it was handed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fetched: Option<Fetched>,
}

/// Where a list comes from, and how long it counts. Times are in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Fetched {
    url: String,
    /// Lists from before this do not count: an old one is not taken for a new one.
    this_update: u64,
    next_update: Option<u64>,
    /// When to fetch it anew.
    due: u64,
}

impl Fetched {
    /// When a list that `read` is of is to be fetched anew: halfway to its end, so that there is time for the next.
    fn of(url: String, read: &Revoked, now: u64) -> Fetched {
        let half = read.next_update.map(|next| next.saturating_sub(now) / 2);
        Fetched {
            url,
            this_update: read.this_update,
            next_update: read.next_update,
            due: now.saturating_add(half.unwrap_or(ENDLESS).clamp(1, LONGEST)),
        }
    }
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
    let cdp = stored.fetched.as_ref().map(|fetched| {
        let until = fetched.next_update.map(|next| Timestamp::from_secs(next).to_string());
        json!({ "url": fetched.url, "valid_until": until })
    });
    Response::data(&json!({ "serials": serials, "cdp": cdp }))
}

pub(super) fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let text = |name: &str| cx.fields().string(name).map(Option::unwrap_or_default);
    let (sent, url) = (text("crl")?, text("url")?);
    let stored = match (sent.is_empty(), url.is_empty()) {
        (false, true) => Stored::of(&handed(&sent)?)?,
        (true, false) => first(cx, url)?,
        _ => {
            return Err(Refusal::invalid(
                "one of crl, the list itself, and url, where it is fetched, must be set",
            ));
        }
    };
    let path = key(cx);
    cx.put_json(&path, &stored)?;
    Ok(Response::empty())
}

/// A list in PEM, or in DER as base64.
fn handed(sent: &str) -> Result<Revoked, Refusal> {
    let der = match pem::first(&[pem::CRL], sent) {
        Some(der) => der.to_vec(),
        None => STANDARD
            .decode(sent.split_whitespace().collect::<String>())
            .map_err(|_| Refusal::invalid("failed to parse CRL: write it in PEM, or in DER as base64"))?,
    };
    Revoked::read(&der).map_err(|why| Refusal::invalid(format!("failed to parse CRL: {why}")))
}

/// The list at `url`, which nobody has verified yet: the first login that needs it fetches it again.
fn first(cx: &mut Context<'_, '_>, url: String) -> Result<Stored, Refusal> {
    if !is_url(&url) {
        return Err(Refusal::invalid("url must begin with http:// or https://"));
    }
    let own = cx.param("name").to_lowercase();
    let mut others = 0;
    for name in cx.txn.list(&cx.key(DIRECTORY), "", usize::MAX)? {
        let known: Option<Arc<Stored>> = cx.built_json(&format!("{DIRECTORY}{name}"))?;
        others += usize::from(name != own && known.is_some_and(|known| known.fetched.is_some()));
    }
    if others >= MOST_FETCHED {
        return Err(Refusal::invalid(format!(
            "at most {MOST_FETCHED} lists of one mount are fetched by URL"
        )));
    }
    let der =
        fetch(cx, &url)?.map_err(|why| Refusal::invalid(format!("the list cannot be fetched: {why}")))?;
    let read = Revoked::read(&der).map_err(|why| Refusal::invalid(format!("failed to parse CRL: {why}")))?;
    let fetched = Fetched { due: 0, this_update: 0, ..Fetched::of(url, &read, cx.now.secs()) };
    Ok(Stored { fetched: Some(fetched), ..Stored::of(&read)? })
}

/// The list at `url` in DER, or why there is none, for the operator.
fn fetch(cx: &Context<'_, '_>, url: &str) -> Result<Result<Vec<u8>, String>, Refusal> {
    Ok(match cx.ask(Ask::get(url, Roots::System, FRESH))? {
        Ok(reply) if reply.status == 200 => {
            let text = std::str::from_utf8(&reply.body).ok();
            let der = text.and_then(|text| pem::first(&[pem::CRL], text)).map(|der| der.to_vec());
            Ok(der.unwrap_or_else(|| reply.body.to_vec()))
        }
        Ok(reply) => Err(format!("{url} answers with HTTP status {}", reply.status)),
        Err(why) => Err(why.clone()),
    })
}

impl Stored {
    fn of(read: &Revoked) -> Result<Stored, Refusal> {
        if read.serials.len() > MOST_REVOKED {
            return Err(Refusal::invalid(format!(
                "the list has {} certificates, and at most {MOST_REVOKED} can be kept: leave out those that have expired",
                read.serials.len()
            )));
        }
        Ok(Stored {
            issuer: hex::encode(read.issuer.der()),
            serials: read.serials.iter().map(hex::encode).collect(),
            fetched: None,
        })
    }
}

pub(super) fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = key(cx);
    cx.delete(&path);
    Ok(Response::empty())
}

/// What is revoked, of all lists of a mount: where each is stored, and what it says.
pub(super) struct Lists(Vec<(String, Arc<Stored>)>);

impl Lists {
    pub(super) fn of(cx: &mut Context<'_, '_>, mount: &Mount) -> Result<Lists, Refusal> {
        let directory = format!("{}{DIRECTORY}", mount.prefix());
        let mut lists = Vec::new();
        for name in cx.txn.list(&directory, "", usize::MAX)? {
            let path = format!("{directory}{name}");
            lists.extend(cx.txn.built_json(&path)?.map(|list| (path, list)));
        }
        Ok(Lists(lists))
    }

    /// Whether a list of its issuer names a certificate of `chain`, which begins with the one that is shown. Lists of these
    /// issuers that are due are fetched, and kept.
    pub(super) fn name_one_of(
        &mut self,
        cx: &mut Context<'_, '_>,
        chain: &[Certificate],
    ) -> Result<bool, Refusal> {
        for link in chain {
            let issuer = hex::encode(Subject::der(link.issuer()));
            let serial = hex::encode(link.serial());
            let signer = chain.iter().find(|above| above.subject() == link.issuer());
            for (path, list) in self.0.iter_mut().filter(|(_, list)| list.issuer == issuer) {
                if let Some(fetched) = &list.fetched {
                    let renewed = renewed(cx, path, list, fetched, signer)?;
                    if let Some(renewed) = renewed {
                        cx.txn.put_json(path, &renewed)?;
                        *list = Arc::new(renewed);
                    }
                }
                if list.serials.contains(&serial) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// A list as it is to be kept from now on, if that changes. Refuses the login where its time is over and there is no other.
fn renewed(
    cx: &Context<'_, '_>,
    path: &str,
    list: &Stored,
    fetched: &Fetched,
    signer: Option<&Certificate>,
) -> Result<Option<Stored>, Refusal> {
    let now = cx.now.secs();
    if now < fetched.due {
        return Ok(None);
    }
    let taken = fetch(cx, &fetched.url)?.and_then(|der| {
        let signer = signer.ok_or("the certificate of its issuer is not in the client's chain")?;
        let wrong = |why: keyward_crypto::x509::Error| format!("{}: {why}", fetched.url);
        Revoked::verify(&der, signer.public()).map_err(wrong)?;
        let read = Revoked::read(&der).map_err(wrong)?;
        let over = read.next_update.is_some_and(|next| next < now);
        match read.issuer == *signer.subject() && !over && read.this_update >= fetched.this_update {
            true => Ok(read),
            false => Err(format!("{} is of another issuer, or older than it may be", fetched.url)),
        }
    });
    match taken {
        Ok(read) => {
            let fetched = Some(Fetched::of(fetched.url.clone(), &read, now));
            Ok(Some(Stored { fetched, ..Stored::of(&read)? }))
        }
        // Not verified yet, or over.
        Err(why) if fetched.due == 0 || fetched.next_update.is_some_and(|next| next < now) => {
            let name = path.rsplit('/').next().unwrap_or_default();
            Err(Refusal::denied(format!("the revocation list crls/{name} does not count any more: {why}")))
        }
        Err(_) => {
            let again = now.saturating_add(PAUSE).min(fetched.next_update.unwrap_or(u64::MAX));
            let fetched = Some(Fetched { due: again, ..fetched.clone() });
            Ok(Some(Stored { fetched, ..list.clone() }))
        }
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
