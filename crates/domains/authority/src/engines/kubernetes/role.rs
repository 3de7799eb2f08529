//! Roles.

use super::super::token_params::{OLDER, TokenParams};
use super::selector;
use crate::context::Context;
use crate::refusal::Refusal;
use crate::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

/// What a login is an identity by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum AliasName {
    /// The UID: an account deleted and made again is another one.
    #[default]
    #[serde(rename = "serviceaccount_uid")]
    Uid,
    /// `namespace/name`.
    #[serde(rename = "serviceaccount_name")]
    Name,
}

/// One role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Role {
    pub(super) names: Vec<String>,
    pub(super) namespaces: Vec<String>,
    pub(super) namespace_selector: String,
    pub(super) audience: String,
    pub(super) alias_name: AliasName,
    pub(super) token: TokenParams,
}

/// Where a role is stored. Names of roles have no case.
pub(super) fn key(name: &str) -> String {
    format!("role/{}", name.to_lowercase())
}

pub(super) fn find(cx: &mut Context<'_, '_>, name: &str) -> Result<Option<Arc<Role>>, Refusal> {
    cx.built_json(&key(name))
}

fn named(cx: &mut Context<'_, '_>) -> Result<Option<Arc<Role>>, Refusal> {
    let name = cx.param("name").to_owned();
    find(cx, &name)
}

pub(super) fn exists(cx: &mut Context<'_, '_>) -> Result<bool, Refusal> {
    Ok(named(cx)?.is_some())
}

pub(super) fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Response::keys(&cx.list("role/")?)
}

pub(super) fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let key = key(cx.param("name"));
    cx.delete(&key);
    Ok(Response::empty())
}

pub(super) fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let role = named(cx)?.ok_or(Refusal::missing())?;
    let mut shown = role.token.describe(OLDER);
    for (name, value) in [
        ("bound_service_account_names", json!(role.names)),
        ("bound_service_account_namespaces", json!(role.namespaces)),
        ("bound_service_account_namespace_selector", json!(role.namespace_selector)),
        ("alias_name_source", json!(role.alias_name)),
    ] {
        shown.insert(name.to_owned(), value);
    }
    if !role.audience.is_empty() {
        shown.insert("audience".to_owned(), json!(role.audience));
    }
    Response::data(&shown)
}

pub(super) fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let mut role = named(cx)?.map(Arc::unwrap_or_clone).unwrap_or_default();
    let sent = cx.fields();
    let mut warnings = role.token.read(sent, OLDER)?;
    if let Some(names) = sent.strings("bound_service_account_names")? {
        role.names = names;
    }
    if let Some(namespaces) = sent.strings("bound_service_account_namespaces")? {
        role.namespaces = namespaces;
    }
    if let Some(selector) = sent.string("bound_service_account_namespace_selector")? {
        role.namespace_selector = selector;
    }
    if let Some(audience) = sent.string("audience")? {
        role.audience = audience;
    }
    if let Some(source) = sent.string("alias_name_source")? {
        role.alias_name = match source.as_str() {
            "" | "serviceaccount_uid" => AliasName::Uid,
            "serviceaccount_name" => AliasName::Name,
            _ => {
                return Err(Refusal::invalid(format!(
                    "invalid alias_name_source {source:?}, must be one of: serviceaccount_uid, serviceaccount_name"
                )));
            }
        };
    }
    warnings.extend(role.token.check_limits(cx.max_ttl())?);
    check(&role)?;
    let key = key(cx.param("name"));
    cx.put_json(&key, &role)?;
    Ok(Response { warnings, ..Response::empty() })
}

fn check(role: &Role) -> Result<(), Refusal> {
    let refuse = |why: &str| Err(Refusal::invalid(why));
    if role.names.is_empty() {
        return refuse("\"bound_service_account_names\" can not be empty");
    }
    if role.namespaces.is_empty() && role.namespace_selector.is_empty() {
        return refuse(
            "\"bound_service_account_namespaces\" can not be empty if \
             \"bound_service_account_namespace_selector\" is not set",
        );
    }
    let mixed = |list: &[String]| list.len() > 1 && list.iter().any(|name| name == "*");
    if mixed(&role.names) || mixed(&role.namespaces) {
        return refuse("can not mix \"*\" with values");
    }
    if !role.namespace_selector.is_empty() && selector::parse(&role.namespace_selector).is_err() {
        return refuse("invalid \"bound_service_account_namespace_selector\" configured");
    }
    Ok(())
}
