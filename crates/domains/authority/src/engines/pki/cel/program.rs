//! A program: expressions that are variables, and one that decides.

use crate::refusal::Refusal;
use keyward_core::Timestamp;
use keyward_expressions::World;
use keyward_expressions::cel::{
    self, Evaluation, Fault, Found, Host, Names, Scope, Signature, Val, Variables,
};
use keyward_expressions::meter::Meter;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::cell::Cell;
use typed_arena::Arena;

/// Bytes of the longest expression.
const LONGEST: usize = 16 * 1024;
/// Variables of the largest program.
const MOST: usize = 100;
/// Steps that a program may take: some milliseconds.
const STEPS: u64 = 100_000;

/// What a program may name besides its own variables.
const ROOTS: [&str; 7] =
    ["request", "now", "parsed_csr", "entity_id", "entity_groups", "entity_info", "token"];
/// The messages it may make.
const TYPES: [&str; 9] = [
    "ValidationOutput",
    "CertTemplate",
    "PKIX",
    "Net",
    "Url",
    "OID",
    "ObjectIdentifier",
    "openbao",
    "google",
];

static FUNCTIONS: &[Signature] = &[
    Signature { of: "", name: "check_valid_email", least: 1, most: 1 },
    Signature { of: "", name: "encode_json", least: 1, most: 1 },
    Signature { of: "", name: "decode_json", least: 1, most: 1 },
];

/// A program as it is written.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    variables: Vec<Variable>,
    #[serde(default)]
    expression: String,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Variable {
    name: String,
    expression: String,
}

impl Source {
    /// With what `given` says: variables by their names, and the expression.
    pub(super) fn changed(mut self, given: Value) -> Result<Source, Refusal> {
        let given: Source = serde_json::from_value(given).map_err(|why| {
            Refusal::invalid(format!(
                "'cel_program' must be an object with variables, a list of name and expression, and expression: {why}"
            ))
        })?;
        for variable in given.variables {
            match self.variables.iter_mut().find(|known| known.name == variable.name) {
                Some(known) => *known = variable,
                None => self.variables.push(variable),
            }
        }
        if !given.expression.is_empty() {
            self.expression = given.expression;
        }
        Ok(self)
    }
}

/// A program that was read.
pub(super) struct Program {
    /// Each after those it names.
    variables: Vec<(String, cel::Program)>,
    main: cel::Program,
}

fn compile(what: &str, text: &str, roots: &[&str]) -> Result<cel::Program, Refusal> {
    if text.len() > LONGEST {
        return Err(Refusal::invalid(format!("{what} has over {LONGEST} bytes")));
    }
    cel::Program::parse(text, &Names { roots, variables: &[], functions: FUNCTIONS, types: &TYPES })
        .map_err(|why| Refusal::invalid(format!("{what} cannot be read: {why}")))
}

impl Program {
    /// Reads `source`; refuses what is no CEL, names what is not there, or names itself.
    pub(super) fn read(source: &Source) -> Result<Program, Refusal> {
        if source.expression.is_empty() {
            return Err(Refusal::invalid("'cel_program' has no expression: that is what decides"));
        }
        if source.variables.len() > MOST {
            return Err(Refusal::invalid(format!("a program may have at most {MOST} variables")));
        }
        let mut roots: Vec<&str> = ROOTS.to_vec();
        let mut waiting: Vec<&Variable> = source.variables.iter().collect();
        if let Some(taken) = waiting.iter().find(|variable| ROOTS.contains(&&*variable.name)) {
            return Err(Refusal::invalid(format!(
                "the variable {} would hide what the request has",
                taken.name
            )));
        }
        let mut variables = Vec::with_capacity(waiting.len());
        // Each round takes those that name nothing that still waits.
        while !waiting.is_empty() {
            let (mut later, mut refused, before) = (Vec::new(), None, variables.len());
            for variable in std::mem::take(&mut waiting) {
                match compile(&format!("the variable {}", variable.name), &variable.expression, &roots) {
                    Ok(read) => {
                        variables.push((variable.name.clone(), read));
                        roots.push(&variable.name);
                    }
                    Err(why) => {
                        refused.get_or_insert(why);
                        later.push(variable);
                    }
                }
            }
            match refused {
                Some(why) if variables.len() == before => return Err(why),
                _ => waiting = later,
            }
        }
        let main = compile("the expression", &source.expression, &roots)?;
        Ok(Program { variables, main })
    }

    /// What it yields for `roots`. What it makes lives as long as `arena`.
    pub(super) fn run<'a>(
        &'a self,
        roots: Vec<(&'a str, Val<'a>)>,
        now: Timestamp,
        arena: &'a Arena<Value>,
    ) -> Result<Val<'a>, Refusal> {
        let world = World { now: i128::from(now.nanos()), seed: Cell::new(0), meter: Meter::of(STEPS) };
        let (host, nothing) = (Of { arena }, Variables::default());
        let mut roots = roots;
        let refused =
            |what: &str, why: Fault| Refusal::invalid(format!("{what} of the CEL role fails: {why}"));
        for (name, variable) in &self.variables {
            let scope = Scope { roots: &roots, variables: &nothing, host: &host, world: &world };
            let value = variable.run(&scope).map_err(|why| refused(&format!("the variable {name}"), why))?;
            roots.push((name, value));
        }
        let scope = Scope { roots: &roots, variables: &nothing, host: &host, world: &world };
        self.main.run(&scope).map_err(|why| refused("the expression", why))
    }
}

