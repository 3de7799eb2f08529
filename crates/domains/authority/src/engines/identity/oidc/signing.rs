//! Named keys: what signs identity tokens, renewed by time.
//!
//! The next key pair is made, and its public part published, a whole period before it signs; the one before stays
//! published until the tokens it signed are over.

use crate::engines::transit::wire::Hidden;
use crate::expiry::{self, Due};
use crate::mounts;
use crate::refusal::Refusal;
use crate::txn::Txn;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use keyward_core::{Timestamp, random};
use keyward_crypto::Secret;
use keyward_crypto::keys::{Algorithm, Key, PublicParts};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

/// The name of the key that is always there.
pub(super) const DEFAULT: &str = "default";
/// The directory of keys, below the mount.
pub(super) const KEYS: &str = "oidc/key/";
/// Changes with every key, below the mount.
const EPOCH: &str = "oidc/epoch/keys";

/// A named key as stored. Spans are in seconds, times in nanoseconds since the epoch.
#[derive(Serialize, Deserialize)]
pub(super) struct Named {
    /// The algorithm's name (RFC 7518).
    pub(super) algorithm: String,
    /// How long a key pair signs.
    pub(super) rotation_period: u64,
    /// How long its public part is published after that.
    pub(super) verification_ttl: u64,
    /// For whom it may sign; `*` is everyone.
    pub(super) allowed_client_ids: Vec<String>,
    /// When the next key pair takes its turn; zero while there is none.
    next_rotation: u64,
    signing: Option<Pair>,
    next: Option<Pair>,
    retired: Vec<Retired>,
}

/// A key pair.
#[derive(Serialize, Deserialize)]
struct Pair {
    kid: String,
    algorithm: String,
    pkcs8: Hidden,
}

/// A public key that signs no more.
#[derive(Serialize, Deserialize)]
struct Retired {
    kid: String,
    algorithm: String,
    /// `SubjectPublicKeyInfo`, in base64.
    spki: String,
    ends: u64,
}

impl Default for Named {
    fn default() -> Named {
        Named {
            algorithm: "RS256".to_owned(),
            rotation_period: 24 * 3600,
            verification_ttl: 24 * 3600,
            allowed_client_ids: Vec::new(),
            next_rotation: 0,
            signing: None,
            next: None,
            retired: Vec::new(),
        }
    }
}

/// A named key read once, ready to sign.
pub(super) struct Ready {
    /// What was stored.
    pub(super) named: Named,
    algorithm: Algorithm,
    kid: String,
    key: Key,
}

fn failed<E: std::fmt::Display>(why: E) -> Refusal {
    Refusal::Internal(format!("a key for identity tokens could not be made: {why}"))
}

fn make(txn: &Txn<'_>, algorithm: Algorithm) -> Result<Pair, Refusal> {
    let key = Key::generate(algorithm.key_type(), 0, txn.random()).map_err(failed)?;
    let pkcs8 = key.private().ok_or_else(|| failed("it has no private part"))?;
    let algorithm = algorithm.name().to_owned();
    Ok(Pair { kid: random::uuid(txn.random()), algorithm, pkcs8: Hidden(pkcs8) })
}

impl Pair {
    fn read(&self) -> Result<(Algorithm, Key), Refusal> {
        let algorithm =
            Algorithm::parse(&self.algorithm).ok_or_else(|| failed("its algorithm is unknown"))?;
        let pkcs8 = Secret::new(self.pkcs8.0.expose().clone());
        Ok((algorithm, Key::import(algorithm.key_type(), pkcs8).map_err(failed)?))
    }
}

impl Named {
    fn algorithm(&self) -> Result<Algorithm, Refusal> {
        Algorithm::parse(&self.algorithm)
            .ok_or_else(|| Refusal::invalid(format!("unknown signing algorithm {:?}", self.algorithm)))
    }

    /// Whether it may sign for `client`.
    pub(super) fn allows(&self, client: &str) -> bool {
        self.allowed_client_ids.iter().any(|allowed| allowed == "*" || allowed == client)
    }

    /// When the next key pair takes its turn, in nanoseconds since the epoch; zero while there is none.
    pub(super) const fn due(&self) -> u64 {
        self.next_rotation
    }

    /// Makes both key pairs anew, for another algorithm.
    pub(super) fn renew(&mut self, txn: &Txn<'_>, now: Timestamp) -> Result<(), Refusal> {
        let algorithm = self.algorithm()?;
        self.retire(Duration::from_secs(self.verification_ttl), now)?;
        (self.signing, self.next) = (Some(make(txn, algorithm)?), Some(make(txn, algorithm)?));
        self.next_rotation = self.due_after(now);
        Ok(())
    }

    /// The next key pair takes its turn; the one before verifies for `verification` more.
    pub(super) fn rotate(
        &mut self,
        txn: &Txn<'_>,
        verification: Duration,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let algorithm = self.algorithm()?;
        self.retire(verification, now)?;
        self.signing = match self.next.take() {
            Some(next) => Some(next),
            None => Some(make(txn, algorithm)?),
        };
        self.next = Some(make(txn, algorithm)?);
        self.next_rotation = self.due_after(now);
        Ok(())
    }

