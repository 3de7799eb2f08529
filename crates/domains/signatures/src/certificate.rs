//! Certificates of who signs: whether they are believed, and whom they are for.

use crate::attestor::{Identity, Wanted, extension_oid};
use keyward_crypto::x509::{Certificate, ChainError, San, pem, signing_chain};
use regex::Regex;

/// Who told Fulcio who somebody is: as bare bytes, and as DER's text.
const ISSUERS: [&str; 2] = ["1.3.6.1.4.1.57264.1.1", "1.3.6.1.4.1.57264.1.8"];
/// Certificates that are read of one text.
const MOST: usize = 64;

/// The certificates of a PEM text; what else is in it is passed over.
pub(crate) fn all(text: &str) -> Result<Vec<Certificate>, String> {
    let blocks = pem::blocks(text).ok_or("it is not PEM")?;
    let of = blocks.iter().filter(|block| block.label == pem::CERTIFICATE).take(MOST);
    of.map(|block| Certificate::read(&block.der).map_err(|why| why.to_string())).collect()
}

/// The chain from a certificate up to one of `roots` at a moment, in seconds since 1970; in DER, the root last.
pub(crate) fn chain(
    certificate: &Certificate,
    between: &[Vec<u8>],
    roots: &[Certificate],
    at: u64,
) -> Result<Vec<Vec<u8>>, ChainError> {
    let mut presented = vec![certificate.der().to_vec()];
    presented.extend_from_slice(between);
    let mut best = ChainError::Issuer;
    for root in roots {
        match signing_chain(&presented, root, at) {
            Ok(chain) => return Ok(chain),
            Err(ChainError::Issuer) => {}
            Err(why) => best = why,
        }
    }
    Err(best)
}

/// A text that is to be, ready to be compared with.
#[derive(Clone, Debug)]
pub(crate) enum Fits {
    Anything,
    Text(String),
    Pattern(Regex),
}

impl Fits {
    pub(crate) fn new(wanted: &Wanted) -> Result<Fits, String> {
        Ok(match wanted {
            Wanted::Anything => Fits::Anything,
            Wanted::Text(text) => Fits::Text(text.clone()),
            Wanted::Pattern(text) => {
                let pattern = regex::RegexBuilder::new(text).size_limit(1 << 20).build();
                Fits::Pattern(pattern.map_err(|why| format!("{text:?} is no regular expression: {why}"))?)
            }
        })
    }

    pub(crate) fn is(&self, text: &str) -> bool {
        match self {
            Fits::Anything => true,
            Fits::Text(wanted) => wanted == text,
            Fits::Pattern(pattern) => pattern.is_match(text),
        }
    }
}

/// An [`Identity`], ready to be compared with.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    issuer: Fits,
    subject: Fits,
}

impl Who {
    pub(crate) fn new(identity: &Identity) -> Result<Who, String> {
        Ok(Who { issuer: Fits::new(&identity.issuer)?, subject: Fits::new(&identity.subject)? })
    }

    pub(crate) fn is(&self, certificate: &Certificate) -> bool {
        let issuer = ISSUERS.into_iter().find_map(|oid| value(certificate, oid)).unwrap_or_default();
        let subjects = subjects(certificate);
        let named = subjects.iter().any(|subject| self.subject.is(subject));
        self.issuer.is(&issuer) && (named || matches!(self.subject, Fits::Anything))
    }
}

/// Whom a certificate is for, for people.
pub(crate) fn description(certificate: &Certificate) -> String {
    let issuer = ISSUERS.into_iter().find_map(|oid| value(certificate, oid)).unwrap_or_default();
    let subjects = subjects(certificate);
    format!("{} by {issuer:?}", subjects.first().map_or("nobody", String::as_str))
}

fn subjects(certificate: &Certificate) -> Vec<String> {
    let text = |name: San| match name {
        San::Dns(text) | San::Email(text) | San::Uri(text) | San::Other { value: text, .. } => text,
        San::Ip(address) => address.to_string(),
    };
    certificate.known_names().unwrap_or_default().into_iter().map(text).collect()
}

/// What an extension says: the text in it, or its bytes where they are text, as the oldest of Fulcio's extensions have it.
pub(crate) fn value(certificate: &Certificate, name: &str) -> Option<String> {
    let oid = extension_oid(name)?;
    let extension = certificate.extensions().iter().find(|one| one.is(oid))?;
    extension.text().or_else(|| String::from_utf8(extension.value().to_vec()).ok())
}
