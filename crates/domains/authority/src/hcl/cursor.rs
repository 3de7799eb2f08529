//! A place in the text that moves forward one character at a time.

use super::{Error, Position};

#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    offset: usize,
    at: Position,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, offset: 0, at: Position { line: 1, column: 1 } }
    }

    pub(super) fn at(&self) -> Position {
        self.at
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.offset..]
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.offset += c.len_utf8();
        if c == '\n' {
            self.at = Position { line: self.at.line + 1, column: 1 };
        } else {
            self.at.column += 1;
        }
        Some(c)
    }

    pub(super) fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.bump();
        }
        found
    }

    /// Passes all characters that fit, and hands out what was passed.
    pub(super) fn take_while(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let start = self.offset;
        while self.peek().is_some_and(&fits) {
            self.bump();
        }
        &self.text[start..self.offset]
    }

    /// Passes exactly `count` digits of a base, as a number. `None` leaves the cursor at the offending one.
    pub(super) fn digits(&mut self, base: u32, count: usize) -> Option<u32> {
        let mut number = 0;
        for _ in 0..count {
            let digit = self.peek()?.to_digit(base)?;
            self.bump();
            number = u32::wrapping_add(u32::wrapping_mul(number, base), digit);
        }
        Some(number)
    }

    /// What stood between an earlier place and here.
    pub(super) fn since(&self, start: &Self) -> &'a str {
        &self.text[start.offset..self.offset]
    }

    pub(super) fn error(&self, what: impl Into<String>, remedy: impl Into<String>) -> Error {
        Error::new(self.at, what, remedy)
    }
}

/// How an error names the next character. Invisible ones are named by their number.
pub(super) fn named(c: Option<char>) -> String {
    match c {
        None => "the end of the text".to_owned(),
        Some('\n') => "the end of the line".to_owned(),
        Some(c) if c.is_control() || (c.is_whitespace() && c != ' ') => {
            format!("the character U+{:04X}", c as u32)
        }
        Some(c) => format!("`{c}`"),
    }
}
