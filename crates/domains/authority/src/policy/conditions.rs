//! What a rule demands of a request beyond path and operation: parameters, wrapping, page size.

use super::filter::KeyFilter;
use super::{Ask, Parameters};
use crate::request::Operation;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A rule's conditions. The default has none.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Conditions {
    /// If any, only these parameters, with these values; no values means any. Names are in lower case.
    pub(super) allowed: Values,
    /// Not these parameters, with these values; no values means any.
    pub(super) denied: Values,
    /// These parameters must be sent.
    pub(super) required: Vec<String>,
    /// The answer must be wrapped, at least for so long.
    pub(super) min_wrapping: Option<Duration>,
    /// The answer must be wrapped, at most for so long.
    pub(super) max_wrapping: Option<Duration>,
    /// How many keys a list may answer at once.
    pub(super) page: Option<u64>,
    /// Which keys a list answers.
    pub(super) filter: Option<Arc<KeyFilter>>,
}

pub(super) type Values = BTreeMap<String, Vec<Literal>>;

/// A value in a policy. Numbers are kept as they were written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    Text(String),
    Number(String),
    Bool(bool),
    List(Vec<Literal>),
}

/// The condition a request does not meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmet {
    /// The answer must be wrapped, for at least so long.
    WrapLonger(Duration),
    /// The answer must be wrapped, for at most so long.
    WrapShorter(Duration),
    /// A parameter is missing.
    Required(String),
    /// A parameter, or its value, is denied.
    Denied(String),
    /// A parameter, or its value, is not among those allowed.
    NotAllowed(String),
    /// The condition of a rule, on a line of a policy, does not hold; why, where that cannot be told.
    Expression(String, u32, Option<String>),
    /// More keys were asked for than allowed, or not a number of them.
    Page(u64),
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unmet::WrapLonger(ttl) => {
                write!(f, "the answer must be wrapped for at least {}s", ttl.as_secs_f64())
            }
            Unmet::WrapShorter(ttl) => {
                write!(f, "the answer must be wrapped for at most {}s", ttl.as_secs_f64())
            }
            Unmet::Required(name) => write!(f, "the parameter {name:?} must be sent"),
            Unmet::Denied(name) => write!(f, "the parameter {name:?} or its value is denied"),
            Unmet::NotAllowed(name) => write!(f, "the parameter {name:?} or its value is not allowed"),
            Unmet::Expression(policy, line, None) => {
                write!(f, "the condition of policy {policy} line {line} does not hold")
            }
            Unmet::Expression(policy, line, Some(why)) => {
                write!(f, "the condition of policy {policy} line {line} cannot be told: {why}")
            }
            Unmet::Page(limit) => write!(f, "limit must be at most {limit}, or max"),
        }
    }
}

impl Conditions {
    /// Adds those of another rule for the same path, as Vault does: values are united (any value wins), the
    /// shorter of each wrapping time, the smaller page and the first filter remain.
    pub(super) fn merge(&mut self, other: &Conditions) {
        merge_values(&mut self.allowed, &other.allowed);
        merge_values(&mut self.denied, &other.denied);
        for name in &other.required {
            if !self.required.contains(name) {
                self.required.push(name.clone());
            }
        }
        self.min_wrapping = least(self.min_wrapping, other.min_wrapping);
        self.max_wrapping = least(self.max_wrapping, other.max_wrapping);
        self.page = least(self.page, other.page);
        if self.filter.is_none() {
            self.filter.clone_from(&other.filter);
        }
    }

    /// Whether the request meets all of them.
    pub(super) fn check(&self, ask: &Ask<'_>) -> Result<(), Unmet> {
        self.check_wrapping(ask.wrap_ttl)?;
        match (ask.operation, ask.parameters) {
            (Operation::List, parameters) => self.check_page(parameters),
            (Operation::Delete | Operation::Help, _) => Ok(()),
            (_, parameters) => self.check_parameters(parameters),
        }
    }

    fn check_wrapping(&self, ttl: Option<Duration>) -> Result<(), Unmet> {
        if let Some(max) = self.max_wrapping
            && ttl.is_none_or(|ttl| ttl > max)
        {
            return Err(Unmet::WrapShorter(max));
        }
        if let Some(min) = self.min_wrapping
            && ttl.is_none_or(|ttl| ttl < min)
        {
            return Err(Unmet::WrapLonger(min));
        }
        Ok(())
    }

    fn check_parameters(&self, parameters: Option<&dyn Parameters>) -> Result<(), Unmet> {
        if self.allowed.is_empty() && self.denied.is_empty() && self.required.is_empty() {
            return Ok(());
        }
        let names = parameters.map(Parameters::names).unwrap_or_default();
        if let Some(missing) = self.required.iter().find(|name| !names.contains(&name.as_str())) {
            return Err(Unmet::Required(missing.clone()));
        }
        let (deny_all, allow_others) = (self.denied.contains_key("*"), self.allowed.contains_key("*"));
        for name in names {
            let lower = name.to_lowercase();
            let value = || {
                let value = parameters.and_then(|all| all.value(name)).unwrap_or(Value::Null);
                if names_policies(&lower) { normalized(value) } else { value }
            };
            let denied = self.denied.get(&lower);
            if deny_all || denied.is_some_and(|list| list.is_empty() || any_of(&value(), list)) {
                return Err(Unmet::Denied(name.to_owned()));
            }
            let fits = match self.allowed.get(&lower) {
                None => self.allowed.is_empty() || allow_others,
                Some(list) => list.is_empty() || all_of(&value(), list),
            };
            if !fits {
                return Err(Unmet::NotAllowed(name.to_owned()));
            }
        }
        Ok(())
    }

