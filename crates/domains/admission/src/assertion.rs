//! Assertion trees: documents whose keys may be expressions, loops and names, and whose leaves are values or expressions.
//! <https://kyverno.github.io/kyverno-json/latest/policies/asserts/>

use crate::jmespath::{Error, Expression, Scope, Val};
use crate::refusal::{At, Read};
use keyward_expressions::World;
use serde_json::Value;
use std::cell::RefCell;
use std::fmt::Write;

/// A compiled assertion.
#[derive(Debug)]
pub(crate) enum Assertion {
    Value(Value),
    Expression(Expression),
    List(Vec<Assertion>),
    Map(Vec<Entry>),
}

#[derive(Debug)]
pub(crate) struct Entry {
    text: Box<str>,
    /// Each element is held against the rest; what its index or key is called.
    each: Option<Box<str>>,
    key: Key,
    /// What the value is called within.
    name: Option<Box<str>>,
    inner: Assertion,
}

#[derive(Debug)]
enum Key {
    Field(Box<str>),
    Expression(Expression),
}

/// The document that assertions are about, with the names given on the way.
pub(crate) struct Names<'s, 'a> {
    scope: &'s dyn Scope<'a>,
    names: RefCell<Vec<(String, Val<'a>)>>,
}

impl<'s, 'a> Names<'s, 'a> {
    pub(crate) fn new(scope: &'s dyn Scope<'a>) -> Names<'s, 'a> {
        Names { scope, names: RefCell::new(Vec::new()) }
    }
}

impl<'a> Scope<'a> for Names<'_, 'a> {
    fn variable(&self, name: &str) -> Result<Option<Val<'a>>, Error> {
        self.scope.variable(name)
    }

    fn binding(&self, name: &str) -> Option<Val<'a>> {
        self.names.borrow().iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    fn whole(&self) -> Result<Val<'a>, Error> {
        self.scope.whole()
    }

    fn world(&self) -> &World {
        self.scope.world()
    }
}

fn expression(at: &At<'_>, text: &str) -> Read<Option<Expression>> {
    let Some(inner) = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')) else { return Ok(None) };
    let inner = inner.strip_prefix("jp;").unwrap_or(inner);
    let compiled = Expression::parse(inner)
        .or_else(|fault| at.refuse(format_args!("({inner}) is not JMESPath: {fault}")))?;
    Ok(Some(compiled))
}

impl Assertion {
    pub(crate) fn compile(at: &At<'_>) -> Read<Assertion> {
        Assertion::of(at, at.value)
    }

    fn of(at: &At<'_>, value: &Value) -> Read<Assertion> {
        Ok(match value {
            Value::Object(map) => {
                Assertion::Map(map.iter().map(|(key, value)| Entry::of(at, key, value)).collect::<Read<_>>()?)
            }
            Value::Array(list) => {
                Assertion::List(list.iter().map(|item| Assertion::of(at, item)).collect::<Read<_>>()?)
            }
            Value::String(text) => match expression(at, text)? {
                Some(expression) => Assertion::Expression(expression),
                None => Assertion::Value(value.clone()),
            },
            other => Assertion::Value(other.clone()),
        })
    }

    /// What does not hold, with its path; `value` is None as long as it is the document itself.
    pub(crate) fn check<'a>(
        &self,
        value: Option<&Val<'a>>,
        names: &Names<'_, 'a>,
        path: &str,
    ) -> Result<Vec<String>, Error> {
        names.world().meter.spend(1)?;
        let whole = || value.cloned().map_or_else(|| names.whole(), Ok);
        let expected = match self {
            Assertion::Map(entries) => {
                let mut faults = Vec::new();
                for entry in entries {
                    faults.extend(entry.check(value, names, path)?);
                }
                return Ok(faults);
            }
            Assertion::List(list) => {
                let Some(items) = whole()?.items() else {
                    return Ok(vec![format!("{path}: a list is expected")]);
                };
                if items.len() != list.len() {
                    return Ok(vec![format!(
                        "{path}: {} elements are expected, and there are {}",
                        list.len(),
                        items.len()
                    )]);
                }
                let mut faults = Vec::new();
                for (index, (assertion, item)) in list.iter().zip(&items).enumerate() {
                    faults.extend(assertion.check(Some(item), names, &format!("{path}[{index}]"))?);
                }
                return Ok(faults);
            }
            Assertion::Value(expected) => Val::Own(expected.clone()),
            Assertion::Expression(expression) => match value {
                Some(value) => expression.search_in(value, names)?,
                None => expression.search(names)?,
            },
        };
        let actual = whole()?;
        if expected.equals(&actual) {
            return Ok(Vec::new());
        }
        Ok(vec![format!("{path}: {} is expected, and there is {}", expected.to_value(), actual.to_value())])
    }
}

