//! Issuing tokens.

use super::{BATCH_PREFIX, SECRET, SERVICE_PREFIX, TokenEntry, TokenKind, children_key, entry_key, name_of};
use crate::expiry::{self, Due};
use crate::lease::{self, Lease};
use crate::refusal::Refusal;
use crate::response::Auth;
use crate::txn::Txn;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_core::{Timestamp, random};
use std::time::Duration;

/// What to issue: the entry, whose accessor, creation time and end are set here.
pub struct NewToken {
    /// Policies, parent, metadata, limits. Policies are sorted here.
    pub entry: TokenEntry,
    /// How long it lives; for ever when zero.
    pub ttl: Duration,
    /// The token itself, if the caller chose one.
    pub id: Option<String>,
}

/// Issues a token and answers with what the client is told.
pub fn issue(txn: &mut Txn<'_>, new: NewToken, now: Timestamp) -> Result<Auth, Refusal> {
    let mut entry = new.entry;
    entry.policies.sort_unstable();
    entry.policies.dedup();
    entry.created = now.nanos();
    entry.creation_ttl = new.ttl.as_secs();
    entry.expires = (!new.ttl.is_zero()).then(|| now.plus(new.ttl).nanos());
    let token = match entry.kind {
        TokenKind::Batch => seal_batch(txn, &mut entry)?,
        TokenKind::Service => store(txn, &mut entry, new.id)?,
    };
    Ok(entry.to_auth(token, entry.creation_ttl))
}

fn seal_batch(txn: &Txn<'_>, entry: &mut TokenEntry) -> Result<String, Refusal> {
    entry.renewable = false;
    entry.accessor = String::new();
    let claims = serde_json::to_vec(&entry)
        .map_err(|why| Refusal::Internal(format!("a batch token could not be written: {why}")))?;
    let sealed = txn.keyring().batch.seal_with(txn.random(), b"batch token", &claims);
    Ok(format!("{BATCH_PREFIX}{}", URL_SAFE_NO_PAD.encode(sealed)))
}

/// Three entries: the token's own, its end, and its lease. A child has one more.
fn store(txn: &mut Txn<'_>, entry: &mut TokenEntry, id: Option<String>) -> Result<String, Refusal> {
    let token = match &id {
        Some(chosen) => chosen.clone(),
        None => [SERVICE_PREFIX, &random::base62_after(txn.random(), entry.created_at(), SECRET)].concat(),
    };
    let name = name_of(txn, &token);
    // Nobody guesses a random token, and so nothing is stored under its name yet.
    if id.is_some() && txn.exists(&entry_key(&name))? {
        return Err(Refusal::invalid("cannot create a token with a duplicate ID"));
    }
    if !entry.parent.is_empty() {
        // Relying on the parent's entry: a parent revoked at the same time takes this child with it.
        if !txn.exists(&entry_key(&entry.parent))? {
            return Err(Refusal::invalid("parent token lookup failed: no parent found"));
        }
        txn.put(&format!("{}{name}", children_key(&entry.parent)), b"")?;
    }
    if let Some(end) = entry.expires {
        expiry::remember(txn, end, &name, &Due::Token)?;
        lease::put(txn, &entry.lease_id(&name), &Lease::Token { name: name.clone() })?;
    }
    entry.accessor.clone_from(&name);
    txn.put_json(&entry_key(&name), entry)?;
    Ok(token)
}
