//! `metadata`: what is known of a secret besides its values.

use super::meta::{Meta, load, meta_key, path, save, value_key, values_prefix};
use crate::context::{Context, Effect};
use crate::jobs::{self, Job};
use crate::refusal::Refusal;
use crate::response::Response;
use keyward_core::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Entries of custom metadata, bytes of a key, bytes of a value: Vault's limits.
const MOST_ENTRIES: usize = 64;
const MOST_KEY: usize = 128;
const MOST_VALUE: usize = 512;
/// Versions removed with their metadata at once; more are left to a job.
const INLINE_VERSIONS: usize = 40;

pub(super) fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = path(cx)?;
    let meta = load(cx, &path)?.ok_or(Refusal::missing())?;
    let versions: Map<String, Value> =
        meta.versions.iter().map(|(number, version)| (number.to_string(), version.show())).collect();
    let mut shown = meta.limits.show();
    shown["created_time"] = json!(Timestamp::from_nanos(meta.created).to_string());
    shown["updated_time"] = json!(Timestamp::from_nanos(meta.updated).to_string());
    shown["current_version"] = json!(meta.current);
    shown["oldest_version"] = json!(meta.oldest);
    shown["custom_metadata"] = json!(meta.custom);
    shown["versions"] = Value::Object(versions);
    Response::data(&shown)
}

pub(super) fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let directory = meta_key(cx.param("path"));
    Response::keys(&cx.list(&directory)?)
}

pub(super) fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = path(cx)?;
    let meta = load(cx, &path)?;
    let mut meta = meta.map_or_else(|| Meta::new(cx.now), |meta| (*meta).clone());
    meta.limits.update(cx.fields())?;
    if let Some(value) = cx.fields().value("custom_metadata")? {
        meta.custom = Some(checked(custom_of(value)?)?);
    }
    meta.updated = cx.now.nanos();
    save(cx, &path, &meta)?;
    Ok(Response::empty())
}

pub(super) fn patch(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = path(cx)?;
    let meta = load(cx, &path)?.ok_or(Refusal::missing())?;
    let mut meta = (*meta).clone();
    meta.limits.update(cx.fields())?;
    if let Some(change) = cx.fields().value("custom_metadata")? {
        let Value::Object(change) = change else { return Err(not_texts()) };
        let mut custom = meta.custom.unwrap_or_default();
        for (name, value) in change {
            match value {
                Value::Null => drop(custom.remove(&name)),
                Value::String(text) => drop(custom.insert(name, text)),
                _ => return Err(not_texts()),
            }
        }
        meta.custom = Some(checked(custom)?);
    }
    meta.updated = cx.now.nanos();
    save(cx, &path, &meta)?;
    Ok(Response::empty())
}

fn not_texts() -> Refusal {
    Refusal::invalid("custom_metadata validation failed: write an object whose values are texts")
}

fn custom_of(value: Value) -> Result<BTreeMap<String, String>, Refusal> {
    let Value::Object(map) = value else { return Err(not_texts()) };
    map.into_iter()
        .map(|(name, value)| match value {
            Value::String(text) => Ok((name, text)),
            _ => Err(not_texts()),
        })
        .collect()
}

fn checked(custom: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Refusal> {
    let refuse = |why: String| Err(Refusal::invalid(format!("custom_metadata validation failed: {why}")));
    if custom.len() > MOST_ENTRIES {
        return refuse(format!(
            "payload must contain at most {MOST_ENTRIES} keys, provided {}",
            custom.len()
        ));
    }
    for (name, value) in &custom {
        let printable = |text: &str| !text.chars().any(char::is_control);
        if name.is_empty() || name.len() > MOST_KEY {
            return refuse(format!("length of key {name:?} must be from 1 to {MOST_KEY} bytes"));
        }
        if value.is_empty() || value.len() > MOST_VALUE {
            return refuse(format!("length of the value of {name:?} must be from 1 to {MOST_VALUE} bytes"));
        }
        if !printable(name) || !printable(value) {
            return refuse(format!("key {name:?} or its value has unprintable characters"));
        }
    }
    Ok(custom)
}

pub(super) fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = path(cx)?;
    let Some(meta) = load(cx, &path)? else { return Ok(Response::empty()) };
    cx.delete(&meta_key(&path));
    if meta.versions.len() <= INLINE_VERSIONS {
        for number in meta.versions.keys() {
            cx.delete(&value_key(&path, *number));
        }
    } else {
        let prefix = cx.key(&values_prefix(&path));
        jobs::add(cx.txn, &Job::Wipe { prefix })?;
        cx.effects.push(Effect::RunJobs);
    }
    Ok(Response::empty())
}
