//! What a table of keys is, and the check of one block against it: unknown keys, keys set twice, values of the
//! wrong type, keys without effect, keys that must not be ignored.

use super::report::{Place, Report};
use keyward_authority::hcl::{Item, Object, Value};
use keyward_core::parse_duration;
use std::collections::HashMap;
use std::time::Duration;

/// The keys one kind of block may have.
pub struct Table {
    /// How the block is written, for messages and for the documentation.
    pub name: &'static str,
    /// Its keys, in groups that several tables may share.
    pub groups: &'static [&'static [Entry]],
}

/// One key.
pub struct Entry {
    /// As it is written; case does not matter.
    pub name: &'static str,
    /// The type of its value.
    pub shape: Shape,
    /// What becomes of it.
    pub fate: Fate,
    /// The default of a key that is used; of any other, the value that asks for nothing.
    pub usual: &'static str,
    /// What a key does, or why it does nothing.
    pub about: &'static str,
}

/// The type of a value. Texts that read as the type are accepted, as Vault accepts them.
#[derive(Clone, Copy)]
pub enum Shape {
    /// A text.
    Text,
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Whole,
    /// Seconds, or a text like `1h30m`.
    Duration,
    /// A list of texts, or one text with commas.
    Texts,
    /// Permission bits in octal.
    Mode,
    /// A block with keys of its own.
    Block(&'static Table),
    /// Blocks with this many labels, read apart from the table.
    Labelled(usize),
    /// Not looked into.
    Free,
}

impl Shape {
    /// The type's name in the documentation.
    pub fn name(self) -> &'static str {
        match self {
            Shape::Text => "text",
            Shape::Flag => "boolean",
            Shape::Whole => "number",
            Shape::Duration => "duration",
            Shape::Texts => "list of texts",
            Shape::Mode => "octal mode",
            Shape::Block(_) | Shape::Labelled(_) => "block",
            Shape::Free => "any",
        }
    }
}

/// What becomes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It does what it says.
    Used,
    /// It does nothing, which the operator is told unless the value asks for nothing.
    Idle,
    /// It does nothing, as its whole block, which the operator is told once.
    Inert,
    /// Ignoring it would betray what it asks for, so it is refused with this remedy.
    Absent(&'static str),
}

impl Table {
    /// All keys.
    pub fn entries(&self) -> impl Iterator<Item = &'static Entry> {
        self.groups.iter().flat_map(|group| group.iter())
    }

    fn entry(&self, name: &str) -> Option<&'static Entry> {
        self.entries().find(|entry| entry.name.eq_ignore_ascii_case(name))
    }
}

/// Checks the items of a block against its table.
pub(super) fn check(report: &mut Report, file: usize, object: &Object, table: &Table) {
    let mut seen: HashMap<String, u32> = HashMap::new();
    for item in &object.items {
        let place = Place { file, at: Some(item.at()) };
        let Some(entry) = table.entry(item.name()) else {
            unknown(report, place, item.name(), table);
            continue;
        };
        let repeats = matches!(entry.shape, Shape::Labelled(_) | Shape::Free);
        if let Some(line) = seen.insert(entry.name.to_owned(), item.at().line)
            && !repeats
        {
            report.mistake(
                place,
                format!("`{}` is set twice, first in line {line}", entry.name),
                "remove one",
            );
        }
        check_item(report, place, item, entry);
    }
}

fn check_item(report: &mut Report, place: Place, item: &Item, entry: &Entry) {
    let value_place = Place { at: Some(item.value.at), ..place };
    let plain = item.keys.len() == 1 || matches!(entry.shape, Shape::Labelled(_) | Shape::Free);
    if !plain || !fits(&item.value, entry.shape) {
        let found = if plain { item.value.describe() } else { "a block with a label" };
        let (what, remedy) = mismatch(entry, found, &item.value);
        report.mistake(value_place, what, remedy);
        return;
    }
    if asks_for_nothing(&item.value, entry) {
        return;
    }
    match entry.fate {
        Fate::Used | Fate::Inert => {}
        Fate::Idle => report.warn(place, format!("`{}` has no effect: {}", entry.name, entry.about)),
        Fate::Absent(remedy) => {
            report.mistake(place, format!("`{}` cannot be honoured: {}", entry.name, entry.about), remedy);
            return;
        }
    }
    if let (Shape::Block(table), Some(object)) = (entry.shape, item.value.as_object()) {
        check(report, place.file, object, table);
    }
}

fn asks_for_nothing(value: &Value, entry: &Entry) -> bool {
    match entry.shape {
        Shape::Flag => value.as_bool().is_some_and(|flag| flag.to_string() == entry.usual) || blank(value),
        Shape::Block(_) | Shape::Labelled(_) | Shape::Free => false,
        Shape::Texts => value.as_list().is_empty() || blank(value),
        Shape::Duration => blank(value) || duration(value) == parse_duration(entry.usual).ok(),
        _ => blank(value) || value.as_str().is_some_and(|text| text.eq_ignore_ascii_case(entry.usual)),
    }
}

/// An empty text stands for "not set", as does JSON's null.
fn blank(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.trim().is_empty())
}

