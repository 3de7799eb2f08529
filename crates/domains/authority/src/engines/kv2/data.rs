//! `data` and `subkeys`: a secret's values.

use super::meta::{Limits, Meta, Version, VersionShown, load, mount_limits, path, save, value_key};
use crate::context::Context;
use crate::fields::Fields;
use crate::refusal::Refusal;
use crate::response::Response;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

/// Old versions removed by one write at most; what is left goes with the next.
const PRUNED_A_WRITE: u64 = 40;

#[derive(Serialize)]
struct Read<'a> {
    data: Option<&'a RawValue>,
    metadata: VersionShown<'a>,
}

#[derive(Serialize)]
struct Subkeys<'a> {
    metadata: VersionShown<'a>,
    subkeys: Option<Value>,
}

pub(super) fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = path(cx)?;
    let meta = load(cx, &path)?.ok_or(Refusal::missing())?;
    let (number, version) = asked_version(cx, &meta)?;
    if !version.is_live(cx.now) {
        let gone = Response::data(&Read { data: None, metadata: meta.shown(number, version) })?;
        return Ok(Response { status: Some(404), ..gone });
    }
    let text = value_text(cx, &path, number)?;
    let data: &RawValue = serde_json::from_str(&text).map_err(|_| corrupt(cx, &path, number))?;
    Response::data(&Read { data: Some(data), metadata: meta.shown(number, version) })
}

pub(super) fn subkeys(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = path(cx)?;
    let depth = match cx.fields().int("depth")?.unwrap_or(0) {
        0 => usize::MAX,
        depth => usize::try_from(depth).map_err(|_| Refusal::invalid("depth must not be negative"))?,
    };
    let meta = load(cx, &path)?.ok_or(Refusal::missing())?;
    let (number, version) = asked_version(cx, &meta)?;
    if !version.is_live(cx.now) {
        let gone = Response::data(&Subkeys { metadata: meta.shown(number, version), subkeys: None })?;
        return Ok(Response { status: Some(404), ..gone });
    }
    let mut value = parse_value(cx, &path, number)?;
    hide_leaves(&mut value, depth);
    Response::data(&Subkeys { metadata: meta.shown(number, version), subkeys: Some(value) })
}

/// Leaves the keys of objects and makes everything else null; lists count as leaves.
fn hide_leaves(value: &mut Value, depth: usize) {
    match value {
        Value::Object(map) if depth > 0 && !map.is_empty() => {
            map.values_mut().for_each(|value| hide_leaves(value, depth - 1));
        }
        Value::Object(map) if map.is_empty() && depth > 0 => {}
        other => *other = Value::Null,
    }
}

fn asked_version<'m>(cx: &Context<'_, '_>, meta: &'m Meta) -> Result<(u64, &'m Version), Refusal> {
    let asked = cx.fields().int("version")?.unwrap_or(0);
    let asked = u64::try_from(asked).map_err(|_| Refusal::invalid("version must not be negative"))?;
    meta.version(asked).ok_or(Refusal::missing())
}

fn corrupt(cx: &Context<'_, '_>, path: &str, number: u64) -> Refusal {
    Refusal::Corrupt(cx.key(&value_key(path, number)))
}

fn value_text(cx: &mut Context<'_, '_>, path: &str, number: u64) -> Result<Zeroizing<String>, Refusal> {
    let stored = cx.get(&value_key(path, number))?.ok_or_else(|| corrupt(cx, path, number))?;
    String::from_utf8(stored).map(Zeroizing::new).map_err(|_| corrupt(cx, path, number))
}

fn parse_value(cx: &mut Context<'_, '_>, path: &str, number: u64) -> Result<Value, Refusal> {
    let text = value_text(cx, path, number)?;
    serde_json::from_str(&text).map_err(|_| corrupt(cx, path, number))
}

pub(super) fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = path(cx)?;
    let data = sent_data(cx.fields())?.to_owned();
    let meta = load(cx, &path)?;
    let meta = meta.map_or_else(|| Meta::new(cx.now), |meta| (*meta).clone());
    let limits = mount_limits(cx)?;
    check_and_set(cx.fields(), &meta, &limits)?;
    add_version(cx, &path, meta, &limits, data.get())
}

