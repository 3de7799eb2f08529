//! Second factors: who must show one at a login, and whether it is right.
//!
//! One-time passwords by time (RFC 6238) are the only kind. A code counts once, as section 5.2 of the RFC has it: neither
//! it nor an earlier one is accepted again. Wrong codes are counted, and after some the method rests.

use super::{Entity, holder, id_key, name_key};
use crate::engines::transit::wire::Hidden;
use crate::expiry::{self, Due};
use crate::jobs::{self, Job};
use crate::mounts::Mount;
use crate::otpauth;
use crate::refusal::Refusal;
use crate::token::NewToken;
use crate::token::TokenEntry;
use crate::txn::Txn;
use keyward_core::{Timestamp, random};
use keyward_crypto::keys::Hash;
use keyward_crypto::otp::Parameters;
use keyward_crypto::{Secret, otp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The directory of methods, by id.
const METHODS: &str = "identity/mfa-method/";
/// The directory of enforcements, by name.
const ENFORCEMENTS: &str = "identity/mfa-enforcement/";
/// The directory of the keys of entities.
const KEYS: &str = "identity/mfa-key/";
/// The directory of logins that wait for a second factor.
const WAITING: &str = "identity/mfa-login/";
/// Changes with every method and enforcement.
const EPOCH: &str = "core/epoch/mfa";

/// How long a login waits for its second factor.
const PATIENCE: Duration = Duration::from_secs(300);

/// How one-time passwords are made and checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Method {
    /// A random UUID.
    pub id: String,
    /// May be empty.
    pub name: String,
    /// Shown by applications.
    pub issuer: String,
    /// Seconds for which a code is right.
    pub period: u64,
    /// `SHA1`, `SHA256` or `SHA512`.
    pub algorithm: String,
    /// 6 or 8.
    pub digits: u32,
    /// How many periods before and after the present one count: 0 or 1.
    pub skew: u64,
    /// Bytes of new keys.
    pub key_size: usize,
    /// Kept for clients that read it back.
    pub qr_size: i64,
    /// Wrong codes before the method rests.
    pub max_attempts: u32,
}

/// Who must show a second factor, and which will do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Enforcement {
    /// A random UUID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// One of these methods is enough.
    pub methods: Vec<String>,
    /// Logins at these mounts,
    pub accessors: Vec<String>,
    /// by these methods,
    pub kinds: Vec<String>,
    /// of members of these groups,
    pub groups: Vec<String>,
    /// and of these entities.
    pub entities: Vec<String>,
}

/// All methods and enforcements.
#[derive(Default)]
pub struct Rules {
    /// By id.
    pub methods: BTreeMap<String, Arc<Method>>,
    /// In the order of their names.
    pub enforcements: Vec<Arc<Enforcement>>,
}

/// An entity's key for one method, and what was shown so far.
#[derive(Serialize, Deserialize)]
struct Enrolled {
    key: Hidden,
    period: u64,
    algorithm: String,
    digits: u32,
    skew: u64,
    /// The counter of the last code that counted.
    last: u64,
    /// Wrong codes since.
    failures: u32,
    /// Nanoseconds since the epoch: of the last wrong code.
    failed: u64,
}

/// A login that waits for a second factor.
#[derive(Serialize, Deserialize)]
pub struct Waiting {
    /// The token it will be given.
    pub entry: TokenEntry,
    /// How long that will live, in seconds.
    pub ttl: u64,
    /// The mount it is at.
    pub mount: String,
    /// Nanoseconds since the epoch.
    ends: u64,
}

/// The methods and enforcements of this snapshot.
pub fn rules(txn: &mut Txn<'_>) -> Result<Arc<Rules>, Refusal> {
    txn.built_since(EPOCH, b"mfa", |txn| {
        let mut rules = Rules::default();
        for key in txn.keys(METHODS, b"", usize::MAX)? {
            if let Some(method) = txn.get_json::<Method>(&key)? {
                rules.methods.insert(method.id.clone(), Arc::new(method));
            }
        }
        for key in txn.keys(ENFORCEMENTS, b"", usize::MAX)? {
            rules.enforcements.extend(txn.get_json(&key)?.map(Arc::new));
        }
        Ok(rules)
    })
}

