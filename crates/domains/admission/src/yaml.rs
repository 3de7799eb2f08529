//! YAML as Kubernetes reads it (`sigs.k8s.io/yaml`): YAML 1.1's plain scalars, keys made strings, later keys over earlier ones.

use crate::json;
use granit_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::fmt;

/// How deep documents may be nested.
const DEPTH: usize = 200;
/// How many values the aliases of one document may stand for, for a few lines can stand for billions.
const ALIASED: usize = 100_000;

/// Why a text is not YAML, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Counted from one.
    pub line: usize,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

impl std::error::Error for Fault {}

/// One document of a stream.
#[derive(Clone, Debug)]
pub struct Document {
    /// What it says.
    pub value: Value,
    /// Where each value begins.
    pub lines: Lines,
}

/// Where the values of a document begin, as a tree of the same shape.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    line: usize,
    within: Vec<(Box<str>, Lines)>,
}

impl Lines {
    /// The line, counted from one, of the value at `path`, whose steps are keys and decimal indexes; of what is nearest
    /// above it where there is none.
    pub fn of<'p>(&self, path: impl IntoIterator<Item = &'p str>) -> usize {
        let mut here = self;
        for step in path {
            match here.within.iter().find(|(name, _)| **name == *step) {
                Some((_, next)) => here = next,
                None => break,
            }
        }
        here.line
    }
}

/// The documents of a text; empty ones are left out. JSON is YAML too.
///
/// # Errors
///
/// The first place that is not YAML, is nested deeper than 200, or whose aliases stand for more than 100,000 values.
pub fn documents(text: &str) -> Result<Vec<Document>, Fault> {
    read(text, true)
}

/// The documents of a text without their lines, which takes half the time.
///
/// # Errors
///
/// As [`documents`].
pub fn values(text: &str) -> Result<Vec<Value>, Fault> {
    Ok(read(text, false)?.into_iter().map(|document| document.value).collect())
}

/// The documents of a text without their lines, each read when it is asked for.
pub fn stream(text: &str) -> impl Iterator<Item = Result<Value, Fault>> {
    Reader::new(text, false).map(|document| document.map(|document| document.value))
}

fn read(text: &str, lined: bool) -> Result<Vec<Document>, Fault> {
    Reader::new(text, lined).collect()
}

impl Iterator for Reader<'_> {
    type Item = Result<Document, Fault>;

    fn next(&mut self) -> Option<Result<Document, Fault>> {
        if self.done {
            return None;
        }
        let document = self.document().transpose();
        self.done = !matches!(document, Some(Ok(_)));
        document
    }
}

