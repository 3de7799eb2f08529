//! `wrapping_key`, `keys/<name>/import` and `keys/<name>/import_version`: keys made elsewhere.

use super::key::{self, Policy, Record};
use super::keys::kind_named;
use super::wire::{self, Hidden};
use super::{HEAVY, name};
use crate::context::Context;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Kind, Route, field};
use keyward_crypto::Secret;
use keyward_crypto::keys::{Key, KeyType, RsaKey, unwrap_for_import};
use serde_json::json;
use std::sync::Arc;

const WRAPPING_KEY: &str = "import/wrapping-key";

const CIPHERTEXT: Field = field(
    "ciphertext",
    Kind::Text,
    "Base64 of an AES key, encrypted by RSA-OAEP with the wrapping key, and the key, wrapped by it with AES-KWP.",
);
const PUBLIC_KEY: Field =
    field("public_key", Kind::Text, "A public key in PEM; ignored beside a ciphertext.");
const HASH: Field = field("hash_function", Kind::Text, "SHA1, SHA256, SHA384 or SHA512, for OAEP; SHA256.");

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "wrapping_key",
        operations: &[(Operation::Read, wrapping_key)],
        traits: HEAVY,
        help: "Shows the public key that keys to be imported are wrapped with.",
        ..Route::EMPTY
    },
    Route {
        pattern: "keys/{name}/import",
        operations: &[(Operation::Update, import)],
        fields: &[
            CIPHERTEXT,
            PUBLIC_KEY,
            HASH,
            field("type", Kind::Text, "The key's type; aes256-gcm96 unless given."),
            field("parameter_set", Kind::Text, "44, 65 or 87, for keys of the type ml-dsa."),
            field("allow_rotation", Kind::Bool, "Allow versions made here to follow the imported one."),
            field("derived", Kind::Bool, "Use a key derived from a context instead of the key itself."),
            field("exportable", Kind::Bool, "Allow the key to be exported; cannot be taken back."),
            field("allow_plaintext_backup", Kind::Bool, "Allow backups in plaintext; cannot be taken back."),
            field("auto_rotate_period", Kind::Duration, "Rotate after this long; needs allow_rotation."),
            super::keys::CONTEXT,
        ],
        traits: HEAVY,
        help: "Makes a named key of a key made elsewhere.",
        ..Route::EMPTY
    },
    Route {
        pattern: "keys/{name}/import_version",
        operations: &[(Operation::Update, import_version)],
        fields: &[
            CIPHERTEXT,
            PUBLIC_KEY,
            HASH,
            field("version", Kind::Int, "The version whose private part is given; a new one unless given."),
        ],
        traits: HEAVY,
        help: "Adds a version made elsewhere to an imported key, or the private part of one.",
        ..Route::EMPTY
    },
];

fn wrapping_key(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let key = match own_wrapping_key(cx)? {
        Some(known) => known,
        None => {
            let key = Key::generate(KeyType::Rsa4096, 0, cx.random())
                .map_err(|why| Refusal::Internal(format!("the wrapping key could not be made: {why}")))?;
            cx.put_json(WRAPPING_KEY, &key.private().map(Hidden))?;
            Arc::new(key)
        }
    };
    Response::data(&json!({ "public_key": key.public_pem() }))
}

/// The mount's wrapping key, made when it is first asked for.
fn own_wrapping_key(cx: &mut Context<'_, '_>) -> Result<Option<Arc<Key>>, Refusal> {
    cx.built(WRAPPING_KEY, |plain| {
        let stored: Option<Hidden> = serde_json::from_slice(plain).ok();
        let key = stored.and_then(|stored| Key::import(KeyType::Rsa4096, stored.0).ok());
        key.ok_or_else(|| Refusal::Corrupt(WRAPPING_KEY.to_owned()))
    })
}

fn import(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = name(cx)?;
    let fields = cx.fields();
    if fields.has("convergent_encryption") {
        return Err(Refusal::invalid("import cannot be used on keys with convergent encryption enabled"));
    }
    let wanted = fields.string("type")?.filter(|kind| !kind.is_empty());
    let wanted = wanted.map_or_else(|| "aes256-gcm96".to_owned(), |kind| kind.to_lowercase());
    let kind = kind_named(&wanted, fields.string("parameter_set")?.as_deref(), "unknown key type: ")?;
    let mut policy = Policy::new(kind, cx);
    policy.imported = true;
    policy.derived = fields.bool("derived")?.unwrap_or(false);
    policy.exportable = fields.bool("exportable")?.unwrap_or(false);
    policy.allow_plaintext_backup = fields.bool("allow_plaintext_backup")?.unwrap_or(false);
    policy.allow_rotation = fields.bool("allow_rotation")?.unwrap_or(false);
    policy.auto_rotate_period = fields.duration("auto_rotate_period")?.unwrap_or_default().as_secs();
    if policy.auto_rotate_period > 0 && !policy.allow_rotation {
        return Err(Refusal::invalid("allow_rotation must be set to true if auto-rotation is enabled"));
    }
    if policy.auto_rotate_period > 0 && policy.auto_rotate_period < 3600 {
        return Err(Refusal::invalid("auto rotate period must be 0 to disable or at least an hour"));
    }
    if policy.derived && !kind.derives() {
        return Err(Refusal::invalid(format!("key derivation not supported for keys of type {kind}")));
    }
    if key::exists(cx, &name)? {
        return Err(Refusal::invalid(
            "the import path cannot be used with an existing key; use import-version to rotate an existing \
             imported key",
        ));
    }
    let key = sent_key(cx, kind)?;
    if policy.derived && !key.has_private() {
        return Err(Refusal::invalid(
            "error importing key: unable to import only public key for derived Ed25519 key: imported key should \
             not be an Ed25519 key pair but is instead an HKDF key",
        ));
    }
    if let Key::Hmac(raw) = &key {
        policy.key_size = raw.expose().len();
    }
    key::append(cx, &name, &mut policy, &key)?;
    Ok(Response::empty())
}

