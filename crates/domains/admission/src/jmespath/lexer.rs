//! Text into tokens.

use super::Fault;
use serde_json::Value;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    Identifier(String),
    Quoted(String),
    Literal(Value),
    Number(i64),
    Dot,
    Star,
    Flatten,
    Filter,
    LeftBracket,
    RightBracket,
    LeftBrace,
    RightBrace,
    LeftParen,
    RightParen,
    Comma,
    Colon,
    Current,
    /// `$name`, of an assertion.
    Binding(String),
    Ampersand,
    Pipe,
    Or,
    And,
    Not,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    End,
}

/// The tokens of a text, with where each begins. The last is `End`.
pub(crate) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, Fault> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.token()? {
        tokens.push(token);
    }
    tokens.push((text.len(), Token::End));
    Ok(tokens)
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn eat(&mut self, expected: char) -> bool {
        let eaten = self.peek() == Some(expected);
        if eaten {
            self.at += expected.len_utf8();
        }
        eaten
    }

    fn token(&mut self) -> Result<Option<(usize, Token)>, Fault> {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += self.peek().map_or(0, char::len_utf8);
        }
        let begin = self.at;
        let Some(first) = self.peek() else { return Ok(None) };
        self.at += first.len_utf8();
        let token = match first {
            '.' => Token::Dot,
            '*' => Token::Star,
            ']' => Token::RightBracket,
            '{' => Token::LeftBrace,
            '}' => Token::RightBrace,
            '(' => Token::LeftParen,
            ')' => Token::RightParen,
            ',' => Token::Comma,
            ':' => Token::Colon,
            '@' => Token::Current,
            '[' if self.eat(']') => Token::Flatten,
            '[' if self.eat('?') => Token::Filter,
            '[' => Token::LeftBracket,
            '|' if self.eat('|') => Token::Or,
            '|' => Token::Pipe,
            '&' if self.eat('&') => Token::And,
            '&' => Token::Ampersand,
            '!' if self.eat('=') => Token::Ne,
            '!' => Token::Not,
            '<' if self.eat('=') => Token::Le,
            '<' => Token::Lt,
            '>' if self.eat('=') => Token::Ge,
            '>' => Token::Gt,
            '=' if self.eat('=') => Token::Eq,
            '"' => self.quoted(begin)?,
            '\'' => Token::Literal(Value::String(self.until('\'', begin)?)),
            '`' => literal(&self.until('`', begin)?),
            '-' | '0'..='9' => self.number(begin)?,
            '$' if self.peek().is_some_and(|c| c.is_ascii_alphabetic() || c == '_') => {
                while self.peek().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
                    self.at += 1;
                }
                Token::Binding(self.text[begin + 1..self.at].to_owned())
            }
            'a'..='z' | 'A'..='Z' | '_' => {
                while self.peek().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
                    self.at += 1;
                }
                Token::Identifier(self.text[begin..self.at].to_owned())
            }
            other => return Err(Fault { at: begin, why: format!("{other} has no meaning here") }),
        };
        Ok(Some((begin, token)))
    }

    fn number(&mut self, begin: usize) -> Result<Token, Fault> {
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
        let text = &self.text[begin..self.at];
        text.parse()
            .map(Token::Number)
            .map_err(|_| Fault { at: begin, why: format!("{text} is not an index") })
    }

    fn quoted(&mut self, begin: usize) -> Result<Token, Fault> {
        loop {
            match self.peek() {
                None => return Err(Fault { at: begin, why: "the \" is not closed".to_owned() }),
                Some('"') => break,
                Some('\\') => {
                    self.at += 1;
                    self.at += self.peek().map_or(0, char::len_utf8);
                }
                Some(other) => self.at += other.len_utf8(),
            }
        }
        self.at += 1;
        let why = |_| Fault { at: begin, why: "the text in \" is not a JSON string".to_owned() };
        serde_json::from_str(&self.text[begin..self.at]).map(Token::Quoted).map_err(why)
    }

    /// What stands before `end`, in which a backslash keeps it from being the end.
    fn until(&mut self, end: char, begin: usize) -> Result<String, Fault> {
        let mut text = String::new();
        loop {
            match self.peek() {
                None => return Err(Fault { at: begin, why: format!("the {end} is not closed") }),
                Some(c) if c == end => break,
                Some('\\') if self.text[self.at + 1..].starts_with(end) => {
                    text.push(end);
                    self.at += 2;
                }
                Some(other) => {
                    text.push(other);
                    self.at += other.len_utf8();
                }
            }
        }
        self.at += end.len_utf8();
        Ok(text)
    }
}

/// JSON; anything else is a string, as the first JMESPath had it.
fn literal(text: &str) -> Token {
    let text = text.trim();
    Token::Literal(serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())))
}
