//! Documents with variables: `{{ expression }}` in strings, and `$(reference)`s to other places of the same document.

use crate::context::View;
use crate::jmespath::{self, Expression, Val, print_number};
use crate::refusal::{At, Read};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// How often a text with variables within variables is looked through.
const ROUNDS: usize = 64;

/// A document, compiled: what has no variables is as it was.
#[derive(Debug)]
pub(crate) enum Template {
    Fixed(Value),
    Text(Text),
    List(Vec<Template>),
    Map(Vec<(Text, Template)>),
}

/// A string with variables.
#[derive(Debug)]
pub(crate) enum Text {
    Fixed(Box<str>),
    /// A variable and nothing else, which keeps its type.
    Whole(Query),
    Mixed(Vec<Part>),
    /// Variables within variables, which are known only when the inner ones are.
    Nested(Box<str>),
}

#[derive(Debug)]
pub(crate) enum Part {
    Text(Box<str>),
    Query(Query),
}

/// What stands in `{{ }}`.
#[derive(Debug)]
pub(crate) enum Query {
    Expression {
        usual: Expression,
        /// With the old object in place of the object, which a deletion has not.
        deleting: Option<Expression>,
        text: Box<str>,
    },
    /// `{{@}}`: what the resource has at the place that the variable stands at.
    Here,
}

/// Where a variable stands, for `{{@}}`.
#[derive(Clone, Copy)]
pub(crate) struct Place<'p> {
    above: Option<&'p Place<'p>>,
    step: &'p str,
}

impl<'p> Place<'p> {
    pub(crate) const ROOT: Place<'static> = Place { above: None, step: "" };

    fn below(&'p self, step: &'p str) -> Place<'p> {
        Place { above: Some(self), step }
    }

    fn steps(&self) -> Vec<&str> {
        let Some(above) = self.above else { return Vec::new() };
        let mut steps = above.steps();
        steps.push(self.step);
        steps
    }
}

impl Template {
    pub(crate) fn compile(at: &At<'_>) -> Read<Template> {
        let mut value = at.value.clone();
        references(&mut value).or_else(|why| at.refuse(why))?;
        Template::of(at, &value)
    }

    fn of(at: &At<'_>, value: &Value) -> Read<Template> {
        if !has_variables(value) {
            return Ok(Template::Fixed(value.clone()));
        }
        Ok(match value {
            Value::String(text) => Template::Text(Text::parse(at, text)?),
            Value::Array(list) => {
                Template::List(list.iter().map(|item| Template::of(at, item)).collect::<Read<_>>()?)
            }
            Value::Object(map) => {
                let entry =
                    |(key, value): (&String, &Value)| Ok((Text::parse(at, key)?, Template::of(at, value)?));
                Template::Map(map.iter().map(entry).collect::<Read<_>>()?)
            }
            other => Template::Fixed(other.clone()),
        })
    }

    pub(crate) fn fixed(&self) -> Option<&Value> {
        match self {
            Template::Fixed(value) => Some(value),
            _ => None,
        }
    }

    /// The document with its variables replaced, borrowed where that is possible.
    pub(crate) fn resolve<'t, 'a: 't>(
        &'t self,
        view: &View<'_, 'a>,
    ) -> Result<Cow<'t, Value>, jmespath::Error> {
        Ok(match self {
            Template::Fixed(value) => Cow::Borrowed(value),
            Template::Text(text) => match text.render(view, &Place::ROOT)? {
                Val::Ref(value) => Cow::Borrowed(value),
                value => Cow::Owned(value.into_value()),
            },
            other => Cow::Owned(other.render(view)?),
        })
    }

    /// The document with its variables replaced.
    pub(crate) fn render(&self, view: &View<'_, '_>) -> Result<Value, jmespath::Error> {
        self.render_at(view, &Place::ROOT)
    }

    pub(crate) fn render_at(&self, view: &View<'_, '_>, place: &Place<'_>) -> Result<Value, jmespath::Error> {
        Ok(match self {
            Template::Fixed(value) => value.clone(),
            Template::Text(text) => text.render(view, place)?.into_value(),
            Template::List(list) => {
                let mut rendered = Vec::with_capacity(list.len());
                for (index, item) in list.iter().enumerate() {
                    rendered.push(item.render_at(view, &place.below(&index.to_string()))?);
                }
                Value::Array(rendered)
            }
            Template::Map(entries) => {
                let mut map = Map::new();
                for (key, item) in entries {
                    let key = key.render_string(view)?;
                    let step = crate::pattern::unanchored(&key).to_owned();
                    let value = item.render_at(view, &place.below(&step))?;
                    map.insert(key, value);
                }
                Value::Object(map)
            }
        })
    }
}

