//! Work too large for one transaction: recorded in the transaction that asks for it, then done in chunks, each
//! of which may be repeated (see [`crate::work`]). A crash in between loses nothing, since the record is removed with
//! the last chunk.

use crate::lease::Holder;
use crate::refusal::Refusal;
use crate::txn::Txn;
use keyward_core::random;
use serde::{Deserialize, Serialize};

/// Jobs a request waits for.
pub(crate) const URGENT: &str = "job/1/";
/// Jobs that are done when there is nothing else to do.
pub(crate) const PATIENT: &str = "job/2/";

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "kebab-case")]
pub enum Job {
    /// Revoke all children of a token, and theirs.
    RevokeChildren {
        /// The parent's storage name.
        parent: String,
    },
    /// Make orphans of all children of a token.
    OrphanChildren {
        /// The parent's storage name.
        parent: String,
    },
    /// Delete every entry below a storage key.
    Wipe {
        /// Ends in a slash.
        prefix: String,
    },
    /// Revoke every lease whose id begins with a path.
    RevokePrefix {
        /// The path; ends in a slash.
        path: String,
        /// Whatever comes of what has to be done outside for it.
        #[serde(default)]
        force: bool,
        /// The last storage key looked at.
        #[serde(default)]
        after: String,
    },
    /// Revoke every lease that was handed out under a token.
    RevokeLeasesOf {
        /// The token's storage name.
        token: String,
    },
    /// Revoke every token of a holder, and every lease that was handed out to it.
    RevokeHolder {
        /// Whose.
        holder: Holder,
        /// Tokens first, then leases.
        directory: usize,
        /// The last storage key looked at.
        after: String,
    },
    /// Write the secrets of a key-value mount anew, with versions.
    UpgradeKv {
        /// The mount.
        from: String,
        /// What its uuid will be: it names the directory written to.
        to: String,
        /// Nanoseconds since the epoch: when the first versions were made.
        at: u64,
        /// The last key converted.
        after: String,
    },
    /// Delete the entries below a storage key whose `expires` has passed.
    WipeExpired {
        /// Ends in a slash.
        prefix: String,
        /// Nanoseconds since the epoch.
        before: u64,
        /// The last key looked at.
        after: String,
    },
    /// Keep the lists of members of external groups.
    IndexMembers {
        /// The entity's id.
        entity: String,
        /// The ids of groups it is in now.
        add: Vec<String>,
        /// The ids of groups it is not in any more.
        remove: Vec<String>,
    },
    /// Forget what an auth mount that is gone called entities and groups.
    ForgetAliases {
        /// The mount's.
        accessor: String,
    },
    /// Remove entities.
    DeleteEntities {
        /// Their ids; such as are gone may be among them.
        ids: Vec<String>,
    },
    /// Remove expired certificates and authorities of a PKI mount.
    TidyPki(crate::engines::pki::tidy::Tidy),
    /// Remove what belongs to tokens that are not there: leases, places among children, cubbyholes. Transactions
    /// leave none of it behind; a damaged or badly restored store may.
    TidyTokens {
        /// The directory being looked at.
        directory: usize,
        /// The last key looked at.
        after: String,
    },
}

impl Job {
    fn directory(&self) -> &'static str {
        match self {
            Job::WipeExpired { .. } | Job::TidyTokens { .. } | Job::TidyPki(_) => PATIENT,
            _ => URGENT,
        }
    }
}

/// Records `job`; see [`crate::context::Effect::RunJobs`].
pub fn add(txn: &mut Txn<'_>, job: &Job) -> Result<(), Refusal> {
    let id = hex::encode(random::bytes::<16>(txn.random()));
    txn.put_json(&format!("{}{id}", job.directory()), job)
}

/// True when jobs are waiting that the request should wait for.
pub fn pending(txn: &mut Txn<'_>) -> Result<bool, Refusal> {
    Ok(!txn.keys(URGENT, b"", 1)?.is_empty())
}
