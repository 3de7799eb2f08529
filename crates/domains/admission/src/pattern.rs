//! Overlay patterns: documents of the shape of a resource whose leaves are conditions and whose keys may be anchored.
//! <https://kyverno.io/docs/policy-types/cluster-policy/validate/#patterns>

mod scalar;

use crate::meter::{Meter, Spent};
use crate::wildcard;
pub(crate) use scalar::{Scalar, is_range};
use serde_json::{Map, Value};
use std::fmt::Write;

/// What an anchor around a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    /// `(key)`: where it does not match, the pattern does not apply.
    Condition,
    /// `<(key)`: where it does not match, the rule does not apply.
    Global,
    /// `X(key)`: the key is not there.
    Negation,
    /// `=(key)`: where the key is there, it matches.
    Equality,
    /// `^(key)`: at least one element of the list matches.
    Existence,
    /// `+(key)`: put in where it is not there; for mutations.
    Add,
}

/// The anchor of a key, and the key.
pub(crate) fn anchor(key: &str) -> (Option<Anchor>, &str) {
    let Some(inner) = key.strip_suffix(')') else { return (None, key) };
    let known = [
        ("(", Anchor::Condition),
        ("<(", Anchor::Global),
        ("X(", Anchor::Negation),
        ("=(", Anchor::Equality),
        ("^(", Anchor::Existence),
        ("+(", Anchor::Add),
    ];
    for (prefix, anchor) in known {
        if let Some(name) = inner.strip_prefix(prefix).filter(|name| !name.is_empty()) {
            return (Some(anchor), name);
        }
    }
    (None, key)
}

/// A key without its anchor.
pub(crate) fn unanchored(key: &str) -> &str {
    anchor(key).1
}

/// A pattern, compiled.
#[derive(Debug)]
pub(crate) enum Pattern {
    Map(Vec<Entry>),
    /// A list: its one mapping is for every element; its one scalar too; lists in it are element by element.
    Each(Box<Pattern>),
    List(Vec<Pattern>),
    Empty,
    Scalar(Scalar),
}

#[derive(Debug)]
pub(crate) struct Entry {
    anchor: Option<Anchor>,
    key: Box<str>,
    /// The key is of a label or an annotation and has wildcards.
    wild: bool,
    pattern: Pattern,
}

/// Why a resource does not match.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// It was not for this resource.
    Skip(String),
    /// It does not hold, at a path.
    Fail { path: String, why: String },
    /// Too costly.
    Spent,
}

impl From<Spent> for Mismatch {
    fn from(_: Spent) -> Mismatch {
        Mismatch::Spent
    }
}

type Matched = Result<(), Mismatch>;

impl Pattern {
    pub(crate) fn new(value: &Value) -> Pattern {
        Pattern::of(value, 0)
    }

    /// `labels`: 1 below metadata, 2 below its labels or annotations.
    fn of(value: &Value, labels: u8) -> Pattern {
        match value {
            Value::Object(map) => Pattern::Map(entries(map, labels)),
            Value::Array(list) => match list.first() {
                None => Pattern::Empty,
                Some(Value::Array(_)) => Pattern::List(list.iter().map(Pattern::new).collect()),
                Some(first) => Pattern::Each(Box::new(Pattern::new(first))),
            },
            scalar => Pattern::Scalar(Scalar::new(scalar)),
        }
    }

    /// Whether a resource matches.
    pub(crate) fn matches(&self, resource: &Value, meter: &Meter) -> Matched {
        let mut walk = Walk { missing: Vec::new(), meter };
        match walk.element(self, resource, &At::ROOT) {
            // An anchor whose key the resource has nowhere leaves it open what the failure means.
            Err(Mismatch::Fail { why, path })
                if !why.ends_with(NOT_ALLOWED) && walk.missing.iter().any(|(_, found)| !found) =>
            {
                let _ = path;
                Err(Mismatch::Fail { path: String::new(), why })
            }
            matched => matched,
        }
    }
}

const NOT_ALLOWED: &str = " is not allowed";

/// Anchors first; then what has anchors within; then the rest.
fn entries(map: &Map<String, Value>, labels: u8) -> Vec<Entry> {
    let (mut anchored, mut nested, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for (full, value) in map {
        let (anchor, key) = anchor(full);
        let below = match (labels, key) {
            (0, "metadata") => 1,
            (1, "labels" | "annotations") => 2,
            _ => 0,
        };
        let wild = labels == 2 && wildcard::is_wild(key);
        let pattern = match (anchor, value) {
            // Each of its mappings is matched by some element.
            (Some(Anchor::Existence), Value::Array(list)) => {
                Pattern::List(list.iter().map(Pattern::new).collect())
            }
            _ => Pattern::of(value, below),
        };
        let entry = Entry { anchor, key: key.into(), wild, pattern };
        match anchor {
            Some(
                Anchor::Condition | Anchor::Global | Anchor::Negation | Anchor::Equality | Anchor::Existence,
            ) => anchored.push(entry),
            _ if has_anchors(value) => nested.push(entry),
            _ => plain.push(entry),
        }
    }
    nested.reverse();
    anchored.into_iter().chain(nested).chain(plain).collect()
}

fn has_anchors(value: &Value) -> bool {
    match value {
        Value::Object(map) => map
            .iter()
            .any(|(key, value)| !matches!(anchor(key).0, None | Some(Anchor::Add)) || has_anchors(value)),
        Value::Array(list) => list.iter().any(has_anchors),
        _ => false,
    }
}

struct Walk<'w> {
    /// Which anchored keys were looked for, and whether any resource element had them.
    missing: Vec<(&'w str, bool)>,
    meter: &'w Meter,
}

/// Where a walk is. The way there is on the stack, for it is written only where something fails.
struct At<'p> {
    above: Option<&'p At<'p>>,
    step: Step<'p>,
}

