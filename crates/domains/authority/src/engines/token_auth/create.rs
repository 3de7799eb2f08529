//! Making tokens from tokens.

use super::super::token_params::{TokenType, count};
use super::is_sudo;
use super::roles::{self, Role, listed};
use crate::context::Context;
use crate::fields::Fields;
use crate::identity;
use crate::policies;
use crate::policy;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::token::{self, NewToken, TokenEntry, TokenKind, Wish};
use std::sync::Arc;
use std::time::Duration;

pub(super) fn child(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    create(cx, Way::Child)
}

pub(super) fn orphan(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    create(cx, Way::Orphan)
}

pub(super) fn by_role(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = cx.param("role_name").to_owned();
    match roles::find(cx, &name)? {
        Some(role) => create(cx, Way::Role(name, role)),
        None => Err(Refusal::invalid(format!("unknown role {name}"))),
    }
}

/// By which of the three paths a token is asked for.
enum Way {
    Child,
    Orphan,
    Role(String, Arc<Role>),
}

impl Way {
    fn role(&self) -> Option<&Role> {
        match self {
            Way::Role(_, role) => Some(role),
            _ => None,
        }
    }
}

fn refuse<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::invalid(why))
}

fn create(cx: &mut Context<'_, '_>, way: Way) -> Result<Response, Refusal> {
    let (parent, parent_name) = {
        let caller = cx.caller()?;
        (caller.token.clone(), caller.name.clone())
    };
    if parent.kind == TokenKind::Batch {
        return refuse("batch tokens cannot create more tokens");
    }
    if parent.num_uses > 0 {
        // It would outlive its own limit in its children.
        return refuse("restricted use token cannot generate child tokens");
    }
    let sudo = is_sudo(cx)?;
    let (sent, role) = (cx.fields(), way.role());
    let kind = kind(sent, role)?;
    let renewable = sent.bool("renewable")?.unwrap_or(true);
    let id = chosen_id(sent, sudo)?;
    let mut entry = TokenEntry {
        policies: chosen_policies(sent, role, &parent, sudo)?,
        metadata: sent.pairs("meta")?.unwrap_or_default(),
        display_name: display_name(sent)?,
        num_uses: num_uses(sent, role)?,
        kind,
        renewable: renewable && kind == TokenKind::Service && role.is_none_or(|role| role.renewable),
        path: format!("{}{}", cx.mount.path, below(cx, role)),
        ..TokenEntry::default()
    };
    if entry.is_root() && !parent.is_root() {
        // `sudo` alone must not be a way to become root.
        return refuse("root tokens may not be created without parent token being root");
    }
    if entry.is_root() && kind == TokenKind::Batch {
        return refuse("batch tokens cannot be root tokens");
    }
    let without_parent = match &way {
        Way::Role(name, role) => {
            entry.role.clone_from(name);
            entry.bound_cidrs.clone_from(&role.token.bound_cidrs);
            role.orphan
        }
        _ if sent.bool("no_parent")?.unwrap_or(false) && !sudo => {
            return refuse("root or sudo privileges required to create orphan token");
        }
        Way::Orphan => true,
        Way::Child => sent.bool("no_parent")?.unwrap_or(false),
    };
    if !without_parent {
        entry.parent = parent_name;
        entry.entity_id.clone_from(&parent.entity_id);
        if role.is_none() {
            entry.bound_cidrs.clone_from(&parent.bound_cidrs);
        }
    }
    if let Some(entity) = alias_entity(cx, role)? {
        entry.entity_id = entity;
    }
    let (ttl, mut warnings) = lifetime(cx, role, &mut entry, sudo)?;
    if ttl.is_zero() {
        if parent.expires.is_some() {
            return refuse("expiring root tokens cannot create non-expiring root tokens");
        }
        entry.renewable = false;
        entry.bound_cidrs.clear();
    }
    for policy in &entry.policies {
        if !policies::exists(cx.txn, policy)? {
            warnings.push(format!("Policy {policy:?} does not exist"));
        }
    }
    let auth = token::issue(cx.txn, NewToken { entry, ttl, id }, cx.now)?;
    Ok(Response { auth: Some(Box::new(auth)), warnings, ..Response::empty() })
}

