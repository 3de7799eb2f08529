//! What differs between two versions of a sealed object, without any value.

use keyward_intent::SealedSecret;
use serde_json::Value;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which field or item.
    pub field: String,
    /// What it was; nothing when it was not there. Of an item, its seal.
    pub old: Option<String>,
    /// What it is.
    pub new: Option<String>,
}

/// The differences, fields first. Ciphertext alone is no difference: a new sealing of the same value has the same seal.
pub fn between(old: Option<&SealedSecret>, new: Option<&SealedSecret>) -> Vec<Change> {
    let (before, after) = (fields(old), fields(new));
    let mut names: Vec<&String> = before.iter().chain(&after).map(|(name, _)| name).collect();
    names.dedup();
    let mut changes: Vec<Change> = Vec::new();
    for name in names {
        let find = |list: &[(String, String)]| {
            list.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone())
        };
        let (was, is) = (find(&before), find(&after));
        if was != is && !changes.iter().any(|change| change.field == *name) {
            changes.push(Change { field: name.clone(), old: was, new: is });
        }
    }
    changes
}

fn fields(object: Option<&SealedSecret>) -> Vec<(String, String)> {
    let Some(object) = object else { return Vec::new() };
    let spec = &object.spec;
    let mut out = vec![
        ("namespace".to_owned(), object.namespace().to_owned()),
        ("name".to_owned(), object.metadata.name.clone()),
        ("version".to_owned(), spec.version.to_string()),
    ];
    if let Ok(Value::Object(bounds)) = serde_json::to_value(&spec.bounds) {
        for (name, value) in bounds {
            let shown = match value {
                Value::String(text) => text,
                other => other.to_string(),
            };
            out.push((format!("bounds.{name}"), shown));
        }
    }
    out.push(("recipients".to_owned(), spec.recipients.join(" ")));
    if let Some(threshold) = &spec.threshold {
        let groups: Vec<&str> = threshold.shares.iter().map(|share| share.group.as_str()).collect();
        out.push(("threshold".to_owned(), format!("{} of {}", threshold.required, groups.join(" "))));
    }
    if let Some(author) = spec.author.as_deref().and_then(|line| crate::AuthorKey::read(line).ok()) {
        out.push(("author".to_owned(), author.fingerprint()));
    }
    for (key, item) in &spec.items {
        let seal: String = item.seal.chars().take(12).collect();
        out.push((format!("item {key}"), format!("version {}, seal {seal}", item.version)));
    }
    out
}
