//! Certificates: what may be asked for, and signing it.

use super::super::named;
use super::ca;
use super::role::Role;
use crate::context::Context;
use crate::identity;
use crate::policy::{Subject, fill};
use crate::refusal::Refusal;
use crate::response::Response;
use keyward_core::random;
use keyward_crypto::keys::Key;
use keyward_crypto::sha256;
use keyward_crypto::ssh::{Error, Kind, PublicKey, Template, private_text};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(super) fn sign(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let role = role(cx)?;
    let line = cx.fields().required("public_key")?;
    let key = PublicKey::read(&line)
        .map_err(|why| Refusal::invalid(format!("failed to parse public_key as SSH key: {why}")))?;
    certify(cx, &role, &key, None)
}

pub(super) fn issue(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let role = role(cx)?;
    let kind = ca::new_key_type(cx.fields(), "rsa")?;
    let key = ca::generate(cx, kind)?;
    let public =
        PublicKey::of(&key).ok_or_else(|| Refusal::Internal("a key without a public part".to_owned()))?;
    certify(cx, &role, &public, Some(&key))
}

fn role(cx: &mut Context<'_, '_>) -> Result<Arc<Role>, Refusal> {
    let unknown = Refusal::invalid(format!("Unknown role: {}", cx.param("role")));
    let role = named::wanted::<Role>(cx)?.ok_or(unknown)?;
    match role.passwords {
        Some(_) => {
            Err(Refusal::invalid("the role is of the key type otp, which signs no keys: ask ssh/creds"))
        }
        None => Ok(role),
    }
}

/// Signs `key`. `made` is it with its private part, where it was made here.
fn certify(
    cx: &mut Context<'_, '_>,
    role: &Role,
    key: &PublicKey,
    made: Option<&Key>,
) -> Result<Response, Refusal> {
    role.accepts(key)
        .map_err(|why| Refusal::invalid(format!("public_key failed to meet the key requirements: {why}")))?;
    let entity = cx.caller()?.token.entity_id.clone();
    let holder = if entity.is_empty() { None } else { identity::holder(cx.txn, &entity)? };
    let subject = holder.map(|holder| holder.subject());
    let host = is_host(cx, role)?;
    let principals = principals(cx, role, host, subject.as_ref())?;
    let (extensions, incomplete) = extensions(cx, role, subject.as_ref())?;
    let critical_options = critical_options(cx, role)?;
    let key_id = key_id(cx, role, key)?;
    let now = cx.now.secs();
    let authority = ca::required(cx)?;
    let template = Template {
        serial: u64::from_be_bytes(random::bytes(cx.random())),
        host,
        key_id: &key_id,
        principals: &principals,
        valid_after: now.saturating_sub(role.not_before),
        valid_before: now.saturating_add(ttl(cx, role)?.as_secs()),
        critical_options: &critical_options,
        extensions: &extensions,
        nonce: random::bytes(cx.random()),
    };
    let signed = template.sign(key, &authority.key, role.hash()).map_err(|why| match why {
        Error::Use(_) => Refusal::Internal(format!("the certificate could not be signed: {why}")),
        why => Refusal::invalid(why.to_string()),
    })?;
    let mut shown = json!({
        "serial_number": format!("{:x}", template.serial),
        "signed_key": format!("{signed}\n"),
    });
    if let Some(made) = made {
        let text = private_text(made);
        let text = text.ok_or_else(|| Refusal::Internal("a key without its private part".to_owned()))?;
        shown["private_key"] = json!(text.expose());
        shown["private_key_type"] = json!(type_name(key));
    }
    let response = Response::data(&shown)?;
    Ok(match incomplete {
        false => response,
        true => response.warn(
            "default_extension templating enabled with at least one extension requiring identity templating. However, this \
             request lacked identity entity information, causing one or more extensions to be skipped from the generated \
             certificate.",
        ),
    })
}

fn type_name(key: &PublicKey) -> &'static str {
    match key.kind() {
        Kind::Rsa(_) => "rsa",
        Kind::Ecdsa(_) => "ec",
        Kind::Ed25519 | Kind::Token => "ed25519",
    }
}

fn is_host(cx: &Context<'_, '_>, role: &Role) -> Result<bool, Refusal> {
    let kind = cx.fields().string("cert_type")?.filter(|kind| !kind.is_empty());
    match kind.as_deref().unwrap_or("user") {
        "user" if role.users => Ok(false),
        "host" if role.hosts => Ok(true),
        kind @ ("user" | "host") => {
            Err(Refusal::invalid(format!("cert_type '{kind}' is not allowed by role")))
        }
        _ => Err(Refusal::invalid("cert_type must be either 'user' or 'host'")),
    }
}

fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty())
}

/// Each name of a list, filled in where the role says so. Split before it is filled in: a comma in somebody's metadata
/// makes no two names. A name that cannot be filled in is left out.
fn filled(text: &str, template: bool, subject: Option<&Subject>) -> Result<Vec<String>, Refusal> {
    let bad = |why: String| Refusal::invalid(format!("the role's template cannot be filled in: {why}"));
    let fill = |name: &str| match template {
        true => fill(name, subject).map_err(bad),
        false => Ok(Some(name.to_owned())),
    };
    listed(text).filter_map(|name| fill(name).transpose()).collect()
}