enum Step<'p> {
    Root,
    Key(&'p str),
    Index(usize),
}

impl At<'_> {
    const ROOT: At<'static> = At { above: None, step: Step::Root };

    fn below<'p>(&'p self, step: Step<'p>) -> At<'p> {
        At { above: Some(self), step }
    }

    fn write(&self, text: &mut String) {
        if let Some(above) = self.above {
            above.write(text);
        }
        let _ = match self.step {
            Step::Root => write!(text, "/"),
            Step::Key(key) => write!(text, "{key}/"),
            Step::Index(index) => write!(text, "{index}/"),
        };
    }

    fn fail(&self, why: impl FnOnce(&str) -> String) -> Matched {
        let mut path = String::new();
        self.write(&mut path);
        Err(Mismatch::Fail { why: why(&path), path })
    }
}

impl<'w> Walk<'w> {
    fn element(&mut self, pattern: &'w Pattern, resource: &Value, at: &At<'_>) -> Matched {
        self.meter.spend(1)?;
        match (pattern, resource) {
            (Pattern::Map(entries), Value::Object(map)) => self.map(entries, map, at),
            (Pattern::Each(pattern), Value::Array(list)) => match &**pattern {
                Pattern::Scalar(scalar) => self.scalars(scalar, list, at),
                pattern => self.each(list.iter().map(|item| (pattern, item)), at),
            },
            (Pattern::List(patterns), Value::Array(list)) if list.len() < patterns.len() => at.fail(|_| {
                format!(
                    "array length mismatch: the resource has {} elements and the pattern {}",
                    list.len(),
                    patterns.len()
                )
            }),
            (Pattern::List(patterns), Value::Array(list)) => self.each(patterns.iter().zip(list), at),
            (Pattern::Empty, Value::Array(_)) => at.fail(|_| "the pattern's list is empty".to_owned()),
            (Pattern::Scalar(scalar), Value::Array(list)) => self.scalars(scalar, list, at),
            (Pattern::Scalar(scalar), value) if scalar.matches(value) => Ok(()),
            (Pattern::Scalar(scalar), value) => {
                at.fail(|path| format!("resource value '{value}' does not match '{scalar}' at path {path}"))
            }
            (_, value) => at.fail(|path| {
                format!("pattern and resource have different structures at path {path}: {}", kind(value))
            }),
        }
    }

    fn scalars(&mut self, scalar: &'w Scalar, list: &[Value], at: &At<'_>) -> Matched {
        self.meter.spend(list.len())?;
        match list.iter().find(|item| !scalar.matches(item)) {
            None => Ok(()),
            Some(item) => {
                at.fail(|path| format!("resource value '{item}' does not match '{scalar}' at path {path}"))
            }
        }
    }

