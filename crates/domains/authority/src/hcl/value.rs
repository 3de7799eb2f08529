//! The tree a document is read into, and how its values convert.

use super::{Error, Position};

/// The items between two braces, or a whole document, in the order they were written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object {
    /// Attributes and blocks.
    pub items: Vec<Item>,
}

/// An attribute (`key = value`) or a block (`key "label" { … }`).
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// At least one. A block's labels follow its type.
    pub keys: Vec<Key>,
    /// An object if there are several keys.
    pub value: Value,
}

/// One key or label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Without quotes and escapes.
    pub text: String,
    /// Where it begins.
    pub at: Position,
}

/// A value and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// What it is.
    pub kind: Kind,
    /// Where it begins.
    pub at: Position,
}

/// What a value is. Numbers keep the text they were written as, for `0644` may be meant as a text.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A quoted text or a heredoc. JSON's `null` is the empty one.
    String(String),
    /// A whole number of 64 bits.
    Int(i64, Box<str>),
    /// A number with a fraction or an exponent.
    Float(f64, Box<str>),
    /// `true` or `false`, unquoted.
    Bool(bool),
    /// Values in brackets.
    List(Vec<Value>),
    /// Items in braces.
    Object(Object),
}

/// A block found by [`Object::blocks`].
#[derive(Clone, Debug, PartialEq)]
pub struct Block<'a> {
    /// Its labels, as many as were asked for.
    pub labels: Vec<&'a Key>,
    /// What stands between its braces.
    pub body: &'a Object,
    /// Where its first key begins.
    pub at: Position,
}

impl Item {
    /// The first key as it was written.
    pub fn name(&self) -> &str {
        self.keys.first().map_or("", |key| &key.text)
    }

    /// Where the item begins.
    pub fn at(&self) -> Position {
        self.keys.first().map_or(self.value.at, |key| key.at)
    }

    /// Whether the first key is this name. Case does not matter, as it does not to HCL's own decoder.
    pub fn is(&self, name: &str) -> bool {
        self.keys.first().is_some_and(|key| same(&key.text, name))
    }
}

fn same(left: &str, right: &str) -> bool {
    left == right || left.eq_ignore_ascii_case(right)
}

impl Object {
    /// All items with this name, in order, blocks included.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Item> {
        self.items.iter().filter(move |item| item.is(name))
    }

    /// The value of the last attribute of this name (blocks with labels are none): the last one wins where
    /// a file says a thing twice.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.items.iter().rev().find(|item| item.keys.len() == 1 && item.is(name)).map(|item| &item.value)
    }

    /// All blocks of a type that carries `labels` labels, however they were written: `type "label" { … }`,
    /// `type { "label" { … } }`, `type = { label = { … } }`, JSON's nested objects, and lists of any of these.
    ///
    /// A block with more labels than asked for, or fewer, or with a value that is no object, is an error in
    /// its place, so that a reader can report all of them.
    pub fn blocks<'a>(&'a self, name: &'a str, labels: usize) -> Vec<Result<Block<'a>, Error>> {
        let mut found = Vec::new();
        for item in self.all(name) {
            let keys: Vec<&Key> = item.keys.iter().skip(1).collect();
            unroll(name, item.at(), keys, &item.value, labels, &mut found);
        }
        found
    }
}

/// Turns nested objects into labels until there are enough. Recursion is bounded by the document's depth.
fn unroll<'a>(
    name: &str,
    at: Position,
    keys: Vec<&'a Key>,
    value: &'a Value,
    labels: usize,
    found: &mut Vec<Result<Block<'a>, Error>>,
) {
    match &value.kind {
        Kind::List(values) if values.iter().all(|value| matches!(value.kind, Kind::Object(_))) => {
            for value in values {
                unroll(name, at, keys.clone(), value, labels, found);
            }
        }
        Kind::Object(body) if keys.len() == labels => found.push(Ok(Block { labels: keys, body, at })),
        Kind::Object(body) if keys.len() < labels && !body.items.is_empty() && holds_blocks(body) => {
            for item in &body.items {
                let keys = keys.iter().copied().chain(&item.keys).collect();
                unroll(name, at, keys, &item.value, labels, found);
            }
        }
        Kind::Object(_) => found.push(Err(Error::new(
            at,
            format!("`{name}` takes {}, and has {}", counted(labels), keys.len()),
            format!("write {}", shape(name, labels)),
        ))),
        _ => found.push(Err(Error::new(
            value.at,
            format!("`{name}` is {}, not a block", value.describe()),
            format!("write {}", shape(name, labels)),
        ))),
    }
}

/// Whether every item can be a block, so that its key can be a label.
fn holds_blocks(body: &Object) -> bool {
    let is_object = |value: &Value| matches!(value.kind, Kind::Object(_));
    body.items.iter().all(|item| item.value.as_list().iter().all(is_object))
}

fn counted(labels: usize) -> String {
    match labels {
        0 => "no label".to_owned(),
        1 => "1 label".to_owned(),
        _ => format!("{labels} labels"),
    }
}

fn shape(name: &str, labels: usize) -> String {
    format!("{name}{} {{ … }}", " \"label\"".repeat(labels))
}

impl Value {
    /// The text of a string, or of a number or boolean as it was written.
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Kind::String(text) => Some(text),
            Kind::Int(_, text) | Kind::Float(_, text) => Some(text),
            Kind::Bool(true) => Some("true"),
            Kind::Bool(false) => Some("false"),
            Kind::List(_) | Kind::Object(_) => None,
        }
    }

    /// A boolean, the numbers 0 and 1, or one of the texts Go's `strconv.ParseBool` takes for one.
    pub fn as_bool(&self) -> Option<bool> {
        match &self.kind {
            Kind::Bool(value) => Some(*value),
            Kind::String(_) | Kind::Int(..) => match self.as_str()? {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    /// A whole number, or a text that is written like one: `16`, `-3`, `0x10`, `020`.
    pub fn as_int(&self) -> Option<i64> {
        match &self.kind {
            Kind::Int(value, _) => Some(*value),
            Kind::String(text) => super::lexer::integer(text.trim()),
            _ => None,
        }
    }

    /// A number, or a text that is written like one.
    pub fn as_float(&self) -> Option<f64> {
        match &self.kind {
            Kind::Float(value, _) => Some(*value),
            Kind::String(text) => text.trim().parse().ok().filter(|value: &f64| value.is_finite()),
            _ => self.as_int().map(|value| value as f64),
        }
    }

    /// The elements of a list; anything else is a list of itself.
    pub fn as_list(&self) -> &[Value] {
        match &self.kind {
            Kind::List(values) => values,
            _ => std::slice::from_ref(self),
        }
    }

    /// An object, also when it is the only element of a list (as JSON writes blocks).
    pub fn as_object(&self) -> Option<&Object> {
        match &self.kind {
            Kind::Object(object) => Some(object),
            Kind::List(values) => match values.as_slice() {
                [Value { kind: Kind::Object(object), .. }] => Some(object),
                _ => None,
            },
            _ => None,
        }
    }

    /// What kind of value this is, with its article, for error messages. Never the value itself.
    pub fn describe(&self) -> &'static str {
        match self.kind {
            Kind::String(_) => "a string",
            Kind::Int(..) => "a number",
            Kind::Float(..) => "a fractional number",
            Kind::Bool(_) => "a boolean",
            Kind::List(_) => "a list",
            Kind::Object(_) => "an object",
        }
    }
}
