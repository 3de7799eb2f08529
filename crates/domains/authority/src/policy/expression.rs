//! Conditions in the Common Expression Language (CEL, https://cel.dev): what a rule demands of who asks, when and from
//! where.
//!
//! An expression is read when its policy is written ([`condition`]). It may name the variables of [`VARIABLES`]; it has a bounded
//! length and may take a bounded number of steps. A rule whose expression cannot be evaluated, for what it names is not there or it
//! takes too long, counts as far as it denies and not as far as it grants.

use super::Ask;
use super::places::{Fields, VARIABLES, Variable};
use crate::cidr::{self, Network};
use keyward_expressions::World;
use keyward_expressions::cel::{Evaluation, Fault, Found, Host, Program, Scope, Signature, Val, Variables};
use keyward_expressions::condition::{self, FUNCTIONS, STEPS};
use keyward_expressions::meter::Meter;
use serde_json::Value;
use std::cell::Cell;
use std::fmt;
use typed_arena::Arena;

/// An expression that was read.
pub struct Expression {
    text: String,
    program: Program,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

impl Expression {
    /// Reads `text`; else says what is wrong with it.
    pub fn parse(text: &str) -> Result<Expression, String> {
        let program = condition::read(text).map_err(|why| {
            if !why.contains("undeclared") {
                return why;
            }
            let known: Vec<String> = VARIABLES.iter().map(Variable::about).collect();
            format!("{why}; known: {}", known.join("; "))
        })?;
        Ok(Expression { text: text.to_owned(), program })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the request meets it; or why that cannot be told.
    pub fn holds(&self, ask: &Ask<'_>) -> Result<bool, String> {
        let world = World { now: i128::from(ask.now.nanos()), seed: Cell::new(0), meter: Meter::of(STEPS) };
        let fields = VARIABLES.each_ref().map(|variable| Fields { variable, ask });
        let roots = fields.each_ref().map(|fields| (fields.variable.name, Val::Record(fields)));
        let host = Of { arena: &Arena::with_capacity(1) };
        let variables = Variables::default();
        let scope = Scope { roots: &roots, variables: &variables, host: &host, world: &world };
        self.program.holds(&scope).map_err(|why| why.to_string())
    }
}

/// What conditions ask of the authority.
struct Of<'a> {
    arena: &'a Arena<Value>,
}

impl<'a> Host<'a> for Of<'a> {
    fn functions(&self) -> &'static [Signature] {
        FUNCTIONS
    }

    /// `inCidr`: whether an address is in a network; an address that is none is in no network.
    fn call(&self, _: &Evaluation<'_, '_, 'a>, _: &str, _: &str, arguments: &[Val<'a>]) -> Found<'a> {
        let [Some(address), Some(network)] = [0, 1].map(|at| arguments.get(at).and_then(Val::as_str)) else {
            return Err(Fault::no(
                "inCidr() takes an address and a network, as in inCidr(request.address, '10.0.0.0/8')",
            ));
        };
        let parsed = Network::parse(network)
            .ok_or_else(|| Fault::no(format!("inCidr(): {}", cidr::not_one(network))))?;
        Ok(Val::Bool(address.parse().is_ok_and(|address| parsed.contains(address))))
    }

    fn keep(&self, value: Value) -> &'a Value {
        self.arena.alloc(value)
    }
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
            attested: true,
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
            who: Some(Who { token: &token, holder: None, address, posture: None }),
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
    fn who_writes_a_condition_knows_the_variables() {
        assert_eq!(VARIABLES.each_ref().map(|variable| variable.name), condition::VARIABLES);
    }

    #[test]
    fn what_nobody_proved_is_of_no_pod() {
        let made = TokenEntry { attested: false, ..token() };
        let ask = |token| Ask {
            path: "secret/data/api",
            operation: Operation::Read,
            parameters: None,
            wrap_ttl: None,
            now: Timestamp::from_secs(1),
            who: Some(Who { token, holder: None, address: None, posture: None }),
        };
        let condition = Expression::parse("has(pod.name)").unwrap();
        assert_eq!(condition.holds(&ask(&made)), Ok(false));
        assert_eq!(condition.holds(&ask(&token())), Ok(true));
    }

    #[test]
    fn what_cannot_be_told_is_told() {
        for (text, wanted) in [
            ("posture.node_encrypted", "no such key"),
            ("entity.metadata.team == 'x'", "no such key: metadata"),
            ("has(entity.metadata.team)", "no such key: metadata"),
            ("pod.node == 'a'", "no such key: node"),
            ("token.nothing == 'a'", "no such key: nothing"),
            ("token.metadata.town == 'a'", "no such key: town"),
            ("request.path", "boolean was expected"),
            ("1 / 0 == 1", "divi"),
            ("lists.range(200).all(a, lists.range(200).all(b, a != b || a == b))", "more steps than it may"),
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
            ("1 + 1", "a number, not true or false"),
            ("secret == 'x'", "undeclared reference to 'secret'"),
            ("secret == 'x'", "token (policies"),
            ("environment('HOME') == 'x'", "no function environment"),
            ("resource.get('v1', 'secrets', 'a', 'b') == null", "undeclared reference to 'resource'"),
            ("Point{x: 1} == Point{x: 1}", "no type Point"),
            (&format!("'{}' == ''", "x".repeat(3000)), "over 2048 bytes"),
            (&format!("{}true{}", "(".repeat(100), ")".repeat(100)), "nest"),
        ] {
            let why = Expression::parse(text).err().unwrap_or_default();
            assert!(why.contains(wanted), "{text}: {why}");
        }
    }

    #[test]
    fn deep_expressions_fit_a_threads_stack() {
        let chain = |part: &str, end: &str| {
            format!("{}{end}", part.repeat((condition::LONGEST - end.len()) / part.len()))
        };
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
