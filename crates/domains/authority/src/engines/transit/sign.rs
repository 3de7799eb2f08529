//! `sign/` and `verify/`.

use super::batch::{self, BATCH, Item};
use super::crypt::{KEY_VERSION, needed, too_old, usable, version_for};
use super::hmac::{self, Checked};
use super::key::{self, Policy};
use super::keys::CONTEXT;
use super::wire::{self, Coding};
use super::{HEAVY, name};
use crate::context::Context;
use crate::fields::Fields;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Kind, Route, field};
use keyward_crypto::keys::{Ed25519Key, Hash, Key, KeyType, Marshaling, RsaKey, Salt, Scheme, UseError};
use serde::Serialize;

const INPUT: Field = field("input", Kind::Text, "Base64 of what is to be signed or verified.");
const HASH: Field = field("hash_algorithm", Kind::Text, "The hash function; sha2-256 unless given.");
const ALGORITHM: Field = field("algorithm", Kind::Text, "An older name of hash_algorithm.");
const PREHASHED: Field = field("prehashed", Kind::Bool, "The input is already a hash.");
const SCHEME: Field = field("signature_algorithm", Kind::Text, "pss or pkcs1v15, for RSA keys; pss.");
const MARSHALING: Field = field("marshaling_algorithm", Kind::Text, "asn1 or jws; asn1.");
const SALT: Field = field("salt_length", Kind::Text, "auto, hash or a number of bytes, for PSS; auto.");
const SIGNATURE_CONTEXT: Field =
    field("signature_context", Kind::Text, "Refused: Ed25519ctx is not available.");

const SIGN: Route = Route {
    operations: &[(Operation::Update, sign)],
    fields: &[
        INPUT,
        CONTEXT,
        HASH,
        ALGORITHM,
        KEY_VERSION,
        PREHASHED,
        SCHEME,
        MARSHALING,
        SALT,
        SIGNATURE_CONTEXT,
        BATCH,
    ],
    traits: HEAVY,
    help: "Signs an input with a named key.",
    ..Route::EMPTY
};

const VERIFY: Route = Route {
    operations: &[(Operation::Update, verify)],
    fields: &[
        INPUT,
        field("signature", Kind::Text, "What sign answered."),
        field("hmac", Kind::Text, "What hmac answered."),
        CONTEXT,
        HASH,
        ALGORITHM,
        PREHASHED,
        SCHEME,
        MARSHALING,
        SALT,
        SIGNATURE_CONTEXT,
        BATCH,
    ],
    help: "Verifies a signature or a keyed hash of an input.",
    ..Route::EMPTY
};

pub(super) const ROUTES: &[Route] = &[
    Route { pattern: "sign/{name}", ..SIGN },
    Route { pattern: "sign/{name}/{urlalgorithm}", ..SIGN },
    Route { pattern: "verify/{name}", ..VERIFY },
    Route { pattern: "verify/{name}/{urlalgorithm}", ..VERIFY },
];

/// How to sign, the same for a whole batch.
struct Terms {
    hash: Option<Hash>,
    prehashed: bool,
    marshaling: Marshaling,
    coding: Coding,
    scheme: Result<Scheme, String>,
}

fn terms(cx: &Context<'_, '_>) -> Result<Terms, Refusal> {
    let fields = cx.fields();
    let read = |name| Ok::<_, Refusal>(fields.string(name)?.filter(|text| !text.is_empty()));
    let from_path = Some(cx.param("urlalgorithm").to_owned()).filter(|name| !name.is_empty());
    let named = match from_path {
        Some(name) => Some(name),
        None => read("hash_algorithm")?.or(read("algorithm")?),
    };
    let named = named.unwrap_or_else(|| "sha2-256".to_owned());
    let hash = match named.as_str() {
        "none" => None,
        name => Some(
            Hash::parse(name).ok_or_else(|| Refusal::invalid(format!("invalid hash algorithm {name:?}")))?,
        ),
    };
    let (marshaling, coding) = match read("marshaling_algorithm")?.as_deref() {
        None | Some("asn1") => (Marshaling::Asn1, Coding::Standard),
        Some("jws") => (Marshaling::Jws, Coding::Url),
        Some(other) => return Err(Refusal::invalid(format!("invalid marshaling type {other:?}"))),
    };
    let prehashed = fields.bool("prehashed")?.unwrap_or(false);
    let (algorithm, salt) = (read("signature_algorithm")?, salt_length(read("salt_length")?)?);
    if hash.is_none() && (!prehashed || algorithm.as_deref() != Some("pkcs1v15")) {
        return Err(Refusal::invalid(
            "hash_algorithm=none requires both prehashed=true and signature_algorithm=pkcs1v15",
        ));
    }
    if read("signature_context")?.is_some() {
        return Err(Refusal::invalid(
            "error generating Ed25519 options: signature context is not supported feature",
        ));
    }
    let scheme = match algorithm.as_deref() {
        None | Some("pss") => Ok(Scheme::Pss(salt)),
        Some("pkcs1v15") => Ok(Scheme::Pkcs1v15),
        Some(other) => Err(format!("unsupported rsa signature algorithm {other}")),
    };
    Ok(Terms { hash, prehashed, marshaling, coding, scheme })
}

