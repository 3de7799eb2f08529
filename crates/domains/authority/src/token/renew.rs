//! Renewing tokens.

use super::{TokenEntry, TokenKind, Wish, entry_key, grant};
use crate::expiry::{self, Due};
use crate::mounts::Mount;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::settings::Settings;
use crate::txn::Txn;
use keyward_core::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// What the role or user behind a token allows it now. Spans of zero are "not set".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Granted when a renewal does not say how much.
    pub ttl: Duration,
    /// The most, counted from creation.
    pub max_ttl: Duration,
    /// Granted at every renewal, for ever.
    pub period: Duration,
    /// The most, counted from creation, periods included.
    pub explicit_max_ttl: Duration,
}

/// Tells the present terms of a token that a backend's login issued, or refuses because the role or user is gone, or
/// because the request does not come from who logged in.
pub type Renew = fn(&mut Txn<'_>, &Mount, &TokenEntry, &Request) -> Result<Terms, Refusal>;

/// A renewed token.
pub struct Renewed {
    /// The entry as it is now.
    pub entry: TokenEntry,
    /// How long it lives from now.
    pub ttl: Duration,
    /// What was cut.
    pub warnings: Vec<String>,
}

/// Extends the token stored as `name` by `increment`, or as its role has it when that is zero; never past its
/// maxima. `issuer` finds the mount that issued it, and what that allows it now.
pub fn renew(
    txn: &mut Txn<'_>,
    settings: &Settings,
    name: &str,
    entry: &TokenEntry,
    increment: Duration,
    now: Timestamp,
    issuer: impl FnOnce(&mut Txn<'_>, &TokenEntry) -> Result<(Arc<Mount>, Terms), Refusal>,
) -> Result<Renewed, Refusal> {
    if entry.kind == TokenKind::Batch {
        return Err(Refusal::invalid("batch tokens cannot be renewed"));
    }
    let Some(end) = entry.expires.filter(|_| entry.renewable) else {
        return Err(Refusal::invalid("lease is not renewable"));
    };
    let (mount, terms) = issuer(txn, entry)?;
    let granted = grant(
        &Wish {
            increment,
            ttl: terms.ttl,
            period: terms.period,
            max_ttl: terms.max_ttl,
            explicit_max_ttl: terms.explicit_max_ttl,
            ..Wish::at(&mount, settings, entry.created_at())
        },
        now,
    )?;
    let mut renewed = entry.clone();
    renewed.expires = Some(granted.expires.nanos());
    renewed.last_renewal = Some(now.nanos());
    expiry::forget(txn, end, name);
    expiry::remember(txn, granted.expires.nanos(), name, &Due::Token)?;
    txn.put_json(&entry_key(name), &renewed)?;
    Ok(Renewed { entry: renewed, ttl: granted.ttl, warnings: granted.warnings })
}
