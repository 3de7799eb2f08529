//! Logging in, and renewing with the same certificate.

use super::super::named::{self, Named};
use super::super::pki::colons;
use super::config;
use super::crl::{self, Lists};
use super::entry::{AliasName, Entry, Shown, Trust};
use super::ocsp::{self, Finding};
use crate::context::Context;
use crate::mounts::Mount;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::response::{Login, Response};
use crate::token::{Terms, TokenEntry};
use keyward_crypto::x509::{Certificate, ChainError, client_chain};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) fn login(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = cx.fields().string("name")?.unwrap_or_default().to_lowercase();
    let client = shown_by(cx.request)?;
    let shown = Shown::of(&client)?;
    let mount = cx.mount.clone();
    let (name, trust) = matching(cx, &mount, &shown, &name)?;
    trust.entry.token.check_address(cx.request)?;
    let config = config::of(cx.txn, cx.mount)?;
    Ok(Response::login(answer(&trust.entry, name, &shown, config.alias_metadata)?))
}

/// The certificate of whoever asks.
fn shown_by(request: &Request) -> Result<Certificate, Refusal> {
    let Some(leaf) = request.certificates.first() else {
        return Err(Refusal::invalid("client certificate must be supplied: connect with TLS and show one"));
    };
    Certificate::read(leaf).map_err(|why| Refusal::invalid(format!("the client certificate: {why}")))
}

/// The first entry, or the one called `name`, that trusts the certificate, with its name.
fn matching(
    cx: &mut Context<'_, '_>,
    mount: &Mount,
    shown: &Shown<'_>,
    name: &str,
) -> Result<(String, Arc<Trust>), Refusal> {
    let directory = format!("{}{}", mount.prefix(), Entry::DIRECTORY);
    let names = match name {
        "" => cx.txn.list(&directory, "", usize::MAX)?,
        name => vec![name.to_owned()],
    };
    let mut lists = Lists::of(cx, mount)?;
    let mut best = Unfit::Chain(ChainError::Issuer);
    for name in names {
        let trust = cx.txn.built(&format!("{directory}{name}"), |plain| {
            let entry = serde_json::from_slice(plain).map_err(|_| Refusal::Corrupt(name.clone()))?;
            Trust::of(entry)
        })?;
        let Some(trust) = trust else { continue };
        match trusts(cx, &trust, shown, &mut lists)? {
            Ok(()) => return Ok((name, trust)),
            Err(why) if best == Unfit::Chain(ChainError::Issuer) => best = why,
            Err(_) => {}
        }
    }
    Err(Refusal::invalid(match best {
        Unfit::Chain(why) => format!("invalid certificate or no client certificate supplied: {why}"),
        Unfit::Revoked => "invalid certificate: it, or one of its chain, is revoked".to_owned(),
        Unfit::Untold(why) => {
            return Err(Refusal::denied(format!("whether the certificate is revoked cannot be told: {why}")));
        }
        Unfit::Constraint(what) => {
            format!("no chain matching all constraints could be found for this login certificate: {what}")
        }
    }))
}

