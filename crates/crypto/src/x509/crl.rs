//! Revocation lists (RFC 5280, 5).

use der::asn1::{Int, OctetString, Uint};
use der::{Decode, Encode, Sequence};
use x509_cert::Version;
use x509_cert::crl::CertificateList;
use x509_cert::ext;
use x509_cert::name::Name;
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_cert::time::Time;

use super::{Error, Extension, PublicKey, Scheme, Subject, oid, signed, time};
use crate::keys::Key;

/// A certificate on a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedEntry {
    /// The serial number, big endian.
    pub serial: Vec<u8>,
    /// When: seconds since 1970.
    pub at: u64,
    /// What else is said of it.
    pub extensions: Vec<Extension>,
}

/// Everything a list says, but for the signature.
pub struct RevocationList<'a> {
    /// Who signs.
    pub issuer: &'a Subject,
    /// The identifier of the key that signs.
    pub key_id: &'a [u8],
    /// Grows with every list of the issuer.
    pub number: u64,
    /// The number of the complete list that this one says the changes since.
    pub base: Option<u64>,
    /// Seconds since 1970.
    pub this_update: u64,
    /// Seconds since 1970.
    pub next_update: u64,
    /// What is revoked.
    pub entries: Vec<RevokedEntry>,
    /// What else is said, beside numbers and the key.
    pub extensions: &'a [Extension],
}

#[derive(Sequence)]
struct Contents {
    version: Version,
    signature: AlgorithmIdentifierOwned,
    issuer: Name,
    this_update: Time,
    next_update: Time,
    #[asn1(optional = "true")]
    entries: Option<Vec<Entry>>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    extensions: Vec<ext::Extension>,
}

#[derive(Sequence)]
struct Entry {
    serial: Int,
    at: Time,
    #[asn1(optional = "true")]
    extensions: Option<Vec<ext::Extension>>,
}

/// Extensions as they are written; absent where there are none.
fn written(extensions: &[Extension]) -> Option<Vec<ext::Extension>> {
    (!extensions.is_empty()).then(|| extensions.iter().map(|extension| extension.0.clone()).collect())
}

fn number(value: u64) -> Result<Vec<u8>, Error> {
    let unwritten = |_| Error::Value("a CRL number cannot be written as DER");
    Uint::new(&value.to_be_bytes()).and_then(|number| number.to_der()).map_err(unwritten)
}

/// A serial number as DER counts: with a zero in front where the first bit would make it negative.
pub(super) fn serial(bytes: &[u8]) -> Result<Int, Error> {
    Uint::new(bytes).map(Int::from).map_err(|_| Error::Value("a serial number is empty"))
}

impl RevocationList<'_> {
    /// The list, signed by `key`.
    pub fn sign(self, key: &Key, scheme: Scheme) -> Result<Vec<u8>, Error> {
        let entry = |entry: &RevokedEntry| {
            let extensions = written(&entry.extensions);
            Ok(Entry { serial: serial(&entry.serial)?, at: time::encode(entry.at)?, extensions })
        };
        let entries = self.entries.iter().map(entry).collect::<Result<Vec<_>, Error>>()?;
        let mut extensions = vec![
            Extension::authority_key_id(self.key_id)?,
            Extension::raw(oid::CRL_NUMBER, false, &number(self.number)?)?,
        ];
        if let Some(base) = self.base {
            extensions.push(Extension::raw(oid::DELTA_CRL, true, &number(base)?)?);
        }
        extensions.extend_from_slice(self.extensions);
        let contents = Contents {
            version: Version::V2,
            signature: scheme.identifier()?,
            issuer: self.issuer.0.clone(),
            this_update: time::encode(self.this_update)?,
            next_update: time::encode(self.next_update)?,
            entries: (!entries.is_empty()).then_some(entries),
            extensions: extensions.into_iter().map(|extension| extension.0).collect(),
        };
        signed::sign(&contents, scheme, key)
    }

    /// Reads what is on a list and verifies who signed it.
    pub fn read(der: &[u8], key: &PublicKey) -> Result<Vec<RevokedEntry>, Error> {
        signed::verify(der, "a revocation list", key)?;
        let list: CertificateList =
            CertificateList::from_der(der).map_err(|_| Error::Malformed("a revocation list"))?;
        let entries = list.tbs_cert_list.revoked_certificates.into_iter().flatten();
        Ok(entries
            .map(|entry| RevokedEntry {
                serial: entry.serial_number.as_bytes().to_vec(),
                at: entry.revocation_date.to_unix_duration().as_secs(),
                extensions: entry.crl_entry_extensions.into_iter().flatten().map(Extension).collect(),
            })
            .collect())
    }
}

/// What a list says is revoked, whoever signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Who issued the certificates.
    pub issuer: Subject,
    /// Their serial numbers, big endian, without leading zeros.
    pub serials: Vec<Vec<u8>>,
    /// When it was made, in seconds since 1970.
    pub this_update: u64,
    /// When the next one is made at the latest, in seconds since 1970; not told when there is none.
    pub next_update: Option<u64>,
}

impl Revoked {
    /// Reads a list without verifying its signature: for who has it from a trusted hand, or calls [`Revoked::verify`].
    pub fn read(der: &[u8]) -> Result<Revoked, Error> {
        let list: CertificateList =
            CertificateList::from_der(der).map_err(|_| Error::Malformed("a revocation list"))?;
        let entries = list.tbs_cert_list.revoked_certificates.into_iter().flatten();
        let serial = |bytes: &[u8]| {
            let zeros =
                bytes.iter().take_while(|byte| **byte == 0).count().min(bytes.len().saturating_sub(1));
            bytes[zeros..].to_vec()
        };
        let serials = entries.map(|entry| serial(entry.serial_number.as_bytes())).collect();
        let seconds = |time: &Time| time.to_unix_duration().as_secs();
        Ok(Revoked {
            this_update: seconds(&list.tbs_cert_list.this_update),
            next_update: list.tbs_cert_list.next_update.as_ref().map(seconds),
            issuer: Subject(list.tbs_cert_list.issuer),
            serials,
        })
    }

    /// Verifies that a list is signed with `key`.
    pub fn verify(der: &[u8], key: &PublicKey) -> Result<(), Error> {
        signed::verify(der, "a revocation list", key)
    }
}

/// The bytes as an octet string.
pub(super) fn octets(bytes: &[u8]) -> Result<OctetString, Error> {
    OctetString::new(bytes).map_err(|_| Error::Value("an octet string is too long"))
}
