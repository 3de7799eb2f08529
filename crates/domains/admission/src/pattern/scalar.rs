//! The leaves of patterns: values, or conditions in strings such as `>=1Gi & <2Gi | none`.

use crate::wildcard::Glob;
use crate::{duration, quantity::Quantity};
use serde_json::Value;
use std::cmp::Ordering;
use std::fmt;

#[derive(Debug)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// `*`: anything that is there.
    Present,
    Text(Box<str>, Vec<Vec<Condition>>),
}

#[derive(Debug)]
pub(crate) enum Condition {
    Compare(Operator, Operand),
    In(Operand, Operand),
    NotIn(Operand, Operand),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    More,
    MoreEqual,
}

/// What is compared with, in every way it can be read.
#[derive(Debug)]
pub(crate) struct Operand {
    glob: Glob,
    quantity: Option<Quantity>,
    duration: Option<i64>,
}

impl Operand {
    fn new(text: &str) -> Operand {
        let text = text.trim();
        Operand { glob: Glob::new(text), quantity: Quantity::parse(text), duration: duration::parse(text) }
    }
}

/// `10-20`, or `10!-20` for what is outside, with units: where it is split.
fn range(text: &str) -> Option<(&str, bool, &str)> {
    let end_of = |text: &str| {
        let sign = usize::from(text.starts_with(['-', '+', '|']));
        let digits = |from: usize| text[from..].bytes().take_while(u8::is_ascii_digit).count();
        let mut at = sign + digits(sign);
        if at == sign {
            return None;
        }
        if text[at..].starts_with('.') && digits(at + 1) > 0 {
            at += 1 + digits(at + 1);
        }
        Some(at + text[at..].bytes().take_while(u8::is_ascii_alphabetic).count())
    };
    let middle = end_of(text)?;
    let (outside, right) = match text[middle..].strip_prefix("!-") {
        Some(right) => (true, right),
        None => (false, text[middle..].strip_prefix('-')?),
    };
    (end_of(right)? == right.len()).then_some((&text[..middle], outside, right))
}

/// Whether a text is a range such as `10-20`.
pub(crate) fn is_range(text: &str) -> bool {
    range(text).is_some_and(|(_, outside, _)| !outside)
}

impl Condition {
    fn new(text: &str) -> Condition {
        if let Some((low, outside, high)) = range(text) {
            let (low, high) = (Operand::new(low), Operand::new(high));
            return if outside { Condition::NotIn(low, high) } else { Condition::In(low, high) };
        }
        let operators = [
            (">=", Operator::MoreEqual),
            ("<=", Operator::LessEqual),
            (">", Operator::More),
            ("<", Operator::Less),
            ("!", Operator::NotEqual),
        ];
        let found =
            operators.into_iter().find_map(|(sign, operator)| Some((operator, text.strip_prefix(sign)?)));
        let (operator, text) = found.filter(|_| text.len() > 1).unwrap_or((Operator::Equal, text));
        Condition::Compare(operator, Operand::new(text))
    }

    fn holds(&self, value: &Leaf<'_>) -> bool {
        match self {
            Condition::Compare(operator, operand) => value.compare(*operator, operand),
            Condition::In(low, high) => {
                value.compare(Operator::MoreEqual, low) && value.compare(Operator::LessEqual, high)
            }
            Condition::NotIn(low, high) => {
                value.compare(Operator::Less, low) || value.compare(Operator::More, high)
            }
        }
    }
}

/// A value of a resource that strings are compared with.
struct Leaf<'v>(&'v Value);

impl Leaf<'_> {
    fn quantity(&self) -> Option<Quantity> {
        match self.0 {
            Value::Null => Some(Quantity::from_int(0, crate::quantity::Format::Decimal)),
            Value::String(text) => Quantity::parse(text),
            Value::Number(number) => match number.as_i64() {
                Some(int) => Some(Quantity::from_int(int, crate::quantity::Format::Decimal)),
                None => Quantity::parse(&format!("{:.6}", number.as_f64()?)),
            },
            _ => None,
        }
    }

    fn duration(&self) -> Option<i64> {
        match self.0 {
            Value::Null => Some(0),
            Value::String(text) => duration::parse(text),
            Value::Number(number) if number.as_i64() == Some(0) => Some(0),
            _ => None,
        }
    }

    fn compare(&self, operator: Operator, operand: &Operand) -> bool {
        let ordered = |order: Option<Ordering>| {
            order.is_some_and(|order| match operator {
                Operator::Equal => order.is_eq(),
                Operator::NotEqual => order.is_ne(),
                Operator::Less => order.is_lt(),
                Operator::LessEqual => order.is_le(),
                Operator::More => order.is_gt(),
                Operator::MoreEqual => order.is_ge(),
            })
        };
        if let Some(duration) = operand.duration
            && ordered(self.duration().map(|value| value.cmp(&duration)))
        {
            return true;
        }
        if let Some(quantity) = operand.quantity
            && ordered(self.quantity().and_then(|value| value.partial_cmp(&quantity)))
        {
            return true;
        }
        let equal = match self.0 {
            Value::String(text) => operand.glob.matches(text),
            Value::Bool(value) => operand.glob.matches(if *value { "true" } else { "false" }),
            Value::Number(number) => match number.as_i64() {
                Some(int) => operand.glob.matches(&int.to_string()),
                None => operand.glob.matches(&exponential(number.as_f64().unwrap_or_default())),
            },
            _ => return false,
        };
        match operator {
            Operator::Equal => equal,
            Operator::NotEqual => !equal,
            _ => false,
        }
    }
}

