//! `export/` and `byok-export/`: keys leaving, if they were made so that they may.

use super::key::{self, Policy, Version};
use super::{HEAVY, checked_name, name, wire};
use crate::context::Context;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Kind, Route, field};
use keyward_crypto::keys::{self, Hash, Key, KeyType, RsaKey};
use serde_json::{Map, Value, json};

const EXPORT: Route = Route {
    operations: &[(Operation::Read, export)],
    fields: &[field("format", Kind::Text, "raw, der or pem; what suits the type unless given.")],
    help: "Shows the versions of an exportable key.",
    ..Route::EMPTY
};

const HASH: Field = field("hash", Kind::Text, "SHA1, SHA256, SHA384 or SHA512, for OAEP; SHA256.");

const BYOK: Route = Route {
    operations: &[(Operation::Read, export_wrapped)],
    fields: &[HASH],
    traits: HEAVY,
    help: "Shows the versions of an exportable key, wrapped for the holder of an RSA key.",
    ..Route::EMPTY
};

pub(super) const ROUTES: &[Route] = &[
    Route { pattern: "export/{type}/{name}", ..EXPORT },
    Route { pattern: "export/{type}/{name}/{version}", ..EXPORT },
    Route { pattern: "byok-export/{destination}/{source}", ..BYOK },
    Route { pattern: "byok-export/{destination}/{source}/{version}", ..BYOK },
];

/// Which part of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Encryption,
    Signing,
    Hmac,
    Public,
}

/// How it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// What Vault always wrote: base64 of symmetric keys and Ed25519, the older PEM formats of others.
    Usual,
    Raw,
    Der,
    Pem,
}

fn export(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let part = match cx.param("type") {
        "encryption-key" => Part::Encryption,
        "signing-key" => Part::Signing,
        "hmac-key" => Part::Hmac,
        "public-key" => Part::Public,
        other => return Err(Refusal::invalid(format!("invalid export type: {other}"))),
    };
    let format = match cx.fields().string("format")?.unwrap_or_default().as_str() {
        "" => Format::Usual,
        "raw" => Format::Raw,
        "der" => Format::Der,
        "pem" => Format::Pem,
        other => return Err(Refusal::invalid(format!("invalid format: {other}"))),
    };
    let name = name(cx)?;
    let policy = key::find(cx, &name)?.ok_or_else(Refusal::missing)?;
    if !policy.exportable && part != Part::Public {
        return Err(Refusal::invalid("private key material is not exportable"));
    }
    key::alive(&policy)?;
    let kind = policy.kind()?;
    if part == Part::Encryption && !kind.encrypts() {
        return Err(Refusal::invalid("encryption not supported for the key"));
    }
    if part == Part::Signing && !kind.signs() {
        return Err(Refusal::invalid("signing not supported for the key"));
    }
    let versions = chosen(cx, &policy)?;
    show(cx, &name, &policy, versions, |version| write(kind, version, part, format))
}

/// The versions the path asks for: one, the latest, or all that may be used.
fn chosen(cx: &mut Context<'_, '_>, policy: &Policy) -> Result<Vec<u64>, Refusal> {
    let wanted = match cx.param("version") {
        "" => return Ok(policy.usable().collect()),
        "latest" => policy.latest,
        text => text.trim_start_matches('v').parse().map_err(|_| Refusal::invalid("invalid key version"))?,
    };
    if wanted < policy.min_decryption {
        return Err(Refusal::invalid("version for export is below minimum decryption version"));
    }
    if wanted > policy.latest {
        return Err(Refusal::invalid("version does not exist or cannot be found"));
    }
    Ok(vec![wanted])
}

fn show(
    cx: &mut Context<'_, '_>,
    name: &str,
    policy: &Policy,
    versions: Vec<u64>,
    write: impl Fn(&Version) -> Result<String, Refusal>,
) -> Result<Response, Refusal> {
    let mut shown = Map::new();
    for number in versions {
        let held = key::version(cx, policy, number)?;
        shown.insert(number.to_string(), Value::String(write(held.version()?)?));
    }
    Response::data(&json!({ "name": name, "type": policy.kind()?.name(), "keys": shown }))
}