struct Reader<'t> {
    events: Parser<'t, granit_parser::StrInput<'t>>,
    anchors: HashMap<usize, (Value, usize)>,
    aliased: usize,
    lined: bool,
    done: bool,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str, lined: bool) -> Reader<'t> {
        Reader { events: Parser::new_from_str(text), anchors: HashMap::new(), aliased: 0, lined, done: false }
    }

    /// The next document that is not empty.
    fn document(&mut self) -> Result<Option<Document>, Fault> {
        while let Some((event, line)) = self.event()? {
            match event {
                Event::StreamEnd => break,
                Event::DocumentStart(..) => {
                    self.anchors.clear();
                    self.aliased = 0;
                }
                Event::StreamStart | Event::DocumentEnd => {}
                event => {
                    let (value, lines) = self.node(event, line, 0)?;
                    if !value.is_null() {
                        return Ok(Some(Document { value, lines }));
                    }
                }
            }
        }
        Ok(None)
    }

    fn event(&mut self) -> Result<Option<(Event<'t>, usize)>, Fault> {
        loop {
            match self.events.next_event() {
                None => return Ok(None),
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok((event, Span { start, .. }))) => return Ok(Some((event, start.line()))),
                Some(Err(why)) => {
                    return Err(Fault { line: why.marker().line(), why: why.info().to_string() });
                }
            }
        }
    }

    fn within(&mut self) -> Result<(Event<'t>, usize), Fault> {
        self.event()?.ok_or(Fault { line: 0, why: "the document ends in the middle".to_owned() })
    }

    fn node(&mut self, event: Event<'t>, line: usize, depth: usize) -> Result<(Value, Lines), Fault> {
        if depth > DEPTH {
            return Err(Fault { line, why: format!("nested deeper than {DEPTH}") });
        }
        let mut lines = Lines { line, within: Vec::new() };
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.as_deref().map(|tag| tag.suffix().to_owned());
                (scalar(&text, style, tag.as_deref()), anchor)
            }
            Event::SequenceStart(_, anchor, _) => {
                let mut list = Vec::new();
                loop {
                    let (event, line) = self.within()?;
                    if matches!(event, Event::SequenceEnd) {
                        break;
                    }
                    let (value, inner) = self.node(event, line, depth + 1)?;
                    if self.lined {
                        lines.within.push((list.len().to_string().into(), inner));
                    }
                    list.push(value);
                }
                (Value::Array(list), anchor)
            }
            Event::MappingStart(_, anchor, _) => (self.mapping(&mut lines, depth)?, anchor),
            Event::Alias(id) => {
                let Some((value, size)) = self.anchors.get(&id) else {
                    return Err(Fault { line, why: "an alias of itself".to_owned() });
                };
                self.aliased += size;
                if self.aliased > ALIASED {
                    return Err(Fault { line, why: format!("aliases for more than {ALIASED} values") });
                }
                (value.clone(), 0)
            }
            other => return Err(Fault { line, why: format!("{other:?} where a value was to be") }),
        };
        if anchor != 0 {
            let size = size(&value);
            self.anchors.insert(anchor, (value.clone(), size));
        }
        Ok((value, lines))
    }

    fn mapping(&mut self, lines: &mut Lines, depth: usize) -> Result<Value, Fault> {
        let mut map = Map::new();
        let mut merged: Vec<Value> = Vec::new();
        loop {
            let (event, line) = self.within()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let plain = matches!(&event, Event::Scalar(_, ScalarStyle::Plain, ..));
            let key = match event {
                // A string as a rule, so it is not made a value first.
                Event::Scalar(text, style, 0, None) => key_of(&text, style),
                event => match self.node(event, line, depth + 1)?.0 {
                    Value::String(text) => text,
                    Value::Array(_) | Value::Object(_) => {
                        return Err(Fault {
                            line,
                            why: "a key is a string, a number or a boolean".to_owned(),
                        });
                    }
                    other => other.to_string(),
                },
            };
            let (event, value_line) = self.within()?;
            let (value, inner) = self.node(event, value_line, depth + 1)?;
            if plain && key == "<<" {
                merged.push(value);
                continue;
            }
            if self.lined {
                let inner = Lines { line, within: inner.within };
                lines.within.push((key.as_str().into(), inner));
            }
            map.insert(key, value);
        }
        for source in merged {
            let sources = match source {
                Value::Array(list) => list,
                other => vec![other],
            };
            for source in sources {
                let Value::Object(source) = source else {
                    return Err(Fault {
                        line: lines.line,
                        why: "<< merges a mapping or a list of them".to_owned(),
                    });
                };
                for (key, value) in source {
                    map.entry(key).or_insert(value);
                }
            }
        }
        Ok(Value::Object(map))
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(size).sum::<usize>(),
        Value::Object(map) => 1 + map.values().map(size).sum::<usize>(),
        _ => 1,
    }
}