/// As Go counts: 0 is as long as possible, -1 as long as the hash.
fn salt_length(text: Option<String>) -> Result<Salt, Refusal> {
    let text = text.unwrap_or_else(|| "auto".to_owned()).to_ascii_lowercase();
    match (text.as_str(), text.parse::<i64>()) {
        ("auto", _) | (_, Ok(0)) => Ok(Salt::Auto),
        ("hash", _) | (_, Ok(-1)) => Ok(Salt::Hash),
        (_, Ok(length)) => u16::try_from(length)
            .map(Salt::Bytes)
            .map_err(|_| Refusal::invalid(format!("salt length is invalid: {length}"))),
        (_, Err(_)) => {
            Err(Refusal::invalid(format!("salt length neither 'auto', 'hash', nor an int: {text}")))
        }
    }
}

fn refused(why: UseError) -> Refusal {
    Refusal::invalid(match why {
        UseError::NoPrivatePart => "requested version for signing does not contain a private part".to_owned(),
        other => other.to_string(),
    })
}

/// What is signed: the input, or its hash for the key types that sign one.
fn message(
    kind: KeyType,
    terms: &Terms,
    fields: &Fields,
    missing_is_empty: bool,
) -> Result<Vec<u8>, Refusal> {
    let input = match fields.string("input")? {
        Some(input) => input,
        None if missing_is_empty => String::new(),
        None => return Err(Refusal::invalid("missing input")),
    };
    let input = wire::decode(&input)
        .map_err(|why| Refusal::invalid(format!("unable to decode input as base64: {why}")))?;
    match terms.hash {
        Some(hash) if kind.hashes_input() && !terms.prehashed => hash.digest(&input).map_err(refused),
        Some(Hash::Sha2_512) if kind == KeyType::Ed25519 && terms.prehashed => Err(Refusal::invalid(
            "error generating Ed25519 options: hash algorithm of SHA2 512 is not supported feature",
        )),
        _ => Ok(input),
    }
}

fn context(fields: &Fields) -> Result<Vec<u8>, Refusal> {
    let text = fields.string("context")?.unwrap_or_default();
    wire::decode(&text).map_err(|_| Refusal::invalid("failed to base64-decode context"))
}

/// The hash function and scheme for an RSA key.
fn rsa_terms(terms: &Terms) -> Result<(Scheme, Hash), Refusal> {
    let scheme = terms.scheme.clone().map_err(Refusal::invalid)?;
    let hash = terms.hash.ok_or_else(|| {
        Refusal::invalid("hash_algorithm=none is not available: name the function the input is a hash of")
    })?;
    Ok((scheme, hash))
}

#[derive(Default, Serialize)]
struct Signed {
    #[serde(skip_serializing_if = "String::is_empty")]
    signature: String,
    key_version: u64,
    /// Vault names it differently in a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    publickey: Option<String>,
}

impl Item for Signed {
    fn failed() -> Option<Signed> {
        Some(Signed::default())
    }
}

fn sign(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = name(cx)?;
    let terms = terms(cx)?;
    let policy = key::find_rotated(cx, &name)?.ok_or_else(|| Refusal::invalid("signing key not found"))?;
    let kind = signs(&policy, "signing")?;
    let wanted = cx.fields().int("key_version")?.unwrap_or(0);
    let number = version_for(&policy, wanted, "signing")?;
    match batch::items(cx)? {
        Some(items) => {
            let each = |_, item: &Fields| {
                let mut signed = sign_one(cx, (&policy, kind), &terms, number, item, false)?;
                signed.publickey = signed.public_key.take();
                Ok(signed)
            };
            batch::respond(&batch::answer_each(&items, batch::reference, each)?)
        }
        None => {
            let request = cx.request;
            Response::data(&sign_one(cx, (&policy, kind), &terms, number, &request.fields, true)?)
        }
    }
}

fn signs(policy: &Policy, what: &str) -> Result<KeyType, Refusal> {
    let kind = policy.kind()?;
    if !kind.signs() {
        return Err(Refusal::invalid(format!("key type {kind} does not support {what}")));
    }
    usable(policy, KeyType::signs, what)
}

