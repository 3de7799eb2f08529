//! Values: JSON where it is, and what expressions make.

use crate::json;
use crate::quantity::Quantity;
use crate::version::Version;
use serde_json::{Map, Value};
use std::any::Any;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

/// A map whose values are found out as they are asked for.
pub trait Record: std::fmt::Debug {
    /// The value of a field; None where there is none.
    fn field(&self, name: &str) -> Option<Val<'_>>;
    /// The names that may have a value.
    fn names(&self) -> Vec<&str>;
}

impl Record for BTreeMap<String, String> {
    fn field(&self, name: &str) -> Option<Val<'_>> {
        self.get(name).map(|value| Val::Str(value))
    }

    fn names(&self) -> Vec<&str> {
        self.keys().map(String::as_str).collect()
    }
}

/// A value of who evaluates: it has functions, and no fields.
pub trait Opaque: Any + std::fmt::Debug {
    /// What its type is called in messages.
    fn type_name(&self) -> &'static str;
}

/// A value.
#[derive(Clone, Debug)]
pub enum Val<'a> {
    /// Null.
    Null,
    /// True or false.
    Bool(bool),
    /// A signed number.
    Int(i64),
    /// A number without a sign.
    Uint(u64),
    /// A number with a fraction.
    Double(f64),
    /// A string that is there already.
    Str(&'a str),
    /// A string that was made.
    Text(Rc<str>),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// A value of the request or of an answer, as it is there.
    Json(&'a Value),
    /// A list that was made.
    List(Rc<Vec<Val<'a>>>),
    /// A map that was made, in the order it was.
    Map(Rc<Vec<(Val<'a>, Val<'a>)>>),
    /// A map whose values are found out as they are asked for.
    Record(&'a dyn Record),
    /// Nanoseconds.
    Duration(i64),
    /// Nanoseconds since 1970.
    Timestamp(i128),
    /// A type, by its name.
    Type(&'static str),
    /// A value that may be absent.
    Optional(Option<Rc<Val<'a>>>),
    /// A quantity of Kubernetes.
    Quantity(Quantity),
    /// A semantic version.
    Version(Rc<Version>),
    /// An address.
    Ip(IpAddr),
    /// A network: an address and the bits of its prefix.
    Cidr(IpAddr, u8),
    /// An address of the web.
    Url(Rc<str>),
    /// A format that strings may have.
    Format(&'static str),
    /// A reference to an image.
    Image(Rc<crate::image::Image>),
    /// What only who evaluates understands.
    Opaque(Rc<dyn Opaque>),
    /// What functions are called on: `resource`, `math`, `variables` and the like.
    Space(&'static str),
}

/// What stands in an expression.
#[derive(Debug)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Box<str>),
    Bytes(Arc<[u8]>),
}

impl<'a> Val<'a> {
    /// A string that was made.
    pub fn text(text: impl Into<Rc<str>>) -> Val<'a> {
        Val::Text(text.into())
    }

    /// A list that was made.
    pub fn list(items: Vec<Val<'a>>) -> Val<'a> {
        Val::List(Rc::new(items))
    }

    /// A value that may be absent, and is there.
    pub fn some(value: Val<'a>) -> Val<'a> {
        Val::Optional(Some(Rc::new(value)))
    }

    /// A scalar of JSON as the scalar that it is.
    pub fn simple(self) -> Val<'a> {
        match self {
            Val::Json(value) => match value {
                Value::Null => Val::Null,
                Value::Bool(value) => Val::Bool(*value),
                Value::String(text) => Val::Str(text),
                Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                    (Some(int), _) => Val::Int(int),
                    (_, Some(uint)) => Val::Uint(uint),
                    _ => Val::Double(number.as_f64().unwrap_or_default()),
                },
                Value::Array(_) | Value::Object(_) => Val::Json(value),
            },
            other => other,
        }
    }

    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Val::Str(text) => Some(text),
            Val::Text(text) => Some(text),
            Val::Json(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// What its type is called in messages.
    pub fn type_name(&self) -> &'static str {
        match self {
            Val::Null | Val::Json(Value::Null) => "null_type",
            Val::Bool(_) | Val::Json(Value::Bool(_)) => "bool",
            Val::Int(_) => "int",
            Val::Uint(_) => "uint",
            Val::Double(_) => "double",
            Val::Json(Value::Number(number)) if number.is_f64() => "double",
            Val::Json(Value::Number(_)) => "int",
            Val::Str(_) | Val::Text(_) | Val::Json(Value::String(_)) => "string",
            Val::Bytes(_) => "bytes",
            Val::List(_) | Val::Json(Value::Array(_)) => "list",
            Val::Map(_) | Val::Record(_) | Val::Json(Value::Object(_)) => "map",
            Val::Duration(_) => "google.protobuf.Duration",
            Val::Timestamp(_) => "google.protobuf.Timestamp",
            Val::Type(_) => "type",
            Val::Optional(_) => "optional_type",
            Val::Quantity(_) => "kubernetes.Quantity",
            Val::Version(_) => "kubernetes.Semver",
            Val::Ip(_) => "net.IP",
            Val::Cidr(..) => "net.CIDR",
            Val::Url(_) => "kubernetes.URL",
            Val::Format(_) => "kubernetes.NamedFormat",
            Val::Image(_) => "kyverno.image",
            Val::Opaque(value) => value.type_name(),
            Val::Space(name) => name,
        }
    }

    /// The elements of a list.
    pub fn items(&self) -> Option<Vec<Val<'a>>> {
        match self {
            Val::List(list) => Some(list.to_vec()),
            Val::Json(Value::Array(list)) => Some(list.iter().map(|item| Val::Json(item).simple()).collect()),
            _ => None,
        }
    }

    /// The keys and values of a map.
    pub fn entries(&self) -> Option<Vec<(Val<'a>, Val<'a>)>> {
        match self {
            Val::Map(map) => Some(map.to_vec()),
            Val::Record(record) => {
                let entry = |name| Some((Val::Str(name), record.field(name)?));
                Some(record.names().into_iter().filter_map(entry).collect())
            }
            Val::Json(Value::Object(map)) => {
                Some(map.iter().map(|(key, value)| (Val::Str(key), Val::Json(value).simple())).collect())
            }
            _ => None,
        }
    }

    /// How many elements, entries, bytes or characters it has; None for what has none.
    #[expect(clippy::len_without_is_empty, reason = "not every value has a length")]
    pub fn len(&self) -> Option<usize> {
        Some(match self {
            Val::List(list) => list.len(),
            Val::Map(map) => map.len(),
            Val::Record(_) => self.entries()?.len(),
            Val::Json(Value::Array(list)) => list.len(),
            Val::Json(Value::Object(map)) => map.len(),
            Val::Bytes(bytes) => bytes.len(),
            other => other.as_str()?.chars().count(),
        })
    }

    /// The value at a key of a map, an index of a list, or a field of what has fields; None where there is none.
    pub fn at(&self, key: &Val<'a>) -> Option<Val<'a>> {
        match self {
            Val::Json(Value::Object(map)) => map.get(key.as_str()?).map(|value| Val::Json(value).simple()),
            Val::Map(map) => map.iter().find(|(known, _)| known.equals(key)).map(|(_, value)| value.clone()),
            Val::Record(record) => record.field(key.as_str()?),
            Val::Json(Value::Array(list)) => list.get(key.index()?).map(|value| Val::Json(value).simple()),
            Val::List(list) => list.get(key.index()?).cloned(),
            _ => None,
        }
    }

    /// The value of a field of a map.
    pub fn field(&self, name: &str) -> Option<Val<'a>> {
        match self {
            Val::Json(Value::Object(map)) => map.get(name).map(|value| Val::Json(value).simple()),
            Val::Map(map) => {
                map.iter().find(|(known, _)| known.as_str() == Some(name)).map(|(_, value)| value.clone())
            }
            Val::Record(record) => record.field(name),
            _ => None,
        }
    }

    fn index(&self) -> Option<usize> {
        match self {
            Val::Int(index) => usize::try_from(*index).ok(),
            Val::Uint(index) => usize::try_from(*index).ok(),
            Val::Double(index) if index.fract() == 0.0 && *index >= 0.0 => Some(*index as usize),
            _ => None,
        }
    }

    /// Equality, in which 1 is 1.0 and strings are what they say.
    pub fn equals(&self, other: &Val<'_>) -> bool {
        if let (Some(left), Some(right)) = (self.as_str(), other.as_str()) {
            return left == right;
        }
        match (self, other) {
            (Val::Null, Val::Null) => true,
            (Val::Bool(left), Val::Bool(right)) => left == right,
            (Val::Int(left), Val::Int(right)) => left == right,
            (Val::Json(left), Val::Json(right)) => json::equal(left, right),
            (Val::Bytes(left), Val::Bytes(right)) => left == right,
            (Val::Duration(left), Val::Duration(right)) => left == right,
            (Val::Timestamp(left), Val::Timestamp(right)) => left == right,
            (Val::Type(left), Val::Type(right)) => left == right,
            (Val::Optional(left), Val::Optional(right)) => match (left, right) {
                (None, None) => true,
                (Some(left), Some(right)) => left.equals(right),
                _ => false,
            },
            (Val::Quantity(left), Val::Quantity(right)) => left == right,
            (Val::Version(left), Val::Version(right)) => left.cmp(right).is_eq(),
            (Val::Ip(left), Val::Ip(right)) => left == right,
            (Val::Cidr(left, bits), Val::Cidr(right, other)) => left == right && bits == other,
            (Val::Url(left), Val::Url(right)) => left == right,
            (Val::Image(left), Val::Image(right)) => left == right,
            _ => match (self.number(), other.number()) {
                (Some(_), Some(_)) => self.compare(other) == Some(Ordering::Equal),
                _ => self.equals_deep(other),
            },
        }
    }

    fn equals_deep(&self, other: &Val<'_>) -> bool {
        if let (Val::Json(value), false) = (self, matches!(other, Val::Json(_)))
            && !value.is_array()
            && !value.is_object()
        {
            return self.clone().simple().equals(other);
        }
        if let (Val::Json(value), false) = (other, matches!(self, Val::Json(_)))
            && !value.is_array()
            && !value.is_object()
        {
            return self.equals(&other.clone().simple());
        }
        if let (Some(left), Some(right)) = (self.items(), other.items()) {
            return left.len() == right.len()
                && left.iter().zip(&right).all(|(left, right)| left.equals(right));
        }
        if let (Some(left), Some(right)) = (self.entries(), other.entries()) {
            let found =
                |key: &Val<'_>| right.iter().find(|(known, _)| known.equals(key)).map(|(_, value)| value);
            return left.len() == right.len()
                && left.iter().all(|(key, value)| found(key).is_some_and(|other| value.equals(other)));
        }
        false
    }

    /// The number, if it is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Val::Int(value) => Some(*value as f64),
            Val::Uint(value) => Some(*value as f64),
            Val::Double(value) => Some(*value),
            Val::Json(Value::Number(number)) => number.as_f64(),
            _ => None,
        }
    }

    /// The order of what has one.
    pub fn compare(&self, other: &Val<'_>) -> Option<Ordering> {
        if let (Some(left), Some(right)) = (self.as_str(), other.as_str()) {
            return Some(left.cmp(right));
        }
        match (self, other) {
            (Val::Int(left), Val::Int(right)) => Some(left.cmp(right)),
            (Val::Uint(left), Val::Uint(right)) => Some(left.cmp(right)),
            (Val::Int(left), Val::Uint(right)) => Some(i128::from(*left).cmp(&i128::from(*right))),
            (Val::Uint(left), Val::Int(right)) => Some(i128::from(*left).cmp(&i128::from(*right))),
            (Val::Bool(left), Val::Bool(right)) => Some(left.cmp(right)),
            (Val::Bytes(left), Val::Bytes(right)) => Some(left.cmp(right)),
            (Val::Duration(left), Val::Duration(right)) => Some(left.cmp(right)),
            (Val::Timestamp(left), Val::Timestamp(right)) => Some(left.cmp(right)),
            _ => self.number()?.partial_cmp(&other.number()?),
        }
    }

    /// As JSON.
    ///
    /// # Errors
    /// It has no such form.
    pub fn to_json(&self) -> Result<Value, String> {
        Ok(match self {
            Val::Null => Value::Null,
            Val::Bool(value) => Value::Bool(*value),
            Val::Int(value) => Value::from(*value),
            Val::Uint(value) => Value::from(*value),
            Val::Double(value) => json::number(*value).ok_or("a number is not finite")?,
            Val::Str(text) => Value::from(*text),
            Val::Text(text) => Value::from(&**text),
            Val::Bytes(bytes) => {
                use base64::Engine;
                Value::from(base64::engine::general_purpose::STANDARD.encode(bytes))
            }
            Val::Json(value) => (*value).clone(),
            Val::List(list) => Value::Array(list.iter().map(Val::to_json).collect::<Result<_, _>>()?),
            Val::Map(map) => {
                let mut out = Map::new();
                for (key, value) in map.iter() {
                    let key = key.as_str().map_or_else(|| key.print(), |key| Some(key.to_owned()));
                    out.insert(key.ok_or("a key is no string")?, value.to_json()?);
                }
                Value::Object(out)
            }
            Val::Optional(Some(value)) => value.to_json()?,
            Val::Optional(None) => Value::Null,
            Val::Record(_) => Val::Map(Rc::new(self.entries().unwrap_or_default())).to_json()?,
            other => Value::from(other.print().ok_or_else(|| format!("{} has no JSON", other.type_name()))?),
        })
    }

    /// As a string, where it has such a form.
    pub fn print(&self) -> Option<String> {
        Some(match self {
            Val::Bool(value) => value.to_string(),
            Val::Int(value) => value.to_string(),
            Val::Uint(value) => value.to_string(),
            Val::Double(value) if value.fract() == 0.0 && value.abs() < 1e21 => format!("{value:.0}"),
            Val::Double(value) => value.to_string(),
            Val::Bytes(bytes) => String::from_utf8(bytes.to_vec()).ok()?,
            Val::Duration(nanos) => super::time::print_duration(*nanos),
            Val::Timestamp(nanos) => super::time::print_timestamp(*nanos)?,
            Val::Type(name) => (*name).to_owned(),
            Val::Quantity(quantity) => quantity.to_string(),
            Val::Ip(ip) => ip.to_string(),
            Val::Cidr(ip, bits) => format!("{ip}/{bits}"),
            Val::Url(url) => url.to_string(),
            Val::Image(image) => image.to_string(),
            other => other.clone().simple().as_str()?.to_owned(),
        })
    }
}
