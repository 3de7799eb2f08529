//! The Common Expression Language as the Kubernetes API server and Kyverno extend it, over JSON as it is:
//! <https://github.com/google/cel-spec>, <https://kubernetes.io/docs/reference/using-api/cel/>.
//!
//! Our own, rather than a library: every step is counted, names and the number of arguments are checked when a policy is admitted,
//! and objects are not copied.

mod check;
mod eval;
mod lexer;
mod library;
mod number;
mod parser;
#[cfg(test)]
mod tests;
mod text;
mod time;
mod value;

pub(crate) use check::Names;
pub(crate) use eval::{Fault, Host, Scope, Variables};
pub(crate) use value::Val;

use crate::refusal::{At, Read};
use check::Kind;
use parser::Node;

/// A compiled expression.
#[derive(Debug)]
pub(crate) struct Program {
    root: Node,
    kind: Kind,
}

impl Program {
    /// # Errors
    ///
    /// What is wrong with it: its grammar, a name or function that is not there, a number of arguments.
    pub(crate) fn parse(text: &str, names: &Names<'_>) -> Result<Program, String> {
        let root = parser::parse(text)?;
        let kind = check::check(&root, names)?;
        Ok(Program { root, kind })
    }

    /// The expression at a place of a policy.
    pub(crate) fn compile(at: &At<'_>, names: &Names<'_>) -> Read<Program> {
        let text = at.str()?;
        Program::parse(text, names).or_else(|why| at.refuse(format_args!("{why}, in: {}", text.trim())))
    }

    /// The expression at a place that is to yield a boolean.
    pub(crate) fn condition(at: &At<'_>, names: &Names<'_>) -> Read<Program> {
        let program = Program::compile(at, names)?;
        match program.kind {
            Kind::Any | Kind::Bool => Ok(program),
            other => at.refuse(format_args!("a boolean is expected, and this is {}", other.name())),
        }
    }

    pub(crate) fn run<'a>(&'a self, scope: &Scope<'_, 'a>) -> Result<Val<'a>, Fault> {
        eval::run(&self.root, scope)
    }

    /// Whether it holds.
    pub(crate) fn holds<'a>(&'a self, scope: &Scope<'_, 'a>) -> Result<bool, Fault> {
        match self.run(scope)?.simple() {
            Val::Bool(value) => Ok(value),
            other => Err(Fault::no(format!("a boolean was expected, and {} came", other.type_name()))),
        }
    }
}
