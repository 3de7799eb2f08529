//! `encrypt/`, `decrypt/`, `rewrap/` and `datakey/`.

use super::batch::{self, BATCH, Item, PARTIAL};
use super::key::{self, Policy, Version};
use super::keys::{self, CONTEXT};
use super::wire::{self, Coding};
use super::{checked_name, name};
use crate::context::Context;
use crate::fields::Fields;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Kind, Route, field};
use keyward_core::Random;
use keyward_crypto::Secret;
use keyward_crypto::keys::{Key, KeyType, Padding, SymmetricKey, UseError};
use serde::Serialize;
use std::sync::Arc;

const NONCE: Field = field("nonce", Kind::Text, "Refused: nonces are never the caller's here.");
pub(super) const KEY_VERSION: Field =
    field("key_version", Kind::Int, "The version to use; the latest when 0.");
const DATA: Field =
    field("associated_data", Kind::Text, "Base64 of what is authenticated but not encrypted.");
const PADDING: Field = field("padding_scheme", Kind::Text, "oaep or pkcs1v15, for RSA keys; oaep.");
const PLAINTEXT: Field = field("plaintext", Kind::Text, "Base64 of what is to be encrypted.");
const CIPHERTEXT: Field = field("ciphertext", Kind::Text, "What encrypt answered.");
const REFERENCE: Field = field("reference", Kind::Text, "Repeated in the answer to an item of a batch.");

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "encrypt/{name}",
        operations: &[(Operation::Update, encrypt)],
        exists: Some(exists),
        fields: &[
            PLAINTEXT,
            CONTEXT,
            NONCE,
            KEY_VERSION,
            DATA,
            PADDING,
            BATCH,
            PARTIAL,
            REFERENCE,
            field("type", Kind::Text, "The type of the key, if it is made by this request; aes256-gcm96."),
            field("convergent_encryption", Kind::Bool, "Make a key that encrypts equal plaintexts equally."),
        ],
        help: "Encrypts with a named key, which is made if the caller may create it.",
        ..Route::EMPTY
    },
    Route {
        pattern: "decrypt/{name}",
        operations: &[(Operation::Update, decrypt)],
        fields: &[CIPHERTEXT, CONTEXT, NONCE, DATA, PADDING, BATCH, PARTIAL, REFERENCE],
        help: "Decrypts with a named key.",
        ..Route::EMPTY
    },
    Route {
        pattern: "rewrap/{name}",
        operations: &[(Operation::Update, rewrap)],
        fields: &[
            CIPHERTEXT,
            CONTEXT,
            NONCE,
            KEY_VERSION,
            DATA,
            field("decrypt_padding_scheme", Kind::Text, "oaep or pkcs1v15, for RSA keys; oaep."),
            field("encrypt_padding_scheme", Kind::Text, "oaep or pkcs1v15, for RSA keys; oaep."),
            BATCH,
            REFERENCE,
        ],
        help: "Encrypts a ciphertext anew with the latest version, without showing the plaintext.",
        ..Route::EMPTY
    },
    Route {
        pattern: "datakey/{plaintext}/{name}",
        operations: &[(Operation::Update, data_key)],
        fields: &[
            CONTEXT,
            NONCE,
            KEY_VERSION,
            DATA,
            PADDING,
            field("bits", Kind::Int, "128, 256 or 512; 256 unless given."),
        ],
        help: "Makes a random key and encrypts it; datakey/plaintext/ shows it too.",
        ..Route::EMPTY
    },
];

/// One input as it was sent.
struct Input {
    /// The plaintext or the ciphertext; empty when it was not sent.
    text: String,
    context: String,
    nonce: String,
    data: String,
    version: i64,
    /// For decryption and for encryption.
    paddings: (String, String),
    reference: String,
}

fn input(fields: &Fields, text: &str) -> Result<Input, Refusal> {
    let read = |name| Ok::<_, Refusal>(fields.string(name)?.unwrap_or_default());
    let padding = |name| Ok::<_, Refusal>(fields.string(name)?.unwrap_or(read("padding_scheme")?));
    Ok(Input {
        text: read(text)?,
        context: read("context")?,
        nonce: read("nonce")?,
        data: read("associated_data")?,
        version: fields.int("key_version")?.unwrap_or(0),
        paddings: (padding("decrypt_padding_scheme")?, padding("encrypt_padding_scheme")?),
        reference: read("reference")?,
    })
}

