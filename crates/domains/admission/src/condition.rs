//! Conditions of preconditions and denials: a key, an operator and a value.
//! <https://kyverno.io/docs/policy-types/cluster-policy/preconditions/>

use crate::context::View;
use crate::jmespath::{Error, print_number};
use crate::pattern::{Scalar, is_range};
use crate::quantity::Quantity;
use crate::refusal::{At, Read};
use crate::template::Template;
use crate::version::Version;
use crate::{duration, nearest, wildcard};
use serde_json::Value;
use std::borrow::Cow;
use std::cmp::Ordering;

/// The operators, deprecated ones too.
const OPERATORS: [(&str, Operator); 18] = [
    ("Equal", Operator::Equals),
    ("Equals", Operator::Equals),
    ("NotEqual", Operator::NotEquals),
    ("NotEquals", Operator::NotEquals),
    ("In", Operator::AllIn),
    ("AnyIn", Operator::AnyIn),
    ("AllIn", Operator::AllIn),
    ("NotIn", Operator::AllNotIn),
    ("AnyNotIn", Operator::AnyNotIn),
    ("AllNotIn", Operator::AllNotIn),
    ("GreaterThan", Operator::Order(Order::Greater, false)),
    ("GreaterThanOrEquals", Operator::Order(Order::GreaterOrEqual, false)),
    ("LessThan", Operator::Order(Order::Less, false)),
    ("LessThanOrEquals", Operator::Order(Order::LessOrEqual, false)),
    ("DurationGreaterThan", Operator::Order(Order::Greater, true)),
    ("DurationGreaterThanOrEquals", Operator::Order(Order::GreaterOrEqual, true)),
    ("DurationLessThan", Operator::Order(Order::Less, true)),
    ("DurationLessThanOrEquals", Operator::Order(Order::LessOrEqual, true)),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equals,
    NotEquals,
    AnyIn,
    AllIn,
    AnyNotIn,
    AllNotIn,
    /// For durations only, or for all that has an order.
    Order(Order, bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

impl Order {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Order::Greater => order.is_gt(),
            Order::GreaterOrEqual => order.is_ge(),
            Order::Less => order.is_lt(),
            Order::LessOrEqual => order.is_le(),
        }
    }
}

#[derive(Debug)]
struct Condition {
    key: Template,
    operator: Operator,
    value: Template,
    message: Option<Template>,
}

/// Blocks that all hold, each of conditions of which any, and of which all do.
#[derive(Debug, Default)]
pub(crate) struct Conditions(Vec<Block>);

#[derive(Debug, Default)]
struct Block {
    any: Option<Vec<Condition>>,
    all: Vec<Condition>,
}

impl Conditions {
    /// `{any, all}`, a list of such, or the old form, a list of conditions.
    pub(crate) fn compile(at: &At<'_>) -> Read<Conditions> {
        if at.value.is_object() {
            return Ok(Conditions(vec![block(at)?]));
        }
        let old = at.list()?.iter().any(|item| item.get("operator").is_some() || item.get("key").is_some());
        if old {
            let all = at.each(condition)?;
            return Ok(Conditions(vec![Block { any: None, all }]));
        }
        Ok(Conditions(at.each(block)?))
    }

    /// Whether they hold, with the messages of those that made it so.
    pub(crate) fn hold(&self, view: &View<'_, '_>) -> Result<(bool, Vec<String>), Error> {
        let mut messages = Vec::new();
        for block in &self.0 {
            if let Some(any) = &block.any {
                let mut held = false;
                for condition in any {
                    if condition.holds(view)? {
                        condition.say(view, &mut messages);
                        held = true;
                        break;
                    }
                }
                if !held {
                    return Ok((false, messages));
                }
            }
            for condition in &block.all {
                if !condition.holds(view)? {
                    return Ok((false, messages));
                }
                condition.say(view, &mut messages);
            }
        }
        Ok((true, messages))
    }

    /// What each compares, and what comes of it.
    pub(crate) fn explain(&self, view: &View<'_, '_>) -> Vec<String> {
        let mut lines = Vec::new();
        for block in &self.0 {
            let any = block.any.iter().flatten().map(|condition| ("any", condition));
            for (of, condition) in any.chain(block.all.iter().map(|condition| ("all", condition))) {
                lines.push(format!("precondition ({of}): {}", condition.explain(view)));
            }
        }
        lines
    }
}

fn block(at: &At<'_>) -> Read<Block> {
    at.only(&["any", "all"])?;
    let any = at.each_of("any", condition)?;
    Ok(Block { any: Some(any).filter(|any| !any.is_empty()), all: at.each_of("all", condition)? })
}

