//! Extensions of certificates, requests and lists (RFC 5280, 4.2 and 5.2).

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use der::asn1::{Any, Ia5String, ObjectIdentifier, OctetString, Utf8StringRef};
use der::flagset::FlagSet;
use der::{Decode, Encode};
use x509_cert::ext::pkix::certpolicy::{PolicyInformation, PolicyQualifierInfo};
use x509_cert::ext::pkix::constraints::name::GeneralSubtree;
use x509_cert::ext::pkix::crl::dp::DistributionPoint;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName, OtherName};
use x509_cert::ext::pkix::{
    AccessDescription, AuthorityInfoAccessSyntax, AuthorityKeyIdentifier, BasicConstraints,
    CertificatePolicies, CrlDistributionPoints, ExtendedKeyUsage, KeyUsage, NameConstraints, SubjectAltName,
    SubjectKeyIdentifier,
};

use super::{Error, name};

/// The object identifiers of extensions.
#[allow(missing_docs)]
pub mod oid {
    pub const SUBJECT_KEY_ID: &str = "2.5.29.14";
    pub const KEY_USAGE: &str = "2.5.29.15";
    pub const SUBJECT_ALT_NAME: &str = "2.5.29.17";
    pub const BASIC_CONSTRAINTS: &str = "2.5.29.19";
    pub const CRL_NUMBER: &str = "2.5.29.20";
    pub const CRL_REASON: &str = "2.5.29.21";
    pub const DELTA_CRL: &str = "2.5.29.27";
    pub const NAME_CONSTRAINTS: &str = "2.5.29.30";
    pub const CRL_DISTRIBUTION_POINTS: &str = "2.5.29.31";
    pub const CERTIFICATE_POLICIES: &str = "2.5.29.32";
    pub const AUTHORITY_KEY_ID: &str = "2.5.29.35";
    pub const EXT_KEY_USAGE: &str = "2.5.29.37";
    pub const FRESHEST_CRL: &str = "2.5.29.46";
    pub const AUTHORITY_INFO_ACCESS: &str = "1.3.6.1.5.5.7.1.1";
    /// A purpose of extended key usage: TLS clients.
    pub const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";
    /// A purpose of extended key usage: signing OCSP answers for the issuer.
    pub const OCSP_SIGNING: &str = "1.3.6.1.5.5.7.3.9";
    /// A purpose of extended key usage: any.
    pub const ANY_PURPOSE: &str = "2.5.29.37.0";
    pub const OCSP_NONCE: &str = "1.3.6.1.5.5.7.48.1.2";
}

/// Those that are written and looked up here, read when this is compiled: reading one costs more than comparing two.
pub(super) mod known {
    use super::{ObjectIdentifier, oid};

    pub(in super::super) const SUBJECT_KEY_ID: ObjectIdentifier =
        ObjectIdentifier::new_unwrap(oid::SUBJECT_KEY_ID);
    pub(in super::super) const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap(oid::KEY_USAGE);
    pub(in super::super) const SUBJECT_ALT_NAME: ObjectIdentifier =
        ObjectIdentifier::new_unwrap(oid::SUBJECT_ALT_NAME);
    pub(in super::super) const BASIC_CONSTRAINTS: ObjectIdentifier =
        ObjectIdentifier::new_unwrap(oid::BASIC_CONSTRAINTS);
    pub(in super::super) const NAME_CONSTRAINTS: ObjectIdentifier =
        ObjectIdentifier::new_unwrap(oid::NAME_CONSTRAINTS);
    pub(in super::super) const CRL_DISTRIBUTION_POINTS: ObjectIdentifier =
        ObjectIdentifier::new_unwrap(oid::CRL_DISTRIBUTION_POINTS);
    pub(in super::super) const CERTIFICATE_POLICIES: ObjectIdentifier =
        ObjectIdentifier::new_unwrap(oid::CERTIFICATE_POLICIES);
    pub(in super::super) const AUTHORITY_KEY_ID: ObjectIdentifier =
        ObjectIdentifier::new_unwrap(oid::AUTHORITY_KEY_ID);
    pub(in super::super) const EXT_KEY_USAGE: ObjectIdentifier =
        ObjectIdentifier::new_unwrap(oid::EXT_KEY_USAGE);
    pub(in super::super) const FRESHEST_CRL: ObjectIdentifier =
        ObjectIdentifier::new_unwrap(oid::FRESHEST_CRL);
    pub(in super::super) const AUTHORITY_INFO_ACCESS: ObjectIdentifier =
        ObjectIdentifier::new_unwrap(oid::AUTHORITY_INFO_ACCESS);
}

