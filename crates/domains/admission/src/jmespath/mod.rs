//! JMESPath as policies of `kyverno.io` use it: <https://jmespath.org/specification.html>, but a missing key is an error
//! that `||`, `&&`, `!`, comparisons, projections, multi-selects and `not_null` catch, functions may follow a dot, and there are many more of them.

mod eval;
mod functions;
mod lexer;
mod parser;
#[cfg(test)]
mod tests;
mod time;
mod value;

pub(crate) use eval::{Error, Scope};
pub(crate) use value::{Val, print_number};

/// A compiled expression.
#[derive(Debug)]
pub(crate) struct Expression {
    root: parser::Node,
}

/// Why a text is not an expression, and at which byte of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The byte, from zero.
    pub at: usize,
    /// What is wrong.
    pub why: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "at byte {}: {}", self.at, self.why)
    }
}

impl Expression {
    /// # Errors
    ///
    /// What is wrong with the text: its grammar, a function that does not exist or has another number of arguments.
    pub(crate) fn parse(text: &str) -> Result<Expression, Fault> {
        Ok(Expression { root: parser::parse(text)? })
    }

    /// What it finds, `scope` being the document.
    pub(crate) fn search<'a>(&self, scope: &dyn Scope<'a>) -> Result<Val<'a>, Error> {
        eval::Evaluation { scope }.root(&self.root)
    }

    /// What it finds in a value.
    pub(crate) fn search_in<'a>(&self, value: &Val<'a>, scope: &dyn Scope<'a>) -> Result<Val<'a>, Error> {
        eval::Evaluation { scope }.node(&self.root, Some(value))
    }
}

/// The names of all functions.
pub(crate) fn function_names() -> impl Iterator<Item = &'static str> {
    functions::FUNCTIONS.iter().map(|function| function.name)
}
