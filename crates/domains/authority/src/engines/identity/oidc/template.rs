//! Claims written as JSON with `{{identity.…}}` and `{{time.…}}` in it. What comes from an identity is written as
//! JSON, so it cannot change the claims around it.

use crate::identity::Holder;
use keyward_core::{Timestamp, parse_duration};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Claims that a template cannot set: they are the token's own.
pub(super) const RESERVED: [&str; 10] =
    ["iat", "aud", "exp", "iss", "sub", "namespace", "nonce", "auth_time", "at_hash", "c_hash"];

/// The longest template, in bytes.
const LONGEST: usize = 64 * 1024;

/// The claims of `template` for `holder`; for nobody, every value is empty. The error says what is wrong.
pub(super) fn claims(
    template: &str,
    holder: Option<&Holder>,
    now: Timestamp,
) -> Result<Map<String, Value>, String> {
    if template.is_empty() {
        return Ok(Map::new());
    }
    let text = fill(template, holder, now).map_err(|why| format!("error parsing template: {why}"))?;
    match serde_json::from_str(&text) {
        Ok(Value::Object(claims)) => Ok(claims),
        _ => Err("error parsing template JSON: it is not an object once its values are filled in".to_owned()),
    }
}

/// Refuses what is no template, or sets reserved claims.
pub(super) fn check(template: &str, now: Timestamp) -> Result<(), String> {
    if template.len() > LONGEST {
        return Err(format!("the template is too long: at most {LONGEST} bytes are allowed"));
    }
    match claims(template, None, now)?.keys().find(|claim| RESERVED.contains(&claim.as_str())) {
        Some(claim) => {
            Err(format!("top level key {claim:?} not allowed. Restricted keys: {}", RESERVED.join(", ")))
        }
        None => Ok(()),
    }
}

fn fill(template: &str, holder: Option<&Holder>, now: Timestamp) -> Result<String, String> {
    let unbalanced = || "unbalanced templating characters".to_owned();
    let mut parts = template.split("{{");
    let first = parts.next().unwrap_or_default();
    let mut text = first.to_owned();
    if first.contains("}}") {
        return Err(unbalanced());
    }
    for part in parts {
        let (selector, literal) = part.split_once("}}").ok_or_else(unbalanced)?;
        // The braces of nested objects may stand together behind a value.
        text.push_str(&value(selector.trim(), holder, now)?);
        text.push_str(literal);
    }
    Ok(text)
}

fn value(selector: &str, holder: Option<&Holder>, now: Timestamp) -> Result<String, String> {
    let unknown = || format!("no value could be found for {selector:?}");
    if let Some(rest) = selector.strip_prefix("time.") {
        return time(rest, now).ok_or_else(unknown);
    }
    let rest = selector.strip_prefix("identity.entity.").ok_or_else(unknown)?;
    let entity = holder.map(|holder| &holder.entity);
    if let Some(rest) = rest.strip_prefix("aliases.") {
        let (accessor, field) = rest.split_once('.').ok_or_else(|| "invalid alias selector".to_owned())?;
        let alias = entity.and_then(|entity| entity.alias_at(accessor));
        return described(
            field,
            (alias.map(|alias| alias.id.as_str()), alias.map(|alias| alias.name.as_str())),
            alias.map(|alias| &alias.metadata),
            Some(alias.and_then(|alias| alias.custom_metadata.as_ref())),
        )
        .ok_or_else(unknown);
    }
    let groups = |field: fn(&crate::identity::Group) -> &str| -> Vec<&str> {
        holder.into_iter().flat_map(Holder::groups).map(|group| field(group)).collect()
    };
    match rest {
        "groups.names" => json(&groups(|group| &group.name)),
        "groups.ids" => json(&groups(|group| &group.id)),
        field => described(
            field,
            (entity.map(|entity| entity.id.as_str()), entity.map(|entity| entity.name.as_str())),
            entity.and_then(|entity| entity.metadata.as_ref()),
            None,
        ),
    }
    .ok_or_else(unknown)
}

/// One field of an entity or alias. `custom` is there for what can have custom metadata.
fn described(
    field: &str,
    (id, name): (Option<&str>, Option<&str>),
    metadata: Option<&BTreeMap<String, String>>,
    custom: Option<Option<&BTreeMap<String, String>>>,
) -> Option<String> {
    let pairs = |pairs: Option<&BTreeMap<String, String>>, key: Option<&str>| match (pairs, key) {
        (pairs, Some(key)) => json(pairs.and_then(|pairs| pairs.get(key)).map_or("", |value| value)),
        (Some(pairs), None) => json(pairs),
        (None, None) => Some("{}".to_owned()),
    };
    match (field.split_once('.'), field) {
        (_, "id") => json(id.unwrap_or_default()),
        (_, "name") => json(name.unwrap_or_default()),
        (_, "metadata") => pairs(metadata, None),
        (_, "custom_metadata") => pairs(custom?, None),
        (Some(("metadata", key)), _) => pairs(metadata, Some(key)),
        (Some(("custom_metadata", key)), _) => pairs(custom?, Some(key)),
        _ => None,
    }
}