/// The inputs of the request, and whether they came as a batch.
fn inputs(cx: &Context<'_, '_>, text: &str, missing: &str) -> Result<(Vec<Input>, bool), Refusal> {
    let (inputs, is_batch) = match batch::items(cx)? {
        Some(items) => {
            if let Some(at) = items.iter().position(|item| !item.has(text)) {
                let why = format!("failed to parse batch input: '[{at}].{text}' {missing}");
                return Err(Refusal::invalid(why));
            }
            (items.iter().map(|item| input(item, text)).collect::<Result<Vec<_>, _>>()?, true)
        }
        None if !cx.fields().has(text) => return Err(Refusal::invalid(missing)),
        None => (vec![input(cx.fields(), text)?], false),
    };
    let with_context = inputs.iter().filter(|input| !input.context.is_empty()).count();
    if with_context != 0 && with_context != inputs.len() {
        return Err(Refusal::invalid("context should be set either in all the request blocks or in none"));
    }
    Ok((inputs, is_batch))
}

fn exists(cx: &mut Context<'_, '_>) -> Result<bool, Refusal> {
    let name = name(cx)?;
    key::exists(cx, &name)
}

#[derive(Serialize)]
struct Encrypted {
    ciphertext: String,
    key_version: u64,
}

impl Item for Encrypted {}

#[derive(Serialize)]
struct Decrypted {
    plaintext: String,
}

impl Item for Decrypted {
    fn failed() -> Option<Decrypted> {
        Some(Decrypted { plaintext: String::new() })
    }
}

fn encrypt(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = name(cx)?;
    let (inputs, is_batch) = inputs(cx, "plaintext", "missing plaintext to encrypt")?;
    let known = key::find_rotated(cx, &name)?;
    let mut warning = None;
    let policy = match known {
        Some(policy) => {
            if cx.operation == Operation::Create {
                warning = Some(
                    "Attempted creation of the key during the encrypt operation, but it was created beforehand",
                );
            }
            policy
        }
        None => upsert(cx, &name, &inputs)?,
    };
    let kind = usable(&policy, KeyType::encrypts, "message encryption")?;
    let mut each = |at: usize, input: &Input| {
        let plaintext = wire::decode(&input.text).map_err(Refusal::invalid)?;
        seal(cx, &policy, kind, (at, input), &plaintext)
    };
    let mut response = if is_batch {
        let answers = batch::answer_each(&inputs, |input| Ok(input.reference.clone()), each)?;
        batch::respond_with_status(cx, &answers)?
    } else {
        Response::data(&each(0, &inputs[0])?)?
    };
    response.warnings.extend(warning.map(str::to_owned));
    Ok(response)
}

/// Makes the key that an encryption names, if the mount allows it and there is something to encrypt.
fn upsert(cx: &mut Context<'_, '_>, name: &str, inputs: &[Input]) -> Result<Arc<Policy>, Refusal> {
    let not_found = || Refusal::invalid("encryption key not found");
    if cx.operation != Operation::Create || super::tools::upsert_disabled(cx)? {
        return Err(not_found());
    }
    let fields = cx.fields();
    let wanted = fields.string("type")?.filter(|kind| !kind.is_empty());
    let wanted = wanted.as_deref().unwrap_or("aes256-gcm96");
    let kind = keys::kind_named(wanted, None, "unknown key type ")?;
    if !kind.is_aead() {
        return Err(Refusal::invalid(format!("key type {wanted} not supported for this operation")));
    }
    let derived = !inputs[0].context.is_empty();
    let convergent = fields.bool("convergent_encryption")?.unwrap_or(false);
    if convergent && !derived {
        return Err(Refusal::invalid(
            "convergent encryption requires derivation to be enabled, so context is required",
        ));
    }
    // A request that encrypts nothing leaves nothing behind.
    let readable =
        |input: &Input| [&input.text, &input.context].iter().all(|text| wire::decode(text).is_ok());
    if !inputs.iter().any(readable) {
        let why = inputs.iter().find_map(|input| wire::decode(&input.text).err());
        return Err(Refusal::invalid(why.unwrap_or_else(|| "failed to base64-decode context".to_owned())));
    }
    let mut policy = Policy::new(kind, cx);
    (policy.derived, policy.convergent) = (derived, convergent);
    keys::make(cx, name, &mut policy)?;
    Ok(Arc::new(policy))
}

/// The key's type, if it is usable and its type `can` do `what`.
pub(super) fn usable(policy: &Policy, can: fn(KeyType) -> bool, what: &str) -> Result<KeyType, Refusal> {
    key::alive(policy)?;
    let kind = policy.kind()?;
    match can(kind) {
        true => Ok(kind),
        false => Err(Refusal::invalid(format!("{what} not supported for key type {kind}"))),
    }
}

