//! What ends by time. Due entries are ordered by time, so a step reads from the front and stops at the first
//! that is still good; nothing is loaded when the authority starts.

use crate::act::Undertaking;
use crate::engines;
use crate::lease;
use crate::mounts;
use crate::refusal::Refusal;
use crate::token;
use crate::txn::Txn;
use keyward_core::Timestamp;
use serde::{Deserialize, Serialize};

/// What happens when the time has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Due {
    /// The token that the due entry is named after is revoked.
    Token,
    /// The entry at a storage key is deleted.
    Entry(String),
    /// The lease of this id is made good, or taken back.
    Lease(String),
    /// An engine goes on with what it does outside.
    Engine {
        /// The mount's uuid.
        mount: String,
        /// The mount's type.
        kind: String,
        /// In the engine's words.
        what: String,
    },
    /// The entries of a mount that is gone are deleted, unless leases still need them.
    WipeMount {
        /// The mount's.
        uuid: String,
        /// Where it was; ends in a slash.
        path: String,
        /// The last lease looked at.
        after: String,
    },
    /// The signing key of identity tokens stored at a key is renewed, and again after its period.
    RotateOidc(String),
    /// The PKI mount whose entries stand below a storage key is tidied, and again after its interval.
    TidyPki(String),
}

const ENTRIES: &str = "lease/due/";

/// Ends a transaction can usually take: a revocation reads and writes up to seven keys.
const ENDS_A_CHUNK: usize = 10;
/// Operations after which a transaction takes no more ends: what ends may take others with it.
const FULL: usize = 80;

fn key(at: u64, name: &str) -> String {
    format!("{ENTRIES}{at:016x}/{name}")
}

/// Records that `due` happens at `at`, in nanoseconds since the epoch. `name` must be the only one at that time:
/// a token's storage name, or other randomness.
pub fn remember(txn: &mut Txn<'_>, at: u64, name: &str, due: &Due) -> Result<(), Refusal> {
    txn.put_json(&key(at, name), due)
}

/// Takes back what [`remember`] recorded.
pub fn forget(txn: &mut Txn<'_>, at: u64, name: &str) {
    txn.delete(&key(at, name));
}

/// The moment of what is due as soon as possible; before all others.
pub const AT_ONCE: u64 = 0;

/// Ends what is due until `until`, one chunk, after the due entry `after`. Answers with the last entry seen to, if there was
/// any; what has to be done outside for it is added to `undertakings`.
pub fn step(
    txn: &mut Txn<'_>,
    undertakings: &mut Vec<Undertaking>,
    after: &str,
    until: u64,
    now: Timestamp,
) -> Result<Option<String>, Refusal> {
    let mut last = None;
    for key in txn.keys(ENTRIES, after.as_bytes(), ENDS_A_CHUNK)? {
        let waiting = key.get(ENTRIES.len()..).and_then(|rest| rest.split_once('/'));
        let Some((at, name)) = waiting else {
            txn.delete(&key);
            last = Some(key);
            continue;
        };
        if u64::from_str_radix(at, 16).is_ok_and(|at| at > until) || txn.operations() > FULL {
            break;
        }
        let due = txn.get_json::<Due>(&key)?;
        // First, for what comes due again may do so under the same key.
        txn.delete(&key);
        match due {
            Some(Due::Token) => {
                token::revoke_if_over(txn, name, now)?;
            }
            Some(Due::Entry(entry)) => txn.delete(&entry),
            Some(Due::Lease(id)) => undertakings.extend(lease::come_due(txn, &id, now)?),
            Some(Due::Engine { mount, kind, what }) => {
                if let Some(journal) = engines::journal(&kind) {
                    undertakings.extend((journal.due)(txn, &mount, &what, now)?);
                }
            }
            Some(Due::WipeMount { uuid, path, after }) => {
                mounts::wipe_when_free(txn, uuid, path, &after, now)?;
            }
            Some(Due::RotateOidc(named)) => crate::engines::identity::rotate_oidc(txn, &named, now)?,
            Some(Due::TidyPki(prefix)) => crate::engines::pki::tidy::due(txn, &prefix, now)?,
            None => {}
        }
        last = Some(key);
    }
    Ok(last)
}