    fn each<'v>(&mut self, pairs: impl Iterator<Item = (&'w Pattern, &'v Value)>, at: &At<'_>) -> Matched {
        let (mut applied, mut skipped) = (false, None);
        for (index, (pattern, item)) in pairs.enumerate() {
            match self.element(pattern, item, &at.below(Step::Index(index))) {
                Ok(()) => applied = true,
                Err(Mismatch::Skip(why)) => skipped = Some(why),
                failed => return failed,
            }
        }
        match skipped {
            Some(why) if !applied => Err(Mismatch::Skip(why)),
            _ => Ok(()),
        }
    }

    fn map(&mut self, entries: &'w [Entry], map: &Map<String, Value>, at: &At<'_>) -> Matched {
        for entry in entries {
            if matches!(entry.anchor, Some(Anchor::Condition | Anchor::Existence | Anchor::Negation)) {
                let found = map.contains_key(&*entry.key);
                match self.missing.iter_mut().find(|(key, _)| **key == *entry.key) {
                    Some((_, known)) => *known |= found,
                    None => self.missing.push((&entry.key, found)),
                }
            }
        }
        entries.iter().try_for_each(|entry| self.entry(entry, map, at))
    }

    fn entry(&mut self, entry: &'w Entry, map: &Map<String, Value>, at: &At<'_>) -> Matched {
        let wild = entry.wild.then(|| map.iter().find(|(key, _)| wildcard::matches(&entry.key, key)));
        let value = match wild {
            Some(found) => found.map(|(_, value)| value),
            None => map.get(&*entry.key),
        };
        self.anchored(entry, value, &at.below(Step::Key(&entry.key)))
    }

    fn anchored(&mut self, entry: &'w Entry, value: Option<&Value>, at: &At<'_>) -> Matched {
        match (entry.anchor, value) {
            (Some(Anchor::Negation), Some(_)) => at.fail(|path| format!("{path}{NOT_ALLOWED}")),
            (Some(Anchor::Negation | Anchor::Equality | Anchor::Global | Anchor::Existence), None) => Ok(()),
            (Some(Anchor::Equality), Some(value)) => self.element(&entry.pattern, value, at),
            (Some(Anchor::Condition), None) => Err(Mismatch::Skip(
                "conditional anchor mismatch: the key does not exist in the resource".to_owned(),
            )),
            (Some(anchor @ (Anchor::Condition | Anchor::Global)), Some(value)) => {
                self.element(&entry.pattern, value, at).map_err(|mismatch| match mismatch {
                    Mismatch::Fail { why, .. } | Mismatch::Skip(why) => {
                        let kind = if anchor == Anchor::Global { "global" } else { "conditional" };
                        Mismatch::Skip(format!("{kind} anchor mismatch: {why}"))
                    }
                    Mismatch::Spent => Mismatch::Spent,
                })
            }
            (Some(Anchor::Existence), Some(value)) => self.existence(&entry.pattern, value, at),
            (None | Some(Anchor::Add), value) => match (&entry.pattern, value) {
                (Pattern::Scalar(Scalar::Present), Some(value)) if !value.is_null() => Ok(()),
                (Pattern::Scalar(Scalar::Present), _) => {
                    at.above.unwrap_or(at).fail(|path| format!("{path}{} not found", entry.key))
                }
                (pattern, value) => self.element(pattern, value.unwrap_or(&Value::Null), at),
            },
        }
    }

    /// Every pattern of the list is matched by some element.
    fn existence(&mut self, pattern: &'w Pattern, value: &Value, at: &At<'_>) -> Matched {
        let (Pattern::List(patterns), Value::Array(list)) = (pattern, value) else {
            return at.fail(|_| "an existence anchor is for lists of mappings".to_owned());
        };
        patterns.iter().try_for_each(|pattern| self.some(pattern, list, at))
    }

    fn some(&mut self, pattern: &'w Pattern, list: &[Value], at: &At<'_>) -> Matched {
        for (index, item) in list.iter().enumerate() {
            match self.element(pattern, item, &at.below(Step::Index(index))) {
                Ok(()) => return Ok(()),
                Err(Mismatch::Spent) => return Err(Mismatch::Spent),
                Err(_) => {}
            }
        }
        at.fail(|path| format!("existence anchor validation failed at path {path}"))
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing is there",
        Value::Object(_) => "a mapping is there",
        Value::Array(_) => "a list is there",
        _ => "a scalar is there",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(pattern: Value, resource: Value) -> &'static str {
        match Pattern::new(&pattern).matches(&resource, &Meter::default()) {
            Ok(()) => "pass",
            Err(Mismatch::Skip(_)) => "skip",
            Err(Mismatch::Fail { .. }) => "fail",
            Err(Mismatch::Spent) => "spent",
        }
    }

    #[test]
    fn anchors() {
        let containers = |list: Value| json!({"spec": {"containers": list}});
        let tagged = containers(json!([{"(image)": "*:latest", "imagePullPolicy": "!Always"}]));
        assert_eq!(check(tagged, containers(json!([{"image": "a:1"}]))), "skip");
        let tagged = containers(json!([{"(image)": "*:latest", "imagePullPolicy": "Always"}]));
        assert_eq!(check(tagged, containers(json!([{"image": "a:1"}, {"image": "b:latest"}]))), "fail");
        let not = json!({"spec": {"X(hostNetwork)": "null"}});
        assert_eq!(check(not, json!({"spec": {"hostNetwork": true}})), "fail");
        let equal = json!({"spec": {"=(hostNetwork)": false}});
        assert_eq!(check(equal, json!({"spec": {}})), "pass");
        let some = json!({"spec": {"^(containers)": [{"name": "a"}]}});
        assert_eq!(check(some, containers(json!([{"name": "b"}, {"name": "a"}]))), "pass");
        let some = json!({"spec": {"^(containers)": [{"name": "a"}]}});
        assert_eq!(check(some, containers(json!([{"name": "b"}]))), "fail");
        let global = json!({"kind": "Pod", "<(name)": "a", "x": "1"});
        assert_eq!(check(global, json!({"kind": "Pod", "name": "b"})), "skip");
    }

    #[test]
    fn labels_with_wildcards() {
        let pattern = json!({"metadata": {"labels": {"app.kubernetes.io/*": "?*"}}});
        assert_eq!(check(pattern, json!({"metadata": {"labels": {"app.kubernetes.io/name": "x"}}})), "pass");
        let pattern = json!({"metadata": {"labels": {"app.kubernetes.io/*": "?*"}}});
        assert_eq!(check(pattern, json!({"metadata": {"labels": {"other": "x"}}})), "fail");
    }
}