/// The version to encrypt or sign with. `purpose` is named in messages.
pub(super) fn version_for(policy: &Policy, wanted: i64, purpose: &str) -> Result<u64, Refusal> {
    let refuse = |why: &str| Err(Refusal::invalid(format!("requested version for {purpose} is {why}")));
    match u64::try_from(wanted) {
        Err(_) => refuse("negative"),
        Ok(0) => Ok(policy.latest),
        Ok(wanted) if wanted > policy.latest => refuse("higher than the latest key version"),
        Ok(wanted) if wanted < policy.min_encryption => {
            refuse("less than the minimum encryption key version")
        }
        Ok(wanted) => Ok(wanted),
    }
}

/// What an operation takes besides the key and the text.
struct Terms {
    context: Vec<u8>,
    data: Vec<u8>,
    padding: Padding,
}

fn terms(kind: KeyType, at: usize, input: &Input, padding: &str) -> Result<Terms, Refusal> {
    let context = wire::decode(&input.context).map_err(Refusal::invalid)?;
    let nonce = wire::decode(&input.nonce).map_err(Refusal::invalid)?;
    if !nonce.is_empty() && kind.is_aead() {
        return Err(Refusal::invalid("nonce provided when not allowed"));
    }
    if !input.data.is_empty() && !kind.is_aead() {
        return Err(Refusal::invalid(format!(
            "'[{at}].associated_data' provided for non-AEAD cipher suite {kind}"
        )));
    }
    if !padding.is_empty() && !kind.is_rsa() {
        return Err(Refusal::invalid(format!("'[{at}].padding_scheme' provided for key type {kind}")));
    }
    let data = wire::decode(&input.data)
        .map_err(|why| Refusal::invalid(format!("unable to decode associated_data: {why}")))?;
    Ok(Terms { context, data, padding: wire::padding(padding).map_err(Refusal::invalid)? })
}

fn seal(
    cx: &mut Context<'_, '_>,
    policy: &Policy,
    kind: KeyType,
    (at, input): (usize, &Input),
    plaintext: &[u8],
) -> Result<Encrypted, Refusal> {
    let terms = terms(kind, at, input, &input.paddings.1)?;
    let number = version_for(policy, input.version, "encryption")?;
    let held = key::version(cx, policy, number)?;
    let sealed = seal_with(policy, kind, held.version()?, &terms, plaintext, cx.random())?;
    Ok(Encrypted { ciphertext: wire::versioned(number, &sealed, Coding::Standard), key_version: number })
}

fn seal_with(
    policy: &Policy,
    kind: KeyType,
    version: &Version,
    terms: &Terms,
    plaintext: &[u8],
    random: &dyn Random,
) -> Result<Vec<u8>, Refusal> {
    match version.key(kind)? {
        Key::Symmetric(key) if policy.convergent => {
            let (key, nonces) = key.convergent(needed(&terms.context)?);
            Ok(key.seal_convergent(&nonces, &terms.data, plaintext))
        }
        Key::Symmetric(key) if policy.derived => {
            Ok(key.derived(needed(&terms.context)?).seal(random, &terms.data, plaintext))
        }
        Key::Symmetric(key) => Ok(key.seal(random, &terms.data, plaintext)),
        Key::Rsa(key) => key
            .encrypt(terms.padding, plaintext)
            .map_err(|why| Refusal::invalid(format!("failed to RSA encrypt the plaintext: {why}"))),
        _ => Err(Refusal::invalid(format!("message encryption not supported for key type {kind}"))),
    }
}

/// The context of a derived key, which must not be empty.
pub(super) fn needed(context: &[u8]) -> Result<&[u8], Refusal> {
    match context {
        [] => Err(Refusal::invalid(
            "missing 'context' for key derivation; the key was created using a derived key, which means \
             additional, per-request information must be included in order to perform operations with the key",
        )),
        context => Ok(context),
    }
}

fn decrypt(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = name(cx)?;
    let (inputs, is_batch) = inputs(cx, "ciphertext", "missing ciphertext to decrypt")?;
    let policy = key::find(cx, &name)?.ok_or_else(|| Refusal::invalid("encryption key not found"))?;
    let kind = usable(&policy, KeyType::encrypts, "message decryption")?;
    let mut each = |at: usize, input: &Input| {
        let plaintext = open(cx, &policy, kind, (at, input))?;
        Ok(Decrypted { plaintext: wire::encode(plaintext.expose()) })
    };
    if is_batch {
        let answers = batch::answer_each(&inputs, |input| Ok(input.reference.clone()), each)?;
        batch::respond_with_status(cx, &answers)
    } else {
        Response::data(&each(0, &inputs[0])?)
    }
}