impl Entry {
    fn of(at: &At<'_>, text: &str, value: &Value) -> Read<Entry> {
        let (key, name) = match text.rsplit_once("->") {
            Some((key, name)) if name.trim().chars().all(|c| c.is_alphanumeric() || c == '_') => {
                (key.trim(), Some(name.trim()))
            }
            _ => (text.trim(), None),
        };
        let (each, key) = match key.strip_prefix('~').and_then(|rest| rest.split_once('.')) {
            Some((index, key)) => (Some(index.into()), key),
            None => (None, key),
        };
        Ok(Entry {
            text: text.into(),
            each,
            key: expression(at, key)?.map_or_else(|| Key::Field(key.into()), Key::Expression),
            name: name.map(Into::into),
            inner: Assertion::of(at, value)?,
        })
    }

    fn check<'a>(
        &self,
        value: Option<&Val<'a>>,
        names: &Names<'_, 'a>,
        path: &str,
    ) -> Result<Vec<String>, Error> {
        let found = match (&self.key, value) {
            (Key::Field(name), Some(value)) => value.field(name),
            (Key::Field(name), None) => names.variable(name)?,
            (Key::Expression(expression), Some(value)) => lenient(expression.search_in(value, names))?,
            (Key::Expression(expression), None) => lenient(expression.search(names))?,
        };
        let mut path = path.to_owned();
        let _ = write!(path, "{}{}", if path.is_empty() { "" } else { "." }, self.text);
        let Some(found) = found else { return Ok(vec![format!("{path}: it is not there")]) };
        let mark = names.names.borrow().len();
        if let Some(name) = &self.name {
            names.names.borrow_mut().push((name.to_string(), found.clone()));
        }
        let faults = match &self.each {
            None => self.inner.check(Some(&found), names, &path),
            Some(index) => self.each(index, &found, names, &path),
        };
        names.names.borrow_mut().truncate(mark);
        faults
    }

    fn each<'a>(
        &self,
        index: &str,
        found: &Val<'a>,
        names: &Names<'_, 'a>,
        path: &str,
    ) -> Result<Vec<String>, Error> {
        let pairs: Vec<(Val<'a>, Val<'a>)> = match (found.items(), found.as_object(), found.values()) {
            (Some(items), ..) => {
                items.into_iter().enumerate().map(|(at, item)| (Val::Own(Value::from(at)), item)).collect()
            }
            (None, Some(map), Some(values)) => map.keys().map(Val::string).zip(values).collect(),
            _ => return Ok(vec![format!("{path}: there is nothing to go over")]),
        };
        let mut faults = Vec::new();
        for (key, item) in pairs {
            let place = format!("{path}[{}]", key.to_value());
            names.names.borrow_mut().push((if index.is_empty() { "index" } else { index }.to_owned(), key));
            let found = self.inner.check(Some(&item), names, &place);
            names.names.borrow_mut().pop();
            faults.extend(found?);
        }
        Ok(faults)
    }
}

fn lenient<'a>(found: Result<Val<'a>, Error>) -> Result<Option<Val<'a>>, Error> {
    match found {
        Err(Error::NotFound(_)) => Ok(None),
        found => found.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use crate::search::assert;
    use serde_json::{Value, json};

    fn faults(tree: Value, document: &Value) -> usize {
        assert(&tree, document).unwrap().len()
    }

    #[test]
    fn trees() {
        let document = json!({"spec": {"n": 3, "l": [{"a": 1}, {"a": 2}], "m": {"x": "y"}}, "kind": "Pod"});
        for (tree, count) in [
            (json!({"kind": "Pod", "spec": {"n": 3}}), 0),
            (json!({"kind": "Service"}), 1),
            (json!({"missing": {"x": 1}}), 1),
            (json!({"spec": {"(n > `2`)": true}}), 0),
            (json!({"spec": {"(length(l))": 2}}), 0),
            (json!({"spec": {"~.l": {"(a > `0`)": true}}}), 0),
            (json!({"spec": {"~.l": {"(a > `1`)": true}}}), 1),
            (json!({"spec": {"~i.l": {"a": "($i + 1)"}}}), 9),
            (json!({"spec": {"n->limit": 3, "~.l": {"(a < `3`)": true}}}), 0),
            (json!({"spec": {"~k.m": "y"}}), 0),
            (json!({"spec": {"l": [{"a": 1}]}}), 1),
        ] {
            if count == 9 {
                assert!(assert(&tree, &document).is_err(), "{tree}");
            } else {
                assert_eq!(faults(tree.clone(), &document), count, "{tree}");
            }
        }
    }
}
