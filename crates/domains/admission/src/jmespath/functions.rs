//! The functions: the standard's, and those of policies.

use super::eval::{Error, Evaluation};
use super::parser::Node;
use super::time;
use super::value::{Val, equal, print_number};
use crate::{crypt, duration, image, json, meter, nearest, pem, quantity, version, wildcard, yaml};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use quantity::Quantity;
use regex::Regex;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::cmp::Ordering;

/// A function: its name and how many arguments it takes.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) least: usize,
    pub(crate) most: usize,
}

impl Function {
    pub(crate) fn takes_regex(&self) -> bool {
        self.name.starts_with("regex_")
    }

    pub(crate) fn arity(&self) -> String {
        match (self.least, self.most) {
            (least, usize::MAX) => format!("at least {least}"),
            (least, most) if least == most => least.to_string(),
            (least, most) => format!("{least} to {most}"),
        }
    }
}

const fn f(name: &'static str, least: usize, most: usize) -> Function {
    Function { name, least, most }
}

const MANY: usize = usize::MAX;

/// Sorted by name.
#[rustfmt::skip]
pub(crate) static FUNCTIONS: &[Function] = &[
    f("abs", 1, 1), f("add", 2, 2), f("avg", 1, 1), f("base64_decode", 1, 1), f("base64_encode", 1, 1), f("ceil", 1, 1),
    f("compare", 2, 2), f("contains", 2, 2), f("divide", 2, 2), f("ends_with", 2, 2), f("equal_fold", 2, 2), f("floor", 1, 1),
    f("image_normalize", 1, 1), f("is_external_url", 1, 1), f("items", 2, 3), f("join", 2, 2), f("keys", 1, 1),
    f("label_match", 2, 2), f("length", 1, 1), f("lookup", 2, 2), f("map", 2, 2), f("max", 1, 1), f("max_by", 2, 2),
    f("md5", 1, 1), f("merge", 1, MANY), f("min", 1, 1), f("min_by", 2, 2), f("modulo", 2, 2), f("multiply", 2, 2),
    f("not_null", 1, MANY), f("object_from_lists", 2, 2), f("parse_json", 1, 1), f("parse_yaml", 1, 1),
    f("path_canonicalize", 1, 1), f("pattern_match", 2, 2), f("random", 1, 1), f("regex_match", 2, 2),
    f("regex_replace_all", 3, 3), f("regex_replace_all_literal", 3, 3), f("replace", 4, 4), f("replace_all", 3, 3),
    f("reverse", 1, 1), f("round", 2, 2), f("semver_compare", 2, 2), f("sha1", 1, 1), f("sha256", 1, 1), f("sort", 1, 1),
    f("sort_by", 2, 2), f("split", 2, 2), f("starts_with", 2, 2), f("subtract", 2, 2), f("sum", 1, 1), f("time_add", 2, 2),
    f("time_after", 2, 2), f("time_before", 2, 2), f("time_between", 3, 3), f("time_diff", 2, 2), f("time_now", 0, 0),
    f("time_now_utc", 0, 0), f("time_parse", 2, 2), f("time_since", 3, 3), f("time_to_cron", 1, 1), f("time_truncate", 2, 2),
    f("time_utc", 1, 1), f("to_array", 1, 1), f("to_boolean", 1, 1), f("to_lower", 1, 1), f("to_number", 1, 1),
    f("to_string", 1, 1), f("to_upper", 1, 1), f("trim", 2, 2), f("trim_prefix", 2, 2), f("truncate", 2, 2), f("type", 1, 1),
    f("values", 1, 1), f("x509_decode", 1, 1),
];

pub(crate) fn find(name: &str) -> Result<&'static Function, String> {
    FUNCTIONS.iter().find(|function| function.name == name).ok_or_else(|| {
        let known = FUNCTIONS.iter().map(|function| function.name);
        format!("there is no function {name}{}", nearest::hint(name, known))
    })
}

