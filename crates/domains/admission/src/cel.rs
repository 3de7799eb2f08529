//! Expressions of policies: what they may name, and what they may ask of the world outside.

mod authorizer;
mod outside;
#[cfg(test)]
mod tests;

pub(crate) use keyward_expressions::cel::{Fault, Names, Program, Scope, Val, Variables};
pub(crate) use outside::Outside;

use crate::refusal::{At, Read};
use keyward_expressions::cel::Kind;

/// What expressions of a policy may use: `object`, `request` and their like, and the variables defined so far.
pub(crate) fn names<'n>(roots: &'n [&'static str], variables: &'n [Box<str>]) -> Names<'n> {
    Names { roots, variables, functions: outside::FUNCTIONS, types: &["Object", "JSONPatch"] }
}

/// The expression at a place of a policy.
pub(crate) fn compile(at: &At<'_>, names: &Names<'_>) -> Read<Program> {
    let text = at.str()?;
    Program::parse(text, names).or_else(|why| at.refuse(format_args!("{why}, in: {}", text.trim())))
}

/// The expression at a place that is to yield a boolean.
pub(crate) fn condition(at: &At<'_>, names: &Names<'_>) -> Read<Program> {
    let program = compile(at, names)?;
    match program.kind() {
        Kind::Any | Kind::Bool => Ok(program),
        other => at.refuse(format_args!("a boolean is expected, and this is {}", other.name())),
    }
}
