//! A request's parameters, typed weakly as Vault's clients rely on: numbers and booleans may come as strings,
//! lists as comma-separated text, maps as `k=v` lists, durations as seconds or text.

use crate::refusal::Refusal;
use keyward_core::parse_duration;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// JSON nested deeper than this is refused before anything else looks at it.
pub const MAX_DEPTH: usize = 100;

/// The top-level fields of a JSON object. Values stay text until a handler asks for them, so that numbers keep
/// their digits and a large secret is parsed at most once.
#[derive(Default)]
pub struct Fields(Vec<(String, Box<RawValue>)>);

struct Object(Vec<(String, Box<RawValue>)>);

impl<'de> serde::Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Object;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut entries: Vec<(String, Box<RawValue>)> = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Object(last_of_equals(entries)))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// The last of equal names counts, as in Go's decoder. Bodies may have hundreds of thousands of names: none is
/// compared with all others.
fn last_of_equals(entries: Vec<(String, Box<RawValue>)>) -> Vec<(String, Box<RawValue>)> {
    let mut names: Vec<&str> = entries.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    if names.windows(2).all(|pair| pair[0] != pair[1]) {
        return entries;
    }
    entries.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect()
}

impl Fields {
    /// Reads a request body. An empty body has no fields, and neither has `null`, which Go's client sends for none.
    pub fn parse(body: &[u8]) -> Result<Fields, Refusal> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Fields::default());
        }
        check_text(body)?;
        match serde_json::from_slice::<Option<Object>>(body) {
            Ok(object) => Ok(Fields(object.map(|object| object.0).unwrap_or_default())),
            Err(why) => Err(Refusal::invalid(format!(
                "failed to parse JSON input: {} (line {}, column {}); send one JSON object",
                category(&why),
                why.line(),
                why.column()
            ))),
        }
    }

    /// Fields from a query string's pairs, each a string.
    pub fn from_pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in pairs {
            fields.set(name, &value);
        }
        fields
    }

    /// Sets a field from anything that serializes; used where a parameter comes from the path or query.
    pub fn set(&mut self, name: &str, value: &impl serde::Serialize) {
        if let Ok(raw) = serde_json::value::to_raw_value(value) {
            self.0.retain(|(known, _)| known != name);
            self.0.push((name.to_owned(), raw));
        }
    }

    /// The names of all fields, in the order they were sent.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// All fields with their JSON text, in the order they were sent.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), &**value))
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Field `name` as the JSON text the client sent. `null` counts as absent.
    pub fn raw(&self, name: &str) -> Option<&RawValue> {
        let raw = self.0.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)?;
        (raw.get() != "null").then_some(raw)
    }

    /// True when the field was sent and is not `null`.
    pub fn has(&self, name: &str) -> bool {
        self.raw(name).is_some()
    }

    /// Field `name` as a JSON value.
    pub fn value(&self, name: &str) -> Result<Option<Value>, Refusal> {
        self.raw(name).map(|raw| parse(name, raw)).transpose()
    }

    /// All fields as a JSON object.
    pub fn to_object(&self) -> Result<serde_json::Map<String, Value>, Refusal> {
        self.0.iter().map(|(name, raw)| Ok((name.clone(), parse(name, raw)?))).collect()
    }

    /// All fields as the text of a JSON object, numbers and all as they were sent.
    pub fn to_json(&self) -> String {
        let mut text = String::from("{");
        for (at, (name, raw)) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "," };
            let name = Value::String(name.clone());
            text.push_str(&format!("{separator}{name}:{}", raw.get()));
        }
        text.push('}');
        text
    }

    /// Field `name` read as `T`, strictly.
    pub fn typed<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Refusal> {
        let read =
            |raw: &RawValue| serde_json::from_str(raw.get()).map_err(|why| wrong(name, &category(&why)));
        self.raw(name).map(read).transpose()
    }

    /// Field `name` as text; numbers and booleans are written out.
    pub fn string(&self, name: &str) -> Result<Option<String>, Refusal> {
        self.value(name)?.map(|value| text_of(name, value)).transpose()
    }

    /// Field `name` as text, or a refusal that it is missing.
    pub fn required(&self, name: &str) -> Result<String, Refusal> {
        match self.string(name)? {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(Refusal::invalid(format!("missing {name}"))),
        }
    }

    /// Field `name` as a whole number; text is read, `""` is zero.
    pub fn int(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let read = |value: Value| int_of(&value).ok_or_else(|| wrong(name, "write a whole number"));
        self.value(name)?.map(read).transpose()
    }

    /// Field `name` as a boolean; accepts `1`, `t`, `true`, `0`, `f`, `false` as text and numbers.
    pub fn bool(&self, name: &str) -> Result<Option<bool>, Refusal> {
        let read = |value: Value| match value {
            Value::Bool(is) => Ok(is),
            Value::Number(number) => Ok(number.as_f64() != Some(0.0)),
            Value::String(text) => match text.as_str() {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
                "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
                _ => Err(wrong(name, "write true or false")),
            },
            _ => Err(wrong(name, "write true or false")),
        };
        self.value(name)?.map(read).transpose()
    }

    /// Field `name` as a duration: seconds as a number or text, or text with units.
    pub fn duration(&self, name: &str) -> Result<Option<Duration>, Refusal> {
        let read = |value: Value| duration_of(name, &value);
        self.value(name)?.map(read).transpose()
    }

    /// Field `name` as a list of texts: an array, or text separated by commas. Entries are trimmed.
    pub fn strings(&self, name: &str) -> Result<Option<Vec<String>>, Refusal> {
        let read = |value: Value| match value {
            Value::Array(items) => items.into_iter().map(|item| text_of(name, item)).collect(),
            Value::String(text) if text.trim().is_empty() => Ok(Vec::new()),
            Value::String(text) => Ok(text.split(',').map(|item| item.trim().to_owned()).collect()),
            other => Ok(vec![text_of(name, other)?]),
        };
        self.value(name)?.map(read).transpose()
    }

    /// Field `name` as a list of whole numbers.
    pub fn ints(&self, name: &str) -> Result<Option<Vec<i64>>, Refusal> {
        let number =
            |text: &String| text.trim().parse().map_err(|_| wrong(name, "write a list of whole numbers"));
        self.strings(name)?.map(|texts| texts.iter().map(number).collect()).transpose()
    }

    /// Field `name` as a map of texts: an object, a list of `k=v`, `k=v` text separated by commas, or the text
    /// of a JSON object.
    pub fn pairs(&self, name: &str) -> Result<Option<BTreeMap<String, String>>, Refusal> {
        let read = |value: Value| match value {
            Value::Object(map) => {
                map.into_iter().map(|(key, value)| Ok((key, text_of(name, value)?))).collect()
            }
            Value::Array(items) => {
                items.into_iter().map(|item| split_pair(name, &text_of(name, item)?)).collect()
            }
            Value::String(text) if text.trim_start().starts_with('{') => {
                let map: BTreeMap<String, Value> =
                    serde_json::from_str(&text).map_err(|_| wrong(name, "the text is not a JSON object"))?;
                map.into_iter().map(|(key, value)| Ok((key, text_of(name, value)?))).collect()
            }
            Value::String(text) => text
                .split(',')
                .filter(|pair| !pair.trim().is_empty())
                .map(|pair| split_pair(name, pair))
                .collect(),
            _ => Err(wrong(name, "write an object of texts")),
        };
        self.value(name)?.map(read).transpose()
    }
}

