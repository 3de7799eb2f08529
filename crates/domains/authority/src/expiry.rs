//! What ends by time. Due entries are ordered by time, so a step reads from the front and stops at the first
//! that is still good; nothing is loaded when the authority starts.

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
    /// The signing key of identity tokens stored at a key is renewed, and again after its period.
    RotateOidc(String),
    /// The PKI mount whose entries stand below a storage key is tidied, and again after its interval.
    TidyPki(String),
}

const ENTRIES: &str = "lease/due/";

/// Ends a transaction can take: a revocation reads and writes up to seven keys.
const ENDS_A_CHUNK: usize = 10;

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

/// Ends what is due at `now`, one chunk. Answers whether there was any.
pub fn step(txn: &mut Txn<'_>, now: Timestamp) -> Result<bool, Refusal> {
    let mut any = false;
    for key in txn.keys(ENTRIES, b"", ENDS_A_CHUNK)? {
        let waiting = key.get(ENTRIES.len()..).and_then(|rest| rest.split_once('/'));
        let Some((at, name)) = waiting else {
            txn.delete(&key);
            continue;
        };
        if u64::from_str_radix(at, 16).is_ok_and(|at| at > now.nanos()) {
            break;
        }
        match txn.get_json::<Due>(&key)? {
            Some(Due::Token) => {
                token::revoke_if_over(txn, name, now)?;
            }
            Some(Due::Entry(entry)) => txn.delete(&entry),
            Some(Due::RotateOidc(named)) => crate::engines::identity::rotate_oidc(txn, &named, now)?,
            Some(Due::TidyPki(prefix)) => crate::engines::pki::tidy::due(txn, &prefix, now)?,
            None => {}
        }
        txn.delete(&key);
        any = true;
    }
    Ok(any)
}
