//! What a program decided: the certificate it describes, in the words of Go's `x509.Certificate`.

use super::message::{self, Message};
use crate::context::Context;
use crate::engines::pki::authority;
use crate::engines::pki::names;
use crate::engines::pki::params::{self, Family};
use crate::engines::pki::table::Issuer;
use crate::engines::pki::uses::Uses;
use crate::engines::pki::wanted::{self, Wanted};
use crate::engines::pki::{now, refuse};
use crate::refusal::Refusal;
use keyward_crypto::keys::KeyType;
use keyward_crypto::x509::{Extension, KeyUsages, PolicyIdentifier, San, Subject, attribute};
use keyward_expressions::cel::Val;
use std::net::IpAddr;
use std::sync::Arc;

const OUTPUT: &[&str] = &[
    "template",
    "issuer_ref",
    "use_pss",
    "signature_bits",
    "generate_lease",
    "no_store",
    "warnings",
    "subject_key_id",
    "key_type",
    "key_bits",
];
const TEMPLATE: &[&str] = &[
    "Version",
    "Subject",
    "NotBefore",
    "NotAfter",
    "KeyUsage",
    "ExtKeyUsage",
    "UnknownExtKeyUsage",
    "ExtraExtensions",
    "BasicConstraintsValid",
    "IsCA",
    "MaxPathLen",
    "MaxPathLenZero",
    "SubjectKeyId",
    "DNSNames",
    "EmailAddresses",
    "IPAddresses",
    "URIs",
    "PermittedDNSDomainsCritical",
    "PermittedDNSDomains",
    "PolicyIdentifiers",
    "Policies",
];
const NAME: &[&str] = &[
    "CommonName",
    "SerialNumber",
    "Country",
    "Organization",
    "OrganizationUnit",
    "OrganizationalUnit",
    "Locality",
    "Province",
    "StreetAddress",
    "PostalCode",
];
const URL: &[&str] = &["Scheme", "Host", "Path", "RawQuery", "Fragment", "Opaque"];

/// How long before now a certificate begins whose program does not say when, in seconds.
const BACKDATED: u64 = 30;

/// See the module.
pub(super) struct Decision {
    pub(super) wanted: Wanted,
    /// Of an authority: how many may stand below it, if that is bounded, and the domains it may certify, if those are.
    pub(super) authority: Option<(Option<u8>, Vec<String>)>,
    pub(super) key_id: Option<Vec<u8>>,
    pub(super) key_type: KeyType,
    pub(super) issuer_ref: String,
    pub(super) signature_bits: u64,
    pub(super) use_pss: bool,
    pub(super) no_store: bool,
    pub(super) generate_lease: bool,
}

impl Decision {
    /// What `output` decides; refuses with its own words where that is a text.
    pub(super) fn of(cx: &Context<'_, '_>, output: &Val<'_>) -> Result<Decision, Refusal> {
        match output {
            Val::Bool(_) => return Err(Refusal::invalid("Request denied.")),
            other => {
                if let Some(why) = other.as_str() {
                    return Err(Refusal::invalid(why));
                }
            }
        }
        let output = Message::of("ValidationOutput", output, OUTPUT)?;
        let template = output.get("template").ok_or_else(|| Refusal::invalid("template is nil"))?;
        let template = Message::of("CertTemplate", &template, TEMPLATE)?;
        let is_authority = template.flag("IsCA")?;
        let wanted = wanted(cx, &template, warnings(&output)?)?;
        Ok(Decision {
            authority: if is_authority { Some(bounds(&template)?) } else { None },
            key_id: key_id(&output, &template)?,
            key_type: key_type(&output)?,
            issuer_ref: output.text("issuer_ref")?,
            signature_bits: params::checked_signature_bits(output.number("signature_bits")?)?,
            use_pss: output.flag("use_pss")?,
            no_store: output.flag("no_store")?,
            generate_lease: output.flag("generate_lease")?,
            wanted,
        })
    }

    /// Refuses what `issuer` may not sign: a certificate that outlives it, or an authority below its bound.
    pub(super) fn below(mut self, issuer: &Issuer) -> Result<Decision, Refusal> {
        let (begins, ends) = (self.wanted.not_before, self.wanted.not_after);
        self.wanted.not_after = wanted::within(Some(issuer), begins, ends)?;
        if let Some((path_len, _)) = &mut self.authority {
            *path_len = authority::path_len(*path_len, &issuer.certificate)?;
        }
        Ok(self)
    }
}

/// Some write one text, some a list.
fn warnings(output: &Message<'_>) -> Result<Vec<String>, Refusal> {
    match output.get("warnings") {
        Some(Val::Str(_) | Val::Text(_)) => {
            Ok(Some(output.text("warnings")?).filter(|warning| !warning.is_empty()).into_iter().collect())
        }
        _ => output.texts("warnings"),
    }
}