fn parse(name: &str, raw: &RawValue) -> Result<Value, Refusal> {
    serde_json::from_str(raw.get()).map_err(|why| wrong(name, &category(&why)))
}

fn wrong(name: &str, why: &str) -> Refusal {
    Refusal::invalid(format!("Field validation failed: error converting input for field {name:?}: {why}"))
}

/// What is wrong, without the input's own text: serde's messages may quote it.
fn category(why: &serde_json::Error) -> String {
    match why.classify() {
        serde_json::error::Category::Eof => "the JSON ends too early".to_owned(),
        serde_json::error::Category::Syntax => "the JSON is malformed".to_owned(),
        _ => "the JSON has another type than expected".to_owned(),
    }
}

fn text_of(name: &str, value: Value) -> Result<String, Refusal> {
    match value {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(is) => Ok(if is { "1" } else { "0" }.to_owned()),
        Value::Null => Ok(String::new()),
        _ => Err(wrong(name, "write a text, not a list or an object")),
    }
}

fn int_of(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => {
            number.as_i64().or_else(|| number.as_f64().filter(|n| n.fract() == 0.0).map(|n| n as i64))
        }
        Value::String(text) if text.trim().is_empty() => Some(0),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(is) => Some(i64::from(*is)),
        _ => None,
    }
}

