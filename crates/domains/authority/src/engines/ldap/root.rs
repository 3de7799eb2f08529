//! Changing the password that searches are made with.
//!
//! The new password is stored beside the old one before the directory is asked. Until it is known which of the two the
//! directory has, searches try both; setting it once more does no harm.

use super::BACKEND;
use super::config::{self, Config, PATH, Stored};
use crate::act::ldap::Deed;
use crate::act::{About, Act, Done, Undertaking};
use crate::context::Context;
use crate::expiry;
use crate::lease::GUARD;
use crate::mounts;
use crate::outside::Hidden;
use crate::password_policy;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::route::Resumed;
use crate::txn::Txn;
use keyward_core::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Before another try.
const PAUSE: Duration = Duration::from_secs(30);

/// A password that is being set.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Next {
    pub(super) password: String,
    tries: u32,
}

fn key(uuid: &str) -> String {
    mounts::prefix(uuid) + PATH
}

fn due_name(uuid: &str) -> String {
    format!("{uuid}/{PATH}")
}

/// Stores the configuration with its due entry, if there is one.
pub(super) fn put(txn: &mut Txn<'_>, uuid: &str, stored: &Stored, was_due: u64) -> Result<(), Refusal> {
    if was_due != stored.due && was_due != 0 {
        expiry::forget(txn, was_due, &due_name(uuid));
    }
    if stored.due != 0 {
        let due = expiry::Due::Engine {
            mount: uuid.to_owned(),
            kind: BACKEND.kind.to_owned(),
            what: PATH.to_owned(),
        };
        expiry::remember(txn, stored.due, &due_name(uuid), &due)?;
    }
    txn.put_json(&key(uuid), stored)
}

/// Stores the next password, and says what sets it.
fn begin(txn: &mut Txn<'_>, uuid: &str, mut stored: Stored, now: Timestamp) -> Result<Undertaking, Refusal> {
    if stored.binddn.is_empty() || stored.bindpass.is_empty() {
        return Err(Refusal::invalid(
            "there is no password to rotate: the configuration has no binddn and bindpass",
        ));
    }
    let policy = password_policy::wanted(txn, &stored.password_policy)?;
    // A password that was perhaps set already is set once more, rather than a third one.
    let next = match stored.next.take() {
        Some(next) => Next { tries: next.tries.saturating_add(1), ..next },
        None => Next { password: policy.generate(txn.random())?, tries: 0 },
    };
    let passwords = [&stored.bindpass, &next.password];
    let deed = Deed {
        server: Config::new(stored.clone())?.server,
        name: stored.binddn.clone(),
        passwords: passwords.map(|password| Hidden::new(password.as_str())).into(),
        new: Hidden::new(next.password.as_str()),
    };
    let was_due = stored.due;
    stored.due = now.plus(GUARD.max(PAUSE.saturating_mul(next.tries.min(20)))).nanos();
    stored.next = Some(next);
    put(txn, uuid, &stored, was_due)?;
    let about =
        About::Engine { mount: uuid.to_owned(), kind: BACKEND.kind.to_owned(), what: PATH.to_owned() };
    Ok(Undertaking { act: Act::Ldap(Box::new(deed)), about })
}

pub(super) fn rotate(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let uuid = cx.mount.uuid.clone();
    let stored = cx.get_json::<Stored>(PATH)?;
    let stored = stored.ok_or_else(|| Refusal::invalid(config::ABSENT))?;
    let undertaking = begin(cx.txn, &uuid, stored, cx.now)?;
    cx.undertake(undertaking);
    Ok(Response::empty())
}

pub(super) fn due(txn: &mut Txn<'_>, uuid: &str, _: &str, now: Timestamp) -> Resumed {
    let Some(mut stored) = txn.get_json::<Stored>(&key(uuid))? else { return Ok(None) };
    let was_due = stored.due;
    if was_due == 0 || was_due > now.nanos() {
        return Ok(None);
    }
    let begun = match stored.next.is_none() && stored.rotation.missed(was_due, now) {
        true => None,
        false => match begin(txn, uuid, stored.clone(), now) {
            Err(Refusal::Storage(fault)) => return Err(fault.into()),
            // There is nothing to rotate any more, or no policy to do it by.
            begun => begun.ok(),
        },
    };
    if begun.is_none() {
        stored.due = stored.rotation.next_after(now).unwrap_or(0);
        put(txn, uuid, &stored, was_due)?;
    }
    Ok(begun)
}

pub(super) fn conclude(
    txn: &mut Txn<'_>,
    uuid: &str,
    _: &str,
    done: &Done,
    now: Timestamp,
) -> Result<(), Refusal> {
    let Some(mut stored) = txn.get_json::<Stored>(&key(uuid))? else { return Ok(()) };
    let Some(next) = stored.next.take() else { return Ok(()) };
    let was_due = stored.due;
    match done {
        Ok(()) => {
            stored.bindpass = next.password;
            stored.rotated = now.nanos();
        }
        // The first try did not get through: there is nothing to go on with.
        Err(failure) if failure.nothing_done && next.tries == 0 => {}
        // The stored due entry sees to another try.
        Err(_) => return Ok(()),
    }
    stored.due = stored.rotation.next_after(now).unwrap_or(0);
    put(txn, uuid, &stored, was_due)
}
