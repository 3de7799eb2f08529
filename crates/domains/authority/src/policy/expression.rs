//! Conditions in the Common Expression Language (CEL, https://cel.dev): what a rule demands of who asks, when and from
//! where.
//!
//! An expression is read when its policy is written. It may name the variables of [`VARIABLES`] and the functions of
//! [`FUNCTIONS`]; it has a bounded length, and loops in it do not nest, so that no expression takes long.
//! A rule whose expression cannot be evaluated, for what it names is not there, counts as far as it denies and not as far
//! as it grants.

use super::Ask;
use super::places::{self, Place, VARIABLES, Variable};
use crate::cidr::{self, Network};
use cel::common::ast::{EntryExpr, Expr, IdedExpr};
use cel::parser::Parser;
use cel::{Context, ExecutionError, Value};
use std::fmt;
use std::sync::{Arc, LazyLock};

/// Bytes of the longest expression.
const LONGEST: usize = 2048;
/// Loops (`all`, `exists`, `map` and their like) inside one another.
const LOOPS: usize = 2;

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
    let network = Network::parse(&network)
        .ok_or_else(|| ExecutionError::function_error("inCidr", cidr::not_one(&network)))?;
    Ok(address.parse().is_ok_and(|address| network.contains(address)))
}

/// An expression that was read.
pub(super) struct Expression {
    text: String,
    /// Rewritten to name `places`.
    expression: IdedExpr,
    places: Vec<Place>,
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
        let mut expression = Parser::default().parse(text).map_err(|why| {
            let why = why.to_string();
            format!("the condition cannot be read: {}", why.lines().next().unwrap_or_default())
        })?;
        let references = expression.references();
        for name in references.functions() {
            if !FUNCTIONS.contains(&name) && !is_operator(name) {
                return Err(format!(
                    "the condition calls {name:?}; known functions: {}",
                    FUNCTIONS.join(", ")
                ));
            }
        }
        let known = |name: &str| VARIABLES.iter().any(|variable| variable.name == name);
        // Or what a loop names its element.
        let unknown = |name: &&str| !known(name) && !binds(&expression, name);
        if let Some(name) = references.variables().into_iter().find(unknown) {
            let known: Vec<String> = VARIABLES.iter().map(Variable::about).collect();
            return Err(format!("the condition names {name:?}; known: {}", known.join("; ")));
        }
        if loops(&expression) > LOOPS {
            return Err(format!("the condition has over {LOOPS} loops inside one another"));
        }
        // The library reads messages and panics when it comes to make one.
        if makes_message(&expression) {
            return Err(
                "the condition makes a message, as NAME{...}; write a map, as {\"name\": ...}".to_owned()
            );
        }
        drop(references);
        let places = places::find(&mut expression);
        Ok(Expression { text: text.to_owned(), expression, places })
    }

    /// As it was written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether the request meets it; or why that cannot be told.
    pub(super) fn holds(&self, ask: &Ask<'_>) -> Result<bool, String> {
        let mut context = LIBRARY.new_inner_scope();
        for place in &self.places {
            if let Some(value) = place.of(ask) {
                context.add_variable_from_value(place.name.as_str(), value);
            }
        }
        match Value::resolve(&self.expression, &context) {
            Ok(Value::Bool(held)) => Ok(held),
            Ok(other) => Err(format!("it yields {:?}, not true or false", other.type_of())),
            Err(ExecutionError::UndeclaredReference(name)) => {
                // What an expression may name was looked at when it was read.
                let place = self.places.iter().find(|place| place.name == *name);
                Err(ExecutionError::no_such_key(place.map_or(&name, |place| place.missing())).to_string())
            }
            Err(why) => Err(why.to_string()),
        }
    }
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

/// As [`children`], to be changed.
pub(super) fn children_mut(expression: &mut IdedExpr) -> Vec<&mut IdedExpr> {
    match &mut expression.expr {
        Expr::Call(call) => {
            call.target.iter_mut().map(|target| &mut **target).chain(&mut call.args).collect()
        }
        Expr::Comprehension(of) => {
            vec![&mut of.iter_range, &mut of.accu_init, &mut of.loop_cond, &mut of.loop_step, &mut of.result]
        }
        Expr::List(list) => list.elements.iter_mut().collect(),
        Expr::Select(select) => vec![&mut *select.operand],
        Expr::Map(map) => map.entries.iter_mut().flat_map(|entry| of_entry_mut(&mut entry.expr)).collect(),
        Expr::Struct(made) => {
            made.entries.iter_mut().flat_map(|entry| of_entry_mut(&mut entry.expr)).collect()
        }
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
    }
}

fn of_entry_mut(entry: &mut EntryExpr) -> Vec<&mut IdedExpr> {
    match entry {
        EntryExpr::MapEntry(entry) => vec![&mut entry.key, &mut entry.value],
        EntryExpr::StructField(field) => vec![&mut field.value],
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
pub(super) fn binds(expression: &IdedExpr, name: &str) -> bool {
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
            ("size(pod) == 2 && pod.namespace == 'prod'", true),
            ("has(token.metadata.team) && !has(token.metadata.town) && has(token.type)", true),
            ("token['type'] == 'service' && token.metadata['team'] == 'payments'", true),
            ("token.policies.exists(token, token == 'ops') && token.type == 'service'", true),
            ("[request.address].all(from, inCidr(from, '10.0.0.0/8'))", true),
            ("inCidr(request.address, '::ffff:10.0.0.0/104') && !inCidr(request.address, '::/0')", true),
            ("has(posture.node_encrypted) || {'a': time.minute}['a'] == 30", true),
        ] {
            assert_eq!(holds(text), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_told_is_told() {
        for (text, wanted) in [
            ("posture.node_encrypted", "No such key"),
            ("entity.metadata.team == 'x'", "No such key: team"),
            ("has(entity.metadata.team)", "No such key: metadata"),
            ("pod.node == 'a'", "No such key: node"),
            ("token.nothing == 'a'", "No such key: nothing"),
            ("token.metadata.town == 'a'", "No such key: town"),
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
