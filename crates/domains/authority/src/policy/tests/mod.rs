//! The semantics, case by case.

mod conditional;
mod conditions;
mod lists;
mod matching;
mod oracle;
mod parsing;
mod properties;
mod speed;
mod templates;

use super::*;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// All capabilities but `deny`.
const ALL: &str = "create,read,update,patch,delete,list,sudo";

pub(super) struct Body(pub(super) Map<String, Value>);

impl Body {
    fn of(value: Value) -> Body {
        match value {
            Value::Object(map) => Body(map),
            other => panic!("{other} is no object"),
        }
    }
}

impl Parameters for Body {
    fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    fn value(&self, name: &str) -> Option<Value> {
        self.0.get(name).cloned()
    }
}

fn policy(name: &str, text: &str) -> Arc<Policy> {
    Arc::new(Policy::parse(name, text).unwrap_or_else(|why| panic!("{why}\n{text}")))
}

/// A policy of rules `pattern capability,capability`.
fn brief(name: &str, rules: &[&str]) -> Arc<Policy> {
    let rule = |rule: &&str| {
        let (path, capabilities) = rule.rsplit_once(' ').expect("a pattern and capabilities");
        let list: Vec<&str> = capabilities.split(',').filter(|one| !one.is_empty()).collect();
        format!("path {path:?} {{ capabilities = {list:?} }}\n")
    };
    policy(name, &rules.iter().map(rule).collect::<String>())
}

fn acl(rules: &[&str]) -> Acl {
    Acl::compile(&[brief("p", rules)], None)
}

fn of_text(text: &str) -> Acl {
    Acl::compile(&[policy("p", text)], None)
}

fn ask(operation: Operation, path: &str) -> Ask<'_> {
    Ask { path, operation, parameters: None, wrap_ttl: None, now: Timestamp::EPOCH, who: None }
}

fn may(acl: &Acl, operation: Operation, path: &str) -> bool {
    acl.check(&ask(operation, path)).allowed
}

fn operation(name: &str) -> Operation {
    match name {
        "create" => Operation::Create,
        "read" => Operation::Read,
        "update" => Operation::Update,
        "patch" => Operation::Patch,
        "delete" => Operation::Delete,
        "list" => Operation::List,
        "help" => Operation::Help,
        other => panic!("no operation {other}"),
    }
}
