//! The keys of namespaces, and whom to seal for.

use super::keys::{self, Keys};
use super::usage;
use crate::context::Context;
use crate::refusal::Refusal;
use crate::response::Response;
use keyward_intent::names;
use serde_json::{Value, json};

fn namespace(cx: &Context<'_, '_>) -> Result<String, Refusal> {
    let namespace = cx.param("namespace");
    names::label("the namespace", namespace).map_err(|why| Refusal::invalid(why.0))?;
    Ok(namespace.to_owned())
}

pub(super) fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Response::keys(&cx.list(keys::NAMESPACES)?)
}

pub(super) fn exists(cx: &mut Context<'_, '_>) -> Result<bool, Refusal> {
    let namespace = namespace(cx)?;
    Ok(keys::find(cx, &namespace)?.is_some())
}

pub(super) fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let namespace = namespace(cx)?;
    let keys = keys::find(cx, &namespace)?.ok_or(Refusal::missing())?;
    let usage = usage::of(cx, &namespace)?;
    let shown = keys.versions.iter().map(|(version, key)| {
        let needed = usage.0.get(version).copied().unwrap_or(0);
        let shown = json!({
            "recipient": key.recipient,
            "id": key.id,
            "created": key.created.to_string(),
            // Objects that no newer version opens.
            "objects": needed,
        });
        (version.to_string(), shown)
    });
    let legacy = keys::legacy(cx, &namespace)?;
    Response::data(&json!({
        "namespace": namespace,
        "recipient": latest(&keys),
        "latest_version": keys.latest,
        "min_version": keys.oldest(),
        "versions": shown.collect::<serde_json::Map<_, _>>(),
        "zenlock_recipients": legacy.iter().map(|key| &key.recipient).collect::<Vec<_>>(),
        "objects": usage.all(),
        // The oldest version that some object needs: what is below may be trimmed.
        "oldest_needed": usage.0.keys().find(|version| **version > 0).copied().unwrap_or(keys.latest),
    }))
}

fn latest(keys: &Keys) -> &str {
    keys.versions.get(&keys.latest).map_or("", |key| &key.recipient)
}

pub(super) fn create(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let namespace = namespace(cx)?;
    if keys::find(cx, &namespace)?.is_none() {
        keys::change(cx, &namespace, true, 1)?;
    }
    if cx.fields().bool("zenlock")?.unwrap_or(false) && keys::legacy(cx, &namespace)?.is_empty() {
        keys::add_legacy(cx, &namespace, None)?;
    }
    read(cx)
}

pub(super) fn rotate(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let namespace = namespace(cx)?;
    let keys = keys::find(cx, &namespace)?.ok_or(Refusal::missing())?;
    keys::change(cx, &namespace, true, keys.oldest())?;
    read(cx)
}

pub(super) fn trim(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let namespace = namespace(cx)?;
    let keys = keys::find(cx, &namespace)?.ok_or(Refusal::missing())?;
    let min = cx.fields().int("min_version")?.and_then(|min| u64::try_from(min).ok());
    let min = min
        .filter(|min| (1..=keys.latest).contains(min))
        .ok_or_else(|| Refusal::invalid(format!("min_version is from 1 to {}, the latest", keys.latest)))?;
    let needed = usage::of(cx, &namespace)?.below(min);
    if needed > 0 {
        return Err(Refusal::invalid(format!(
            "{needed} registered objects open with versions below {min} only: seal them anew for the latest recipient, \
             and apply them"
        )));
    }
    keys::change(cx, &namespace, false, min)?;
    read(cx)
}

pub(super) fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let namespace = namespace(cx)?;
    let objects = usage::of(cx, &namespace)?.all();
    if objects > 0 {
        return Err(Refusal::invalid(format!(
            "{objects} objects are registered in {namespace}: delete them first, for nothing opens them without the key"
        )));
    }
    keys::remove(cx, &namespace);
    usage::forget(cx, &namespace);
    Ok(Response::empty())
}

/// Whom to seal for, in every namespace: what stands in `.keyward.yaml`.
pub(super) fn recipients(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let mut recipients = serde_json::Map::new();
    let mut text = String::from("recipients:\n");
    for namespace in cx.list(keys::NAMESPACES)? {
        if let Some(keys) = keys::find(cx, &namespace)? {
            text.push_str(&format!("  {namespace}: {}\n", latest(&keys)));
            recipients.insert(namespace, Value::from(latest(&keys)));
        }
    }
    Response::data(&json!({ "recipients": recipients, "yaml": text }))
}

/// The namespace of a path that also takes `*`, for all.
fn namespace_or_any(cx: &Context<'_, '_>) -> Result<String, Refusal> {
    match cx.param("namespace") {
        keys::ANY => Ok(keys::ANY.to_owned()),
        _ => namespace(cx),
    }
}

pub(super) fn read_legacy(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let namespace = namespace_or_any(cx)?;
    let keys = keys::legacy(cx, &namespace)?;
    match keys.is_empty() {
        true => Err(Refusal::missing()),
        false => Response::data(
            &json!({ "recipients": keys.iter().map(|key| &key.recipient).collect::<Vec<_>>() }),
        ),
    }
}

pub(super) fn import_legacy(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let namespace = namespace_or_any(cx)?;
    let text = zeroize::Zeroizing::new(cx.fields().required("identity")?);
    let recipient = keys::add_legacy(cx, &namespace, Some(&text))?;
    let response = Response::data(&json!({ "recipient": recipient }))?;
    Ok(match namespace.as_str() {
        keys::ANY => response.warn(
            "this identity opens ZenLocks of every namespace, and a ZenLock is bound to none: give each namespace its own",
        ),
        _ => response,
    })
}

pub(super) fn delete_legacy(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let namespace = namespace_or_any(cx)?;
    let needed = usage::of(cx, &namespace)?.0.get(&0).copied().unwrap_or(0);
    if needed > 0 {
        return Err(Refusal::invalid(format!(
            "{needed} ZenLocks of {namespace} open with it: delete them first"
        )));
    }
    keys::remove_legacy(cx, &namespace);
    Ok(Response::empty())
}
