//! Parameters that several endpoints share: keys, usages, times, names of issuers and keys.

use super::role::Role;
use super::table::{DEFAULT, Table};
use crate::context::Context;
use crate::fields::Fields;
use crate::refusal::Refusal;
use crate::route::{Field, Kind, field};
use keyward_crypto::keys::{Key, KeyType};
use keyward_crypto::x509;

pub(super) const KEY_TYPE: Field = field("key_type", Kind::Text, "rsa, ec or ed25519; rsa unless given.");
pub(super) const KEY_BITS: Field =
    field("key_bits", Kind::Int, "2048, 3072 or 4096 for rsa; 256, 384 or 521 for ec; 0 for the usual.");
pub(super) const KEY_NAME: Field = field("key_name", Kind::Text, "A name for the key.");
pub(super) const KEY_REF: Field = field("key_ref", Kind::Text, "The key to use, by id or name, or default.");
pub(super) const ISSUER_NAME: Field = field("issuer_name", Kind::Text, "A name for the issuer.");
pub(super) const FORMAT: Field = field("format", Kind::Text, "pem, der or pem_bundle; pem unless given.");
pub(super) const PRIVATE_KEY_FORMAT: Field =
    field("private_key_format", Kind::Text, "pkcs8, or der for what the key's type is usually written in.");

/// Field `name` as a number that is not negative.
pub(super) fn number(fields: &Fields, name: &str) -> Result<Option<u64>, Refusal> {
    let read = |value: i64| {
        u64::try_from(value).map_err(|_| Refusal::invalid(format!("{name} must not be negative")))
    };
    fields.int(name)?.map(read).transpose()
}

/// A family of keys, as `key_type` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Rsa,
    Ec,
    Ed25519,
    Any,
}

impl Family {
    pub(super) fn parse(name: &str) -> Result<Family, Refusal> {
        match name {
            "rsa" => Ok(Family::Rsa),
            "ec" => Ok(Family::Ec),
            "ed25519" => Ok(Family::Ed25519),
            "any" => Ok(Family::Any),
            other => Err(Refusal::invalid(format!(
                "unknown key type {other}; there are rsa, ec, ed25519, and any where a request is signed"
            ))),
        }
    }

    /// The bits asked for, or the usual ones for 0.
    pub(super) fn checked_bits(self, bits: u64) -> Result<u64, Refusal> {
        match (self, bits) {
            (Family::Rsa, 0) => Ok(2048),
            (Family::Rsa, 2048 | 3072 | 4096 | 8192) | (Family::Ec, 256 | 384 | 521) => Ok(bits),
            (Family::Ec, 0) => Ok(256),
            (Family::Ed25519 | Family::Any, _) => Ok(0),
            (Family::Rsa, _) => Err(Refusal::invalid(format!(
                "unsupported bit length for RSA key: {bits}; there are 2048, 3072, 4096 and 8192"
            ))),
            (Family::Ec, _) => Err(Refusal::invalid(format!(
                "unsupported bit length for EC key: {bits}; there are 256, 384 and 521"
            ))),
        }
    }

    /// The type of a key with checked bits; none for any.
    fn key_type(self, bits: u64) -> Option<KeyType> {
        Some(match (self, bits) {
            (Family::Rsa, 3072) => KeyType::Rsa3072,
            (Family::Rsa, 4096) => KeyType::Rsa4096,
            (Family::Rsa, 8192) => KeyType::Rsa8192,
            (Family::Rsa, _) => KeyType::Rsa2048,
            (Family::Ec, 384) => KeyType::EcdsaP384,
            (Family::Ec, 521) => KeyType::EcdsaP521,
            (Family::Ec, _) => KeyType::EcdsaP256,
            (Family::Ed25519, _) => KeyType::Ed25519,
            (Family::Any, _) => return None,
        })
    }
}

pub(super) fn checked_signature_bits(bits: u64) -> Result<u64, Refusal> {
    match bits {
        0 | 256 | 384 | 512 => Ok(bits),
        _ => Err(Refusal::invalid(format!("unsupported signature_bits: {bits}; there are 256, 384 and 512"))),
    }
}

/// The type of the key that `key_type` and `key_bits` ask for.
pub(super) fn key_type(fields: &Fields) -> Result<KeyType, Refusal> {
    let name = fields.string("key_type")?.filter(|name| !name.is_empty());
    let family = Family::parse(name.as_deref().unwrap_or("rsa"))?;
    typed(family, number(fields, "key_bits")?.unwrap_or(0))
}

/// The type of a key of `family`.
pub(super) fn typed(family: Family, bits: u64) -> Result<KeyType, Refusal> {
    family
        .key_type(family.checked_bits(bits)?)
        .ok_or_else(|| Refusal::invalid("key_type any cannot be made: name rsa, ec or ed25519"))
}

/// A new key.
pub(super) fn generate(cx: &Context<'_, '_>, kind: KeyType) -> Result<Key, Refusal> {
    Key::generate(kind, 0, cx.random()).map_err(|why| Refusal::invalid(why.to_string()))
}

