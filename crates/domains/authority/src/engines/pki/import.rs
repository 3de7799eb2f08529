//! Taking in certificates and keys made elsewhere.

use super::params;
use super::table::{self, Config, Table};
use super::{HEAVY, refuse, roots};
use crate::context::Context;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Handler, Kind, Route, field};
use keyward_core::random;
use keyward_crypto::keys::{Key, KeyType};
use keyward_crypto::x509::{Certificate, PublicKey, pem};
use serde_json::{Map, Value, json};

const BUNDLE: &[Field] = &[
    field("pem_bundle", Kind::Text, "Certificates and keys in PEM."),
    field("certificate", Kind::Text, "The same without keys."),
];
const CERTIFICATE: &[Field] = &[field("certificate", Kind::Text, "The certificate and its chain in PEM.")];

const fn takes(
    pattern: &'static str,
    operations: &'static [(Operation, Handler)],
    fields: &'static [Field],
    help: &'static str,
) -> Route {
    Route { pattern, operations, exists: None, fields, traits: HEAVY, help }
}

pub(super) const ROUTES: &[Route] = &[
    takes("issuers/import/cert", &[(Operation::Update, certificates)], BUNDLE, "Takes in issuers."),
    takes("issuers/import/bundle", &[(Operation::Update, bundle)], BUNDLE, "Takes in issuers and keys."),
    takes("config/ca", &[(Operation::Update, bundle)], BUNDLE, "Takes in issuers and keys."),
    takes(
        "intermediate/set-signed",
        &[(Operation::Update, set_signed)],
        CERTIFICATE,
        "Takes in the certificate of an authority whose key was made here.",
    ),
];

fn certificates(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    take_in(cx, false)
}

fn bundle(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let keys = !cx.fields().has("certificate");
    take_in(cx, keys)
}

fn set_signed(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    if cx.fields().string("certificate")?.unwrap_or_default().is_empty() {
        return Err(Refusal::invalid("no certificate provided in the \"certificate\" parameter"));
    }
    take_in(cx, false)
}

/// What a bundle holds.
struct Contents {
    certificates: Vec<Certificate>,
    keys: Vec<(KeyType, Key, PublicKey)>,
}

fn read(cx: &Context<'_, '_>, keys_allowed: bool) -> Result<Contents, Refusal> {
    let (bundle, single) = (cx.fields().string("pem_bundle")?, cx.fields().string("certificate")?);
    let text = match (bundle.filter(|text| !text.is_empty()), single.filter(|text| !text.is_empty())) {
        (Some(_), Some(_)) => {
            return Err(Refusal::invalid("'pem_bundle' and 'certificate' parameters were both provided"));
        }
        (None, None) => {
            return Err(Refusal::invalid("'pem_bundle' and 'certificate' parameters were empty"));
        }
        (Some(text), None) | (None, Some(text)) => zeroize::Zeroizing::new(text),
    };
    let blocks = pem::blocks(&text).filter(|blocks| !blocks.is_empty()).ok_or_else(|| {
        Refusal::invalid("provided data is no PEM; perhaps a path was passed to the API rather than the contents of a PEM file")
    })?;
    let mut contents = Contents { certificates: Vec::new(), keys: Vec::new() };
    for (at, block) in blocks.iter().enumerate() {
        match block.label.as_str() {
            "CERTIFICATE" | "X509 CERTIFICATE" => {
                let read = Certificate::read(&block.der);
                contents.certificates.push(read.map_err(|why| {
                    Refusal::invalid(format!("Error parsing issuer {at}: {}", refuse(why)))
                })?);
            }
            // Beside keys and certificates, tools write lists and the parameters of curves.
            "CRL" | "X509 CRL" | "EC PARAMETERS" | "EC PARAMS" => {}
            _ if !keys_allowed => {
                return Err(Refusal::invalid(
                    "private keys found in the PEM bundle but not allowed by the path; use /issuers/import/bundle",
                ));
            }
            _ => contents.keys.push(private(&block.der, at)?),
        }
    }
    Ok(contents)
}

fn private(der: &[u8], at: usize) -> Result<(KeyType, Key, PublicKey), Refusal> {
    let (kind, key) =
        Key::import_der(der).map_err(|why| Refusal::invalid(format!("Error parsing key {at}: {why}")))?;
    let public = PublicKey::of(&key).ok_or_else(|| {
        Refusal::invalid(format!("Error parsing key {at}: keys of this type sign no certificates"))
    })?;
    Ok((kind, key, public))
}

