//! From text to rules.

use super::MAX_PATH;
use super::capability::Capabilities;
use super::conditions::{Conditions, Literal, Values};
use super::expression::Expression;
use super::filter::KeyFilter;
use super::model::{Policy, PolicyError, Problem, Rule};
use super::templates::{KNOWN, Template};
use crate::hcl::{self, Block, Item, Kind, Position, Value};
use keyward_core::{Timestamp, parse_duration};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// So many problems are told at once.
const MAX_PROBLEMS: usize = 20;

const KEYS: [&str; 12] = [
    "comment",
    "policy",
    "capabilities",
    "allowed_parameters",
    "denied_parameters",
    "required_parameters",
    "min_wrapping_ttl",
    "max_wrapping_ttl",
    "pagination_limit",
    "expiration",
    "condition",
    "list_scan_response_keys_filter_path",
];

/// Conditions that exist elsewhere. Ignoring one would grant more than the author wrote.
const ABSENT: [&str; 3] = ["mfa_methods", "control_group", "subscribe_event_types"];

impl Policy {
    /// Reads a policy in HCL or JSON, as Vault and OpenBao do. The name is lowered.
    ///
    /// # Errors
    /// Everything that is wrong with the text, with lines. The name `root` is an error, for that policy is
    /// [`Policy::root`] and has no text.
    pub fn parse(name: &str, text: &str) -> Result<Policy, PolicyError> {
        let name = name.trim().to_lowercase();
        if name == "root" {
            return Err(PolicyError {
                problems: vec![Problem {
                    at: Position { line: 1, column: 1 },
                    what: "cannot update \"root\" policy".to_owned(),
                    remedy: "give the policy another name".to_owned(),
                }],
            });
        }
        Ok(Policy { name: name.into(), rules: rules(text)?, root: false })
    }
}

/// Reads all rules, or says everything that is wrong.
fn rules(text: &str) -> Result<Vec<Rule>, PolicyError> {
    let document = hcl::parse(text).map_err(|why| PolicyError { problems: vec![why.into()] })?;
    let mut reader = Reader { problems: Vec::new(), path: None };
    for item in &document.items {
        match item.name() {
            "path" => {}
            "name" => reader.check_name(item),
            other => reader.unknown_key(other, item.at(), &["path", "name"]),
        }
    }
    let written = document.items.iter().filter(|item| item.name() == "path" && !is_empty(item)).count();
    let mut rules = Vec::with_capacity(written);
    if written > 0 {
        for block in document.blocks("path", 1) {
            match block {
                Ok(block) => rules.extend(reader.rule(&block)),
                Err(why) => reader.problems.push(why.into()),
            }
        }
    }
    let mut problems = reader.problems;
    problems.truncate(MAX_PROBLEMS);
    if problems.is_empty() { Ok(rules) } else { Err(PolicyError { problems }) }
}

/// `"path": {}`, which generators of JSON write for a policy without rules.
fn is_empty(item: &Item) -> bool {
    item.keys.len() == 1 && matches!(&item.value.kind, Kind::Object(object) if object.items.is_empty())
}

impl From<hcl::Error> for Problem {
    fn from(why: hcl::Error) -> Problem {
        Problem { at: why.at, what: why.what, remedy: why.remedy }
    }
}

/// Collects what is wrong while reading.
struct Reader<'a> {
    problems: Vec<Problem>,
    /// The rule being read.
    path: Option<&'a str>,
}

/// A rule's attributes as far as they have been read.
#[derive(Default)]
struct Draft {
    capabilities: Capabilities,
    conditions: Conditions,
    expires: Option<Timestamp>,
    expression: Option<Arc<Expression>>,
}

impl<'a> Reader<'a> {
    fn problem(&mut self, at: Position, what: impl AsRef<str>, remedy: impl Into<String>) {
        let what = match self.path {
            Some(path) => format!("path {path:?}: {}", what.as_ref()),
            None => what.as_ref().to_owned(),
        };
        self.problems.push(Problem { at, what, remedy: remedy.into() });
    }