fn sign_one(
    cx: &mut Context<'_, '_>,
    (policy, kind): (&Policy, KeyType),
    terms: &Terms,
    number: u64,
    fields: &Fields,
    missing_is_empty: bool,
) -> Result<Signed, Refusal> {
    let message = message(kind, terms, fields, missing_is_empty)?;
    let context = context(fields)?;
    let held = key::version(cx, policy, number)?;
    let mut public_key = None;
    let signature = match held.version()?.key(kind)? {
        Key::Ecdsa(key) => key.sign(&message, terms.marshaling),
        Key::Ed25519(key) if policy.derived => {
            let derived = derived(key, &context)?;
            public_key = Some(wire::encode(derived.public()));
            derived.sign(&message)
        }
        Key::Ed25519(key) => key.sign(&message),
        Key::MlDsa(key) => key.sign(&message),
        Key::Rsa(key) => {
            let (scheme, hash) = rsa_terms(terms)?;
            key.sign(scheme, hash, &message)
        }
        _ => return Err(Refusal::invalid(format!("key type {kind} does not support signing"))),
    };
    let signature = wire::versioned(number, &signature.map_err(refused)?, terms.coding);
    Ok(Signed { signature, key_version: number, public_key, publickey: None })
}

fn derived(key: &Ed25519Key, context: &[u8]) -> Result<Ed25519Key, Refusal> {
    key.derived(needed(context)?).map_err(refused)
}

fn verify(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let items = batch::items(cx)?;
    if expects_hmac(cx.fields(), items.as_deref())? {
        return hmac::verify(cx, items);
    }
    let name = name(cx)?;
    let terms = terms(cx)?;
    let policy =
        key::find(cx, &name)?.ok_or_else(|| Refusal::invalid("signature verification key not found"))?;
    let kind = signs(&policy, "verification")?;
    match items {
        Some(items) => {
            let each = |_, item: &Fields| verify_one(cx, (&policy, kind), &terms, item, false);
            batch::respond(&batch::answer_each(&items, batch::reference, each)?)
        }
        None => {
            let request = cx.request;
            Response::data(&verify_one(cx, (&policy, kind), &terms, &request.fields, true)?)
        }
    }
}

/// Whether keyed hashes are to be verified; signatures otherwise. They do not mix in one batch; where both are
/// given, the signature counts.
fn expects_hmac(fields: &Fields, items: Option<&[Fields]>) -> Result<bool, Refusal> {
    let refuse = |why: &str| Err(Refusal::invalid(why));
    let Some(items) = items else {
        return match (fields.has("signature"), fields.has("hmac")) {
            (false, false) => refuse("neither a 'signature' nor an 'hmac' were given to verify"),
            (signature, _) => Ok(!signature),
        };
    };
    let signatures = items.iter().filter(|item| item.has("signature")).count();
    let hmacs = items.iter().filter(|item| !item.has("signature") && item.has("hmac")).count();
    match (signatures, hmacs, signatures + hmacs == items.len()) {
        (1.., 1.., _) => refuse("elements of batch_input must all provide 'signature' or all provide 'hmac'"),
        (1.., _, false) => refuse("some elements of batch_input are missing 'signature'"),
        (_, 1.., false) => refuse("some elements of batch_input are missing 'hmac'"),
        (_, _, false) => refuse("no batch_input elements have 'signature' or 'hmac'"),
        (_, hmacs, true) => Ok(hmacs > 0),
    }
}

fn verify_one(
    cx: &mut Context<'_, '_>,
    (policy, kind): (&Policy, KeyType),
    terms: &Terms,
    fields: &Fields,
    missing_is_empty: bool,
) -> Result<Checked, Refusal> {
    let message = message(kind, terms, fields, missing_is_empty)?;
    let context = context(fields)?;
    let shown = fields.string("signature")?.ok_or_else(|| Refusal::invalid("missing signature"))?;
    let (number, rest) = wire::split_version(&shown, "signature").map_err(Refusal::invalid)?;
    if number > policy.latest {
        return Err(Refusal::invalid("invalid signature: version is too new"));
    }
    if number < policy.min_decryption {
        return Err(too_old());
    }
    let signature = wire::decode_coded(rest, terms.coding)
        .map_err(|_| Refusal::invalid("invalid base64 signature value"))?;
    let held = key::version(cx, policy, number)?;
    let valid = match held.version()?.key(kind)? {
        Key::Ecdsa(key) => key.verify(&message, &signature, terms.marshaling).map_err(refused)?,
        Key::Ed25519(key) if policy.derived => derived(key, &context)?.verify(&message, &signature),
        Key::Ed25519(key) => key.verify(&message, &signature),
        Key::MlDsa(key) => key.verify(&message, &signature),
        Key::Rsa(key) => verify_rsa(key, terms, &message, &signature)?,
        _ => return Err(Refusal::invalid(format!("key type {kind} does not support verification"))),
    };
    Ok(Checked { valid })
}

fn verify_rsa(key: &RsaKey, terms: &Terms, digest: &[u8], signature: &[u8]) -> Result<bool, Refusal> {
    let (scheme, hash) = rsa_terms(terms)?;
    key.verify(scheme, hash, digest, signature).map_err(refused)
}