/// The key that was sent: wrapped, or the public part alone.
fn sent_key(cx: &mut Context<'_, '_>, kind: KeyType) -> Result<Key, Refusal> {
    let fields = cx.fields();
    if let Some(ciphertext) = fields.string("ciphertext")? {
        let hash = wire::oaep_hash(fields.string("hash_function")?)?;
        let wrapped = wire::decode(&ciphertext).map_err(Refusal::invalid)?;
        let own = own_wrapping_key(cx)?.ok_or_else(|| {
            Refusal::invalid("there is no wrapping key yet: read wrapping_key and wrap the key for it")
        })?;
        let raw = unwrap_for_import(as_rsa(&own)?, hash, &wrapped)
            .map_err(|why| Refusal::invalid(why.to_string()))?;
        return Key::import(kind, raw).map_err(|why| Refusal::invalid(format!("error importing key: {why}")));
    }
    match fields.string("public_key")? {
        Some(_) if !kind.is_asymmetric() => {
            Err(Refusal::invalid("provided type does not support public_key import"))
        }
        Some(pem) => Key::import_public_pem(kind, pem.as_bytes())
            .map_err(|why| Refusal::invalid(format!("error importing key: {why}"))),
        None => Err(Refusal::invalid("one of the fields ciphertext and public_key must be set")),
    }
}

fn as_rsa(key: &Key) -> Result<&RsaKey, Refusal> {
    match key {
        Key::Rsa(key) => Ok(key),
        _ => Err(Refusal::Corrupt(WRAPPING_KEY.to_owned())),
    }
}

fn import_version(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = name(cx)?;
    let known = key::find(cx, &name)?.ok_or_else(|| {
        Refusal::invalid(format!(
            "no key found with name {name}; to import a new key, use the import/ endpoint"
        ))
    })?;
    key::alive(&known)?;
    if !known.imported {
        return Err(Refusal::invalid("the import_version endpoint can only be used with an imported key"));
    }
    let key = sent_key(cx, known.kind()?)?;
    let wanted = cx.fields().int("version")?;
    let mut policy = Policy::clone(&known);
    match wanted {
        Some(number) => {
            let number = u64::try_from(number).map_err(|_| key::no_such_version())?;
            complete(cx, &name, &policy, number, &key)?;
        }
        // A private part that belongs to the latest version completes it; anything else is a new version.
        None if key.has_private() && completes(cx, &policy, policy.latest, &key)?.is_ok() => {
            complete(cx, &name, &policy, policy.latest, &key)?;
        }
        None => key::append(cx, &name, &mut policy, &key)?,
    }
    Ok(Response::empty())
}

/// Whether `key` is the missing private part of a version; if not, why.
fn completes(
    cx: &mut Context<'_, '_>,
    policy: &Policy,
    number: u64,
    key: &Key,
) -> Result<Result<(), Refusal>, Refusal> {
    let held = key::version(cx, policy, number)?;
    let record = &held.version()?.record;
    let own = record.public.as_ref().map(|public| public.0.expose().as_slice());
    let refused = if !policy.kind()?.is_asymmetric() {
        "provided type does not support importing key versions"
    } else if record.private.is_some() {
        "private key imported, key version cannot be updated"
    } else if !key.has_private() {
        "cannot add a public key to a key version that already has a public key set"
    } else if key.public().as_deref() != own {
        "cannot import key, key pair does not match"
    } else {
        return Ok(Ok(()));
    };
    Ok(Err(Refusal::invalid(refused)))
}

fn complete(
    cx: &mut Context<'_, '_>,
    name: &str,
    policy: &Policy,
    number: u64,
    key: &Key,
) -> Result<(), Refusal> {
    completes(cx, policy, number, key)??;
    let held = key::version(cx, policy, number)?;
    let old = &held.version()?.record;
    let hmac = old.hmac.as_ref().map(|key| Hidden(Secret::new(key.0.expose().clone())));
    let record = Record { hmac, ..Record::bare(key, old.made) };
    key::put_version(cx, policy, number, record)?;
    key::put(cx, name, policy)
}
