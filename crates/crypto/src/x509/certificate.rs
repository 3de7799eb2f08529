//! Certificates (RFC 5280, 4.1).

use std::sync::OnceLock;

use der::asn1::{Int, ObjectIdentifier};
use der::{Decode, Encode, Sequence};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityInfoAccessSyntax, AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage,
    SubjectKeyIdentifier,
};
use x509_cert::name::Name;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::{Time, Validity};
use x509_cert::{Version, ext};

use super::extension::known;
use super::{Error, Extension, KeyUsages, PublicKey, San, Scheme, Subject, extension, pem, signed, time};
use crate::keys::Key;

/// Bytes of the largest certificate that is read.
const MOST: usize = 64 * 1024;
const TOO_LONG: Error = Error::Value("a certificate may have at most 65536 bytes");

/// Everything a certificate says, but for the signature.
pub struct Template<'a> {
    /// Big endian, at most 20 bytes, the first below 0x80.
    pub serial: &'a [u8],
    /// Who signs.
    pub issuer: &'a Subject,
    /// Who it is for.
    pub subject: &'a Subject,
    /// Seconds since 1970.
    pub not_before: u64,
    /// Seconds since 1970; see [`super::NEVER`].
    pub not_after: u64,
    /// The `SubjectPublicKeyInfo` of the key it is for, in DER.
    pub spki: &'a [u8],
    /// In the order they are written.
    pub extensions: Vec<Extension>,
}

/// `TBSCertificate`; the library's own can be read but not made.
#[derive(Sequence)]
struct Contents {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    version: Version,
    serial: Int,
    signature: AlgorithmIdentifierOwned,
    issuer: Name,
    validity: Times,
    subject: Name,
    key: SubjectPublicKeyInfoOwned,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Vec<ext::Extension>>,
}

#[derive(Sequence)]
struct Times {
    not_before: Time,
    not_after: Time,
}

impl Template<'_> {
    /// The certificate of `public`, signed by `key`: what [`Certificate::read`] makes of [`Template::sign`]'s bytes.
    /// `public` is the key that [`Template::spki`] has.
    pub fn issue(self, public: &PublicKey, key: &Key, scheme: Scheme) -> Result<Certificate, Error> {
        if public.spki() != self.spki {
            return Err(Error::Key("the certificate is for another key"));
        }
        let (not_before, not_after) = (self.not_before, self.not_after);
        let (serial, subject, issuer) = (self.serial.to_vec(), self.subject.clone(), self.issuer.clone());
        let extensions = self.extensions.clone();
        let der = self.sign(key, scheme)?;
        if der.len() > MOST {
            return Err(TOO_LONG);
        }
        let (public, pem) = (public.clone(), OnceLock::new());
        Ok(Certificate { der, serial, subject, issuer, not_before, not_after, public, extensions, pem })
    }

    /// The certificate, signed by `key`.
    pub fn sign(self, key: &Key, scheme: Scheme) -> Result<Vec<u8>, Error> {
        let unwritten = |_| Error::Value("the certificate cannot be written as DER");
        if !extension::distinct(&self.extensions) {
            return Err(Error::Value("an extension is given twice"));
        }
        let extensions: Vec<_> = self.extensions.into_iter().map(|extension| extension.0).collect();
        let contents = Contents {
            version: Version::V3,
            serial: Int::new(self.serial).map_err(unwritten)?,
            signature: scheme.identifier()?,
            issuer: self.issuer.0.clone(),
            validity: Times {
                not_before: time::encode(self.not_before)?,
                not_after: time::encode(self.not_after)?,
            },
            subject: self.subject.0.clone(),
            key: SubjectPublicKeyInfoOwned::from_der(self.spki).map_err(unwritten)?,
            extensions: (!extensions.is_empty()).then_some(extensions),
        };
        signed::sign(&contents, scheme, key)
    }
}

/// A certificate as it was read, or made.
#[derive(Clone, Debug)]
pub struct Certificate {
    der: Vec<u8>,
    serial: Vec<u8>,
    subject: Subject,
    issuer: Subject,
    not_before: u64,
    not_after: u64,
    public: PublicKey,
    extensions: Vec<Extension>,
    pem: OnceLock<String>,
}

impl Certificate {
    /// Reads a certificate of at most 64 KiB. Its signature is not looked at: see [`Certificate::signed_by`].
    pub fn read(der: &[u8]) -> Result<Certificate, Error> {
        let malformed = Error::Malformed("a certificate");
        if der.len() > MOST {
            return Err(TOO_LONG);
        }
        let read = x509_cert::Certificate::from_der(der).map_err(|_| malformed)?;
        let contents = read.tbs_certificate();
        let validity: &Validity = contents.validity();
        let spki = contents.subject_public_key_info().to_der().map_err(|_| malformed)?;
        let extensions: Vec<_> =
            contents.extensions().into_iter().flatten().cloned().map(Extension).collect();
        if !extension::distinct(&extensions) {
            return Err(malformed);
        }
        Ok(Certificate {
            der: der.to_vec(),
            serial: contents.serial_number().as_bytes().to_vec(),
            subject: Subject(contents.subject().clone()),
            issuer: Subject(contents.issuer().clone()),
            not_before: validity.not_before.to_unix_duration().as_secs(),
            not_after: validity.not_after.to_unix_duration().as_secs(),
            public: PublicKey::read(&spki)?,
            extensions,
            pem: OnceLock::new(),
        })
    }

