//! Claims, and what a role wants of them.

use crate::glob;
use serde_json::{Map, Number, Value};
use std::borrow::Cow;

/// The claim `name`: at a JSON pointer (RFC 6901) if it begins with a slash. One audience reads as a list of one.
pub(super) fn find<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<Cow<'c, Value>> {
    let found = match name.strip_prefix('/') {
        None => claims.get(name)?,
        Some(pointer) => {
            let (first, rest) =
                pointer.split_once('/').map_or((pointer, None), |(first, rest)| (first, Some(rest)));
            let first = claims.get(&first.replace("~1", "/").replace("~0", "~"))?;
            match rest {
                None => first,
                Some(rest) => first.pointer(&format!("/{rest}"))?,
            }
        }
    };
    match found {
        Value::Null => None,
        Value::String(_) if name == "aud" => Some(Cow::Owned(Value::Array(vec![found.clone()]))),
        found => Some(Cow::Borrowed(found)),
    }
}

/// One value or several, as providers write them.
pub(super) fn values(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(several) => Some(several),
        Value::String(_) | Value::Bool(_) | Value::Number(_) => Some(std::slice::from_ref(value)),
        _ => None,
    }
}

/// Numbers are compared by their value, without what is behind the point, as other implementations of these roles do.
fn whole(number: &Number) -> Option<i64> {
    number.as_i64().or_else(|| number.as_f64().map(|number| number as i64))
}

fn matches(wanted: &Value, actual: &Value, globs: bool) -> bool {
    match (wanted, actual) {
        (Value::String(wanted), Value::String(actual)) if globs => glob::matches(wanted, actual),
        (Value::Number(wanted), Value::Number(actual)) => {
            whole(wanted).is_some() && whole(wanted) == whole(actual)
        }
        (wanted, actual) => !globs && wanted == actual,
    }
}

/// Whether the claims have one of the values wanted for each of `bound`; else what is wrong.
pub(super) fn check(
    bound: &Map<String, Value>,
    claims: &Map<String, Value>,
    globs: bool,
) -> Result<(), String> {
    for (name, wanted) in bound {
        let actual = find(claims, name).ok_or_else(|| format!("claim {name:?} is missing"))?;
        let actual = values(&actual)
            .ok_or_else(|| format!("the claim {name:?} is not a string, bool, int or list"))?;
        let wanted = values(wanted).unwrap_or_default();
        if !wanted.iter().any(|wanted| actual.iter().any(|actual| matches(wanted, actual, globs))) {
            return Err(format!("claim {name:?} does not match any associated bound claim values"));
        }
    }
    Ok(())
}

/// Whether `bound` can be held against claims at all; else what is wrong.
pub(super) fn check_bound(bound: &Map<String, Value>, globs: bool) -> Result<(), String> {
    for (name, wanted) in bound {
        let wanted = values(wanted)
            .filter(|wanted| wanted.iter().all(|one| !one.is_array() && !one.is_object() && !one.is_null()))
            .ok_or_else(|| format!("bound claim {name:?} is not a string, bool, int or list"))?;
        if globs && !wanted.iter().all(Value::is_string) {
            return Err("claim is not a string or list".to_owned()
                + &format!(": {name:?} with bound_claims_type glob"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn claims_are_found_by_name_or_pointer() {
        let claims = object(json!({"a": 1, "b": {"c/d": ["x"]}, "aud": "one", "/odd": 2, "none": null}));
        for (name, wanted) in [
            ("a", Some(json!(1))),
            ("/a", Some(json!(1))),
            ("/b/c~1d/0", Some(json!("x"))),
            ("/b/c~1d/1", None),
            ("/missing/x", None),
            ("/", None),
            ("none", None),
            ("aud", Some(json!(["one"]))),
        ] {
            assert_eq!(find(&claims, name).map(Cow::into_owned), wanted, "{name}");
        }
    }

    #[test]
    fn one_of_the_values_is_enough() {
        let claims =
            object(json!({"s": "main", "l": ["a", "b"], "n": 3, "f": 3.0, "t": true, "o": {"p": "q"}}));
        for (bound, globs, wanted) in [
            (json!({"s": "main"}), false, true),
            (json!({"s": ["dev", "main"]}), false, true),
            (json!({"s": "ma*"}), false, false),
            (json!({"s": "ma*"}), true, true),
            (json!({"l": "b"}), false, true),
            (json!({"l": ["c"]}), false, false),
            (json!({"n": 3, "f": 3, "t": true}), false, true),
            (json!({"n": "3"}), false, false),
            (json!({"/o/p": "q"}), false, true),
            (json!({"o": "q"}), false, false),
            (json!({"gone": "x"}), false, false),
            (json!({"s": "main", "gone": "x"}), false, false),
        ] {
            assert_eq!(check(&object(bound.clone()), &claims, globs).is_ok(), wanted, "{bound} {globs}");
        }
    }
}