    fn unknown_key(&mut self, key: &str, at: Position, known: &[&str]) {
        let remedy = match nearest(key, known.iter().copied()) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("the keys are {}", known.join(", ")),
        };
        self.problem(at, format!("invalid key {key:?}"), remedy);
    }

    fn check_name(&mut self, item: &Item) {
        if item.keys.len() > 1 || item.value.as_str().is_none() {
            self.problem(item.at(), "\"name\" is not a text", "write name = \"…\", or leave it out");
        }
    }

    fn rule(&mut self, block: &Block<'a>) -> Option<Rule> {
        let before = self.problems.len();
        let label = block.labels.first()?;
        self.path = Some(&label.text);
        let path = self.template(&label.text, label.at);
        let mut draft = Draft::default();
        let mut seen = HashSet::new();
        for item in &block.body.items {
            if seen.insert(item.name()) {
                self.attribute(item, &mut draft);
            } else {
                self.problem(item.at(), format!("{:?} is written twice", item.name()), "keep one");
            }
        }
        self.check_consistency(block.at, &draft);
        self.path = None;
        let path = path.filter(|_| self.problems.len() == before)?;
        let capabilities = Capabilities::NONE.merged(draft.capabilities);
        Some(Rule {
            path,
            line: block.at.line,
            capabilities,
            conditions: draft.conditions,
            expires: draft.expires,
            expression: draft.expression,
        })
    }

    fn template(&mut self, text: &str, at: Position) -> Option<Template> {
        if text.len() > MAX_PATH {
            self.path = None;
            self.problem(
                at,
                format!("a path is longer than {MAX_PATH} bytes"),
                "shorten it: no request is longer",
            );
            return None;
        }
        // Wildcards in values are literal, so this holds for whatever a template is filled with.
        if text.contains("+*") {
            self.problem(at, "invalid use of wildcards ('+*' is forbidden)", "write '+', '+/*' or '*'");
        }
        Template::parse(text).map_err(|why| self.problem(at, why, KNOWN)).ok()
    }

    fn attribute(&mut self, item: &Item, draft: &mut Draft) {
        let (at, value) = (item.at(), &item.value);
        if item.keys.len() > 1 {
            self.problem(at, format!("{:?} has a label", item.name()), "take it away");
            return;
        }
        let conditions = &mut draft.conditions;
        match item.name() {
            "comment" => {}
            "policy" => draft.capabilities |= self.legacy(value),
            "capabilities" => draft.capabilities |= self.capabilities(value),
            "allowed_parameters" => conditions.allowed = self.parameters(value),
            "denied_parameters" => conditions.denied = self.parameters(value),
            "required_parameters" => conditions.required = self.names(value),
            "min_wrapping_ttl" => conditions.min_wrapping = self.duration(value),
            "max_wrapping_ttl" => conditions.max_wrapping = self.duration(value),
            "pagination_limit" => conditions.page = self.limit(value),
            "expiration" => draft.expires = self.moment(value),
            "condition" => draft.expression = self.expression(value),
            "list_scan_response_keys_filter_path" => conditions.filter = self.filter(value),
            absent if ABSENT.contains(&absent) => {
                let what = format!("{absent:?} is not supported");
                self.problem(at, what, "take it away, and grant only what holds without it");
            }
            other => self.unknown_key(other, at, &KEYS),
        }
    }

    fn check_consistency(&mut self, at: Position, draft: &Draft) {
        let conditions = &draft.conditions;
        if let (Some(min), Some(max)) = (conditions.min_wrapping, conditions.max_wrapping)
            && max < min
        {
            let what = "max_wrapping_ttl cannot be less than min_wrapping_ttl";
            self.problem(at, what, "exchange them, or leave one out");
        }
        let lists = draft.capabilities.has(Capabilities::LIST) || draft.capabilities.has(Capabilities::DENY);
        if conditions.filter.is_some() && !lists {
            let what =
                "list_scan_response_keys_filter_path needs to be used on a path with the list capability";
            self.problem(at, what, "add \"list\" to the capabilities");
        }
    }

    fn legacy(&mut self, value: &Value) -> Capabilities {
        let read = Capabilities::READ | Capabilities::LIST;
        let write = read | Capabilities::CREATE | Capabilities::UPDATE | Capabilities::DELETE;
        match self.text(value) {
            Some("") | None => Capabilities::NONE,
            Some("deny") => Capabilities::DENY,
            Some("read") => read,
            Some("write") => write,
            Some("sudo") => write | Capabilities::SUDO,
            Some(other) => {
                let remedy = "write one of deny, read, write, sudo, or better a list of capabilities";
                self.problem(value.at, format!("invalid policy {other:?}"), remedy);
                Capabilities::NONE
            }
        }
    }

    fn capabilities(&mut self, value: &Value) -> Capabilities {
        let mut all = Capabilities::NONE;
        for name in self.texts(value) {
            match Capabilities::named(name) {
                Some(capability) => all |= capability,
                None => {
                    let remedy = match nearest(name, Capabilities::all_names()) {
                        Some(near) => format!("did you mean {near:?}?"),
                        None => format!(
                            "the capabilities are {}",
                            Capabilities::all_names().collect::<Vec<_>>().join(", ")
                        ),
                    };
                    self.problem(value.at, format!("invalid capability {name:?}"), remedy);
                }
            }
        }
        all
    }

    fn parameters(&mut self, value: &Value) -> Values {
        let mut all = Values::new();
        let Some(object) = value.as_object() else {
            let what = format!("expected an object of lists, found {}", value.describe());
            self.problem(value.at, what, "write { \"name\" = [\"value\"] }, or [] for any value");
            return all;
        };
        for item in &object.items {
            let Kind::List(values) = &item.value.kind else {
                let what = format!("the values of {:?} are {}", item.name(), item.value.describe());
                self.problem(item.value.at, what, "write a list, or [] for any value");
                continue;
            };
            let literals: Vec<Literal> = values.iter().filter_map(|value| self.literal(value)).collect();
            if item.name() == "*" && !literals.is_empty() {
                self.problem(item.value.at, "the parameter \"*\" has values", "write \"*\" = []");
            }
            if all.insert(item.name().to_lowercase(), literals).is_some() {
                let what = format!("the parameter {:?} is written twice", item.name());
                self.problem(item.at(), what, "keep one; case does not matter");
            }
        }
        all
    }

    fn literal(&mut self, value: &Value) -> Option<Literal> {
        match &value.kind {
            Kind::String(text) if text == "*" => {
                let remedy = "write [] for any value, or \"**\" for any text";
                self.problem(value.at, "the value \"*\" matches only an asterisk", remedy);
                None
            }
            Kind::String(text) => Some(Literal::Text(text.clone())),
            Kind::Int(number, _) => Some(Literal::Number(number.to_string())),
            Kind::Float(_, text) => Some(Literal::Number(text.to_string())),
            Kind::Bool(is) => Some(Literal::Bool(*is)),
            Kind::List(items) => {
                Some(Literal::List(items.iter().filter_map(|item| self.literal(item)).collect()))
            }
            Kind::Object(_) => {
                self.problem(value.at, "a parameter's value is an object", "name the parameter with []");
                None
            }
        }
    }

    fn names(&mut self, value: &Value) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for name in self.texts(value) {
            let name = name.to_lowercase();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    fn texts<'v>(&mut self, value: &'v Value) -> Vec<&'v str> {
        let Kind::List(items) = &value.kind else {
            let what = format!("expected a list, found {}", value.describe());
            self.problem(value.at, what, "put it in brackets");
            return Vec::new();
        };
        items.iter().filter_map(|item| self.text(item)).collect()
    }

    fn text<'v>(&mut self, value: &'v Value) -> Option<&'v str> {
        let text = value.as_str();
        if text.is_none() {
            self.problem(
                value.at,
                format!("expected a text, found {}", value.describe()),
                "put it in quotes",
            );
        }
        text
    }

    /// Zero is no limit.
    fn duration(&mut self, value: &Value) -> Option<Duration> {
        let text = self.text(value)?;
        match parse_duration(text) {
            Ok(duration) => Some(duration).filter(|duration| !duration.is_zero()),
            Err(_) => {
                let remedy = "write seconds (30), or numbers with units (1h30m)";
                self.problem(value.at, format!("{text:?} is not a duration"), remedy);
                None
            }
        }
    }

    /// Zero is no limit.
    fn limit(&mut self, value: &Value) -> Option<u64> {
        let limit = value.as_int().and_then(|limit| u64::try_from(limit).ok());
        if limit.is_none() {
            self.problem(value.at, "pagination_limit is not a number of keys", "write a whole number");
        }
        limit.filter(|limit| *limit > 0)
    }

    fn moment(&mut self, value: &Value) -> Option<Timestamp> {
        let text = self.text(value)?;
        if text.is_empty() {
            return None;
        }
        let seconds = || text.parse().ok().map(Timestamp::from_secs);
        let moment = Timestamp::parse_rfc3339(text).or_else(seconds);
        if moment.is_none() {
            let remedy = "write an RFC 3339 time (2030-01-31T12:00:00Z) or seconds since 1970";
            self.problem(value.at, format!("invalid expiration time {text:?}"), remedy);
        }
        moment
    }

    fn expression(&mut self, value: &Value) -> Option<Arc<Expression>> {
        match Expression::parse(self.text(value)?) {
            Ok(expression) => Some(Arc::new(expression)),
            Err(why) => {
                self.problem(
                    value.at,
                    why,
                    "write an expression in CEL, as in time.hour >= 8 && pod.namespace == \"prod\"",
                );
                None
            }
        }
    }

    fn filter(&mut self, value: &Value) -> Option<Arc<KeyFilter>> {
        let text = self.text(value)?;
        if text.is_empty() {
            return None;
        }
        match KeyFilter::parse(text) {
            Ok(filter) => Some(Arc::new(filter)),
            Err(why) => {
                let remedy = "write a path of text, {{ .path }} and {{ .key }}";
                self.problem(value.at, why, remedy);
                None
            }
        }
    }
}

/// The known word at most two edits away, the nearest first.
fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 40 {
        return None;
    }
    known
        .map(|known| (edits(word, known), known))
        .filter(|(edits, _)| *edits <= 2)
        .min()
        .map(|(_, known)| known)
}

/// The Levenshtein distance.
fn edits(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, r) in right.bytes().enumerate() {
            let changed = diagonal + usize::from(l != r);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}
