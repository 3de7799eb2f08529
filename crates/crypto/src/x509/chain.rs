//! Chains from a certificate up to one that is trusted (RFC 5280, 6), found by rustls-webpki.

use std::fmt;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, Error as Webpki, KeyUsage, anchor_from_trusted_cert};

use super::Certificate;

/// Why a certificate is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainError {
    /// No chain leads to the trusted certificate.
    Issuer,
    /// A certificate of the chain is not valid yet, or no longer.
    Time,
    /// The certificate is not for what it is used for, or one of its issuers may not issue it.
    Usage,
    /// Something in the chain cannot be read, or is not supported.
    Malformed,
}

impl fmt::Display for ChainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ChainError::Issuer => "no trusted certificate issued it",
            ChainError::Time => "a certificate of its chain is not valid yet, or no longer",
            ChainError::Usage => {
                "it is not for this use (extended key usage), or an issuer in its chain may not issue it"
            }
            ChainError::Malformed => {
                "a certificate of its chain cannot be read or is of a kind that is not supported"
            }
        })
    }
}

impl std::error::Error for ChainError {}

impl From<Webpki> for ChainError {
    fn from(why: Webpki) -> ChainError {
        match why {
            Webpki::UnknownIssuer | Webpki::InvalidSignatureForPublicKey => ChainError::Issuer,
            Webpki::CertExpired { .. } | Webpki::CertNotValidYet { .. } => ChainError::Time,
            Webpki::RequiredEkuNotFoundContext(_)
            | Webpki::CaUsedAsEndEntity
            | Webpki::EndEntityUsedAsCa
            | Webpki::NameConstraintViolation
            | Webpki::PathLenConstraintViolated => ChainError::Usage,
            _ => ChainError::Malformed,
        }
    }
}

/// The purpose of who signs code (RFC 5280, 4.2.1.12), as webpki has it: the bytes of its OID.
const CODE_SIGNING: &[u8] = &[0x2B, 6, 1, 5, 5, 7, 3, 3];

/// The chain that leads from the first of `presented` through some of the others to `trusted`, at `now` in seconds
/// since 1970: in DER, the trusted certificate last. The first must be good for a TLS client. That whoever presented it
/// holds its key must have been proved elsewhere.
pub fn client_chain(
    presented: &[Vec<u8>],
    trusted: &Certificate,
    now: u64,
) -> Result<Vec<Vec<u8>>, ChainError> {
    chain(presented, trusted, now, KeyUsage::client_auth())
}

/// The same of a certificate that must be good for signing code, if it says what it is good for.
pub fn signing_chain(
    presented: &[Vec<u8>],
    trusted: &Certificate,
    now: u64,
) -> Result<Vec<Vec<u8>>, ChainError> {
    chain(presented, trusted, now, KeyUsage::required_if_present(CODE_SIGNING))
}

fn chain(
    presented: &[Vec<u8>],
    trusted: &Certificate,
    now: u64,
    usage: KeyUsage,
) -> Result<Vec<Vec<u8>>, ChainError> {
    let certificate = |der: &Vec<u8>| CertificateDer::from(der.clone());
    let (leaf, others) = presented.split_first().ok_or(ChainError::Issuer)?;
    // A trust anchor is believed as it is: that its own time is over must be seen here.
    if !trusted.valid_at(now) {
        return Err(ChainError::Time);
    }
    let (leaf, anchor) = (certificate(leaf), CertificateDer::from(trusted.der()));
    let others: Vec<CertificateDer<'_>> = others.iter().map(certificate).collect();
    let anchors = [anchor_from_trusted_cert(&anchor)?];
    let end = EndEntityCert::try_from(&leaf)?;
    let time = UnixTime::since_unix_epoch(Duration::from_secs(now));
    let path = end.verify_for_usage(ALL_VERIFICATION_ALGS, &anchors, &others, time, usage, None, None)?;
    let between = path.intermediate_certificates().map(|between| between.der().to_vec());
    Ok([leaf.to_vec()].into_iter().chain(between).chain([trusted.der().to_vec()]).collect())
}
