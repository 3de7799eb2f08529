//! The way through a tree.

use super::functions;
use super::parser::{Comparison, Node};
use super::value::Val;
use crate::meter::Spent;
use keyward_expressions::World;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Why an expression found nothing.
#[derive(Debug)]
pub(crate) enum Error {
    /// There is no such key.
    NotFound(Arc<str>),
    /// Anything else that is wrong.
    Fault(String),
    /// Something from outside is asked for first; who asked knows what.
    Lacking,
    /// It costs too much.
    Spent,
}

impl From<Spent> for Error {
    fn from(_: Spent) -> Error {
        Error::Spent
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::NotFound(name) => write!(f, "Unknown key \"{name}\" in path"),
            Error::Fault(why) => f.write_str(why),
            Error::Lacking => f.write_str("data from outside is not there yet"),
            Error::Spent => Spent.fmt(f),
        }
    }
}

/// The document that an expression is searched in.
pub(crate) trait Scope<'a> {
    /// One of its variables, which may have to be worked out.
    fn variable(&self, name: &str) -> Result<Option<Val<'a>>, Error>;
    /// What an assertion has given a name.
    fn binding(&self, _: &str) -> Option<Val<'a>> {
        None
    }
    /// All of it.
    fn whole(&self) -> Result<Val<'a>, Error>;
    /// What every evaluation of the request shares.
    fn world(&self) -> &World;
}

pub(crate) struct Evaluation<'s, 'a> {
    pub(crate) scope: &'s dyn Scope<'a>,
}

/// A missing key is null here.
fn lenient<'a>(found: Result<Val<'a>, Error>) -> Result<Val<'a>, Error> {
    match found {
        Err(Error::NotFound(_)) => Ok(Val::NULL),
        found => found,
    }
}

