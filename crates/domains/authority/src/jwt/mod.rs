//! JSON Web Tokens (RFC 7519) signed by others, and their keys (RFC 7517): what a token says, whether one of the keys
//! signed it, whether its time is now.
//!
//! Algorithms are those of public keys only (RFC 7518, section 3.1): a shared secret or none never verifies. Which
//! key type goes with which algorithm is the key's to say, so a token cannot choose.

mod published;

pub(crate) use published::{Fetched, PUBLISHED, fetch, published};

use jsonwebtoken::jwk::{Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, crypto};
use keyward_core::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::fmt;
use std::time::Duration;

/// The longest token that is looked at, in bytes: what fits into a request's head elsewhere.
pub const LONGEST: usize = 64 * 1024;
/// Keys of one set.
pub const MOST_KEYS: usize = 256;

/// The algorithms that public keys sign with, by name.
pub const ALGORITHMS: &[&str] =
    &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

/// Why a token proves nothing; for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bad {
    /// Not three parts of base64url with JSON in two of them.
    Malformed(&'static str),
    /// Its algorithm is none that public keys sign with, or not allowed here.
    Algorithm,
    /// No key of this name or type is known.
    NoKey,
    /// None of the keys that could have signed it did.
    Signature,
    /// It says nothing of its time.
    Timeless,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYet,
    /// It says that it was issued in the future.
    IssuedLater,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bad::Malformed(part) => write!(f, "the token is no JWT: its {part} cannot be read"),
            Bad::Algorithm => f.write_str("the token's algorithm is not allowed"),
            Bad::NoKey => f.write_str("no known key could have signed the token"),
            Bad::Signature => f.write_str("no known key signed the token"),
            Bad::Timeless => {
                f.write_str("no issued at (iat), not before (nbf), or expiration time (exp) claims in token")
            }
            Bad::Expired => f.write_str("the token is expired"),
            Bad::NotYet => f.write_str("the token is not valid yet"),
            Bad::IssuedLater => f.write_str("the token was issued in the future: compare the clocks"),
        }
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

/// A token as it reads; nothing of it is proved.
pub struct Token<'t> {
    /// What signed it, as it says.
    pub algorithm: Algorithm,
    /// Which key signed it, as it says.
    pub kid: Option<String>,
    /// What it says.
    pub claims: Map<String, Value>,
    signed: &'t str,
    signature: &'t str,
}

impl<'t> Token<'t> {
    /// Reads the compact form (RFC 7515, section 7.1).
    pub fn parse(text: &'t str) -> Result<Token<'t>, Bad> {
        let text = text.trim();
        if text.len() > LONGEST {
            return Err(Bad::Malformed("length"));
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Bad::Malformed("form"))?;
        let (header, claims) = signed.split_once('.').ok_or(Bad::Malformed("form"))?;
        let header: Header = part(header).ok_or(Bad::Malformed("header"))?;
        // Whoever marks an extension critical wants tokens refused by who does not know it.
        if header.crit.is_some() {
            return Err(Bad::Malformed("critical header"));
        }
        let algorithm = match ALGORITHMS.contains(&header.alg.as_str()) {
            true => header.alg.parse().map_err(|_| Bad::Algorithm)?,
            false => return Err(Bad::Algorithm),
        };
        let claims = part(claims).ok_or(Bad::Malformed("claims"))?;
        Ok(Token { algorithm, kid: header.kid, claims, signed, signature })
    }

    /// A claim that is text.
    pub fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim)?.as_str()
    }

    /// Who it is for: one text or several.
    pub fn audiences(&self) -> Vec<&str> {
        match self.claims.get("aud") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// Holds the token's times against `now`. An `exp` or `nbf` that is missing is made up from the other times.
    pub fn check_times(&self, now: Timestamp, leeways: Leeways) -> Result<(), Bad> {
        let seconds = |claim: &str| self.claims.get(claim).and_then(Value::as_f64).filter(|at| *at > 0.0);
        let (exp, nbf, iat) = (seconds("exp"), seconds("nbf"), seconds("iat"));
        let expires = match exp {
            Some(exp) => exp,
            None => {
                let latest = iat.unwrap_or(0.0).max(nbf.unwrap_or(0.0));
                if latest == 0.0 {
                    return Err(Bad::Timeless);
                }
                latest + leeways.expiration.as_secs_f64()
            }
        };
        let begins = nbf.or(iat).unwrap_or(expires - leeways.not_before.as_secs_f64());
        let (now, skew) = (now.nanos() as f64 / 1e9, leeways.skew.as_secs_f64());
        match () {
            () if now >= expires + skew => Err(Bad::Expired),
            () if now + skew < begins => Err(Bad::NotYet),
            () if iat.is_some_and(|iat| now + skew < iat) => Err(Bad::IssuedLater),
            () => Ok(()),
        }
    }
}

