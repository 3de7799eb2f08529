//! Renewing tokens.

use super::{TokenEntry, TokenKind, Wish, entry_key, grant};
use crate::context::Context;
use crate::engines;
use crate::expiry::{self, Due};
use crate::mounts::Mount;
use crate::refusal::Refusal;
use std::collections::BTreeMap;
use std::time::Duration;

/// What the role or user behind a token allows it now. Spans of zero are "not set".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Granted when a renewal does not say how much.
    pub ttl: Duration,
    /// The most, counted from creation.
    pub max_ttl: Duration,
    /// Granted at every renewal, for ever.
    pub period: Duration,
    /// The most, counted from creation, periods included.
    pub explicit_max_ttl: Duration,
    /// What the backend went by, for the record of the request; see [`crate::response::Response::facts`].
    pub facts: BTreeMap<String, String>,
}

/// Tells the present terms of a token that a backend's login issued, or refuses because the role or user is gone, or
/// because who asks is not who logged in, or would not be let in now. The mount is the backend's; the context is that of
/// the request to renew, which is another mount's.
pub type Renew = fn(&mut Context<'_, '_>, &Mount, &TokenEntry) -> Result<Terms, Refusal>;

/// A renewed token.
pub struct Renewed {
    /// The entry as it is now.
    pub entry: TokenEntry,
    /// How long it lives from now.
    pub ttl: Duration,
    /// What was cut.
    pub warnings: Vec<String>,
    /// See [`Terms::facts`].
    pub facts: BTreeMap<String, String>,
}

/// Extends the token stored as `name` by `increment`, or as its role has it when that is zero; never past its
/// maxima. The mount that issued it says what it is allowed now.
pub fn renew(
    cx: &mut Context<'_, '_>,
    name: &str,
    entry: &TokenEntry,
    increment: Duration,
) -> Result<Renewed, Refusal> {
    if entry.kind == TokenKind::Batch {
        return Err(Refusal::invalid("batch tokens cannot be renewed"));
    }
    let Some(end) = entry.expires.filter(|_| entry.renewable) else {
        return Err(Refusal::invalid("lease is not renewable"));
    };
    let (mount, terms) = engines::issuer(cx, entry)?;
    let granted = grant(
        &Wish {
            increment,
            ttl: terms.ttl,
            period: terms.period,
            max_ttl: terms.max_ttl,
            explicit_max_ttl: terms.explicit_max_ttl,
            ..Wish::at(&mount, cx.settings, entry.created_at())
        },
        cx.now,
    )?;
    let mut renewed = entry.clone();
    renewed.expires = Some(granted.expires.nanos());
    renewed.last_renewal = Some(cx.now.nanos());
    expiry::forget(cx.txn, end, name);
    expiry::remember(cx.txn, granted.expires.nanos(), name, &Due::Token)?;
    cx.txn.put_json(&entry_key(name), &renewed)?;
    Ok(Renewed { entry: renewed, ttl: granted.ttl, warnings: granted.warnings, facts: terms.facts })
}