fn open(
    cx: &mut Context<'_, '_>,
    policy: &Policy,
    kind: KeyType,
    (at, input): (usize, &Input),
) -> Result<Secret<Vec<u8>>, Refusal> {
    if input.text.is_empty() {
        return Err(Refusal::invalid("missing ciphertext to decrypt"));
    }
    let terms = terms(kind, at, input, &input.paddings.0)?;
    let (number, rest) = wire::split_version(&input.text, "ciphertext").map_err(Refusal::invalid)?;
    // Vault's first ciphertexts counted from zero.
    let number = number.max(1);
    if number > policy.latest {
        return Err(Refusal::invalid("invalid ciphertext: version is too new"));
    }
    if number < policy.min_decryption {
        return Err(too_old());
    }
    let sealed =
        wire::decode(rest).map_err(|_| Refusal::invalid("invalid ciphertext: could not decode base64"))?;
    let held = key::version(cx, policy, number)?;
    match held.version()?.key(kind)? {
        Key::Symmetric(key) if sealed.len() < key.nonce_size() => {
            Err(Refusal::invalid("invalid ciphertext length"))
        }
        Key::Symmetric(key) => open_with(policy, key, &terms, &sealed),
        Key::Rsa(key) => key.decrypt(terms.padding, &sealed).map_err(|why| {
            Refusal::invalid(format!("failed to RSA decrypt the ciphertext: {}", rsa_text(why)))
        }),
        _ => Err(Refusal::invalid(format!("message decryption not supported for key type {kind}"))),
    }
}

fn open_with(
    policy: &Policy,
    key: &SymmetricKey,
    terms: &Terms,
    sealed: &[u8],
) -> Result<Secret<Vec<u8>>, Refusal> {
    let opened = match policy.derived {
        true => key.derived(needed(&terms.context)?).open(&terms.data, sealed),
        false => key.open(&terms.data, sealed),
    };
    opened.map_err(|why| Refusal::invalid(why.to_string()))
}

fn rsa_text(why: UseError) -> String {
    match why {
        UseError::Decrypt => "crypto/rsa: decryption error".to_owned(),
        other => other.to_string(),
    }
}

/// What Vault says of a ciphertext or signature of a version that may no longer be used.
pub(super) fn too_old() -> Refusal {
    Refusal::invalid("ciphertext or signature version is disallowed by policy (too old)")
}

fn rewrap(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = name(cx)?;
    let (inputs, is_batch) = inputs(cx, "ciphertext", "missing ciphertext to decrypt")?;
    let policy = key::find_rotated(cx, &name)?.ok_or_else(|| Refusal::invalid("encryption key not found"))?;
    let kind = usable(&policy, KeyType::encrypts, "message decryption")?;
    let mut each = |at: usize, input: &Input| {
        let plaintext = open(cx, &policy, kind, (at, input))?;
        seal(cx, &policy, kind, (at, input), plaintext.expose())
    };
    if is_batch {
        batch::respond(&batch::answer_each(&inputs, |input| Ok(input.reference.clone()), each)?)
    } else {
        Response::data(&each(0, &inputs[0])?)
    }
}

#[derive(Serialize)]
struct DataKey {
    #[serde(flatten)]
    encrypted: Encrypted,
    #[serde(skip_serializing_if = "Option::is_none")]
    plaintext: Option<String>,
}

fn data_key(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = checked_name(cx, cx.param("name"))?;
    let shown = match cx.param("plaintext") {
        "plaintext" => true,
        "wrapped" => false,
        _ => return Err(Refusal::invalid("Invalid path, must be 'plaintext' or 'wrapped'")),
    };
    let input = input(cx.fields(), "plaintext")?;
    for (field, text) in [("context", &input.context), ("nonce", &input.nonce)] {
        wire::decode(text).map_err(|_| Refusal::invalid(format!("failed to base64-decode {field}")))?;
    }
    let size = match cx.fields().int("bits")?.unwrap_or(256) {
        128 => 16,
        256 => 32,
        512 => 64,
        _ => return Err(Refusal::invalid("invalid bit length")),
    };
    let policy = key::find_rotated(cx, &name)?.ok_or_else(|| Refusal::invalid("encryption key not found"))?;
    let kind = usable(&policy, KeyType::encrypts, "message encryption")?;
    let mut made = zeroize::Zeroizing::new(vec![0; size]);
    cx.random().fill(&mut made);
    let encrypted = seal(cx, &policy, kind, (0, &input), &made)?;
    Response::data(&DataKey { encrypted, plaintext: shown.then(|| wire::encode(&made)) })
}
