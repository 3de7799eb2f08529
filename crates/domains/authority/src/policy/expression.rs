//! Conditions in the Common Expression Language (CEL, https://cel.dev): what a rule demands of who asks, when and from
//! where.
//!
//! An expression is read when its policy is written. It may name the variables of [`VARIABLES`] and the functions of
//! [`FUNCTIONS`]; it has a bounded length, and loops in it do not nest, so that no expression takes long.
//! A rule whose expression cannot be evaluated, for what it names is not there, counts as far as it denies and not as far
//! as it grants.

use super::Ask;
use crate::cidr;
use cel::common::ast::{EntryExpr, Expr, IdedExpr};
use cel::{Context, ExecutionError, Program, Value};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

/// Bytes of the longest expression.
const LONGEST: usize = 2048;
/// Loops (`all`, `exists`, `map` and their like) inside one another.
const LOOPS: usize = 2;

/// What an expression may name, with what it is; for the refusal of everything else.
const VARIABLES: [(&str, &str); 6] = [
    ("request", "path, operation, address, wrap_ttl"),
    ("time", "unix, date, hour, minute, weekday (1 is Monday), all in UTC"),
    ("token", "policies, metadata, display_name, path, type"),
    ("entity", "id, name, metadata, policies, groups"),
    ("pod", "namespace, service_account, name, uid, node"),
    ("posture", "what other parts attest of the pod and its node"),
];

/// Functions an expression may call: those of CEL without the ones that make other types, and one of ours.
const FUNCTIONS: [&str; 11] = [
    "contains",
    "endsWith",
    "inCidr",
    "int",
    "matches",
    "max",
    "min",
    "size",
    "startsWith",
    "string",
    "double",
];

/// What CEL writes its operators as.
fn is_operator(name: &str) -> bool {
    name.starts_with('_') || name.starts_with('@') || matches!(name, "!_" | "-_" | "has")
}

/// The functions, once for all evaluations.
static LIBRARY: LazyLock<Context<'static>> = LazyLock::new(|| {
    let mut library = Context::default();
    library.add_function("inCidr", in_cidr);
    library
});

/// Whether an address is in a network; an address that is none is in no network.
fn in_cidr(address: Arc<String>, network: Arc<String>) -> Result<bool, ExecutionError> {
    let networks = [network.as_ref().clone()];
    cidr::check(&networks).map_err(|why| ExecutionError::function_error("inCidr", why))?;
    Ok(address.parse().is_ok_and(|address| cidr::any(&networks, address)))
}

/// An expression that was read.
pub(super) struct Expression {
    text: String,
    program: Program,
    /// Which of [`VARIABLES`] it names.
    wanted: Vec<&'static str>,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

impl Expression {
    /// Reads `text`; else says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Expression, String> {
        if text.len() > LONGEST {
            return Err(format!("the condition has over {LONGEST} bytes"));
        }
        // Its parser is not made for such depths.
        let depth = |(depth, most): (usize, usize), c: char| match c {
            '(' | '[' | '{' => (depth + 1, most.max(depth + 1)),
            ')' | ']' | '}' => (depth.saturating_sub(1), most),
            _ => (depth, most),
        };
        if text.chars().fold((0, 0), depth).1 > 32 {
            return Err("the condition nests too deep".to_owned());
        }
        let program = Program::compile(text).map_err(|why| {
            let why = why.to_string();
            format!("the condition cannot be read: {}", why.lines().next().unwrap_or_default())
        })?;
        let references = program.references();
        for name in references.functions() {
            if !FUNCTIONS.contains(&name) && !is_operator(name) {
                return Err(format!(
                    "the condition calls {name:?}; known functions: {}",
                    FUNCTIONS.join(", ")
                ));
            }
        }
        let mut wanted = Vec::new();
        for name in references.variables() {
            match VARIABLES.iter().find(|(known, _)| *known == name) {
                Some((known, _)) => wanted.push(*known),
                // What a loop names its element.
                None if binds(program.expression(), name) => {}
                None => {
                    let known = VARIABLES.map(|(known, has)| format!("{known} ({has})")).join("; ");
                    return Err(format!("the condition names {name:?}; known: {known}"));
                }
            }
        }
        if loops(program.expression()) > LOOPS {
            return Err(format!("the condition has over {LOOPS} loops inside one another"));
        }
        // The library reads messages and panics when it comes to make one.
        if makes_message(program.expression()) {
            return Err(
                "the condition makes a message, as NAME{...}; write a map, as {\"name\": ...}".to_owned()
            );
        }
        drop(references);
        Ok(Expression { text: text.to_owned(), program, wanted })
    }