fn kind(sent: &Fields, role: Option<&Role>) -> Result<TokenKind, Refusal> {
    let asked = sent.string("type")?.unwrap_or_default();
    let kind = match (role.map(|role| role.token.kind), asked.as_str()) {
        (Some(TokenType::Service), _) => TokenKind::Service,
        (Some(TokenType::Batch), _) | (Some(TokenType::DefaultBatch), "") => TokenKind::Batch,
        (_, "" | "service") => TokenKind::Service,
        (_, "batch") => TokenKind::Batch,
        _ => return refuse("invalid 'token_type' value"),
    };
    if kind == TokenKind::Batch {
        for name in ["explicit_max_ttl", "period"] {
            if sent.duration(name)?.is_some_and(|span| !span.is_zero()) {
                return refuse(format!("batch tokens cannot have {name:?} set"));
            }
        }
        if sent.int("num_uses")?.is_some_and(|uses| uses != 0) {
            return refuse("batch tokens cannot have \"num_uses\" set");
        }
    }
    Ok(kind)
}

fn chosen_id(sent: &Fields, sudo: bool) -> Result<Option<String>, Refusal> {
    let Some(id) = sent.string("id")?.filter(|id| !id.is_empty()) else { return Ok(None) };
    if !sudo {
        return refuse("root or sudo privileges required to specify token id");
    }
    if id.starts_with(token::SERVICE_PREFIX) {
        return refuse("custom token ID cannot have the 'hvs.' prefix");
    }
    if id.starts_with("s.") {
        return refuse("custom token ID cannot have the 's.' prefix");
    }
    if id.contains('.') {
        return refuse("custom token ID cannot have a '.' in the value");
    }
    // What a header cannot carry, nobody could use.
    if !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return refuse("custom token ID must consist of printable ASCII characters without spaces");
    }
    Ok(Some(id))
}

fn display_name(sent: &Fields) -> Result<String, Refusal> {
    Ok(match sent.string("display_name")?.filter(|name| !name.is_empty()) {
        Some(name) => {
            let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' };
            let name: String = format!("token-{name}").chars().map(plain).collect();
            name.strip_suffix('-').unwrap_or(&name).to_owned()
        }
        None => "token".to_owned(),
    })
}

fn num_uses(sent: &Fields, role: Option<&Role>) -> Result<u32, Refusal> {
    let asked = count(sent, "num_uses").map_err(|_| Refusal::invalid("number of uses cannot be negative"))?;
    let limits = [asked.unwrap_or(0), role.map_or(0, |role| role.token.num_uses)];
    Ok(limits.into_iter().filter(|uses| *uses > 0).min().unwrap_or(0))
}

/// The path below the mount, which is how tokens of a role can be revoked together.
fn below(cx: &Context<'_, '_>, role: Option<&Role>) -> String {
    let below = cx.request.path.get(cx.mount.path.len()..).unwrap_or("").trim_end_matches('/');
    match role.map(|role| role.path_suffix.as_str()) {
        None | Some("") => below.to_owned(),
        Some(suffix) => format!("{below}/{suffix}"),
    }
}

fn chosen_policies(
    sent: &Fields,
    role: Option<&Role>,
    parent: &TokenEntry,
    sudo: bool,
) -> Result<Vec<String>, Refusal> {
    let asked = sent.strings("policies")?.unwrap_or_default();
    let without_default = sent.bool("no_default_policy")?.unwrap_or(false);
    let mut policies = match role.filter(|role| role.limits_policies()) {
        Some(role) => policies_of_role(role, &asked, parent, without_default)?,
        None if asked.is_empty() => policy::sanitize(&parent.policies),
        None => {
            let asked = policy::sanitize(asked);
            let has = |policy: &str| parent.policies.iter().any(|known| known == policy);
            if !sudo && !asked.iter().all(|policy| has(policy)) {
                return refuse("child policies must be subset of parent");
            }
            with_default(asked, !without_default && (sudo || has("default")))
        }
    };
    if without_default {
        policies.retain(|policy| policy != "default");
    }
    match policies.iter().find(|policy| !policy::is_assignable(policy)) {
        Some(policy) => refuse(format!("cannot assign policy {policy:?}")),
        None => Ok(policies),
    }
}

fn with_default(policies: Vec<String>, add: bool) -> Vec<String> {
    policy::sanitize(policies.iter().map(String::as_str).chain(add.then_some("default")))
}