impl<'a> Evaluation<'_, 'a> {
    pub(crate) fn root(&self, node: &Node) -> Result<Val<'a>, Error> {
        self.node(node, None)
    }

    /// `current` is None as long as it is the document itself.
    pub(crate) fn node(&self, node: &Node, current: Option<&Val<'a>>) -> Result<Val<'a>, Error> {
        self.scope.world().meter.spend(1)?;
        match node {
            Node::Current => match current {
                Some(value) => Ok(value.clone()),
                None => self.scope.whole(),
            },
            Node::Field(name) => {
                let found = match current {
                    Some(value) => value.field(name),
                    None => self.scope.variable(name)?,
                };
                found.ok_or_else(|| Error::NotFound(name.clone()))
            }
            Node::Binding(name) => {
                self.scope.binding(name).ok_or_else(|| Error::NotFound(format!("${name}").into()))
            }
            Node::Literal(value) => Ok(Val::Own(value.clone())),
            Node::Index(index) => Ok(self.current(current)?.index(*index)),
            Node::Slice(start, stop, step) => slice(&self.current(current)?, *start, *stop, *step),
            Node::Chain(left, right) | Node::Pipe(left, right) => {
                let left = self.node(left, current)?;
                self.node(right, Some(&left))
            }
            Node::Project(left, right) => {
                let left = lenient(self.node(left, current))?;
                self.each(left.into_items(), right)
            }
            Node::Values(left, right) => {
                let left = lenient(self.node(left, current))?;
                self.each(left.values(), right)
            }
            Node::Filter(left, condition, right) => {
                let left = lenient(self.node(left, current))?;
                let Some(items) = left.into_items() else { return Ok(Val::NULL) };
                let mut kept = Vec::new();
                for item in items {
                    if lenient(self.node(condition, Some(&item)))?.is_true() {
                        kept.push(item);
                    }
                }
                self.each(Some(kept), right)
            }
            Node::Flatten(inner) => {
                let Some(items) = lenient(self.node(inner, current))?.into_items() else {
                    return Ok(Val::NULL);
                };
                let mut flat = Vec::with_capacity(items.len());
                for item in items {
                    match item.is_list() {
                        true => flat.extend(item.into_items().unwrap_or_default()),
                        false => flat.push(item),
                    }
                    self.scope.world().meter.spend(1)?;
                }
                Ok(Val::List(flat))
            }
            Node::Or(left, right) => {
                let left = lenient(self.node(left, current))?;
                if left.is_true() { Ok(left) } else { lenient(self.node(right, current)) }
            }
            Node::And(left, right) => {
                let left = lenient(self.node(left, current))?;
                if left.is_true() { lenient(self.node(right, current)) } else { Ok(left) }
            }
            Node::Not(inner) => Ok(Val::bool(!lenient(self.node(inner, current))?.is_true())),
            Node::Compare(comparison, left, right) => {
                let left = lenient(self.node(left, current))?;
                let right = lenient(self.node(right, current))?;
                Ok(compare(*comparison, &left, &right))
            }
            Node::List(items) => {
                let list = items.iter().map(|item| lenient(self.node(item, current)));
                list.collect::<Result<Vec<_>, _>>().map(Val::List)
            }
            Node::Hash(items) => {
                let mut map = Map::new();
                for (name, item) in items {
                    let value = lenient(self.node(item, current))?.into_value();
                    map.insert(name.to_string(), value);
                }
                Ok(Val::Own(Value::Object(map)))
            }
            Node::Reference(_) => Err(Error::Fault("&expression is an argument, not a value".to_owned())),
            Node::Call(function, arguments, regex) => {
                functions::call(self, function, arguments, regex.as_ref(), current)
            }
        }
    }

    fn current(&self, current: Option<&Val<'a>>) -> Result<Val<'a>, Error> {
        current.cloned().map_or_else(|| self.scope.whole(), Ok)
    }

    fn each(&self, items: Option<Vec<Val<'a>>>, right: &Node) -> Result<Val<'a>, Error> {
        let Some(items) = items else { return Ok(Val::NULL) };
        if matches!(right, Node::Current) {
            self.scope.world().meter.spend(items.len())?;
            return Ok(Val::List(items.into_iter().filter(|item| !item.is_null()).collect()));
        }
        let mut found = Vec::with_capacity(items.len());
        for item in &items {
            let value = lenient(self.node(right, Some(item)))?;
            if !value.is_null() {
                found.push(value);
            }
        }
        Ok(Val::List(found))
    }
}

fn slice<'a>(value: &Val<'a>, start: Option<i64>, stop: Option<i64>, step: i64) -> Result<Val<'a>, Error> {
    let Some(items) = value.items() else { return Ok(Val::NULL) };
    let len = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let bound =
        |at: i64, low: i64, high: i64| (if at < 0 { at.saturating_add(len) } else { at }).clamp(low, high);
    let (low, high) = if step > 0 { (0, len) } else { (-1, len - 1) };
    let mut at = start.map_or(if step > 0 { low } else { high }, |at| bound(at, low, high));
    let end = stop.map_or(if step > 0 { high } else { low }, |at| bound(at, low, high));
    let mut taken = Vec::new();
    while (step > 0 && at < end) || (step < 0 && at > end) {
        taken.extend(usize::try_from(at).ok().and_then(|at| items.get(at).cloned()));
        at = at.saturating_add(step);
    }
    Ok(Val::List(taken))
}

fn compare<'a>(comparison: Comparison, left: &Val<'_>, right: &Val<'_>) -> Val<'a> {
    let holds = match comparison {
        Comparison::Eq => left.equals(right),
        Comparison::Ne => !left.equals(right),
        order => {
            // Only numbers have an order; the comparison of anything else is null.
            let (Some(left), Some(right)) = (left.as_f64(), right.as_f64()) else { return Val::NULL };
            match order {
                Comparison::Lt => left < right,
                Comparison::Le => left <= right,
                Comparison::Gt => left > right,
                _ => left >= right,
            }
        }
    };
    Val::bool(holds)
}