struct Call<'c, 's, 'a> {
    name: &'static str,
    evaluation: &'c Evaluation<'s, 'a>,
    arguments: Vec<Val<'a>>,
    nodes: &'c [Node],
    regex: Option<&'c Regex>,
}

type Found<'a> = Result<Val<'a>, Error>;

pub(crate) fn call<'a>(
    evaluation: &Evaluation<'_, 'a>,
    function: &'static Function,
    nodes: &[Node],
    regex: Option<&Regex>,
    current: Option<&Val<'a>>,
) -> Found<'a> {
    let mut arguments = Vec::with_capacity(nodes.len());
    for node in nodes {
        arguments.push(match node {
            Node::Reference(_) => Val::NULL,
            node => match evaluation.node(node, current) {
                Err(Error::NotFound(_)) if function.name == "not_null" => Val::NULL,
                found => found?,
            },
        });
    }
    let call = Call { name: function.name, evaluation, arguments, nodes, regex };
    call.standard().or_else(|| call.text()).or_else(|| call.data()).unwrap_or_else(|| call.times())
}

impl<'a> Call<'_, '_, 'a> {
    fn fault<T>(&self, why: impl std::fmt::Display) -> Result<T, Error> {
        Err(Error::Fault(format!("JMESPath function '{}': {why}", self.name)))
    }

    fn wrong<T>(&self, index: usize, expected: &str) -> Result<T, Error> {
        let given = self.arguments[index].type_name();
        self.fault(format!("argument {} is to be {expected}, and is {given}", index + 1))
    }

    fn str(&self, index: usize) -> Result<&str, Error> {
        self.arguments[index].as_str().map_or_else(|| self.wrong(index, "a string"), Ok)
    }

    fn number(&self, index: usize) -> Result<f64, Error> {
        self.arguments[index].as_f64().map_or_else(|| self.wrong(index, "a number"), Ok)
    }

