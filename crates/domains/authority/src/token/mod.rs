//! Tokens: what a caller shows, the entry behind it, and who that makes the caller.
//!
//! A service token is a random name; its entry is stored under a keyed hash of it, so a copy of the store yields
//! no token. The hash is also the token's accessor: it is listed and logged, and grants nothing without a token
//! that may use it. A batch token carries its own entry, sealed, and costs no write.

mod issue;
mod login;
mod renew;
mod revoke;
mod ttl;
mod uses;

pub use issue::{NewToken, issue};
pub use login::log_in;
pub use renew::{Renew, Renewed, Terms, renew};
pub use revoke::{revoke, revoke_if_over, revoke_orphan};
pub use ttl::{Granted, Wish, go_duration, grant, human};
pub use uses::{claim_use, end_after_last_use};

use crate::identity::{self, Holder};
use crate::policies;
use crate::policy::{Acl, Who};
use crate::posture::Attested;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::response::Auth;
use crate::txn::Txn;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_core::Timestamp;
use keyward_core::random::{BASE62, MOMENT};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// What service tokens begin with.
pub const SERVICE_PREFIX: &str = "hvs.";
/// Random characters of a service token that was drawn, behind its moment.
const SECRET: usize = 24;
/// What batch tokens begin with.
pub const BATCH_PREFIX: &str = "hvb.";
/// The policy of wrapping tokens.
pub const WRAPPING_POLICY: &str = "response-wrapping";

/// Stored or carried by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenKind {
    /// Stored, renewable, revocable.
    #[default]
    Service,
    /// Sealed into the token itself; ends only by time or with its parent.
    Batch,
}

impl TokenKind {
    /// As the wire has it.
    pub const fn name(self) -> &'static str {
        match self {
            TokenKind::Service => "service",
            TokenKind::Batch => "batch",
        }
    }
}

