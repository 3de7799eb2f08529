//! Token roles: what tokens may be created through them, whatever the creator's own policies are.

use super::super::token_params::{Older, TokenParams, TokenType};
use crate::context::Context;
use crate::fields::Fields;
use crate::glob;
use crate::mounts::Mount;
use crate::policy;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Kind, field};
use crate::token::{Terms, TokenEntry};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

pub(super) const FIELDS: [Field; 17] = [
    field("allowed_entity_aliases", Kind::List, "Aliases a creator may name; `*` stands for any text."),
    field("allowed_policies", Kind::List, "Policies a creator may name, also such as it does not have."),
    field("allowed_policies_glob", Kind::List, "The same, where `*` stands for any text."),
    field("bound_cidrs", Kind::List, "An older name of `token_bound_cidrs`."),
    field("disallowed_policies", Kind::List, "Policies a creator may not name."),
    field("disallowed_policies_glob", Kind::List, "The same, where `*` stands for any text."),
    field("explicit_max_ttl", Kind::Duration, "An older name of `token_explicit_max_ttl`."),
    field("orphan", Kind::Bool, "The tokens do not end with their creator."),
    field("path_suffix", Kind::Text, "Ends the path of the tokens, by which they can be revoked together."),
    field("period", Kind::Duration, "An older name of `token_period`."),
    field("renewable", Kind::Bool, "The tokens may be renewed."),
    field("token_bound_cidrs", Kind::List, "Networks the tokens may be used from."),
    field("token_explicit_max_ttl", Kind::Duration, "The tokens never outlive this, periods included."),
    field("token_no_default_policy", Kind::Bool, "Leave out the policy `default`."),
    field("token_num_uses", Kind::Int, "How often a token may be used; any number of times when 0."),
    field("token_period", Kind::Duration, "The tokens may be renewed for ever, by this much each time."),
    field("token_type", Kind::Text, "`service`, `batch`, `default-service` or `default-batch`."),
];

const OLDER: &[Older] = &[
    ("bound_cidrs", "token_bound_cidrs"),
    ("explicit_max_ttl", "token_explicit_max_ttl"),
    ("period", "token_period"),
];

/// One role.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Role {
    pub(super) token: TokenParams,
    pub(super) allowed_policies: Vec<String>,
    pub(super) allowed_policies_glob: Vec<String>,
    pub(super) disallowed_policies: Vec<String>,
    pub(super) disallowed_policies_glob: Vec<String>,
    pub(super) allowed_entity_aliases: Vec<String>,
    pub(super) orphan: bool,
    pub(super) path_suffix: String,
    pub(super) renewable: bool,
}

impl Role {
    pub(super) fn limits_policies(&self) -> bool {
        ![
            &self.allowed_policies,
            &self.allowed_policies_glob,
            &self.disallowed_policies,
            &self.disallowed_policies_glob,
        ]
        .iter()
        .all(|list| list.is_empty())
    }
}

fn key(name: &str) -> String {
    format!("roles/{name}")
}

pub(super) fn find(cx: &mut Context<'_, '_>, name: &str) -> Result<Option<Arc<Role>>, Refusal> {
    cx.built_json(&key(name))
}

pub(super) fn exists(cx: &mut Context<'_, '_>) -> Result<bool, Refusal> {
    let path = key(cx.param("role_name"));
    cx.exists(&path)
}

pub(super) fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Response::keys(&cx.list("roles/")?)
}

pub(super) fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = key(cx.param("role_name"));
    cx.delete(&path);
    Ok(Response::empty())
}

pub(super) fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = cx.param("role_name").to_owned();
    let Some(role) = find(cx, &name)? else { return Err(Refusal::missing()) };
    let mut shown = role.token.describe(OLDER);
    for absent in ["token_max_ttl", "token_policies", "token_ttl"] {
        shown.remove(absent);
    }
    if role.token.bound_cidrs.is_empty() {
        shown.remove("token_bound_cidrs");
    }
    if role.token.num_uses == 0 {
        shown.remove("token_num_uses");
    }
    for always in ["period", "explicit_max_ttl"] {
        shown.entry(always).or_insert(json!(0));
    }
    for (name, value) in [
        ("allowed_entity_aliases", json!(role.allowed_entity_aliases)),
        ("allowed_policies", json!(role.allowed_policies)),
        ("allowed_policies_glob", json!(role.allowed_policies_glob)),
        ("disallowed_policies", json!(role.disallowed_policies)),
        ("disallowed_policies_glob", json!(role.disallowed_policies_glob)),
        ("name", json!(name)),
        ("orphan", json!(role.orphan)),
        ("path_suffix", json!(role.path_suffix)),
        ("renewable", json!(role.renewable)),
    ] {
        shown.insert(name.to_owned(), value);
    }
    Response::data(&shown)
}

