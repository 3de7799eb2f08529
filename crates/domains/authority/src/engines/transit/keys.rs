//! `keys/`: making, showing, configuring, rotating, trimming and deleting named keys.

use super::key::{self, Policy, Stamp};
use super::{HEAVY, name, wire};
use crate::context::Context;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Kind, Route, field};
use keyward_core::Timestamp;
use keyward_crypto::keys::{HMAC_SIZES, Key, KeyType};
use serde_json::{Map, Value, json};

pub(super) const CONTEXT: Field =
    field("context", Kind::Text, "Base64 of what a derived key is derived for; required for such keys.");

const CREATE_FIELDS: &[Field] = &[
    field("type", Kind::Text, "The key's type; aes256-gcm96 unless given."),
    field("parameter_set", Kind::Text, "44, 65 or 87, for keys of the type ml-dsa."),
    field("derived", Kind::Bool, "Use a key derived from a context instead of the key itself."),
    field("convergent_encryption", Kind::Bool, "Encrypt equal plaintexts equally; for derived keys."),
    field("exportable", Kind::Bool, "Allow the key to be exported; cannot be taken back."),
    field("allow_plaintext_backup", Kind::Bool, "Allow backups in plaintext; cannot be taken back."),
    field("auto_rotate_period", Kind::Duration, "Rotate after this long; at least an hour, never when 0."),
    field("key_size", Kind::Int, "Bytes of a key of the type hmac: 32 to 512, 32 unless given."),
    CONTEXT,
];

const CONFIG_FIELDS: &[Field] = &[
    field("min_decryption_version", Kind::Int, "The oldest version that may decrypt and verify."),
    field(
        "min_encryption_version",
        Kind::Int,
        "The oldest version that may encrypt and sign; 0: the latest.",
    ),
    field("deletion_allowed", Kind::Bool, "Allow the key to be deleted."),
    field("exportable", Kind::Bool, "Allow the key to be exported; cannot be taken back."),
    field("allow_plaintext_backup", Kind::Bool, "Allow backups in plaintext; cannot be taken back."),
    field("auto_rotate_period", Kind::Duration, "Rotate after this long; at least an hour, never when 0."),
];

const TRIM_FIELDS: &[Field] =
    &[field("min_available_version", Kind::Int, "Versions before this one are destroyed.")];

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "keys",
        operations: &[(Operation::List, list)],
        help: "Lists the named keys.",
        ..Route::EMPTY
    },
    Route {
        pattern: "keys/{name}",
        operations: &[(Operation::Read, read), (Operation::Update, create), (Operation::Delete, delete)],
        fields: CREATE_FIELDS,
        traits: HEAVY,
        help: "Makes, shows and deletes a named key.",
        ..Route::EMPTY
    },
    Route {
        pattern: "keys/{name}/config",
        operations: &[(Operation::Update, configure)],
        fields: CONFIG_FIELDS,
        help: "Configures a named key.",
        ..Route::EMPTY
    },
    Route {
        pattern: "keys/{name}/rotate",
        operations: &[(Operation::Update, rotate)],
        traits: HEAVY,
        help: "Makes a new version of a named key.",
        ..Route::EMPTY
    },
    Route {
        pattern: "keys/{name}/trim",
        operations: &[(Operation::Update, trim)],
        fields: TRIM_FIELDS,
        help: "Destroys the oldest versions of a named key.",
        ..Route::EMPTY
    },
    Route {
        pattern: "keys/{name}/soft-delete",
        operations: &[(Operation::Delete, soft_delete)],
        help: "Makes a named key unusable until it is restored.",
        ..Route::EMPTY
    },
    Route {
        pattern: "keys/{name}/soft-delete-restore",
        operations: &[(Operation::Update, soft_delete_restore)],
        help: "Makes a soft deleted key usable again.",
        ..Route::EMPTY
    },
];

fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Response::keys(&cx.list(key::KEYS)?)
}