// house: each field is shown to clients or decides a request, and one read must bring them all
/// What is known of a token. Times to live are in seconds; zero is "none". What is at its default is not written:
/// a batch token is as long as its entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenEntry {
    /// Names the token where the token itself must not be shown: its storage name. Empty for batch tokens.
    #[serde(skip_serializing_if = "is_default")]
    pub accessor: String,
    /// Sorted, each once.
    #[serde(skip_serializing_if = "is_default")]
    pub policies: Vec<String>,
    /// The request path that issued it.
    #[serde(skip_serializing_if = "is_default")]
    pub path: String,
    /// From the auth method or the creator.
    #[serde(skip_serializing_if = "is_default")]
    pub metadata: BTreeMap<String, String>,
    /// A login proved what the metadata say of a pod and its ServiceAccount, so that conditions and verdicts may go by them.
    /// Any other metadata of the same names is what somebody chose: who made a secret id, a token or a user.
    #[serde(skip_serializing_if = "is_default")]
    pub attested: bool,
    /// For people.
    #[serde(skip_serializing_if = "is_default")]
    pub display_name: String,
    /// Uses left; unlimited when zero.
    #[serde(skip_serializing_if = "is_default")]
    pub num_uses: u32,
    /// The last use is claimed: good for nothing more.
    #[serde(skip_serializing_if = "is_default")]
    pub spent: bool,
    /// The storage name of the parent token; empty for orphans.
    #[serde(skip_serializing_if = "is_default")]
    pub parent: String,
    /// Nanoseconds since the epoch.
    #[serde(skip_serializing_if = "is_default")]
    pub created: u64,
    /// As granted at creation.
    #[serde(skip_serializing_if = "is_default")]
    pub creation_ttl: u64,
    /// The most a renewal may grant, counted from creation; the mount's when zero.
    #[serde(skip_serializing_if = "is_default")]
    pub max_ttl: u64,
    /// Never outlives this, counted from creation.
    #[serde(skip_serializing_if = "is_default")]
    pub explicit_max_ttl: u64,
    /// Renewed for ever by this much.
    #[serde(skip_serializing_if = "is_default")]
    pub period: u64,
    /// The token role it was created by.
    #[serde(skip_serializing_if = "is_default")]
    pub role: String,
    /// What the auth method that issued it looks up again when it is renewed: a role or a user.
    #[serde(skip_serializing_if = "is_default")]
    pub login: String,
    /// May be used only from these networks.
    #[serde(skip_serializing_if = "is_default")]
    pub bound_cidrs: Vec<String>,
    /// See [`TokenKind`].
    #[serde(skip_serializing_if = "is_default")]
    pub kind: TokenKind,
    /// The identity, if the login had one.
    #[serde(skip_serializing_if = "is_default")]
    pub entity_id: String,
    /// Nanoseconds since the epoch; never when absent.
    #[serde(skip_serializing_if = "is_default")]
    pub expires: Option<u64>,
    /// May be renewed.
    #[serde(skip_serializing_if = "is_default")]
    pub renewable: bool,
    /// Nanoseconds since the epoch.
    #[serde(skip_serializing_if = "is_default")]
    pub last_renewal: Option<u64>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl TokenEntry {
    /// When it was created.
    pub fn created_at(&self) -> Timestamp {
        Timestamp::from_nanos(self.created)
    }

    /// When it ends, if it does.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires.map(Timestamp::from_nanos)
    }

    /// When it was last renewed, if it was.
    pub fn renewed_at(&self) -> Option<Timestamp> {
        self.last_renewal.map(Timestamp::from_nanos)
    }

    /// Whole seconds left at `now`, rounded up; zero for tokens that do not end.
    pub fn ttl(&self, now: Timestamp) -> u64 {
        self.expires_at().map_or(0, |end| end.since(now).as_nanos().div_ceil(1_000_000_000) as u64)
    }

    /// How long it was last granted, in whole seconds rounded up; zero for tokens that do not end.
    pub fn last_granted(&self) -> Duration {
        Duration::from_secs(self.ttl(self.renewed_at().unwrap_or_else(|| self.created_at())))
    }

    /// Has every right.
    pub fn is_root(&self) -> bool {
        self.policies.iter().any(|policy| policy == "root")
    }

    /// Stands for a wrapped answer, and for nothing else.
    pub fn is_wrapping(&self) -> bool {
        matches!(&self.policies[..], [only] if only == WRAPPING_POLICY)
    }

    /// The lease id of this token, stored as `name`.
    pub fn lease_id(&self, name: &str) -> String {
        format!("{}/h{name}", self.path.trim_end_matches('/'))
    }

    /// What a client is told of this token, `ttl` seconds before its end.
    pub fn to_auth(&self, client_token: String, ttl: u64) -> Auth {
        Auth {
            client_token,
            accessor: self.accessor.clone(),
            policies: self.policies.clone(),
            token_policies: self.policies.clone(),
            identity_policies: None,
            metadata: (!self.metadata.is_empty()).then(|| self.metadata.clone()),
            lease_duration: ttl,
            renewable: self.renewable,
            entity_id: self.entity_id.clone(),
            token_type: self.kind.name(),
            orphan: self.parent.is_empty(),
            mfa_requirement: None,
            num_uses: self.num_uses,
        }
    }

    fn is_over(&self, now: Timestamp) -> bool {
        self.spent || self.expires_at().is_some_and(|end| end <= now)
    }
}

/// Who asks.
pub struct Caller {
    /// What is known of the token.
    pub token: Arc<TokenEntry>,
    /// Where the entry is stored; for batch tokens a keyed hash of the token all the same.
    pub name: String,
    /// Whom the token belongs to, if it has an identity.
    pub holder: Option<Arc<Holder>>,
    /// What the caller may do.
    pub acl: Arc<Acl>,
}

impl Caller {
    /// The caller, as the conditions of policies look at it.
    pub fn who<'a>(&'a self, request: &Request, posture: Attested<'a>) -> Who<'a> {
        let address = request.remote.map(|remote| remote.ip());
        Who { token: &self.token, holder: self.holder.as_deref(), address, posture: Some(posture) }
    }
}

/// The storage name of a token, of 24 characters: a keyed hash, in which a token that was drawn keeps the moment it
/// begins with, so that tokens issued one after the other are stored side by side.
pub fn name_of(txn: &Txn<'_>, token: &str) -> String {
    let drawn = token.strip_prefix(SERVICE_PREFIX).filter(|drawn| drawn.len() == MOMENT + SECRET);
    let moment = drawn.and_then(|drawn| drawn.get(..MOMENT));
    let moment = moment.filter(|moment| moment.bytes().all(|digit| digit.is_ascii_alphanumeric()));
    let mut name = String::with_capacity(NAME);
    name.push_str(moment.unwrap_or_default());
    let tag = txn.keyring().names.tag_parts(&[b"token\0", token.as_bytes()]);
    for half in tag.chunks_exact(16) {
        let number = half.iter().fold(0u128, |number, byte| number << 8 | u128::from(*byte));
        push(&mut name, (number % BLOCK) as u64, DIGITS);
        push(&mut name, (number / BLOCK % 3844) as u64, 2);
    }
    name.truncate(NAME);
    name
}

