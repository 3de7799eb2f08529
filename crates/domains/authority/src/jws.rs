//! JSON Web Signatures in their flattened JSON form (RFC 7515, section 7.2.2), as far as ACME has them (RFC 8555,
//! section 6.2): one signature, everything in the protected header, the public key there or named there.
//!
//! What is read here is proved by nothing until [`Jws::signed_by`] says so.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_crypto::keys::{Algorithm, Hash, PublicParts};
use keyward_crypto::sha256;
use keyward_crypto::x509::{PublicKey, PublicKind};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::fmt;

/// The longest protected header, in characters: one with an RSA key of 8,192 bits has 1,600.
const LONGEST_HEADER: usize = 8 * 1024;
/// The longest payload, in characters: what is largest in one is a certificate or a request for one.
const LONGEST_PAYLOAD: usize = 96 * 1024;
/// The longest signature, in characters: one by an RSA key of 8,192 bits has 1,366.
const LONGEST_SIGNATURE: usize = 2 * 1024;

/// Why a signed message cannot be used; for its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bad {
    /// It is not what it should be.
    Malformed(&'static str),
    /// The key is of a kind that is not available, or weak.
    Key(String),
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bad::Malformed(why) => f.write_str(why),
            Bad::Key(why) => write!(f, "the public key (jwk) cannot be used: {why}"),
        }
    }
}

/// The protected header.
#[derive(Deserialize)]
struct Header {
    alg: String,
    nonce: Option<String>,
    url: Option<String>,
    jwk: Option<Map<String, Value>>,
    kid: Option<String>,
    crit: Option<Value>,
    b64: Option<Value>,
}

/// Who signed, as the message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signer {
    /// The holder of this key.
    Key(Box<Jwk>),
    /// Whoever is known by this name.
    Known(String),
}

/// A message as it reads.
pub struct Jws {
    /// The algorithm, by name.
    pub algorithm: String,
    /// The nonce, if there is one.
    pub nonce: Option<String>,
    /// The URL that the message is for; empty when it names none.
    pub url: String,
    /// See [`Signer`].
    pub signer: Signer,
    /// What is said.
    pub payload: Vec<u8>,
    signed: String,
    signature: Vec<u8>,
}

fn decode(text: &str, most: usize, bad: &'static str) -> Result<Vec<u8>, Bad> {
    match text.len() <= most {
        true => URL_SAFE_NO_PAD.decode(text).map_err(|_| Bad::Malformed(bad)),
        false => Err(Bad::Malformed(bad)),
    }
}

impl Jws {
    /// Reads the three members of the flattened form.
    pub fn read(protected: &str, payload: &str, signature: &str) -> Result<Jws, Bad> {
        let header =
            decode(protected, LONGEST_HEADER, "protected is too long or not base64url without padding")?;
        let header: Header = serde_json::from_slice(&header).map_err(|_| {
            Bad::Malformed("the protected header is no JSON object with the members of a JWS header")
        })?;
        if header.crit.is_some() || header.b64.is_some() {
            return Err(Bad::Malformed("the protected header has crit or b64, which ACME does not know"));
        }
        let signer = match (header.jwk, header.kid) {
            (Some(jwk), None) => Signer::Key(Box::new(Jwk::read(&jwk)?)),
            (None, Some(kid)) => Signer::Known(kid),
            (Some(_), Some(_)) => {
                return Err(Bad::Malformed("the protected header has both jwk and kid; send one"));
            }
            (None, None) => return Err(Bad::Malformed("the protected header has neither jwk nor kid")),
        };
        let signature =
            decode(signature, LONGEST_SIGNATURE, "signature is too long or not base64url without padding")?;
        let said = decode(payload, LONGEST_PAYLOAD, "payload is too long or not base64url without padding")?;
        Ok(Jws {
            algorithm: header.alg,
            nonce: header.nonce,
            url: header.url.unwrap_or_default(),
            signer,
            payload: said,
            signed: format!("{protected}.{payload}"),
            signature,
        })
    }