    /// The bytes it was read from.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// In PEM, written once: an issuer's stands in the answer to every request.
    pub fn pem(&self) -> String {
        self.pem.get_or_init(|| pem::encode(pem::CERTIFICATE, &self.der)).clone()
    }

    /// The serial number without a leading zero, big endian.
    pub fn serial(&self) -> &[u8] {
        match self.serial.as_slice() {
            [0, rest @ ..] if !rest.is_empty() => rest,
            all => all,
        }
    }

    /// The serial number as it is encoded: a leading zero keeps it positive.
    pub(super) fn written_serial(&self) -> &[u8] {
        &self.serial
    }

    /// Who it is for.
    pub const fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Who signed it.
    pub const fn issuer(&self) -> &Subject {
        &self.issuer
    }

    /// Seconds since 1970.
    pub const fn not_before(&self) -> u64 {
        self.not_before
    }

    /// Seconds since 1970.
    pub const fn not_after(&self) -> u64 {
        self.not_after
    }

    /// Whether `now`, in seconds since 1970, is within its time.
    pub const fn valid_at(&self, now: u64) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// The key it is for.
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// All extensions.
    pub fn extensions(&self) -> &[Extension] {
        &self.extensions
    }

    fn extension<'a, T: Decode<'a>>(&'a self, oid: ObjectIdentifier) -> Option<T> {
        let found = self.extensions.iter().find(|extension| extension.0.extn_id == oid)?;
        T::from_der(found.value()).ok()
    }

    /// Its alternative names; see [`super::Request::sans`].
    pub fn alternative_names(&self) -> Result<Vec<San>, Error> {
        extension::read_sans(&self.extensions, false)
    }

    /// The same without other names that are no text, such as those of Kerberos: for who looks for names of other kinds.
    pub fn known_names(&self) -> Result<Vec<San>, Error> {
        extension::read_sans(&self.extensions, true)
    }

    /// Whether it is an authority's.
    pub fn is_authority(&self) -> bool {
        self.extension::<BasicConstraints>(known::BASIC_CONSTRAINTS).is_some_and(|found| found.ca)
    }

    /// How many more authorities may stand below it; any number when none.
    pub fn path_len(&self) -> Option<u8> {
        self.extension::<BasicConstraints>(known::BASIC_CONSTRAINTS)?.path_len_constraint
    }

    /// What its key may be used for; anything when none.
    pub fn key_usages(&self) -> Option<KeyUsages> {
        self.extension::<KeyUsage>(known::KEY_USAGE).map(|found| KeyUsages(found.0.bits()))
    }

    /// What its key may be used for, more closely, as OIDs; anything when none.
    pub fn ext_key_usages(&self) -> Option<Vec<String>> {
        let found = self.extension::<ExtendedKeyUsage>(known::EXT_KEY_USAGE)?;
        Some(found.0.iter().map(ToString::to_string).collect())
    }

    /// The identifier of its key: the one it states, or by the usual method.
    pub fn key_id(&self) -> Vec<u8> {
        let stated = self.extension::<SubjectKeyIdentifier>(known::SUBJECT_KEY_ID);
        stated.map_or_else(|| self.public.identifier(), |id| id.0.as_bytes().to_vec())
    }

    /// Where it says that OCSP servers can be asked about it (RFC 5280, 4.2.2.1).
    pub fn ocsp_servers(&self) -> Vec<String> {
        let described = self.extension::<AuthorityInfoAccessSyntax>(known::AUTHORITY_INFO_ACCESS);
        let servers = described.into_iter().flat_map(|all| all.0).filter_map(|described| {
            match described.access_location {
                GeneralName::UniformResourceIdentifier(url)
                    if described.access_method == extension::OCSP_SERVER =>
                {
                    Some(url.to_string())
                }
                _ => None,
            }
        });
        servers.collect()
    }

    /// The identifier of its issuer's key, if it states one.
    pub fn authority_key_id(&self) -> Option<Vec<u8>> {
        let stated = self.extension::<AuthorityKeyIdentifier>(known::AUTHORITY_KEY_ID)?;
        stated.key_identifier.map(|id| id.as_bytes().to_vec())
    }

    /// Whether `authority` signed it: by name, and by signature.
    pub fn signed_by(&self, authority: &Certificate) -> bool {
        self.issuer == authority.subject
            && signed::verify(&self.der, "a certificate", &authority.public).is_ok()
    }

    /// Whether it signed itself.
    pub fn self_signed(&self) -> bool {
        self.signed_by(self)
    }
}
