//! What can be found out about an expression before it is evaluated: names, functions, numbers of arguments, and types where they are
//! plain.

use super::lexer::located;
use super::library::{self, FUNCTIONS, SPACES, Signature};
use super::parser::{Binary, Loop, LoopKind, Node};
use super::value::Literal;
use crate::nearest;

/// The names that expressions of a policy may use.
#[derive(Clone, Copy)]
pub struct Names<'n> {
    /// `object`, `request` and their like.
    pub roots: &'n [&'n str],
    /// The variables defined so far.
    pub variables: &'n [Box<str>],
    /// The functions of who will evaluate, besides the language's.
    pub functions: &'static [Signature],
    /// What messages are named that may be made, as in `Object.spec{...}`: they become maps.
    pub types: &'n [&'static str],
}

/// What kind of value an expression yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It cannot be told.
    Any,
    /// Null.
    Null,
    /// True or false.
    Bool,
    /// A number of any kind.
    Number,
    /// A string.
    Text,
    /// Bytes.
    Bytes,
    /// A list.
    List,
    /// A map.
    Map,
    /// A value that may be absent.
    Optional,
}

impl Kind {
    /// As it is called in messages.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Any => "anything",
            Kind::Null => "null",
            Kind::Bool => "a boolean",
            Kind::Number => "a number",
            Kind::Text => "a string",
            Kind::Bytes => "bytes",
            Kind::List => "a list",
            Kind::Map => "a map",
            Kind::Optional => "an optional",
        }
    }
}

/// What kind of value `node`, which was read from `text`, yields.
pub(super) fn check(node: &Node, text: &str, names: &Names<'_>) -> Result<Kind, String> {
    let checked = Check { names, locals: Vec::new() }.node(node);
    checked.map_err(|Wrong { at, why, hint }| match at {
        Some(at) => located(text, at, &why) + &hint,
        None => why + &hint,
    })
}

/// What is wrong, and where as far as that is known.
struct Wrong {
    at: Option<usize>,
    why: String,
    /// What may have been meant.
    hint: String,
}

impl Wrong {
    fn at(node: &Node, why: impl Into<String>) -> Wrong {
        Wrong { at: node.at(), why: why.into(), hint: String::new() }
    }
}

struct Check<'c> {
    names: &'c Names<'c>,
    locals: Vec<&'c str>,
}

type Checked = Result<Kind, Wrong>;

/// Whether `node`, which yields `kind`, is as `what` takes it.
fn expect(node: &Node, kind: Kind, expected: Kind, what: &str) -> Result<(), Wrong> {
    if kind == Kind::Any || kind == expected {
        Ok(())
    } else {
        Err(Wrong::at(node, format!("{what} takes {}, and this is {}", expected.name(), kind.name())))
    }
}

