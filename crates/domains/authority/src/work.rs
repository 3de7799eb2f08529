//! Carrying out stored jobs, a chunk at a time.

use crate::cubbyhole;
use crate::engines::{kv2, pki};
use crate::identity;
use crate::jobs::{Job, PATIENT, URGENT};
use crate::lease::{self, Holder, Lease};
use crate::refusal::Refusal;
use crate::token::{self, TokenEntry};
use crate::txn::Txn;
use serde::Deserialize;

/// Does one chunk of one job that a request may be waiting for. Answers whether there was any.
pub fn step(txn: &mut Txn<'_>) -> Result<bool, Refusal> {
    first(txn, URGENT)
}

/// Does one chunk of one job that nobody is waiting for. Answers whether there was any.
pub fn patient_step(txn: &mut Txn<'_>) -> Result<bool, Refusal> {
    first(txn, PATIENT)
}

fn first(txn: &mut Txn<'_>, directory: &str) -> Result<bool, Refusal> {
    let Some(key) = txn.keys(directory, b"", 1)?.pop() else { return Ok(false) };
    let Some(job) = txn.get_json::<Job>(&key)? else { return Ok(false) };
    match carry_on(txn, job)? {
        Some(rest) => txn.put_json(&key, &rest)?,
        None => txn.delete(&key),
    }
    Ok(true)
}

/// One chunk of `job`. Answers with what remains to be done.
fn carry_on(txn: &mut Txn<'_>, job: Job) -> Result<Option<Job>, Refusal> {
    let finished = match &job {
        Job::RevokeChildren { parent } => {
            each_child(txn, parent, |txn, child| token::revoke(txn, child).map(|_| ()))?
        }
        Job::OrphanChildren { parent } => each_child(txn, parent, make_orphan)?,
        Job::Wipe { prefix } => wipe(txn, prefix)?,
        Job::RevokePrefix { path, force, after } => {
            let next = revoke_leases(txn, path, *force, after)?;
            return Ok(next.map(|after| Job::RevokePrefix { path: path.clone(), force: *force, after }));
        }
        Job::RevokeLeasesOf { token } => revoke_leases_of(txn, token)?,
        Job::RevokeHolder { holder, directory, after } => {
            let next = revoke_holder(txn, holder, *directory, after)?;
            let rest = |(directory, after)| Job::RevokeHolder { holder: holder.clone(), directory, after };
            return Ok(next.map(rest));
        }
        Job::UpgradeKv { from, to, at, after } => {
            let next = kv2::upgrade::step(txn, from, to, *at, after)?;
            let rest = |after| Job::UpgradeKv { from: from.clone(), to: to.clone(), at: *at, after };
            return Ok(next.map(rest));
        }
        Job::WipeExpired { prefix, before, after } => {
            let next = wipe_expired(txn, prefix, *before, after)?;
            return Ok(next.map(|after| Job::WipeExpired { prefix: prefix.clone(), before: *before, after }));
        }
        Job::ForgetAliases { accessor } => identity::forget_aliases(txn, accessor)?,
        Job::IndexMembers { entity, add, remove } => {
            return identity::index_members(txn, entity, add.clone(), remove.clone());
        }
        Job::DeleteEntities { ids } => return delete_entities(txn, ids.clone()),
        Job::TidyPki(tidy) => return Ok(pki::tidy::step(txn, tidy)?.map(Job::TidyPki)),
        Job::TidyTokens { directory, after } => {
            let next = tidy_tokens(txn, *directory, after)?;
            return Ok(next.map(|(directory, after)| Job::TidyTokens { directory, after }));
        }
    };
    Ok((!finished).then_some(job))
}

/// A revocation reads and writes up to eight keys, so few fit into one transaction.
const TOKENS_A_CHUNK: usize = 10;
const KEYS_A_CHUNK: usize = 80;