    fn list(&self, index: usize) -> Result<Vec<Val<'a>>, Error> {
        self.arguments[index].items().map_or_else(|| self.wrong(index, "an array"), Ok)
    }

    fn object(&self, index: usize) -> Result<&Map<String, Value>, Error> {
        self.arguments[index].as_object().map_or_else(|| self.wrong(index, "an object"), Ok)
    }

    /// A string, or a scalar printed as one.
    fn printed(&self, index: usize) -> Result<Cow<'_, str>, Error> {
        match &*self.arguments[index].to_value() {
            Value::String(_) => self.str(index).map(Cow::Borrowed),
            Value::Number(number) => Ok(Cow::Owned(print_number(number))),
            Value::Bool(value) => Ok(Cow::Owned(value.to_string())),
            _ => self.wrong(index, "a string or a number"),
        }
    }

    fn bounded(&self, text: String) -> Found<'a> {
        self.evaluation.scope.world().meter.spend(text.len() / 16)?;
        if text.len() > meter::TEXT {
            self.fault("the text it makes is longer than 4 MiB")
        } else {
            Ok(Val::string(text))
        }
    }

    fn numeric(&self, value: f64) -> Found<'a> {
        json::number(value)
            .map_or_else(|| self.fault("the result is not a finite number"), |n| Ok(Val::Own(n)))
    }

    /// The functions of the JMESPath specification.
    fn standard(&self) -> Option<Found<'a>> {
        Some(match self.name {
            "abs" => self.number(0).and_then(|value| self.numeric(value.abs())),
            "ceil" => self.number(0).and_then(|value| self.numeric(value.ceil())),
            "floor" => self.number(0).and_then(|value| self.numeric(value.floor())),
            "avg" => self.avg(),
            "contains" => self.contains(),
            "ends_with" => self.str(0).and_then(|text| Ok(Val::bool(text.ends_with(self.str(1)?)))),
            "starts_with" => self.str(0).and_then(|text| Ok(Val::bool(text.starts_with(self.str(1)?)))),
            "join" => self.join(),
            "keys" => self.object(0).map(|map| Val::List(map.keys().map(Val::string).collect())),
            "values" => self.arguments[0]
                .values()
                .map_or_else(|| self.wrong(0, "an object"), |values| Ok(Val::List(values))),
            "length" => self.length(),
            "map" => self.map(),
            "max" => self.extreme(Ordering::Greater),
            "min" => self.extreme(Ordering::Less),
            "max_by" => self.extreme_by(Ordering::Greater),
            "min_by" => self.extreme_by(Ordering::Less),
            "merge" => self.merge(),
            "not_null" => {
                Ok(self.arguments.iter().find(|value| !value.is_null()).cloned().unwrap_or(Val::NULL))
            }
            "reverse" => self.reverse(),
            "sort" => self
                .list(0)
                .and_then(|list| self.sorted(list.into_iter().map(|item| (item.clone(), item)).collect())),
            "sort_by" => self.keyed().and_then(|pairs| self.sorted(pairs)),
            "to_array" if self.arguments[0].is_list() => Ok(self.arguments[0].clone()),
            "to_array" => Ok(Val::List(vec![self.arguments[0].clone()])),
            "to_number" => Ok(self.to_number()),
            "to_string" => Ok(match self.arguments[0].as_str() {
                Some(_) => self.arguments[0].clone(),
                None => Val::string(self.arguments[0].to_value().to_string()),
            }),
            "type" => Ok(Val::string(self.arguments[0].type_name())),
            _ => return None,
        })
    }

    fn avg(&self) -> Found<'a> {
        let list = self.list(0)?;
        let numbers: Option<Vec<f64>> = list.iter().map(Val::as_f64).collect();
        match numbers {
            Some(numbers) if numbers.is_empty() => Ok(Val::NULL),
            Some(numbers) => self.numeric(numbers.iter().sum::<f64>() / numbers.len() as f64),
            None => self.wrong(0, "an array of numbers"),
        }
    }

    fn contains(&self) -> Found<'a> {
        if let Some(text) = self.arguments[0].as_str() {
            return Ok(Val::bool(self.arguments[1].as_str().is_some_and(|part| text.contains(part))));
        }
        let Some(items) = self.arguments[0].items() else { return self.wrong(0, "a string or an array") };
        Ok(Val::bool(items.iter().any(|item| item.equals(&self.arguments[1]))))
    }

    fn join(&self) -> Found<'a> {
        let glue = self.str(0)?;
        let list = self.list(1)?;
        let mut text = String::new();
        for (index, item) in list.iter().enumerate() {
            let Some(item) = item.as_str() else { return self.wrong(1, "an array of strings") };
            if index > 0 {
                text.push_str(glue);
            }
            text.push_str(item);
        }
        self.bounded(text)
    }

    fn length(&self) -> Found<'a> {
        let value = &self.arguments[0];
        let length = value.as_str().map(|text| text.chars().count()).or_else(|| value.len());
        match length.or_else(|| value.as_object().map(Map::len)) {
            Some(length) => Ok(Val::Own(Value::from(length))),
            None => self.wrong(0, "a string, an array or an object"),
        }
    }

    fn reference(&self, index: usize) -> Result<&Node, Error> {
        match &self.nodes[index] {
            Node::Reference(inner) => Ok(inner),
            _ => self.fault(format!("argument {} is to be an &expression", index + 1)),
        }
    }

    fn map(&self) -> Found<'a> {
        let reference = self.reference(0)?;
        let mut mapped = Vec::new();
        for item in self.list(1)? {
            mapped.push(match self.evaluation.node(reference, Some(&item)) {
                Err(Error::NotFound(_)) => Val::NULL,
                found => found?,
            });
        }
        Ok(Val::List(mapped))
    }

    /// The elements with what the &expression finds in each.
    fn keyed(&self) -> Result<Vec<(Val<'a>, Val<'a>)>, Error> {
        let reference = self.reference(1)?;
        self.list(0)?
            .into_iter()
            .map(|item| Ok((self.evaluation.node(reference, Some(&item))?, item)))
            .collect()
    }

    fn order(&self, left: &Val<'a>, right: &Val<'a>) -> Result<Ordering, Error> {
        if let (Some(left), Some(right)) = (left.as_f64(), right.as_f64()) {
            return Ok(left.total_cmp(&right));
        }
        match (left.as_str(), right.as_str()) {
            (Some(left), Some(right)) => Ok(left.cmp(right)),
            _ => self.fault("only strings, or only numbers, can be ordered"),
        }
    }

    fn sorted(&self, mut pairs: Vec<(Val<'a>, Val<'a>)>) -> Found<'a> {
        self.evaluation.scope.world().meter.spend(pairs.len() * 8)?;
        let mut fault = None;
        pairs.sort_by(|(left, _), (right, _)| {
            self.order(left, right).unwrap_or_else(|why| {
                fault.get_or_insert(why);
                Ordering::Equal
            })
        });
        fault.map_or_else(|| Ok(Val::List(pairs.into_iter().map(|(_, item)| item).collect())), Err)
    }

    fn extreme_of(&self, pairs: Vec<(Val<'a>, Val<'a>)>, better: Ordering) -> Found<'a> {
        let mut best: Option<(Val<'a>, Val<'a>)> = None;
        for (key, item) in pairs {
            let replace = match &best {
                Some((known, _)) => self.order(&key, known)? == better,
                None => {
                    self.order(&key, &key).is_ok() || self.fault("only strings and numbers can be ordered")?
                }
            };
            if replace {
                best = Some((key, item));
            }
        }
        Ok(best.map_or(Val::NULL, |(_, item)| item))
    }

    fn extreme(&self, better: Ordering) -> Found<'a> {
        let pairs = self.list(0)?.into_iter().map(|item| (item.clone(), item)).collect();
        self.extreme_of(pairs, better)
    }

    fn extreme_by(&self, better: Ordering) -> Found<'a> {
        self.extreme_of(self.keyed()?, better)
    }

    fn merge(&self) -> Found<'a> {
        let mut merged = Map::new();
        for index in 0..self.arguments.len() {
            let map = self.object(index)?;
            self.evaluation.scope.world().meter.spend(map.len())?;
            merged.extend(map.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        Ok(Val::Own(Value::Object(merged)))
    }

    fn reverse(&self) -> Found<'a> {
        if let Some(text) = self.arguments[0].as_str() {
            return Ok(Val::string(text.chars().rev().collect::<String>()));
        }
        let Some(mut items) = self.arguments[0].items() else { return self.wrong(0, "a string or an array") };
        items.reverse();
        Ok(Val::List(items))
    }

    fn to_number(&self) -> Val<'a> {
        let value = &self.arguments[0];
        match value.as_str() {
            Some(text) => text.parse().ok().and_then(json::number).map_or(Val::NULL, Val::Own),
            None if value.as_f64().is_some() => value.clone(),
            None => Val::NULL,
        }
    }

    /// What is made of text.
    fn text(&self) -> Option<Found<'a>> {
        Some(match self.name {
            "compare" => self.str(0).and_then(|left| Ok(Val::Own(Value::from(left.cmp(self.str(1)?) as i8)))),
            "equal_fold" => {
                self.str(0).and_then(|left| Ok(Val::bool(left.to_lowercase() == self.str(1)?.to_lowercase())))
            }
            "replace" => self.replace(),
            "replace_all" => {
                self.str(0).and_then(|text| self.bounded(text.replace(self.str(1)?, self.str(2)?)))
            }
            "to_upper" => self.str(0).map(|text| Val::string(text.to_uppercase())),
            "to_lower" => self.str(0).map(|text| Val::string(text.to_lowercase())),
            "trim" => self.str(0).and_then(|text| {
                let set = self.str(1)?;
                Ok(Val::string(text.trim_matches(|c| set.contains(c))))
            }),
            "trim_prefix" => self.str(0).and_then(|text| {
                let prefix = self.str(1)?;
                Ok(Val::string(text.strip_prefix(prefix).unwrap_or(text)))
            }),
            "split" => self.split(),
            "truncate" => self.truncate(),
            "regex_match" => self.with_regex(|regex, text| Ok(Val::bool(regex.is_match(text)))),
            "regex_replace_all" => self.with_regex(|regex, text| {
                let replacement = self.printed(2)?;
                self.bounded(regex.replace_all(text, &*replacement).into_owned())
            }),
            "regex_replace_all_literal" => self.with_regex(|regex, text| {
                let replacement = self.printed(2)?;
                self.bounded(regex.replace_all(text, regex::NoExpand(&replacement)).into_owned())
            }),
            "pattern_match" => {
                self.str(0).and_then(|pattern| Ok(Val::bool(wildcard::matches(pattern, &self.printed(1)?))))
            }
            "to_boolean" => self.str(0).and_then(|text| match text.to_lowercase().as_str() {
                "true" => Ok(Val::bool(true)),
                "false" => Ok(Val::bool(false)),
                _ => self.fault(format!("{text} is neither true nor false")),
            }),
            "path_canonicalize" => self.str(0).map(|text| Val::string(canonical_path(text))),
            "semver_compare" => self.semver(),
            "image_normalize" => self.str(0).and_then(|text| match image::Image::parse(text) {
                Ok(image) => Ok(Val::string(image.to_string())),
                Err(why) => self.fault(why),
            }),
            "is_external_url" => self.str(0).and_then(|text| self.external_url(text)),
            "random" => self.str(0).and_then(|pattern| {
                let world = self.evaluation.scope.world();
                crypt::random_text(pattern, &world.seed)
                    .map_or_else(|why| self.fault(why), |text| self.bounded(text))
            }),
            _ => return None,
        })
    }

    fn replace(&self) -> Found<'a> {
        let (text, old, new, count) = (self.str(0)?, self.str(1)?, self.str(2)?, self.number(3)?);
        let text = if count < 0.0 { text.replace(old, new) } else { text.replacen(old, new, count as usize) };
        self.bounded(text)
    }

    fn split(&self) -> Found<'a> {
        let (text, separator) = (self.str(0)?, self.str(1)?);
        self.evaluation.scope.world().meter.spend(text.len() / 4)?;
        Ok(Val::List(if separator.is_empty() {
            text.chars().map(Val::string).collect()
        } else {
            text.split(separator).map(Val::string).collect()
        }))
    }

    fn truncate(&self) -> Found<'a> {
        let (text, length) = (self.str(0)?, self.number(1)?.max(0.0) as usize);
        let end = text.char_indices().nth(length).map_or(text.len(), |(at, _)| at);
        Ok(Val::string(&text[..end]))
    }

    fn with_regex(&self, apply: impl FnOnce(&Regex, &str) -> Found<'a>) -> Found<'a> {
        let text = self.printed(1)?;
        self.evaluation.scope.world().meter.spend(text.len() / 16)?;
        match self.regex {
            Some(regex) => apply(regex, &text),
            None => {
                self.evaluation.scope.world().meter.spend(1_000)?;
                match meter::regex(self.str(0)?) {
                    Ok(regex) => apply(&regex, &text),
                    Err(why) => self.fault(why),
                }
            }
        }
    }

    fn semver(&self) -> Found<'a> {
        let (version, range) = (self.str(0)?, self.str(1)?);
        let Some(version) = version::Version::parse(version) else {
            return self.fault(format!("{version} is not a semantic version"));
        };
        match version::Range::parse(range) {
            Some(range) => Ok(Val::bool(range.holds(&version))),
            None => self.fault(format!("{range} is not a range of versions")),
        }
    }

    /// Whether the host of a URL is outside of the cluster, the machine and private networks.
    fn external_url(&self, text: &str) -> Found<'a> {
        let host = text.split_once("://").map_or(text, |(_, rest)| rest);
        let host = host.split(['/', '?', '#']).next().unwrap_or_default();
        let host = host.rsplit('@').next().unwrap_or_default();
        let host = match host.strip_prefix('[') {
            Some(six) => six.split(']').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        };
        let Ok(address) = host.parse::<std::net::IpAddr>() else {
            return self.fault(
                "only hosts that are addresses can be told apart, for names would have to be looked up",
            );
        };
        let internal = match address {
            std::net::IpAddr::V4(four) => four.is_private() || four.is_loopback() || four.is_link_local(),
            std::net::IpAddr::V6(six) => {
                six.is_loopback() || six.is_unique_local() || six.is_unicast_link_local()
            }
        };
        Ok(Val::bool(!internal && !address.is_unspecified()))
    }

    /// What is made of numbers, structures and encodings.
    fn data(&self) -> Option<Found<'a>> {
        Some(match self.name {
            "add" | "subtract" | "multiply" | "divide" | "modulo" => self.arithmetic(),
            "sum" => self.sum(),
            "round" => self.round(),
            "label_match" => self.label_match(),
            "base64_decode" => self.str(0).and_then(|text| match STANDARD.decode(text) {
                Ok(bytes) => Ok(Val::string(String::from_utf8_lossy(&bytes))),
                Err(why) => self.fault(why),
            }),
            "base64_encode" => self.str(0).and_then(|text| self.bounded(STANDARD.encode(text))),
            "parse_json" => self.str(0).and_then(|text| match serde_json::from_str(text) {
                Ok(value) => Ok(Val::Own(value)),
                Err(why) => self.fault(why),
            }),
            "parse_yaml" => self.str(0).and_then(|text| match yaml::values(text) {
                Ok(mut values) if !values.is_empty() => Ok(Val::Own(values.swap_remove(0))),
                Ok(_) => Ok(Val::NULL),
                Err(why) => self.fault(why),
            }),
            "lookup" => self.lookup(),
            "items" => self.pairs(),
            "object_from_lists" => self.object_from_lists(),
            "x509_decode" => self.str(0).and_then(|text| match pem::certificate(text) {
                Ok(value) => Ok(Val::Own(value)),
                Err(why) => self.fault(why),
            }),
            "sha256" => self.str(0).map(|text| Val::string(crypt::sha256(text))),
            "sha1" => self.str(0).map(|text| Val::string(crypt::sha1(text))),
            "md5" => self.str(0).map(|text| Val::string(crypt::md5(text))),
            _ => return None,
        })
    }

    fn operand(&self, value: &Val<'a>) -> Result<Operand, Error> {
        if let Some(number) = value.as_f64() {
            return Ok(Operand::Scalar(number));
        }
        let text = value.as_str().unwrap_or_default();
        if let Some(quantity) = Quantity::parse(text) {
            return Ok(Operand::Quantity(quantity));
        }
        match duration::parse(text) {
            Some(nanos) => Ok(Operand::Duration(nanos)),
            None => self.fault("its arguments are to be numbers, quantities or durations"),
        }
    }

    fn arithmetic(&self) -> Found<'a> {
        let (left, right) = (self.operand(&self.arguments[0])?, self.operand(&self.arguments[1])?);
        let result = match self.name {
            "add" => left.add(right),
            "subtract" => left.subtract(right),
            "multiply" => left.multiply(right),
            "divide" => left.divide(right),
            _ => left.modulo(right),
        };
        self.operated(result)
    }

    fn operated(&self, result: Result<Operand, &'static str>) -> Found<'a> {
        match result {
            Ok(Operand::Scalar(value)) => self.numeric(value),
            Ok(Operand::Quantity(quantity)) => Ok(Val::string(quantity.to_string())),
            Ok(Operand::Duration(nanos)) => Ok(Val::string(duration::format(nanos))),
            Err(why) => self.fault(why),
        }
    }

    fn sum(&self) -> Found<'a> {
        let list = self.list(0)?;
        let mut sum = None;
        for item in &list {
            let operand = self.operand(item)?;
            sum = Some(match sum {
                None => operand,
                Some(sum) => match Operand::add(sum, operand) {
                    Ok(sum) => sum,
                    Err(why) => return self.fault(why),
                },
            });
        }
        self.operated(Ok(sum.unwrap_or(Operand::Scalar(0.0))))
    }

    fn round(&self) -> Found<'a> {
        let (value, digits) = (self.number(0)?, self.number(1)?);
        if digits.fract() != 0.0 || !(0.0..=15.0).contains(&digits) {
            return self.fault("the number of digits is a whole one from 0 to 15");
        }
        let scale = 10f64.powi(digits as i32);
        self.numeric((value * scale).round() / scale)
    }

    fn label_match(&self) -> Found<'a> {
        let (labels, given) = (self.object(0)?, self.object(1)?);
        let matched =
            |(key, value): (&String, &Value)| given.get(key).is_some_and(|other| equal(value, other));
        Ok(Val::bool(labels.iter().all(matched)))
    }

    fn lookup(&self) -> Found<'a> {
        if let Some(name) = self.arguments[1].as_str()
            && !self.arguments[0].is_list()
        {
            self.object(0)?;
            return Ok(self.arguments[0].field(name).unwrap_or(Val::NULL));
        }
        self.list(0)?;
        let index = self.number(1)?;
        if index.fract() != 0.0 {
            return self.fault("an index is a whole number");
        }
        Ok(if index < 0.0 { Val::NULL } else { self.arguments[0].index(index as i64) })
    }

    /// An object's entries, or a list's elements, as objects of two keys.
    fn pairs(&self) -> Found<'a> {
        let key_name = self.str(1)?;
        let value_name = if self.arguments.len() > 2 { self.str(2)? } else { "value" };
        let pair = |key: Value, value: Value| {
            Val::Own(Value::Object(Map::from_iter([
                (key_name.to_owned(), key),
                (value_name.to_owned(), value),
            ])))
        };
        if let Some(items) = self.arguments[0].items() {
            let pairs =
                items.into_iter().enumerate().map(|(at, item)| pair(Value::from(at), item.into_value()));
            return Ok(Val::List(pairs.collect()));
        }
        let entries = self.object(0)?.iter();
        Ok(Val::List(entries.map(|(key, value)| pair(Value::from(key.as_str()), value.clone())).collect()))
    }

    fn object_from_lists(&self) -> Found<'a> {
        let (keys, values) = (self.list(0)?, self.list(1)?);
        let mut values = values.into_iter().map(Val::into_value);
        let mut map = Map::new();
        for key in &keys {
            let Some(key) = key.as_str() else { return self.wrong(0, "an array of strings") };
            map.insert(key.to_owned(), values.next().unwrap_or(Value::Null));
        }
        Ok(Val::Own(Value::Object(map)))
    }

    fn times(&self) -> Found<'a> {
        let texts = (0..self.arguments.len()).map(|index| self.str(index)).collect::<Result<Vec<_>, _>>()?;
        match time::call(self.name, &texts, self.evaluation.scope.world().now) {
            Ok(value) => Ok(Val::Own(value)),
            Err(why) => self.fault(why),
        }
    }
}

