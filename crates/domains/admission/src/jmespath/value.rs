//! What an expression finds: a place in the document as long as it can be, a value of its own where it has to be.

pub(crate) use crate::json::equal;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// What an expression finds.
#[derive(Clone, Debug)]
pub(crate) enum Val<'a> {
    /// A place in the document.
    Ref(&'a Value),
    /// A list that a projection or a multi-select made, of places.
    List(Vec<Val<'a>>),
    /// Made by a function or a multi-select.
    Own(Value),
}

static NULL: Value = Value::Null;

impl<'a> Val<'a> {
    pub(crate) const NULL: Val<'static> = Val::Own(Value::Null);

    pub(crate) fn string(text: impl Into<String>) -> Val<'a> {
        Val::Own(Value::String(text.into()))
    }

    pub(crate) fn bool(value: bool) -> Val<'a> {
        Val::Own(Value::Bool(value))
    }

    /// The value where it is one whole; None for a list made of places.
    fn whole(&self) -> Option<&Value> {
        match self {
            Val::Ref(value) => Some(value),
            Val::Own(value) => Some(value),
            Val::List(_) => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        self.whole().is_some_and(Value::is_null)
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        self.whole()?.as_str()
    }

    pub(crate) fn as_f64(&self) -> Option<f64> {
        self.whole()?.as_f64()
    }

    pub(crate) fn as_object(&self) -> Option<&Map<String, Value>> {
        self.whole()?.as_object()
    }

    pub(crate) fn is_list(&self) -> bool {
        matches!(self, Val::List(_)) || self.whole().is_some_and(Value::is_array)
    }

    /// How many elements a list has.
    pub(crate) fn len(&self) -> Option<usize> {
        match self {
            Val::List(list) => Some(list.len()),
            other => other.whole()?.as_array().map(Vec::len),
        }
    }

    /// The elements of a list.
    pub(crate) fn items(&self) -> Option<Vec<Val<'a>>> {
        match self {
            Val::List(list) => Some(list.clone()),
            Val::Ref(value) => Some(value.as_array()?.iter().map(Val::Ref).collect()),
            Val::Own(value) => Some(value.as_array()?.iter().cloned().map(Val::Own).collect()),
        }
    }

    /// As [`items`](Val::items), where nobody needs the list itself any more.
    pub(crate) fn into_items(self) -> Option<Vec<Val<'a>>> {
        match self {
            Val::List(list) => Some(list),
            Val::Own(Value::Array(list)) => Some(list.into_iter().map(Val::Own).collect()),
            other => other.items(),
        }
    }

    /// The element at an index, from the end where it is negative.
    pub(crate) fn index(&self, index: i64) -> Val<'a> {
        let Some(len) = self.len() else { return Val::NULL };
        let at = if index < 0 { index + i64::try_from(len).unwrap_or(i64::MAX) } else { index };
        let Ok(at) = usize::try_from(at) else { return Val::NULL };
        match self {
            Val::List(list) => list.get(at).cloned(),
            Val::Ref(value) => value.get(at).map(Val::Ref),
            Val::Own(value) => value.get(at).cloned().map(Val::Own),
        }
        .unwrap_or(Val::NULL)
    }

    /// The value of a key.
    pub(crate) fn field(&self, name: &str) -> Option<Val<'a>> {
        match self {
            Val::Ref(value) => value.as_object()?.get(name).map(Val::Ref),
            Val::Own(value) => value.as_object()?.get(name).cloned().map(Val::Own),
            Val::List(_) => None,
        }
    }

    /// The values of an object.
    pub(crate) fn values(&self) -> Option<Vec<Val<'a>>> {
        match self {
            Val::Ref(value) => Some(value.as_object()?.values().map(Val::Ref).collect()),
            Val::Own(value) => Some(value.as_object()?.values().cloned().map(Val::Own).collect()),
            Val::List(_) => None,
        }
    }

    /// Anything but false, null, and what is empty.
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Val::List(list) => !list.is_empty(),
            other => match other.whole().unwrap_or(&NULL) {
                Value::Null => false,
                Value::Bool(value) => *value,
                Value::String(text) => !text.is_empty(),
                Value::Array(list) => !list.is_empty(),
                Value::Object(map) => !map.is_empty(),
                Value::Number(_) => true,
            },
        }
    }

    /// As a value of its own.
    pub(crate) fn into_value(self) -> Value {
        match self {
            Val::Ref(value) => value.clone(),
            Val::Own(value) => value,
            Val::List(list) => Value::Array(list.into_iter().map(Val::into_value).collect()),
        }
    }

    /// As a value, borrowed where it is one.
    pub(crate) fn to_value(&self) -> Cow<'_, Value> {
        match self.whole() {
            Some(value) => Cow::Borrowed(value),
            None => Cow::Owned(self.clone().into_value()),
        }
    }

    pub(crate) fn type_name(&self) -> &'static str {
        match self.whole() {
            None => "array",
            Some(value) => match value {
                Value::Null => "null",
                Value::Bool(_) => "boolean",
                Value::Number(_) => "number",
                Value::String(_) => "string",
                Value::Array(_) => "array",
                Value::Object(_) => "object",
            },
        }
    }

    pub(crate) fn equals(&self, other: &Val<'_>) -> bool {
        match (self, other) {
            (Val::List(left), Val::List(right)) => {
                left.len() == right.len() && left.iter().zip(right).all(|(left, right)| left.equals(right))
            }
            _ => equal(&self.to_value(), &other.to_value()),
        }
    }
}

/// A number without an exponent, as Go's `%v` has the usual ones.
pub(crate) fn print_number(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(value) if number.is_f64() && value.fract() == 0.0 && value.abs() < 1e21 => format!("{value:.0}"),
        _ => number.to_string(),
    }
}
