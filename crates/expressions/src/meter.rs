//! What one evaluation may cost: a policy that loops or explodes stops with a reason instead of holding up an API server.

use std::cell::Cell;

/// Steps of one request with one policy. A step is a node of an expression, an element of a list or a value copied; a
/// million of them take some tens of milliseconds.
pub const STEPS: u64 = 5_000_000;

/// The longest text that an expression may make, in bytes.
pub const TEXT: usize = 4 << 20;

/// How large a regular expression may be when compiled, in bytes.
const REGEX: usize = 1 << 20;

/// What is left to spend.
#[derive(Debug)]
pub struct Meter {
    budget: u64,
    left: Cell<u64>,
}

/// The budget is used up.
#[derive(Clone, Copy, Debug)]
pub struct Spent;

impl std::fmt::Display for Spent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the evaluation takes more steps than it may: make its lists or its nesting smaller")
    }
}

impl Default for Meter {
    /// The budget of a policy: [`STEPS`].
    fn default() -> Meter {
        Meter::of(STEPS)
    }
}

impl Meter {
    /// A budget of so many steps.
    pub fn of(steps: u64) -> Meter {
        Meter { budget: steps, left: Cell::new(steps) }
    }

    /// Takes steps.
    ///
    /// # Errors
    /// There are not as many left; then none are.
    pub fn spend(&self, steps: usize) -> Result<(), Spent> {
        let left = self.left.get().checked_sub(steps as u64);
        self.left.set(left.unwrap_or_default());
        left.map(|_| ()).ok_or(Spent)
    }

    /// Steps taken so far.
    pub fn taken(&self) -> u64 {
        self.budget - self.left.get()
    }

    /// Whether none are left.
    pub fn is_spent(&self) -> bool {
        self.left.get() == 0
    }
}

/// A regular expression in Go's syntax, bounded in size. Matching takes time linear in the text.
///
/// # Errors
/// It is none, or too large.
pub fn regex(pattern: &str) -> Result<regex::Regex, String> {
    // Go quotes a stretch with \Q..\E and ends a text with \z, which are written otherwise here.
    let pattern = if pattern.contains("\\Q") { quoted(pattern) } else { pattern.to_owned() };
    regex::RegexBuilder::new(&pattern).size_limit(REGEX).dfa_size_limit(REGEX).build().map_err(
        |why| match why {
            regex::Error::CompiledTooBig(_) => {
                format!("the regular expression {pattern} is too large: it needs more than 1 MiB")
            }
            _ => format!("{pattern} is not a regular expression"),
        },
    )
}

fn quoted(pattern: &str) -> String {
    let mut out = String::new();
    let mut rest = pattern;
    while let Some(at) = rest.find("\\Q") {
        out.push_str(&rest[..at]);
        let inner = &rest[at + 2..];
        let end = inner.find("\\E");
        out.push_str(&regex::escape(&inner[..end.unwrap_or(inner.len())]));
        rest = end.map_or("", |end| &inner[end + 2..]);
    }
    out + rest
}