fn create(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = name(cx)?;
    let fields = cx.fields();
    let wanted = fields.string("type")?.filter(|kind| !kind.is_empty());
    let wanted = wanted.as_deref().unwrap_or("aes256-gcm96");
    let kind = kind_named(wanted, fields.string("parameter_set")?.as_deref(), "unknown key type ")?;
    let mut policy = Policy::new(kind, cx);
    policy.derived = fields.bool("derived")?.unwrap_or(false);
    policy.convergent = fields.bool("convergent_encryption")?.unwrap_or(false);
    policy.exportable = fields.bool("exportable")?.unwrap_or(false);
    policy.allow_plaintext_backup = fields.bool("allow_plaintext_backup")?.unwrap_or(false);
    policy.auto_rotate_period = auto_rotate_period(cx)?.unwrap_or(0);
    policy.key_size = key_size(cx, kind)?;
    if let Some(known) = key::find(cx, &name)? {
        return Ok(describe(cx, &name, &known, None)?.warn(format!("key {name} already existed")));
    }
    make(cx, &name, &mut policy)?;
    describe(cx, &name, &policy, None)
}

/// Makes the first version of a key, if its configuration makes sense.
pub(super) fn make(cx: &mut Context<'_, '_>, name: &str, policy: &mut Policy) -> Result<(), Refusal> {
    let kind = policy.kind()?;
    if policy.convergent && !policy.derived {
        return Err(Refusal::invalid("convergent encryption requires derivation to be enabled"));
    }
    if (policy.derived || policy.convergent) && !kind.derives() {
        return Err(Refusal::invalid(format!(
            "key derivation and convergent encryption not supported for keys of type {kind}"
        )));
    }
    if policy.convergent && !kind.is_aead() {
        return Err(Refusal::invalid(format!("convergent encryption not supported for keys of type {kind}")));
    }
    let key =
        Key::generate(kind, policy.key_size, cx.random()).map_err(|why| Refusal::invalid(why.to_string()))?;
    key::append(cx, name, policy, &key)
}

/// The type with this name; `unknown` begins the message if there is none.
pub(super) fn kind_named(name: &str, set: Option<&str>, unknown: &str) -> Result<KeyType, Refusal> {
    KeyType::parse(name, set).ok_or_else(|| match name {
        "ml-dsa" => Refusal::invalid("keys of type ml-dsa need a parameter_set: 44, 65 or 87"),
        _ => Refusal::invalid(format!("{unknown}{name}")),
    })
}

fn key_size(cx: &Context<'_, '_>, kind: KeyType) -> Result<usize, Refusal> {
    let size = cx.fields().int("key_size")?.unwrap_or(0);
    match (kind, usize::try_from(size)) {
        (KeyType::Hmac, Ok(0)) => Ok(*HMAC_SIZES.start()),
        (_, Ok(0)) => Ok(0),
        (KeyType::Hmac, Ok(size)) if HMAC_SIZES.contains(&size) => Ok(size),
        (KeyType::Hmac, _) => Err(Refusal::invalid(format!(
            "invalid key_size {size}: write {} to {} bytes",
            HMAC_SIZES.start(),
            HMAC_SIZES.end()
        ))),
        _ => Err(Refusal::invalid(format!("key_size is not valid for algorithm {kind}"))),
    }
}

fn auto_rotate_period(cx: &Context<'_, '_>) -> Result<Option<u64>, Refusal> {
    match cx.fields().duration("auto_rotate_period")?.map(|span| span.as_secs()) {
        Some(1..3600) => Err(Refusal::invalid("auto rotate period must be 0 to disable or at least an hour")),
        other => Ok(other),
    }
}

fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = name(cx)?;
    let context = cx.fields().string("context")?.filter(|context| !context.is_empty());
    let context = context.map(|context| {
        wire::decode(&context).map_err(|_| Refusal::invalid("failed to base64-decode context"))
    });
    let context = context.transpose()?;
    let policy = key::find_rotated(cx, &name)?.ok_or_else(Refusal::missing)?;
    describe(cx, &name, &policy, context.as_deref())
}

fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = name(cx)?;
    let refuse = |why: &str| Refusal::invalid(format!("error deleting policy {name}: {why}"));
    let policy = key::find(cx, &name)?.ok_or_else(|| refuse("could not delete key; not found"))?;
    if !policy.deletion_allowed {
        return Err(refuse("deletion is not allowed for this key"));
    }
    key::destroy(cx, &name, &policy)?;
    Ok(Response::empty())
}

