//! OCSP (RFC 6960) from the side of who asks: a request about one certificate, and what a responder says to it.

use der::asn1::{Any, AnyRef, BitStringRef, GeneralizedTime, Int, ObjectIdentifier, OctetString};
use der::{Decode, Encode, Sequence, Tag, TagNumber};
use x509_cert::ext;
use x509_cert::spki::AlgorithmIdentifierOwned;

use super::ocsp::{BASIC, CertId, CertStatus, OcspQuery};
use super::scheme::hash_identifier;
use super::{Certificate, Error, Scheme, oid};
use crate::keys::Hash;

/// Bytes of the longest answer that is read; usual ones have one to four thousand.
const MOST: usize = 64 * 1024;
const MALFORMED: Error = Error::Malformed("an OCSP answer");

#[derive(Sequence)]
struct Request {
    contents: Queries,
}

#[derive(Sequence)]
struct Queries {
    list: Vec<Query>,
}

#[derive(Sequence)]
struct Query {
    id: CertId,
}

#[derive(Sequence)]
struct Answers<'a> {
    status: AnyRef<'a>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    bytes: Option<Basic>,
}

#[derive(Sequence)]
struct Basic {
    kind: ObjectIdentifier,
    response: OctetString,
}

#[derive(Sequence)]
struct Signed<'a> {
    contents: AnyRef<'a>,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitStringRef<'a>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    certificates: Option<Vec<Any>>,
}

#[derive(Sequence)]
struct Contents {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", default = "Default::default")]
    version: u8,
    /// By name or by key: whose signature it is shows by whose key verifies it.
    responder: Any,
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
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Vec<ext::Extension>>,
}

/// Asks about `certificate`, which `issuer` issued: in DER. Names are hashed with SHA-1, which every responder knows (RFC
/// 5019, section 2.1.1) and nothing depends on, and there is no nonce, so that answers can be made before they are asked for.
pub fn ocsp_request(certificate: &Certificate, issuer: &Certificate) -> Result<Vec<u8>, Error> {
    let unwritten = |_| Error::Value("the OCSP request cannot be written as DER");
    let digest = |bytes: &[u8]| {
        let digest = Hash::digest(Hash::Sha1, bytes).map_err(Error::Use)?;
        OctetString::new(digest).map_err(unwritten)
    };
    let id = CertId {
        hash: hash_identifier(Hash::Sha1)?,
        name: digest(&issuer.subject().der())?,
        key: digest(issuer.public().key_bits())?,
        serial: Int::new(certificate.written_serial()).map_err(unwritten)?,
    };
    Request { contents: Queries { list: vec![Query { id }] } }.to_der().map_err(unwritten)
}

/// What a responder says of one certificate. Times are in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OcspWord {
    /// What is known of it.
    pub status: CertStatus,
    /// When that was known to be so.
    pub this_update: u64,
    /// When more will be known; at any time when there is none.
    pub next_update: Option<u64>,
}

impl OcspWord {
    /// Reads an answer of at most 64 KiB to [`ocsp_request`]. It must be signed by the issuer, by one of `others`, or with a
    /// certificate in it that one of these issued for signing OCSP answers and that is valid at `now` (RFC 6960, 4.2.2.2).
    /// Whether its own times are over is for the caller to see.
    pub fn read(
        der: &[u8],
        certificate: &Certificate,
        issuer: &Certificate,
        others: &[Certificate],
        now: u64,
    ) -> Result<OcspWord, Error> {
        if der.len() > MOST {
            return Err(MALFORMED);
        }
        let answers = Answers::from_der(der).map_err(|_| MALFORMED)?;
        let refused = Error::Value("the OCSP responder refuses to answer");
        let basic = answers.bytes.ok_or(refused)?;
        if answers.status.value() != [0] || basic.kind != BASIC {
            return Err(refused);
        }
        let signed = Signed::from_der(basic.response.as_bytes()).map_err(|_| MALFORMED)?;
        verify(&signed, std::iter::once(issuer).chain(others), now)?;
        let contents: Contents = signed.contents.decode_as().map_err(|_| MALFORMED)?;
        let critical =
            |all: &Option<Vec<ext::Extension>>| all.iter().flatten().any(|extension| extension.critical);
        let about = |single: &Single| {
            let query = OcspQuery(single.id.clone());
            query.serial() == certificate.serial() && query.is_of(issuer)
        };
        let single = contents.responses.iter().find(|single| about(single));
        let single = single.ok_or(Error::Value("the OCSP answer is about another certificate"))?;
        if critical(&contents.extensions) || critical(&single.extensions) {
            return Err(Error::Value("the OCSP answer has a critical extension that is not known"));
        }
        let seconds = |time: &GeneralizedTime| time.to_unix_duration().as_secs();
        Ok(OcspWord {
            status: status(&single.status)?,
            this_update: seconds(&single.this_update),
            next_update: single.next_update.as_ref().map(seconds),
        })
    }
}

/// Whether one of `authorities` signed it, or gave a certificate to who did.
fn verify<'c>(
    signed: &Signed<'_>,
    authorities: impl Iterator<Item = &'c Certificate>,
    now: u64,
) -> Result<(), Error> {
    let contents = signed.contents.to_der().map_err(|_| MALFORMED)?;
    let scheme = Scheme::read(&signed.algorithm).ok_or(Error::Scheme)?;
    let signature = signed.signature.as_bytes().ok_or(MALFORMED)?;
    let by = |who: &Certificate| who.public().verify(scheme, &contents, signature).unwrap_or(false);
    let enclosed =
        signed.certificates.iter().flatten().filter_map(|der| Certificate::read(&der.to_der().ok()?).ok());
    let enclosed: Vec<Certificate> = enclosed.collect();
    let delegated = |authority: &Certificate| {
        let allowed = |who: &&Certificate| {
            let usages = who.ext_key_usages().unwrap_or_default();
            usages.iter().any(|usage| usage == oid::OCSP_SIGNING)
                && who.valid_at(now)
                && who.signed_by(authority)
        };
        enclosed.iter().filter(allowed).any(&by)
    };
    let mut authorities = authorities;
    match authorities.any(|authority| by(authority) || delegated(authority)) {
        true => Ok(()),
        false => Err(Error::Signature),
    }
}

fn status(status: &Any) -> Result<CertStatus, Error> {
    use der::Tagged;
    match status.tag() {
        Tag::ContextSpecific { number: TagNumber(0), .. } => Ok(CertStatus::Good),
        Tag::ContextSpecific { number: TagNumber(1), .. } => {
            let mut reader = der::SliceReader::new(status.value()).map_err(|_| MALFORMED)?;
            let at = GeneralizedTime::decode(&mut reader).map_err(|_| MALFORMED)?;
            Ok(CertStatus::Revoked(at.to_unix_duration().as_secs()))
        }
        Tag::ContextSpecific { number: TagNumber(2), .. } => Ok(CertStatus::Unknown),
        _ => Err(MALFORMED),
    }
}