/// Characters of the storage name of a token.
const NAME: usize = 24;
/// As many digits of base 62 as fit into 64 bits: dividing 128 bits is slow, and is done once for all of them.
const DIGITS: u32 = 10;
const BLOCK: u128 = 62u128.pow(DIGITS);

/// The last `digits` of a number in base 62, lowest first.
fn push(name: &mut String, mut rest: u64, digits: u32) {
    for _ in 0..digits {
        name.push(char::from(BASE62[(rest % 62) as usize]));
        rest /= 62;
    }
}

/// The directory of the entries of tokens.
pub const ENTRIES: &str = "token/id/";

/// Where the entry named `name` is stored. A token's accessor is its name.
pub fn entry_key(name: &str) -> String {
    [ENTRIES, name].concat()
}

/// The directory of the directories of children.
pub const CHILDREN: &str = "token/child/";

/// The directory of a token's children.
pub fn children_key(name: &str) -> String {
    format!("{CHILDREN}{name}/")
}

/// The stored entry named `name`, if it has not ended. An accessor is such a name.
pub fn entry(txn: &mut Txn<'_>, name: &str, now: Timestamp) -> Result<Option<Arc<TokenEntry>>, Refusal> {
    if name.is_empty() || name.contains('/') {
        return Ok(None);
    }
    let entry = txn.built_json::<TokenEntry>(&entry_key(name))?;
    Ok(entry.filter(|entry| !entry.is_over(now)))
}

/// What a token shown by someone stands for: its storage name and its entry, if it is good.
pub fn look_up(
    txn: &mut Txn<'_>,
    token: &str,
    now: Timestamp,
) -> Result<Option<(String, Arc<TokenEntry>)>, Refusal> {
    let name = name_of(txn, token);
    let entry = match token.strip_prefix(BATCH_PREFIX) {
        Some(sealed) => open_batch(txn, sealed, now)?,
        None => entry(txn, &name, now)?,
    };
    Ok(entry.map(|entry| (name, entry)))
}

fn open_batch(txn: &mut Txn<'_>, sealed: &str, now: Timestamp) -> Result<Option<Arc<TokenEntry>>, Refusal> {
    let opened = URL_SAFE_NO_PAD.decode(sealed).ok();
    let opened = opened.and_then(|sealed| txn.keyring().batch.open_prefixed(b"batch token", &sealed).ok());
    let Some(claims) = opened.and_then(|claims| serde_json::from_slice::<TokenEntry>(&claims).ok()) else {
        return Ok(None);
    };
    // A batch token ends with its parent.
    if claims.is_over(now) || (!claims.parent.is_empty() && entry(txn, &claims.parent, now)?.is_none()) {
        return Ok(None);
    }
    Ok(Some(Arc::new(claims)))
}

/// Who shows `token` from the address `from`.
pub fn caller(
    txn: &mut Txn<'_>,
    token: &str,
    from: Option<IpAddr>,
    now: Timestamp,
) -> Result<Caller, Refusal> {
    let found = look_up(txn, token, now)?;
    let (name, token) = found.ok_or(Refusal::denied("the token is unknown, revoked, expired or used up"))?;
    if !token.bound_cidrs.is_empty() && !from.is_some_and(|from| crate::cidr::any(&token.bound_cidrs, from)) {
        return Err(Refusal::denied("the token is bound to other networks"));
    }
    let holder = identity::of_token(txn, &token)?;
    let acl = policies::acl(txn, &token.policies, holder.as_deref())?;
    Ok(Caller { token, name, holder, acl })
}

/// What `token` lets its holder do.
pub fn rights(txn: &mut Txn<'_>, token: &TokenEntry) -> Result<Arc<Acl>, Refusal> {
    let holder = identity::of_token(txn, token)?;
    policies::acl(txn, &token.policies, holder.as_deref())
}
