//! The way through a tree.

use super::Program;
use super::library;
use super::library::Signature;
use super::parser::{Binary, Loop, LoopKind, Node};
use super::value::{Literal, Val};
use crate::World;
use crate::meter::Spent;
use serde_json::Value;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// Why there is no result.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Something is wrong.
    No(Rc<str>),
    /// Something from outside is asked for first.
    Lacking,
    /// It costs too much.
    Spent,
}

impl Fault {
    /// Something is wrong.
    pub fn no(why: impl Into<String>) -> Fault {
        Fault::No(why.into().into())
    }
}

impl From<Spent> for Fault {
    fn from(_: Spent) -> Fault {
        Fault::Spent
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::No(why) => f.write_str(why),
            Fault::Lacking => f.write_str("data from outside is not there yet"),
            Fault::Spent => Spent.fmt(f),
        }
    }
}

/// A value, or why there is none.
pub type Found<'a> = Result<Val<'a>, Fault>;

/// What expressions ask of who evaluates them.
pub trait Host<'a> {
    /// The functions that it has besides those of the language.
    fn functions(&self) -> &'static [Signature] {
        &[]
    }
    /// Calls one of them. What `of` it is called on is in its signature; a value (`.`) is the first argument.
    ///
    /// # Errors
    /// The function fails, or something from outside is asked for first.
    fn call(
        &self,
        evaluation: &Evaluation<'_, '_, 'a>,
        of: &str,
        name: &str,
        arguments: &[Val<'a>],
    ) -> Found<'a> {
        let _ = (evaluation, of);
        library::no(name, arguments)
    }
    /// The value of a field of what its functions are called on; None where there is none.
    fn field(&self, of: &str, name: &str) -> Option<Val<'a>> {
        let _ = (of, name);
        None
    }
    /// Keeps a value as long as the request's.
    fn keep(&self, value: Value) -> &'a Value;
}

/// The variables of a policy, each worked out when it is asked for first.
#[derive(Default)]
pub struct Variables<'a> {
    programs: &'a [(Box<str>, Program)],
    found: RefCell<Vec<Option<Found<'a>>>>,
}

impl<'a> Variables<'a> {
    /// By name, none of them worked out.
    pub fn new(programs: &'a [(Box<str>, Program)]) -> Variables<'a> {
        Variables { programs, found: RefCell::new(vec![None; programs.len()]) }
    }
}

/// What an expression is evaluated with.
pub struct Scope<'s, 'a> {
    /// Names and what they stand for.
    pub roots: &'s [(&'s str, Val<'a>)],
    /// What `variables` has.
    pub variables: &'s Variables<'a>,
    /// Who evaluates.
    pub host: &'s dyn Host<'a>,
    /// Time, randomness and budget.
    pub world: &'s World,
}

pub(super) fn run<'a>(node: &'a Node, scope: &Scope<'_, 'a>) -> Found<'a> {
    Evaluation { scope, locals: RefCell::new(Vec::new()) }.node(node)
}

/// An expression under way.
pub struct Evaluation<'e, 's, 'a> {
    /// What it is evaluated with.
    pub scope: &'e Scope<'s, 'a>,
    locals: RefCell<Vec<(&'a str, Val<'a>)>>,
}

fn wrong(what: &str, value: &Val<'_>) -> Fault {
    Fault::no(format!("no such overload: {what} of {}", value.type_name()))
}

impl<'a> Evaluation<'_, '_, 'a> {
    /// Takes steps from the budget.
    ///
    /// # Errors
    /// There are not as many left.
    pub fn spend(&self, steps: usize) -> Result<(), Fault> {
        Ok(self.scope.world.meter.spend(steps)?)
    }