impl Text {
    pub(crate) fn parse(at: &At<'_>, text: &str) -> Read<Text> {
        if !text.contains("{{") {
            return Ok(Text::Fixed(text.into()));
        }
        let found = variables(text);
        if found.iter().any(|(begin, end)| text[begin + 2..end - 2].contains("{{")) {
            return Ok(Text::Nested(text.into()));
        }
        if let [(0, end)] = found[..]
            && end == text.len()
        {
            return Ok(Text::Whole(Query::parse(at, &text[2..end - 2])?));
        }
        let mut parts = Vec::new();
        let mut last = 0;
        for (begin, end) in found {
            if begin > last {
                parts.push(Part::Text(unescape(&text[last..begin]).into()));
            }
            parts.push(Part::Query(Query::parse(at, &text[begin + 2..end - 2])?));
            last = end;
        }
        if last < text.len() {
            parts.push(Part::Text(unescape(&text[last..]).into()));
        }
        Ok(match &parts[..] {
            [Part::Text(only)] => Text::Fixed(only.clone()),
            _ => Text::Mixed(parts),
        })
    }

    pub(crate) fn render<'a>(
        &self,
        view: &View<'_, 'a>,
        place: &Place<'_>,
    ) -> Result<Val<'a>, jmespath::Error> {
        match self {
            Text::Fixed(text) => Ok(Val::string(&**text)),
            Text::Whole(query) => query.search(view, place),
            Text::Mixed(parts) => {
                let mut text = String::new();
                for part in parts {
                    match part {
                        Part::Text(fixed) => text.push_str(fixed),
                        Part::Query(query) => push(&mut text, &query.search(view, place)?),
                    }
                }
                Ok(Val::string(text))
            }
            Text::Nested(text) => nested(text, view, place),
        }
    }

    pub(crate) fn render_string(&self, view: &View<'_, '_>) -> Result<String, jmespath::Error> {
        if let Text::Fixed(text) = self {
            return Ok(text.to_string());
        }
        let value = self.render(view, &Place::ROOT)?;
        let mut text = String::new();
        push(&mut text, &value);
        Ok(text)
    }
}

impl Query {
    fn parse(at: &At<'_>, text: &str) -> Read<Query> {
        let text = text.trim();
        if text == "@" {
            return Ok(Query::Here);
        }
        let read = |text: &str| {
            Expression::parse(text)
                .or_else(|fault| at.refuse(format_args!("{{{{ {text} }}}} is not JMESPath: {fault}")))
        };
        let deleting = if text.contains("request.object") {
            Some(read(&text.replace("request.object", "request.oldObject"))?)
        } else {
            None
        };
        Ok(Query::Expression { usual: read(text)?, deleting, text: text.into() })
    }

    fn search<'a>(&self, view: &View<'_, 'a>, place: &Place<'_>) -> Result<Val<'a>, jmespath::Error> {
        match self {
            Query::Expression { usual, deleting, text } => {
                let expression = deleting.as_ref().filter(|_| view.deleting()).unwrap_or(usual);
                expression.search(view).map_err(|why| failed(text, why))
            }
            Query::Here => view.here(&place.steps()),
        }
    }
}

/// What variable failed belongs to the reason.
fn failed(text: &str, why: jmespath::Error) -> jmespath::Error {
    match why {
        jmespath::Error::NotFound(name) => jmespath::Error::NotFound(name),
        jmespath::Error::Fault(why) => jmespath::Error::Fault(format!("failed to resolve {text}: {why}")),
        other => other,
    }
}

fn push(text: &mut String, value: &Val<'_>) {
    match &*value.to_value() {
        Value::String(part) => text.push_str(part),
        Value::Number(number) => text.push_str(&print_number(number)),
        other => text.push_str(&other.to_string()),
    }
}

/// A text with variables within variables, from the inside out.
fn nested<'a>(text: &str, view: &View<'_, 'a>, place: &Place<'_>) -> Result<Val<'a>, jmespath::Error> {
    let mut text = text.to_owned();
    for _ in 0..ROUNDS {
        let Some((begin, end)) = innermost(&text) else { return Ok(Val::string(unescape(&text))) };
        let nowhere = Value::Null;
        let query = Query::parse(&At::new(&nowhere), &text[begin + 2..end - 2])
            .map_err(|refusal| jmespath::Error::Fault(refusal.why))?;
        let value = query.search(view, place)?;
        if begin == 0 && end == text.len() {
            return Ok(value);
        }
        let mut replaced = text[..begin].to_owned();
        push(&mut replaced, &value);
        replaced.push_str(&text[end..]);
        text = replaced;
    }
    Err(jmespath::Error::Fault(format!("variables within variables do not end after {ROUNDS} rounds")))
}