fn condition(at: &At<'_>) -> Read<Condition> {
    at.only(&["key", "operator", "value", "message"])?;
    let named = at.need("operator")?;
    let name = named.str()?;
    let Some((_, operator)) = OPERATORS.iter().find(|(known, _)| *known == name) else {
        let hint = nearest::hint(name, OPERATORS.iter().map(|(known, _)| *known));
        return named.refuse(format_args!("there is no operator {name}{hint}"));
    };
    let template =
        |key: &str| at.get(key).map_or(Ok(Template::Fixed(Value::Null)), |at| Template::compile(&at));
    let message = at.get("message").map(|at| Template::compile(&at)).transpose()?;
    Ok(Condition { key: template("key")?, operator: *operator, value: template("value")?, message })
}

impl Condition {
    fn holds(&self, view: &View<'_, '_>) -> Result<bool, Error> {
        let key = self.key.resolve(view)?;
        let value = self.value.resolve(view)?;
        view.frame.world.meter.spend(elements(&key) * elements(&value))?;
        Ok(match self.operator {
            Operator::Equals => equals(&key, &value),
            Operator::NotEquals => not_equals(&key, &value),
            Operator::AnyIn => members(&key, &value).is_some_and(|members| members.any),
            Operator::AllIn => members(&key, &value).is_some_and(|members| members.all),
            Operator::AnyNotIn => members(&key, &value).is_some_and(|members| !members.all),
            Operator::AllNotIn => members(&key, &value).is_some_and(|members| !members.any),
            Operator::Order(order, false) => ordered(&key, &value).is_some_and(|found| order.holds(found)),
            Operator::Order(order, true) => {
                let durations = seconds(&key).zip(seconds(&value));
                durations
                    .and_then(|(key, value)| key.partial_cmp(&value))
                    .is_some_and(|found| order.holds(found))
            }
        })
    }

    fn explain(&self, view: &View<'_, '_>) -> String {
        // Of several spellings the last is the one in use.
        let named = OPERATORS.iter().rev().find(|(_, known)| *known == self.operator);
        let operator = named.map(|(name, _)| *name).unwrap_or_default();
        let sides = self.key.resolve(view).and_then(|key| Ok((key, self.value.resolve(view)?)));
        match (sides, self.holds(view)) {
            (Ok((key, value)), Ok(held)) => {
                format!("{key} {operator} {value} {}", if held { "holds" } else { "does not hold" })
            }
            (Err(why), _) | (_, Err(why)) => format!("{operator}: {why}"),
        }
    }

    fn say(&self, view: &View<'_, '_>, messages: &mut Vec<String>) {
        if let Some(Ok(Value::String(text))) = self.message.as_ref().map(|message| message.render(view)) {
            messages.push(text);
        }
    }
}

fn elements(value: &Value) -> usize {
    value.as_array().map_or(1, Vec::len)
}

/// A text that is a duration and has a unit.
fn duration_text(value: &Value) -> Option<f64> {
    let text = value.as_str().filter(|text| *text != "0")?;
    duration::parse(text).map(|nanos| nanos as f64 / 1e9)
}

/// A duration, or a number of seconds.
fn seconds(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => duration::parse(text).map(|nanos| nanos as f64 / 1e9),
        other => other.as_f64(),
    }
}

/// Both in seconds, where at least one is a duration.
fn durations(key: &Value, value: &Value) -> Option<(f64, f64)> {
    let (left, right) = (duration_text(key), duration_text(value));
    if left.is_none() && right.is_none() {
        return None;
    }
    Some((left.or_else(|| key.as_f64())?, right.or_else(|| value.as_f64())?))
}

fn equals(key: &Value, value: &Value) -> bool {
    match key {
        Value::Bool(_) => key == value,
        Value::Number(number) => match value {
            Value::Number(other) => number.as_f64() == other.as_f64(),
            Value::String(text) => text.parse().ok() == number.as_f64(),
            _ => false,
        },
        Value::String(text) => {
            if let Some((left, right)) = durations(key, value) {
                return left == right;
            }
            let Some(other) = value.as_str() else { return false };
            match Quantity::parse(text) {
                Some(quantity) => Quantity::parse(other).is_some_and(|other| quantity == other),
                None => wildcard::matches(other, text),
            }
        }
        Value::Object(_) | Value::Array(_) => key == value,
        Value::Null => false,
    }
}

fn not_equals(key: &Value, value: &Value) -> bool {
    !key.is_null() && !equals(key, value)
}

/// As texts are made of values that are looked for in lists.
fn printed(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => text.into(),
        Value::Number(number) => print_number(number).into(),
        Value::Null => "<nil>".into(),
        other => other.to_string().into(),
    }
}

