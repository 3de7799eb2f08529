//! The mount table: which backend serves which path.
//!
//! Each mount is an entry of its own, so the table is not bound by the size of one value. The compiled table is
//! a memo that lives as long as the epoch entry does not change.

use crate::expiry::{self, Due};
use crate::jobs::{self, Job};
use crate::lease;
use crate::refusal::Refusal;
use crate::settings::Settings;
use crate::txn::Txn;
use keyward_core::{Timestamp, random};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

const ENTRIES: &str = "core/mounts/";
const EPOCH: &str = "core/epoch/mounts";

/// What `tune` changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MountConfig {
    /// Seconds; the authority's default when zero.
    pub default_lease_ttl: u64,
    /// Seconds; the authority's maximum when zero.
    pub max_lease_ttl: u64,
    /// Kept for clients that read it back.
    pub force_no_cache: bool,
    /// `hidden` or `unauth`.
    pub listing_visibility: String,
    /// Request fields not hashed in audit records.
    pub audit_non_hmac_request_keys: Vec<String>,
    /// Response fields not hashed in audit records.
    pub audit_non_hmac_response_keys: Vec<String>,
    /// Kept for clients that read it back.
    pub passthrough_request_headers: Vec<String>,
    /// Kept for clients that read it back.
    pub allowed_response_headers: Vec<String>,
    /// `default-service`, `default-batch`, `service` or `batch`; auth methods only.
    pub token_type: String,
    /// When names that fail to log in are locked; as by default when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_lockout: Option<UserLockout>,
}

/// When names that fail to log in are locked; see [`crate::lockout`]. What is zero is as by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserLockout {
    /// Failures; 5 by default.
    pub threshold: u64,
    /// Seconds for which a name stays locked; 900 by default.
    pub duration: u64,
    /// Seconds after which a failure does not count any more; 900 by default.
    pub counter_reset: u64,
    /// Lock nobody.
    pub disable: bool,
}

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Names its entries in storage; survives a move to another path.
    pub uuid: String,
    /// With a trailing slash; auth methods begin with `auth/`.
    pub path: String,
    /// The backend's type.
    pub kind: String,
    /// Shown in lists; the alias scope of identities.
    pub accessor: String,
    /// The operator's words.
    pub description: String,
    /// Kept for clients that read it back.
    pub local: bool,
    /// Kept for clients that read it back.
    pub seal_wrap: bool,
    /// Kept for clients that read it back.
    pub external_entropy_access: bool,
    /// `version` for key-value engines.
    pub options: BTreeMap<String, String>,
    /// See [`MountConfig`].
    pub config: MountConfig,
    /// Its secrets are being written anew for the next version of its engine; nobody may use it meanwhile.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub upgrading: bool,
}

impl Mount {
    /// A mount of `kind` at `path`, with names of its own.
    pub fn new(kind: &str, path: &str, random: &dyn random::Random) -> Mount {
        let accessor = match path.strip_prefix("auth/") {
            Some(_) => format!("auth_{kind}_{}", hex::encode(random::bytes::<4>(random))),
            None => format!("{kind}_{}", hex::encode(random::bytes::<4>(random))),
        };
        Mount {
            uuid: random::uuid(random),
            path: path.to_owned(),
            kind: kind.to_owned(),
            accessor,
            description: String::new(),
            local: false,
            seal_wrap: false,
            external_entropy_access: false,
            options: BTreeMap::new(),
            config: MountConfig::default(),
            upgrading: false,
        }
    }

    /// Where its entries are stored.
    pub fn prefix(&self) -> String {
        prefix(&self.uuid)
    }

    /// True for auth methods.
    pub fn is_auth(&self) -> bool {
        self.path.starts_with("auth/")
    }

    /// The default time to live of what this mount issues.
    pub fn default_ttl(&self, settings: &Settings) -> Duration {
        match self.config.default_lease_ttl {
            0 => settings.default_ttl.min(self.max_ttl(settings)),
            seconds => Duration::from_secs(seconds),
        }
    }

    /// The longest time to live of what this mount issues.
    pub fn max_ttl(&self, settings: &Settings) -> Duration {
        match self.config.max_lease_ttl {
            0 => settings.max_ttl,
            seconds => Duration::from_secs(seconds),
        }
    }
}

/// The directory of the directories of mounts.
pub const DIRECTORIES: &str = "m/";

/// Where the entries of the mount `uuid` are stored.
pub fn prefix(uuid: &str) -> String {
    [DIRECTORIES, uuid, "/"].concat()
}

/// The refusal clients of the key-value engine know, and wait for the end of.
pub fn is_upgrading() -> Refusal {
    Refusal::invalid(
        "Upgrading from non-versioned to versioned data. This backend will be unavailable for a brief period and \
         will resume service shortly.",
    )
}

/// The mounts by path.
#[derive(Default)]
pub struct Table {
    by_path: HashMap<String, Arc<Mount>>,
}

