//! Tokens with a limited number of uses.

use super::{Caller, TokenEntry, entry_key, revoke};
use crate::expiry::{self, Due};
use crate::refusal::Refusal;
use crate::txn::Txn;
use keyward_core::Timestamp;
use std::time::Duration;

/// How long a token whose last use is claimed keeps what the request of that use may still need: an answer to be
/// unwrapped is in its cubbyhole.
const GRACE: Duration = Duration::from_secs(60);

/// Claims one use of a token that has a limited number, before the request is carried out. The last use ends
/// the token for everyone else.
pub fn claim_use(txn: &mut Txn<'_>, caller: &Caller, now: Timestamp) -> Result<(), Refusal> {
    let mut entry: TokenEntry = (*caller.token).clone();
    if entry.num_uses == 1 {
        if let Some(end) = entry.expires {
            expiry::forget(txn, end, &caller.name);
        }
        let end = now.plus(GRACE).nanos();
        entry.spent = true;
        entry.expires = Some(end);
        expiry::remember(txn, end, &caller.name, &Due::Token)?;
    } else {
        entry.num_uses -= 1;
    }
    // Without this read two claims on one snapshot would both go through.
    txn.exists(&entry_key(&caller.name))?;
    txn.put_json(&entry_key(&caller.name), &entry)
}

/// Revokes the caller's token with the request of its last use. Answers whether it did.
pub fn end_after_last_use(txn: &mut Txn<'_>, caller: Option<&Caller>) -> Result<bool, Refusal> {
    match caller {
        Some(caller) if caller.token.num_uses == 1 => revoke(txn, &caller.name),
        _ => Ok(false),
    }
}