impl<'c> Check<'c> {
    fn node(&mut self, node: &'c Node) -> Checked {
        Ok(match node {
            Node::Literal(literal) => match literal {
                Literal::Null => Kind::Null,
                Literal::Bool(_) => Kind::Bool,
                Literal::Int(_) | Literal::Uint(_) | Literal::Double(_) => Kind::Number,
                Literal::Text(_) => Kind::Text,
                Literal::Bytes(_) => Kind::Bytes,
            },
            Node::Ident(name, at) => return self.ident(name, *at),
            Node::Select(inner, name, optional) => {
                if let Some(known) = self.variable(inner) {
                    if !known.iter().any(|known| **known == **name) {
                        let hint = nearest::hint(name, known.iter().map(|known| &**known));
                        let why = format!("there is no variable {name}");
                        return Err(Wrong { at: inner.at(), why, hint });
                    }
                    return Ok(Kind::Any);
                }
                let kind = self.node(inner)?;
                match kind {
                    Kind::Any | Kind::Map | Kind::Optional => {}
                    other => return Err(Wrong::at(inner, format!("{} has no field {name}", other.name()))),
                }
                if *optional || kind == Kind::Optional { Kind::Optional } else { Kind::Any }
            }
            Node::Has(inner, _) => {
                if self.variable(inner).is_none() {
                    self.node(inner)?;
                }
                Kind::Bool
            }
            Node::Index(inner, key, optional) => {
                let inner = self.node(inner)?;
                self.node(key)?;
                if *optional || inner == Kind::Optional { Kind::Optional } else { Kind::Any }
            }
            Node::Call(target, name, arguments, _, at) => {
                return self.call(target.as_deref(), name, arguments, *at);
            }
            Node::Binary(operator, left, right, at) => return self.binary(*operator, (left, right), *at),
            Node::Not(inner) => {
                expect(inner, self.node(inner)?, Kind::Bool, "!")?;
                Kind::Bool
            }
            Node::Negate(inner) => {
                expect(inner, self.node(inner)?, Kind::Number, "-")?;
                Kind::Number
            }
            Node::If(condition, then, otherwise) => {
                expect(condition, self.node(condition)?, Kind::Bool, "?:")?;
                let (then, otherwise) = (self.node(then)?, self.node(otherwise)?);
                if then == otherwise { then } else { Kind::Any }
            }
            Node::List(items) => {
                for (_, item) in items {
                    self.node(item)?;
                }
                Kind::List
            }
            Node::Map(items) => {
                for (_, key, item) in items {
                    self.node(key)?;
                    self.node(item)?;
                }
                Kind::Map
            }
            Node::Object(name, fields, at) => {
                let known = self.names.types;
                if !known.contains(&name.split('.').next().unwrap_or_default()) {
                    let hint = nearest::hint(name, known.iter().copied());
                    return Err(Wrong { at: Some(*at), why: format!("there is no type {name}"), hint });
                }
                for (_, _, item) in fields {
                    self.node(item)?;
                }
                Kind::Map
            }
            Node::Loop(each) => return self.each(each),
            Node::Bind(name, value, within) => {
                self.node(value)?;
                return self.within(name, within);
            }
            Node::Optional(target, name, within, _) => {
                self.node(target)?;
                self.within(name, within)?;
                Kind::Optional
            }
        })
    }

    fn each(&mut self, each: &'c Loop) -> Checked {
        match self.node(&each.over)? {
            Kind::Any | Kind::List | Kind::Map => {}
            other => {
                return Err(Wrong::at(&each.over, format!("{} has no elements to go over", other.name())));
            }
        }
        let depth = self.locals.len();
        self.locals.push(&each.first);
        self.locals.extend(each.second.as_deref());
        if let Some(condition) = &each.condition {
            expect(condition, self.node(condition)?, Kind::Bool, "a condition")?;
        }
        if let Some(result) = &each.result {
            self.node(result)?;
        }
        self.locals.truncate(depth);
        Ok(match each.kind {
            LoopKind::All | LoopKind::Exists | LoopKind::ExistsOne => Kind::Bool,
            LoopKind::TransformMap | LoopKind::TransformMapEntry => Kind::Map,
            _ => Kind::List,
        })
    }

    fn within(&mut self, name: &'c str, node: &'c Node) -> Checked {
        self.locals.push(name);
        let kind = self.node(node);
        self.locals.pop();
        kind
    }