pub(super) const OCSP_SERVER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1");
const CA_ISSUERS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.2");
const CPS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.2.1");
const USER_NOTICE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.2.2");

/// What a key may be used for, as the bits of RFC 5280, 4.2.1.3, the first being the lowest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyUsages(pub u16);

const KEY_USAGES: [&str; 9] = [
    "DigitalSignature",
    "ContentCommitment",
    "KeyEncipherment",
    "DataEncipherment",
    "KeyAgreement",
    "CertSign",
    "CRLSign",
    "EncipherOnly",
    "DecipherOnly",
];

impl KeyUsages {
    /// Signing certificates and lists: what an authority does.
    pub const AUTHORITY: KeyUsages = KeyUsages(1 << 5 | 1 << 6);

    /// The usage with Go's name, in any case; `None` for others.
    pub fn named(name: &str) -> Option<KeyUsages> {
        let at = KEY_USAGES.iter().position(|known| known.eq_ignore_ascii_case(name.trim()))?;
        Some(KeyUsages(1 << at))
    }

    /// These and those.
    #[must_use]
    pub const fn and(self, other: KeyUsages) -> KeyUsages {
        KeyUsages(self.0 | other.0)
    }
}

/// An alternative name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum San {
    /// A host name, perhaps with a wildcard.
    Dns(String),
    /// An e-mail address.
    Email(String),
    /// A URI.
    Uri(String),
    /// An address.
    Ip(IpAddr),
    /// A UTF-8 text of the type an OID names.
    Other {
        /// The OID.
        oid: String,
        /// The text.
        value: String,
    },
}

/// A certificate policy (RFC 5280, 4.2.1.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyIdentifier {
    /// Its OID.
    pub oid: String,
    /// A notice to users; none when empty.
    pub notice: String,
    /// Where the practice statement is; none when empty.
    pub cps: String,
}

/// One extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension(pub(super) x509_cert::ext::Extension);

fn object(text: &str) -> Result<ObjectIdentifier, Error> {
    ObjectIdentifier::new(text).map_err(|_| Error::Value("not a valid object identifier"))
}

fn ascii(text: &str) -> Result<Ia5String, Error> {
    if text.contains('\0') {
        return Err(Error::Value("an alternative name or URL contains a NUL character"));
    }
    Ia5String::new(text)
        .map_err(|_| Error::Value("an alternative name or URL has characters that are not ASCII"))
}

fn uri(text: &str) -> Result<GeneralName, Error> {
    ascii(text).map(GeneralName::UniformResourceIdentifier)
}

impl Extension {
    /// From the parts: an OID in dotted form and the DER of the value.
    pub fn raw(oid: &str, critical: bool, value: &[u8]) -> Result<Extension, Error> {
        Extension::with(object(oid)?, critical, value.to_vec())
    }

    fn of(oid: ObjectIdentifier, critical: bool, value: &impl Encode) -> Result<Extension, Error> {
        let der = value.to_der().map_err(|_| Error::Value("an extension cannot be written as DER"))?;
        Extension::with(oid, critical, der)
    }

    fn with(extn_id: ObjectIdentifier, critical: bool, value: Vec<u8>) -> Result<Extension, Error> {
        let extn_value = OctetString::new(value).map_err(|_| Error::Value("an extension is too long"))?;
        Ok(Extension(x509_cert::ext::Extension { extn_id, critical, extn_value }))
    }

    /// Whether it has this OID.
    pub fn is(&self, oid: &str) -> bool {
        ObjectIdentifier::new(oid).is_ok_and(|oid| oid == self.0.extn_id)
    }

    /// The OID in dotted form.
    pub fn oid(&self) -> String {
        self.0.extn_id.to_string()
    }

    /// Whether a reader that does not know it must refuse the certificate.
    pub const fn critical(&self) -> bool {
        self.0.critical
    }

    /// The DER of the value.
    pub fn value(&self) -> &[u8] {
        self.0.extn_value.as_bytes()
    }

