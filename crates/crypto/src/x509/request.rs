//! Certificate requests (PKCS#10, RFC 2986).

use der::asn1::{Any, SetOfVec};
use der::{Decode, Encode};
use x509_cert::attr::Attribute;
use x509_cert::request::{CertReq, CertReqInfo, ExtensionReq, Version};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use super::{Error, Extension, PublicKey, San, Scheme, Subject, extension, signed};
use crate::keys::Key;

/// Bytes of the largest request that is read.
const MOST: usize = 64 * 1024;

/// A request whose signature was verified.
pub struct Request {
    /// Who the certificate is for.
    pub subject: Subject,
    /// The key it is for.
    pub public: PublicKey,
    /// The extensions asked for, in order.
    pub extensions: Vec<Extension>,
    /// The alternative names asked for.
    pub sans: Vec<San>,
}

impl Request {
    /// Reads a request of at most 64 KiB and verifies that whoever made it has the key.
    pub fn read(der: &[u8]) -> Result<Request, Error> {
        let malformed = Error::Malformed("a certificate request");
        if der.len() > MOST {
            return Err(Error::Value("a certificate request may have at most 65536 bytes"));
        }
        let request = CertReq::from_der(der).map_err(|_| malformed)?;
        let spki = request.info.public_key.to_der().map_err(|_| malformed)?;
        let public = PublicKey::read(&spki)?;
        signed::verify(der, "a certificate request", &public)?;
        let extensions = requested(&request.info.attributes).ok_or(malformed)?;
        let sans = extension::read_sans(&extensions, false)?;
        Ok(Request { subject: Subject(request.info.subject), public, extensions, sans })
    }

    /// Whether the extension is asked for.
    pub fn has(&self, oid: &str) -> bool {
        self.extensions.iter().any(|extension| extension.is(oid))
    }
}

/// The extensions of all attributes that ask for some; none when one is malformed or asked for twice.
fn requested(attributes: &SetOfVec<Attribute>) -> Option<Vec<Extension>> {
    use der::oid::AssociatedOid;
    let mut found: Vec<Extension> = Vec::new();
    for attribute in attributes.iter().filter(|attribute| attribute.oid == ExtensionReq::OID) {
        for value in attribute.values.iter() {
            let listed = value.decode_as::<ExtensionReq>().ok()?;
            found.extend(listed.0.into_iter().map(Extension));
        }
    }
    extension::distinct(&found).then_some(found)
}

/// A request by `key` for itself.
pub fn sign_request(
    subject: &Subject,
    extensions: &[Extension],
    key: &Key,
    scheme: Scheme,
) -> Result<Vec<u8>, Error> {
    use der::oid::AssociatedOid;
    let unwritten = |_| Error::Value("the request cannot be written as DER");
    let spki = key.public().ok_or(Error::Key("the key has no public part"))?;
    let mut attributes = SetOfVec::new();
    if !extensions.is_empty() {
        let listed = ExtensionReq(extensions.iter().map(|extension| extension.0.clone()).collect());
        let values =
            SetOfVec::try_from(vec![Any::encode_from(&listed).map_err(unwritten)?]).map_err(unwritten)?;
        attributes.insert(Attribute { oid: ExtensionReq::OID, values }).map_err(unwritten)?;
    }
    let info = CertReqInfo {
        version: Version::V1,
        subject: subject.0.clone(),
        public_key: SubjectPublicKeyInfoOwned::from_der(&spki).map_err(unwritten)?,
        attributes,
    };
    signed::sign(&info, scheme, key)
}
