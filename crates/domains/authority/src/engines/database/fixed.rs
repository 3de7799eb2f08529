//! Static roles: users that are there already, whose passwords are changed by the clock.
//!
//! As in [`crate::engines::automated`], the password that is going to be set is stored first, and set again until the server has taken
//! it. Clients are shown the last one it is known to have.

use super::super::journaled::Place;
use super::super::rotation_times::Times;
use super::config;
use super::dialect;
use super::place;
use super::role;
use crate::act::database::Deed;
use crate::act::{Act, Done, Undertaking};
use crate::context::Context;
use crate::lease::GUARD;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::route::Resumed;
use crate::txn::Txn;
use keyward_core::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) const DIRECTORY: &str = "static-role/";

/// The shortest period, in seconds; as in Vault.
const SHORTEST: u64 = 5;
/// Before another try, in the beginning.
const PAUSE: Duration = Duration::from_secs(10);
/// What Vault's clients are told, and can read, where there was no rotation.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// Parameters of Vault's that are not here.
const ABSENT: [(&str, &str); 1] =
    [("self_managed_password", "the connection's own user changes passwords: leave it out")];

/// A role as stored.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Fixed {
    db_name: String,
    username: String,
    times: Times,
    /// The moment that was planned, which tries belong to.
    scheduled: u64,
    statements: Vec<String>,
    credential: BTreeMap<String, String>,
    /// Sent with the role, or that of its connection.
    skip_import: bool,
    /// The role stays, whatever comes of the next try: the server has taken a password, or was not to be asked at first.
    made: bool,
    /// The last that the server is known to have; empty where it is not known.
    password: String,
    /// When it took that from us, in nanoseconds since the epoch; zero before the first time.
    rotated: u64,
    /// Going to be the password, or already.
    next: Option<String>,
    /// The server certainly does not have `next` from an earlier try.
    untried: bool,
    /// When somebody must look at it next.
    due: u64,
    tries: u32,
}

impl Fixed {
    /// The next change is a period after the last one, or when the schedule has it.
    fn plan(&mut self, now: Timestamp) {
        let since = if self.rotated == 0 { now } else { Timestamp::from_nanos(self.rotated) };
        self.due = self.times.next(since, now).unwrap_or(u64::MAX);
        self.scheduled = self.due;
    }
}

fn path(name: &str) -> String {
    format!("{DIRECTORY}{name}")
}

/// Stores the next password, and says what sets it.
fn begin(
    txn: &mut Txn<'_>,
    place: &Place<'_>,
    name: &str,
    mut role: Fixed,
    now: Timestamp,
) -> Result<Undertaking, Refusal> {
    role.untried = role.next.is_none();
    let next = match role.next.take() {
        Some(next) => next,
        None => {
            let connection = config::find(txn, place.uuid, &role.db_name)?;
            role::policy(txn, &role.credential, &connection)?.generate(txn.random())?
        }
    };
    dialect::check_password(&next)?;
    let (connection, server) = config::for_role(txn, place.uuid, &role.db_name, name)?;
    let work = connection.set_password(&role.username, &next, &role.statements, txn.random())?;
    let was_due = role.due;
    role.due = now.plus(GUARD).nanos();
    role.next = Some(next);
    place.put(txn, &role, (was_due, role.due))?;
    Ok(Undertaking { act: Act::Database(Box::new(Deed { server, work })), about: place.about() })
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
        let (uuid, path) = (cx.mount.uuid.clone(), path(cx.param("name")));
        place(&uuid, &path).delete(cx.txn, role.due);
    }
    Ok(Response::empty())
}

pub(super) fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let role = named(cx)?.ok_or(Refusal::missing())?;
    let mut shown = json!({
        "db_name": role.db_name,
        "username": role.username,
        "rotation_statements": role.statements,
        "credential_type": "password",
        "skip_import_rotation": role.skip_import,
    });
    if role.rotated != 0 {
        shown["last_vault_rotation"] = json!(last_rotation(&role));
    }
    show_rotation(&role.times, &mut shown);
    if !role.credential.is_empty() {
        shown["credential_config"] = json!(role.credential);
    }
    Response::data(&shown)
}

fn last_rotation(role: &Fixed) -> String {
    match role.rotated {
        0 => NEVER.to_owned(),
        rotated => Timestamp::from_nanos(rotated).to_string(),
    }
}

pub(super) fn creds(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = cx.param("name").to_owned();
    let role = named(cx)?.ok_or_else(|| Refusal::invalid(format!("unknown role: {name}")))?;
    if role.password.is_empty() {
        return Err(Refusal::invalid(match role.made {
            true => format!(
                "the password is not known before it is changed at {}, for the role was made with skip_import_rotation: \
                 send it as password to static-roles/{name}, or have it changed now by rotate-role/{name}",
                Timestamp::from_nanos(role.scheduled)
            ),
            false => "the role's password has not been set yet: the database could not be reached so far"
                .to_owned(),
        }));
    }
    let mut shown = json!({
        "username": role.username,
        "password": role.password,
        "last_vault_rotation": last_rotation(&role),
        "ttl": Timestamp::from_nanos(role.scheduled).since(cx.now).as_secs(),
    });
    show_rotation(&role.times, &mut shown);
    Response::data(&shown)
}

