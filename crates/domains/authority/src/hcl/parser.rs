//! From tokens to the tree.

use super::cursor::Cursor;
use super::lexer::{Lexer, Token};
use super::{Budget, Error, Item, Key, Kind, Object, Position, Value};

pub(super) fn document(cursor: Cursor<'_>) -> Result<Object, Error> {
    let mut parser =
        Parser { lexer: Lexer::new(cursor), next: (Token::End, cursor.at()), budget: Budget::new() };
    parser.advance()?;
    parser.items(None)
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    next: (Token, Position),
    budget: Budget,
}

impl Parser<'_> {
    /// Hands out the next token and reads the one after it.
    fn advance(&mut self) -> Result<(Token, Position), Error> {
        let following = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.next, following))
    }

    /// Items up to the closing brace of an object, or up to the end of the document.
    fn items(&mut self, opening: Option<Position>) -> Result<Object, Error> {
        let mut object = Object::default();
        loop {
            match (&self.next.0, opening) {
                (Token::CloseBrace, Some(_)) => {
                    self.advance()?;
                    return Ok(object);
                }
                (Token::CloseBrace, None) => {
                    return Err(Error::new(
                        self.next.1,
                        "this `}` closes nothing",
                        "remove it, or open its block",
                    ));
                }
                (Token::End, Some(opening)) => {
                    return Err(Error::new(
                        opening,
                        "the block that opens here is never closed",
                        "add its `}`",
                    ));
                }
                (Token::End, None) => return Ok(object),
                _ => {}
            }
            object.items.push(self.item()?);
            if self.next.0 == Token::Comma {
                self.advance()?;
            }
        }
    }

    fn item(&mut self) -> Result<Item, Error> {
        let keys = self.keys()?;
        let (token, at) = self.advance()?;
        let value = match token {
            Token::OpenBrace => self.object(at)?,
            _ => self.value()?,
        };
        Ok(Item { keys, value })
    }

    /// One key before `=`, or any number of them before `{`; both are left to be read.
    fn keys(&mut self) -> Result<Vec<Key>, Error> {
        // A value put where a key belongs may be a credential: an error names only a bare word.
        let name = match &self.next.0 {
            Token::Ident(text) => format!("`{text}`"),
            _ => "this key".to_owned(),
        };
        let mut keys: Vec<Key> = Vec::new();
        loop {
            let at = self.next.1;
            match (&self.next.0, keys.as_slice()) {
                (Token::Ident(_) | Token::String(_), _) => {
                    self.budget.node(at)?;
                    if let (Token::Ident(text) | Token::String(text), at) = self.advance()? {
                        keys.push(Key { text, at });
                    }
                }
                (Token::Assign, [_]) | (Token::OpenBrace, [_, ..]) => return Ok(keys),
                (Token::Assign, [_, ..]) => {
                    let what = format!("{name} has a label and a `=`");
                    return Err(Error::new(at, what, "remove the `=` to write a block, or the label"));
                }
                (Token::Bool(_), []) => {
                    return Err(Error::new(
                        at,
                        "`true` and `false` cannot be keys",
                        "put the key in double quotes",
                    ));
                }
                (found, []) => {
                    let what = format!("expected a key, found {}", found.describe());
                    return Err(Error::new(at, what, "write `key = value` or `key { … }`"));
                }
                (found, [_, ..]) => {
                    let what = format!("expected `=` or `{{` after {name}, found {}", found.describe());
                    return Err(Error::new(at, what, "write `key = value` or `key { … }`"));
                }
            }
        }
    }

    fn value(&mut self) -> Result<Value, Error> {
        let (token, at) = self.advance()?;
        self.budget.node(at)?;
        let kind = match token {
            Token::String(text) | Token::Heredoc(text) => Kind::String(text),
            Token::Int(value, text) => Kind::Int(value, text),
            Token::Float(value, text) => Kind::Float(value, text),
            Token::Bool(value) => Kind::Bool(value),
            Token::OpenBrace => return self.object(at),
            Token::OpenBracket => return self.list(at),
            found => {
                let what = format!("expected a value, found {}", found.describe());
                let remedy = match found {
                    Token::Ident(_) => "put texts in double quotes",
                    _ => "write a string, a number, true, false, a list or an object",
                };
                return Err(Error::new(at, what, remedy));
            }
        };
        Ok(Value { kind, at })
    }

    fn object(&mut self, at: Position) -> Result<Value, Error> {
        self.budget.enter(at)?;
        let object = self.items(Some(at))?;
        self.budget.leave();
        Ok(Value { kind: Kind::Object(object), at })
    }

    /// Elements up to the closing bracket. As in Go's parser, commas may repeat, and a list needs none after it.
    fn list(&mut self, opening: Position) -> Result<Value, Error> {
        self.budget.enter(opening)?;
        let mut values: Vec<Value> = Vec::new();
        let mut comma_due = false;
        loop {
            match &self.next.0 {
                Token::CloseBracket => {
                    self.advance()?;
                    self.budget.leave();
                    return Ok(Value { kind: Kind::List(values), at: opening });
                }
                Token::Comma => {
                    self.advance()?;
                    comma_due = false;
                }
                Token::End => {
                    return Err(Error::new(
                        opening,
                        "the list that opens here is never closed",
                        "add its `]`",
                    ));
                }
                found if comma_due => {
                    let what = format!("expected `,` or `]` in the list, found {}", found.describe());
                    return Err(Error::new(self.next.1, what, "separate the elements with commas"));
                }
                _ => {
                    let value = self.value()?;
                    comma_due = !matches!(value.kind, Kind::List(_));
                    values.push(value);
                }
            }
        }
    }
}
