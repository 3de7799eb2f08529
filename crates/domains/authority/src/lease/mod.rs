//! Leases: what was handed out for a time and can be taken back by its id. A lease id is the path of the request
//! that handed it out and a name of its own, so that all leases of a path, a role or a mount can be revoked by
//! their common beginning.

mod issued;

pub use issued::{
    Complete, Completion, GUARD, Holder, Issue, Issued, Next, Ops, State, Stuck, Terms, come_due, conclude,
    is_of, issue, of_token_key, renew, stuck,
};

use crate::refusal::Refusal;
use crate::token::{self, TokenEntry};
use crate::txn::Txn;
use keyward_core::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The directory of leases, by id.
pub const ENTRIES: &str = "lease/id/";

/// What a lease id stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "kebab-case")]
pub enum Lease {
    /// A token, which has all there is to know of the lease.
    Token {
        /// Its storage name.
        name: String,
    },
    /// Something that an engine handed out.
    Issued(Box<Issued>),
}

/// When a lease began and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// When it was handed out.
    pub issued: Timestamp,
    /// When it ends, if it does.
    pub expires: Option<Timestamp>,
    /// When it was last renewed, if it was.
    pub renewed: Option<Timestamp>,
    /// Whole seconds left; zero when it does not end.
    pub ttl: u64,
    /// May be renewed.
    pub renewable: bool,
}

impl Times {
    /// Of a token.
    pub fn of(token: &TokenEntry, now: Timestamp) -> Times {
        Times {
            issued: token.created_at(),
            expires: token.expires_at(),
            renewed: token.renewed_at(),
            ttl: token.ttl(now),
            renewable: token.renewable && token.expires.is_some(),
        }
    }
}

fn key(id: &str) -> String {
    format!("{ENTRIES}{id}")
}

/// Records `lease` under `id`.
pub fn put(txn: &mut Txn<'_>, id: &str, lease: &Lease) -> Result<(), Refusal> {
    txn.put_json(&key(id), lease)
}

/// Forgets the lease `id`, and only that.
pub fn delete(txn: &mut Txn<'_>, id: &str) {
    txn.delete(&key(id));
}

/// What `id` stands for, if it has not ended. What is still being made is not there yet, unless it may have been handed out.
pub fn find(txn: &mut Txn<'_>, id: &str, now: Timestamp) -> Result<Option<(Lease, Times)>, Refusal> {
    let Some(lease) = txn.built_json::<Lease>(&key(id))? else { return Ok(None) };
    let times = match &*lease {
        Lease::Token { name } => token::entry(txn, name, now)?.map(|token| Times::of(&token, now)),
        Lease::Issued(issued) => issued.times(now),
    };
    Ok(times.map(|times| (Arc::unwrap_or_clone(lease), times)))
}

/// Revokes the lease `id` with all that hangs on it. What has to be done outside for that is due at once; with `force`
/// it is tried once, and the lease ends whatever comes of it. Answers whether there was one.
pub fn revoke(txn: &mut Txn<'_>, id: &str, force: bool) -> Result<bool, Refusal> {
    let Some(lease) = txn.get_json::<Lease>(&key(id))? else { return Ok(false) };
    match lease {
        Lease::Token { name } => {
            delete(txn, id);
            token::revoke(txn, &name)?;
        }
        Lease::Issued(issued) => issued::end(txn, id, *issued, force)?,
    }
    Ok(true)
}
