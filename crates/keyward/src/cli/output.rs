//! Answers as tables, JSON, YAML, or one field.

use super::{Failure, OutputArgs};
#[cfg(feature = "authority")]
use keyward_authority::token::human;
#[cfg(feature = "authority")]
use keyward_authority_client::Reply;
use serde_json::Value;
use std::io::{IsTerminal, Write};

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// The answer whole
    Json,
    /// The answer whole
    Yaml,
}

/// Where answers go.
pub(crate) struct Output {
    format: Format,
    field: Option<String>,
}

impl From<&OutputArgs> for Output {
    fn from(args: &OutputArgs) -> Output {
        Output { format: args.output.unwrap_or_default(), field: args.field.clone() }
    }
}

impl Output {
    pub(crate) fn is_table(&self) -> bool {
        self.format == Format::Table && self.field.is_none()
    }

    #[cfg(feature = "authority")]
    /// An answer, whatever it holds.
    pub(crate) fn reply(&self, reply: &Reply) -> Result<(), Failure> {
        let body = reply.body().unwrap_or(Value::Null);
        self.warnings(reply);
        if let Some(field) = &self.field {
            return self.one_field(&body, field);
        }
        match self.format {
            Format::Table => line(&envelope(&body)),
            _ => self.value(&body),
        }
    }

    #[cfg(feature = "authority")]
    /// An answer, or `done` when it holds nothing.
    pub(crate) fn reply_or(&self, reply: &Reply, done: &str) -> Result<(), Failure> {
        if !reply.raw().is_empty() && reply.status != 204 {
            return self.reply(reply);
        }
        self.done(done)
    }

    /// That something was done; programs that read JSON are told nothing.
    pub(crate) fn done(&self, done: &str) -> Result<(), Failure> {
        if self.is_table() { line(done) } else { Ok(()) }
    }

    /// How answers are written.
    #[cfg(feature = "authority")]
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// A sentence for people; other formats get `value`.
    #[cfg(feature = "seal")]
    pub(crate) fn told_as(&self, said: &str, value: &Value) -> Result<(), Failure> {
        if self.is_table() { line(said) } else { self.value(value) }
    }

    /// Any value.
    pub(crate) fn value(&self, value: &Value) -> Result<(), Failure> {
        if let Some(field) = &self.field {
            return self.one_field(value, field);
        }
        match self.format {
            Format::Json => line(&serde_json::to_string_pretty(value).unwrap_or_default()),
            Format::Yaml => line(yaml(value)?.trim_end()),
            Format::Table => line(&table(value)),
        }
    }

    #[cfg(feature = "authority")]
    /// The keys of a listing; as JSON and YAML a list of them alone, which is what scripts read.
    pub(crate) fn keys(&self, reply: &Reply) -> Result<(), Failure> {
        match reply.data().and_then(|mut data| data.get_mut("keys").map(Value::take)) {
            Some(keys) if !self.is_table() && self.field.is_none() => {
                self.warnings(reply);
                self.value(&keys)
            }
            _ => self.reply(reply),
        }
    }

    /// The members of `value` that `rows` name, under its titles; other formats get `value` whole.
    #[cfg(feature = "authority")]
    pub(crate) fn titled(&self, rows: &[(&str, &str)], value: &Value) -> Result<(), Failure> {
        let row = |(title, name): &(&str, &str)| {
            value.get(name).map(|value| vec![(*title).to_owned(), plain(value)])
        };
        self.rows(&["Key", "Value"], &rows.iter().filter_map(row).collect::<Vec<_>>(), value)
    }

    /// Rows under headings; other formats get `value`.
    pub(crate) fn rows(&self, headings: &[&str], rows: &[Vec<String>], value: &Value) -> Result<(), Failure> {
        if self.is_table() { line(&columns(headings, rows)) } else { self.value(value) }
    }

    fn one_field(&self, body: &Value, field: &str) -> Result<(), Failure> {
        let found = member(body, field).ok_or_else(|| Failure::Usage(no_field(body, field)))?;
        let text = match self.format {
            Format::Table => plain(&found),
            _ => found.to_string(),
        };
        let end = if std::io::stdout().is_terminal() { "\n" } else { "" };
        write(&format!("{text}{end}"))
    }