    /// The value, where it is one of DER's texts.
    pub fn text(&self) -> Option<String> {
        name::read_text(&Any::from_der(self.value()).ok()?)
    }

    /// Whether the certificate is an authority's, and how many more may stand below it.
    pub fn basic_constraints(ca: bool, path_len: Option<u8>) -> Result<Extension, Error> {
        let value = BasicConstraints { ca, path_len_constraint: path_len.filter(|_| ca) };
        Extension::of(known::BASIC_CONSTRAINTS, true, &value)
    }

    /// What the key may be used for.
    pub fn key_usage(usages: KeyUsages) -> Result<Extension, Error> {
        Extension::of(known::KEY_USAGE, true, &KeyUsage(FlagSet::new_truncated(usages.0)))
    }

    /// What for, more closely, as OIDs.
    pub fn ext_key_usage(oids: &[String]) -> Result<Extension, Error> {
        let oids = oids.iter().map(|oid| object(oid)).collect::<Result<Vec<_>, _>>()?;
        Extension::of(known::EXT_KEY_USAGE, false, &ExtendedKeyUsage(oids))
    }

    /// The identifier of the certificate's own key.
    pub fn subject_key_id(id: &[u8]) -> Result<Extension, Error> {
        let id = OctetString::new(id).map_err(|_| Error::Value("a key identifier is too long"))?;
        Extension::of(known::SUBJECT_KEY_ID, false, &SubjectKeyIdentifier(id))
    }

    /// The identifier of the issuer's key.
    pub fn authority_key_id(id: &[u8]) -> Result<Extension, Error> {
        let id = OctetString::new(id).map_err(|_| Error::Value("a key identifier is too long"))?;
        let value = AuthorityKeyIdentifier { key_identifier: Some(id), ..AuthorityKeyIdentifier::default() };
        Extension::of(known::AUTHORITY_KEY_ID, false, &value)
    }

    /// Alternative names; critical where the subject is empty.
    pub fn alternative_names(names: &[San], critical: bool) -> Result<Extension, Error> {
        let names = names.iter().map(general_name).collect::<Result<Vec<_>, _>>()?;
        Extension::of(known::SUBJECT_ALT_NAME, critical, &SubjectAltName(names))
    }

    /// Where the issuer's certificate and its OCSP servers are.
    pub fn authority_info(ocsp: &[String], issuers: &[String]) -> Result<Extension, Error> {
        let described = |method| {
            move |url: &String| Ok(AccessDescription { access_method: method, access_location: uri(url)? })
        };
        let all = ocsp.iter().map(described(OCSP_SERVER)).chain(issuers.iter().map(described(CA_ISSUERS)));
        let all = all.collect::<Result<Vec<_>, Error>>()?;
        Extension::of(known::AUTHORITY_INFO_ACCESS, false, &AuthorityInfoAccessSyntax(all))
    }

    /// Where revocation lists are, or with `delta` where the changes since the last one are.
    pub fn distribution_points(urls: &[String], delta: bool) -> Result<Extension, Error> {
        let point = |url: &String| {
            let name = DistributionPointName::FullName(vec![uri(url)?]);
            Ok(DistributionPoint { distribution_point: Some(name), reasons: None, crl_issuer: None })
        };
        let points = urls.iter().map(point).collect::<Result<Vec<_>, Error>>()?;
        let oid = if delta { known::FRESHEST_CRL } else { known::CRL_DISTRIBUTION_POINTS };
        Extension::of(oid, false, &CrlDistributionPoints(points))
    }

    /// The domains an authority may certify.
    pub fn permitted_domains(domains: &[String]) -> Result<Extension, Error> {
        let subtree = |domain: &String| {
            Ok(GeneralSubtree { base: GeneralName::DnsName(ascii(domain)?), minimum: 0, maximum: None })
        };
        let permitted = domains.iter().map(subtree).collect::<Result<Vec<_>, Error>>()?;
        let value = NameConstraints { permitted_subtrees: Some(permitted), excluded_subtrees: None };
        Extension::of(known::NAME_CONSTRAINTS, true, &value)
    }

    /// The policies a certificate was issued under.
    pub fn policies(policies: &[PolicyIdentifier]) -> Result<Extension, Error> {
        let policies = policies.iter().map(policy).collect::<Result<Vec<_>, _>>()?;
        Extension::of(known::CERTIFICATE_POLICIES, false, &CertificatePolicies(policies))
    }
}

