//! OCSP (RFC 6960): requests and signed answers.

use der::asn1::{Any, BitString, GeneralizedTime, Int, ObjectIdentifier, OctetString};
use der::{Decode, Encode, Sequence, Tag, TagNumber};
use x509_cert::ext;
use x509_cert::spki::AlgorithmIdentifierOwned;

use super::scheme::hash_of;
use super::{Certificate, Error, Extension, Scheme, crl, oid, time};
use crate::keys::{Hash, Key};

/// Bytes of the largest request that is read; a usual one has about 100.
const MOST: usize = 2048;
/// Certificates one request may ask about.
const MOST_QUERIES: usize = 16;
/// RFC 9654 lets nonces have up to 128 bytes.
const MOST_NONCE: usize = 128;

pub(super) const BASIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");

#[derive(Sequence)]
struct ReadRequest {
    contents: ReadContents,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    signature: Option<Any>,
}

#[derive(Sequence)]
struct ReadContents {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", default = "Default::default")]
    version: u8,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    requestor: Option<Any>,
    list: Vec<ReadQuery>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Vec<ext::Extension>>,
}

#[derive(Sequence)]
struct ReadQuery {
    id: CertId,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Vec<ext::Extension>>,
}

#[derive(Clone, Sequence)]
pub(super) struct CertId {
    pub(super) hash: AlgorithmIdentifierOwned,
    pub(super) name: OctetString,
    pub(super) key: OctetString,
    pub(super) serial: Int,
}

#[derive(Sequence)]
struct Answers {
    status: Any,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    bytes: Basic,
}

#[derive(Sequence)]
struct Basic {
    kind: ObjectIdentifier,
    response: OctetString,
}

#[derive(Sequence)]
struct SignedAnswers {
    contents: Contents,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    certificates: Option<Vec<Any>>,
}

#[derive(Sequence)]
struct Contents {
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT")]
    responder: OctetString,
    produced_at: GeneralizedTime,
    responses: Vec<Single>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Vec<ext::Extension>>,
}

#[derive(Sequence)]
struct Single {
    id: CertId,
    status: Any,
    this_update: GeneralizedTime,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    next_update: Option<GeneralizedTime>,
}

/// Which certificate is asked about.
pub struct OcspQuery(pub(super) CertId);

impl OcspQuery {
    /// The serial number, big endian without a leading zero.
    pub fn serial(&self) -> &[u8] {
        match self.0.serial.as_bytes() {
            [0, rest @ ..] if !rest.is_empty() => rest,
            all => all,
        }
    }

    /// Whether `authority` is the issuer meant. A hash function that is not available means none.
    pub fn is_of(&self, authority: &Certificate) -> bool {
        let Some(hash) = hash_of(&self.0.hash.oid) else { return false };
        let same = |bytes: &[u8], wanted: &OctetString| {
            Hash::digest(hash, bytes).is_ok_and(|digest| digest == wanted.as_bytes())
        };
        same(&authority.subject().der(), &self.0.name) && same(authority.public().key_bits(), &self.0.key)
    }
}

/// A request.
pub struct OcspRequest {
    /// What is asked about: one to sixteen.
    pub queries: Vec<OcspQuery>,
    nonce: Option<Extension>,
}

impl OcspRequest {
    /// Reads a request of at most 2 KiB. A signature on it is not looked at, as nothing depends on who asks.
    pub fn read(der: &[u8]) -> Result<OcspRequest, Error> {
        let malformed = Error::Malformed("an OCSP request");
        if der.len() > MOST {
            return Err(malformed);
        }
        let read = ReadRequest::from_der(der).map_err(|_| malformed)?;
        let queries: Vec<_> = read.contents.list.into_iter().map(|query| OcspQuery(query.id)).collect();
        let extensions = read.contents.extensions.into_iter().flatten().map(Extension);
        let nonce = extensions.into_iter().find(|extension| extension.is(oid::OCSP_NONCE));
        let fits = nonce.as_ref().is_none_or(|nonce| nonce.value().len() <= MOST_NONCE + 3);
        if read.contents.version != 0 || !fits || !(1..=MOST_QUERIES).contains(&queries.len()) {
            return Err(malformed);
        }
        Ok(OcspRequest { queries, nonce })
    }
}

/// What is known of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertStatus {
    /// Not revoked.
    Good,
    /// Revoked at this time, in seconds since 1970.
    Revoked(u64),
    /// Nothing.
    Unknown,
}

/// Everything an answer says, but for the signature.
pub struct OcspAnswer<'a> {
    /// What was asked.
    pub request: &'a OcspRequest,
    /// What is known of each certificate asked about, in order.
    pub statuses: &'a [CertStatus],
    /// The certificate of the key that signs.
    pub signer: &'a Certificate,
    /// Seconds since 1970.
    pub at: u64,
    /// Until when the answer holds; the client must ask again each time when it is `at` or before.
    pub until: u64,
}

impl OcspAnswer<'_> {
    /// The answer, signed by `key`.
    pub fn sign(self, key: &Key, scheme: Scheme) -> Result<Vec<u8>, Error> {
        let unwritten = |_| Error::Value("the answer cannot be written as DER");
        let at = time::generalized(self.at)?;
        let until = if self.until > self.at { Some(time::generalized(self.until)?) } else { None };
        let single = |(query, status): (&OcspQuery, &CertStatus)| {
            Ok(Single { id: query.0.clone(), status: written(*status)?, this_update: at, next_update: until })
        };
        let contents = Contents {
            responder: crl::octets(&self.signer.public().identifier())?,
            produced_at: at,
            responses: self
                .request
                .queries
                .iter()
                .zip(self.statuses)
                .map(single)
                .collect::<Result<_, Error>>()?,
            extensions: self.request.nonce.clone().map(|nonce| vec![nonce.0]),
        };
        let signature = scheme.sign(key, &contents.to_der().map_err(unwritten)?)?;
        let certificate = Any::from_der(self.signer.der()).map_err(unwritten)?;
        let made = SignedAnswers {
            contents,
            algorithm: scheme.identifier()?,
            signature: BitString::from_bytes(&signature).map_err(unwritten)?,
            certificates: Some(vec![certificate]),
        };
        let response = crl::octets(&made.to_der().map_err(unwritten)?)?;
        let status = Any::new(Tag::Enumerated, [0]).map_err(unwritten)?;
        Answers { status, bytes: Basic { kind: BASIC, response } }.to_der().map_err(unwritten)
    }
}

fn written(status: CertStatus) -> Result<Any, Error> {
    let unwritten = |_| Error::Value("the answer cannot be written as DER");
    let tag = |constructed, number| Tag::ContextSpecific { constructed, number: TagNumber(number) };
    match status {
        CertStatus::Good => Any::new(tag(false, 0), []).map_err(unwritten),
        CertStatus::Revoked(at) => {
            let at = time::generalized(at)?.to_der().map_err(unwritten)?;
            Any::new(tag(true, 1), at).map_err(unwritten)
        }
        CertStatus::Unknown => Any::new(tag(false, 2), []).map_err(unwritten),
    }
}

/// An answer without a signature: nothing is said of any certificate (RFC 6960, 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OcspError {
    /// The request is not one.
    Malformed,
    /// The responder failed.
    Internal,
    /// The responder answers for nobody, or not for that issuer.
    Unauthorized,
}

impl OcspError {
    /// The answer in DER.
    pub const fn der(self) -> [u8; 5] {
        let status = match self {
            OcspError::Malformed => 1,
            OcspError::Internal => 2,
            OcspError::Unauthorized => 6,
        };
        [0x30, 0x03, 0x0a, 0x01, status]
    }
}