    fn node(&self, node: &'a Node) -> Found<'a> {
        self.spend(1)?;
        match node {
            Node::Literal(literal) => Ok(match literal {
                Literal::Null => Val::Null,
                Literal::Bool(value) => Val::Bool(*value),
                Literal::Int(value) => Val::Int(*value),
                Literal::Uint(value) => Val::Uint(*value),
                Literal::Double(value) => Val::Double(*value),
                Literal::Text(text) => Val::Str(text),
                Literal::Bytes(bytes) => Val::Bytes(Arc::clone(bytes)),
            }),
            Node::Ident(name, _) => self.ident(name),
            Node::Select(inner, name, optional) => self.select(inner, name, *optional),
            Node::Has(inner, name) => self.has(inner, name),
            Node::Index(inner, key, optional) => {
                let (value, key) = (self.node(inner)?, self.node(key)?);
                self.index(value, &key, *optional)
            }
            Node::Call(target, name, arguments, regex, _) => {
                let target = target.as_deref().map(|target| self.node(target)).transpose()?;
                let arguments =
                    arguments.iter().map(|node| self.node(node)).collect::<Result<Vec<_>, _>>()?;
                library::call(self, target, name, &arguments, regex.as_ref())
            }
            Node::Binary(Binary::Or, left, right, _) => self.logic(left, right, true),
            Node::Binary(Binary::And, left, right, _) => self.logic(left, right, false),
            Node::Binary(operator, left, right, _) => {
                let (left, right) = (self.node(left)?, self.node(right)?);
                self.binary(*operator, &left, &right)
            }
            Node::Not(inner) => match self.node(inner)?.simple() {
                Val::Bool(value) => Ok(Val::Bool(!value)),
                other => Err(wrong("!", &other)),
            },
            Node::Negate(inner) => match self.node(inner)?.simple() {
                Val::Int(value) => {
                    value.checked_neg().map(Val::Int).ok_or_else(|| Fault::no("integer overflow"))
                }
                Val::Double(value) => Ok(Val::Double(-value)),
                other => Err(wrong("-", &other)),
            },
            Node::If(condition, then, otherwise) => match self.node(condition)?.simple() {
                Val::Bool(true) => self.node(then),
                Val::Bool(false) => self.node(otherwise),
                other => Err(wrong("?:", &other)),
            },
            Node::List(items) => self.list(items),
            Node::Map(items) => self.map(items),
            Node::Object(_, fields, _) => self.object(fields),
            Node::Loop(each) => self.each(each),
            Node::Bind(name, value, within) => {
                let value = self.node(value)?;
                self.with(name, value, || self.node(within))
            }
            Node::Optional(target, name, within, flat) => match self.node(target)? {
                Val::Optional(None) => Ok(Val::Optional(None)),
                Val::Optional(Some(value)) => {
                    let found = self.with(name, (*value).clone(), || self.node(within))?;
                    Ok(if *flat { found } else { Val::some(found) })
                }
                other => Err(wrong("optMap", &other)),
            },
        }
    }

    fn with<T>(&self, name: &'a str, value: Val<'a>, then: impl FnOnce() -> T) -> T {
        self.locals.borrow_mut().push((name, value));
        let result = then();
        self.locals.borrow_mut().pop();
        result
    }

    fn ident(&self, name: &'a str) -> Found<'a> {
        if let Some((_, value)) = self.locals.borrow().iter().rev().find(|(known, _)| *known == name) {
            return Ok(value.clone());
        }
        if let Some((_, value)) = self.scope.roots.iter().find(|(known, _)| *known == name) {
            return Ok(value.clone());
        }
        let of_host = || {
            let mut functions = self.scope.host.functions().iter();
            functions.find(|known| known.of == name).map(|known| Val::Space(known.of))
        };
        library::ident(name)
            .or_else(of_host)
            .ok_or_else(|| Fault::no(format!("undeclared reference to {name}")))
    }

    fn variable(&self, name: &str) -> Found<'a> {
        let variables = self.scope.variables;
        let index = variables.programs.iter().position(|(known, _)| **known == *name);
        let index = index.ok_or_else(|| Fault::no(format!("there is no variable {name}")))?;
        if let Some(found) = &variables.found.borrow()[index] {
            return found.clone();
        }
        // Found by a scope of its own, for a variable does not see the names of loops around it.
        let found = run(&variables.programs[index].1.root, self.scope);
        variables.found.borrow_mut()[index] = Some(found.clone());
        found
    }

    fn select(&self, inner: &'a Node, name: &'a str, optional: bool) -> Found<'a> {
        let value = self.node(inner)?;
        if let Val::Space("variables") = value {
            return self.variable(name);
        }
        if let Val::Optional(value) = &value {
            let found = value.as_ref().and_then(|value| library::field(value, name));
            return Ok(Val::Optional(found.map(Rc::new)));
        }
        let found = self.field(&value, name);
        if optional {
            return Ok(Val::Optional(found.map(Rc::new)));
        }
        found.ok_or_else(|| missing(&value, name))
    }

