//! Roles.

use super::super::token_params::{OLDER, TokenParams};
use super::claims;
use crate::context::Context;
use crate::fields::Fields;
use crate::jwt::Leeways;
use crate::refusal::Refusal;
use crate::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// One role. Leeways are in seconds: the default when zero, none when negative.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Role {
    pub(super) user_claim: String,
    pub(super) user_claim_json_pointer: bool,
    pub(super) audiences: Vec<String>,
    pub(super) subject: String,
    pub(super) claims: Map<String, Value>,
    pub(super) globs: bool,
    pub(super) mappings: BTreeMap<String, String>,
    pub(super) groups_claim: String,
    pub(super) expiration_leeway: i64,
    pub(super) not_before_leeway: i64,
    pub(super) skew_leeway: i64,
    pub(super) token: TokenParams,
}

impl Role {
    pub(super) fn leeways(&self) -> Leeways {
        let or = |seconds: i64, otherwise: Duration| match seconds {
            0 => otherwise,
            seconds => Duration::from_secs(u64::try_from(seconds).unwrap_or(0)),
        };
        let usual = Leeways::default();
        Leeways {
            skew: or(self.skew_leeway, usual.skew),
            expiration: or(self.expiration_leeway, usual.expiration),
            not_before: or(self.not_before_leeway, usual.not_before),
        }
    }
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
        ("role_type", json!("jwt")),
        ("user_claim", json!(role.user_claim)),
        ("user_claim_json_pointer", json!(role.user_claim_json_pointer)),
        ("bound_audiences", json!(role.audiences)),
        ("bound_subject", json!(role.subject)),
        ("bound_claims", json!(role.claims)),
        ("bound_claims_type", json!(if role.globs { "glob" } else { "string" })),
        ("claim_mappings", json!(role.mappings)),
        ("groups_claim", json!(role.groups_claim)),
        ("expiration_leeway", json!(role.expiration_leeway)),
        ("not_before_leeway", json!(role.not_before_leeway)),
        ("clock_skew_leeway", json!(role.skew_leeway)),
        ("allowed_redirect_uris", Value::Null),
        ("oidc_scopes", Value::Null),
        ("max_age", json!(0)),
        ("verbose_oidc_logging", json!(false)),
    ] {
        shown.insert(name.to_owned(), value);
    }
    Response::data(&shown)
}

pub(super) fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let mut role = named(cx)?.map(Arc::unwrap_or_clone).unwrap_or_default();
    let sent = cx.fields();
    refuse_absent(sent)?;
    let mut warnings = role.token.read(sent, OLDER)?;
    take_over(&mut role, sent)?;
    warnings.extend(role.token.check_limits(cx.max_ttl())?);
    check(&role)?;
    let key = key(cx.param("name"));
    cx.put_json(&key, &role)?;
    Ok(Response { warnings, ..Response::empty() })
}

fn refuse_absent(sent: &Fields) -> Result<(), Refusal> {
    match sent.string("role_type")?.unwrap_or_default().as_str() {
        "" | "jwt" => {}
        "oidc" => {
            return Err(Refusal::invalid(
                "role_type oidc: logins through a browser are not available; set role_type=jwt",
            ));
        }
        other => return Err(Refusal::invalid(format!("invalid 'role_type': {other}"))),
    }
    Ok(())
}

fn take_over(role: &mut Role, sent: &Fields) -> Result<(), Refusal> {
    if let Some(claim) = sent.string("user_claim")? {
        role.user_claim = claim;
    }
    if let Some(pointer) = sent.bool("user_claim_json_pointer")? {
        role.user_claim_json_pointer = pointer;
    }
    if let Some(audiences) = sent.strings("bound_audiences")? {
        role.audiences = audiences;
    }
    if let Some(subject) = sent.string("bound_subject")? {
        role.subject = subject;
    }
    if let Some(kind) = sent.string("bound_claims_type")? {
        role.globs = match kind.as_str() {
            "" | "string" => false,
            "glob" => true,
            other => return Err(Refusal::invalid(format!("invalid 'bound_claims_type': {other}"))),
        };
    }
    if let Some(bound) = sent.value("bound_claims")? {
        role.claims = object(bound)?;
    }
    if let Some(mappings) = sent.pairs("claim_mappings")? {
        role.mappings = mappings;
    }
    if let Some(claim) = sent.string("groups_claim")? {
        role.groups_claim = claim;
    }
    for (name, leeway) in [
        ("expiration_leeway", &mut role.expiration_leeway),
        ("not_before_leeway", &mut role.not_before_leeway),
        ("clock_skew_leeway", &mut role.skew_leeway),
    ] {
        if let Some(seconds) = signed_seconds(sent, name)? {
            *leeway = seconds;
        }
    }
    Ok(())
}

/// An object; clients on a command line send the text of one.
fn object(value: Value) -> Result<Map<String, Value>, Refusal> {
    let read = match value {
        Value::Object(object) => Some(object),
        Value::String(text) if text.trim().is_empty() => Some(Map::new()),
        Value::String(text) => serde_json::from_str(&text).ok(),
        _ => None,
    };
    read.ok_or_else(|| Refusal::invalid("bound_claims must be an object of claims and their values"))
}

fn signed_seconds(sent: &Fields, name: &str) -> Result<Option<i64>, Refusal> {
    let text = sent.string(name)?;
    match text.as_deref().map(str::trim) {
        Some(text) if text.starts_with('-') => Ok(Some(-1)),
        _ => Ok(sent.duration(name)?.map(|span| i64::try_from(span.as_secs()).unwrap_or(i64::MAX))),
    }
}

fn check(role: &Role) -> Result<(), Refusal> {
    if role.user_claim.is_empty() {
        return Err(Refusal::invalid("a user claim must be defined on the role"));
    }
    if role.token.bound_cidrs.is_empty()
        && role.audiences.is_empty()
        && role.subject.is_empty()
        && role.claims.is_empty()
    {
        return Err(Refusal::invalid(
            "must have at least one bound constraint when creating/updating a role",
        ));
    }
    let mut targets: Vec<&str> = role.mappings.values().map(String::as_str).collect();
    targets.sort_unstable();
    if targets.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Refusal::invalid(
            "metadata key is mapped more than once: give each claim a key of its own",
        ));
    }
    if targets.contains(&"role") {
        return Err(Refusal::invalid(
            "metadata key \"role\" is reserved and may not be a mapping destination",
        ));
    }
    claims::check_bound(&role.claims, role.globs).map_err(Refusal::invalid)
}
