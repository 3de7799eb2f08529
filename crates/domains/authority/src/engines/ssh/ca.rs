//! The authority's key.

use crate::context::Context;
use crate::engines::transit::wire::Hidden;
use crate::fields::Fields;
use crate::refusal::Refusal;
use crate::response::Response;
use keyward_crypto::Secret;
use keyward_crypto::keys::{Key, KeyType};
use keyward_crypto::ssh::{PublicKey, read_private};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use zeroize::Zeroizing;

const PATH: &str = "config/ca";

#[derive(Serialize, Deserialize)]
struct Stored {
    kind: String,
    /// PKCS#8 in DER.
    private: Hidden,
}

/// The authority, ready for use.
pub(super) struct Authority {
    pub(super) key: Key,
    public: PublicKey,
}

fn find(cx: &mut Context<'_, '_>) -> Result<Option<Arc<Authority>>, Refusal> {
    cx.built(PATH, |plain| {
        let corrupt = || Refusal::Corrupt(PATH.to_owned());
        let stored: Stored = serde_json::from_slice(plain).map_err(|_| corrupt())?;
        let kind = KeyType::parse(&stored.kind, None).ok_or_else(corrupt)?;
        let key = Key::import(kind, stored.private.0).map_err(|_| corrupt())?;
        let public = PublicKey::of(&key).ok_or_else(corrupt)?;
        Ok(Authority { key, public })
    })
}

pub(super) fn required(cx: &mut Context<'_, '_>) -> Result<Arc<Authority>, Refusal> {
    find(cx)?.ok_or_else(|| Refusal::invalid("keys haven't been configured yet: write config/ca first"))
}

/// The type of a new key, by Vault's names and OpenSSH's.
pub(super) fn new_key_type(sent: &Fields, usual: &str) -> Result<KeyType, Refusal> {
    let name = sent.string("key_type")?.filter(|name| !name.is_empty());
    let name = name.as_deref().unwrap_or(usual);
    let bits = sent.int("key_bits")?.unwrap_or(0);
    match (name, bits) {
        ("rsa" | "ssh-rsa", 2048) => Ok(KeyType::Rsa2048),
        ("rsa" | "ssh-rsa", 3072) => Ok(KeyType::Rsa3072),
        ("rsa" | "ssh-rsa", 0 | 4096) => Ok(KeyType::Rsa4096),
        ("ec" | "ecdsa", 0 | 256) | ("ecdsa-sha2-nistp256", _) => Ok(KeyType::EcdsaP256),
        ("ec" | "ecdsa", 384) | ("ecdsa-sha2-nistp384", _) => Ok(KeyType::EcdsaP384),
        ("ec" | "ecdsa", 521) | ("ecdsa-sha2-nistp521", _) => Ok(KeyType::EcdsaP521),
        ("ed25519" | "ssh-ed25519", _) => Ok(KeyType::Ed25519),
        _ => Err(Refusal::invalid(format!(
            "there are no {name:?} keys of {bits} bits: key_type may be rsa (key_bits 2048, 3072 or 4096), ec (256, 384 or \
             521) or ed25519"
        ))),
    }
}

pub(super) fn generate(cx: &Context<'_, '_>, kind: KeyType) -> Result<Key, Refusal> {
    Key::generate(kind, 0, cx.random())
        .map_err(|why| Refusal::Internal(format!("a key could not be made: {why}")))
}

pub(super) fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let authority = required(cx)?;
    Response::data(&json!({ "public_key": format!("{}\n", authority.public.line()) }))
}

pub(super) fn public_key(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let authority = find(cx)?.ok_or(Refusal::missing())?;
    Ok(Response::raw("text/plain", format!("{}\n", authority.public.line()).into_bytes()))
}

pub(super) fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    cx.delete(PATH);
    Ok(Response::empty())
}

pub(super) fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    if cx.exists(PATH)? {
        return Err(Refusal::invalid("keys are already configured; delete them before reconfiguring"));
    }
    let sent = cx.fields();
    for name in ["managed_key_name", "managed_key_id"] {
        if sent.string(name)?.is_some_and(|named| !named.is_empty()) {
            return Err(Refusal::invalid(format!(
                "{name}: keys in other systems are not available: leave it out, and the key is made and kept here"
            )));
        }
    }
    let private = Zeroizing::new(sent.string("private_key")?.unwrap_or_default());
    let public = sent.string("public_key")?.unwrap_or_default();
    let refuse = |why: &str| Err(Refusal::invalid(why));
    match (sent.bool("generate_signing_key")?, private.is_empty(), public.is_empty()) {
        (Some(true) | None, true, true) => {
            let kind = new_key_type(sent, "ssh-rsa")?;
            let key = generate(cx, kind)?;
            keep(cx, kind, &key)?;
            let line = PublicKey::of(&key).map(|public| public.line()).unwrap_or_default();
            Response::data(&json!({ "public_key": format!("{line}\n") }))
        }
        (Some(true), _, _) => {
            refuse("public_key and private_key must not be set when generate_signing_key is set to true")
        }
        (None, true, false) | (None, false, true) => refuse(
            "only one of public_key and private_key set; both must be set to use, or both must be blank to auto-generate",
        ),
        (Some(false), _, true) => refuse("missing public_key"),
        (Some(false), true, _) => refuse("missing private_key"),
        (_, false, false) => {
            let bad = |what: &str, why| Refusal::invalid(format!("could not parse {what} provided: {why}"));
            let (kind, key) = read_private(&private).map_err(|why| bad("private_key", why))?;
            let public = PublicKey::read(&public).map_err(|why| bad("public_key", why))?;
            if PublicKey::of(&key) != Some(public) {
                return refuse("public_key is not that of private_key");
            }
            keep(cx, kind, &key)?;
            Ok(Response::empty())
        }
    }
}

fn keep(cx: &mut Context<'_, '_>, kind: KeyType, key: &Key) -> Result<(), Refusal> {
    let private =
        key.private().ok_or_else(|| Refusal::Internal("a key without its private part".to_owned()))?;
    let private = Hidden(Secret::new(private.expose().clone()));
    cx.put_json(PATH, &Stored { kind: kind.name().to_owned(), private })
}
