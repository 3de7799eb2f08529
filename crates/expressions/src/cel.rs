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
mod text;
mod time;
mod value;

pub use check::{Kind, Names};
pub use eval::{Evaluation, Fault, Found, Host, Scope, Variables};
pub use library::{Signature, no};
pub use text::has_format;
pub use value::{Opaque, Record, Val};

use parser::Node;

/// A compiled expression.
#[derive(Debug)]
pub struct Program {
    root: Node,
    kind: Kind,
}

impl Program {
    /// Reads an expression.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and where: its grammar, a name or function that is not there, a number of arguments.
    pub fn parse(text: &str, names: &Names<'_>) -> Result<Program, String> {
        let root = parser::parse(text)?;
        let kind = check::check(&root, text, names)?;
        Ok(Program { root, kind })
    }

    /// What kind of value it yields, as far as that can be told.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its value.
    ///
    /// # Errors
    /// It fails, lacks something from outside, or costs too much.
    pub fn run<'a>(&'a self, scope: &Scope<'_, 'a>) -> Result<Val<'a>, Fault> {
        eval::run(&self.root, scope)
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// As for [`Program::run`], or it yields no boolean.
    pub fn holds<'a>(&'a self, scope: &Scope<'_, 'a>) -> Result<bool, Fault> {
        match self.run(scope)?.simple() {
            Val::Bool(value) => Ok(value),
            other => Err(Fault::no(format!("a boolean was expected, and {} came", other.type_name()))),
        }
    }
}