/// Whether making such a key takes microseconds rather than milliseconds.
pub(super) fn is_quick(kind: KeyType) -> bool {
    matches!(kind, KeyType::EcdsaP256 | KeyType::Ed25519)
}

/// A moment as certificates have it, in seconds since 1970.
pub(super) fn moment(name: &str, text: &str) -> Result<u64, Refusal> {
    x509::parse_time(text)
        .ok_or_else(|| Refusal::invalid(format!("{name}: write a time in UTC as YYYY-MM-DDTHH:MM:SSZ")))
}

/// The extended key usages by Go's names.
const EXT_KEY_USAGES: [(&str, &str); 14] = [
    ("Any", "2.5.29.37.0"),
    ("ServerAuth", "1.3.6.1.5.5.7.3.1"),
    ("ClientAuth", "1.3.6.1.5.5.7.3.2"),
    ("CodeSigning", "1.3.6.1.5.5.7.3.3"),
    ("EmailProtection", "1.3.6.1.5.5.7.3.4"),
    ("IPSECEndSystem", "1.3.6.1.5.5.7.3.5"),
    ("IPSECTunnel", "1.3.6.1.5.5.7.3.6"),
    ("IPSECUser", "1.3.6.1.5.5.7.3.7"),
    ("TimeStamping", "1.3.6.1.5.5.7.3.8"),
    ("OCSPSigning", "1.3.6.1.5.5.7.3.9"),
    ("MicrosoftServerGatedCrypto", "1.3.6.1.4.1.311.10.3.3"),
    ("NetscapeServerGatedCrypto", "2.16.840.1.113730.4.1"),
    ("MicrosoftCommercialCodeSigning", "1.3.6.1.4.1.311.2.1.22"),
    ("MicrosoftKernelCodeSigning", "1.3.6.1.4.1.311.61.1.1"),
];

/// The name of the extended key usage that Go numbers so.
pub(super) fn ext_key_usage(number: u64) -> Option<&'static str> {
    EXT_KEY_USAGES.get(usize::try_from(number).ok()?).map(|(name, _)| *name)
}

/// The extended key usages of a role's certificates as OIDs.
pub(super) fn ext_key_usages(role: &Role) -> Result<Vec<String>, Refusal> {
    let flags = [
        (role.server_flag, "ServerAuth"),
        (role.client_flag, "ClientAuth"),
        (role.code_signing_flag, "CodeSigning"),
        (role.email_protection_flag, "EmailProtection"),
    ];
    let flagged = flags.iter().filter(|(is, _)| *is).map(|(_, name)| *name);
    let named = role.ext_key_usage.iter().map(String::as_str);
    ext_key_usages_of(flagged.chain(named), &role.ext_key_usage_oids)
}

/// Extended key usages as OIDs, each once. Names that are not known are left out, as Vault does.
pub(super) fn ext_key_usages_of<'n>(
    names: impl Iterator<Item = &'n str>,
    others: &[String],
) -> Result<Vec<String>, Refusal> {
    let known = |name: &str| {
        let plain = name.trim();
        EXT_KEY_USAGES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(plain))
            .map(|(_, oid)| (*oid).to_owned())
    };
    let mut oids: Vec<String> = Vec::new();
    let all = names.filter_map(known);
    for oid in all.chain(others.iter().map(|oid| oid.trim().to_owned())) {
        if !oid.is_empty() && !oids.contains(&oid) {
            oids.push(oid);
        }
    }
    if let Some(bad) = oids.iter().find(|oid| x509::Extension::raw(oid, false, &[]).is_err()) {
        return Err(Refusal::invalid(format!(
            "{bad:?} could not be parsed as a valid oid for an extended key usage"
        )));
    }
    Ok(oids)
}

/// The name for a new issuer; empty when there is none.
pub(super) fn issuer_name(fields: &Fields, table: &Table) -> Result<String, Refusal> {
    let taken =
        |name: &str| table.issuers.iter().any(|issuer| issuer.entry.name == name || issuer.entry.id == name);
    free_name(fields, "issuer_name", "issuer", taken)
}

/// The name for a new key; empty when there is none.
pub(super) fn key_name(fields: &Fields, table: &Table) -> Result<String, Refusal> {
    let taken = |name: &str| table.keys.iter().any(|key| key.name == name || key.id == name);
    free_name(fields, "key_name", "key", taken)
}

fn free_name(
    fields: &Fields,
    field: &str,
    what: &str,
    taken: impl Fn(&str) -> bool,
) -> Result<String, Refusal> {
    let name = fields.string(field)?.unwrap_or_default();
    let name = name.trim();
    if name == DEFAULT {
        return Err(Refusal::invalid(format!("reserved keyword 'default' can not be used as {what} name")));
    }
    if !name.is_empty() && !super::is_name(name) {
        return Err(Refusal::invalid(format!("{what} name contained invalid characters")));
    }
    if !name.is_empty() && taken(name) {
        return Err(Refusal::invalid(format!("{what} name already in use")));
    }
    Ok(name.to_owned())
}