fn configure(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = name(cx)?;
    let known = key::find(cx, &name)?;
    let known =
        known.ok_or_else(|| Refusal::invalid(format!("no existing key named {name} could be found")))?;
    let mut policy = Policy::clone(&known);
    let fields = cx.fields();
    let mut warning = None;
    if let Some(wanted) = fields.int("min_decryption_version")? {
        if wanted == 0 {
            warning = Some("since Vault 0.3, transit key numbering starts at 1; forcing minimum to 1");
        }
        policy.min_decryption = lowest("decryption", wanted, policy.latest)?.max(1);
    }
    if let Some(wanted) = fields.int("min_encryption_version")? {
        policy.min_encryption = lowest("encryption", wanted, policy.latest)?;
    }
    if policy.min_encryption > 0 && policy.min_encryption < policy.min_decryption {
        return Err(Refusal::invalid(format!(
            "cannot set min encryption/decryption values; min encryption version of {} must be greater than or \
             equal to min decryption version of {}",
            policy.min_encryption, policy.min_decryption
        )));
    }
    policy.deletion_allowed = fields.bool("deletion_allowed")?.unwrap_or(policy.deletion_allowed);
    // What was allowed once may already have been used: taking it back would only look like safety.
    policy.exportable |= fields.bool("exportable")?.unwrap_or(false);
    policy.allow_plaintext_backup |= fields.bool("allow_plaintext_backup")?.unwrap_or(false);
    policy.auto_rotate_period = auto_rotate_period(cx)?.unwrap_or(policy.auto_rotate_period);
    if policy != *known {
        if policy.min_available > policy.min_encryption {
            return Err(Refusal::invalid(
                "min encryption version should not be less than min available version",
            ));
        }
        if policy.min_available > policy.min_decryption {
            return Err(Refusal::invalid(
                "min decryption version should not be less then min available version",
            ));
        }
        key::put(cx, &name, &policy)?;
    }
    let response = describe(cx, &name, &policy, None)?;
    Ok(match warning {
        Some(warning) => response.warn(warning),
        None => response,
    })
}

fn lowest(what: &str, wanted: i64, latest: u64) -> Result<u64, Refusal> {
    match u64::try_from(wanted) {
        Err(_) => Err(Refusal::invalid(format!("min {what} version cannot be negative"))),
        Ok(wanted) if wanted > latest => Err(Refusal::invalid(format!(
            "cannot set min {what} version of {wanted}, latest key version is {latest}"
        ))),
        Ok(wanted) => Ok(wanted),
    }
}

fn rotate(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = name(cx)?;
    let known = key::find(cx, &name)?.ok_or_else(|| Refusal::invalid("key not found"))?;
    let mut policy = Policy::clone(&known);
    key::rotate(cx, &name, &mut policy)?;
    describe(cx, &name, &policy, None)
}

fn trim(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = name(cx)?;
    let known = key::find(cx, &name)?.ok_or_else(|| Refusal::invalid("invalid key name"))?;
    let wanted = cx.fields().int("min_available_version")?;
    let wanted = wanted.ok_or_else(|| Refusal::invalid("missing min_available_version"))?;
    let mut policy = Policy::clone(&known);
    let refused = match u64::try_from(wanted) {
        Err(_) => Some("minimum available version cannot be negative"),
        Ok(wanted) if wanted < policy.min_available => {
            Some("minimum available version cannot be decremented")
        }
        _ if policy.min_encryption == 0 => {
            Some("minimum available version cannot be set when minimum encryption version is not set")
        }
        Ok(wanted) if wanted > policy.min_encryption => {
            Some("minimum available version cannot be greater than minmum encryption version")
        }
        Ok(wanted) if wanted > policy.min_decryption => {
            Some("minimum available version cannot be greater than minimum decryption version")
        }
        Ok(0) => Some("minimum available version should be positive"),
        Ok(first) => {
            key::trim(cx, &name, &mut policy, first)?;
            None
        }
    };
    match refused {
        Some(why) => Err(Refusal::invalid(why)),
        None => describe(cx, &name, &policy, None),
    }
}

fn soft_delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    set_soft_deleted(cx, true, "key was already marked as soft deleted")
}

fn soft_delete_restore(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    set_soft_deleted(cx, false, "key was already restored")
}

fn set_soft_deleted(cx: &mut Context<'_, '_>, to: bool, already: &str) -> Result<Response, Refusal> {
    let name = name(cx)?;
    let known = key::find(cx, &name)?.ok_or_else(Refusal::missing)?;
    if known.soft_deleted == to {
        return Ok(describe(cx, &name, &known, None)?.warn(already));
    }
    let mut policy = Policy::clone(&known);
    policy.soft_deleted = to;
    key::put(cx, &name, &policy)?;
    describe(cx, &name, &policy, None)
}