struct Members {
    any: bool,
    all: bool,
}

/// Which of the keys are among the values; None where the two cannot be compared.
fn members(key: &Value, value: &Value) -> Option<Members> {
    let keys = match key {
        Value::Array(list) => list.as_slice(),
        Value::String(_) | Value::Number(_) | Value::Bool(_) => std::slice::from_ref(key),
        _ => return None,
    };
    // Without keys there is nothing to print values for.
    if keys.is_empty() && matches!(value, Value::Array(_)) {
        return Some(Members { any: false, all: true });
    }
    let keys: Vec<Cow<'_, str>> = keys.iter().map(printed).collect();
    let within = Within::new(value, &keys)?;
    let (mut any, mut all) = (false, true);
    for key in &keys {
        let found = within.has(key);
        any |= found;
        all &= found;
    }
    Some(Members { any, all })
}

/// What keys are looked for in.
enum Within<'v> {
    Everything,
    List(Vec<Cow<'v, str>>),
    Range(Scalar),
}

impl<'v> Within<'v> {
    fn new(value: &'v Value, keys: &[Cow<'_, str>]) -> Option<Within<'v>> {
        Some(match value {
            Value::Array(list) => Within::List(list.iter().map(printed).collect()),
            Value::Number(_) | Value::Bool(_) => Within::List(vec![printed(value)]),
            Value::String(text) if keys.len() == 1 && wildcard::matches(text, &keys[0]) => Within::Everything,
            Value::String(text) if is_range(text) => Within::Range(Scalar::new(value)),
            Value::String(text) => match serde_json::from_str::<Value>(text) {
                Ok(Value::Array(list)) => {
                    let texts = list.into_iter().map(|item| match item {
                        Value::String(text) => Some(text.into()),
                        _ => None,
                    });
                    Within::List(texts.collect::<Option<_>>()?)
                }
                Ok(_) => return None,
                Err(_) => Within::List(vec![text.into()]),
            },
            _ => return None,
        })
    }

    fn has(&self, key: &str) -> bool {
        match self {
            Within::Everything => true,
            Within::List(values) => values.iter().any(|value| either(key, value)),
            Within::Range(range) => range.matches(&Value::String(key.to_owned())),
        }
    }
}

/// Wildcards may stand on either side.
fn either(key: &str, value: &str) -> bool {
    wildcard::matches(value, key) || wildcard::matches(key, value)
}

fn ordered(key: &Value, value: &Value) -> Option<Ordering> {
    if let Some((left, right)) = durations(key, value) {
        return left.partial_cmp(&right);
    }
    if let (Value::String(left), Value::String(right)) = (key, value) {
        if let (Some(left), Some(right)) = (Quantity::parse(left), Quantity::parse(right)) {
            return left.partial_cmp(&right);
        }
        if let (Some(left), Some(right)) = (Version::parse(left), Version::parse(right)) {
            return Some(left.cmp(&right));
        }
    }
    let number = |value: &Value| match value {
        Value::String(text) => text.parse().ok().or_else(|| Quantity::parse(text).map(Quantity::to_f64)),
        other => other.as_f64(),
    };
    number(key)?.partial_cmp(&number(value)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn equality_and_membership() {
        assert!(equals(&json!("1h"), &json!("60m")));
        assert!(equals(&json!("1h"), &json!(3600)));
        assert!(equals(&json!("1Gi"), &json!("1024Mi")));
        assert!(equals(&json!("abc"), &json!("a*")));
        assert!(!equals(&json!("a*"), &json!("abc")));
        assert!(not_equals(&json!("x"), &json!(5)));
        let any = |key: Value, value: Value| members(&key, &value).map(|members| members.any);
        let all = |key: Value, value: Value| members(&key, &value).map(|members| members.all);
        assert_eq!(any(json!(["a", "b"]), json!(["b"])), Some(true));
        assert_eq!(all(json!(["a", "b"]), json!(["b"])), Some(false));
        assert_eq!(all(json!([]), json!(["b"])), Some(true));
        assert_eq!(any(json!(5), json!("1-10")), Some(true));
        assert_eq!(any(json!("a"), json!("[\"a\",\"b\"]")), Some(true));
        assert_eq!(any(json!("a"), Value::Null), None);
    }

    #[test]
    fn order() {
        assert_eq!(ordered(&json!("100m"), &json!("1")), Some(Ordering::Less));
        assert_eq!(ordered(&json!("1.10.0"), &json!("1.9.0")), Some(Ordering::Greater));
        assert_eq!(ordered(&json!(5), &json!("1h")), Some(Ordering::Less));
        assert_eq!(ordered(&json!("x"), &json!(1)), None);
    }
}