fn has_variables(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("{{"),
        Value::Array(list) => list.iter().any(has_variables),
        Value::Object(map) => map.iter().any(|(key, value)| key.contains("{{") || has_variables(value)),
        _ => false,
    }
}

/// Where variables that are not within others begin and end; those behind a backslash are not.
fn variables(text: &str) -> Vec<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(begin) = text[at..].find("{{").map(|offset| at + offset) {
        let Some(end) = closing(bytes, begin) else { break };
        if begin == 0 || bytes[begin - 1] != b'\\' {
            found.push((begin, end));
        }
        at = end;
    }
    found
}

/// Where the `}}` of the `{{` at `begin` ends; quotes do not hide braces, for policies are written that way.
fn closing(bytes: &[u8], begin: usize) -> Option<usize> {
    let mut depth = 0i32;
    let mut at = begin;
    while at < bytes.len() {
        match bytes[at] {
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// The first variable that has no other in it.
fn innermost(text: &str) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut best = None;
    let mut at = 0;
    while let Some(begin) = text[at..].find("{{").map(|offset| at + offset) {
        at = begin + 2;
        if begin > 0 && bytes[begin - 1] == b'\\' {
            continue;
        }
        if let Some(end) = closing(bytes, begin) {
            if !text[begin + 2..end - 2].contains("{{") {
                return Some((begin, end));
            }
            best = best.or(Some((begin, end)));
        }
    }
    best.filter(|(begin, end)| !text[begin + 2..end - 2].contains("{{"))
}

fn unescape(text: &str) -> String {
    text.replace("\\{{", "{{")
}

/// Replaces `$(./path)` by what the same document has there.
fn references(value: &mut Value) -> Result<(), String> {
    if !has_references(value) {
        return Ok(());
    }
    let whole = value.clone();
    replace_references(value, &whole, &mut Vec::new())
}

fn has_references(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("$("),
        Value::Array(list) => list.iter().any(has_references),
        Value::Object(map) => map.values().any(has_references),
        _ => false,
    }
}

fn replace_references(value: &mut Value, whole: &Value, path: &mut Vec<String>) -> Result<(), String> {
    match value {
        Value::Array(list) => {
            for (index, item) in list.iter_mut().enumerate() {
                path.push(index.to_string());
                replace_references(item, whole, path)?;
                path.pop();
            }
        }
        Value::Object(map) => {
            for (key, item) in map.iter_mut() {
                path.push(crate::pattern::unanchored(key).to_owned());
                replace_references(item, whole, path)?;
                path.pop();
            }
        }
        Value::String(text) => {
            let mut at = 0;
            while let Some(begin) = text[at..].find("$(").map(|offset| at + offset) {
                let Some(end) = text[begin..].find(')').map(|offset| begin + offset) else { break };
                let escaped = begin > 0 && text.as_bytes()[begin - 1] == b'\\';
                if escaped || text[begin..end].contains(' ') || end == begin + 2 {
                    at = begin + 2;
                    continue;
                }
                let found = reference(&text[begin + 2..end], whole, path)?;
                text.replace_range(begin..=end, &found);
                at = begin + found.len();
            }
        }
        _ => {}
    }
    Ok(())
}

fn reference(text: &str, whole: &Value, path: &[String]) -> Result<String, String> {
    let operator =
        ["<=", ">=", "!", "<", ">"].into_iter().find(|operator| text.starts_with(operator)).unwrap_or("");
    let target = &text[operator.len()..];
    let mut steps: Vec<&str> =
        if target.starts_with('/') { Vec::new() } else { path.iter().map(String::as_str).collect() };
    for step in target.split('/') {
        match step {
            "" | "." => {}
            ".." => {
                steps.pop();
            }
            step => steps.push(step),
        }
    }
    let mut found = whole;
    for step in &steps {
        let next = match found {
            Value::Object(map) => {
                map.iter().find(|(key, _)| crate::pattern::unanchored(key) == *step).map(|(_, value)| value)
            }
            Value::Array(list) => step.parse().ok().and_then(|index: usize| list.get(index)),
            _ => None,
        };
        found =
            next.ok_or_else(|| format!("$({text}) refers to /{}, which is not there", steps.join("/")))?;
    }
    match found {
        Value::String(value) => Ok(format!("{operator}{value}")),
        Value::Number(number) => Ok(format!("{operator}{number}")),
        Value::Bool(value) if operator.is_empty() => Ok(value.to_string()),
        _ => Err(format!("$({text}) refers to something that is no scalar")),
    }
}