pub(super) fn patch(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = path(cx)?;
    let sent = sent_data(cx.fields())?;
    let change: Value = serde_json::from_str(sent.get()).map_err(|_| Refusal::invalid("no data provided"))?;
    let meta = load(cx, &path)?.ok_or(Refusal::missing())?;
    let limits = mount_limits(cx)?;
    check_and_set(cx.fields(), &meta, &limits)?;
    let (number, version) = meta.version(0).ok_or(Refusal::missing())?;
    if !version.is_live(cx.now) {
        let gone = Response::data(&Read { data: None, metadata: meta.shown(number, version) })?;
        return Ok(Response { status: Some(404), ..gone });
    }
    let mut value = parse_value(cx, &path, number)?;
    merge(&mut value, change);
    let text = Zeroizing::new(value.to_string());
    add_version(cx, &path, (*meta).clone(), &limits, &text)
}

/// JSON merge patch (RFC 7396).
fn merge(target: &mut Value, change: Value) {
    let Value::Object(change) = change else {
        *target = change;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(members) = target else { return };
    for (name, value) in change {
        if value.is_null() {
            members.remove(&name);
        } else {
            merge(members.entry(name).or_insert(Value::Null), value);
        }
    }
}

fn sent_data(fields: &Fields) -> Result<&RawValue, Refusal> {
    let data = fields.raw("data").ok_or_else(|| Refusal::invalid("no data provided"))?;
    match data.get().starts_with('{') {
        true => Ok(data),
        false => Err(Refusal::invalid("data must be an object: {\"data\": {\"key\": \"value\"}}")),
    }
}

fn check_and_set(fields: &Fields, meta: &Meta, mount: &Limits) -> Result<(), Refusal> {
    let options = match fields.raw("options") {
        Some(options) => Fields::parse(options.get().as_bytes())?,
        None => Fields::default(),
    };
    let cas = options.int("cas").map_err(|_| Refusal::invalid("error parsing check-and-set parameter"))?;
    match cas {
        None if meta.limits.cas_required || mount.cas_required => {
            Err(Refusal::invalid("check-and-set parameter required for this call"))
        }
        Some(cas) if u64::try_from(cas) != Ok(meta.current) => {
            Err(Refusal::invalid("check-and-set parameter did not match the current version"))
        }
        _ => Ok(()),
    }
}

fn add_version(
    cx: &mut Context<'_, '_>,
    path: &str,
    mut meta: Meta,
    limits: &Limits,
    text: &str,
) -> Result<Response, Refusal> {
    let number = meta.current + 1;
    let version =
        Version { created: cx.now.nanos(), deletion: meta.deletion(limits, cx.now), destroyed: false };
    meta.current = number;
    meta.updated = cx.now.nanos();
    meta.versions.insert(number, version.clone());
    let keep_from = number.saturating_sub(meta.max_versions(limits) - 1);
    let pruned: Vec<u64> =
        meta.versions.range(..keep_from).map(|(old, _)| *old).take(PRUNED_A_WRITE as usize).collect();
    for old in pruned {
        meta.versions.remove(&old);
        cx.delete(&value_key(path, old));
    }
    let first = meta.versions.keys().next().copied().unwrap_or(number);
    // Vault shows 0 until a version has been pruned.
    meta.oldest = if first == 1 { 0 } else { first };
    cx.put(&value_key(path, number), text.as_bytes())?;
    save(cx, path, &meta)?;
    Response::data(&meta.shown(number, &version))
}

pub(super) fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = path(cx)?;
    let Some(meta) = load(cx, &path)? else { return Ok(Response::empty()) };
    let mut meta = (*meta).clone();
    let now = cx.now;
    if let Some(version) = meta.versions.get_mut(&meta.current).filter(|version| version.is_live(now)) {
        version.deletion = Some(now.nanos());
        meta.updated = now.nanos();
        save(cx, &path, &meta)?;
    }
    Ok(Response::empty())
}