    fn field(&self, value: &Val<'a>, name: &str) -> Option<Val<'a>> {
        let of_host = match value {
            Val::Space(space) => self.scope.host.field(space, name),
            _ => None,
        };
        of_host.or_else(|| library::field(value, name))
    }

    fn has(&self, inner: &'a Node, name: &str) -> Found<'a> {
        let value = match self.node(inner)? {
            Val::Optional(None) => return Ok(Val::Bool(false)),
            Val::Optional(Some(value)) => (*value).clone(),
            value => value,
        };
        if let Val::Space("variables") = value {
            return Ok(Val::Bool(self.scope.variables.programs.iter().any(|(known, _)| **known == *name)));
        }
        if !matches!(
            value,
            Val::Map(_) | Val::Record(_) | Val::Json(Value::Object(_)) | Val::Space(_) | Val::Image(_)
        ) {
            return Err(missing(&value, name));
        }
        Ok(Val::Bool(self.field(&value, name).is_some()))
    }

    fn index(&self, value: Val<'a>, key: &Val<'a>, optional: bool) -> Found<'a> {
        if let Val::Optional(inner) = &value {
            return Ok(Val::Optional(inner.as_ref().and_then(|inner| inner.at(key)).map(Rc::new)));
        }
        let found = value.at(key).or_else(|| key.as_str().and_then(|name| library::field(&value, name)));
        if optional {
            return Ok(Val::Optional(found.map(Rc::new)));
        }
        found.ok_or_else(|| match key.print() {
            Some(key) if value.len().is_some() && !matches!(value, Val::Str(_) | Val::Text(_)) => {
                Fault::no(format!("no such key: {key}"))
            }
            _ => wrong("[]", &value),
        })
    }

    /// Errors on one side do not count where the other decides.
    fn logic(&self, left: &'a Node, right: &'a Node, decisive: bool) -> Found<'a> {
        let left = self.node(left).and_then(|value| match value.simple() {
            Val::Bool(value) => Ok(value),
            other => Err(wrong(if decisive { "||" } else { "&&" }, &other)),
        });
        match &left {
            Ok(value) if *value == decisive => return Ok(Val::Bool(decisive)),
            Err(Fault::Spent) => return Err(Fault::Spent),
            _ => {}
        }
        match (self.node(right)?.simple(), left) {
            (Val::Bool(value), _) if value == decisive => Ok(Val::Bool(decisive)),
            (_, Err(fault)) => Err(fault),
            (Val::Bool(value), Ok(_)) => Ok(Val::Bool(value)),
            (other, _) => Err(wrong(if decisive { "||" } else { "&&" }, &other)),
        }
    }

