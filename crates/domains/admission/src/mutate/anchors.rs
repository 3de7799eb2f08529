//! The anchors of a strategic merge patch, resolved against the object: conditions choose, additions fill in.

use crate::meter::Meter;
use crate::pattern::{Anchor, Mismatch, Pattern, anchor};
use serde_json::{Map, Value};

/// Why a patch is not for an object.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unmet {
    Condition,
    Spent,
}

/// Leaves only what is to be merged.
pub(super) fn resolve(patch: &mut Value, object: &Value, meter: &Meter) -> Result<(), Unmet> {
    walk(patch, Some(object), meter)?;
    if let Value::Object(map) = patch {
        let keys: Vec<String> = map.keys().cloned().collect();
        for key in keys {
            let condition = is_condition(&key);
            if map.get_mut(&key).is_some_and(|value| strip(value, condition)) {
                map.remove(&key);
            }
        }
    }
    Ok(())
}

fn is_condition(key: &str) -> bool {
    matches!(anchor(key).0, Some(Anchor::Condition | Anchor::Global))
}

fn is_anchored(key: &str) -> bool {
    matches!(anchor(key).0, Some(Anchor::Condition | Anchor::Global | Anchor::Add))
}

fn has(value: &Value, wanted: &dyn Fn(&str) -> bool) -> bool {
    match value {
        Value::Object(map) => map.iter().any(|(key, value)| wanted(key) || has(value, wanted)),
        Value::Array(list) => list.iter().any(|value| has(value, wanted)),
        _ => false,
    }
}

fn walk(patch: &mut Value, object: Option<&Value>, meter: &Meter) -> Result<(), Unmet> {
    meter.spend(1).map_err(|_| Unmet::Spent)?;
    match patch {
        Value::Object(map) => {
            additions(map, object);
            conditions(map, object, meter)?;
            for (key, value) in map.iter_mut().filter(|(key, _)| !is_anchored(key)) {
                walk(value, object.and_then(|object| object.get(key)), meter)?;
            }
            Ok(())
        }
        Value::Array(list) if list.first().is_some_and(Value::is_object) => elements(list, object, meter),
        _ => Ok(()),
    }
}

/// `+(key)` is the key where the object has none, and nothing where it has one. How many there were.
fn additions(map: &mut Map<String, Value>, object: Option<&Value>) -> usize {
    let keys: Vec<String> = map.keys().filter(|key| anchor(key).0 == Some(Anchor::Add)).cloned().collect();
    for full in &keys {
        let Some(value) = map.remove(full) else { continue };
        let key = anchor(full).1;
        if object.and_then(|object| object.get(key)).is_none() {
            map.insert(key.to_owned(), value);
        }
    }
    keys.len()
}

fn conditions(map: &mut Map<String, Value>, object: Option<&Value>, meter: &Meter) -> Result<(), Unmet> {
    for (full, value) in map.iter_mut().filter(|(key, _)| is_condition(key)) {
        let found = object.and_then(|object| object.get(anchor(full).1)).ok_or(Unmet::Condition)?;
        let added = value.as_object_mut().map_or(0, |inner| additions(inner, Some(found)));
        if added > 0 {
            continue;
        }
        match Pattern::new(value).matches(found, meter) {
            Ok(()) => {}
            Err(Mismatch::Spent) => return Err(Unmet::Spent),
            Err(_) => return Err(Unmet::Condition),
        }
    }
    Ok(())
}

/// An element with anchors becomes one for each element of the object that it is for, by name.
fn elements(list: &mut Vec<Value>, object: Option<&Value>, meter: &Meter) -> Result<(), Unmet> {
    let mut made = Vec::new();
    for element in list.iter_mut() {
        if !has(element, &is_anchored) {
            continue;
        }
        let global = has(element, &|key| anchor(key).0 == Some(Anchor::Global));
        let (mut passed, mut failed) = (false, false);
        for found in object.and_then(Value::as_array).into_iter().flatten() {
            let mut copy = element.clone();
            match walk(&mut copy, Some(found), meter) {
                Err(Unmet::Condition) => {
                    failed = true;
                    continue;
                }
                Err(Unmet::Spent) => return Err(Unmet::Spent),
                Ok(()) => passed = true,
            }
            if let Some(name) = found.get("name").filter(|name| !name.is_null() && *name != "")
                && !strip(&mut copy, true)
            {
                copy["name"] = name.clone();
                made.push(copy);
            }
        }
        if global && failed && !passed {
            return Err(Unmet::Condition);
        }
        if object.is_none() {
            match walk(element, None, meter) {
                Err(Unmet::Condition) => {}
                walked => walked?,
            }
        }
    }
    list.extend(made);
    Ok(())
}

/// Takes conditions out; true where nothing is left to merge.
fn strip(value: &mut Value, scalar: bool) -> bool {
    match value {
        Value::Object(map) => strip_map(map),
        Value::Array(list) => {
            let before = list.len();
            list.retain_mut(|element| !has(element, &is_anchored) && !strip(element, false));
            list.is_empty() && before > 0
        }
        _ => scalar,
    }
}

fn strip_map(map: &mut Map<String, Value>) -> bool {
    let conditions: Vec<String> = map.keys().filter(|key| is_condition(key)).cloned().collect();
    let mut kept = false;
    for full in &conditions {
        if map.get_mut(full).is_some_and(|value| strip(value, true)) {
            map.remove(full);
        } else {
            kept = true;
        }
    }
    if kept {
        for full in &conditions {
            if let Some(value) = map.remove(full) {
                map.insert(anchor(full).1.to_owned(), value);
            }
        }
    }
    map.retain(|_, value| !strip(value, false));
    map.is_empty()
}