struct Of<'a> {
    arena: &'a Arena<Value>,
}

impl<'a> Host<'a> for Of<'a> {
    fn functions(&self) -> &'static [Signature] {
        FUNCTIONS
    }

    fn call(&self, _: &Evaluation<'_, '_, 'a>, _: &str, name: &str, arguments: &[Val<'a>]) -> Found<'a> {
        let Some(argument) = arguments.first() else { return cel::no(name, arguments) };
        match (name, argument.as_str()) {
            ("check_valid_email", text) => Ok(Val::Bool(text.is_some_and(is_email))),
            ("encode_json", _) => {
                argument.to_json().map(|json| Val::text(json.to_string())).map_err(Fault::no)
            }
            ("decode_json", Some(text)) => match serde_json::from_str(text) {
                Ok(value) => Ok(Val::Json(self.keep(value)).simple()),
                Err(why) => Err(Fault::no(format!("decode_json(): {why}"))),
            },
            _ => cel::no(name, arguments),
        }
    }

    fn keep(&self, value: Value) -> &'a Value {
        self.arena.alloc(value)
    }
}

/// Whether it is an address of RFC 5322, 3.4.1, without comments and quotes, alone or in angle brackets.
fn is_email(text: &str) -> bool {
    let plain = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text);
    let atom = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c))
    };
    plain.rsplit_once('@').is_some_and(|(local, domain)| {
        text.len() <= 320 && local.split('.').all(atom) && domain.split('.').all(atom)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn source(variables: &[(&str, &str)], expression: &str) -> Source {
        let variables: Vec<Value> = variables
            .iter()
            .map(|(name, expression)| json!({"name": name, "expression": expression}))
            .collect();
        Source::default().changed(json!({"variables": variables, "expression": expression})).unwrap()
    }

    fn run(variables: &[(&str, &str)], expression: &str) -> Result<Value, String> {
        let program = Program::read(&source(variables, expression)).map_err(|why| why.to_string())?;
        let (arena, request) = (Arena::new(), json!({"common_name": "a.example.org", "ttl": "1h"}));
        let now = Timestamp::parse_rfc3339("2026-11-22T01:00:00Z").unwrap();
        let roots = vec![("request", Val::Json(&request)), ("now", Val::Timestamp(i128::from(now.nanos())))];
        let value = program.run(roots, now, &arena).map_err(|why| why.to_string())?;
        value.to_json()
    }

    #[test]
    fn variables_stand_in_any_order() {
        let variables = [("b", "a + '!'"), ("c", "b + b"), ("a", "request.common_name")];
        assert_eq!(run(&variables, "c"), Ok(json!("a.example.org!a.example.org!")));
        assert_eq!(run(&[], "string(now + duration(request.ttl))"), Ok(json!("2026-11-22T02:00:00Z")));
        assert_eq!(run(&[], "CertTemplate{DNSNames: ['a']}"), Ok(json!({"DNSNames": ["a"]})));
    }

    #[test]
    fn what_cannot_be_evaluated_is_refused_when_it_is_written() {
        let looped = [("a", "b"), ("b", "a")];
        for (variables, expression, expected) in [
            (&[("a", "1 +")][..], "a", "the variable a cannot be read"),
            (&looped, "a", "undeclared reference to 'b'"),
            (&[("request", "1")], "1", "would hide"),
            (&[], "", "no expression"),
            (&[], "reqest.common_name", "request"),
            (&[], "Certificate{}", "no type Certificate"),
            (&[], "client_token == ''", "undeclared reference to 'client_token'"),
        ] {
            let why = Program::read(&source(variables, expression)).err().map(|why| why.to_string());
            assert!(why.as_ref().is_some_and(|why| why.contains(expected)), "{expression}: {why:?}");
        }
        let unknown = Source::default().changed(json!({"varables": []})).err().map(|why| why.to_string());
        assert!(unknown.is_some_and(|why| why.contains("varables")));
    }

    #[test]
    fn programs_end() {
        let why = run(&[], "lists.range(900).all(a, lists.range(900).all(b, a + b >= 0))").unwrap_err();
        assert!(why.contains("more steps"), "{why}");
    }

    #[test]
    fn addresses_are_told_from_others() {
        for (text, expected) in [
            ("foo@example.com", true),
            ("<foo@example.com>", true),
            ("<foo@example.com", false),
            ("invalid-email", false),
            ("user@domain..com", false),
            (".user@domain.com", false),
            ("a b@domain.com", false),
        ] {
            assert_eq!(is_email(text), expected, "{text}");
        }
    }
}