    fn binary(&self, operator: Binary, left: &Val<'a>, right: &Val<'a>) -> Found<'a> {
        let ordered = |holds: fn(std::cmp::Ordering) -> bool| match left.compare(right) {
            Some(order) => Ok(Val::Bool(holds(order))),
            None => Err(Fault::no(format!(
                "no such overload: {} and {} have no order",
                left.type_name(),
                right.type_name()
            ))),
        };
        match operator {
            Binary::Eq | Binary::Ne => {
                self.spend(left.len().unwrap_or(0).min(right.len().unwrap_or(0)))?;
                Ok(Val::Bool(left.equals(right) == (operator == Binary::Eq)))
            }
            Binary::Lt => ordered(std::cmp::Ordering::is_lt),
            Binary::Le => ordered(std::cmp::Ordering::is_le),
            Binary::Gt => ordered(std::cmp::Ordering::is_gt),
            Binary::Ge => ordered(std::cmp::Ordering::is_ge),
            Binary::In => {
                self.spend(right.len().unwrap_or(0))?;
                if let Some(items) = right.items() {
                    return Ok(Val::Bool(items.iter().any(|item| item.equals(left))));
                }
                match right {
                    Val::Map(_) | Val::Record(_) | Val::Json(Value::Object(_)) => {
                        Ok(Val::Bool(right.at(left).is_some()))
                    }
                    other => Err(wrong("in", other)),
                }
            }
            _ => library::arithmetic(self, operator, left.clone().simple(), right.clone().simple()),
        }
    }

    fn list(&self, items: &'a [(bool, Node)]) -> Found<'a> {
        let mut list = Vec::with_capacity(items.len());
        for (optional, item) in items {
            match (optional, self.node(item)?) {
                (true, Val::Optional(value)) => list.extend(value.map(|value| (*value).clone())),
                (_, value) => list.push(value),
            }
        }
        Ok(Val::list(list))
    }

    fn map(&self, items: &'a [(bool, Node, Node)]) -> Found<'a> {
        let mut map: Vec<(Val<'a>, Val<'a>)> = Vec::with_capacity(items.len());
        for (optional, key, item) in items {
            let key = self.node(key)?.simple();
            if !matches!(key, Val::Str(_) | Val::Text(_) | Val::Int(_) | Val::Uint(_) | Val::Bool(_)) {
                return Err(wrong("a key", &key));
            }
            match (optional, self.node(item)?) {
                (true, Val::Optional(None)) => {}
                (true, Val::Optional(Some(value))) => map.push((key, (*value).clone())),
                (_, value) => map.push((key, value)),
            }
        }
        Ok(Val::Map(Rc::new(map)))
    }

    fn object(&self, fields: &'a [(bool, Box<str>, Node)]) -> Found<'a> {
        let mut map = Vec::with_capacity(fields.len());
        for (optional, name, item) in fields {
            match (optional, self.node(item)?) {
                (true, Val::Optional(None)) => {}
                (_, Val::Optional(Some(value))) if *optional => map.push((Val::Str(name), (*value).clone())),
                (_, value) => map.push((Val::Str(name), value)),
            }
        }
        Ok(Val::Map(Rc::new(map)))
    }

    /// Index or key, and value, of what is gone over.
    fn pairs(&self, value: &Val<'a>) -> Result<(bool, Vec<(Val<'a>, Val<'a>)>), Fault> {
        if let Some(items) = value.items() {
            let pairs = items.into_iter().enumerate();
            return Ok((
                false,
                pairs.map(|(at, item)| (Val::Int(i64::try_from(at).unwrap_or(i64::MAX)), item)).collect(),
            ));
        }
        match value.entries() {
            Some(entries) => Ok((true, entries)),
            None => Err(wrong("a comprehension", value)),
        }
    }

    fn each(&self, each: &'a Loop) -> Found<'a> {
        let over = self.node(&each.over)?;
        let (of_map, pairs) = self.pairs(&over)?;
        let mut state = Gathered::default();
        for (key, item) in pairs {
            self.spend(1)?;
            let depth = self.locals.borrow().len();
            match &each.second {
                Some(second) => {
                    self.locals.borrow_mut().extend([(&*each.first, key.clone()), (&**second, item.clone())]);
                }
                None => self
                    .locals
                    .borrow_mut()
                    .push((&*each.first, if of_map { key.clone() } else { item.clone() })),
            }
            let gathered = self.gather(
                each,
                &key,
                if of_map && each.second.is_none() { &key } else { &item },
                &mut state,
            );
            self.locals.borrow_mut().truncate(depth);
            if let Some(done) = gathered? {
                return Ok(done);
            }
        }
        state.finish(each.kind)
    }

    /// One element; the result where it decides.
    fn gather(
        &self,
        each: &'a Loop,
        key: &Val<'a>,
        item: &Val<'a>,
        state: &mut Gathered<'a>,
    ) -> Result<Option<Val<'a>>, Fault> {
        let condition = match &each.condition {
            None => Ok(true),
            Some(condition) => self.node(condition).and_then(|value| match value.simple() {
                Val::Bool(value) => Ok(value),
                other => Err(wrong("a condition", &other)),
            }),
        };
        match each.kind {
            LoopKind::All | LoopKind::Exists => {
                let decisive = each.kind == LoopKind::Exists;
                match condition {
                    Ok(value) if value == decisive => return Ok(Some(Val::Bool(decisive))),
                    Ok(_) => {}
                    Err(Fault::Spent) => return Err(Fault::Spent),
                    Err(fault) => state.fault = state.fault.take().or(Some(fault)),
                }
                return Ok(None);
            }
            _ if !condition? => return Ok(None),
            LoopKind::ExistsOne => state.count += 1,
            LoopKind::Filter => state.list.push(item.clone()),
            _ => {
                let Some(result) = &each.result else { return Ok(None) };
                let value = self.node(result)?;
                match each.kind {
                    LoopKind::TransformMap => state.map.push((key.clone(), value)),
                    LoopKind::TransformMapEntry => {
                        state.map.extend(value.entries().ok_or_else(|| wrong("an entry", &value))?);
                    }
                    LoopKind::SortBy => state.map.push((value, item.clone())),
                    _ => state.list.push(value),
                }
            }
        }
        Ok(None)
    }
}

#[derive(Default)]
struct Gathered<'a> {
    list: Vec<Val<'a>>,
    map: Vec<(Val<'a>, Val<'a>)>,
    count: usize,
    fault: Option<Fault>,
}

impl<'a> Gathered<'a> {
    fn finish(mut self, kind: LoopKind) -> Found<'a> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        Ok(match kind {
            LoopKind::All => Val::Bool(true),
            LoopKind::Exists => Val::Bool(false),
            LoopKind::ExistsOne => Val::Bool(self.count == 1),
            LoopKind::TransformMap | LoopKind::TransformMapEntry => Val::Map(Rc::new(self.map)),
            LoopKind::SortBy => {
                library::sort(&mut self.map, |(key, _)| key)?;
                Val::list(self.map.into_iter().map(|(_, item)| item).collect())
            }
            LoopKind::Filter | LoopKind::Map | LoopKind::TransformList => Val::list(self.list),
        })
    }
}

fn missing(value: &Val<'_>, name: &str) -> Fault {
    match value {
        Val::Map(_) | Val::Record(_) | Val::Json(Value::Object(_)) => {
            Fault::no(format!("no such key: {name}"))
        }
        other => Fault::no(format!("no such field: {name} of {}", other.type_name())),
    }
}