/// As Go's format `E` has it: at least two digits of exponent, with its sign.
fn exponential(value: f64) -> String {
    let text = format!("{value:E}");
    match text.split_once('E') {
        Some((mantissa, exponent)) => {
            let number: i32 = exponent.parse().unwrap_or_default();
            format!("{mantissa}E{}{:02}", if number < 0 { '-' } else { '+' }, number.abs())
        }
        None => text,
    }
}

impl Scalar {
    pub(crate) fn new(value: &Value) -> Scalar {
        match value {
            Value::Bool(value) => Scalar::Bool(*value),
            Value::Number(number) => match number.as_i64() {
                Some(int) => Scalar::Int(int),
                None => Scalar::Float(number.as_f64().unwrap_or_default()),
            },
            Value::String(text) if text == "*" => Scalar::Present,
            Value::String(text) => {
                let all =
                    |text: &str| text.split('&').map(|part| Condition::new(part.trim_matches(' '))).collect();
                Scalar::Text(
                    text.as_str().into(),
                    text.split('|').map(|part| all(part.trim_matches(' '))).collect(),
                )
            }
            _ => Scalar::Null,
        }
    }

    pub(crate) fn matches(&self, value: &Value) -> bool {
        match self {
            Scalar::Null => match value {
                Value::Null => true,
                Value::Bool(value) => !value,
                Value::Number(number) => number.as_f64() == Some(0.0),
                Value::String(text) => text.is_empty(),
                _ => false,
            },
            Scalar::Bool(expected) => value.as_bool() == Some(*expected),
            Scalar::Int(expected) => match value {
                Value::Number(number) => {
                    number.as_i64() == Some(*expected) || number.as_f64() == Some(*expected as f64)
                }
                Value::String(text) => text.parse() == Ok(*expected),
                _ => false,
            },
            Scalar::Float(expected) => match value {
                Value::Number(number) => number.as_f64() == Some(*expected),
                Value::String(text) => text.parse() == Ok(*expected),
                _ => false,
            },
            Scalar::Present => matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_)),
            Scalar::Text(text, any) => {
                value.as_str().is_some_and(|value| value == &**text)
                    || any.iter().any(|all| all.iter().all(|condition| condition.holds(&Leaf(value))))
            }
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Null => f.write_str("null"),
            Scalar::Bool(value) => value.fmt(f),
            Scalar::Int(value) => value.fmt(f),
            Scalar::Float(value) => value.fmt(f),
            Scalar::Present => f.write_str("*"),
            Scalar::Text(text, _) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn conditions() {
        for (pattern, value, expected) in [
            (json!("?*"), json!("a"), true),
            (json!("?*"), json!(""), false),
            (json!("?*"), Value::Null, false),
            (json!("!*:latest"), json!("a:1"), true),
            (json!("a|b"), json!("b"), true),
            (json!(">=1 & <=5"), json!(3), true),
            (json!(">=1 & <=5"), json!("6"), false),
            (json!("<=1Gi"), json!("512Mi"), true),
            (json!("<1h"), json!("90m"), false),
            (json!("10-20"), json!(15), true),
            (json!("10!-20"), json!(15), false),
            (json!("1Mi-1Gi"), json!("2Mi"), true),
            (json!("5.10.84-1"), json!("5.10.84-1"), true),
            (json!("!5.10.84-1 & !5.15.5-2"), json!("5.16.5-arch1-1"), true),
            (json!(null), json!(0), true),
            (json!(5), json!("5"), true),
            (json!(true), json!("true"), false),
            (json!("<5"), Value::Null, true),
            (json!("1.5"), json!(1.5), true),
        ] {
            assert_eq!(Scalar::new(&pattern).matches(&value), expected, "{pattern} {value}");
        }
    }
}