fn key_of(text: &str, style: ScalarStyle) -> String {
    let first = text.as_bytes().first().copied().unwrap_or(b'~');
    // What cannot be anything but a string is not tried as anything else.
    if style != ScalarStyle::Plain || (first.is_ascii_alphabetic() && !b"tTfFyYnNoO".contains(&first)) {
        return text.to_owned();
    }
    match plain(text) {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&str>) -> Value {
    match tag {
        Some("str" | "binary") => Value::String(text.to_owned()),
        Some("float") => {
            text.parse().ok().and_then(json::number).unwrap_or_else(|| Value::String(text.to_owned()))
        }
        _ if style == ScalarStyle::Plain => plain(text),
        _ => Value::String(text.to_owned()),
    }
}

fn plain(text: &str) -> Value {
    let bytes = text.as_bytes();
    let Some(first) = bytes.first() else { return Value::Null };
    match text {
        "~" | "null" | "Null" | "NULL" => return Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "true" | "True" | "TRUE" => {
            return Value::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "false" | "False" | "FALSE" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    if (first.is_ascii_digit() || b"+-.".contains(first))
        && let Some(value) = integer(text).or_else(|| float(text))
    {
        return value;
    }
    Value::String(text.to_owned())
}

fn integer(text: &str) -> Option<Value> {
    let clean = if text.contains('_') { text.replace('_', "") } else { text.to_owned() };
    let (negative, digits) = match clean.as_bytes().first()? {
        b'-' => (true, &clean[1..]),
        b'+' => (false, &clean[1..]),
        _ => (false, &clean[..]),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.bytes().all(|digit| char::from(digit).is_digit(radix)) {
        return None;
    }
    let value = i128::from_str_radix(digits, radix).ok()?;
    let value = if negative { -value } else { value };
    i64::try_from(value).map(Value::from).or_else(|_| u64::try_from(value).map(Value::from)).ok()
}

fn float(text: &str) -> Option<Value> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    let exponent_fits = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    if !digits(whole) || !digits(fraction) || (whole.is_empty() && fraction.is_empty()) || !exponent_fits {
        return None;
    }
    text.parse().ok().and_then(json::number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn plain_scalars_as_kubernetes_reads_them() {
        for (text, value) in [
            ("yes", json!(true)),
            ("N", json!(false)),
            ("'yes'", json!("yes")),
            ("0644", json!(420)),
            ("08", json!(8)),
            ("1.0", json!(1)),
            ("1.5e2", json!(150)),
            ("0x1F", json!(31)),
            ("1_000", json!(1000)),
            ("~", Value::Null),
            ("10.0.0.1", json!("10.0.0.1")),
            ("100m", json!("100m")),
            ("2020-01-01", json!("2020-01-01")),
            ("-5", json!(-5)),
            ("!!str 5", json!("5")),
            ("1e3", json!(1000)),
            ("-", json!([null])),
        ] {
            assert_eq!(
                values(&format!("a: {text}\n"))
                    .unwrap_or_default()
                    .first()
                    .map(|v| v["a"].clone())
                    .unwrap_or_else(|| json!([null])),
                value,
                "{text}"
            );
        }
    }

    #[test]
    fn streams_merges_aliases_and_lines() {
        let text =
            "---\na: &x {b: 1, c: 2}\nd:\n  <<: *x\n  c: 3\n---\n# nothing\n---\n- 1\n- e:\n    f: 2\n";
        let read = documents(text).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].value["d"], json!({"b": 1, "c": 3}));
        assert_eq!(read[1].lines.of(["1", "e", "f"]), 11);
        assert_eq!(read[1].lines.of(["1", "g"]), 10);
    }

    #[test]
    fn bombs_and_breaks() {
        let mut bomb = String::from("a: &a [x,x,x,x,x,x,x,x,x,x]\n");
        for (name, of) in "bcdefgh".chars().zip("abcdefg".chars()) {
            bomb.push_str(&format!(
                "{name}: &{name} [*{of},*{of},*{of},*{of},*{of},*{of},*{of},*{of},*{of},*{of}]\n"
            ));
        }
        assert!(values(&bomb).unwrap_err().why.contains("aliases"));
        assert!(values(&"[".repeat(300)).is_err());
        assert!(values("a: [1, 2").is_err());
        assert!(values("a: b: c").is_err());
    }
}
