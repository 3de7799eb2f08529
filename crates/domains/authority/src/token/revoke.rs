//! Revoking tokens.

use super::{TokenEntry, children_key, entry_key};
use crate::cubbyhole;
use crate::expiry;
use crate::jobs::{self, Job};
use crate::lease;
use crate::refusal::Refusal;
use crate::txn::Txn;
use keyward_core::Timestamp;

/// Revokes the token stored as `name`. Its children and what it kept follow by jobs, recorded in the same
/// transaction. Answers whether there was such a token.
pub fn revoke(txn: &mut Txn<'_>, name: &str) -> Result<bool, Refusal> {
    let there = forget(txn, name)?;
    if !txn.keys(&children_key(name), b"", 1)?.is_empty() {
        jobs::add(txn, &Job::RevokeChildren { parent: name.to_owned() })?;
    }
    Ok(there)
}

/// Revokes the token stored as `name`, and makes orphans of its children.
pub fn revoke_orphan(txn: &mut Txn<'_>, name: &str) -> Result<bool, Refusal> {
    let there = forget(txn, name)?;
    if !txn.keys(&children_key(name), b"", 1)?.is_empty() {
        jobs::add(txn, &Job::OrphanChildren { parent: name.to_owned() })?;
    }
    Ok(there)
}

/// Revokes the token stored as `name` if it has come to its end.
pub fn revoke_if_over(txn: &mut Txn<'_>, name: &str, now: Timestamp) -> Result<(), Refusal> {
    let entry = txn.get_json::<TokenEntry>(&entry_key(name))?;
    if entry.is_some_and(|entry| entry.expires_at().is_some_and(|end| end <= now)) {
        revoke(txn, name)?;
    }
    Ok(())
}

fn forget(txn: &mut Txn<'_>, name: &str) -> Result<bool, Refusal> {
    let Some(entry) = txn.get_json::<TokenEntry>(&entry_key(name))? else { return Ok(false) };
    txn.delete(&entry_key(name));
    if let Some(end) = entry.expires {
        expiry::forget(txn, end, name);
        lease::delete(txn, &entry.lease_id(name));
    }
    if !entry.parent.is_empty() {
        txn.delete(&format!("{}{name}", children_key(&entry.parent)));
    }
    if !txn.keys(&lease::of_token_key(name), b"", 1)?.is_empty() {
        jobs::add(txn, &Job::RevokeLeasesOf { token: name.to_owned() })?;
    }
    let kept = cubbyhole::prefix(name);
    if !txn.keys(&kept, b"", 1)?.is_empty() {
        jobs::add(txn, &Job::Wipe { prefix: kept })?;
    }
    Ok(true)
}
