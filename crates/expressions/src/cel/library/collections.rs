//! Functions of lists, sets and maps.

use super::no;
use crate::cel::eval::{Evaluation, Fault, Found};
use crate::cel::value::Val;
use std::cmp::Ordering;
use std::rc::Rc;

/// Sorts by a key, where all have an order.
pub(in crate::cel) fn sort<'a, T>(items: &mut [T], key: impl Fn(&T) -> &Val<'a>) -> Result<(), Fault> {
    let mut failed = false;
    items.sort_by(|left, right| {
        key(left).compare(key(right)).unwrap_or_else(|| {
            failed = true;
            Ordering::Equal
        })
    });
    if failed { Err(Fault::no("the elements have no order")) } else { Ok(()) }
}

fn index<'a>(found: Option<usize>) -> Val<'a> {
    Val::Int(found.and_then(|at| i64::try_from(at).ok()).unwrap_or(-1))
}

pub(super) fn call<'a>(
    evaluation: &Evaluation<'_, '_, 'a>,
    target: &Val<'a>,
    name: &str,
    arguments: &[Val<'a>],
) -> Found<'a> {
    let mut items = target.items().unwrap_or_default();
    evaluation.spend(items.len())?;
    Ok(match (name, arguments) {
        ("contains", [item]) => Val::Bool(items.iter().any(|known| known.equals(item))),
        ("indexOf", [item]) => index(items.iter().position(|known| known.equals(item))),
        ("lastIndexOf", [item]) => index(items.iter().rposition(|known| known.equals(item))),
        ("join", _) => {
            let glue = arguments.first().and_then(Val::as_str).unwrap_or_default();
            let texts: Option<Vec<&str>> = items.iter().map(Val::as_str).collect();
            let joined = texts.ok_or_else(|| Fault::no("join() is for lists of strings"))?.join(glue);
            evaluation.spend(joined.len() / 16)?;
            Val::text(joined)
        }
        ("isSorted", []) => {
            Val::Bool(items.windows(2).all(|pair| pair[0].compare(&pair[1]).is_some_and(Ordering::is_le)))
        }
        ("sum", []) => {
            let mut sum: Option<Val<'a>> = None;
            for item in items {
                sum = Some(match sum {
                    None => item,
                    Some(sum) => {
                        crate::cel::number::arithmetic(crate::cel::parser::Binary::Add, &sum, &item)?
                    }
                });
            }
            sum.unwrap_or(Val::Int(0))
        }
        ("min" | "max", []) => {
            let better = if name == "min" { Ordering::Less } else { Ordering::Greater };
            let mut best: Option<Val<'a>> = None;
            for item in items {
                let replace = match &best {
                    None => true,
                    Some(best) => {
                        item.compare(best).ok_or_else(|| Fault::no("the elements have no order"))? == better
                    }
                };
                if replace {
                    best = Some(item);
                }
            }
            best.ok_or_else(|| Fault::no(format!("{name}() of an empty list")))?
        }
        ("slice", [Val::Int(start), Val::Int(end)]) => {
            let range = usize::try_from(*start).ok().zip(usize::try_from(*end).ok());
            match range {
                Some((start, end)) if start <= end && end <= items.len() => {
                    Val::list(items[start..end].to_vec())
                }
                _ => return Err(Fault::no("the slice is beyond the list")),
            }
        }
        ("flatten", _) => {
            let depth = match arguments {
                [Val::Int(depth)] => *depth,
                _ => 1,
            };
            Val::list(flatten(items, depth))
        }
        ("distinct", []) => {
            evaluation.spend(items.len().saturating_mul(items.len()) / 8)?;
            let mut seen: Vec<Val<'a>> = Vec::new();
            for item in items {
                if !seen.iter().any(|known| known.equals(&item)) {
                    seen.push(item);
                }
            }
            Val::list(seen)
        }
        ("reverse", []) => {
            items.reverse();
            Val::list(items)
        }
        ("sort", []) => {
            sort(&mut items, |item| item)?;
            Val::list(items)
        }
        ("first", []) => Val::Optional(items.into_iter().next().map(Rc::new)),
        ("last", []) => Val::Optional(items.pop().map(Rc::new)),
        _ => return no(name, std::slice::from_ref(target)),
    })
}

fn flatten<'a>(items: Vec<Val<'a>>, depth: i64) -> Vec<Val<'a>> {
    let mut flat = Vec::new();
    for item in items {
        match item.items().filter(|_| depth > 0) {
            Some(inner) => flat.extend(flatten(inner, depth - 1)),
            None => flat.push(item),
        }
    }
    flat
}

pub(super) fn sets<'a>(evaluation: &Evaluation<'_, '_, 'a>, name: &str, arguments: &[Val<'a>]) -> Found<'a> {
    let [left, right] = arguments else { return no(name, arguments) };
    let (Some(left), Some(right)) = (left.items(), right.items()) else { return no(name, arguments) };
    evaluation.spend(left.len().saturating_mul(right.len()))?;
    let within = |item: &Val<'a>, list: &[Val<'a>]| list.iter().any(|known| known.equals(item));
    Ok(Val::Bool(match name {
        "contains" => right.iter().all(|item| within(item, &left)),
        "equivalent" => {
            right.iter().all(|item| within(item, &left)) && left.iter().all(|item| within(item, &right))
        }
        _ => right.iter().any(|item| within(item, &left)),
    }))
}

pub(super) fn range<'a>(evaluation: &Evaluation<'_, '_, 'a>, arguments: &[Val<'a>]) -> Found<'a> {
    let [Val::Int(end)] = arguments else { return no("lists.range", arguments) };
    evaluation.spend(usize::try_from(*end).unwrap_or(0))?;
    Ok(Val::list((0..*end).map(Val::Int).collect()))
}

/// Two lists of objects as a map, the keys from one and the values from the other.
pub(super) fn to_map<'a>(arguments: &[Val<'a>]) -> Found<'a> {
    let [keys, values, key_field, value_field] = arguments else { return no("listObjToMap", arguments) };
    let (Some(keys), Some(values)) = (keys.items(), values.items()) else {
        return no("listObjToMap", arguments);
    };
    let (Some(key), Some(value)) = (key_field.as_str(), value_field.as_str()) else {
        return no("listObjToMap", arguments);
    };
    let pairs =
        keys.iter().zip(&values).filter_map(|(left, right)| Some((left.field(key)?, right.field(value)?)));
    Ok(Val::Map(Rc::new(pairs.collect())))
}