    /// As it was written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether the request meets it; or why that cannot be told.
    pub(super) fn holds(&self, ask: &Ask<'_>) -> Result<bool, String> {
        let mut context = LIBRARY.new_inner_scope();
        for name in &self.wanted {
            context.add_variable_from_value(*name, variable(name, ask));
        }
        match self.program.execute(&context) {
            Ok(Value::Bool(held)) => Ok(held),
            Ok(other) => Err(format!("it yields {:?}, not true or false", other.type_of())),
            Err(why) => Err(why.to_string()),
        }
    }
}

type Map = HashMap<String, Value>;

fn map<const N: usize>(members: [(&str, Value); N]) -> Value {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map>().into()
}

fn texts<'a>(texts: impl IntoIterator<Item = &'a String>) -> Value {
    texts.into_iter().map(|text| Value::from(text.as_str())).collect::<Vec<_>>().into()
}

fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a String, &'a String)>) -> Value {
    pairs.into_iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect::<Map>().into()
}

fn variable(name: &str, ask: &Ask<'_>) -> Value {
    let who = ask.who.as_ref();
    match name {
        "request" => map([
            ("path", ask.path.into()),
            ("operation", ask.operation.name().into()),
            (
                "address",
                who.and_then(|who| who.address).map(|from| from.to_string()).unwrap_or_default().into(),
            ),
            (
                "wrap_ttl",
                Value::Int(ask.wrap_ttl.map_or(0, |ttl| i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX))),
            ),
        ]),
        "time" => time(ask),
        "token" => who.map_or_else(nothing, |who| {
            map([
                ("policies", texts(&who.token.policies)),
                ("metadata", pairs(&who.token.metadata)),
                ("display_name", who.token.display_name.as_str().into()),
                ("path", who.token.path.as_str().into()),
                ("type", who.token.kind.name().into()),
            ])
        }),
        "entity" => who.and_then(|who| who.holder).map_or_else(nothing, |holder| {
            let entity = &holder.entity;
            map([
                ("id", entity.id.as_str().into()),
                ("name", entity.name.as_str().into()),
                ("metadata", pairs(entity.metadata.iter().flatten())),
                ("policies", texts(&holder.policies)),
                (
                    "groups",
                    holder.groups().map(|group| Value::from(group.name.as_str())).collect::<Vec<_>>().into(),
                ),
            ])
        }),
        "pod" => who.map_or_else(nothing, |who| {
            let said = [
                ("namespace", "service_account_namespace"),
                ("service_account", "service_account_name"),
                ("name", "pod_name"),
                ("uid", "pod_uid"),
                ("node", "node_name"),
            ];
            let said = said.into_iter().filter_map(|(name, from)| {
                Some((name.to_owned(), Value::from(who.token.metadata.get(from)?.as_str())))
            });
            said.collect::<Map>().into()
        }),
        // Nothing attests anything yet: whoever asks for it is not answered.
        _ => nothing(),
    }
}

fn nothing() -> Value {
    Map::new().into()
}

fn time(ask: &Ask<'_>) -> Value {
    const DAY: u64 = 86_400;
    let seconds = ask.now.secs();
    let date = ask.now.to_string();
    let number = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
    map([
        ("unix", number(seconds)),
        ("date", date.split('T').next().unwrap_or_default().into()),
        ("hour", number(seconds % DAY / 3600)),
        ("minute", number(seconds % 3600 / 60)),
        // The first day of 1970 was a Thursday.
        ("weekday", number((seconds / DAY + 3) % 7 + 1)),
    ])
}

fn children(expression: &IdedExpr) -> Vec<&IdedExpr> {
    match &expression.expr {
        Expr::Call(call) => call.target.iter().map(|target| &**target).chain(&call.args).collect(),
        Expr::Comprehension(of) => {
            vec![&of.iter_range, &of.accu_init, &of.loop_cond, &of.loop_step, &of.result]
        }
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Select(select) => vec![&*select.operand],
        Expr::Map(map) => map.entries.iter().flat_map(|entry| of_entry(&entry.expr)).collect(),
        Expr::Struct(made) => made.entries.iter().flat_map(|entry| of_entry(&entry.expr)).collect(),
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
    }
}

fn of_entry(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
        EntryExpr::StructField(field) => vec![&field.value],
    }
}

/// Loops inside one another.
fn loops(expression: &IdedExpr) -> usize {
    let own = usize::from(matches!(expression.expr, Expr::Comprehension(_)));
    own + children(expression).into_iter().map(loops).max().unwrap_or(0)
}