const HOW_TO_WRITE_DURATIONS: &str =
    "write a duration: seconds (30), or numbers with units (1h30m, 5d, 250ms)";

fn duration_of(name: &str, value: &Value) -> Result<Duration, Refusal> {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(seconds) if (0.0..9.0e9).contains(&seconds) => Ok(Duration::from_secs(seconds as u64)),
            _ => Err(wrong(name, "write a duration of 0 seconds or more, below 292 years")),
        },
        // Refusals are in audit records: a text that is no duration may be a secret in the wrong place.
        Value::String(text) => parse_duration(text).map_err(|_| wrong(name, HOW_TO_WRITE_DURATIONS)),
        _ => Err(wrong(name, HOW_TO_WRITE_DURATIONS)),
    }
}

fn split_pair(name: &str, pair: &str) -> Result<(String, String), Refusal> {
    match pair.split_once('=') {
        Some((key, value)) => Ok((key.trim().to_owned(), value.to_owned())),
        None => Err(wrong(name, "write each entry as key=value")),
    }
}

/// What the reader below lets through, in one pass over the text: nesting that would exhaust a stack, and escapes
/// of half a character, which no later reader could make text of (RFC 8259, section 8.2).
fn check_text(body: &[u8]) -> Result<(), Refusal> {
    let (mut depth, mut in_string, mut at) = (0usize, false, 0);
    while let Some(byte) = body.get(at) {
        at += 1;
        match byte {
            b'\\' if in_string => at += escape_length(&body[at..])?,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(Refusal::invalid(format!(
                "failed to parse JSON input: nested deeper than {MAX_DEPTH} levels; flatten it"
            )));
        }
    }
    Ok(())
}