    /// Whether the holder of `key` signed this with the algorithm it names: one of public keys, and the key's own.
    pub fn signed_by(&self, key: &PublicKey) -> bool {
        Algorithm::parse(&self.algorithm)
            .is_some_and(|algorithm| key.jws_verify(algorithm, self.signed.as_bytes(), &self.signature))
    }

    /// Whether it is authenticated with the shared secret `key` and one of HS256, HS384 and HS512.
    pub fn authenticated_by(&self, key: &[u8]) -> bool {
        let hash = match self.algorithm.as_str() {
            "HS256" => Hash::Sha2_256,
            "HS384" => Hash::Sha2_384,
            "HS512" => Hash::Sha2_512,
            _ => return false,
        };
        hash.verify_mac(key, self.signed.as_bytes(), &self.signature).unwrap_or(false)
    }
}

/// A public key as JSON (RFC 7517).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwk {
    /// The key.
    pub public: PublicKey,
    /// Its required members in the order and form of RFC 7638, which is how it is kept and hashed.
    pub canonical: String,
}

/// Members that only private and symmetric keys have (RFC 7518, sections 6.2.2, 6.3.2 and 6.4).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

impl Jwk {
    /// Reads a key of one of the types that sign here. One that shows a private part is refused.
    pub fn read(jwk: &Map<String, Value>) -> Result<Jwk, Bad> {
        if PRIVATE.iter().any(|name| jwk.contains_key(*name)) {
            return Err(Bad::Key(
                "it shows its private part: make a new one, and send the public part".to_owned(),
            ));
        }
        let text = |name: &str| jwk.get(name).and_then(Value::as_str).unwrap_or("");
        let number = |name: &str| {
            decode(text(name), LONGEST_HEADER, "the jwk has a member that is not base64url without padding")
        };
        let parts = match (text("kty"), text("crv")) {
            ("RSA", _) => PublicParts::Rsa { modulus: number("n")?, exponent: number("e")? },
            ("EC", curve) => {
                let known = ["P-256", "P-384", "P-521"].into_iter().find(|known| *known == curve);
                let curve = known.ok_or_else(|| Bad::Key("use P-256, P-384 or P-521".to_owned()))?;
                PublicParts::Ec { curve, x: number("x")?, y: number("y")? }
            }
            ("OKP", "Ed25519") => PublicParts::Ed25519(number("x")?),
            _ => return Err(Bad::Key("use RSA, ECDSA on P-256, P-384 or P-521, or Ed25519".to_owned())),
        };
        let public = PublicKey::of_parts(&parts).map_err(|why| Bad::Key(why.to_string()))?;
        let canonical = canonical(&parts, &public);
        Ok(Jwk { public, canonical })
    }

    /// The key whose required members `canonical` was made of.
    pub fn kept(canonical: &str) -> Option<Jwk> {
        Jwk::read(&serde_json::from_str(canonical).ok()?).ok()
    }

    /// Its thumbprint (RFC 7638): SHA-256 in base64url.
    pub fn thumbprint(&self) -> String {
        URL_SAFE_NO_PAD.encode(sha256(self.canonical.as_bytes()))
    }

    /// The algorithms that it signs with, by name.
    pub fn algorithms(&self) -> &'static [&'static str] {
        match self.public.kind() {
            PublicKind::Rsa(_) => &["RS256", "RS384", "RS512"],
            PublicKind::Ec(256) => &["ES256"],
            PublicKind::Ec(384) => &["ES384"],
            PublicKind::Ec(_) => &["ES512"],
            PublicKind::Ed25519 => &["EdDSA"],
        }
    }
}

/// The members have nothing in them that JSON would escape.
fn canonical(parts: &PublicParts, public: &PublicKey) -> String {
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    match parts {
        PublicParts::Rsa { modulus, exponent } => {
            // Without the zeros that some put in front.
            let (n, e) = public.rsa_numbers().unwrap_or_else(|| (modulus.clone(), exponent.clone()));
            format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, text(&e), text(&n))
        }
        PublicParts::Ec { curve, x, y } => {
            format!(r#"{{"crv":"{curve}","kty":"EC","x":"{}","y":"{}"}}"#, text(x), text(y))
        }
        PublicParts::Ed25519(x) => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, text(x)),
    }
}

#[cfg(test)]
mod tests;
