//! Proofs that somebody controls a name or an address (RFC 8555, section 8; RFC 8737; RFC 8738): what is to be looked
//! at, and whether what was seen there proves it.
//!
//! Nothing is changed outside by looking: a failure that says that nothing was done means that nothing was seen.

use keyward_crypto::same;
use keyward_crypto::x509::{Certificate, San};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The protocol name by which servers know a validation (RFC 8737, section 6.2).
pub const PROTOCOL: &[u8] = b"acme-tls/1";

/// The longest answer to a validation by HTTP that is looked at, in bytes.
pub const LONGEST_ANSWER: usize = 512;

/// The extension that shows the digest (RFC 8737, section 6.1).
const IDENTIFIER: &str = "1.3.6.1.5.5.7.1.31";

/// What is to be proved to be somebody's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "type", content = "value", rename_all = "lowercase")]
pub enum Identifier {
    /// A domain name in lower case, perhaps with `*.` in front.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identifier::Dns(name) => f.write_str(name),
            Identifier::Ip(address) => write!(f, "{address}"),
        }
    }
}

/// Where the proof is shown, and what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// A document of an HTTP server.
    Http {
        /// The URL's path.
        path: String,
        /// What it says.
        expected: String,
    },
    /// A TXT record.
    Dns {
        /// Whose.
        name: String,
        /// What it says.
        expected: String,
    },
    /// The certificate of a TLS server that speaks [`PROTOCOL`].
    TlsAlpn {
        /// What its extension holds.
        expected: [u8; 32],
    },
}

/// One look at a proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Whose proof; never with a wildcard.
    pub of: Identifier,
    /// See [`Way`].
    pub way: Way,
    /// The DNS server that is asked; those of the machine if none.
    pub resolver: Option<SocketAddr>,
}

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// By HTTP.
    Http {
        /// The status.
        status: u16,
        /// The beginning of the body, at most one byte more than [`LONGEST_ANSWER`].
        body: Vec<u8>,
    },
    /// In TXT records, each as a whole.
    Dns(Vec<String>),
    /// In a TLS handshake.
    Tls {
        /// The protocol that was agreed on.
        protocol: Option<Vec<u8>>,
        /// The certificates shown, in DER.
        certificates: Vec<Vec<u8>>,
    },
}

impl Challenge {
    /// Whether `seen` is the proof; if not, why, for whoever answers the challenge. What was seen is not repeated: it
    /// may come from a server that whoever asks cannot reach.
    pub fn judge(&self, seen: &Seen) -> Result<(), &'static str> {
        match (&self.way, seen) {
            (Way::Http { expected, .. }, Seen::Http { status, body }) => document(expected, *status, body),
            (Way::Dns { expected, .. }, Seen::Dns(texts)) => {
                match texts.iter().any(|text| same(text.as_bytes(), expected.as_bytes())) {
                    true => Ok(()),
                    false if texts.is_empty() => {
                        Err("there is no TXT record at the name _acme-challenge below the domain")
                    }
                    false => Err(
                        "no TXT record at the name _acme-challenge below the domain has the digest of the key authorization",
                    ),
                }
            }
            (Way::TlsAlpn { expected }, Seen::Tls { protocol, certificates }) => {
                if protocol.as_deref() != Some(PROTOCOL) {
                    return Err("the server did not agree on the protocol acme-tls/1");
                }
                match certificates.as_slice() {
                    [only] => certificate(only, &self.of, expected),
                    _ => Err("the server must show one certificate that signed itself, and nothing else"),
                }
            }
            _ => Err("something else was looked at"),
        }
    }
}

fn document(expected: &str, status: u16, body: &[u8]) -> Result<(), &'static str> {
    if status != 200 {
        return Err("the server did not answer with status 200");
    }
    if body.len() > LONGEST_ANSWER {
        return Err("the document is longer than any key authorization");
    }
    match same(body.trim_ascii_end(), expected.as_bytes()) {
        true => Ok(()),
        false => Err("the document is not the key authorization"),
    }
}

