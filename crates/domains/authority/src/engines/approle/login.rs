//! Logging in.

use super::super::named;
use super::role::{self, Role};
use super::secret;
use crate::cidr;
use crate::context::Context;
use crate::lockout::{self, Attempt};
use crate::refusal::Refusal;
use crate::response::{Login, Response};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Who knows neither id learns nothing from the answer: not which of them is wrong.
fn invalid() -> Refusal {
    Refusal::invalid("invalid role or secret ID")
}

pub(super) fn login(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let text = |name: &str| {
        cx.fields().string(name).map(|text| text.map_or_else(String::new, |text| text.trim().to_owned()))
    };
    let (role_id, secret_id) = (text("role_id")?, text("secret_id")?);
    if role_id.is_empty() {
        return Err(Refusal::invalid("missing role_id"));
    }
    let found = by_role_id(cx, &role_id)?;
    if secret_id.is_empty() && found.as_ref().is_none_or(|(_, role)| role.bind_secret_id) {
        return Err(Refusal::invalid("missing secret_id"));
    }
    if secret_id.len() > secret::MAX_LEN {
        return Err(invalid());
    }
    let Some((name, role)) = found else {
        // An unknown role costs what a known one does.
        let nobody = Role::default();
        let accessor = secret::accessor(cx.txn, "", &secret_id);
        secret::find(cx, &nobody, &accessor)?;
        return Err(invalid());
    };
    lockout::guarded(cx, &role_id, |cx| attempt(cx, name, &role, &role_id, &secret_id))
}

fn attempt(
    cx: &mut Context<'_, '_>,
    name: String,
    role: &Role,
    role_id: &str,
    secret_id: &str,
) -> Result<Attempt, Refusal> {
    let mut login = role.token.login();
    if role.bind_secret_id && !prove(cx, role, secret_id, &mut login)? {
        return Ok(Attempt::Wrong(invalid()));
    }
    check_source(cx, &role.bound_cidrs, "by CIDR restrictions on the role")?;
    // The secret id's metadata is the token's, not the alias's: the alias is one for all secret ids of the role.
    login.alias_metadata = BTreeMap::from([("role_name".to_owned(), name.clone())]);
    login.metadata.insert("role_name".to_owned(), name.clone());
    role_id.clone_into(&mut login.alias);
    login.role = name;
    Ok(Attempt::good(login))
}

/// Role names are found by their ids; both are kept in memory.
fn by_role_id(cx: &mut Context<'_, '_>, role_id: &str) -> Result<Option<(String, Arc<Role>)>, Refusal> {
    let index = role::role_id_key(cx.txn, &cx.mount.uuid, role_id);
    let Some(name) = cx.built_json::<String>(&index)? else { return Ok(None) };
    let role = named::find::<Role>(cx, &name)?;
    Ok(role.map(|role| ((*name).clone(), role)))
}

/// Whether `secret_id` is the role's.
fn prove(cx: &mut Context<'_, '_>, role: &Role, secret_id: &str, login: &mut Login) -> Result<bool, Refusal> {
    // Found by a keyed hash, so the time this takes tells nothing of secret ids that are near it.
    let accessor = secret::accessor(cx.txn, &role.id, secret_id);
    let Some(entry) = secret::find(cx, role, &accessor)? else { return Ok(false) };
    // The role's networks may have changed since.
    secret::check_subset(&entry.cidr_list, &role.bound_cidrs)?;
    check_source(cx, &entry.cidr_list, "through CIDR restrictions on the secret ID")?;
    secret::use_up(cx, role, &accessor, &entry)?;
    login.metadata.clone_from(&entry.metadata);
    if !entry.token_bound_cidrs.is_empty() {
        login.bound_cidrs.clone_from(&entry.token_bound_cidrs);
    }
    Ok(true)
}

fn check_source(cx: &Context<'_, '_>, networks: &[String], by: &str) -> Result<(), Refusal> {
    let from = cx.request.remote.map(|remote| remote.ip());
    match from {
        _ if networks.is_empty() => Ok(()),
        Some(from) if cidr::any(networks, from) => Ok(()),
        Some(from) => Err(Refusal::invalid(format!("source address \"{from}\" unauthorized {by}"))),
        None => Err(Refusal::invalid(format!("a login without a source address is unauthorized {by}"))),
    }
}