    #[cfg(feature = "authority")]
    fn warnings(&self, reply: &Reply) {
        if self.is_table() {
            for warning in reply.warnings() {
                let _ = writeln!(std::io::stderr(), "WARNING! {warning}");
            }
        }
    }
}

/// One line, and its newline.
/// A value as YAML.
pub(crate) fn yaml(value: &Value) -> Result<String, Failure> {
    serde_saphyr::to_string(value)
        .map_err(|why| Failure::Usage(format!("the answer cannot be written as YAML: {why}")))
}

pub(crate) fn line(text: &str) -> Result<(), Failure> {
    write(&format!("{text}\n"))
}

fn write(text: &str) -> Result<(), Failure> {
    raw(text.as_bytes())
}

/// Bytes, as they are.
pub(crate) fn raw(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    let written = out.write_all(bytes).and_then(|()| out.flush());
    // Whoever reads may stop reading, as `head` does.
    match written {
        Err(why) if why.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(Failure::from),
    }
}

/// What people want of an envelope, in the order and by the names of Vault's command line: the lease, the
/// wrapping, the token, and the data.
fn members(body: &Value) -> Vec<(String, Value)> {
    let mut pairs: Vec<(String, Value)> = Vec::new();
    let mut add = |from: &Value, names: &[(&str, &str)]| {
        let found = names.iter().filter_map(|(name, from_name)| {
            from.get(from_name).map(|value| ((*name).to_owned(), value.clone()))
        });
        pairs.extend(found);
    };
    if body.get("lease_id").and_then(Value::as_str).is_some_and(|lease| !lease.is_empty()) {
        add(body, &LEASE);
    }
    if let Some(wrap) = body.get("wrap_info").filter(|wrap| wrap.is_object()) {
        add(wrap, &WRAPPING);
    }
    if let Some(auth) = body.get("auth").filter(|auth| auth.is_object()) {
        add(auth, &TOKEN);
        for (name, value) in auth.get("metadata").and_then(Value::as_object).into_iter().flatten() {
            pairs.push((format!("token_meta_{name}"), value.clone()));
        }
    }
    pairs.extend(body.get("data").and_then(Value::as_object).cloned().unwrap_or_default());
    pairs
}

/// The names that people know, and those on the wire.
const LEASE: [(&str, &str); 3] =
    [("lease_id", "lease_id"), ("lease_duration", "lease_duration"), ("lease_renewable", "renewable")];
const WRAPPING: [(&str, &str); 6] = [
    ("wrapping_token", "token"),
    ("wrapping_accessor", "accessor"),
    ("wrapping_token_ttl", "ttl"),
    ("wrapping_token_creation_time", "creation_time"),
    ("wrapping_token_creation_path", "creation_path"),
    ("wrapped_accessor", "wrapped_accessor"),
];
const TOKEN: [(&str, &str); 7] = [
    ("token", "client_token"),
    ("token_accessor", "accessor"),
    ("token_duration", "lease_duration"),
    ("token_renewable", "renewable"),
    ("token_policies", "token_policies"),
    ("identity_policies", "identity_policies"),
    ("policies", "policies"),
];

/// The one that `--field` asks for: what a table shows, else what is on the wire.
fn member(body: &Value, name: &str) -> Option<Value> {
    let inner = body.pointer("/data/data").filter(|data| data.is_object());
    let shown = Value::Object(members(body).into_iter().collect());
    let places = [inner, Some(&shown), body.get("auth"), body.get("wrap_info"), Some(body)];
    places.into_iter().flatten().find_map(|place| place.get(name)).cloned()
}

/// Names tell nothing that the answer's reader may not know; values would.
fn no_field(body: &Value, field: &str) -> String {
    let names: Vec<String> = match body.pointer("/data/data").and_then(Value::as_object) {
        Some(data) => data.keys().cloned().collect(),
        None => members(body).into_iter().map(|(name, _)| name).collect(),
    };
    format!("there is no field {field:?} in the answer; it has: {}", names.join(", "))
}