fn certificate(der: &[u8], of: &Identifier, expected: &[u8; 32]) -> Result<(), &'static str> {
    let certificate = Certificate::read(der).map_err(|_| "the certificate cannot be read")?;
    if !certificate.self_signed() {
        return Err("the certificate did not sign itself");
    }
    let names = certificate.alternative_names().map_err(|_| "the certificate's names cannot be read")?;
    let right = match (names.as_slice(), of) {
        ([San::Dns(name)], Identifier::Dns(wanted)) => name.eq_ignore_ascii_case(wanted),
        ([San::Ip(address)], Identifier::Ip(wanted)) => address == wanted,
        _ => false,
    };
    if !right {
        return Err("the certificate must have the identifier as its only alternative name");
    }
    let shown = certificate.extensions().iter().find(|extension| extension.is(IDENTIFIER));
    let shown = shown.ok_or("the certificate has no acmeIdentifier extension")?;
    if !shown.critical() {
        return Err("the certificate's acmeIdentifier extension is not critical");
    }
    // An octet string of 32 bytes in DER.
    match same(shown.value(), &[&[4, 32], &expected[..]].concat()) {
        true => Ok(()),
        false => {
            Err("the certificate's acmeIdentifier extension has not the digest of the key authorization")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_crypto::SystemRandom;
    use keyward_crypto::keys::{Key, KeyType};
    use keyward_crypto::x509::{Extension, Scheme, Subject, Template};

    fn challenge(way: Way) -> Challenge {
        Challenge { of: Identifier::Dns("a.example".to_owned()), way, resolver: None }
    }

    #[test]
    fn a_document_is_the_key_authorization_and_nothing_else() {
        let http = challenge(Way::Http { path: "/x".to_owned(), expected: "token.print".to_owned() });
        let judge = |status, body: &str| http.judge(&Seen::Http { status, body: body.as_bytes().to_vec() });
        assert_eq!(judge(200, "token.print"), Ok(()));
        assert_eq!(judge(200, "token.print \r\n"), Ok(()));
        for (status, body) in [
            (404, "token.print"),
            (200, ""),
            (200, " token.print"),
            (200, "token.printx"),
            (200, &"x".repeat(513)),
        ] {
            assert!(judge(status, body).is_err(), "{status} {body}");
        }
        assert!(http.judge(&Seen::Dns(vec!["token.print".to_owned()])).is_err());
    }

    #[test]
    fn one_record_with_the_digest_is_enough() {
        let dns = challenge(Way::Dns { name: "x".to_owned(), expected: "digest".to_owned() });
        let judge =
            |texts: &[&str]| dns.judge(&Seen::Dns(texts.iter().map(|text| (*text).to_owned()).collect()));
        assert_eq!(judge(&["other", "digest"]), Ok(()));
        assert!(judge(&[]).is_err() && judge(&["other", "digest "]).is_err());
    }

    fn shown(names: &[San], critical: bool, digest: &[u8], foreign: bool) -> Vec<u8> {
        let key = Key::generate(KeyType::EcdsaP256, 0, &SystemRandom).unwrap();
        let other = Key::generate(KeyType::EcdsaP256, 0, &SystemRandom).unwrap();
        let subject = Subject::new(&[]).unwrap();
        let value = [&[4, 32], digest].concat();
        let template = Template {
            serial: &[1],
            issuer: &subject,
            subject: &subject,
            not_before: 0,
            not_after: 1 << 31,
            spki: &key.public().unwrap(),
            extensions: vec![
                Extension::alternative_names(names, false).unwrap(),
                Extension::raw(IDENTIFIER, critical, &value).unwrap(),
            ],
        };
        let signer = if foreign { &other } else { &key };
        template.sign(signer, Scheme::of(signer, 0, false).unwrap()).unwrap()
    }

    #[test]
    fn a_certificate_proves_the_name_it_was_made_for() {
        let tls = challenge(Way::TlsAlpn { expected: [7; 32] });
        let own = [San::Dns("A.example".to_owned())];
        let seen = |certificates: Vec<Vec<u8>>, protocol: &[u8]| Seen::Tls {
            protocol: Some(protocol.to_vec()),
            certificates,
        };
        let judge = |der: Vec<u8>| tls.judge(&seen(vec![der], PROTOCOL));
        assert_eq!(judge(shown(&own, true, &[7; 32], false)), Ok(()));
        for (what, der) in [
            ("not critical", shown(&own, false, &[7; 32], false)),
            ("another digest", shown(&own, true, &[8; 32], false)),
            ("another's signature", shown(&own, true, &[7; 32], true)),
            ("another name", shown(&[San::Dns("b.example".to_owned())], true, &[7; 32], false)),
            ("two names", shown(&[own[0].clone(), San::Dns("b.example".to_owned())], true, &[7; 32], false)),
            (
                "an address beside",
                shown(&[own[0].clone(), San::Ip([127, 0, 0, 1].into())], true, &[7; 32], false),
            ),
            ("no certificate", vec![1, 2, 3]),
        ] {
            assert!(judge(der).is_err(), "{what}");
        }
        let good = shown(&own, true, &[7; 32], false);
        assert!(tls.judge(&seen(vec![good.clone(), good.clone()], PROTOCOL)).is_err());
        assert!(tls.judge(&seen(vec![good.clone()], b"h2")).is_err());
        assert!(tls.judge(&Seen::Tls { protocol: None, certificates: vec![good] }).is_err());
    }
}