fn write(kind: KeyType, version: &Version, part: Part, format: Format) -> Result<String, Refusal> {
    let refuse = |what: &str, known: &str| {
        Err(Refusal::invalid(format!("unknown key format for {what} key; supported values are {known}")))
    };
    let is_plain = matches!(format, Format::Usual | Format::Raw);
    if part == Part::Hmac {
        return match version.hmac(kind) {
            _ if !is_plain => refuse("HMAC", "`` or `raw`"),
            Some(key) => Ok(wire::encode(key)),
            None => Err(key::no_such_version()),
        };
    }
    let key = version.key(kind)?;
    match (key, part) {
        (Key::Symmetric(_) | Key::Hmac(_), Part::Public) => {
            Err(Refusal::invalid(format!("unknown key type {kind} for export type public-key")))
        }
        (Key::Symmetric(_) | Key::Hmac(_), _) if !is_plain => refuse("symmetric", "`` or `raw`"),
        (Key::Symmetric(key), _) => Ok(wire::encode(key.raw())),
        (Key::Hmac(key), _) => Ok(wire::encode(key.expose())),
        (Key::Ed25519(key), Part::Public) if is_plain => Ok(wire::encode(key.public())),
        (Key::Ed25519(key), _) if is_plain => {
            Ok(key.seed_and_public().map(|both| wire::encode(both.expose())).unwrap_or_default())
        }
        _ if format == Format::Raw => refuse(kind.name(), "``, `der`, or `pem`"),
        (key, Part::Public) => Ok(write_public(key, format)),
        (key, _) => Ok(write_private(key, format)),
    }
}

fn write_public(key: &Key, format: Format) -> String {
    let spki = key.public().unwrap_or_default();
    match (key, format) {
        (_, Format::Der) => wire::encode(&spki),
        (Key::Rsa(_), _) => keys::public_pem(&spki),
        // Vault ends the PEM of RSA keys with a line break, and of no others.
        _ => keys::public_pem(&spki).trim_end().to_owned(),
    }
}

/// Empty when only the public part is known.
fn write_private(key: &Key, format: Format) -> String {
    let pem = match (key, format) {
        (_, Format::Der) => return key.private().map(|der| wire::encode(der.expose())).unwrap_or_default(),
        (Key::Rsa(key), Format::Usual) => key.pkcs1_pem(),
        (Key::Ecdsa(key), Format::Usual) => key.sec1_pem(),
        (key, _) => key.private_pem(),
    };
    let pem = pem.map(|pem| pem.expose().clone()).unwrap_or_default();
    if matches!(key, Key::Rsa(_)) { pem } else { pem.trim_end().to_owned() }
}

fn export_wrapped(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let destination = checked_name(cx, cx.param("destination"))?;
    let source = checked_name(cx, cx.param("source"))?;
    let hash = wire::oaep_hash(cx.fields().string("hash")?)?;
    let target = key::find(cx, &destination)?
        .ok_or_else(|| Refusal::invalid("no such destination key to export to"))?;
    let policy = key::find(cx, &source)?.ok_or_else(|| Refusal::invalid("no such source key for export"))?;
    if !policy.exportable {
        return Err(Refusal::invalid("key is not exportable"));
    }
    key::alive(&target)?;
    key::alive(&policy)?;
    let held = key::version(cx, &target, target.latest)?;
    let Key::Rsa(wrapping) = held.version()?.key(target.kind()?)? else {
        return Err(Refusal::invalid("unsupported key type in use; must be a rsa key"));
    };
    let (kind, random) = (policy.kind()?, cx.random());
    let versions = chosen(cx, &policy)?;
    show(cx, &source, &policy, versions, |version| wrap(wrapping, hash, version.key(kind)?, random))
}

fn wrap(
    wrapping: &RsaKey,
    hash: Hash,
    key: &Key,
    random: &dyn keyward_core::Random,
) -> Result<String, Refusal> {
    let private = key.private().ok_or_else(|| {
        Refusal::invalid("failed to wrap target key for import: the version has no private part")
    })?;
    keys::wrap_for_import(wrapping, hash, private.expose(), random)
        .map(|wrapped| wire::encode(&wrapped))
        .map_err(|why| Refusal::invalid(format!("failed to wrap target key for import: {why}")))
}
