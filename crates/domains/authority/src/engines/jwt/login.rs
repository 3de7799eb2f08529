//! Logging in.

use super::super::named;
use super::claims;
use super::config::{self, Config};
use super::role::Role;
use crate::context::Context;
use crate::jwt::{Bad, Token};
use crate::refusal::Refusal;
use crate::response::{Login, Response};
use serde_json::Value;
use std::collections::BTreeMap;

pub(super) fn login(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let config = config::find(cx)?.ok_or_else(|| {
        Refusal::invalid("could not load configuration: write the config of this auth method first")
    })?;
    let name = match cx.fields().string("role")?.unwrap_or_default() {
        name if name.is_empty() => config.default_role().to_owned(),
        name => name.to_lowercase(),
    };
    if name.is_empty() {
        return Err(Refusal::invalid("missing role"));
    }
    let Some(role) = named::find::<Role>(cx, &name)? else {
        return Err(Refusal::invalid(format!("role {name:?} could not be found")));
    };
    if role.oidc {
        return Err(Refusal::invalid("role with oidc role_type is not allowed: log in through a browser"));
    }
    let text = cx.fields().string("jwt")?.unwrap_or_default();
    if text.is_empty() {
        return Err(Refusal::invalid("missing token"));
    }
    role.token.check_address(cx.request)?;
    let invalid = |why: Bad| Refusal::invalid(format!("error validating token: {why}"));
    let token = Token::parse(&text).map_err(invalid)?;
    // What costs nothing first: keys are fetched, and signatures checked, for tokens that could do.
    token.check_times(cx.now, role.leeways()).map_err(invalid)?;
    check_registered(&token, &role, &config)?;
    let keys = config.keys(cx, Some(&token))?.map_err(|why| {
        Refusal::denied(format!("the keys that tokens must be signed by cannot be had: {why}"))
    })?;
    keys.verify(&token, config.algorithms()).map_err(invalid)?;
    Ok(Response::login(answer(&role, name, &token)?))
}

/// Issuer, subject and audience.
fn check_registered(token: &Token<'_>, role: &Role, config: &Config) -> Result<(), Refusal> {
    let invalid = |why: &str| Err(Refusal::invalid(format!("error validating token: {why}")));
    if !config.believes(token.text("iss")) {
        return invalid("invalid issuer (iss) claim");
    }
    if !role.subject.is_empty() && token.text("sub") != Some(&role.subject) {
        return invalid("invalid subject (sub) claim");
    }
    let audiences = token.audiences();
    if role.audiences.is_empty() && !audiences.is_empty() {
        return Err(Refusal::invalid("audience claim found in JWT but no audiences bound to the role"));
    }
    if !role.audiences.is_empty() && !role.audiences.iter().any(|bound| audiences.contains(&bound.as_str())) {
        return invalid("invalid audience (aud) claim");
    }
    Ok(())
}

/// The login of a proved token, if its claims are those the role wants.
pub(super) fn answer(role: &Role, name: String, token: &Token<'_>) -> Result<Login, Refusal> {
    claims::check(&role.claims, &token.claims, role.globs)
        .map_err(|why| Refusal::invalid(format!("error validating claims: {why}")))?;
    let user = match role.user_claim_json_pointer {
        true => claims::find(&token.claims, &role.user_claim),
        false => token.claims.get(&role.user_claim).map(std::borrow::Cow::Borrowed),
    };
    let user = match user.as_deref() {
        None | Some(Value::Null) => {
            return Err(Refusal::invalid(format!("claim {:?} not found in token", role.user_claim)));
        }
        Some(Value::String(user)) if !user.is_empty() => user.clone(),
        Some(_) => {
            return Err(Refusal::invalid(format!(
                "claim {:?} could not be converted to string",
                role.user_claim
            )));
        }
    };
    let mut metadata = BTreeMap::new();
    for (claim, target) in &role.mappings {
        match claims::find(&token.claims, claim).as_deref() {
            None => {}
            Some(Value::String(text)) => {
                metadata.insert(target.clone(), text.clone());
            }
            Some(_) => {
                return Err(Refusal::invalid(format!("error converting claim '{claim}' to string")));
            }
        }
    }
    metadata.insert("role".to_owned(), name.clone());
    Ok(Login {
        attested: role.attests_pods(),
        groups: groups(role, token)?,
        display_name: user.clone(),
        alias: user,
        alias_metadata: metadata.clone(),
        metadata,
        role: name,
        ..role.token.login()
    })
}

/// The groups that the token lists, where the role says in which claim. Providers leave the claim out where there are
/// none.
fn groups(role: &Role, token: &Token<'_>) -> Result<Option<Vec<String>>, Refusal> {
    let name = &role.groups_claim;
    if name.is_empty() {
        return Ok(None);
    }
    let Some(claim) = claims::find(&token.claims, name) else { return Ok(Some(Vec::new())) };
    let listed = claims::values(&claim)
        .ok_or_else(|| Refusal::invalid(format!("{name:?} claim could not be converted to string list")))?;
    let group = |value: &Value| match value {
        Value::String(group) => Ok(group.clone()),
        _ => Err(Refusal::invalid(format!("a value in the groups claim {name:?} is not a string"))),
    };
    let mut groups = listed.iter().map(group).collect::<Result<Vec<String>, Refusal>>()?;
    groups.retain(|group| !group.is_empty());
    Ok(Some(groups))
}