/// Writes `method`.
pub fn save_method(txn: &mut Txn<'_>, method: &Method) -> Result<(), Refusal> {
    txn.bump(EPOCH)?;
    txn.put_json(&[METHODS, &method.id].concat(), method)
}

/// Removes the method `id`.
pub fn remove_method(txn: &mut Txn<'_>, id: &str) -> Result<(), Refusal> {
    txn.bump(EPOCH)?;
    txn.delete(&[METHODS, id].concat());
    Ok(())
}

/// Writes `enforcement`.
pub fn save_enforcement(txn: &mut Txn<'_>, enforcement: &Enforcement) -> Result<(), Refusal> {
    txn.bump(EPOCH)?;
    txn.put_json(&name_key(ENFORCEMENTS, &enforcement.name), enforcement)
}

/// Removes the enforcement `name`.
pub fn remove_enforcement(txn: &mut Txn<'_>, name: &str) -> Result<(), Refusal> {
    txn.bump(EPOCH)?;
    txn.delete(&name_key(ENFORCEMENTS, name));
    Ok(())
}

/// What a login of the entity `id` at `mount` must satisfy. A rule made at the same time may count from the next one.
pub fn enforced(txn: &mut Txn<'_>, mount: &Mount, id: &str) -> Result<Vec<Arc<Enforcement>>, Refusal> {
    let rules = txn.unrelied(rules)?;
    if rules.enforcements.is_empty() {
        return Ok(Vec::new());
    }
    let holder = if id.is_empty() { None } else { txn.unrelied(|txn| holder(txn, id))? };
    let concerns = |rule: &&Arc<Enforcement>| {
        rule.accessors.contains(&mount.accessor)
            || rule.kinds.contains(&mount.kind)
            || holder.as_ref().is_some_and(|holder| {
                rule.entities.contains(&holder.entity.id)
                    || holder.groups().any(|group| rule.groups.contains(&group.id))
            })
    };
    Ok(rules.enforcements.iter().filter(concerns).cloned().collect())
}

impl Method {
    /// The hash function called so.
    pub fn hash(algorithm: &str) -> Option<Hash> {
        match algorithm {
            "SHA1" => Some(Hash::Sha1),
            "SHA256" => Some(Hash::Sha2_256),
            "SHA512" => Some(Hash::Sha2_512),
            _ => None,
        }
    }
}

impl Enrolled {
    fn parameters(&self) -> Parameters {
        Parameters {
            hash: Method::hash(&self.algorithm).unwrap_or(Hash::Sha1),
            digits: self.digits,
            period: self.period,
        }
    }

    /// How long the method rests after too many wrong codes: until each of them is over.
    fn rest(&self) -> Duration {
        Duration::from_secs(self.period.saturating_mul(2 + self.skew))
    }
}

fn key_of(entity: &str, method: &str) -> Option<String> {
    id_key("", method).and_then(|method| Some([&id_key(KEYS, entity)?, "/", &method].concat()))
}

/// Gives `entity` a key for `method`. Answers with the address that applications read it from (`otpauth:`); with nothing
/// when there is a key already.
pub fn enroll(
    txn: &mut Txn<'_>,
    method: &Method,
    entity: &Entity,
) -> Result<Option<Secret<String>>, Refusal> {
    let Some(at) = key_of(&entity.id, &method.id) else { return Ok(None) };
    if txn.exists(&at)? {
        return Ok(None);
    }
    let mut key = vec![0; method.key_size];
    txn.random().fill(&mut key);
    let secret = zeroize::Zeroizing::new(otp::base32(&key));
    let Method { issuer, algorithm, digits, period, .. } = method;
    let address = otpauth::write(issuer, &entity.id, &secret, algorithm, *digits, *period);
    let enrolled = Enrolled {
        key: Hidden(Secret::new(key)),
        period: method.period,
        algorithm: method.algorithm.clone(),
        digits: method.digits,
        skew: method.skew,
        last: 0,
        failures: 0,
        failed: 0,
    };
    txn.put_json(&at, &enrolled)?;
    Ok(Some(address))
}

