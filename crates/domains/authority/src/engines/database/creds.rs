//! Users made on demand, and their leases.

use super::config;
use super::dialect::{self, Values};
use super::role;
use crate::act::Act;
use crate::act::database::{Deed, Dialect, Work};
use crate::context::Context;
use crate::lease::{self, Issue, Issued, Next, Terms};
use crate::name_template::Subject;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::txn::Txn;
use keyward_core::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;

/// What a lease is of: enough to take the user back when the role is gone or another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct User {
    role: String,
    db_name: String,
    username: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    revocation: Vec<String>,
}

fn user(lease: &Issued) -> Result<User, Refusal> {
    serde_json::from_value(lease.what.clone())
        .map_err(|_| Refusal::Internal("a lease does not say which user it is of".to_owned()))
}

pub(super) fn create(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = cx.param("name").to_owned();
    let uuid = cx.mount.uuid.clone();
    let role = role::find(cx.txn, &uuid, &name)?;
    let role = role.ok_or_else(|| Refusal::invalid(format!("unknown role: {name}")))?;
    let (connection, server) = config::for_role(cx.txn, &uuid, &role.db_name, &name)?;
    let display_name = cx.caller()?.token.display_name.clone();
    let subject = Subject { display_name: &display_name, role_name: &name };
    let username = connection.usernames.render(&subject, cx.now, cx.random())?;
    let password = role::policy(cx.txn, &role.credential, &connection)?.generate(cx.random())?;
    dialect::check_password(&password)?;
    if connection.stored.scram {
        cx.gathered.leisure()?;
    }
    let told = connection.told(&password, cx.random())?;
    let response = Response::data(&json!({ "username": username, "password": password }))?;
    let user = User {
        role: name,
        db_name: role.db_name.clone(),
        username: username.clone(),
        revocation: role.revocation.clone(),
    };
    let issue = Issue {
        what: serde_json::to_value(&user)
            .map_err(|why| Refusal::Internal(format!("a lease could not be written: {why}")))?,
        terms: role.terms(),
        renewable: true,
    };
    lease::issue(cx, issue, response, |_, expires| {
        // A little more than the lease: who is revoked in time must not be locked out before that.
        let values = Values { username: &username, password: &told, expires: Some(expires.plus(GRACE)) };
        let work = match connection.dialect {
            Dialect::Redis => {
                let shown = format!(">{password}");
                let rules = dialect::redis_rules(&role.creation)?;
                let mut command = vec!["ACL", "SETUSER", &username, "on", &shown];
                command.extend(rules.iter().map(String::as_str));
                connection.commands(&command)
            }
            _ => dialect::work(&role.creation, &values),
        };
        Ok(Some(Act::Database(Box::new(Deed { server, work }))))
    })
}

/// How much longer than its lease a user may log in.
const GRACE: Duration = Duration::from_secs(5);

pub(super) fn revoke(txn: &mut Txn<'_>, lease: &Issued, _: Timestamp) -> Next {
    let user = user(lease)?;
    let (connection, server) = config::server(txn, &lease.mount, &user.db_name)?;
    let values = Values { username: &user.username, password: "", expires: None };
    let work = match connection.dialect {
        Dialect::Redis => connection.commands(&["ACL", "DELUSER", &user.username]),
        _ => {
            let statements = dialect::sql(&user.revocation);
            let statements = statements.iter().map(|statement| dialect::filled(statement, &values)).collect();
            Work::Drop { user: user.username, statements }
        }
    };
    Ok(Some(Act::Database(Box::new(Deed { server, work }))))
}

pub(super) fn terms(txn: &mut Txn<'_>, lease: &Issued) -> Result<Terms, Refusal> {
    let user = user(lease)?;
    let role = role::find(txn, &lease.mount, &user.role)?;
    let role = role.ok_or_else(|| {
        Refusal::invalid(format!(
            "the role {:?} is not there any more: its leases cannot be renewed",
            user.role
        ))
    })?;
    Ok(role.terms())
}

pub(super) fn extend(txn: &mut Txn<'_>, lease: &Issued, until: Timestamp) -> Next {
    let user = user(lease)?;
    let (connection, server) = config::server(txn, &lease.mount, &user.db_name)?;
    let role = role::find(txn, &lease.mount, &user.role)?;
    let own = role.as_ref().map(|role| &role.renewal[..]).filter(|own| !own.is_empty());
    let usual = [connection.dialect.renewal().to_owned()];
    let statements = match (own, connection.dialect.renewal()) {
        (Some(own), _) => own,
        (None, "") => return Ok(None),
        (None, _) => &usual[..],
    };
    let values = Values { username: &user.username, password: "", expires: Some(until.plus(GRACE)) };
    let work = dialect::work(statements, &values);
    Ok(Some(Act::Database(Box::new(Deed { server, work }))))
}