    /// The variables, where a node is `variables` itself.
    fn variable(&self, node: &Node) -> Option<&'c [Box<str>]> {
        match node {
            Node::Ident(name, _) if **name == *"variables" && !self.locals.contains(&"variables") => {
                Some(self.names.variables)
            }
            _ => None,
        }
    }

    fn is_space(&self, name: &str) -> bool {
        SPACES.contains(&name) || (name != "." && self.names.functions.iter().any(|known| known.of == name))
    }

    fn ident(&self, name: &str, at: usize) -> Checked {
        let local = self.locals.contains(&name);
        if local || self.names.roots.contains(&name) || self.is_space(name) || library::ident(name).is_some()
        {
            return Ok(Kind::Any);
        }
        let known = self.names.roots.iter().chain(SPACES).copied().chain(self.locals.iter().copied());
        let why = format!("undeclared reference to '{name}'");
        Err(Wrong { at: Some(at), why, hint: nearest::hint(name, known) })
    }

    fn binary(&mut self, operator: Binary, (one, other): (&'c Node, &'c Node), at: usize) -> Checked {
        let (left, right) = (self.node(one)?, self.node(other)?);
        let wrong = |why: String| Err(Wrong { at: Some(at), why, hint: String::new() });
        let unlike = left != Kind::Any && right != Kind::Any && left != right;
        Ok(match operator {
            Binary::Or | Binary::And => {
                let sign = if operator == Binary::Or { "||" } else { "&&" };
                expect(one, left, Kind::Bool, sign)?;
                expect(other, right, Kind::Bool, sign)?;
                Kind::Bool
            }
            Binary::Eq | Binary::Ne => Kind::Bool,
            Binary::Lt | Binary::Le | Binary::Gt | Binary::Ge if unlike => {
                return wrong(format!("{} and {} have no order", left.name(), right.name()));
            }
            Binary::Lt | Binary::Le | Binary::Gt | Binary::Ge => Kind::Bool,
            Binary::In => match right {
                Kind::Any | Kind::List | Kind::Map => Kind::Bool,
                other => return wrong(format!("nothing is in {}", other.name())),
            },
            _ if unlike => return wrong(format!("{} and {} do not go together", left.name(), right.name())),
            Binary::Add => {
                if left == Kind::Any {
                    right
                } else {
                    left
                }
            }
            _ => {
                for (node, kind) in [(one, left), (other, right)] {
                    expect(node, kind, Kind::Number, "arithmetic")?;
                }
                // Times and durations are subtracted too.
                if operator == Binary::Sub { Kind::Any } else { Kind::Number }
            }
        })
    }

    fn call(&mut self, target: Option<&'c Node>, name: &str, arguments: &'c [Node], at: usize) -> Checked {
        for argument in arguments {
            self.node(argument)?;
        }
        let space = match target {
            Some(Node::Ident(space, _)) if self.is_space(space) && !self.locals.contains(&&**space) => {
                Some(&**space)
            }
            Some(target) => {
                self.node(target)?;
                None
            }
            None => None,
        };
        let of = match (space, target) {
            (Some(space), _) => space,
            (None, Some(_)) => ".",
            (None, None) => "",
        };
        let called = library::lower_first(name);
        let named = |known: &&Signature| {
            known.of == of && (known.name == name || (!of.is_empty() && known.name == called))
        };
        let functions = || FUNCTIONS.iter().chain(self.names.functions);
        let Some(known) = functions().find(named) else {
            let near = functions().filter(|known| known.of == of).map(|known| known.name);
            let whole = if space.is_some() { format!("{of}.{name}") } else { name.to_owned() };
            let why = format!("there is no function {whole}");
            return Err(Wrong { at: Some(at), why, hint: nearest::hint(name, near) });
        };
        if arguments.len() < known.least || arguments.len() > known.most {
            let (least, most, here) = (known.least, known.most, arguments.len());
            let why = format!("{name} takes {least} to {most} arguments, and here are {here}");
            return Err(Wrong { at: Some(at), why, hint: String::new() });
        }
        Ok(match known.name {
            "contains" | "startsWith" | "endsWith" | "matches" | "hasValue" | "isURL" | "isIP" | "isCIDR"
            | "isQuantity" | "isSemver" | "bool" | "errored" => Kind::Bool,
            "allowed" if of == "." => Kind::Bool,
            "size" | "int" | "uint" | "double" => Kind::Number,
            "string" | "lowerAscii" | "upperAscii" | "join" | "replace" | "trim" | "substring" => Kind::Text,
            "split" => Kind::List,
            _ => Kind::Any,
        })
    }
}
