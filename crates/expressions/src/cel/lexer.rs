//! Text into tokens.

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Ident(String),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
    Sign(&'static str),
    End,
}

/// Longest first.
const SIGNS: [&str; 29] = [
    "&&", "||", "==", "!=", "<=", ">=", ".?", "[?", "{", "}", "[", "]", "(", ")", ".", ",", ":", "?", "!",
    "-", "+", "*", "/", "%", "<", ">", "=", "&", "|",
];

pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, String> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.blank();
        let begin = lexer.at;
        if begin >= text.len() {
            tokens.push((begin, Token::End));
            return Ok(tokens);
        }
        let token = lexer.token().map_err(|why| located(text, begin, &why))?;
        tokens.push((begin, token));
    }
}

/// A reason with the line and column that it is at.
pub(super) fn located(text: &str, at: usize, why: &str) -> String {
    let before = &text[..at.min(text.len())];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    format!("{why} at {line}:{column}")
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn blank(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with("//") {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn token(&mut self) -> Result<Token, String> {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let quote = |from: usize| matches!(bytes.get(from), Some(b'"' | b'\''));
        let prefix = |c: &u8| matches!(c, b'r' | b'R' | b'b' | b'B');
        if quote(0) {
            return self.string(false, false);
        }
        if prefix(&bytes[0]) && (quote(1) || (bytes.get(1).is_some_and(prefix) && quote(2))) {
            let count = if quote(1) { 1 } else { 2 };
            let has = |lower: u8| bytes[..count].iter().any(|c| c.to_ascii_lowercase() == lower);
            let (raw, bytes) = (has(b'r'), has(b'b'));
            self.at += count;
            return self.string(raw, bytes);
        }
        if bytes[0].is_ascii_digit() || (bytes[0] == b'.' && bytes.get(1).is_some_and(u8::is_ascii_digit)) {
            return self.number();
        }
        if bytes[0].is_ascii_alphabetic() || bytes[0] == b'_' {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            self.at += end;
            return Ok(Token::Ident(rest[..end].to_owned()));
        }
        if bytes[0] == b'`' {
            let end = rest[1..].find('`').ok_or("the ` is not closed")?;
            self.at += end + 2;
            return Ok(Token::Ident(rest[1..=end].to_owned()));
        }
        let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign));
        let sign = sign.ok_or_else(|| format!("{:?} has no meaning", rest.chars().next().unwrap_or(' ')))?;
        self.at += sign.len();
        Ok(Token::Sign(sign))
    }

    fn number(&mut self) -> Result<Token, String> {
        let rest = self.rest();
        let unsigned = |end: usize| matches!(rest.as_bytes().get(end), Some(b'u' | b'U'));
        let hex = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X"));
        if let Some(digits) = hex {
            let end = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
            let value = u64::from_str_radix(&digits[..end], 16).map_err(|_| "a number is too large")?;
            self.at += end + 2 + usize::from(unsigned(end + 2));
            return if unsigned(end + 2) { Ok(Token::Uint(value)) } else { int(value) };
        }
        let bytes = rest.as_bytes();
        let digits = |mut at: usize| {
            while bytes.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            at
        };
        let mut end = digits(0);
        let mut double = false;
        if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
            double = true;
            end = digits(end + 1);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            if bytes.get(end + 1 + sign).is_some_and(u8::is_ascii_digit) {
                double = true;
                end = digits(end + 1 + sign);
            }
        }
        self.at += end;
        if double {
            return rest[..end].parse().map(Token::Double).map_err(|_| "not a number".to_owned());
        }
        let value: u64 = rest[..end].parse().map_err(|_| "a number is too large")?;
        if unsigned(end) {
            self.at += 1;
            return Ok(Token::Uint(value));
        }
        int(value)
    }

    fn string(&mut self, raw: bool, bytes: bool) -> Result<Token, String> {
        let rest = self.rest();
        let quote = &rest[..1];
        let triple = quote.repeat(3);
        let end = if rest.starts_with(&triple) { triple.as_str() } else { quote };
        self.at += end.len();
        let mut out: Vec<u8> = Vec::new();
        loop {
            let rest = self.rest();
            if rest.starts_with(end) {
                self.at += end.len();
                break;
            }
            let c = rest.chars().next().ok_or("a string is not closed")?;
            if end.len() == 1 && c == '\n' {
                return Err("a string is not closed before its line ends".to_owned());
            }
            self.at += c.len_utf8();
            if c == '\\' && !raw {
                self.escape(&mut out, bytes)?;
            } else {
                let mut buffer = [0; 4];
                out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
            }
        }
        if bytes {
            return Ok(Token::Bytes(out));
        }
        String::from_utf8(out).map(Token::Text).map_err(|_| "a string is not UTF-8".to_owned())
    }

    fn escape(&mut self, out: &mut Vec<u8>, bytes: bool) -> Result<(), String> {
        let rest = self.rest();
        let c = rest.chars().next().ok_or("a string is not closed")?;
        self.at += c.len_utf8();
        let simple = match c {
            'a' => Some(7),
            'b' => Some(8),
            'f' => Some(12),
            'n' => Some(b'\n'),
            'r' => Some(b'\r'),
            't' => Some(b'\t'),
            'v' => Some(11),
            '\\' | '\'' | '"' | '`' | '?' => Some(c as u8),
            _ => None,
        };
        if let Some(byte) = simple {
            out.push(byte);
            return Ok(());
        }
        let (skip, length, radix) = match c {
            'x' | 'X' => (1, 2, 16),
            'u' => (1, 4, 16),
            'U' => (1, 8, 16),
            '0'..='3' => (0, 3, 8),
            other => return Err(format!("there is no escape \\{other}")),
        };
        let digits = rest.get(skip..skip + length).ok_or("an escape is too short")?;
        let value = u32::from_str_radix(digits, radix).map_err(|_| "an escape has other than digits")?;
        self.at += skip + length - 1;
        if bytes && (radix == 8 || length == 2) {
            out.push(u8::try_from(value).map_err(|_| "an escape is beyond a byte")?);
            return Ok(());
        }
        let c = char::from_u32(value).ok_or("an escape is no character")?;
        let mut buffer = [0; 4];
        out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
        Ok(())
    }
}

fn int(value: u64) -> Result<Token, String> {
    // The least integer is written as minus one that is too large.
    if value == 1 << 63 {
        return Ok(Token::Int(i64::MIN));
    }
    i64::try_from(value).map(Token::Int).map_err(|_| "an integer is too large".to_owned())
}