#[cfg(feature = "authority")]
fn envelope(body: &Value) -> String {
    let pairs = members(body);
    if pairs.is_empty() && body.get("data").is_none_or(Value::is_null) {
        return table(body);
    }
    let keys = pairs.iter().find(|(name, _)| name == "keys").and_then(|(_, keys)| keys.as_array());
    match keys {
        Some(keys) if pairs.iter().all(|(name, _)| name == "keys" || name == "key_info") => {
            let rows: Vec<Vec<String>> = keys.iter().map(|key| vec![plain(key)]).collect();
            columns(&["Keys"], &rows)
        }
        _ => {
            let row = |(name, value): &(String, Value)| vec![name.clone(), told(name, value)];
            columns(&["Key", "Value"], &pairs.iter().map(row).collect::<Vec<_>>())
        }
    }
}

#[cfg(feature = "authority")]
/// A member of an envelope as people read it: times to live in units.
fn told(name: &str, value: &Value) -> String {
    match (name, value) {
        ("token_duration", Value::Number(seconds)) if seconds.as_u64() == Some(0) => "∞".to_owned(),
        ("token_duration" | "lease_duration" | "wrapping_token_ttl", Value::Number(seconds)) => {
            human(seconds.as_u64().unwrap_or(0))
        }
        ("identity_policies", Value::Null) => "[]".to_owned(),
        _ => plain(value),
    }
}

/// A value as a table of its members.
pub(crate) fn table(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let rows: Vec<Vec<String>> =
                map.iter().map(|(name, value)| vec![name.clone(), plain(value)]).collect();
            columns(&["Key", "Value"], &rows)
        }
        other => plain(other),
    }
}

/// A value as people read it.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let members: Vec<String> =
                map.iter().map(|(name, value)| format!("{name}:{}", plain(value))).collect();
            format!("map[{}]", members.join(" "))
        }
        other => other.to_string(),
    }
}

/// Columns four spaces apart, headings underlined. An empty cell says so: `n/a`.
pub(crate) fn columns(headings: &[&str], rows: &[Vec<String>]) -> String {
    let said = |cell: &String| if cell.is_empty() { "n/a".to_owned() } else { cell.clone() };
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(said).collect()).collect();
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
        cells.chain(std::iter::once(headings[at].chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let write = |cells: &[String]| {
        let padded: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        padded.join("    ").trim_end().to_owned()
    };
    let heads: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
    let rules: Vec<String> = headings.iter().map(|heading| "-".repeat(heading.len())).collect();
    let mut lines = vec![write(&heads), write(&rules)];
    lines.extend(rows.iter().map(|row| write(row)));
    lines.join("\n")
}

#[cfg(all(test, feature = "authority"))]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tables_are_aligned() {
        assert_eq!(
            table(&json!({"a": 1, "long": ["x", "y"], "n": null})),
            "Key     Value\n---     -----\na       1\nlong    [x y]\nn       <nil>"
        );
        assert_eq!(envelope(&json!({"data": {"keys": ["a", "b/"]}})), "Keys\n----\na\nb/");
        let login = envelope(&json!({"data": null, "auth": {"client_token": "t", "policies": ["p"]}}));
        assert!(login == "Key         Value\n---         -----\ntoken       t\npolicies    [p]", "{login}");
    }

    #[test]
    fn a_field_has_the_name_that_the_table_shows() {
        let login = json!({"data": null, "auth": {"client_token": "t", "accessor": "a"}, "lease_id": ""});
        let wrapped = json!({"wrap_info": {"token": "w", "ttl": 5400, "creation_path": "a"}});
        assert_eq!(member(&wrapped, "wrapping_token_ttl"), Some(json!(5400)));
        assert!(
            envelope(&wrapped).contains("wrapping_token_ttl              1h30m"),
            "{}",
            envelope(&wrapped)
        );
        for (name, value) in [("token", "t"), ("client_token", "t"), ("token_accessor", "a")] {
            assert_eq!(member(&login, name), Some(json!(value)), "{name}");
        }
        let kept = json!({"data": {"data": {"version": "mine"}, "metadata": {"version": 1}}, "lease_id": ""});
        assert_eq!(member(&kept, "version"), Some(json!("mine")));
        assert_eq!(member(&kept, "metadata"), Some(json!({"version": 1})));
        assert_eq!(member(&kept, "absent"), None);
    }
}
