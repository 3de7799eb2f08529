//! Changing a connection's own password.
//!
//! The new password is stored beside the old one before the server is asked. Until it is known which of the two the
//! server has, connections try both; setting it once more does no harm.

use super::config::{self, Next, Stored};
use super::dialect;
use crate::act::database::Deed;
use crate::act::{Act, Done, Undertaking};
use crate::context::Context;
use crate::expiry;
use crate::lease::GUARD;
use crate::password_policy;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::route::Resumed;
use crate::txn::Txn;
use keyward_core::Timestamp;
use std::time::Duration;

/// Before another try.
const PAUSE: Duration = Duration::from_secs(30);

/// What the journal calls it.
fn what(name: &str) -> String {
    format!("{}{name}", config::DIRECTORY)
}

fn due_name(uuid: &str, name: &str) -> String {
    format!("{uuid}/{}", what(name))
}

fn undertaking(txn: &mut Txn<'_>, uuid: &str, name: &str) -> Result<Option<Undertaking>, Refusal> {
    let (connection, server) = config::server(txn, uuid, name)?;
    let Some(next) = &connection.stored.next else { return Ok(None) };
    let stored = &connection.stored;
    let own = &stored.rotation_statements;
    let work = connection.set_password(&stored.username, &next.password, own, txn.random())?;
    let act = Act::Database(Box::new(Deed { server, work }));
    Ok(Some(Undertaking { act, about: super::about(uuid, what(name)) }))
}

pub(super) fn rotate(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = cx.param("name").to_owned();
    let uuid = cx.mount.uuid.clone();
    let connection = config::find(cx.txn, &uuid, &name)?;
    let mut stored = connection.stored.clone();
    if stored.username.is_empty() || stored.password.is_empty() {
        return Err(Refusal::invalid(
            "unable to rotate root credentials: no username or password in the configuration, apart from its URL",
        ));
    }
    let policy = password_policy::find(cx.txn, &stored.password_policy)?;
    let policy =
        policy.ok_or_else(|| Refusal::invalid("the connection's password policy is not there any more"))?;
    // A password that was perhaps set already is set once more, rather than a third one.
    let (password, was_due) = match stored.next.take() {
        Some(next) => (next.password, Some(next.due)),
        None => (policy.generate(cx.random())?, None),
    };
    dialect::check_password(&password)?;
    if let Some(was_due) = was_due {
        expiry::forget(cx.txn, was_due, &due_name(&uuid, &name));
    }
    let due = cx.now.plus(GUARD).nanos();
    stored.next = Some(Next { password, due, tries: 0 });
    cx.txn.put_json(&config::key(&uuid, &name), &stored)?;
    expiry::remember(cx.txn, due, &due_name(&uuid, &name), &super::due_entry(&uuid, what(&name)))?;
    if let Some(undertaking) = undertaking(cx.txn, &uuid, &name)? {
        cx.undertake(undertaking);
    }
    Ok(Response::empty())
}

pub(super) fn due(txn: &mut Txn<'_>, uuid: &str, name: &str, now: Timestamp) -> Resumed {
    let Some(mut stored) = txn.get_json::<Stored>(&config::key(uuid, name))? else { return Ok(None) };
    let Some(next) = stored.next.as_mut().filter(|next| next.due <= now.nanos()) else { return Ok(None) };
    next.tries = next.tries.saturating_add(1);
    next.due = now.plus(GUARD.max(PAUSE.saturating_mul(next.tries.min(20)))).nanos();
    expiry::remember(txn, next.due, &due_name(uuid, name), &super::due_entry(uuid, what(name)))?;
    txn.put_json(&config::key(uuid, name), &stored)?;
    undertaking(txn, uuid, name)
}

pub(super) fn conclude(
    txn: &mut Txn<'_>,
    uuid: &str,
    name: &str,
    done: &Done,
    _now: Timestamp,
) -> Result<(), Refusal> {
    let Some(mut stored) = txn.get_json::<Stored>(&config::key(uuid, name))? else { return Ok(()) };
    let Some(next) = stored.next.take() else { return Ok(()) };
    match done {
        Ok(()) => stored.password = next.password,
        // The first try did not get through: there is nothing to go on with.
        Err(failure) if failure.nothing_done && next.tries == 0 => {}
        // The stored due entry sees to another try.
        Err(_) => return Ok(()),
    }
    expiry::forget(txn, next.due, &due_name(uuid, name));
    txn.put_json(&config::key(uuid, name), &stored)
}
