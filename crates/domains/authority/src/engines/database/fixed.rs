//! Static roles: users that are there already, whose passwords are changed by the clock.
//!
//! As in [`super::root`], the password that is going to be set is stored first, and set again until the server has taken
//! it. Clients are shown the last one it is known to have.

use super::config;
use super::dialect;
use super::role;
use crate::act::database::Deed;
use crate::act::{Act, Done, Undertaking};
use crate::context::Context;
use crate::expiry;
use crate::lease::GUARD;
use crate::mounts;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::route::Resumed;
use crate::txn::Txn;
use keyward_core::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) const DIRECTORY: &str = "static-role/";

/// The shortest period, in seconds; as in Vault.
const SHORTEST: u64 = 5;
/// Before another try, in the beginning.
const PAUSE: Duration = Duration::from_secs(10);

/// A role as stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Fixed {
    db_name: String,
    username: String,
    /// Seconds.
    period: u64,
    statements: Vec<String>,
    credential: BTreeMap<String, String>,
    /// The last that the server is known to have; empty before the first.
    password: String,
    /// When it took that, in nanoseconds since the epoch.
    rotated: u64,
    /// Going to be the password, or already.
    next: Option<String>,
    /// When somebody must look at it next.
    due: u64,
    tries: u32,
}

fn path(name: &str) -> String {
    format!("{DIRECTORY}{name}")
}

fn key(uuid: &str, name: &str) -> String {
    mounts::prefix(uuid) + &path(name)
}

fn put(txn: &mut Txn<'_>, uuid: &str, name: &str, role: &Fixed, was_due: u64) -> Result<(), Refusal> {
    let due_name = format!("{uuid}/{}", path(name));
    if was_due != role.due && was_due != 0 {
        expiry::forget(txn, was_due, &due_name);
    }
    expiry::remember(txn, role.due, &due_name, &super::due_entry(uuid, path(name)))?;
    txn.put_json(&key(uuid, name), role)
}

/// Has the next password set; `role` must have one.
fn undertaking(txn: &mut Txn<'_>, uuid: &str, name: &str, role: &Fixed) -> Result<Undertaking, Refusal> {
    let (connection, server) = config::for_role(txn, uuid, &role.db_name, name)?;
    let password = role.next.as_deref().unwrap_or_default();
    let work = connection.set_password(&role.username, password, &role.statements);
    let act = Act::Database(Box::new(Deed { server, work }));
    Ok(Undertaking { act, about: super::about(uuid, path(name)) })
}

/// Stores the next password, and says what sets it.
fn begin(
    txn: &mut Txn<'_>,
    uuid: &str,
    name: &str,
    mut role: Fixed,
    now: Timestamp,
) -> Result<Undertaking, Refusal> {
    if role.next.is_none() {
        let connection = config::find(txn, uuid, &role.db_name)?;
        let password = role::policy(txn, &role.credential, &connection)?.generate(txn.random())?;
        dialect::check_password(&password)?;
        role.next = Some(password);
    }
    let was_due = role.due;
    role.due = now.plus(GUARD).nanos();
    put(txn, uuid, name, &role, was_due)?;
    undertaking(txn, uuid, name, &role)
}

pub(super) fn exists(cx: &mut Context<'_, '_>) -> Result<bool, Refusal> {
    let path = path(cx.param("name"));
    cx.exists(&path)
}

pub(super) fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Response::keys(&cx.list(DIRECTORY)?)
}

fn named(cx: &mut Context<'_, '_>) -> Result<Option<Fixed>, Refusal> {
    let path = path(cx.param("name"));
    cx.get_json(&path)
}

pub(super) fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    if let Some(role) = named(cx)? {
        let path = path(cx.param("name"));
        expiry::forget(cx.txn, role.due, &format!("{}/{path}", cx.mount.uuid));
        cx.delete(&path);
    }
    Ok(Response::empty())
}

fn last_rotation(role: &Fixed) -> String {
    Timestamp::from_nanos(role.rotated).to_string()
}

pub(super) fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let role = named(cx)?.ok_or(Refusal::missing())?;
    let mut shown = json!({
        "db_name": role.db_name,
        "username": role.username,
        "rotation_period": role.period,
        "rotation_statements": role.statements,
        "credential_type": "password",
        "last_vault_rotation": last_rotation(&role),
    });
    if !role.credential.is_empty() {
        shown["credential_config"] = json!(role.credential);
    }
    Response::data(&shown)
}

pub(super) fn creds(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = cx.param("name").to_owned();
    let role = named(cx)?.ok_or_else(|| Refusal::invalid(format!("unknown role: {name}")))?;
    if role.password.is_empty() {
        return Err(Refusal::invalid(
            "the role's password has not been set yet: the database could not be reached so far",
        ));
    }
    let next = Timestamp::from_nanos(role.rotated).plus(Duration::from_secs(role.period));
    Response::data(&json!({
        "username": role.username,
        "password": role.password,
        "rotation_period": role.period,
        "last_vault_rotation": last_rotation(&role),
        "ttl": next.since(cx.now).as_secs(),
    }))
}

