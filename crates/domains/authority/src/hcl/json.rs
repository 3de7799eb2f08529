//! JSON (RFC 8259) into the same tree, with positions. A comma before a closing bracket is accepted, because
//! HCL's own JSON reader accepts it and policies are kept that rely on it.

use super::cursor::{Cursor, named};
use super::{Budget, Error, Item, Key, Kind, Object, Position, Value};

pub(super) fn document(cursor: Cursor<'_>) -> Result<Object, Error> {
    let mut reader = Reader { cursor, budget: Budget::new() };
    // The document is chosen as JSON past any white space Unicode knows; JSON itself knows four.
    reader.cursor.take_while(char::is_whitespace);
    let opening = reader.cursor.at();
    reader.cursor.bump();
    let object = reader.object(opening)?;
    reader.skip();
    match reader.cursor.peek() {
        None => Ok(object),
        found => {
            Err(reader.expected("the end of the text", found, "remove what follows the document's last `}`"))
        }
    }
}

struct Reader<'a> {
    cursor: Cursor<'a>,
    budget: Budget,
}

impl Reader<'_> {
    fn skip(&mut self) {
        self.cursor.take_while(|c| matches!(c, ' ' | '\t' | '\n' | '\r'));
    }

    fn expected(&self, what: &str, found: Option<char>, remedy: &str) -> Error {
        self.cursor.error(format!("expected {what}, found {} (the document is JSON)", named(found)), remedy)
    }

    fn object(&mut self, opening: Position) -> Result<Object, Error> {
        self.budget.enter(opening)?;
        let mut object = Object::default();
        loop {
            self.skip();
            let at = self.cursor.at();
            match self.cursor.peek() {
                Some('}') => break,
                Some('"') => {}
                None => {
                    return Err(Error::new(
                        opening,
                        "the object that opens here is never closed",
                        "add its `}`",
                    ));
                }
                found => return Err(self.expected("a key in double quotes", found, "quote it")),
            }
            self.budget.node(at)?;
            let key = Key { text: self.string()?, at };
            self.skip();
            if !self.cursor.eat(':') {
                return Err(self.expected("`:` after the key", self.cursor.peek(), "write \"key\": value"));
            }
            let value = self.value()?;
            object.items.push(Item { keys: vec![key], value });
            if !self.comma('}', "`,` or `}` in the object")? {
                break;
            }
        }
        self.cursor.bump();
        self.budget.leave();
        Ok(object)
    }

    fn list(&mut self, opening: Position) -> Result<Vec<Value>, Error> {
        self.budget.enter(opening)?;
        let mut values = Vec::new();
        loop {
            self.skip();
            match self.cursor.peek() {
                Some(']') => break,
                None => {
                    return Err(Error::new(
                        opening,
                        "the list that opens here is never closed",
                        "add its `]`",
                    ));
                }
                Some(_) => values.push(self.value()?),
            }
            if !self.comma(']', "`,` or `]` in the list")? {
                break;
            }
        }
        self.cursor.bump();
        self.budget.leave();
        Ok(values)
    }

    /// Passes a comma; false if the closing bracket is next.
    fn comma(&mut self, closing: char, wanted: &str) -> Result<bool, Error> {
        self.skip();
        match self.cursor.peek() {
            Some(',') => {
                self.cursor.bump();
                Ok(true)
            }
            Some(c) if c == closing => Ok(false),
            found => Err(self.expected(wanted, found, "separate with commas and close every bracket")),
        }
    }

    fn value(&mut self) -> Result<Value, Error> {
        self.skip();
        let at = self.cursor.at();
        self.budget.node(at)?;
        let kind = match self.cursor.peek() {
            Some('"') => Kind::String(self.string()?),
            Some('{') => {
                self.cursor.bump();
                Kind::Object(self.object(at)?)
            }
            Some('[') => {
                self.cursor.bump();
                Kind::List(self.list(at)?)
            }
            Some('-' | '0'..='9') => self.number()?,
            Some('a'..='z' | 'A'..='Z') => self.word()?,
            found => return Err(self.expected("a value", found, "write a value or remove the key")),
        };
        Ok(Value { kind, at })
    }

    fn word(&mut self) -> Result<Kind, Error> {
        let start = self.cursor;
        match self.cursor.take_while(|c| c.is_ascii_alphanumeric()) {
            "true" => Ok(Kind::Bool(true)),
            "false" => Ok(Kind::Bool(false)),
            "null" => Ok(Kind::String(String::new())),
            _ => {
                Err(start
                    .error("an unquoted word is no JSON value", "quote it, or write true, false or null"))
            }
        }
    }

    fn number(&mut self) -> Result<Kind, Error> {
        let start = self.cursor;
        let text = self.cursor.take_while(|c| matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E'));
        let digits = text.strip_prefix('-').unwrap_or(text);
        let (whole, rest) =
            digits.split_at(digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len()));
        let (fraction, exponent) = rest.split_at(rest.find(['e', 'E']).unwrap_or(rest.len()));
        let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let well_formed = (whole == "0" || (!whole.is_empty() && !whole.starts_with('0')))
            && (fraction.is_empty() || fraction.strip_prefix('.').is_some_and(all_digits))
            && (exponent.is_empty()
                || all_digits(exponent[1..].strip_prefix(['+', '-']).unwrap_or(&exponent[1..])));
        let kind = match text.parse::<i64>() {
            _ if !well_formed => None,
            Ok(value) => Some(Kind::Int(value, text.into())),
            Err(_) if rest.is_empty() => None,
            Err(_) => text.parse().ok().filter(|v: &f64| v.is_finite()).map(|v| Kind::Float(v, text.into())),
        };
        kind.ok_or_else(|| {
            let remedy = "write it in decimal without leading zeros, or put it in double quotes";
            start.error(format!("`{text}` is not a JSON number of 64 bits"), remedy)
        })
    }

    fn string(&mut self) -> Result<String, Error> {
        let opening = self.cursor;
        let mut text = String::new();
        self.cursor.bump();
        loop {
            let before = self.cursor;
            match self.cursor.bump() {
                Some('"') => return Ok(text),
                Some('\\') => text.push(self.escape().ok_or_else(|| {
                    before.error(
                        "this backslash begins no JSON escape",
                        "use one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX (surrogates in pairs)",
                    )
                })?),
                Some(c) if c >= ' ' => text.push(c),
                Some('\n') | None => {
                    return Err(opening
                        .error("the string that begins here has no end on its line", "close it with `\"`"));
                }
                c => return Err(before.error(format!("{} in a string", named(c)), "write it as \\uXXXX")),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        Some(match self.cursor.bump()? {
            c @ ('"' | '\\' | '/') => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let first = self.cursor.digits(16, 4)?;
                if !(0xd800..0xdc00).contains(&first) {
                    return char::from_u32(first);
                }
                if !self.cursor.eat('\\') || !self.cursor.eat('u') {
                    return None;
                }
                let second = self.cursor.digits(16, 4)?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                char::from_u32(0x10000 + ((first - 0xd800) << 10) + second)?
            }
            _ => return None,
        })
    }
}
