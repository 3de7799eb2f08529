//! HashiCorp Configuration Language, version 1, as policies and server configurations are written in it.
//!
//! The grammar is that of the Go module `github.com/hashicorp/hcl` v1: attributes and blocks separated by
//! white space, newlines or single commas; `#`, `//` and `/* */` comments; quoted and bare keys; decimal, hex
//! and octal (`0644`) numbers; heredocs; `${…}` kept as written. A document whose first character is `{` is
//! read as JSON (RFC 8259, and a comma before a closing bracket) into the same tree.
//!
//! Where that module loses or invents data this one refuses: an attribute without a value at the end of the
//! text, bytes that do not form UTF-8 out of escapes, numbers past 64 bits, JSON with a missing comma or with
//! something after its end. It reads two things more: a byte order mark, and floats like `.5e3`.
//!
//! Duplicate keys are kept in order; whoever reads the tree decides what they mean.

mod cursor;
mod json;
mod lexer;
mod parser;
mod value;

#[cfg(test)]
mod tests;

pub use value::{Block, Item, Key, Kind, Object, Value};

use cursor::Cursor;
use std::borrow::Cow;
use std::fmt;

/// The longest text read, in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// How deep blocks, objects and lists may nest.
pub const MAX_DEPTH: u32 = 64;
/// How many keys and values one document may hold, so that its tree stays within some ten megabytes.
pub const MAX_NODES: u32 = 100_000;

/// A place in the text. Both numbers start at 1; columns count characters, not bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The character within the line.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// What is wrong with a text, where, and what to do about it.
///
/// Neither sentence repeats a quoted value, for a configuration may hold credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Where it was noticed.
    pub at: Position,
    /// What is wrong, without a full stop.
    pub what: String,
    /// What to do, as an imperative.
    pub remedy: String,
}

impl Error {
    /// An error at a place.
    pub fn new(at: Position, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { at, what: what.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.at, self.what, self.remedy)
    }
}

impl std::error::Error for Error {}

/// Reads a whole document.
///
/// # Errors
/// The first thing that is not HCL (or not JSON, if the document starts with `{`), and texts past
/// [`MAX_BYTES`], [`MAX_DEPTH`] or [`MAX_NODES`].
pub fn parse(text: &str) -> Result<Object, Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > MAX_BYTES {
        return Err(Error::new(
            Position { line: 1, column: 1 },
            format!("the text has {} bytes, more than the {MAX_BYTES} that are read", text.len()),
            "split it",
        ));
    }
    let text =
        if text.contains("\r\n") { Cow::Owned(text.replace("\r\n", "\n")) } else { Cow::Borrowed(text) };
    let cursor = Cursor::new(&text);
    if text.trim_start().starts_with('{') { json::document(cursor) } else { parser::document(cursor) }
}

/// Counts nodes and depth against their limits.
struct Budget {
    nodes: u32,
    depth: u32,
}

impl Budget {
    fn new() -> Self {
        Self { nodes: MAX_NODES, depth: MAX_DEPTH }
    }

    fn node(&mut self, at: Position) -> Result<(), Error> {
        self.nodes = self.nodes.checked_sub(1).ok_or_else(|| {
            Error::new(at, format!("the text has more than {MAX_NODES} keys and values"), "split it")
        })?;
        Ok(())
    }

    fn enter(&mut self, at: Position) -> Result<(), Error> {
        self.depth = self.depth.checked_sub(1).ok_or_else(|| {
            Error::new(at, format!("blocks and lists nest deeper than {MAX_DEPTH}"), "flatten them")
        })?;
        Ok(())
    }

    fn leave(&mut self) {
        self.depth += 1;
    }
}
