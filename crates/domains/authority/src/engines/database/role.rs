//! Roles: how users are made, and for how long they live.

use super::config;
use super::dialect;
use crate::act::database::Dialect;
use crate::context::Context;
use crate::fields::Fields;
use crate::lease::Terms;
use crate::mounts;
use crate::password_policy::{self, PasswordPolicy};
use crate::refusal::Refusal;
use crate::response::Response;
use crate::txn::Txn;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const DIRECTORY: &str = "role/";

/// A role as stored. Times are in seconds; zero is "the mount's".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Role {
    pub(super) db_name: String,
    pub(super) creation: Vec<String>,
    pub(super) revocation: Vec<String>,
    pub(super) rollback: Vec<String>,
    pub(super) renewal: Vec<String>,
    pub(super) default_ttl: u64,
    pub(super) max_ttl: u64,
    pub(super) credential: BTreeMap<String, String>,
}

impl Role {
    /// How long the users it makes live.
    pub(super) fn terms(&self) -> Terms {
        Terms { ttl: Duration::from_secs(self.default_ttl), max_ttl: Duration::from_secs(self.max_ttl) }
    }
}

fn path(name: &str) -> String {
    format!("{DIRECTORY}{name}")
}

/// The role `name` of the mount `uuid`.
pub(super) fn find(txn: &mut Txn<'_>, uuid: &str, name: &str) -> Result<Option<Arc<Role>>, Refusal> {
    txn.built_json(&(mounts::prefix(uuid) + &path(name)))
}

/// The policy of passwords: the one `credential` names, else the connection's, else the usual one.
pub(super) fn policy(
    txn: &mut Txn<'_>,
    credential: &BTreeMap<String, String>,
    connection: &config::Connection,
) -> Result<Arc<PasswordPolicy>, Refusal> {
    let name = credential.get("password_policy").filter(|name| !name.is_empty());
    let name = name.unwrap_or(&connection.stored.password_policy);
    let policy = password_policy::find(txn, name)?;
    policy.ok_or_else(|| Refusal::invalid(format!("password policy {name:?} is not there any more")))
}

/// Reads what both kinds of roles say of the credentials they make.
pub(super) fn credential(sent: &Fields) -> Result<Option<BTreeMap<String, String>>, Refusal> {
    match sent.string("credential_type")?.as_deref() {
        None | Some("" | "password") => {}
        // In Vault too only plugins for other databases make such users.
        Some("rsa_private_key") => {
            return Err(Refusal::invalid(
                "credential_type rsa_private_key: users of PostgreSQL, MySQL and Redis do not log in with RSA keys (those of \
                 Snowflake do, whose plugin is not there); write password, or leave it out",
            ));
        }
        Some("client_certificate") => {
            return Err(Refusal::invalid(
                "credential_type client_certificate: the plugins for PostgreSQL, MySQL and Redis make users with passwords \
                 alone; write password, or have a role of the PKI engine issue certificates for users that the server knows",
            ));
        }
        Some(other) => {
            return Err(Refusal::invalid(format!(
                "unknown credential_type {other:?}: write password, or leave it out"
            )));
        }
    }
    let config = sent.pairs("credential_config")?;
    if let Some(unknown) = config.iter().flat_map(BTreeMap::keys).find(|name| *name != "password_policy") {
        return Err(Refusal::invalid(format!("credential_config knows password_policy, not {unknown:?}")));
    }
    Ok(config)
}

pub(super) fn exists(cx: &mut Context<'_, '_>) -> Result<bool, Refusal> {
    let path = path(cx.param("name"));
    cx.exists(&path)
}

pub(super) fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Response::keys(&cx.list(DIRECTORY)?)
}

pub(super) fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = path(cx.param("name"));
    cx.delete(&path);
    Ok(Response::empty())
}

pub(super) fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = path(cx.param("name"));
    let role = cx.get_json::<Role>(&path)?.ok_or(Refusal::missing())?;
    let mut shown = json!({
        "db_name": role.db_name,
        "creation_statements": role.creation,
        "revocation_statements": role.revocation,
        "rollback_statements": role.rollback,
        "renew_statements": role.renewal,
        "default_ttl": role.default_ttl,
        "max_ttl": role.max_ttl,
        "credential_type": "password",
    });
    if !role.credential.is_empty() {
        shown["credential_config"] = json!(role.credential);
    }
    Response::data(&shown)
}

pub(super) fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = path(cx.param("name"));
    let mut role = cx.get_json::<Role>(&path)?.unwrap_or_default();
    let sent = cx.fields();
    if let Some(name) = sent.string("db_name")? {
        role.db_name = name;
    }
    for (name, list) in [
        ("creation_statements", &mut role.creation),
        ("revocation_statements", &mut role.revocation),
        ("rollback_statements", &mut role.rollback),
        ("renew_statements", &mut role.renewal),
    ] {
        if let Some(sent) = config::statements(sent, name)? {
            *list = sent;
        }
    }
    for (name, seconds) in [("default_ttl", &mut role.default_ttl), ("max_ttl", &mut role.max_ttl)] {
        if let Some(sent) = sent.duration(name)? {
            *seconds = sent.as_secs();
        }
    }
    if let Some(sent) = credential(sent)? {
        role.credential = sent;
    }
    if role.db_name.is_empty() {
        return Err(Refusal::invalid("empty database name attribute"));
    }
    if role.max_ttl > 0 && role.default_ttl > role.max_ttl {
        return Err(Refusal::invalid("default_ttl cannot be longer than max_ttl"));
    }
    let mut response = Response::empty();
    // A role may be there before its connection, as when both come out of one manifest.
    let uuid = cx.mount.uuid.clone();
    match config::find(cx.txn, &uuid, &role.db_name) {
        Ok(connection) => check(&role, &connection)?,
        Err(Refusal::Invalid(_)) => {
            response = response.warn(format!("the connection {:?} is not configured yet", role.db_name));
        }
        Err(other) => return Err(other),
    }
    cx.put_json(&path, &role)?;
    Ok(response)
}

fn check(role: &Role, connection: &config::Connection) -> Result<(), Refusal> {
    match connection.dialect {
        Dialect::Redis => dialect::redis_rules(&role.creation).map(|_| ()),
        _ if role.creation.is_empty() => Err(Refusal::invalid(
            "empty creation statements: say how a user is made, as in CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD \
             '{{password}}' VALID UNTIL '{{expiration}}'",
        )),
        _ => Ok(()),
    }
}