impl Table {
    /// The mount with the longest path that `path` begins with. A path that names a mount without its slash
    /// belongs to that mount.
    pub fn find(&self, path: &str) -> Option<&Arc<Mount>> {
        let mut rest = path.strip_suffix('/').unwrap_or(path);
        loop {
            match self.by_path.get(rest) {
                Some(mount) => return Some(mount),
                None => rest = rest.rsplit_once('/')?.0,
            }
        }
    }

    /// The mount at exactly `path`, which ends in a slash.
    pub fn at(&self, path: &str) -> Option<&Arc<Mount>> {
        self.by_path.get(path.strip_suffix('/')?)
    }

    /// The mount with this accessor.
    pub fn by_accessor(&self, accessor: &str) -> Option<&Arc<Mount>> {
        self.by_path.values().find(|mount| mount.accessor == accessor)
    }

    /// All mounts, in the order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Mount>> {
        let mut mounts: Vec<&Arc<Mount>> = self.by_path.values().collect();
        mounts.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        mounts.into_iter()
    }
}

/// The table of this snapshot.
pub fn table(txn: &mut Txn<'_>) -> Result<Arc<Table>, Refusal> {
    txn.built_since(EPOCH, b"mounts", |txn| {
        let mut table = Table::default();
        for key in txn.keys(ENTRIES, b"", usize::MAX)? {
            if let Some(mount) = txn.get_json::<Mount>(&key)? {
                table.by_path.insert(mount.path.trim_end_matches('/').to_owned(), Arc::new(mount));
            }
        }
        Ok(table)
    })
}

/// Writes `mount`, new or changed.
pub fn put(txn: &mut Txn<'_>, mount: &Mount) -> Result<(), Refusal> {
    txn.bump(EPOCH)?;
    txn.put_json(&format!("{ENTRIES}{}", mount.uuid), mount)
}

/// Takes `mount` out of the table; its entries are removed by a job.
pub fn remove(txn: &mut Txn<'_>, mount: &Mount) -> Result<(), Refusal> {
    txn.bump(EPOCH)?;
    txn.delete(&format!("{ENTRIES}{}", mount.uuid));
    Ok(())
}

/// Leases looked at for whether they are of a mount that is gone.
const LOOKED_AT: usize = 1000;
/// How long leases that cannot be taken back yet are left alone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Has the entries of a mount that was at `path` deleted, once no lease needs them to be taken back.
pub fn wipe_later(txn: &mut Txn<'_>, mount: &Mount) -> Result<(), Refusal> {
    let due = Due::WipeMount { uuid: mount.uuid.clone(), path: mount.path.clone(), after: String::new() };
    expiry::remember(txn, expiry::AT_ONCE, &mount.uuid, &due)
}

/// Goes on with what [`wipe_later`] began.
pub fn wipe_when_free(
    txn: &mut Txn<'_>,
    uuid: String,
    path: String,
    after: &str,
    now: Timestamp,
) -> Result<(), Refusal> {
    let (needed, next) = lease::is_of(txn, &path, &uuid, after, LOOKED_AT)?;
    let at = match (needed, &next) {
        (false, None) => return jobs::add(txn, &Job::Wipe { prefix: prefix(&uuid) }),
        (true, _) => now.plus(PATIENCE).nanos(),
        (false, Some(_)) => expiry::AT_ONCE,
    };
    let due = Due::WipeMount { uuid: uuid.clone(), path, after: next.unwrap_or_default() };
    expiry::remember(txn, at, &uuid, &due)
}

/// Has the transaction rely on `mount` being where it was, as it was, when the request was admitted: what is
/// written to a mount that was removed or turned over meanwhile would be lost, or never be removed.
pub fn rely(txn: &mut Txn<'_>, mount: &Mount) -> Result<(), Refusal> {
    match txn.built_json::<Mount>(&format!("{ENTRIES}{}", mount.uuid))? {
        Some(now) if now.upgrading => Err(is_upgrading()),
        Some(now) if now.path == mount.path && now.options.get("version") == mount.options.get("version") => {
            Ok(())
        }
        _ => Err(Refusal::NoRoute(mount.path.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_testkit::fakes::SeededRandom;

    #[test]
    fn the_longest_path_wins() {
        let random = SeededRandom::new(1);
        let mut table = Table::default();
        for path in ["secret/", "secret/team/", "auth/token/", "sys/"] {
            let key = path.trim_end_matches('/').to_owned();
            table.by_path.insert(key, Arc::new(Mount::new("kv", path, &random)));
        }
        let found = |path: &str| table.find(path).map(|mount| mount.path.clone());
        assert_eq!(found("secret/a/b").as_deref(), Some("secret/"));
        assert_eq!(found("secret/team/b").as_deref(), Some("secret/team/"));
        assert_eq!(found("secret/teams").as_deref(), Some("secret/"));
        assert_eq!(found("secret").as_deref(), Some("secret/"));
        assert_eq!(found("secret/team").as_deref(), Some("secret/team/"));
        assert_eq!(found("auth/token/lookup-self").as_deref(), Some("auth/token/"));
        assert_eq!(found("auth/other/login"), None);
        assert_eq!(found(""), None);
    }
}
