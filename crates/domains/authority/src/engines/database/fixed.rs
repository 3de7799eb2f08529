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
use crate::fields::Fields;
use crate::lease::GUARD;
use crate::mounts;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::route::Resumed;
use crate::txn::Txn;
use keyward_core::{Schedule, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) const DIRECTORY: &str = "static-role/";

/// The shortest period, in seconds; as in Vault.
const SHORTEST: u64 = 5;
/// The shortest window, in seconds; as in Vault.
const SHORTEST_WINDOW: u64 = 3600;
/// Before another try, in the beginning.
const PAUSE: Duration = Duration::from_secs(10);

/// Parameters of Vault's that are not here.
const ABSENT: [(&str, &str); 2] = [
    (
        "skip_import_rotation",
        "a new role's password is always changed, for nobody else may know it: leave it out",
    ),
    ("self_managed_password", "the connection's own user changes passwords: leave it out"),
];

/// A role as stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Fixed {
    db_name: String,
    username: String,
    /// Seconds; zero with a schedule.
    period: u64,
    /// As `cron` has it; empty with a period.
    schedule: String,
    /// Seconds after a scheduled moment that tries may begin in; any number when zero.
    window: u64,
    /// The scheduled moment that tries belong to.
    scheduled: u64,
    statements: Vec<String>,
    credential: BTreeMap<String, String>,
    /// The last that the server is known to have; empty before the first.
    password: String,
    /// When it took that, in nanoseconds since the epoch.
    rotated: u64,
    /// Going to be the password, or already.
    next: Option<String>,
    /// The server certainly does not have `next` from an earlier try.
    untried: bool,
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
    let work = connection.set_password(&role.username, password, &role.statements, txn.random())?;
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
        role.untried = true;
    } else {
        role.untried = false;
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
        "rotation_statements": role.statements,
        "credential_type": "password",
        "last_vault_rotation": last_rotation(&role),
    });
    show_rotation(&role, &mut shown);
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
    let next = Timestamp::from_nanos(next_due(&role, cx.now)?);
    let mut shown = json!({
        "username": role.username,
        "password": role.password,
        "last_vault_rotation": last_rotation(&role),
        "ttl": next.since(cx.now).as_secs(),
    });
    show_rotation(&role, &mut shown);
    Response::data(&shown)
}

fn show_rotation(role: &Fixed, shown: &mut Value) {
    if role.schedule.is_empty() {
        shown["rotation_period"] = json!(role.period);
    } else {
        shown["rotation_schedule"] = json!(role.schedule);
        if role.window > 0 {
            shown["rotation_window"] = json!(role.window);
        }
    }
}

pub(super) fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = cx.param("name").to_owned();
    let uuid = cx.mount.uuid.clone();
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
    let rotation = (role.period, role.schedule.clone());
    take_over_rotation(&mut role, sent)?;
    check(&role)?;
    // Finds out whether the connection is there and lets the role use it, before anything is kept.
    config::for_role(cx.txn, &uuid, &role.db_name, &name)?;
    if new {
        let undertaking = begin(cx.txn, &uuid, &name, role, cx.now)?;
        cx.undertake(undertaking);
    } else {
        let was_due = role.due;
        if role.next.is_none() && rotation != (role.period, role.schedule.clone()) {
            role.due = next_due(&role, cx.now)?;
            role.scheduled = role.due;
        }
        put(cx.txn, &uuid, &name, &role, was_due)?;
    }
    Ok(Response::empty())
}

fn take_over_rotation(role: &mut Fixed, sent: &Fields) -> Result<(), Refusal> {
    let period =
        sent.duration("rotation_period")?.map(|period| period.as_secs()).filter(|period| *period > 0);
    let schedule = sent.string("rotation_schedule")?.filter(|schedule| !schedule.is_empty());
    match (period, schedule) {
        (Some(_), Some(_)) => {
            return Err(Refusal::invalid(
                "mutually exclusive fields rotation_period and rotation_schedule were both specified; only one of \
                 them can be provided",
            ));
        }
        (Some(period), None) => (role.period, role.schedule, role.window) = (period, String::new(), 0),
        (None, Some(schedule)) => (role.period, role.schedule) = (0, schedule),
        (None, None) => {}
    }
    if let Some(window) = sent.duration("rotation_window")? {
        role.window = window.as_secs();
    }
    Ok(())
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
    if role.window > 0 && role.schedule.is_empty() {
        return refuse("rotation_window is invalid with use of rotation_period");
    }
    if role.window > 0 && role.window < SHORTEST_WINDOW {
        return Err(Refusal::invalid(format!("rotation_window must be {SHORTEST_WINDOW} seconds or more")));
    }
    match role.schedule.as_str() {
        "" if role.period == 0 => {
            refuse("one of rotation_schedule or rotation_period must be provided to create a static account")
        }
        "" if role.period < SHORTEST => {
            Err(Refusal::invalid(format!("rotation_period must be {SHORTEST} seconds or more")))
        }
        "" => Ok(()),
        schedule => match Schedule::parse(schedule) {
            Ok(_) => Ok(()),
            Err(why) => Err(Refusal::invalid(format!("could not parse rotation_schedule: {why}"))),
        },
    }
}

/// When the password is changed next, after `now` where there is a schedule.
fn next_due(role: &Fixed, now: Timestamp) -> Result<u64, Refusal> {
    if role.schedule.is_empty() {
        let last = Timestamp::from_nanos(role.rotated);
        return Ok(last.plus(Duration::from_secs(role.period)).nanos());
    }
    let unreadable = |_| Refusal::Internal("a stored schedule cannot be read".to_owned());
    let schedule = Schedule::parse(&role.schedule).map_err(unreadable)?;
    Ok(schedule.next_after(now).map_or(u64::MAX, Timestamp::nanos))
}

/// True when it is too late for the moment that was scheduled, and nothing has been begun that must be finished.
fn missed(role: &Fixed, now: Timestamp) -> bool {
    let ends = Timestamp::from_nanos(role.scheduled).plus(Duration::from_secs(role.window));
    role.window > 0 && role.next.is_none() && now > ends
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
    if missed(&role, now) {
        let was_due = role.due;
        role.due = next_due(&role, now)?;
        (role.scheduled, role.tries) = (role.due, 0);
        put(txn, uuid, name, &role, was_due)?;
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
            role.due = next_due(&role, now)?;
            role.scheduled = role.due;
        }
        // It could not be made, and is not there.
        (Err(failure), _) if failure.nothing_done && role.rotated == 0 => {
            expiry::forget(txn, was_due, &format!("{uuid}/{}", path(name)));
            txn.delete(&key(uuid, name));
            return Ok(());
        }
        (Err(failure), next) => {
            role.next = next.filter(|_| !(failure.nothing_done && role.untried));
            role.due = now.plus(PAUSE.saturating_mul(role.tries.clamp(1, 60))).nanos();
        }
        (Ok(()), None) => return Ok(()),
    }
    put(txn, uuid, name, &role, was_due)
}