fn each_child(
    txn: &mut Txn<'_>,
    parent: &str,
    act: impl Fn(&mut Txn<'_>, &str) -> Result<(), Refusal>,
) -> Result<bool, Refusal> {
    let children = txn.keys(&token::children_key(parent), b"", TOKENS_A_CHUNK)?;
    for key in &children {
        act(txn, last_segment(key))?;
        txn.delete(key);
    }
    Ok(children.len() < TOKENS_A_CHUNK)
}

fn make_orphan(txn: &mut Txn<'_>, child: &str) -> Result<(), Refusal> {
    let key = token::entry_key(child);
    if let Some(mut entry) = txn.get_json::<TokenEntry>(&key)? {
        entry.parent = String::new();
        txn.put_json(&key, &entry)?;
    }
    Ok(())
}

fn wipe(txn: &mut Txn<'_>, prefix: &str) -> Result<bool, Refusal> {
    let keys = txn.keys(prefix, b"", KEYS_A_CHUNK)?;
    keys.iter().for_each(|key| txn.delete(key));
    Ok(keys.len() < KEYS_A_CHUNK)
}

fn revoke_leases(txn: &mut Txn<'_>, path: &str, force: bool, after: &str) -> Result<Option<String>, Refusal> {
    let keys = txn.keys(&format!("{}{path}", lease::ENTRIES), after.as_bytes(), TOKENS_A_CHUNK)?;
    for key in &keys {
        lease::revoke(txn, id_of(key), force)?;
    }
    let more = keys.len() == TOKENS_A_CHUNK;
    Ok(keys.into_iter().next_back().filter(|_| more))
}

/// The id of the lease stored at `key`.
fn id_of(key: &str) -> &str {
    key.get(lease::ENTRIES.len()..).unwrap_or("")
}

fn revoke_leases_of(txn: &mut Txn<'_>, token: &str) -> Result<bool, Refusal> {
    let keys = txn.keys(&lease::of_token_key(token), b"", TOKENS_A_CHUNK)?;
    for key in &keys {
        if let Some(id) = txn.get(key)? {
            lease::revoke(txn, &String::from_utf8_lossy(&id), false)?;
        }
        txn.delete(key);
    }
    Ok(keys.len() < TOKENS_A_CHUNK)
}

/// Tokens take their leases with them; what is left is what batch tokens were given.
const HELD: [&str; 2] = [token::ENTRIES, lease::ENTRIES];
/// Most of what is looked at is somebody else's and only read.
const LOOKED_AT: usize = 200;

fn revoke_holder(
    txn: &mut Txn<'_>,
    holder: &Holder,
    directory: usize,
    after: &str,
) -> Result<Option<(usize, String)>, Refusal> {
    let Some(prefix) = HELD.get(directory) else { return Ok(None) };
    let (mut last, mut ended) = (after.to_owned(), 0);
    let keys = txn.keys(prefix, after.as_bytes(), LOOKED_AT)?;
    let more = keys.len() == LOOKED_AT;
    for key in keys {
        // What is not revoked need not stay as it is.
        let theirs = txn.unrelied(|txn| match *prefix {
            token::ENTRIES => {
                Ok(txn.get_json::<TokenEntry>(&key)?.is_some_and(|entry| holder.is(&Holder::of(&entry))))
            }
            _ => Ok(matches!(txn.get_json::<Lease>(&key)?, Some(Lease::Issued(lease)) if holder.is(&lease.holder))),
        })?;
        if theirs && *prefix == token::ENTRIES {
            token::revoke(txn, last_segment(&key))?;
        } else if theirs {
            lease::revoke(txn, id_of(&key), false)?;
        }
        last = key;
        ended += usize::from(theirs);
        if ended == TOKENS_A_CHUNK {
            return Ok(Some((directory, last)));
        }
    }
    Ok(Some(if more { (directory, last) } else { (directory + 1, String::new()) }))
}

/// An entity has up to 20 aliases, each of which takes four operations.
const ENTITIES_A_CHUNK: usize = 1;

fn delete_entities(txn: &mut Txn<'_>, mut ids: Vec<String>) -> Result<Option<Job>, Refusal> {
    for id in ids.drain(..ids.len().min(ENTITIES_A_CHUNK)) {
        if let Some(entity) = identity::by_id(txn, &id)? {
            identity::remove(txn, &entity)?;
        }
    }
    Ok((!ids.is_empty()).then_some(Job::DeleteEntities { ids }))
}

/// Of every entry that ends, all this needs to know.
#[derive(Deserialize)]
struct Ending {
    #[serde(default)]
    expires: Option<u64>,
}

fn wipe_expired(
    txn: &mut Txn<'_>,
    prefix: &str,
    before: u64,
    after: &str,
) -> Result<Option<String>, Refusal> {
    let keys = txn.keys(prefix, after.as_bytes(), KEYS_A_CHUNK / 2)?;
    for key in &keys {
        let ending = txn.get_json::<Ending>(key)?;
        if ending.and_then(|ending| ending.expires).is_some_and(|end| end <= before) {
            txn.delete(key);
        }
    }
    let more = keys.len() == KEYS_A_CHUNK / 2;
    Ok(keys.into_iter().next_back().filter(|_| more))
}

const OF_TOKENS: [&str; 3] = [lease::ENTRIES, token::CHILDREN, cubbyhole::ENTRIES];

fn tidy_tokens(txn: &mut Txn<'_>, directory: usize, after: &str) -> Result<Option<(usize, String)>, Refusal> {
    let Some(prefix) = OF_TOKENS.get(directory) else { return Ok(None) };
    let mut keys = txn.keys(prefix, after.as_bytes(), TOKENS_A_CHUNK)?;
    for key in &keys {
        tidy(txn, prefix, key)?;
    }
    Ok(match keys.pop().filter(|_| keys.len() + 1 == TOKENS_A_CHUNK) {
        Some(last) => Some((directory, last)),
        None => Some((directory + 1, String::new())),
    })
}

fn tidy(txn: &mut Txn<'_>, prefix: &str, key: &str) -> Result<(), Refusal> {
    let rest = key.get(prefix.len()..).unwrap_or("");
    let owner = match prefix {
        lease::ENTRIES => match txn.get_json::<Lease>(key)? {
            Some(Lease::Token { name }) => name,
            // Its own entry is all there is of it, and what takes it back is never lost.
            Some(Lease::Issued(_)) | None => return Ok(()),
        },
        _ => rest.split('/').next().unwrap_or("").to_owned(),
    };
    let there = txn.exists(&token::entry_key(&owner))?;
    if prefix == token::CHILDREN {
        let child = last_segment(rest);
        // A child never outlives its parent.
        if there && txn.exists(&token::entry_key(child))? {
            return Ok(());
        }
        token::revoke(txn, child)?;
        txn.delete(key);
    } else if !there {
        txn.delete(key);
    }
    Ok(())
}

fn last_segment(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or("")
}