    fn retire(&mut self, verification: Duration, now: Timestamp) -> Result<(), Refusal> {
        self.retired.retain(|retired| retired.ends > now.nanos());
        let Some(pair) = self.signing.take() else { return Ok(()) };
        if let Some(spki) = pair.read()?.1.public() {
            self.retired.push(Retired {
                kid: pair.kid,
                algorithm: pair.algorithm,
                spki: STANDARD.encode(spki),
                ends: now.plus(verification).nanos(),
            });
        }
        Ok(())
    }

    fn due_after(&self, now: Timestamp) -> u64 {
        now.plus(Duration::from_secs(self.rotation_period)).nanos()
    }

    /// A shorter period counts from now on.
    pub(super) fn hasten(&mut self, now: Timestamp) {
        if self.next_rotation > 0 {
            self.next_rotation = self.next_rotation.min(self.due_after(now));
        }
    }

    /// The public keys as a JSON Web Key Set shows them, each with when it ends.
    fn public(&self) -> Result<Vec<(u64, Value)>, Refusal> {
        let mut shown = Vec::new();
        for pair in self.signing.iter().chain(&self.next) {
            let (algorithm, key) = pair.read()?;
            shown.extend(jwk(&pair.kid, algorithm, &key).map(|jwk| (u64::MAX, jwk)));
        }
        for retired in &self.retired {
            let spki = STANDARD.decode(&retired.spki).unwrap_or_default();
            if let Some(algorithm) = Algorithm::parse(&retired.algorithm)
                && let Ok(key) = Key::import_public(algorithm.key_type(), &spki)
            {
                shown.extend(jwk(&retired.kid, algorithm, &key).map(|jwk| (retired.ends, jwk)));
            }
        }
        Ok(shown)
    }

    /// The public key called `kid`, if it is published at `now`.
    fn verifier(&self, kid: &str, now: Timestamp) -> Option<(Algorithm, Key)> {
        if let Some(pair) = self.signing.iter().chain(&self.next).find(|pair| pair.kid == kid) {
            return pair.read().ok();
        }
        let retired = self.retired.iter().find(|key| key.kid == kid && key.ends > now.nanos())?;
        let algorithm = Algorithm::parse(&retired.algorithm)?;
        let spki = STANDARD.decode(&retired.spki).ok()?;
        Some((algorithm, Key::import_public(algorithm.key_type(), &spki).ok()?))
    }
}

/// A public key as RFC 7517 has it.
fn jwk(kid: &str, algorithm: Algorithm, key: &Key) -> Option<Value> {
    let encode = |bytes: Vec<u8>| URL_SAFE_NO_PAD.encode(bytes);
    let mut jwk = json!({ "use": "sig", "kid": kid, "alg": algorithm.name() });
    let parts = match key.public_parts()? {
        PublicParts::Rsa { modulus, exponent } => {
            json!({ "kty": "RSA", "n": encode(modulus), "e": encode(exponent) })
        }
        PublicParts::Ec { curve, x, y } => {
            json!({ "kty": "EC", "crv": curve, "x": encode(x), "y": encode(y) })
        }
        PublicParts::Ed25519(x) => json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(x) }),
    };
    jwk.as_object_mut()?.extend(parts.as_object()?.clone());
    Some(jwk)
}

/// Where the keys of one identity mount are.
#[derive(Clone)]
pub(super) struct Store {
    prefix: String,
}

impl Store {
    /// Of the mount `uuid`.
    pub(super) fn of(uuid: &str) -> Store {
        Store { prefix: mounts::prefix(uuid) }
    }

    fn key(&self, name: &str) -> String {
        [&self.prefix, KEYS, name].concat()
    }

    fn epoch(&self) -> String {
        [&self.prefix, EPOCH].concat()
    }

    /// The key `name`, to be changed. The default one is there from the beginning.
    pub(super) fn load(&self, txn: &mut Txn<'_>, name: &str) -> Result<Option<Named>, Refusal> {
        let found = txn.get_json(&self.key(name))?;
        let default = || Named { allowed_client_ids: vec!["*".to_owned()], ..Named::default() };
        Ok(found.or_else(|| (name == DEFAULT).then(default)))
    }

    /// Writes the key `name`, which was due for rotation at `before`.
    pub(super) fn save(
        &self,
        txn: &mut Txn<'_>,
        name: &str,
        named: &Named,
        before: u64,
    ) -> Result<(), Refusal> {
        let key = self.key(name);
        let due =
            format!("oidc-{}", hex::encode(keyward_crypto::sha256(key.as_bytes()).get(..12).unwrap_or(&[])));
        if before > 0 {
            expiry::forget(txn, before, &due);
        }
        if named.next_rotation > 0 {
            expiry::remember(txn, named.next_rotation, &due, &Due::RotateOidc(key.clone()))?;
        }
        txn.bump(&self.epoch())?;
        txn.put_json(&key, named)
    }

    /// Removes the key `name`.
    pub(super) fn remove(&self, txn: &mut Txn<'_>, name: &str) -> Result<(), Refusal> {
        txn.bump(&self.epoch())?;
        txn.delete(&self.key(name));
        Ok(())
    }