fn policy(from: &PolicyIdentifier) -> Result<PolicyInformation, Error> {
    let unwritten = |_| Error::Value("a policy identifier cannot be written as DER");
    let mut qualifiers = Vec::new();
    if !from.cps.is_empty() {
        let qualifier = Some(Any::encode_from(&ascii(&from.cps)?).map_err(unwritten)?);
        qualifiers.push(PolicyQualifierInfo { policy_qualifier_id: CPS, qualifier });
    }
    if !from.notice.is_empty() {
        let text = Utf8StringRef::new(&from.notice).map_err(unwritten)?;
        let notice = vec![Any::encode_from(&text).map_err(unwritten)?];
        let qualifier = Some(Any::encode_from(&notice).map_err(unwritten)?);
        qualifiers.push(PolicyQualifierInfo { policy_qualifier_id: USER_NOTICE, qualifier });
    }
    Ok(PolicyInformation {
        policy_identifier: object(&from.oid)?,
        policy_qualifiers: (!qualifiers.is_empty()).then_some(qualifiers),
    })
}

fn general_name(san: &San) -> Result<GeneralName, Error> {
    let octets = |bytes: &[u8]| {
        OctetString::new(bytes)
            .map(GeneralName::IpAddress)
            .map_err(|_| Error::Value("an address is too long"))
    };
    Ok(match san {
        San::Dns(name) => GeneralName::DnsName(ascii(name)?),
        San::Email(address) => GeneralName::Rfc822Name(ascii(address)?),
        San::Uri(text) => uri(text)?,
        San::Ip(IpAddr::V4(address)) => octets(&address.octets())?,
        San::Ip(IpAddr::V6(address)) => octets(&address.octets())?,
        San::Other { oid, value } => {
            let text = Utf8StringRef::new(value).and_then(|text| Any::encode_from(&text));
            let value = text.map_err(|_| Error::Value("an other name is too long"))?;
            GeneralName::OtherName(OtherName { type_id: object(oid)?, value })
        }
    })
}

/// Whether no extension occurs twice (RFC 5280, 4.2).
pub(super) fn distinct(extensions: &[Extension]) -> bool {
    let mut seen = BTreeSet::new();
    extensions.iter().all(|extension| seen.insert(extension.0.extn_id))
}

/// The alternative names among `extensions`. Directory names, EDI names and registered ids are left out; an other
/// name that is no UTF-8 text is an error, or with `lenient` left out too.
pub(super) fn read_sans(extensions: &[Extension], lenient: bool) -> Result<Vec<San>, Error> {
    let Some(found) = extensions.iter().find(|extension| extension.0.extn_id == known::SUBJECT_ALT_NAME)
    else {
        return Ok(Vec::new());
    };
    let malformed = Error::Malformed("alternative names");
    let names = SubjectAltName::from_der(found.value()).map_err(|_| malformed)?;
    let mut sans = Vec::new();
    for name in names.0 {
        sans.push(match name {
            GeneralName::DnsName(name) => San::Dns(printable(name.as_str())?),
            GeneralName::Rfc822Name(address) => San::Email(printable(address.as_str())?),
            GeneralName::UniformResourceIdentifier(text) => San::Uri(printable(text.as_str())?),
            GeneralName::IpAddress(octets) => San::Ip(address(octets.as_bytes()).ok_or(malformed)?),
            GeneralName::OtherName(other) => match other.value.decode_as::<String>() {
                Ok(value) => San::Other { oid: other.type_id.to_string(), value },
                Err(_) if lenient => continue,
                Err(_) => return Err(Error::Value("no UTF-8 string found in OtherName")),
            },
            GeneralName::DirectoryName(_) | GeneralName::EdiPartyName(_) | GeneralName::RegisteredId(_) => {
                continue;
            }
        });
    }
    Ok(sans)
}

/// A name with control characters is read differently by different readers: it is no name.
fn printable(text: &str) -> Result<String, Error> {
    match text.chars().any(char::is_control) {
        true => Err(Error::Value("an alternative name contains control characters")),
        false => Ok(text.to_owned()),
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(|octets| IpAddr::V4(Ipv4Addr::from(octets)));
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(|octets| IpAddr::V6(Ipv6Addr::from(octets)))).ok()
}