/// How many bytes an escape has after its backslash. A malformed one is left to the reader to refuse.
fn escape_length(rest: &[u8]) -> Result<usize, Refusal> {
    match (utf16_unit(rest), rest.get(5).filter(|byte| **byte == b'\\').and_then(|_| utf16_unit(&rest[6..])))
    {
        (None, _) => Ok(1),
        (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => Ok(11),
        (Some(0xd800..=0xdfff), _) => Err(Refusal::invalid(
            "failed to parse JSON input: a \\u escape is half of a surrogate pair; send both halves, or the character",
        )),
        (Some(_), _) => Ok(5),
    }
}

fn utf16_unit(escape: &[u8]) -> Option<u16> {
    let digits = std::str::from_utf8(escape.strip_prefix(b"u")?.get(..4)?).ok()?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(json: &str) -> Fields {
        Fields::parse(json.as_bytes()).unwrap_or_else(|why| panic!("{json}: {why:?}"))
    }

    #[test]
    fn weak_types_are_read_as_clients_send_them() {
        let sent = fields(
            r#"{"i":"5","j":5,"k":5.0,"b":"true","c":1,"d":false,"t":"1h","u":90,"v":"90","l":"a, b","m":["a","b"],
                "p":{"x":1,"y":"z"},"q":["x=1","y=z"],"r":"x=1,y=z","s":"{\"x\":1,\"y\":\"z\"}","n":null,"e":""}"#,
        );
        for name in ["i", "j", "k"] {
            assert_eq!(sent.int(name).unwrap(), Some(5), "{name}");
        }
        assert_eq!(sent.bool("b").unwrap(), Some(true));
        assert_eq!(sent.bool("c").unwrap(), Some(true));
        assert_eq!(sent.bool("d").unwrap(), Some(false));
        assert_eq!(sent.duration("t").unwrap(), Some(Duration::from_secs(3600)));
        assert_eq!(sent.duration("u").unwrap(), sent.duration("v").unwrap());
        assert_eq!(sent.strings("l").unwrap(), sent.strings("m").unwrap());
        for name in ["q", "r", "s"] {
            assert_eq!(sent.pairs(name).unwrap(), sent.pairs("p").unwrap(), "{name}");
        }
        assert!(!sent.has("n") && sent.string("n").unwrap().is_none());
        assert_eq!(sent.strings("e").unwrap(), Some(vec![]));
        assert!(sent.required("e").is_err() && sent.required("zz").is_err());
    }

    #[test]
    fn big_numbers_keep_their_digits() {
        let sent = fields(r#"{"data":{"n":123456789012345678901234567890,"f":1.10}}"#);
        assert_eq!(
            sent.raw("data").map(RawValue::get),
            Some(r#"{"n":123456789012345678901234567890,"f":1.10}"#)
        );
    }

    #[test]
    fn the_last_of_equal_names_counts() {
        let sent = fields(r#"{"a":1,"b":3,"a":2}"#);
        assert_eq!(
            (sent.int("a").unwrap(), sent.int("b").unwrap(), sent.names().count()),
            (Some(2), Some(3), 2)
        );
    }

    #[test]
    fn nothing_has_no_fields() {
        for nothing in ["", " \r\n", "{}", "null", " null\n"] {
            assert!(fields(nothing).is_empty(), "{nothing:?}");
        }
    }

    #[test]
    fn bad_input_is_refused_without_quoting_it() {
        for bad in ["{", "[]", "3", "{\"a\":}", "{\"canary\":canary}", "\"canary\""] {
            let why = Fields::parse(bad.as_bytes()).err().map(|why| why.messages().join(" "));
            assert!(why.as_ref().is_some_and(|why| !why.contains("canary")), "{bad}: {why:?}");
        }
        for half in [r"\ud800", r"\udc00\ud800", r"\ud83dx", r"\ud83d\n", r"\\\ud83d\ud83d\ude00"] {
            assert!(Fields::parse(format!(r#"{{"a":"{half}"}}"#).as_bytes()).is_err(), "{half}");
        }
        let whole = fields(r#"{"a":"\ud83d\ude00\\ud800\u00fc\"","b":"{[\\"}"#);
        assert_eq!(whole.string("a").unwrap().unwrap(), "😀\\ud800ü\"");
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert!(Fields::parse(deep.as_bytes()).is_err());
        let sent = fields(r#"{"a":"x","b":[],"c":{},"d":-5}"#);
        assert!(sent.int("a").is_err() && sent.bool("a").is_err() && sent.duration("d").is_err());
        let why = fields(r#"{"ttl":"canary"}"#).duration("ttl").unwrap_err().messages().join(" ");
        assert!(why.contains("ttl") && why.contains("write a duration") && !why.contains("canary"), "{why}");
        assert!(sent.string("c").is_err() && sent.pairs("a").is_err() && sent.ints("a").is_err());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(body in ".{0,200}") {
            if let Ok(fields) = Fields::parse(body.as_bytes()) {
                let names: Vec<String> = fields.names().map(str::to_owned).collect();
                for name in names {
                    let _ = (fields.int(&name), fields.bool(&name), fields.duration(&name));
                    let _ = (fields.strings(&name), fields.pairs(&name), fields.string(&name));
                }
            }
        }
    }
}