/// A role that limits policies stands for itself: what it allows need not be the creator's.
fn policies_of_role(
    role: &Role,
    asked: &[String],
    parent: &TokenEntry,
    without_default: bool,
) -> Result<Vec<String>, Refusal> {
    let add = !without_default
        && !role.token.no_default_policy
        && !listed("default", &role.disallowed_policies, &role.disallowed_policies_glob);
    let limited = !role.allowed_policies.is_empty() || !role.allowed_policies_glob.is_empty();
    let allowed = with_default(role.allowed_policies.clone(), add);
    let chosen = match (asked.is_empty(), limited) {
        (false, _) => with_default(asked.to_vec(), add),
        (true, true) => allowed.clone(),
        (true, false) => with_default(parent.policies.clone(), add),
    };
    if limited && !chosen.iter().all(|policy| listed(policy, &allowed, &role.allowed_policies_glob)) {
        return refuse(format!(
            "token policies ({}) must be subset of the role's allowed policies ({}) or glob policies ({})",
            quoted(&chosen),
            quoted(&allowed),
            quoted(&role.allowed_policies_glob)
        ));
    }
    let forbidden =
        |policy: &&String| listed(policy, &role.disallowed_policies, &role.disallowed_policies_glob);
    match chosen.iter().find(forbidden) {
        Some(policy) => refuse(format!("token policy {policy:?} is disallowed by this role")),
        None => Ok(chosen),
    }
}

fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    format!("[{}]", names.join(" "))
}

fn alias_entity(cx: &mut Context<'_, '_>, role: Option<&Role>) -> Result<Option<String>, Refusal> {
    let alias = cx.fields().string("entity_alias")?.unwrap_or_default().to_lowercase();
    if alias.is_empty() {
        return Ok(None);
    }
    let Some(role) = role else {
        return refuse("'entity_alias' is only allowed in combination with token role");
    };
    let allowed = &role.allowed_entity_aliases;
    if !listed(&alias, allowed, allowed) {
        return refuse("invalid 'entity_alias' value");
    }
    let accessor = cx.mount.accessor.clone();
    let metadata = Default::default();
    let known = identity::Known { accessor: &accessor, name: &alias, metadata: &metadata, groups: None };
    let entity = identity::of_login(cx.txn, known, cx.now)?;
    match entity.disabled {
        true => Err(Refusal::denied("the entity that the alias is of is disabled")),
        false => Ok(Some(entity.id.clone())),
    }
}

/// How long the token lives; zero is for ever, which is for root tokens only.
fn lifetime(
    cx: &Context<'_, '_>,
    role: Option<&Role>,
    entry: &mut TokenEntry,
    sudo: bool,
) -> Result<(Duration, Vec<String>), Refusal> {
    let sent = cx.fields();
    let span = |name: &str| sent.duration(name).map(|span| span.unwrap_or_default().as_secs());
    let mut warnings = Vec::new();
    let asked_period = span("period")?;
    if asked_period > 0 && !sudo {
        return refuse("root or sudo privileges required to create periodic token");
    }
    let ttl = match span("ttl")? {
        0 => span("lease")?,
        ttl => ttl,
    };
    // A batch role sets neither; it could only be the creator's.
    let role = role.filter(|_| entry.kind == TokenKind::Service);
    let explicit = role.map_or(0, |role| role.token.explicit_max_ttl);
    entry.explicit_max_ttl = lesser(("Explicit max TTL", span("explicit_max_ttl")?, explicit), &mut warnings);
    let period = role.map_or(0, |role| role.token.period);
    entry.period = lesser(("Period", asked_period, period), &mut warnings);
    if entry.is_root() && ttl == 0 && entry.period == 0 {
        return Ok((Duration::from_secs(entry.explicit_max_ttl), warnings));
    }
    let granted = token::grant(
        &Wish {
            ttl: Duration::from_secs(ttl),
            period: Duration::from_secs(entry.period),
            explicit_max_ttl: Duration::from_secs(entry.explicit_max_ttl),
            ..Wish::at(cx.mount, cx.settings, cx.now)
        },
        cx.now,
    )?;
    warnings.extend(granted.warnings);
    Ok((granted.ttl, warnings))
}

/// The lesser of what the creator and the role say, where zero is nothing.
fn lesser((what, asked, role): (&str, u64, u64), warnings: &mut Vec<String>) -> u64 {
    match (asked, role) {
        (0, seconds) | (seconds, 0) => seconds,
        _ => {
            let least = asked.min(role);
            warnings.push(format!(
                "{what} specified both during creation call and in role; using the lesser value of {least} seconds"
            ));
            least
        }
    }
}
