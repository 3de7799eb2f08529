//! `tests/data/endpoints.txt`, which describes itself.

use serde_json::Value;

/// A part of the page.
#[derive(Debug)]
pub(super) struct Group {
    /// Its title.
    pub(super) title: String,
    /// Its lines.
    pub(super) steps: Vec<Step>,
}

/// One line.
#[derive(Debug)]
pub(super) enum Step {
    /// What later lines need.
    Given {
        /// The HTTP method.
        method: String,
        /// The path below `/v1/`.
        path: String,
        /// What is sent.
        body: Option<Value>,
    },
    /// An endpoint.
    Call(Call),
}

/// An endpoint, and how it is called.
#[derive(Debug)]
pub(super) struct Call {
    /// Where in the file.
    pub(super) line: usize,
    /// How much clients need it.
    pub(super) level: String,
    /// HTTP methods, in the order of the calls.
    pub(super) methods: Vec<String>,
    /// The path with `{NAME}` in it.
    pub(super) pattern: String,
    /// The path that is called.
    pub(super) path: String,
    /// What is sent where the method takes a body.
    pub(super) body: Option<Value>,
    /// What it says to such a call.
    pub(super) answers: Answers,
}

/// What a call is answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answers {
    /// It succeeds, or there is nothing at the path, or there is no such endpoint.
    Plainly,
    /// A refusal with these words, as a good endpoint refuses such a call.
    With(String),
    /// A refusal with these words of what the endpoint is for.
    Refusing(String),
    /// A refusal of what the first text names, with the words of the second.
    Without(String, String),
}

/// Reads the file.
pub(super) fn parse(text: &str) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (line, text) in (1..).zip(text.lines().map(str::trim)) {
        if let Some(title) = text.strip_prefix("## ") {
            groups.push(Group { title: title.to_owned(), steps: Vec::new() });
        } else if !text.is_empty() && !text.starts_with('#') {
            let group = groups.last_mut().unwrap_or_else(|| panic!("line {line} stands before every group"));
            group
                .steps
                .push(step(line, text).unwrap_or_else(|| panic!("line {line} cannot be read: {text}")));
        }
    }
    groups
}

fn step(line: usize, text: &str) -> Option<Step> {
    let (level, rest) = text.split_once(' ')?;
    let (methods, rest) = rest.split_once(' ')?;
    let (place, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let (pattern, path) = placed(place)?;
    let (body, rest) = sent(rest.trim())?;
    if level == "given" && rest.is_empty() {
        return Some(Step::Given { method: methods.to_owned(), path, body });
    }
    let known = matches!(level, "must" | "should" | "beyond" | "other");
    let methods = methods.split(',').map(str::to_owned).collect();
    let answers = answers(rest)?;
    known.then(|| Step::Call(Call { line, level: level.to_owned(), methods, pattern, path, body, answers }))
}

fn answers(text: &str) -> Option<Answers> {
    let Some((key, words)) = text.split_once(": ") else {
        return text.is_empty().then_some(Answers::Plainly);
    };
    match (key, words.to_owned()) {
        ("answers", words) => Some(Answers::With(words)),
        ("refuses", words) => Some(Answers::Refusing(words)),
        (key, words) => Some(Answers::Without(key.strip_prefix("without ")?.to_owned(), words)),
    }
}

/// The JSON that `text` begins with, if it does, and what follows it.
fn sent(text: &str) -> Option<(Option<Value>, &str)> {
    if !text.starts_with('{') {
        return Some((None, text));
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let body = values.next()?.ok()?;
    Some((Some(body), text.get(values.byte_offset()..)?.trim()))
}

/// The pattern without the values it is called with, and the path with them.
fn placed(place: &str) -> Option<(String, String)> {
    let (mut pattern, mut path, mut rest) = (String::new(), String::new(), place);
    while let Some((before, opened)) = rest.split_once('{') {
        let (parameter, after) = opened.split_once('}')?;
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, "compat"));
        pattern.push_str(&format!("{before}{{{name}}}"));
        path.push_str(&format!("{before}{value}"));
        rest = after;
    }
    Some((pattern + rest, path + rest))
}

/// `pattern` with its parameters' names left out: they are nobody's business but its author's.
pub(super) fn nameless(pattern: &str) -> String {
    let mut parts = pattern.split('{');
    let first = parts.next().unwrap_or("").to_owned();
    parts.fold(first, |whole, part| whole + "{}" + part.split_once('}').map_or("", |(_, rest)| rest))
}