fn principals(
    cx: &Context<'_, '_>,
    role: &Role,
    host: bool,
    subject: Option<&Subject>,
) -> Result<Vec<String>, Refusal> {
    let (allowed_text, template) = match host {
        true => (&role.allowed_domains, role.allowed_domains_template),
        false => (&role.allowed_users, role.allowed_users_template),
    };
    let asked = cx.fields().string("valid_principals")?.unwrap_or_default();
    let mut wanted: Vec<String> = listed(&asked).map(str::to_owned).collect();
    if wanted.is_empty() && !host {
        wanted = filled(&role.default_user, role.default_user_template, subject)?;
    }
    wanted.sort_unstable();
    wanted.dedup();
    if wanted.is_empty() {
        return match role.empty_principals {
            true => Ok(wanted),
            // However many names the role allows: without any, a certificate is good for all there will ever be.
            false => Err(Refusal::invalid(
                "empty valid principals not allowed by role: set valid_principals, or the role's default_user",
            )),
        };
    }
    let allowed = filled(allowed_text, template, subject)?;
    if allowed.is_empty() {
        return Err(Refusal::invalid("role is not configured to allow any principals"));
    }
    let below = |name: &str, domain: &str| {
        name.strip_suffix(domain).and_then(|rest| rest.strip_suffix('.')).is_some_and(|rest| !rest.is_empty())
    };
    let fits = |name: &String| match (allowed_text == "*", host) {
        (true, _) => true,
        (false, false) => allowed.contains(name),
        (false, true) => allowed
            .iter()
            .any(|domain| role.bare_domains && domain == name || role.subdomains && below(name, domain)),
    };
    match wanted.iter().find(|name| !fits(name)) {
        Some(name) => Err(Refusal::invalid(format!("{name} is not a valid value for valid_principals"))),
        None => Ok(wanted),
    }
}

fn critical_options(cx: &Context<'_, '_>, role: &Role) -> Result<BTreeMap<String, String>, Refusal> {
    let asked = cx.fields().pairs("critical_options")?.unwrap_or_default();
    if asked.is_empty() {
        return Ok(role.default_critical_options.clone());
    }
    let allowed: Vec<&str> = listed(&role.allowed_critical_options).collect();
    let odd: Vec<&String> = asked.keys().filter(|name| !allowed.contains(&name.as_str())).collect();
    match allowed.is_empty() || odd.is_empty() {
        true => Ok(asked),
        false => Err(Refusal::invalid(format!("critical options not on allowed list: {odd:?}"))),
    }
}

/// The extensions, and whether some were left out for want of an identity.
fn extensions(
    cx: &Context<'_, '_>,
    role: &Role,
    subject: Option<&Subject>,
) -> Result<(BTreeMap<String, String>, bool), Refusal> {
    let asked = cx.fields().pairs("extensions")?.unwrap_or_default();
    if !asked.is_empty() {
        let allowed: Vec<&str> = listed(&role.allowed_extensions).collect();
        let odd: Vec<&String> = asked.keys().filter(|name| !allowed.contains(&name.as_str())).collect();
        return match role.allowed_extensions == "*" || odd.is_empty() {
            true => Ok((asked, false)),
            false => Err(Refusal::invalid(format!("extensions {odd:?} are not on allowed list"))),
        };
    }
    if !role.default_extensions_template {
        return Ok((role.default_extensions.clone(), false));
    }
    let mut extensions = BTreeMap::new();
    for (name, value) in &role.default_extensions {
        let filled = fill(value, subject);
        let filled = filled
            .map_err(|why| Refusal::invalid(format!("template '{value}' could not be rendered -> {why}")))?;
        extensions.extend(filled.map(|filled| (name.clone(), filled)));
    }
    let incomplete = extensions.len() < role.default_extensions.len();
    Ok((extensions, incomplete))
}

fn key_id(cx: &Context<'_, '_>, role: &Role, key: &PublicKey) -> Result<String, Refusal> {
    if let Some(asked) = cx.fields().string("key_id")?.filter(|asked| !asked.is_empty()) {
        return match role.user_key_ids {
            true => Ok(asked),
            false => Err(Refusal::invalid("setting key_id is not allowed by role")),
        };
    }
    let name = &cx.caller()?.token.display_name;
    let format = match role.key_id_format.as_str() {
        "" if name.is_empty() => "vault-{{public_key_hash}}",
        "" => "vault-{{token_display_name}}-{{public_key_hash}}",
        format => format,
    };
    // The name last: what stands in it is not to be filled in.
    Ok(format
        .replace("{{public_key_hash}}", &hex::encode(sha256(&key.wire())))
        .replace("{{role_name}}", cx.param("role"))
        .replace("{{token_display_name}}", name))
}

fn ttl(cx: &Context<'_, '_>, role: &Role) -> Result<Duration, Refusal> {
    let or = |seconds: u64, otherwise: Duration| match seconds {
        0 => otherwise,
        seconds => Duration::from_secs(seconds),
    };
    let most = or(role.max_ttl, cx.max_ttl());
    match cx.fields().duration("ttl")?.filter(|asked| !asked.is_zero()) {
        Some(asked) if asked > most => {
            Err(Refusal::invalid(format!("ttl is larger than maximum allowed {}", most.as_secs())))
        }
        Some(asked) => Ok(asked),
        None => Ok(or(role.ttl, cx.default_ttl()).min(most)),
    }
}