fn key_type(output: &Message<'_>) -> Result<KeyType, Refusal> {
    let name = output.text("key_type")?;
    let family = Family::parse(if name.is_empty() { "rsa" } else { &name })?;
    params::typed(family, output.number("key_bits")?)
}

fn key_id(output: &Message<'_>, template: &Message<'_>) -> Result<Option<Vec<u8>>, Refusal> {
    let mut id = output.bytes("subject_key_id")?;
    if id.is_empty() {
        id = template.bytes("SubjectKeyId")?;
    }
    match id.len() {
        0 => Ok(None),
        1..=64 => Ok(Some(id)),
        _ => Err(Refusal::invalid("a subject key identifier has 1 to 64 bytes")),
    }
}

fn bounds(template: &Message<'_>) -> Result<(Option<u8>, Vec<String>), Refusal> {
    let path_len = match (template.get("MaxPathLen"), template.flag("MaxPathLenZero")?) {
        // As Go has it: zero counts only with the flag, and -1 is no bound.
        (None | Some(Val::Int(0) | Val::Uint(0)), false) | (Some(Val::Int(-1)), _) => None,
        _ => Some(
            u8::try_from(template.number("MaxPathLen")?)
                .map_err(|_| Refusal::invalid("CertTemplate.MaxPathLen must be at most 255"))?,
        ),
    };
    Ok((path_len, template.texts("PermittedDNSDomains")?))
}

fn wanted(cx: &Context<'_, '_>, template: &Message<'_>, warnings: Vec<String>) -> Result<Wanted, Refusal> {
    let not_before = template.moment("NotBefore")?.unwrap_or_else(|| now(cx).saturating_sub(BACKDATED));
    let not_after =
        template.moment("NotAfter")?.unwrap_or_else(|| now(cx).saturating_add(cx.default_ttl().as_secs()));
    let extras = template.list("ExtraExtensions")?;
    Ok(Wanted {
        subject: subject(template)?,
        sans: sans(template)?,
        not_before,
        not_after,
        uses: Arc::new(Uses::new(
            key_usages(template)?,
            &ext_key_usages(template)?,
            &policies(template)?,
            template.flag("BasicConstraintsValid")?,
        )?),
        extra: extras.iter().map(extension).collect::<Result<_, _>>()?,
        warnings,
    })
}

fn subject(template: &Message<'_>) -> Result<Subject, Refusal> {
    let Some(name) = template.get("Subject") else { return Ok(Subject::default()) };
    let name = Message::of("PKIX.Name", &name, NAME)?;
    let one = |field: &str| -> Result<Vec<String>, Refusal> {
        Ok(Some(name.text(field)?).filter(|text| !text.is_empty()).into_iter().collect())
    };
    let mut units = name.texts("OrganizationUnit")?;
    units.extend(name.texts("OrganizationalUnit")?);
    Subject::new(&[
        (attribute::COUNTRY, &name.texts("Country")?),
        (attribute::ORGANIZATION, &name.texts("Organization")?),
        (attribute::ORGANIZATIONAL_UNIT, &units),
        (attribute::LOCALITY, &name.texts("Locality")?),
        (attribute::PROVINCE, &name.texts("Province")?),
        (attribute::STREET_ADDRESS, &name.texts("StreetAddress")?),
        (attribute::POSTAL_CODE, &name.texts("PostalCode")?),
        (attribute::COMMON_NAME, &one("CommonName")?),
        (attribute::SERIAL_NUMBER, &one("SerialNumber")?),
    ])
    .map_err(refuse)
}

fn sans(template: &Message<'_>) -> Result<Vec<San>, Refusal> {
    let mut sans = Vec::new();
    for name in template.texts("DNSNames")? {
        if !name.is_ascii() || !(name.starts_with("*.") || names::is_certifiable(&name)) {
            return Err(Refusal::invalid(format!("CertTemplate.DNSNames: {name:?} is no name that DNS has")));
        }
        sans.push(San::Dns(name));
    }
    sans.extend(template.texts("EmailAddresses")?.into_iter().map(San::Email));
    for address in template.list("IPAddresses")? {
        sans.push(San::Ip(ip(&address)?));
    }
    for uri in template.list("URIs")? {
        sans.push(San::Uri(self::uri(&uri)?));
    }
    wanted::few_enough(&sans)?;
    Ok(sans)
}

