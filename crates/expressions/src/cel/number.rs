//! Arithmetic, quantities, versions.

use super::eval::{Fault, Found};
use super::library::no;
use super::parser::Binary;
use super::value::Val;
use crate::quantity::Quantity;
use crate::version::Version;
use std::cmp::Ordering;
use std::rc::Rc;

pub(super) fn arithmetic<'a>(operator: Binary, left: &Val<'a>, right: &Val<'a>) -> Found<'a> {
    let overflow = || Fault::no("integer overflow");
    let zero = || Fault::no("division by zero");
    Ok(match (left, right) {
        (Val::Int(left), Val::Int(right)) => Val::Int(match operator {
            Binary::Add => left.checked_add(*right).ok_or_else(overflow)?,
            Binary::Sub => left.checked_sub(*right).ok_or_else(overflow)?,
            Binary::Mul => left.checked_mul(*right).ok_or_else(overflow)?,
            _ if *right == 0 => return Err(zero()),
            Binary::Div => left.checked_div(*right).ok_or_else(overflow)?,
            _ => left.checked_rem(*right).ok_or_else(overflow)?,
        }),
        (Val::Uint(left), Val::Uint(right)) => Val::Uint(match operator {
            Binary::Add => left.checked_add(*right).ok_or_else(overflow)?,
            Binary::Sub => left.checked_sub(*right).ok_or_else(overflow)?,
            Binary::Mul => left.checked_mul(*right).ok_or_else(overflow)?,
            Binary::Div => left.checked_div(*right).ok_or_else(zero)?,
            _ => left.checked_rem(*right).ok_or_else(zero)?,
        }),
        (Val::Double(_), Val::Double(_) | Val::Int(_)) | (Val::Int(_), Val::Double(_)) => {
            let (left, right) = (left.number().unwrap_or_default(), right.number().unwrap_or_default());
            Val::Double(match operator {
                Binary::Add => left + right,
                Binary::Sub => left - right,
                Binary::Mul => left * right,
                Binary::Div => left / right,
                _ => left % right,
            })
        }
        (Val::Duration(left), Val::Duration(right)) if operator == Binary::Add => {
            Val::Duration(left.checked_add(*right).ok_or_else(overflow)?)
        }
        (Val::Duration(left), Val::Duration(right)) if operator == Binary::Sub => {
            Val::Duration(left.checked_sub(*right).ok_or_else(overflow)?)
        }
        (Val::Timestamp(time), Val::Duration(nanos)) | (Val::Duration(nanos), Val::Timestamp(time))
            if operator == Binary::Add =>
        {
            Val::Timestamp(time + i128::from(*nanos))
        }
        (Val::Timestamp(time), Val::Duration(nanos)) if operator == Binary::Sub => {
            Val::Timestamp(time - i128::from(*nanos))
        }
        (Val::Timestamp(left), Val::Timestamp(right)) if operator == Binary::Sub => {
            Val::Duration(i64::try_from(left - right).map_err(|_| overflow())?)
        }
        _ => return no(&format!("{operator:?}"), &[left.clone(), right.clone()]),
    })
}