/// A key as clients read it. `context` is what the public parts of derived keys are shown for.
pub(super) fn describe(
    cx: &mut Context<'_, '_>,
    name: &str,
    policy: &Policy,
    context: Option<&[u8]>,
) -> Result<Response, Refusal> {
    let kind = policy.kind()?;
    let mut shown = json!({
        "name": name,
        "type": kind.name(),
        "derived": policy.derived,
        "deletion_allowed": policy.deletion_allowed,
        "min_available_version": policy.min_available,
        "min_decryption_version": policy.min_decryption,
        "min_encryption_version": policy.min_encryption,
        "latest_version": policy.latest,
        "exportable": policy.exportable,
        "allow_plaintext_backup": policy.allow_plaintext_backup,
        "supports_encryption": kind.encrypts(),
        "supports_decryption": kind.encrypts(),
        "supports_signing": kind.signs(),
        "supports_derivation": kind.derives(),
        "auto_rotate_period": policy.auto_rotate_period,
        "imported_key": policy.imported,
        "soft_deleted": policy.soft_deleted,
    });
    let mut set = |field: &str, value: Value| shown[field] = value;
    if policy.key_size > 0 {
        set("key_size", json!(policy.key_size));
    }
    if let Some(parameters) = kind.parameter_set() {
        set("parameter_set", json!(parameters));
    }
    if policy.imported {
        set("imported_key_allow_rotation", json!(policy.allow_rotation));
    }
    for (field, stamp) in [("backup_info", policy.backup), ("restore_info", policy.restore)] {
        if let Some(Stamp { nanos, version }) = stamp {
            let time = Timestamp::from_nanos(nanos).to_string();
            set(field, json!({ "time": time, "version": version }));
        }
    }
    if policy.derived {
        set("kdf", json!("hkdf_sha256"));
        set("convergent_encryption", json!(policy.convergent));
    }
    if policy.convergent {
        // Clients read -1 as: every version says for itself, and all are of the newest kind.
        set("convergent_encryption_version", json!(-1));
    }
    if kind != KeyType::Hmac {
        set("keys", describe_versions(cx, policy, kind, context)?);
    }
    Response::data(&shown)
}

fn describe_versions(
    cx: &mut Context<'_, '_>,
    policy: &Policy,
    kind: KeyType,
    context: Option<&[u8]>,
) -> Result<Value, Refusal> {
    let mut shown = Map::new();
    for (number, held) in key::versions_from(cx, policy, policy.min_decryption)? {
        let version = held.version()?;
        let made = Timestamp::from_nanos(version.record.made);
        let value = if kind.is_asymmetric() {
            json!({
                "name": version_name(kind),
                "public_key": public_text(policy, kind, version, context)?,
                "creation_time": made.to_string(),
            })
        } else {
            json!(made.secs())
        };
        shown.insert(number.to_string(), value);
    }
    Ok(Value::Object(shown))
}

fn version_name(kind: KeyType) -> String {
    match kind {
        KeyType::EcdsaP256 => "P-256".to_owned(),
        KeyType::EcdsaP384 => "P-384".to_owned(),
        KeyType::EcdsaP521 => "P-521".to_owned(),
        _ => match kind.parameter_set() {
            Some(set) => format!("{kind}-{set}"),
            None => kind.to_string(),
        },
    }
}

/// The public part of a version: base64 of Ed25519's 32 bytes, PEM otherwise.
fn public_text(
    policy: &Policy,
    kind: KeyType,
    version: &key::Version,
    context: Option<&[u8]>,
) -> Result<String, Refusal> {
    let own = match &version.record.public {
        Some(public) => public.0.expose().as_slice(),
        None => return Ok(String::new()),
    };
    match (kind, policy.derived, context) {
        (KeyType::Ed25519, true, None) => Ok(String::new()),
        (KeyType::Ed25519, true, Some(context)) => match version.key(kind)? {
            Key::Ed25519(master) => {
                let derived = master.derived(context).map_err(|why| Refusal::invalid(why.to_string()))?;
                Ok(wire::encode(derived.public()))
            }
            _ => Ok(String::new()),
        },
        // The 32 bytes of the point are the end of the structure around them (RFC 8410).
        (KeyType::Ed25519, false, _) => Ok(wire::encode(own.last_chunk::<32>().unwrap_or(&[0; 32]))),
        _ => Ok(keyward_crypto::keys::public_pem(own)),
    }
}