/// Takes the key of the entity `entity` for `method` away.
pub fn disenroll(txn: &mut Txn<'_>, method: &str, entity: &str) {
    if let Some(at) = key_of(entity, method) {
        txn.delete(&at);
    }
}

/// Removes all keys of the entity `entity`.
pub(super) fn forget(txn: &mut Txn<'_>, entity: &str) -> Result<(), Refusal> {
    let prefix = [KEYS, entity, "/"].concat();
    match txn.keys(&prefix, b"", 1)?.is_empty() {
        true => Ok(()),
        false => jobs::add(txn, &Job::Wipe { prefix }),
    }
}

/// The keys of an entity that is merged become the other's; where both have one, the other's stays, which must be
/// wanted.
pub(super) fn take_over(txn: &mut Txn<'_>, from: &str, into: &str, force: bool) -> Result<(), Refusal> {
    let prefix = [KEYS, from, "/"].concat();
    for key in txn.keys(&prefix, b"", 10)? {
        let method = key.get(prefix.len()..).unwrap_or("");
        let target = [KEYS, into, "/", method].concat();
        if txn.exists(&target)? {
            if !force {
                return Err(Refusal::invalid(format!(
                    "conflicting MFA config ID {method:?} in entity ID {from:?}: set force to keep the key of the \
                     entity that remains"
                )));
            }
        } else if let Some(enrolled) = txn.get_json::<Enrolled>(&key)? {
            txn.put_json(&target, &enrolled)?;
        }
    }
    Ok(())
}

/// A second factor as it was shown: the method's id or name, and the code.
pub struct Factor {
    /// Id or name.
    pub method: String,
    /// The code.
    pub code: Secret<String>,
}

impl Factor {
    /// From the text that clients send: a code, or `passcode=` and a code.
    pub fn new(method: &str, text: &str) -> Factor {
        let code = text.trim();
        let code = code.strip_prefix("passcode=").unwrap_or(code);
        Factor { method: method.trim().to_owned(), code: Secret::new(code.to_owned()) }
    }

    /// From a header: the method, a colon, and the code.
    pub fn from_header(text: &str) -> Factor {
        let (method, code) = text.split_once(':').unwrap_or((text, ""));
        Factor::new(method, code)
    }
}

/// Whether the factors of the entity `entity` satisfy all of `enforced`; else why not, for the client. What is written
/// counts in both cases.
pub fn satisfied(
    txn: &mut Txn<'_>,
    enforced: &[Arc<Enforcement>],
    entity: &str,
    factors: &[Factor],
    now: Timestamp,
) -> Result<Result<(), Refusal>, Refusal> {
    let rules = rules(txn)?;
    // A code counts once, also where several enforcements want it.
    let mut tried: BTreeMap<&str, Result<(), String>> = BTreeMap::new();
    for rule in enforced {
        let mut why = "no factor was shown for any of its methods".to_owned();
        let mut good = false;
        for method in rule.methods.iter().filter_map(|id| rules.methods.get(id)) {
            let named = |factor: &&Factor| {
                factor.method == method.id || (!method.name.is_empty() && factor.method == method.name)
            };
            let Some(factor) = factors.iter().find(named) else { continue };
            let outcome = match tried.get(method.id.as_str()) {
                Some(outcome) => outcome.clone(),
                None => {
                    let outcome = check(txn, method, entity, factor.code.expose(), now)?;
                    tried.insert(&method.id, outcome.clone());
                    outcome
                }
            };
            match outcome {
                Ok(()) => good = true,
                Err(reason) => why = reason,
            }
        }
        if !good {
            return Ok(Err(Refusal::Forbidden(
                format!("failed to satisfy enforcement {}. error: {why}", rule.name).into(),
            )));
        }
    }
    Ok(Ok(()))
}

