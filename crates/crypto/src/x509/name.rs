//! Distinguished names.

use der::asn1::{Any, ObjectIdentifier, PrintableStringRef, SetOfVec, Utf8StringRef};
use der::{Decode, Encode, Tag, Tagged};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};

use super::Error;

/// The attributes that certificates of ours have (RFC 4519; the user id is RFC 1274's).
#[allow(missing_docs)]
pub mod attribute {
    pub const COMMON_NAME: &str = "2.5.4.3";
    pub const SERIAL_NUMBER: &str = "2.5.4.5";
    pub const COUNTRY: &str = "2.5.4.6";
    pub const LOCALITY: &str = "2.5.4.7";
    pub const PROVINCE: &str = "2.5.4.8";
    pub const STREET_ADDRESS: &str = "2.5.4.9";
    pub const ORGANIZATION: &str = "2.5.4.10";
    pub const ORGANIZATIONAL_UNIT: &str = "2.5.4.11";
    pub const POSTAL_CODE: &str = "2.5.4.17";
    pub const USER_ID: &str = "0.9.2342.19200300.100.1.1";
}

/// A distinguished name, kept as it was encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject(pub(super) Name);

/// As RFC 4514 writes names, the last attribute first.
impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Subject {
    /// From attributes in the order given; the values of one attribute share a set, as Go writes them. Attributes
    /// without values are left out.
    pub fn new(attributes: &[(&str, &[String])]) -> Result<Subject, Error> {
        let mut sets = Vec::new();
        for (oid, values) in attributes.iter().filter(|(_, values)| !values.is_empty()) {
            let oid = ObjectIdentifier::new(oid)
                .map_err(|_| Error::Value("an attribute of the subject has no valid OID"))?;
            let values = values.iter().map(|value| Ok(AttributeTypeAndValue { oid, value: text(value)? }));
            let set = SetOfVec::try_from(values.collect::<Result<Vec<_>, Error>>()?)
                .map_err(|_| Error::Value("an attribute of the subject is given twice"))?;
            sets.push(RelativeDistinguishedName::from(set));
        }
        Ok(Subject(Name::hazmat_from_rdn_sequence(RdnSequence::from(sets))))
    }

    /// The name as DER.
    pub fn der(&self) -> Vec<u8> {
        self.0.to_der().unwrap_or_default()
    }

    /// From DER.
    pub fn read(der: &[u8]) -> Option<Subject> {
        Name::from_der(der).ok().map(Subject)
    }

    /// True when it has no attributes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values of an attribute, those that are text.
    pub fn values(&self, oid: &str) -> Vec<String> {
        let Ok(oid) = ObjectIdentifier::new(oid) else { return Vec::new() };
        self.0
            .iter()
            .filter(|attribute| attribute.oid == oid)
            .filter_map(|found| read_text(&found.value))
            .collect()
    }

    /// The last common name, which Go's readers take; empty when there is none.
    pub fn common_name(&self) -> String {
        self.values(attribute::COMMON_NAME).pop().unwrap_or_default()
    }
}

fn text(value: &str) -> Result<Any, Error> {
    if value.contains('\0') {
        return Err(Error::Value("a name contains a NUL character"));
    }
    let written = match PrintableStringRef::new(value) {
        Ok(printable) => Any::encode_from(&printable),
        Err(_) => Utf8StringRef::new(value).and_then(|text| Any::encode_from(&text)),
    };
    written.map_err(|_| Error::Value("a name is too long"))
}

pub(super) fn read_text(value: &Any) -> Option<String> {
    match value.tag() {
        Tag::PrintableString | Tag::Utf8String | Tag::Ia5String | Tag::TeletexString => {
            std::str::from_utf8(value.value()).ok().map(str::to_owned)
        }
        Tag::BmpString => {
            let units = value.value().chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            String::from_utf16(&units.collect::<Vec<_>>()).ok()
        }
        _ => None,
    }
}
