//! What of a request an expression names, and no more than that.
//!
//! The library that evaluates expressions knows variables that are maps, and makes them whole before it looks one field of them
//! up. An expression is rewritten when it is read, so that whatever it names (`token.type`, `has(pod.node)`) is a variable of
//! its own, which is all that is found out for a request. Where it takes a map as a whole it is given that.

use super::Ask;
use super::expression::{binds, children_mut};
use crate::cidr::Network;
use cel::Value;
use cel::common::ast::{Expr, IdedExpr, LiteralValue, SelectExpr};
use std::collections::{BTreeMap, HashMap};

/// A variable that expressions may name.
pub(super) struct Variable {
    pub(super) name: &'static str,
    /// What the names of its fields do not say.
    note: &'static str,
    fields: &'static [(&'static str, Read)],
}

/// A field of a request; none where it is not there.
type Read = fn(&Ask<'_>) -> Option<Value>;
type Metadata = BTreeMap<String, String>;
/// What is said of whoever asks, by name; none where nobody asks.
type ReadMetadata = for<'a> fn(&'a Ask<'_>) -> Option<&'a Metadata>;

/// Everything that there is.
pub(super) static VARIABLES: [Variable; 6] = [
    Variable {
        name: "request",
        note: "",
        fields: &[
            ("path", |ask| Some(ask.path.into())),
            ("operation", |ask| Some(ask.operation.name().into())),
            ("address", |ask| {
                let from = ask.who.and_then(|who| who.address);
                Some(from.map(|from| from.to_string()).unwrap_or_default().into())
            }),
            ("wrap_ttl", |ask| Some(number(ask.wrap_ttl.map_or(0, |ttl| ttl.as_secs())))),
        ],
    },
    Variable {
        name: "time",
        note: " (1 is Monday), all in UTC",
        fields: &[
            ("unix", |ask| Some(number(ask.now.secs()))),
            ("date", |ask| Some(ask.now.to_string().split('T').next().unwrap_or_default().into())),
            ("hour", |ask| Some(number(ask.now.secs() % DAY / 3600))),
            ("minute", |ask| Some(number(ask.now.secs() % 3600 / 60))),
            // The first day of 1970 was a Thursday.
            ("weekday", |ask| Some(number((ask.now.secs() / DAY + 3) % 7 + 1))),
        ],
    },
    Variable {
        name: "token",
        note: "",
        fields: &[
            ("policies", |ask| Some(texts(&ask.who?.token.policies))),
            ("metadata", |ask| of_token(ask).map(pairs)),
            ("display_name", |ask| Some(ask.who?.token.display_name.as_str().into())),
            ("path", |ask| Some(ask.who?.token.path.as_str().into())),
            ("type", |ask| Some(ask.who?.token.kind.name().into())),
        ],
    },
    Variable {
        name: "entity",
        note: "",
        fields: &[
            ("id", |ask| Some(ask.who?.holder?.entity.id.as_str().into())),
            ("name", |ask| Some(ask.who?.holder?.entity.name.as_str().into())),
            ("metadata", |ask| of_entity(ask).map(pairs)),
            ("policies", |ask| Some(texts(&ask.who?.holder?.policies))),
            ("groups", |ask| Some(texts(ask.who?.holder?.groups().map(|group| &group.name)))),
        ],
    },
    Variable {
        name: "pod",
        note: "",
        fields: &[
            ("namespace", |ask| said(ask, "service_account_namespace")),
            ("service_account", |ask| said(ask, "service_account_name")),
            ("name", |ask| said(ask, "pod_name")),
            ("uid", |ask| said(ask, "pod_uid")),
            ("node", |ask| said(ask, "node_name")),
        ],
    },
    // Nothing attests anything yet: whoever asks for it is not answered.
    Variable { name: "posture", note: "what other parts attest of the pod and its node", fields: &[] },
];

const DAY: u64 = 86_400;

/// The fields named `metadata`, whose entries are looked up without making a map of them.
const METADATA: [(&str, ReadMetadata); 2] = [("token", of_token), ("entity", of_entity)];

fn of_token<'a>(ask: &'a Ask<'_>) -> Option<&'a Metadata> {
    Some(&ask.who?.token.metadata)
}

fn of_entity<'a>(ask: &'a Ask<'_>) -> Option<&'a Metadata> {
    static NOTHING: Metadata = Metadata::new();
    Some(ask.who?.holder?.entity.metadata.as_ref().unwrap_or(&NOTHING))
}

fn said(ask: &Ask<'_>, name: &str) -> Option<Value> {
    Some(of_token(ask)?.get(name)?.as_str().into())
}

fn number(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn texts<'a>(texts: impl IntoIterator<Item = &'a String>) -> Value {
    texts.into_iter().map(|text| Value::from(text.as_str())).collect::<Vec<_>>().into()
}

fn pairs(pairs: &Metadata) -> Value {
    pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<HashMap<_, _>>().into()
}

impl Variable {
    /// Its name, with what it has.
    pub(super) fn about(&self) -> String {
        let fields: Vec<&str> = self.fields.iter().map(|(name, _)| *name).collect();
        format!("{} ({}{})", self.name, fields.join(", "), self.note)
    }

    fn whole(&self, ask: &Ask<'_>) -> Value {
        let fields = self.fields.iter().filter_map(|(name, read)| Some((*name, read(ask)?)));
        fields.collect::<HashMap<_, _>>().into()
    }

    fn field(&self, name: &str) -> Option<Read> {
        self.fields.iter().find(|(known, _)| *known == name).map(|(_, read)| *read)
    }
}

/// What an expression names, under the name that the rewritten expression has for it.
pub(super) struct Place {
    pub(super) name: String,
    what: What,
}

enum What {
    /// All of a variable.
    Whole(&'static Variable),
    /// One field. A variable does not have every field that an expression names.
    Field(Option<Read>),
    /// Whether there is such a field.
    HasField(Option<Read>),
    /// One entry of metadata.
    Entry(ReadMetadata, String),
    /// Whether there is such an entry.
    HasEntry(ReadMetadata, String),
    /// Whether the request comes from a network.
    From(Network),
}

impl Place {
    /// What is there for a request; none when it is not.
    pub(super) fn of(&self, ask: &Ask<'_>) -> Option<Value> {
        match &self.what {
            What::Whole(variable) => Some(variable.whole(ask)),
            What::Field(read) => (*read)?(ask),
            What::HasField(read) => Some(read.is_some_and(|read| read(ask).is_some()).into()),
            What::Entry(read, key) => Some(read(ask)?.get(key)?.as_str().into()),
            What::HasEntry(read, key) => Some(read(ask)?.contains_key(key).into()),
            What::From(network) => {
                let from = ask.who.and_then(|who| who.address);
                Some(from.is_some_and(|from| network.contains(from)).into())
            }
        }
    }

    /// What it lacks when there is nothing.
    pub(super) fn missing(&self) -> &str {
        match &self.what {
            What::HasEntry(..) => "metadata",
            _ => self.name.rsplit('.').next().unwrap_or_default(),
        }
    }
}

/// Rewrites an expression: every place in it becomes a variable. Answers which there are, each once.
pub(super) fn find(expression: &mut IdedExpr) -> Vec<Place> {
    // Inside a loop that names its element like a variable that is not the variable.
    let free = VARIABLES.iter().filter(|variable| !binds(expression, variable.name)).collect();
    let mut finder = Finder { free, places: Vec::new() };
    finder.rewrite(expression);
    finder.places
}

struct Finder {
    /// Variables that no loop gives another meaning.
    free: Vec<&'static Variable>,
    places: Vec<Place>,
}

impl Finder {
    fn rewrite(&mut self, expression: &mut IdedExpr) {
        if let Some(place) = self.place(expression) {
            expression.expr = Expr::Ident(place.name.clone());
            if self.places.iter().all(|known| known.name != place.name) {
                self.places.push(place);
            }
            return;
        }
        for child in children_mut(expression) {
            self.rewrite(child);
        }
    }

    fn place(&self, expression: &IdedExpr) -> Option<Place> {
        match &expression.expr {
            Expr::Ident(name) => {
                let variable = VARIABLES.iter().find(|variable| variable.name == name)?;
                Some(Place { name: name.clone(), what: What::Whole(variable) })
            }
            Expr::Select(select) => self.entry(select).or_else(|| self.field(select)),
            Expr::Call(call) if call.func_name == "inCidr" && call.target.is_none() => {
                let [address, network] = call.args.as_slice() else { return None };
                let Expr::Select(address) = &address.expr else { return None };
                let Expr::Literal(LiteralValue::String(network)) = &network.expr else { return None };
                let of_request = self.field(address).is_some_and(|place| place.name == "request.address");
                let parsed = Network::parse(network.inner()).filter(|_| of_request)?;
                let name = format!("inCidr(request.address, {:?})", network.inner());
                Some(Place { name, what: What::From(parsed) })
            }
            _ => None,
        }
    }

    /// `VARIABLE.FIELD`
    fn field(&self, select: &SelectExpr) -> Option<Place> {
        let Expr::Ident(name) = &select.operand.expr else { return None };
        let variable = self.free.iter().find(|variable| variable.name == name)?;
        let read = variable.field(&select.field);
        let (name, field) = (variable.name, &select.field);
        Some(match select.test {
            true => Place { name: format!("has({name}.{field})"), what: What::HasField(read) },
            false => Place { name: format!("{name}.{field}"), what: What::Field(read) },
        })
    }

    /// `VARIABLE.metadata.KEY`
    fn entry(&self, select: &SelectExpr) -> Option<Place> {
        let Expr::Select(metadata) = &select.operand.expr else { return None };
        let field = self.field(metadata)?.name;
        let (of, read) = METADATA.iter().find(|(of, _)| field.strip_suffix(".metadata") == Some(of))?;
        let key = select.field.clone();
        Some(match select.test {
            true => Place { name: format!("has({of}.metadata.{key})"), what: What::HasEntry(*read, key) },
            false => Place { name: format!("{of}.metadata.{key}"), what: What::Entry(*read, key) },
        })
    }
}