fn check(
    txn: &mut Txn<'_>,
    method: &Method,
    entity: &str,
    code: &str,
    now: Timestamp,
) -> Result<Result<(), String>, Refusal> {
    let at = key_of(entity, &method.id);
    let enrolled = match &at {
        Some(at) => txn.get_json::<Enrolled>(at)?,
        None => None,
    };
    let (Some(at), Some(mut enrolled)) = (at, enrolled) else {
        return Ok(Err(format!("the entity has no key for the MFA method {:?}", method.id)));
    };
    let rested = now.since(Timestamp::from_nanos(enrolled.failed)) >= enrolled.rest();
    if enrolled.failures >= method.max_attempts && !rested {
        return Ok(Err(format!(
            "maximum TOTP validation attempts {} exceeded; try again in {} seconds",
            method.max_attempts,
            enrolled.rest().as_secs()
        )));
    }
    let parameters = enrolled.parameters();
    let found = parameters.matching(enrolled.key.0.expose(), code, now.secs(), enrolled.skew);
    let outcome = match found {
        Some(counter) if counter > enrolled.last => {
            (enrolled.last, enrolled.failures, enrolled.failed) = (counter, 0, 0);
            Ok(())
        }
        Some(_) => Err("code already used; wait until the next time period".to_owned()),
        None => Err("failed to validate TOTP passcode".to_owned()),
    };
    if outcome.is_err() {
        enrolled.failures = if rested { 1 } else { enrolled.failures.saturating_add(1) };
        enrolled.failed = now.nanos();
    }
    txn.put_json(&at, &enrolled)?;
    Ok(outcome)
}

/// What a client is told that it must show, as it reads it in the `auth` object.
#[derive(Clone, Debug, Serialize)]
pub struct Requirement {
    /// Names the login that waits.
    pub mfa_request_id: String,
    /// By enforcement: one of these is enough.
    pub mfa_constraints: BTreeMap<String, Constraint>,
}

/// See [`Requirement`].
#[derive(Clone, Debug, Serialize)]
pub struct Constraint {
    /// The methods.
    pub any: Vec<Choice>,
}

/// A method, as clients read it.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Choice {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub id: String,
    pub uses_passcode: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// Lets a login wait for its second factor.
pub fn wait(
    txn: &mut Txn<'_>,
    enforced: &[Arc<Enforcement>],
    mount: &Mount,
    new: NewToken,
    now: Timestamp,
) -> Result<Requirement, Refusal> {
    let rules = rules(txn)?;
    let id = random::uuid(txn.random());
    let ends = now.plus(PATIENCE).nanos();
    let key = [WAITING, &id].concat();
    let waiting = Waiting { entry: new.entry, ttl: new.ttl.as_secs(), mount: mount.uuid.clone(), ends };
    expiry::remember(txn, ends, &id, &Due::Entry(key.clone()))?;
    txn.put_json(&key, &waiting)?;
    let choice = |id: &String| {
        rules.methods.get(id).map(|method| Choice {
            kind: "totp",
            id: method.id.clone(),
            uses_passcode: true,
            name: method.name.clone(),
        })
    };
    let constraint = |rule: &Arc<Enforcement>| {
        (rule.name.clone(), Constraint { any: rule.methods.iter().filter_map(choice).collect() })
    };
    Ok(Requirement { mfa_request_id: id, mfa_constraints: enforced.iter().map(constraint).collect() })
}

/// The login that waits as `id`.
pub fn waiting(txn: &mut Txn<'_>, id: &str, now: Timestamp) -> Result<Option<Waiting>, Refusal> {
    let Some(key) = id_key(WAITING, id) else { return Ok(None) };
    let found = txn.get_json::<Waiting>(&key)?;
    Ok(found.filter(|waiting| waiting.ends > now.nanos()))
}

/// The login that waited as `id` waits no more.
pub fn done(txn: &mut Txn<'_>, id: &str, waiting: &Waiting) {
    expiry::forget(txn, waiting.ends, id);
    txn.delete(&[WAITING, id].concat());
}
