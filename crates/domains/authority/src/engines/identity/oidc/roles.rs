//! `identity/oidc/role`: what identity tokens say, and for whom.

use super::{name, store, template};
use crate::context::Context;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Kind, Route, field};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_core::random;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The directory of roles, below the mount.
const ROLES: &str = "oidc/role/";

pub(in super::super) const ROUTES: &[Route] = &[
    Route {
        pattern: "oidc/role",
        operations: &[(Operation::List, list)],
        help: "Lists the roles of identity tokens.",
        ..Route::EMPTY
    },
    Route {
        pattern: "oidc/role/{name}",
        operations: &[(Operation::Read, read), (Operation::Update, write), (Operation::Delete, delete)],
        exists: Some(exists),
        fields: &[
            field("key", Kind::Text, "The key that signs the tokens."),
            field("template", Kind::Text, "More claims, as JSON with places to fill in; may be in base64."),
            field("client_id", Kind::Text, "Whom the tokens are for; made up if there is none."),
            field("ttl", Kind::Duration, "How long a token counts; 24h."),
        ],
        help: "Shows, creates, changes and removes a role of identity tokens.",
        ..Route::EMPTY
    },
];

/// One role.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Role {
    pub(super) key: String,
    pub(super) template: String,
    pub(super) client_id: String,
    /// Seconds.
    pub(super) ttl: u64,
}

impl Default for Role {
    fn default() -> Role {
        Role { key: String::new(), template: String::new(), client_id: String::new(), ttl: 24 * 3600 }
    }
}

fn path(cx: &Context<'_, '_>) -> String {
    format!("{ROLES}{}", name(cx))
}

/// The role that the path names.
pub(super) fn find(cx: &mut Context<'_, '_>) -> Result<Option<Arc<Role>>, Refusal> {
    let path = path(cx);
    cx.built_json(&path)
}

fn exists(cx: &mut Context<'_, '_>) -> Result<bool, Refusal> {
    let path = path(cx);
    cx.exists(&path)
}

fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Response::keys(&cx.list(ROLES)?)
}

fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let role = find(cx)?.ok_or(Refusal::missing())?;
    Response::data(&*role)
}

fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let mut role = find(cx)?.map(Arc::unwrap_or_clone).unwrap_or_default();
    let text = |name: &str| cx.fields().string(name);
    role.key = text("key")?.unwrap_or(role.key);
    if role.key.is_empty() {
        return Err(Refusal::invalid("the key parameter is required"));
    }
    if let Some(sent) = text("template")? {
        role.template = decoded(sent);
    }
    template::check(&role.template, cx.now).map_err(Refusal::invalid)?;
    role.client_id = text("client_id")?.unwrap_or(role.client_id);
    if role.client_id.is_empty() {
        role.client_id = random::base62(cx.random(), 26);
    }
    if let Some(ttl) = cx.fields().duration("ttl")? {
        role.ttl = ttl.as_secs();
    }
    let key = store(cx).load(cx.txn, &role.key)?;
    let key = key.ok_or_else(|| Refusal::invalid(format!("cannot find key {:?}", role.key)))?;
    if role.ttl > key.verification_ttl {
        return Err(Refusal::invalid(
            "a role's token ttl cannot be longer than the verification_ttl of the key it references",
        ));
    }
    let path = path(cx);
    cx.put_json(&path, &role)?;
    Ok(Response::empty())
}

/// Templates may come in base64, which no JSON object is.
pub(super) fn decoded(sent: String) -> String {
    let plain = STANDARD.decode(&sent).ok().and_then(|plain| String::from_utf8(plain).ok());
    plain.unwrap_or(sent)
}

fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = path(cx);
    cx.delete(&path);
    Ok(Response::empty())
}

/// The roles that a key signs for, by name.
fn of_key(cx: &mut Context<'_, '_>, key: &str) -> Result<Vec<(String, Role)>, Refusal> {
    let directory = cx.key(ROLES);
    cx.txn.unrelied(|txn| {
        let mut found = Vec::new();
        for name in txn.list(&directory, "", usize::MAX)? {
            match txn.get_json::<Role>(&[&directory, name.as_str()].concat())? {
                Some(role) if role.key == key => found.push((name, role)),
                _ => {}
            }
        }
        Ok(found)
    })
}

/// Refuses to let tokens outlive the published key that they are verified with.
pub(super) fn check_key_ttl(cx: &mut Context<'_, '_>, key: &str, verification: u64) -> Result<(), Refusal> {
    match of_key(cx, key)?.iter().any(|(_, role)| role.ttl > verification) {
        true => Err(Refusal::invalid(format!(
            "unable to update key {key:?} because it is currently referenced by one or more roles with a token ttl \
             greater than {verification} seconds"
        ))),
        false => Ok(()),
    }
}

/// Refuses to leave a role without its key.
pub(super) fn check_unused(cx: &mut Context<'_, '_>, key: &str) -> Result<(), Refusal> {
    let names: Vec<String> = of_key(cx, key)?.into_iter().map(|(name, _)| name).collect();
    match names.is_empty() {
        true => Ok(()),
        false => Err(Refusal::invalid(format!(
            "unable to delete key {key:?} because it is currently referenced by these roles: {}",
            names.join(", ")
        ))),
    }
}