pub(super) fn math<'a>(name: &str, arguments: &[Val<'a>]) -> Found<'a> {
    if let "greatest" | "least" = name {
        let listed = match arguments {
            [one] => one.items(),
            _ => None,
        };
        let items = listed.unwrap_or_else(|| arguments.to_vec());
        let better = if name == "greatest" { Ordering::Greater } else { Ordering::Less };
        let mut best: Option<Val<'a>> = None;
        for item in items {
            if item.number().is_none() {
                return no(name, arguments);
            }
            if best.as_ref().is_none_or(|best| item.compare(best) == Some(better)) {
                best = Some(item);
            }
        }
        return best.map_or_else(|| no(name, arguments), Ok);
    }
    Ok(match (name, arguments) {
        ("abs", [Val::Int(value)]) => {
            Val::Int(value.checked_abs().ok_or_else(|| Fault::no("integer overflow"))?)
        }
        ("abs", [Val::Double(value)]) => Val::Double(value.abs()),
        ("sign", [Val::Int(value)]) => Val::Int(value.signum()),
        ("sign", [Val::Double(value)]) => Val::Double(if *value == 0.0 { 0.0 } else { value.signum() }),
        ("round", [value, Val::Int(digits)]) => {
            let scale = 10f64.powi((*digits).clamp(0, 15) as i32);
            let value = value.number().map_or_else(
                || no(name, arguments),
                |value| Ok(Val::Double((value * scale).round() / scale)),
            );
            value?
        }
        ("bitAnd", [Val::Int(left), Val::Int(right)]) => Val::Int(left & right),
        ("bitOr", [Val::Int(left), Val::Int(right)]) => Val::Int(left | right),
        ("bitXor", [Val::Int(left), Val::Int(right)]) => Val::Int(left ^ right),
        ("bitNot", [Val::Int(value)]) => Val::Int(!value),
        ("bitShiftLeft", [Val::Int(left), Val::Int(by @ 0..)]) => {
            Val::Int(if *by > 63 { 0 } else { left << by })
        }
        ("bitShiftRight", [Val::Int(left), Val::Int(by @ 0..)]) => {
            Val::Int(if *by > 63 { 0 } else { (left.cast_unsigned() >> by).cast_signed() })
        }
        (_, [value]) => {
            let Some(value) = value.number() else { return no(name, arguments) };
            match name {
                "ceil" => Val::Double(value.ceil()),
                "floor" => Val::Double(value.floor()),
                "round" => Val::Double(value.round()),
                "trunc" => Val::Double(value.trunc()),
                "sqrt" => Val::Double(value.sqrt()),
                "isNaN" => Val::Bool(value.is_nan()),
                "isInf" => Val::Bool(value.is_infinite()),
                "isFinite" => Val::Bool(value.is_finite()),
                _ => return no(name, arguments),
            }
        }
        _ => return no(name, arguments),
    })
}

/// `quantity()`, `semver()` and whether a text is one.
pub(super) fn parse<'a>(name: &str, text: &str, rest: &[Val<'a>]) -> Found<'a> {
    let version = || match rest {
        [Val::Bool(true)] => Version::parse_tolerant(text),
        _ => Version::parse(text),
    };
    match name {
        "isQuantity" => Ok(Val::Bool(Quantity::parse(text).is_some())),
        "isSemver" => Ok(Val::Bool(version().is_some())),
        "quantity" => Quantity::parse(text)
            .map(Val::Quantity)
            .ok_or_else(|| Fault::no(format!("{text:?} is no quantity"))),
        _ => version()
            .map(|version| Val::Version(Rc::new(version)))
            .ok_or_else(|| Fault::no(format!("{text:?} is no semver"))),
    }
}

/// Functions of quantities and versions.
pub(super) fn call<'a>(target: &Val<'a>, name: &str, arguments: &[Val<'a>]) -> Found<'a> {
    let failed = || no(name, std::slice::from_ref(target));
    let order = match (target, arguments) {
        (Val::Quantity(left), [Val::Quantity(right)]) => left.partial_cmp(right),
        (Val::Version(left), [Val::Version(right)]) => Some(left.cmp(right)),
        _ => None,
    };
    match (name, order) {
        ("isGreaterThan", Some(order)) => return Ok(Val::Bool(order.is_gt())),
        ("isLessThan", Some(order)) => return Ok(Val::Bool(order.is_lt())),
        ("compareTo", Some(order)) => return Ok(Val::Int(order as i64)),
        _ => {}
    }
    let whole = |value: u64| Ok(Val::Int(i64::try_from(value).unwrap_or(i64::MAX)));
    match (target, name) {
        (Val::Version(version), "major") => whole(version.major),
        (Val::Version(version), "minor") => whole(version.minor),
        (Val::Version(version), "patch") => whole(version.patch),
        (Val::Quantity(quantity), _) => {
            let made = match (name, arguments) {
                ("sign", []) => Some(Val::Int(quantity.nano().signum() as i64)),
                ("isInteger", []) => Some(Val::Bool(quantity.to_int().is_some())),
                ("asInteger", []) => Some(
                    quantity.to_int().map(Val::Int).ok_or_else(|| Fault::no("the quantity is no integer"))?,
                ),
                ("asApproximateFloat", []) => Some(Val::Double(quantity.to_f64())),
                ("add" | "sub", [other]) => {
                    let other = match other {
                        Val::Quantity(other) => Some(*other),
                        Val::Int(value) => Some(Quantity::from_int(*value, quantity.format())),
                        _ => None,
                    };
                    let sum =
                        other.and_then(
                            |other| if name == "add" { quantity.add(other) } else { quantity.sub(other) },
                        );
                    sum.map(Val::Quantity)
                }
                _ => None,
            };
            made.map_or_else(failed, Ok)
        }
        _ => failed(),
    }
}