pub(super) fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = cx.param("name").to_owned();
    let uuid = cx.mount.uuid.clone();
    let known = named(cx)?;
    let new = known.is_none();
    let mut role = known.unwrap_or_default();
    let sent = cx.fields();
    for name in ["rotation_schedule", "rotation_window"] {
        if sent.string(name)?.is_some_and(|text| !text.is_empty() && text != "0") {
            return Err(Refusal::invalid(format!("{name} is not available: use rotation_period")));
        }
    }
    if let Some(name) = sent.string("db_name")? {
        role.db_name = name;
    }
    if let Some(username) = sent.string("username")? {
        if !new && username != role.username {
            return Err(Refusal::invalid("cannot update static account username"));
        }
        role.username = username;
    }
    if let Some(statements) = config::statements(sent, "rotation_statements")? {
        role.statements = statements;
    }
    if let Some(credential) = role::credential(sent)? {
        role.credential = credential;
    }
    let period = sent.duration("rotation_period")?.map_or(role.period, |period| period.as_secs());
    check(&role, period)?;
    // Finds out whether the connection is there and lets the role use it, before anything is kept.
    config::for_role(cx.txn, &uuid, &role.db_name, &name)?;
    role.period = period;
    if new {
        let undertaking = begin(cx.txn, &uuid, &name, role, cx.now)?;
        cx.undertake(undertaking);
    } else {
        let was_due = role.due;
        if role.next.is_none() {
            role.due = next_due(&role);
        }
        put(cx.txn, &uuid, &name, &role, was_due)?;
    }
    Ok(Response::empty())
}

fn check(role: &Fixed, period: u64) -> Result<(), Refusal> {
    let refuse = |why: &str| Err(Refusal::invalid(why));
    if role.db_name.is_empty() {
        return refuse("database name required");
    }
    if role.username.is_empty() {
        return refuse("username is a required field to create a static account");
    }
    let hostile = |c: char| matches!(c, '\'' | '"' | '\\' | '`' | ';') || c.is_control();
    if role.username.chars().any(hostile) {
        return refuse("username cannot have quotes, backslashes, semicolons or control characters");
    }
    if period < SHORTEST {
        return Err(Refusal::invalid(format!("rotation_period must be {SHORTEST} seconds or more")));
    }
    Ok(())
}

fn next_due(role: &Fixed) -> u64 {
    Timestamp::from_nanos(role.rotated).plus(Duration::from_secs(role.period)).nanos()
}

pub(super) fn rotate(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = cx.param("name").to_owned();
    let uuid = cx.mount.uuid.clone();
    let role = named(cx)?.ok_or_else(|| Refusal::invalid("no static role found for role name"))?;
    let undertaking = begin(cx.txn, &uuid, &name, role, cx.now)?;
    cx.undertake(undertaking);
    Ok(Response::empty())
}

pub(super) fn due(txn: &mut Txn<'_>, uuid: &str, name: &str, now: Timestamp) -> Resumed {
    let Some(mut role) = txn.get_json::<Fixed>(&key(uuid, name))? else { return Ok(None) };
    if role.due > now.nanos() {
        return Ok(None);
    }
    role.tries = role.tries.saturating_add(1);
    match begin(txn, uuid, name, role.clone(), now) {
        Err(Refusal::Storage(fault)) => Err(fault.into()),
        // The connection is gone, or does not allow it any more: perhaps it will again.
        Err(_) => {
            let was_due = role.due;
            role.due = now.plus(PAUSE.saturating_mul(role.tries.min(60))).nanos();
            put(txn, uuid, name, &role, was_due).map(|()| None)
        }
        Ok(undertaking) => Ok(Some(undertaking)),
    }
}

pub(super) fn conclude(
    txn: &mut Txn<'_>,
    uuid: &str,
    name: &str,
    done: &Done,
    now: Timestamp,
) -> Result<(), Refusal> {
    let Some(mut role) = txn.get_json::<Fixed>(&key(uuid, name))? else { return Ok(()) };
    let was_due = role.due;
    match (done, role.next.take()) {
        (Ok(()), Some(password)) => {
            role.password = password;
            role.rotated = now.nanos();
            role.tries = 0;
            role.due = next_due(&role);
        }
        // It could not be made, and is not there.
        (Err(failure), _) if failure.nothing_done && role.rotated == 0 => {
            expiry::forget(txn, was_due, &format!("{uuid}/{}", path(name)));
            txn.delete(&key(uuid, name));
            return Ok(());
        }
        (Err(_), next) => {
            role.next = next;
            role.due = now.plus(PAUSE.saturating_mul(role.tries.clamp(1, 60))).nanos();
        }
        (Ok(()), None) => return Ok(()),
    }
    put(txn, uuid, name, &role, was_due)
}