/// Why an entry does not trust a certificate.
#[derive(PartialEq, Eq)]
enum Unfit {
    Chain(ChainError),
    Revoked,
    /// Nobody can say whether it is revoked: why, for the operator.
    Untold(String),
    /// By the name of the field alone: what the entry wants is not the client's to know.
    Constraint(&'static str),
}

/// Whether an entry trusts the certificate; else why not.
fn trusts(
    cx: &mut Context<'_, '_>,
    trust: &Trust,
    shown: &Shown<'_>,
    lists: &mut Lists,
) -> Result<Result<(), Unfit>, Refusal> {
    let now = cx.now.secs();
    let chain = match trust.pinned() {
        Some(pinned) if pinned.der() != shown.certificate.der() => {
            return Ok(Err(Unfit::Chain(ChainError::Issuer)));
        }
        Some(pinned) if !pinned.valid_at(now) => return Ok(Err(Unfit::Chain(ChainError::Time))),
        Some(pinned) => vec![pinned.der().to_vec()],
        None => match chain(trust, cx.request, now) {
            Ok(chain) => chain,
            Err(why) => return Ok(Err(Unfit::Chain(why))),
        },
    };
    // What costs nothing first: lists and servers are outside.
    if let Err(what) = trust.entry.allows(shown) {
        return Ok(Err(Unfit::Constraint(what)));
    }
    let links: Vec<Certificate> = chain.iter().filter_map(|der| Certificate::read(der).ok()).collect();
    if links.len() < chain.len() {
        return Ok(Err(Unfit::Chain(ChainError::Malformed)));
    }
    if lists.name_one_of(cx, &links)? {
        return Ok(Err(Unfit::Revoked));
    }
    Ok(match (&links[..], trust.entry.ocsp.enabled) {
        ([leaf, issuer, ..], true) => match ocsp::find(cx, &trust.entry.ocsp, leaf, issuer)? {
            Finding::Good => Ok(()),
            Finding::Revoked => Err(Unfit::Revoked),
            Finding::Untold(why) => Err(Unfit::Untold(why)),
        },
        _ => Ok(()),
    })
}

/// The chain to one of the trusted certificates; else the error that says most.
fn chain(trust: &Trust, request: &Request, now: u64) -> Result<Vec<Vec<u8>>, ChainError> {
    let mut best = ChainError::Issuer;
    for trusted in &trust.certificates {
        match client_chain(&request.certificates, trusted, now) {
            Ok(chain) => return Ok(chain),
            Err(ChainError::Issuer) => {}
            Err(why) => best = why,
        }
    }
    Err(best)
}

fn answer(entry: &Entry, name: String, shown: &Shown<'_>, alias_metadata: bool) -> Result<Login, Refusal> {
    let alias = match entry.alias_name {
        AliasName::CommonName => shown.common_name.clone(),
        AliasName::SpiffeId => shown.spiffe_id().unwrap_or_default().to_owned(),
    };
    if alias.is_empty() {
        return Err(Refusal::invalid(
            "the client certificate has no common name to be known by: give it one, or set alias_name_source=spiffe_id",
        ));
    }
    let mut metadata = entry.metadata(shown);
    metadata.extend(named_by(shown));
    metadata.insert("cert_name".to_owned(), name.clone());
    Ok(Login {
        alias,
        alias_metadata: if alias_metadata { metadata.clone() } else { BTreeMap::new() },
        metadata,
        display_name: match entry.display_name.as_str() {
            "" => name.clone(),
            display_name => display_name.to_owned(),
        },
        role: name,
        ..entry.token.login()
    })
}

/// What metadata say of the certificate.
fn named_by(shown: &Shown<'_>) -> BTreeMap<String, String> {
    let certificate = shown.certificate;
    let authority = certificate.authority_key_id().unwrap_or_default();
    let mut metadata = BTreeMap::from([
        ("common_name".to_owned(), shown.common_name.clone()),
        ("serial_number".to_owned(), crl::decimal(certificate.serial())),
        ("subject_key_id".to_owned(), colons(&certificate.key_id())),
        ("authority_key_id".to_owned(), colons(&authority)),
    ]);
    if let Some(id) = shown.spiffe_id() {
        metadata.insert("spiffe_id".to_owned(), id.to_owned());
    }
    metadata
}

/// The terms of the entry as it is now, for who shows a certificate like that of the login: for the same name, and
/// with the same key or from the same authority, so that a client may renew its certificate too.
pub(super) fn terms(cx: &mut Context<'_, '_>, mount: &Mount, token: &TokenEntry) -> Result<Terms, Refusal> {
    if !config::of(cx.txn, mount)?.disable_binding {
        let client = shown_by(cx.request)?;
        let shown = Shown::of(&client)?;
        matching(cx, mount, &shown, &token.login)?;
        let now = named_by(&shown);
        let same = |name: &str| token.metadata.get(name) == now.get(name);
        let by_key = same("subject_key_id");
        let by_authority =
            same("authority_key_id") && now.get("authority_key_id").is_some_and(|id| !id.is_empty());
        if !same("common_name") || !same("spiffe_id") || !(by_key || by_authority) {
            return Err(Refusal::invalid(
                "client identity during renewal not matching client identity used during login",
            ));
        }
    }
    named::terms::<Entry>(cx, mount, token)
}