/// By how much clocks may differ and times be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leeways {
    /// Between the issuer's clock and ours.
    pub skew: Duration,
    /// Added to the latest other time where there is no `exp`.
    pub expiration: Duration,
    /// Taken from `exp` where there is neither `nbf` nor `iat`.
    pub not_before: Duration,
}

impl Default for Leeways {
    fn default() -> Leeways {
        let span = Duration::from_secs;
        Leeways { skew: span(60), expiration: span(150), not_before: span(150) }
    }
}

fn part<T: DeserializeOwned>(encoded: &str) -> Option<T> {
    use base64::Engine as _;
    let json = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(encoded).ok()?;
    serde_json::from_slice(&json).ok()
}

struct Key {
    kid: Option<String>,
    algorithm: Option<Algorithm>,
    key: DecodingKey,
}

/// Public keys that may have signed a token.
pub struct Keys(Vec<Key>);

impl Keys {
    /// Public keys or certificates in PEM. The text says which one cannot be read.
    pub fn from_pem<'a>(pems: impl IntoIterator<Item = &'a str>) -> Result<Keys, String> {
        let read = |(at, pem): (usize, &str)| {
            let pem = pem.as_bytes();
            let key = DecodingKey::from_rsa_pem(pem)
                .or_else(|_| DecodingKey::from_ec_pem(pem))
                .or_else(|_| DecodingKey::from_ed_pem(pem))
                .map_err(|_| format!("key {} is no public key or certificate in PEM", at + 1))?;
            Ok(Key { kid: None, algorithm: None, key })
        };
        let keys = pems.into_iter().enumerate().map(read).collect::<Result<Vec<_>, String>>()?;
        Keys::bounded(keys)
    }

    /// A JWK set. Keys of other uses and of types that are not known are left out, as RFC 7517 (section 5) has it.
    pub fn from_jwks(json: &[u8]) -> Result<Keys, String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(json).map_err(|_| "it is no JSON Web Key Set".to_owned())?;
        if set.keys.len() > MOST_KEYS {
            return Err(format!("it has more than {MOST_KEYS} keys"));
        }
        let keys = set.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        Keys::bounded(keys.filter_map(|jwk| Key::from_jwk(&jwk)).collect())
    }

    fn bounded(keys: Vec<Key>) -> Result<Keys, String> {
        match keys.len() {
            0 => Err("it has no key that could be used".to_owned()),
            1..=MOST_KEYS => Ok(Keys(keys)),
            _ => Err(format!("it has more than {MOST_KEYS} keys")),
        }
    }

    /// True when one of the keys could have signed `token`.
    pub fn may_know(&self, token: &Token<'_>) -> bool {
        self.candidates(token).next().is_some()
    }

    fn candidates<'k>(&'k self, token: &'k Token<'_>) -> impl Iterator<Item = &'k Key> {
        self.0.iter().filter(|key| key.could_have_signed(token))
    }

    /// Whether one of the keys signed `token`, with one of the algorithms `allowed` (any when there are none).
    pub fn verify(&self, token: &Token<'_>, allowed: &[String]) -> Result<(), Bad> {
        let name = format!("{:?}", token.algorithm);
        if !allowed.is_empty() && !allowed.contains(&name) {
            return Err(Bad::Algorithm);
        }
        let mut outcome = Bad::NoKey;
        for key in self.candidates(token) {
            outcome = Bad::Signature;
            let signed = token.signed.as_bytes();
            if crypto::verify(token.signature, signed, &key.key, token.algorithm).unwrap_or(false) {
                return Ok(());
            }
        }
        Err(outcome)
    }
}

impl Key {
    fn from_jwk(jwk: &Jwk) -> Option<Key> {
        let common = &jwk.common;
        if matches!(&common.public_key_use, Some(other) if *other != PublicKeyUse::Signature) {
            return None;
        }
        let key = DecodingKey::from_jwk(jwk).ok()?;
        if key.family() == AlgorithmFamily::Hmac {
            return None;
        }
        let algorithm = match common.key_algorithm {
            Some(named) => Some(named_algorithm(named)?),
            None => None,
        };
        Some(Key { kid: common.key_id.clone(), algorithm, key })
    }

    fn could_have_signed(&self, token: &Token<'_>) -> bool {
        let named = match (&self.kid, &token.kid) {
            (Some(own), Some(wanted)) => own == wanted,
            _ => true,
        };
        let family = self.key.family().algorithms().contains(&token.algorithm);
        named && family && self.algorithm.is_none_or(|own| own == token.algorithm)
    }
}

/// The signature algorithm of a key; none for keys that encrypt.
fn named_algorithm(named: KeyAlgorithm) -> Option<Algorithm> {
    named.to_string().parse().ok()
}

#[cfg(test)]
mod tests;
