//! `identity/`: entities, groups, their aliases, and what is asked of them.

mod aliases;
mod entities;
mod group_aliases;
mod groups;
mod lookup;
mod mfa;
mod oidc;
#[cfg(test)]
mod tests;

use crate::context::Context;
use crate::identity::Named;
use crate::mounts;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::route::Backend;
use keyward_core::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

pub(crate) use oidc::rotate as rotate_oidc;

/// See the module.
pub static BACKEND: Backend = Backend {
    kind: "identity",
    about: "Who is known, across auth methods, and the groups they are in.",
    routes: &[
        entities::ROUTES,
        aliases::ROUTES,
        groups::ROUTES,
        group_aliases::ROUTES,
        lookup::ROUTES,
        mfa::ROUTES,
        oidc::KEYS,
        oidc::ROLES,
        oidc::TOKENS,
        oidc::SCOPES,
        oidc::ASSIGNMENTS,
        oidc::CLIENTS,
        oidc::PROVIDERS,
        oidc::AUTHORIZE,
        oidc::TOKEN,
        oidc::USERINFO,
    ],
    ..Backend::EMPTY
};

/// Lists longer than this come without what is known of each key: a listing must not cost what reading all costs.
const MOST_TOLD: usize = 1000;

/// A moment of nanoseconds since the epoch, as clients read it.
fn time(nanos: u64) -> Value {
    json!(Timestamp::from_nanos(nanos).to_string())
}

/// What a mount is, for descriptions of aliases: its path and type, if it is there.
fn tell_mount(
    cx: &mut Context<'_, '_>,
    accessor: &str,
    told: &mut Map<String, Value>,
) -> Result<(), Refusal> {
    if let Some(mount) = mounts::table(cx.txn)?.by_accessor(accessor) {
        told.insert("mount_path".to_owned(), json!(mount.path));
        told.insert("mount_type".to_owned(), json!(mount.kind));
    }
    Ok(())
}

/// Refuses accessors of no auth mount.
fn check_mount(cx: &mut Context<'_, '_>, accessor: &str) -> Result<(), Refusal> {
    match mounts::table(cx.txn)?.by_accessor(accessor) {
        Some(mount) if mount.is_auth() => Ok(()),
        _ => Err(Refusal::invalid(format!("invalid mount accessor {accessor:?}"))),
    }
}

/// What a list says of one key: whose it is, and what is known of it.
type Told = Option<(String, Map<String, Value>)>;

/// A list with what `tell` says of each key.
fn list_with(
    cx: &mut Context<'_, '_>,
    keys: Vec<String>,
    tell: impl Fn(&mut Context<'_, '_>, &str) -> Result<Told, Refusal>,
) -> Result<Response, Refusal> {
    if keys.is_empty() {
        return Err(Refusal::missing());
    }
    let mut info = Map::new();
    if keys.len() <= MOST_TOLD {
        for key in &keys {
            if let Some((of, told)) = tell(cx, key)? {
                info.insert(of, told.into());
            }
        }
    }
    Response::data(&json!({ "keys": keys, "key_info": info }))
}

/// The names in the index `directory`, as they were given.
fn names(cx: &mut Context<'_, '_>, directory: &str) -> Result<Vec<String>, Refusal> {
    let mut names = Vec::new();
    for key in cx.list_at(directory)? {
        names.extend(cx.txn.get_json::<Named>(&[directory, &key].concat())?.map(|named| named.name));
    }
    Ok(names)
}

/// The id in the path or in the body.
fn sent(cx: &Context<'_, '_>, name: &str) -> Result<String, Refusal> {
    match cx.param(name) {
        "" => Ok(cx.fields().string(name)?.unwrap_or_default()),
        captured => Ok(captured.to_owned()),
    }
}

/// A map of texts, or nothing where none was ever set.
fn pairs(pairs: Option<&BTreeMap<String, String>>) -> Value {
    pairs.map_or(Value::Null, |pairs| json!(pairs))
}

/// A list, or nothing where it is empty, as clients know those that are never set by hand.
fn list_or_null(list: &[String]) -> Value {
    if list.is_empty() { Value::Null } else { json!(list) }
}
