//! Sealed and unsealed: how the root key comes into being, and how shares bring it back.
//!
//! The unseal key wraps the root key, and is split by Shamir's scheme; neither is ever stored. With one share
//! the share is the unseal key itself.

use crate::authority::Authority;
use crate::barrier::{KEYRING, Keyring, RootKey};
use crate::memo::Memo;
use crate::mounts::{self, Mount};
use crate::policies;
use crate::policy::{DEFAULT_POLICY, RESPONSE_WRAPPING_POLICY};
use crate::refusal::Refusal;
use crate::settings::Settings;
use crate::token::{self, NewToken, TokenEntry};
use crate::txn::Txn;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_core::random::{self, Random};
use keyward_core::{Batch, Timestamp, View, Want};
use keyward_crypto::{AeadKey, Secret, shamir};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use zeroize::Zeroize;

/// Where the seal's configuration is stored, readable while sealed.
pub const SEAL: &str = "core/seal";

/// How the root key is wrapped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealConfig {
    /// Of this layout.
    pub format: u8,
    /// Shares that were made.
    pub shares: u8,
    /// Shares that are needed.
    pub threshold: u8,
    /// Names this authority, whatever its name is.
    pub cluster_id: String,
    /// The root key under the unseal key: nonce, ciphertext and tag, in base64.
    pub wrapped: String,
}

/// What `sys/init` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// How many to make: 1 to 255.
    pub shares: u8,
    /// How many are needed: 1 to `shares`, and 1 only when `shares` is.
    pub threshold: u8,
}

impl Shares {
    /// Checks what a client sent, in the words its users know.
    pub fn checked(shares: i64, threshold: i64) -> Result<Shares, Refusal> {
        let refuse = |why: &str| Err(Refusal::invalid(format!("invalid seal configuration: {why}")));
        match (u8::try_from(shares), u8::try_from(threshold)) {
            (Ok(0), _) | (Err(_), _) => refuse("shares must be from 1 to 255"),
            (_, Ok(0)) | (_, Err(_)) => refuse("threshold must be from 1 to 255"),
            (Ok(1), Ok(1)) => Ok(Shares { shares: 1, threshold: 1 }),
            (_, Ok(1)) => refuse("threshold must be greater than one for multiple shares"),
            (Ok(shares), Ok(threshold)) if threshold > shares => {
                refuse("threshold cannot be larger than the number of shares")
            }
            (Ok(shares), Ok(threshold)) => Ok(Shares { shares, threshold }),
        }
    }
}

/// A new authority, to be committed before anyone is told.
pub struct Initialized {
    /// Everything a new authority consists of.
    pub batch: Batch,
    /// The unseal shares: the only copy.
    pub shares: Vec<Secret<Vec<u8>>>,
    /// The first token.
    pub root_token: Secret<String>,
}

/// The seal's configuration; none before initialization.
pub fn config(view: &dyn View) -> Result<Option<SealConfig>, Refusal> {
    let read = |entry: keyward_core::Entry| {
        serde_json::from_slice(&entry.value).map_err(|_| Refusal::Corrupt(SEAL.to_owned()))
    };
    view.get(SEAL.as_bytes())?.map(read).transpose()
}

/// Makes a new authority in an empty store.
pub fn initialize(
    view: &dyn View,
    wanted: Shares,
    now: Timestamp,
    random: &dyn Random,
) -> Result<Initialized, Refusal> {
    if config(view)?.is_some() {
        return Err(Refusal::invalid("Vault is already initialized"));
    }
    let root = RootKey::generate(random);
    let unseal: Secret<[u8; 32]> = Secret::random(random);
    let wrapped = AeadKey::new(unseal.expose()).seal_with(random, SEAL.as_bytes(), root.expose());
    let config = SealConfig {
        format: 1,
        shares: wanted.shares,
        threshold: wanted.threshold,
        cluster_id: random::uuid(random),
        wrapped: STANDARD.encode(wrapped),
    };
    let ring = Keyring::generate(random, now, view.rev());
    let sealed_ring = ring.sealed(&root, random);
    let memo = Memo::new(1);
    let mut txn = Txn::fresh(view, &memo, random, ring);
    txn.want(SEAL, Want::Absent);
    txn.want(KEYRING, Want::Absent);
    let root_token = furnish(&mut txn, now)?;
    let config = serde_json::to_vec(&config).map_err(|why| Refusal::Internal(why.to_string()))?;
    txn.put_sealed(SEAL, config);
    txn.put_sealed(KEYRING, sealed_ring);
    let shares = match wanted.shares {
        1 => vec![Secret::new(unseal.expose().to_vec())],
        count => shamir::split(unseal.expose(), count, wanted.threshold, random)
            .map_err(|why| Refusal::invalid(format!("invalid seal configuration: {why}")))?,
    };
    Ok(Initialized { batch: txn.finish(), shares, root_token })
}