/// Whether a value is of a type, or not set.
pub(super) fn fits(value: &Value, shape: Shape) -> bool {
    match shape {
        Shape::Text => value.as_str().is_some(),
        Shape::Flag => blank(value) || value.as_bool().is_some(),
        Shape::Whole => blank(value) || value.as_int().is_some(),
        Shape::Duration => duration(value).is_some(),
        Shape::Texts => texts(value).is_some(),
        Shape::Mode => blank(value) || mode(value).is_some(),
        Shape::Block(_) => value.as_object().is_some(),
        Shape::Labelled(_) | Shape::Free => true,
    }
}

fn mismatch(entry: &Entry, found: &str, value: &Value) -> (String, String) {
    let name = entry.name;
    // A number or boolean is no credential; a text may be one and is not repeated.
    let shown = match (value.describe(), value.as_str()) {
        ("a string" | "a list" | "an object", _) | (_, None) => found.to_owned(),
        (_, Some(text)) => format!("{text}, {found}"),
    };
    let (wanted, example) = match entry.shape {
        Shape::Text => ("a text", format!("{name} = \"…\"")),
        Shape::Flag => ("true or false", format!("{name} = true")),
        Shape::Whole => ("a whole number", format!("{name} = 10")),
        Shape::Duration => ("a duration", format!("{name} = \"90s\" (units: ms, s, m, h, d), or seconds")),
        Shape::Texts => ("a list of texts", format!("{name} = [\"…\", \"…\"]")),
        Shape::Mode => ("permission bits in octal, 0777 at most", format!("{name} = \"0600\"")),
        Shape::Block(_) => ("a block", format!("{name} {{ … }}")),
        Shape::Labelled(_) | Shape::Free => ("a block", format!("{name} \"…\" {{ … }}")),
    };
    (format!("`{name}` must be {wanted}, and is {shown}"), format!("write {example}"))
}

/// The empty text is no duration but a key that is not set.
pub(super) fn duration(value: &Value) -> Option<Duration> {
    value.as_str().and_then(|text| parse_duration(text).ok())
}

pub(super) fn texts(value: &Value) -> Option<Vec<String>> {
    let mut texts = Vec::new();
    for one in value.as_list() {
        let parts = one.as_str()?.split(',').map(str::trim).filter(|part| !part.is_empty());
        texts.extend(parts.map(str::to_owned));
    }
    Some(texts)
}

pub(super) fn mode(value: &Value) -> Option<u32> {
    let text = value.as_str()?.trim();
    let text = text.strip_prefix("0o").unwrap_or(text);
    u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777)
}

/// A key no table knows here. Past a hundred mistakes nobody reads suggestions, and they cost time.
fn unknown(report: &mut Report, place: Place, name: &str, table: &Table) {
    let what = format!("unknown key `{name}` in {}", table.name);
    let remedy = if report.mistakes() >= 100 { None } else { suggestion(name, table) };
    report.mistake(
        place,
        what,
        remedy.unwrap_or_else(|| "remove it, or see docs/configuration.md".to_owned()),
    );
}

/// The same key where it belongs, else the most similar one here.
fn suggestion(name: &str, table: &Table) -> Option<String> {
    let root = &super::keys::ROOT;
    let is_used = |other: &Table| other.entry(name).is_some_and(|entry| entry.fate == Fate::Used);
    if table.name != root.name && is_used(root) {
        return Some("move it out of the block".to_owned());
    }
    let block = super::keys::TABLES.iter().find(|other| table.name == root.name && is_used(other));
    if let Some(block) = block {
        return Some(format!("move it into {}", block.name));
    }
    let near = nearest(name, table.entries().map(|entry| entry.name))?;
    Some(format!("did you mean `{near}`?"))
}

/// The known word that differs least, if it differs by no more than a third of its letters.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_', '.'], "");
    let wanted: Vec<char> = plain(name).chars().take(64).collect();
    known
        .map(|word| (distance(&wanted, &plain(word).chars().collect::<Vec<_>>()), word))
        .filter(|(distance, word)| *distance <= word.len().div_ceil(3).min(4))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Letters to insert, drop, change or swap with their neighbour (optimal string alignment).
fn distance(left: &[char], right: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (row, l) in left.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, r) in right.iter().enumerate() {
            let change = above[column] + usize::from(l != r);
            let mut least = change.min(above[column + 1] + 1).min(line[column] + 1);
            if row > 0 && column > 0 && left[row - 1] == *r && right[column - 1] == *l {
                least = least.min(before[column - 1] + 1);
            }
            line.push(least);
        }
        before = std::mem::replace(&mut above, line);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_and_nonsense_is_not() {
        let known = ["address", "tls_cert_file", "tls_key_file", "tls_disable"];
        for (name, near) in [
            ("adress", Some("address")),
            ("addres", Some("address")),
            ("tls_cert", Some("tls_cert_file")),
            ("tlsCertFile", Some("tls_cert_file")),
            ("tls-key-file", Some("tls_key_file")),
            ("tls_disabled", Some("tls_disable")),
            ("tls_diasble", Some("tls_disable")),
            ("banana", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, known.into_iter()), near, "{name}");
        }
    }

    #[test]
    fn distances() {
        let of = |left: &str, right: &str| {
            distance(&left.chars().collect::<Vec<_>>(), &right.chars().collect::<Vec<_>>())
        };
        for (left, right, wanted) in
            [("", "", 0), ("a", "", 1), ("", "ab", 2), ("ab", "ba", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(of(left, right), wanted, "{left} {right}");
            assert_eq!(of(right, left), wanted, "{right} {left}");
        }
    }
}