fn show_rotation(times: &Times, shown: &mut Value) {
    if times.schedule.is_empty() {
        shown["rotation_period"] = json!(times.period);
    } else {
        shown["rotation_schedule"] = json!(times.schedule);
        if times.window > 0 {
            shown["rotation_window"] = json!(times.window);
        }
    }
}

pub(super) fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = cx.param("name").to_owned();
    let (uuid, path) = (cx.mount.uuid.clone(), path(&name));
    let known = named(cx)?;
    let new = known.is_none();
    let mut role = known.unwrap_or_default();
    let sent = cx.fields();
    config::refuse_absent(sent, &ABSENT)?;
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
    let before = role.times.clone();
    role.times.take(sent, SHORTEST)?;
    check(&role)?;
    let skip = sent.bool("skip_import_rotation")?;
    let password = sent.string("password")?.filter(|password| !password.is_empty());
    // Finds out whether the connection is there and lets the role use it, before anything is kept.
    let (connection, _) = config::for_role(cx.txn, &uuid, &role.db_name, &name)?;
    role.skip_import = skip.unwrap_or(if new { connection.stored.skip_import } else { role.skip_import });
    role.made |= new && role.skip_import;
    if let Some(password) = password {
        if !role.made || role.rotated != 0 {
            return Err(Refusal::invalid(
                "password is for roles made with skip_import_rotation, before the first change of their password: leave it \
                 out",
            ));
        }
        role.password = password;
    }
    if new && !role.skip_import {
        let undertaking = begin(cx.txn, &place(&uuid, &path), &name, role, cx.now)?;
        cx.undertake(undertaking);
    } else {
        let was_due = role.due;
        if role.next.is_none() && role.times != before {
            role.plan(cx.now);
        }
        place(&uuid, &path).put(cx.txn, &role, (was_due, role.due))?;
    }
    Ok(Response::empty())
}

fn check(role: &Fixed) -> Result<(), Refusal> {
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
    match role.times.any() {
        true => Ok(()),
        false => {
            refuse("one of rotation_schedule or rotation_period must be provided to create a static account")
        }
    }
}

pub(super) fn rotate(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = cx.param("name").to_owned();
    let (uuid, path) = (cx.mount.uuid.clone(), path(&name));
    let role = named(cx)?.ok_or_else(|| Refusal::invalid("no static role found for role name"))?;
    let undertaking = begin(cx.txn, &place(&uuid, &path), &name, role, cx.now)?;
    cx.undertake(undertaking);
    Ok(Response::empty())
}

pub(super) fn due(txn: &mut Txn<'_>, place: &Place<'_>, name: &str, now: Timestamp) -> Resumed {
    let Some(mut role) = place.get::<Fixed>(txn)? else { return Ok(None) };
    let was_due = role.due;
    if was_due > now.nanos() {
        return Ok(None);
    }
    // What has been begun must be finished, however late it is.
    if role.next.is_none() && role.times.missed(role.scheduled, now) {
        role.plan(now);
        role.tries = 0;
    } else {
        role.tries = role.tries.saturating_add(1);
        match begin(txn, place, name, role.clone(), now) {
            Err(Refusal::Storage(fault)) => return Err(fault.into()),
            Ok(undertaking) => return Ok(Some(undertaking)),
            // The connection is gone, or does not allow it any more: perhaps it will again.
            Err(_) => role.due = now.plus(PAUSE.saturating_mul(role.tries.min(60))).nanos(),
        }
    }
    place.put(txn, &role, (was_due, role.due)).map(|()| None)
}

pub(super) fn conclude(
    txn: &mut Txn<'_>,
    place: &Place<'_>,
    done: &Done,
    now: Timestamp,
) -> Result<(), Refusal> {
    let Some(mut role) = place.get::<Fixed>(txn)? else { return Ok(()) };
    let was_due = role.due;
    match (done, role.next.take()) {
        (Ok(()), Some(password)) => {
            role.password = password;
            role.made = true;
            role.rotated = now.nanos();
            role.tries = 0;
            role.plan(now);
        }
        // It could not be made, and is not there.
        (Err(failure), _) if failure.nothing_done && role.untried && !role.made => {
            place.delete(txn, was_due);
            return Ok(());
        }
        (Err(failure), next) => {
            role.next = next.filter(|_| !(failure.nothing_done && role.untried));
            role.due = now.plus(PAUSE.saturating_mul(role.tries.clamp(1, 60))).nanos();
        }
        (Ok(()), None) => return Ok(()),
    }
    place.put(txn, &role, (was_due, role.due))
}