    fn check_page(&self, parameters: Option<&dyn Parameters>) -> Result<(), Unmet> {
        let Some(page) = self.page else { return Ok(()) };
        let asked = parameters.and_then(|all| all.value("limit"));
        let within = match asked {
            None => !self.required.iter().any(|name| name == "limit"),
            Some(value) => value == "max" || number_of(&value).is_some_and(|limit| limit <= page),
        };
        if within { Ok(()) } else { Err(Unmet::Page(page)) }
    }
}

fn least<T: Ord>(left: Option<T>, right: Option<T>) -> Option<T> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left.min(right)),
        (left, right) => left.or(right),
    }
}

fn merge_values(into: &mut Values, from: &Values) {
    for (name, values) in from {
        match into.get_mut(name) {
            None => {
                into.insert(name.clone(), values.clone());
            }
            Some(known) if known.is_empty() || values.is_empty() => known.clear(),
            Some(known) => known.extend(values.iter().cloned()),
        }
    }
}

fn number_of(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Policies' names are trimmed and lowered wherever they are taken, so they are compared that way.
fn names_policies(parameter: &str) -> bool {
    matches!(parameter, "policies" | "token_policies")
}

fn normalized(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(text.trim().to_lowercase()),
        Value::Array(items) => Value::Array(items.into_iter().map(normalized).collect()),
        other => other,
    }
}

/// Whether the value, an element of it, or one of its comma-separated parts is in the list.
fn any_of(value: &Value, list: &[Literal]) -> bool {
    match value {
        Value::String(text) if text.contains(',') => {
            contains(value, list) || text.split(',').any(|part| contains(&part.trim().into(), list))
        }
        Value::Array(items) => contains(value, list) || items.iter().any(|item| contains(item, list)),
        _ => contains(value, list),
    }
}

/// Whether the value is in the list as it stands, or all its elements or comma-separated parts are.
///
/// A glob never spans a comma: where the parameter is a list, `dev-*` would let `dev-x,root` through.
fn all_of(value: &Value, list: &[Literal]) -> bool {
    match value {
        Value::String(text) if text.contains(',') => {
            list.iter().any(|literal| matches!(literal, Literal::Text(whole) if whole == text))
                || text.split(',').all(|part| contains(&part.trim().into(), list))
        }
        Value::Array(items) => {
            contains(value, list) || (!items.is_empty() && items.iter().all(|item| contains(item, list)))
        }
        _ => contains(value, list),
    }
}

fn contains(value: &Value, list: &[Literal]) -> bool {
    list.iter().any(|literal| literal.means(value))
}

impl Literal {
    /// Whether `value` is this. Parameters are typed weakly, so `5` and `"5"`, and `true`, `"true"` and `1`, are
    /// the same: comparing them strictly would let a denied value through in another type.
    fn means(&self, value: &Value) -> bool {
        match (self, value) {
            (Literal::List(list), Value::Array(items)) => {
                list.len() == items.len() && list.iter().zip(items).all(|(literal, item)| literal.means(item))
            }
            (Literal::Text(pattern), Value::String(text)) => glob(pattern, text),
            (Literal::Text(pattern), Value::Number(number)) => glob(pattern, &number.to_string()),
            (Literal::Text(text), Value::Bool(value)) => truth(text) == Some(*value),
            (Literal::Number(wanted), Value::String(text)) => same_number(wanted, text.trim()),
            (Literal::Number(wanted), Value::Number(number)) => same_number(wanted, &number.to_string()),
            (Literal::Number(wanted), Value::Bool(value)) => truth(wanted) == Some(*value),
            (Literal::Bool(wanted), Value::Bool(value)) => wanted == value,
            (Literal::Bool(wanted), Value::String(text)) => truth(text.trim()) == Some(*wanted),
            (Literal::Bool(wanted), Value::Number(number)) => (number.as_f64() != Some(0.0)) == *wanted,
            _ => false,
        }
    }
}

/// `*` at the beginning, at the end or both. Alone it is itself, as in Vault; the parser refuses it.
fn glob(pattern: &str, text: &str) -> bool {
    if pattern.len() < 2 {
        return pattern == text;
    }
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(rest), Some(_)) => text.contains(rest.strip_suffix('*').unwrap_or_default()),
        (Some(suffix), None) => text.ends_with(suffix),
        (None, Some(prefix)) => text.starts_with(prefix),
        (None, None) => pattern == text,
    }
}

fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn same_number(left: &str, right: &str) -> bool {
    match (left.parse::<i128>(), right.parse::<i128>()) {
        (Ok(left), Ok(right)) => left == right,
        _ => left == right || matches!((left.parse::<f64>(), right.parse::<f64>()), (Ok(l), Ok(r)) if l == r),
    }
}