/// Whether a message is made anywhere in it.
fn makes_message(expression: &IdedExpr) -> bool {
    matches!(expression.expr, Expr::Struct(_)) || children(expression).into_iter().any(makes_message)
}

/// Whether a loop names its element, or what it gathers, so.
fn binds(expression: &IdedExpr, name: &str) -> bool {
    let own = match &expression.expr {
        Expr::Comprehension(of) => {
            of.iter_var == name || of.iter_var2.as_deref() == Some(name) || of.accu_var == name
        }
        _ => false,
    };
    own || children(expression).into_iter().any(|child| binds(child, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Who;
    use crate::request::Operation;
    use crate::token::TokenEntry;
    use keyward_core::Timestamp;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn token() -> TokenEntry {
        let said = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        TokenEntry {
            policies: vec!["default".to_owned(), "ops".to_owned()],
            metadata: BTreeMap::from([
                said("service_account_namespace", "prod"),
                said("pod_name", "api-1"),
                said("team", "payments"),
            ]),
            display_name: "kubernetes-prod-api".to_owned(),
            ..TokenEntry::default()
        }
    }

    fn holds(text: &str) -> Result<bool, String> {
        let token = token();
        let address = "10.1.2.3".parse().ok();
        Expression::parse(text)?.holds(&Ask {
            path: "secret/data/api",
            operation: Operation::Read,
            parameters: None,
            wrap_ttl: None,
            now: Timestamp::parse_rfc3339("2026-11-21T09:30:00Z").unwrap(),
            who: Some(Who { token: &token, holder: None, address }),
        })
    }

    #[test]
    fn expressions_are_about_the_request() {
        for (text, wanted) in [
            ("true", true),
            ("request.operation == 'read' && request.path.startsWith('secret/')", true),
            ("inCidr(request.address, '10.0.0.0/8')", true),
            ("inCidr(request.address, '192.168.0.0/16') || request.wrap_ttl > 0", false),
            ("time.hour >= 9 && time.hour < 17 && time.weekday == 6", true),
            ("time.date < '2027-01-01' && time.unix > 1700000000", true),
            ("'ops' in token.policies && token.type == 'service'", true),
            ("token.metadata.team == 'payments'", true),
            ("token.policies.exists(name, name.matches('^o.s$'))", true),
            ("pod.namespace == 'prod' && pod.name.startsWith('api-')", true),
            ("has(pod.node)", false),
            ("has(entity.name) && entity.name == 'ada'", false),
            ("size(token.metadata) == 3", true),
        ] {
            assert_eq!(holds(text), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_told_is_told() {
        for (text, wanted) in [
            ("posture.node_encrypted", "No such key"),
            ("entity.metadata.team == 'x'", "No such key"),
            ("1 + 1", "not true or false"),
            ("1 / 0 == 1", "Divi"),
            ("inCidr(request.address, 'x')", "inCidr"),
        ] {
            let why = holds(text).err().unwrap_or_default();
            assert!(why.contains(wanted), "{text}: {why}");
        }
    }

    #[test]
    fn expressions_that_cannot_be_kept_are_refused() {
        for (text, wanted) in [
            ("", "cannot be read"),
            ("request.path ==", "cannot be read"),
            ("secret == 'x'", "names \"secret\""),
            ("environment('HOME') == 'x'", "calls \"environment\""),
            ("[1].all(a, [1].all(b, [1].all(c, true)))", "loops inside one another"),
            ("Point{x: 1} == Point{x: 1}", "makes a message"),
            (&format!("'{}' == ''", "x".repeat(3000)), "over 2048 bytes"),
            (&format!("{}true{}", "(".repeat(100), ")".repeat(100)), "nests too deep"),
        ] {
            let why = Expression::parse(text).err().unwrap_or_default();
            assert!(why.contains(wanted), "{text}: {why}");
        }
    }

    #[test]
    fn deep_expressions_fit_a_threads_stack() {
        let chain =
            |part: &str, end: &str| format!("{}{end}", part.repeat((LONGEST - end.len()) / part.len()));
        for text in [
            chain("!", "true"),
            chain("-", "1 == 1"),
            chain("1+", "1 == 1"),
            chain("a.", "b"),
            chain("true && ", "true"),
            chain("true ? true : ", "true"),
            chain("1 in [1] || ", "true"),
            chain("'a'+", "'a' == ''"),
        ] {
            let judged = std::thread::Builder::new().stack_size(2 << 20).spawn(move || holds(&text).is_ok());
            assert!(judged.unwrap().join().is_ok());
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in "[a-z0-9 ._'\"()\\[\\]{}&|!<>=+*/%?:,-]{0,60}") {
            let _ = holds(&text);
        }
    }
}