fn take_in(cx: &mut Context<'_, '_>, keys_allowed: bool) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    let contents = read(cx, keys_allowed)?;
    if let Some(leaf) = contents.certificates.iter().find(|certificate| !certificate.is_authority()) {
        return Err(Refusal::invalid(format!(
            "unable to import certificate {}: it is not marked as CA",
            super::colons(leaf.serial())
        )));
    }
    table::make_room(&table, contents.certificates.len() + contents.keys.len())?;
    let mut config = table.config.clone();
    let (new_keys, old_keys, known) = keep_keys(cx, &table, &mut config, &contents)?;
    let (mut mapping, mut new, mut old) = (Map::new(), Vec::new(), Vec::new());
    for certificate in &contents.certificates {
        let key =
            known.iter().find(|(public, _)| public == certificate.public()).map_or("", |(_, id)| id.as_str());
        let there = table.issuers.iter().find(|issuer| issuer.certificate.der() == certificate.der());
        let id = match there {
            Some(issuer) => {
                old.push(issuer.entry.id.clone());
                issuer.entry.id.clone()
            }
            None => {
                let entry = table::new_issuer(cx, "", certificate);
                table::put_issuer(cx, &entry)?;
                if !key.is_empty() && (config.default_issuer.is_empty() || config.default_follows_latest) {
                    config.default_issuer.clone_from(&entry.id);
                }
                new.push(entry.id.clone());
                entry.id
            }
        };
        mapping.insert(id, Value::from(key));
    }
    if config.default_issuer.is_empty()
        && let Some(only) = new.first()
    {
        config.default_issuer.clone_from(only);
    }
    if !new.is_empty() || !new_keys.is_empty() {
        table::put_config(cx, &config)?;
    }
    let list = |ids: Vec<String>| if ids.is_empty() { Value::Null } else { json!(ids) };
    let keyless = mapping.get(&config.default_issuer).is_some_and(|key| key.as_str() == Some(""));
    let response = Response::data(&json!({
        "mapping": mapping, "imported_keys": list(new_keys), "imported_issuers": list(new),
        "existing_keys": list(old_keys), "existing_issuers": list(old),
    }))?;
    let response = match contents.certificates.first() {
        Some(first) => roots::advised(response, &table, first),
        None => response,
    };
    Ok(match keyless {
        true => response.warn(
            "The default issuer has no key associated with it. Some operations like issuing certificates and signing \
             CRLs will be unavailable with the requested default issuer until a key is imported or the default \
             issuer is changed.",
        ),
        false => response,
    })
}

/// New keys, keys that were here already, and all keys by their public part.
type Keys = (Vec<String>, Vec<String>, Vec<(PublicKey, String)>);

fn keep_keys(
    cx: &mut Context<'_, '_>,
    table: &Table,
    config: &mut Config,
    contents: &Contents,
) -> Result<Keys, Refusal> {
    let mut known: Vec<(PublicKey, String)> =
        table.keys.iter().map(|key| (key.public.clone(), key.id.clone())).collect();
    let (mut new, mut old) = (Vec::new(), Vec::new());
    for (kind, key, public) in &contents.keys {
        if let Some((_, id)) = known.iter().find(|(there, _)| there == public) {
            old.push(id.clone());
            continue;
        }
        let id = random::uuid(cx.random());
        table::put_key(cx, &id, "", *kind, key)?;
        if config.default_key.is_empty() {
            config.default_key.clone_from(&id);
        }
        new.push(id.clone());
        known.push((public.clone(), id));
    }
    Ok((new, old, known))
}

/// Takes in one key, which may have been here already: its id and whether it is new.
pub(super) fn key(cx: &mut Context<'_, '_>, text: &str) -> Result<(String, KeyType, PublicKey), Refusal> {
    let table = table::table(cx)?;
    let unread = || Refusal::invalid("provided PEM contains no private key");
    let blocks = pem::blocks(text).ok_or_else(unread)?;
    let mut found = blocks.iter().filter(|block| block.label.ends_with("PRIVATE KEY"));
    let block = found.next().ok_or_else(unread)?;
    if found.next().is_some() {
        return Err(Refusal::invalid("only one key can be present within the pem for importing"));
    }
    let (kind, key, public) = private(&block.der, 0)?;
    if let Some(known) = table.keys.iter().find(|known| known.public == public) {
        return Ok((known.id.clone(), kind, public));
    }
    table::make_room(&table, 1)?;
    let name = params::key_name(cx.fields(), &table)?;
    let id = random::uuid(cx.random());
    table::put_key(cx, &id, &name, kind, &key)?;
    if table.config.default_key.is_empty() {
        let config = Config { default_key: id.clone(), ..table.config.clone() };
        table::put_config(cx, &config)?;
    }
    Ok((id, kind, public))
}