/// What every authority begins with.
fn furnish(txn: &mut Txn<'_>, now: Timestamp) -> Result<Secret<String>, Refusal> {
    let random = txn.random();
    for (kind, path, about) in [
        ("system", "sys/", "system endpoints used for control, policy and debugging"),
        ("cubbyhole", "cubbyhole/", "per-token private secret storage"),
        ("identity", "identity/", "identity store"),
        ("token", "auth/token/", "token based credentials"),
    ] {
        let mut mount = Mount::new(kind, path, random);
        mount.description = about.to_owned();
        mount.local = kind == "cubbyhole";
        mounts::put(txn, &mount)?;
    }
    policies::put(txn, "default", DEFAULT_POLICY)?;
    policies::put(txn, token::WRAPPING_POLICY, RESPONSE_WRAPPING_POLICY)?;
    let entry = TokenEntry {
        policies: vec!["root".to_owned()],
        path: "auth/token/root".to_owned(),
        display_name: "root".to_owned(),
        ..TokenEntry::default()
    };
    let issued = token::issue(txn, NewToken { entry, ttl: Duration::ZERO, id: None }, now)?;
    Ok(Secret::new(issued.client_token))
}

/// Shares collected so far.
#[derive(Default)]
pub struct Unsealing {
    nonce: String,
    shares: Vec<Secret<Vec<u8>>>,
}

impl Unsealing {
    /// How many shares are there.
    pub fn progress(&self) -> usize {
        self.shares.len()
    }

    /// Names this attempt; empty before the first share.
    pub fn nonce(&self) -> &str {
        &self.nonce
    }

    /// Forgets the shares.
    pub fn reset(&mut self) {
        *self = Unsealing::default();
    }

    /// Takes one share, in hex or base64. Answers with the authority once there are enough and they are right;
    /// wrong ones are forgotten all together, since which of them is wrong cannot be known.
    pub fn submit(
        &mut self,
        config: &SealConfig,
        share: &str,
        settings: &Settings,
        view: &dyn View,
        random: &dyn Random,
    ) -> Result<Option<Authority>, Refusal> {
        let share = decode(share)?;
        let wanted = if config.shares == 1 { 32 } else { 33 };
        if share.expose().len() != wanted {
            return Err(Refusal::invalid(format!(
                "the key has {} bytes, but keys of this authority have {wanted}: it belongs to another one",
                share.expose().len()
            )));
        }
        if self.shares.iter().any(|known| known.is(share.expose())) {
            return Ok(None);
        }
        if self.shares.is_empty() {
            self.nonce = random::uuid(random);
        }
        self.shares.push(share);
        if self.shares.len() < usize::from(config.threshold) {
            return Ok(None);
        }
        let shares = std::mem::take(self).shares;
        let root = open(config, &shares)?;
        let authority = Authority::new(root, settings.clone());
        // The key ring must open too: a store put together from two is found here, not at the first read.
        authority.begin(view, random)?;
        Ok(Some(authority))
    }
}

fn decode(share: &str) -> Result<Secret<Vec<u8>>, Refusal> {
    let share = share.trim();
    let bytes = match hex::decode(share) {
        Ok(bytes) => Some(bytes),
        Err(_) => STANDARD.decode(share).ok(),
    };
    match bytes {
        Some(bytes) if !bytes.is_empty() => Ok(Secret::new(bytes)),
        _ => Err(Refusal::invalid("'key' must be a valid hex or base64 string")),
    }
}

fn open(config: &SealConfig, shares: &[Secret<Vec<u8>>]) -> Result<RootKey, Refusal> {
    let invalid = || {
        Refusal::invalid(
            "Unseal failed, invalid key: at least one of the keys submitted is wrong; start again with the first",
        )
    };
    let unseal: Secret<[u8; 32]> = match shares {
        [only] if config.threshold == 1 => Secret::from_slice(only.expose()).ok_or_else(invalid)?,
        several => {
            let parts: Vec<&[u8]> = several.iter().map(|share| share.expose().as_slice()).collect();
            let joined = shamir::combine(&parts).map_err(|_| invalid())?;
            Secret::from_slice(joined.expose()).ok_or_else(invalid)?
        }
    };
    let wrapped = STANDARD.decode(&config.wrapped).map_err(|_| Refusal::Corrupt(SEAL.to_owned()))?;
    let mut root =
        AeadKey::new(unseal.expose()).open_prefixed(SEAL.as_bytes(), &wrapped).map_err(|_| invalid())?;
    let key = Secret::from_slice(&root).map(RootKey::new).ok_or_else(|| Refusal::Corrupt(SEAL.to_owned()));
    root.zeroize();
    key
}