    /// The key `name`, ready to sign; the default one is made when it is first used.
    pub(super) fn ready(
        &self,
        txn: &mut Txn<'_>,
        name: &str,
        now: Timestamp,
    ) -> Result<Option<Arc<Ready>>, Refusal> {
        let key = self.key(name);
        if name == DEFAULT && !txn.exists(&key)? {
            let mut named = Named { allowed_client_ids: vec!["*".to_owned()], ..Named::default() };
            named.renew(txn, now)?;
            self.save(txn, name, &named, 0)?;
        }
        txn.built(&key, |plain| {
            let named: Named = serde_json::from_slice(plain).map_err(|_| Refusal::Corrupt(key.clone()))?;
            let pair = named.signing.as_ref().ok_or_else(|| failed("it has no key pair"))?;
            let ((algorithm, key), kid) = (pair.read()?, pair.kid.clone());
            Ok(Ready { named, algorithm, kid, key })
        })
    }

    /// All public keys, or those of the keys that `wanted` names, as a JSON Web Key Set.
    pub(super) fn jwks(
        &self,
        txn: &mut Txn<'_>,
        now: Timestamp,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Value, Refusal> {
        let directory = [&self.prefix, KEYS].concat();
        let all = txn.built_since(&self.epoch(), directory.as_bytes(), |txn| {
            let mut all: Vec<(String, Vec<(u64, Value)>)> = Vec::new();
            for key in txn.keys(&directory, b"", usize::MAX)? {
                if let Some(named) = txn.get_json::<Named>(&key)? {
                    all.push((key.get(directory.len()..).unwrap_or("").to_owned(), named.public()?));
                }
            }
            Ok(all)
        })?;
        let of_wanted = all.iter().filter(|(name, _)| wanted(name)).flat_map(|(_, keys)| keys);
        let keys: Vec<&Value> =
            of_wanted.filter(|(ends, _)| *ends > now.nanos()).map(|(_, jwk)| jwk).collect();
        Ok(json!({ "keys": keys }))
    }

    /// What a token signed by one of these keys says, whoever it is for and whatever its time; nothing if none signed
    /// it.
    pub(super) fn verified(
        &self,
        txn: &mut Txn<'_>,
        token: &str,
        now: Timestamp,
    ) -> Result<Option<Map<String, Value>>, Refusal> {
        let Some(parsed) = Parsed::read(token) else { return Ok(None) };
        let directory = [&self.prefix, KEYS].concat();
        for key in txn.keys(&directory, b"", usize::MAX)? {
            let Some(named) = txn.get_json::<Named>(&key)? else { continue };
            if let Some((algorithm, key)) = named.verifier(&parsed.kid, now)
                && algorithm.name() == parsed.algorithm
                && key.jws_verify(algorithm, parsed.signed.as_bytes(), &parsed.signature)
            {
                return Ok(Some(parsed.claims));
            }
        }
        Ok(None)
    }
}

/// A token in the compact form (RFC 7515, section 7.1).
struct Parsed<'t> {
    algorithm: String,
    kid: String,
    signed: &'t str,
    signature: Vec<u8>,
    claims: Map<String, Value>,
}

impl Parsed<'_> {
    fn read(token: &str) -> Option<Parsed<'_>> {
        if token.len() > crate::jwt::LONGEST {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        Some(Parsed {
            algorithm: header.get("alg")?.as_str()?.to_owned(),
            kid: header.get("kid")?.as_str()?.to_owned(),
            signed,
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
            claims: serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?,
        })
    }
}

impl Ready {
    /// A token of `claims` in the compact form.
    pub(super) fn sign(&self, claims: &Map<String, Value>) -> Result<String, Refusal> {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({ "alg": self.algorithm.name(), "kid": self.kid });
        let signed = format!("{}.{}", encode(&header), encode(&Value::Object(claims.clone())));
        let signature = self.key.jws_sign(self.algorithm, signed.as_bytes()).map_err(failed)?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The left half of the hash of `text`, as OpenID Connect Core has it (section 3.1.3.6).
    pub(super) fn half_hash(&self, text: &str) -> Result<String, Refusal> {
        let hash = self.algorithm.hash().digest(text.as_bytes()).map_err(failed)?;
        Ok(URL_SAFE_NO_PAD.encode(hash.get(..hash.len() / 2).unwrap_or(&[])))
    }
}

/// Rotates the key stored at `key`, whose time has come.
pub(crate) fn due(txn: &mut Txn<'_>, key: &str, now: Timestamp) -> Result<(), Refusal> {
    let (Some(mut named), Some((prefix, name))) = (txn.get_json::<Named>(key)?, key.split_once(KEYS)) else {
        return Ok(());
    };
    if named.next_rotation > now.nanos() {
        return Ok(());
    }
    let store = Store { prefix: prefix.to_owned() };
    let verification = Duration::from_secs(named.verification_ttl);
    let name = name.to_owned();
    named.rotate(txn, verification, now)?;
    // What was due is taken back by whoever calls this.
    store.save(txn, &name, &named, 0)
}