fn json(value: &(impl Serialize + ?Sized)) -> Option<String> {
    serde_json::to_string(value).ok()
}

/// `now`, `now.plus.DURATION` or `now.minus.DURATION`, in seconds since the epoch.
fn time(selector: &str, now: Timestamp) -> Option<String> {
    let seconds = match selector.strip_prefix("now")? {
        "" => now.secs(),
        rest => {
            let (operator, span) = rest.strip_prefix('.')?.split_once('.')?;
            let span = parse_duration(span).ok()?.as_secs();
            match operator {
                "plus" => now.secs().saturating_add(span),
                "minus" => now.secs().saturating_sub(span),
                _ => return None,
            }
        }
    };
    Some(seconds.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Alias, Entity, Group};
    use serde_json::json;
    use std::sync::Arc;

    const NOW: Timestamp = Timestamp::from_secs(1000);

    fn holder() -> Holder {
        let pairs = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let alias = Alias {
            id: "a1".to_owned(),
            name: "ann".to_owned(),
            mount_accessor: "auth_x".to_owned(),
            metadata: pairs("role", "r"),
            custom_metadata: Some(pairs("desk", "7")),
            ..Alias::default()
        };
        let entity = Entity {
            id: "e1".to_owned(),
            name: "Ann \"quoted\"".to_owned(),
            metadata: Some(pairs("team", "red\",\"sub\":\"x")),
            aliases: vec![alias],
            ..Entity::default()
        };
        let group = Group { id: "g1".to_owned(), name: "admins".to_owned(), ..Group::default() };
        Holder {
            entity: Arc::new(entity),
            direct: vec![Arc::new(group)],
            inherited: Vec::new(),
            policies: Vec::new(),
            state: String::new(),
        }
    }

    #[test]
    fn every_value_is_filled_in_as_json() {
        let template = r#"{"who": {"id": {{identity.entity.id}}, "name": {{ identity.entity.name }}},
            "team": {{identity.entity.metadata.team}}, "all": {{identity.entity.metadata}},
            "groups": {{identity.entity.groups.names}}, "ids": {{identity.entity.groups.ids}},
            "user": {{identity.entity.aliases.auth_x.name}}, "role": {{identity.entity.aliases.auth_x.metadata.role}},
            "desk": {{identity.entity.aliases.auth_x.custom_metadata.desk}},
            "other": {{identity.entity.aliases.auth_y.name}}, "now": {{time.now}}, "then": {{time.now.plus.1h}},
            "before": {{time.now.minus.100}}, "nested": {"a": {"b": {{identity.entity.metadata.none}}}}}"#;
        let claims = claims(template, Some(&holder()), NOW).unwrap();
        assert_eq!(
            Value::Object(claims),
            json!({
                "who": {"id": "e1", "name": "Ann \"quoted\""}, "team": "red\",\"sub\":\"x",
                "all": {"team": "red\",\"sub\":\"x"}, "groups": ["admins"], "ids": ["g1"], "user": "ann",
                "role": "r", "desk": "7", "other": "", "now": 1000, "then": 4600, "before": 900,
                "nested": {"a": {"b": ""}},
            })
        );
        assert_eq!(check(template, NOW), Ok(()));
        assert_eq!(check("", NOW), Ok(()));
    }

    #[test]
    fn mistakes_are_told() {
        for (template, why) in [
            ("{", "not an object"),
            ("[]", "not an object"),
            (r#"{"a": {{identity.entity.id}"#, "unbalanced"),
            (r#"{"a": identity.entity.id}}"#, "unbalanced"),
            (
                r#"{"a": {{identity.entity.nothing}}}"#,
                "no value could be found for \"identity.entity.nothing\"",
            ),
            (r#"{"a": {{identity.entity.custom_metadata.x}}}"#, "no value could be found"),
            (r#"{"a": {{time.now.times.2}}}"#, "no value could be found"),
            (r#"{"sub": "x"}"#, "top level key \"sub\" not allowed"),
        ] {
            let refused = check(template, NOW).unwrap_err();
            assert!(refused.contains(why), "{template}: {refused}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(template in "(\\{|\\}|\"|:|a|identity\\.entity\\.|name|time\\.now\\.plus\\.|1h| ){0,20}") {
            let _ = claims(&template, Some(&holder()), NOW);
        }
    }
}
