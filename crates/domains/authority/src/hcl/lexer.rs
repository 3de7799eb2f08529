//! From characters to tokens.

use super::cursor::{Cursor, named};
use super::{Error, Position};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Ident(String),
    Bool(bool),
    Int(i64, Box<str>),
    Float(f64, Box<str>),
    String(String),
    Heredoc(String),
    OpenBrace,
    CloseBrace,
    OpenBracket,
    CloseBracket,
    Comma,
    Assign,
    End,
}

impl Token {
    /// How an error names the token. Strings are not repeated.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Ident(text) => format!("`{text}`"),
            Self::Bool(value) => format!("`{value}`"),
            Self::Int(..) | Self::Float(..) => "a number".to_owned(),
            Self::String(_) => "a quoted string".to_owned(),
            Self::Heredoc(_) => "a heredoc".to_owned(),
            Self::OpenBrace => "`{`".to_owned(),
            Self::CloseBrace => "`}`".to_owned(),
            Self::OpenBracket => "`[`".to_owned(),
            Self::CloseBracket => "`]`".to_owned(),
            Self::Comma => "`,`".to_owned(),
            Self::Assign => "`=`".to_owned(),
            Self::End => "the end of the text".to_owned(),
        }
    }
}

pub(super) struct Lexer<'a> {
    cursor: Cursor<'a>,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(cursor: Cursor<'a>) -> Self {
        Self { cursor }
    }

    /// The next token and where it begins.
    pub(super) fn next(&mut self) -> Result<(Token, Position), Error> {
        self.skip_blank()?;
        let at = self.cursor.at();
        let Some(c) = self.cursor.peek() else { return Ok((Token::End, at)) };
        let token = match c {
            '{' => self.single(Token::OpenBrace),
            '}' => self.single(Token::CloseBrace),
            '[' => self.single(Token::OpenBracket),
            ']' => self.single(Token::CloseBracket),
            ',' => self.single(Token::Comma),
            '=' => self.single(Token::Assign),
            '"' => Token::String(self.string()?),
            '<' => Token::Heredoc(self.heredoc()?),
            '0'..='9' | '-' | '.' => self.number()?,
            c if is_letter(c) => self.word(),
            c => return Err(self.unexpected(c)),
        };
        Ok((token, at))
    }

    fn single(&mut self, token: Token) -> Token {
        self.cursor.bump();
        token
    }

    fn unexpected(&self, c: char) -> Error {
        let remedy = match c {
            ':' => "write `=` between a key and its value, or put the whole document in braces to write JSON",
            '\'' => "use double quotes",
            ';' => "separate attributes with a newline",
            _ => "remove it, or put it in double quotes",
        };
        self.cursor.error(format!("unexpected {}", named(Some(c))), remedy)
    }

    /// Passes white space and comments.
    fn skip_blank(&mut self) -> Result<(), Error> {
        loop {
            self.cursor.take_while(|c| matches!(c, ' ' | '\t' | '\n' | '\r'));
            let rest = self.cursor.rest();
            if rest.starts_with('#') || rest.starts_with("//") {
                self.cursor.take_while(|c| c != '\n' && c != '\0');
            } else if rest.starts_with("/*") {
                self.block_comment()?;
            } else if rest.starts_with('/') {
                return Err(self
                    .cursor
                    .error("a single `/` means nothing", "start a comment with `//` or `#`"));
            } else {
                return Ok(());
            }
        }
    }

    fn block_comment(&mut self) -> Result<(), Error> {
        let opening = self.cursor;
        self.cursor.bump();
        self.cursor.bump();
        loop {
            match self.cursor.bump() {
                Some('*') if self.cursor.eat('/') => return Ok(()),
                Some('\0') | None => {
                    return Err(
                        opening.error("the comment that begins here has no end", "close it with `*/`")
                    );
                }
                Some(_) => {}
            }
        }
    }

    fn word(&mut self) -> Token {
        match self.cursor.take_while(|c| is_letter(c) || is_digit(c) || c == '-' || c == '.') {
            "true" => Token::Bool(true),
            "false" => Token::Bool(false),
            text => Token::Ident(text.to_owned()),
        }
    }

    /// A number as far as it goes: what follows it directly is the next token.
    fn number(&mut self) -> Result<Token, Error> {
        let start = self.cursor;
        let digit = |c: char| c.is_ascii_digit();
        self.cursor.eat('-');
        let rest = self.cursor.rest();
        let whole = if rest.starts_with("0x") || rest.starts_with("0X") {
            self.cursor.bump();
            self.cursor.bump();
            self.cursor.take_while(|c| c.is_ascii_hexdigit());
            true
        } else {
            self.cursor.take_while(digit);
            let fraction = self.cursor.eat('.');
            if fraction {
                self.cursor.take_while(digit);
            }
            let exponent = self.cursor.eat('e') || self.cursor.eat('E');
            if exponent {
                let _ = self.cursor.eat('-') || self.cursor.eat('+');
                self.cursor.take_while(digit);
            }
            !fraction && !exponent
        };
        let text = self.cursor.since(&start);
        let token = if whole {
            integer(text).map(|value| Token::Int(value, text.into()))
        } else {
            let value = text.parse().ok().filter(|value: &f64| value.is_finite() && !text.starts_with("-."));
            value.map(|value| Token::Float(value, text.into()))
        };
        token.ok_or_else(|| {
            start.error(
                format!("`{text}` is not a number of 64 bits"),
                "write a decimal, a hex (0x1f) or an octal (0644) number, or put it in double quotes",
            )
        })
    }

    fn string(&mut self) -> Result<String, Error> {
        let opening = self.cursor;
        let unclosed =
            || opening.error("the string that begins here has no end on its line", "close it with `\"`");
        let mut bytes = Vec::new();
        self.cursor.bump();
        loop {
            let before = self.cursor;
            match self.cursor.bump() {
                Some('"') => break,
                None | Some('\n' | '\0') => return Err(unclosed()),
                Some('\\') => self.escape(before, &mut bytes)?,
                Some('$') if self.cursor.peek() == Some('{') => {
                    self.interpolation(&opening)?;
                    bytes.extend_from_slice(self.cursor.since(&before).as_bytes());
                }
                Some(_) => bytes.extend_from_slice(self.cursor.since(&before).as_bytes()),
            }
        }
        String::from_utf8(bytes).map_err(|_| {
            opening.error(
                "the `\\x` or octal escapes of this string do not form UTF-8",
                "write characters as `\\uXXXX`",
            )
        })
    }

    /// Passes `{…}` after a `$`: newlines and quotes mean nothing in it, braces count, escapes must be right.
    fn interpolation(&mut self, opening: &Cursor<'a>) -> Result<(), Error> {
        let start = self.cursor;
        let mut open = 0_u32;
        loop {
            let before = self.cursor;
            match self.cursor.bump() {
                None | Some('\0') => {
                    let what = format!("the `${{` at {} has no `}}`", start.at());
                    return Err(opening.error(what, "close it, and the string that begins here"));
                }
                Some('\\') => self.escape(before, &mut Vec::new())?,
                Some('{') => open += 1,
                Some('}') => open -= 1,
                Some(_) => {}
            }
            if open == 0 {
                return Ok(());
            }
        }
    }

    fn escape(&mut self, backslash: Cursor<'a>, bytes: &mut Vec<u8>) -> Result<(), Error> {
        let wrong = || {
            let what = "this backslash begins no known escape";
            backslash.error(
                what,
                "double it (`\\\\`), or use one of \\n \\t \\r \\\" \\\\ \\xHH \\uHHHH \\UHHHHHHHH \\OOO",
            )
        };
        let plain = match self.cursor.peek().ok_or_else(wrong)? {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 11,
            '\\' => b'\\',
            '"' => b'"',
            '0'..='7' => {
                let value = self.cursor.digits(8, 3).and_then(|value| u8::try_from(value).ok());
                bytes.push(value.ok_or_else(wrong)?);
                return Ok(());
            }
            'x' => {
                self.cursor.bump();
                let value = self.cursor.digits(16, 2).and_then(|value| u8::try_from(value).ok());
                bytes.push(value.ok_or_else(wrong)?);
                return Ok(());
            }
            long @ ('u' | 'U') => {
                self.cursor.bump();
                let count = if long == 'u' { 4 } else { 8 };
                let value = self.cursor.digits(16, count).and_then(char::from_u32).ok_or_else(wrong)?;
                bytes.extend_from_slice(value.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(wrong()),
        };
        self.cursor.bump();
        bytes.push(plain);
        Ok(())
    }

    fn heredoc(&mut self) -> Result<String, Error> {
        let opening = self.cursor;
        self.cursor.bump();
        if !self.cursor.eat('<') {
            return Err(opening.error("a single `<` means nothing", "begin a heredoc with `<<EOF`"));
        }
        let indented = self.cursor.eat('-');
        let anchor = self.cursor.take_while(|c| is_letter(c) || is_digit(c));
        if anchor.is_empty() || !self.cursor.eat('\n') {
            let what = "a heredoc begins with `<<` or `<<-`, one word, and the end of the line";
            return Err(opening.error(what, "write `<<EOF` and a newline"));
        }
        let start = self.cursor;
        loop {
            let before = self.cursor;
            let line = self.cursor.take_while(|c| c != '\n' && c != '\0');
            let body = before.since(&start);
            if !self.cursor.eat('\n') {
                let what = format!("the heredoc that begins here has no line `{anchor}`");
                return Err(opening
                    .error(what, format!("end it with `{anchor}` on a line of its own, and a newline")));
            }
            let word = line.trim_end_matches('\r').trim_start_matches([' ', '\t', '\x0b', '\x0c', '\r']);
            // The Go module does not take a mark at the margin for the end of an indented heredoc.
            if word == anchor && (!indented || line != anchor) {
                let margin = &line[..line.trim_end_matches('\r').len() - word.len()];
                return Ok(if indented { unindented(body, margin) } else { format!("{body}{margin}") });
            }
        }
    }
}

/// Takes the end mark's margin off every line, unless one line has less: then nothing is taken.
fn unindented(body: &str, margin: &str) -> String {
    if !body.split_inclusive('\n').all(|line| line.starts_with(margin)) {
        return body.to_owned();
    }
    body.split_inclusive('\n').map(|line| &line[margin.len()..]).collect()
}

/// A whole number with an optional sign: decimal, hex (`0x`) or octal (`0`).
pub(super) fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let (base, digits) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => (16, hex),
        None if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        None => (10, digits),
    };
    if !digits.starts_with(|c: char| c.is_digit(base)) {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{digits}"), base).ok()
}

fn is_letter(c: char) -> bool {
    c == '_' || c.is_alphabetic()
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit() || (!c.is_ascii() && c.is_numeric())
}