pub(super) fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = cx.param("role_name").to_owned();
    let mut role = match find(cx, &name)? {
        Some(role) => (*role).clone(),
        None => {
            let token = TokenParams { kind: TokenType::DefaultService, ..TokenParams::default() };
            Role { token, renewable: true, ..Role::default() }
        }
    };
    let sent = cx.fields();
    let mut warnings: Vec<String> = OLDER
        .iter()
        .filter(|(old, new)| cx.operation != Operation::Help && sent.has(old) && sent.has(new))
        .map(|(old, new)| {
            format!("Both '{new}' and deprecated '{old}' value supplied, ignoring the deprecated value")
        })
        .collect();
    read_fields(&mut role, sent)?;
    let max = cx.max_ttl().as_secs();
    if role.token.explicit_max_ttl > max {
        warnings.push(format!(
            "Given explicit max TTL of {} is greater than system/mount allowed value of {max} seconds; tokens \
             created by this role will not live longer than that",
            role.token.explicit_max_ttl
        ));
    }
    cx.put_json(&key(&name), &role)?;
    Ok(Response { warnings, ..Response::empty() })
}

fn read_fields(role: &mut Role, sent: &Fields) -> Result<(), Refusal> {
    let lowered = |name: &str| -> Result<Option<Vec<String>>, Refusal> {
        Ok(sent.strings(name)?.map(|names| {
            let mut names: Vec<String> = names.iter().map(|name| name.trim().to_lowercase()).collect();
            names.sort_unstable();
            names.dedup();
            names.retain(|name| !name.is_empty());
            names
        }))
    };
    if let Some(names) = sent.strings("allowed_policies")? {
        role.allowed_policies = policy::sanitize(names);
    }
    if let Some(names) = sent.strings("allowed_policies_glob")? {
        role.allowed_policies_glob = policy::sanitize(names);
    }
    if let Some(names) = lowered("disallowed_policies")? {
        role.disallowed_policies = names;
    }
    if let Some(names) = lowered("disallowed_policies_glob")? {
        role.disallowed_policies_glob = names;
    }
    if let Some(names) = lowered("allowed_entity_aliases")? {
        role.allowed_entity_aliases = names;
    }
    role.orphan = sent.bool("orphan")?.unwrap_or(role.orphan);
    role.renewable = sent.bool("renewable")?.unwrap_or(role.renewable);
    if let Some(suffix) = sent.string("path_suffix")? {
        check_suffix(&suffix)?;
        role.path_suffix = suffix;
    }
    // The kinds that leave it to the creator are a token role's own.
    let mut rest = Fields::default();
    for name in sent.names().filter(|name| *name != "token_type") {
        rest.set(name, &sent.raw(name));
    }
    role.token.read(&rest, OLDER)?;
    if let Some(kind) = sent.string("token_type")? {
        role.token.kind = match kind.as_str() {
            "service" => TokenType::Service,
            "batch" => TokenType::Batch,
            "default-service" => TokenType::DefaultService,
            "default-batch" => TokenType::DefaultBatch,
            _ => return Err(Refusal::invalid(format!("invalid 'token_type' value {kind:?}"))),
        };
    }
    check_batch(role)
}

fn check_suffix(suffix: &str) -> Result<(), Refusal> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let good = suffix.len() >= 3
        && suffix.chars().all(|c| word(c) || matches!(c, '-' | '.'))
        && suffix.starts_with(word)
        && suffix.ends_with(word)
        && !suffix.contains("..");
    if good || suffix.is_empty() {
        return Ok(());
    }
    Err(Refusal::invalid(
        "given role path suffix contains invalid characters; must match \\w[\\w-.]+\\w, without two dots in a row",
    ))
}

fn check_batch(role: &Role) -> Result<(), Refusal> {
    let cannot = |when: &str| {
        Err(Refusal::invalid(format!("'token_type' cannot be 'batch' when role is set to generate {when}")))
    };
    match role.token.kind {
        TokenType::Batch if !role.orphan => cannot("non-orphan tokens"),
        TokenType::Batch if role.token.period > 0 => cannot("periodic tokens"),
        TokenType::Batch if role.renewable => cannot("renewable tokens"),
        TokenType::Batch if role.token.explicit_max_ttl > 0 => cannot("tokens with an explicit max TTL"),
        _ => Ok(()),
    }
}

/// True when `names` has `name`, or a pattern of `patterns` matches it. `*` in a pattern stands for any text.
pub(super) fn listed(name: &str, names: &[String], patterns: &[String]) -> bool {
    names.iter().any(|known| known == name) || patterns.iter().any(|pattern| glob::matches(pattern, name))
}

/// The terms of tokens made here: as they were granted last, or as their role has them now.
pub(super) fn terms(cx: &mut Context<'_, '_>, mount: &Mount, token: &TokenEntry) -> Result<Terms, Refusal> {
    let own = Terms {
        ttl: token.last_granted(),
        max_ttl: Duration::ZERO,
        period: Duration::from_secs(token.period),
        explicit_max_ttl: Duration::from_secs(token.explicit_max_ttl),
        ..Terms::default()
    };
    if token.role.is_empty() {
        return Ok(own);
    }
    let role = cx.txn.built_json::<Role>(&format!("{}{}", mount.prefix(), key(&token.role)))?;
    let role = role.ok_or_else(|| {
        Refusal::invalid(format!("original token role {:?} could not be found, not renewing", token.role))
    })?;
    let explicit = [token.explicit_max_ttl, role.token.explicit_max_ttl];
    let explicit = explicit.into_iter().filter(|seconds| *seconds > 0).min().unwrap_or(0);
    Ok(Terms {
        period: Duration::from_secs(role.token.period),
        explicit_max_ttl: Duration::from_secs(explicit),
        ..own
    })
}