/// An address: text, bytes, or a message `Net.IP` of bytes.
fn ip(value: &Val<'_>) -> Result<IpAddr, Refusal> {
    let bytes = match value {
        Val::Ip(address) => return Ok(*address),
        Val::Bytes(bytes) => bytes.to_vec(),
        value => match value.as_str() {
            Some(text) => {
                return text.parse().map_err(|_| {
                    Refusal::invalid(format!("CertTemplate.IPAddresses: {text:?} is not a valid IP address"))
                });
            }
            None => Message::of("Net.IP", value, &["IP"])?.bytes("IP")?,
        },
    };
    <[u8; 4]>::try_from(&bytes[..])
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(&bytes[..]).map(IpAddr::from))
        .map_err(|_| Refusal::invalid("CertTemplate.IPAddresses: an address has 4 or 16 bytes"))
}

/// A URI: text, or a message `Url.URL` of its parts.
fn uri(value: &Val<'_>) -> Result<String, Refusal> {
    if let Some(text) = value.as_str() {
        return Ok(text.to_owned());
    }
    let url = Message::of("Url.URL", value, URL)?;
    let part = |name: &str, before: &str| -> Result<String, Refusal> {
        let text = url.text(name)?;
        Ok(if text.is_empty() { text } else { format!("{before}{text}") })
    };
    let place = match url.text("Opaque")? {
        opaque if opaque.is_empty() => format!("{}{}", part("Host", "//")?, part("Path", "")?),
        opaque => opaque,
    };
    Ok(format!("{}:{place}{}{}", url.text("Scheme")?, part("RawQuery", "?")?, part("Fragment", "#")?))
}

/// Bits as Go numbers them, which are those of RFC 5280, or a list of names.
fn key_usages(template: &Message<'_>) -> Result<KeyUsages, Refusal> {
    let Some(value) = template.get("KeyUsage") else { return Ok(KeyUsages::default()) };
    let bits = match message::number(&value) {
        Some(bits) => u16::try_from(bits).ok().filter(|bits| *bits < 1 << 9),
        None => return Ok(wanted::key_usages(&template.texts("KeyUsage")?)),
    };
    bits.map(KeyUsages)
        .ok_or_else(|| Refusal::invalid("CertTemplate.KeyUsage has nine bits, so it is below 512"))
}

/// Numbers as Go has them, or names; and any others by their OIDs.
fn ext_key_usages(template: &Message<'_>) -> Result<Vec<String>, Refusal> {
    let usages = template.list("ExtKeyUsage")?;
    let name = |usage| match message::number(usage) {
        Some(number) => params::ext_key_usage(number),
        None => usage.as_str(),
    };
    let names: Option<Vec<&str>> = usages.iter().map(name).collect();
    let names = names.ok_or_else(|| Refusal::invalid("CertTemplate.ExtKeyUsage has numbers from 0 to 13"))?;
    params::ext_key_usages_of(names.into_iter(), &oids(template, "UnknownExtKeyUsage")?)
}

fn policies(template: &Message<'_>) -> Result<Vec<PolicyIdentifier>, Refusal> {
    let mut oids = oids(template, "PolicyIdentifiers")?;
    oids.extend(self::oids(template, "Policies")?);
    Ok(oids.into_iter().map(|oid| PolicyIdentifier { oid, ..PolicyIdentifier::default() }).collect())
}

/// OIDs: texts, or messages with the list `Arc`.
fn oids(template: &Message<'_>, field: &str) -> Result<Vec<String>, Refusal> {
    let oid = |value: Val<'_>| match value.as_str() {
        Some(text) => Ok(text.to_owned()),
        None => dotted(&Message::of("ObjectIdentifier", &value, &["Arc"])?, "Arc"),
    };
    template.list(field)?.into_iter().map(oid).collect()
}

fn dotted(message: &Message<'_>, field: &str) -> Result<String, Refusal> {
    let arcs = message.list(field)?;
    let arcs: Option<Vec<String>> = arcs.iter().map(|arc| Some(message::number(arc)?.to_string())).collect();
    arcs.map(|arcs| arcs.join(".")).ok_or_else(|| Refusal::invalid("an OID is a list of whole numbers"))
}

/// A message `PKIX.Extension`.
fn extension(value: &Val<'_>) -> Result<Extension, Refusal> {
    let extension = Message::of("PKIX.Extension", value, &["Id", "Critical", "Value"])?;
    let oid = match extension.get("Id").as_ref().and_then(Val::as_str) {
        Some(text) => text.to_owned(),
        None => dotted(&extension, "Id")?,
    };
    if authority::OURS.contains(&&*oid) {
        return Err(Refusal::invalid(format!(
            "CertTemplate.ExtraExtensions may not have {oid}: IsCA, MaxPathLen and SubjectKeyId say that"
        )));
    }
    Extension::raw(&oid, extension.flag("Critical")?, &extension.bytes("Value")?).map_err(refuse)
}