/// As Go's path.Clean of an absolute or relative path, with either slash.
fn canonical_path(text: &str) -> String {
    let absolute = text.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if absolute => {}
            other => parts.push(other),
        }
    }
    let joined = parts.join("/");
    match (absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// What arithmetic is done with.
#[derive(Clone, Copy, Debug)]
enum Operand {
    Scalar(f64),
    Quantity(Quantity),
    Duration(i64),
}

const TYPES: &str = "the types of its arguments do not go together";
const ZERO: &str = "division by zero";
const RANGE: &str = "the result is too large";

impl Operand {
    fn add(self, other: Operand) -> Result<Operand, &'static str> {
        match (self, other) {
            (Operand::Scalar(left), Operand::Scalar(right)) => Ok(Operand::Scalar(left + right)),
            (Operand::Quantity(left), Operand::Quantity(right)) => {
                left.add(right).map(Operand::Quantity).ok_or(RANGE)
            }
            (Operand::Duration(left), Operand::Duration(right)) => {
                left.checked_add(right).map(Operand::Duration).ok_or(RANGE)
            }
            _ => Err(TYPES),
        }
    }

    fn subtract(self, other: Operand) -> Result<Operand, &'static str> {
        match (self, other) {
            (Operand::Scalar(left), Operand::Scalar(right)) => Ok(Operand::Scalar(left - right)),
            (Operand::Quantity(left), Operand::Quantity(right)) => {
                left.sub(right).map(Operand::Quantity).ok_or(RANGE)
            }
            (Operand::Duration(left), Operand::Duration(right)) => {
                left.checked_sub(right).map(Operand::Duration).ok_or(RANGE)
            }
            _ => Err(TYPES),
        }
    }

    fn multiply(self, other: Operand) -> Result<Operand, &'static str> {
        match (self, other) {
            (Operand::Scalar(left), Operand::Scalar(right)) => Ok(Operand::Scalar(left * right)),
            (Operand::Quantity(quantity), Operand::Scalar(factor))
            | (Operand::Scalar(factor), Operand::Quantity(quantity)) => {
                let factor = Quantity::parse(&factor.to_string()).ok_or(RANGE)?;
                quantity.mul(factor).map(Operand::Quantity).ok_or(RANGE)
            }
            (Operand::Duration(nanos), Operand::Scalar(factor))
            | (Operand::Scalar(factor), Operand::Duration(nanos)) => {
                Ok(Operand::Duration((nanos as f64 * factor) as i64))
            }
            _ => Err(TYPES),
        }
    }

    fn divide(self, other: Operand) -> Result<Operand, &'static str> {
        let zero = match other {
            Operand::Scalar(value) => value == 0.0,
            Operand::Quantity(quantity) => quantity.nano() == 0,
            Operand::Duration(nanos) => nanos == 0,
        };
        if zero {
            return Err(ZERO);
        }
        match (self, other) {
            (Operand::Scalar(left), Operand::Scalar(right)) => Ok(Operand::Scalar(left / right)),
            (Operand::Quantity(left), Operand::Quantity(right)) => {
                Ok(Operand::Scalar(left.to_f64() / right.to_f64()))
            }
            (Operand::Duration(left), Operand::Duration(right)) => {
                Ok(Operand::Scalar(left as f64 / right as f64))
            }
            (Operand::Quantity(left), Operand::Scalar(right)) => {
                let right = Quantity::parse(&right.to_string()).ok_or(RANGE)?;
                left.div(right).map(Operand::Quantity).ok_or(RANGE)
            }
            (Operand::Duration(left), Operand::Scalar(right)) => {
                Ok(Operand::Duration((left as f64 / right) as i64))
            }
            _ => Err(TYPES),
        }
    }

    fn modulo(self, other: Operand) -> Result<Operand, &'static str> {
        const WHOLE: &str = "its arguments are to be whole numbers";
        let whole = |value: f64| (value.fract() == 0.0).then_some(value as i64).ok_or(WHOLE);
        match (self, other) {
            (Operand::Scalar(left), Operand::Scalar(right)) => {
                let rest = whole(left)?.checked_rem(whole(right)?).ok_or(ZERO)?;
                Ok(Operand::Scalar(rest as f64))
            }
            (Operand::Quantity(left), Operand::Quantity(right)) => {
                let (left_int, right) = (left.to_int().ok_or(WHOLE)?, right.to_int().ok_or(WHOLE)?);
                let rest = left_int.checked_rem(right).ok_or(ZERO)?;
                Ok(Operand::Quantity(Quantity::from_int(rest, left.format())))
            }
            (Operand::Duration(left), Operand::Duration(right)) => {
                left.checked_rem(right).map(Operand::Duration).ok_or(ZERO)
            }
            _ => Err(TYPES),
        }
    }
}
