//! The functions: the standard's, the extensions of cel-go, those of Kubernetes, and those of Kyverno.

mod collections;

use super::eval::{Evaluation, Fault, Found};
use super::parser::Binary;
use super::value::Val;
use super::{number, text, time};
use crate::{crypt, duration, image, meter, pem};
use regex::Regex;
use serde_json::Value;
use std::borrow::Cow;
use std::rc::Rc;

pub(super) use collections::sort;

/// A function: what it is called on (nothing, `.` for a value, or a namespace) and how many arguments it takes.
pub struct Signature {
    /// Nothing, `.` for a value, or a namespace.
    pub of: &'static str,
    /// Its name.
    pub name: &'static str,
    /// The fewest arguments it takes.
    pub least: usize,
    /// The most.
    pub most: usize,
}

/// What functions are called on that is no value.
pub(super) const SPACES: &[&str] = &[
    "math",
    "sets",
    "strings",
    "base64",
    "optional",
    "lists",
    "regex",
    "format",
    "jsonpatch",
    "image",
    "json",
    "time",
    "transform",
    "x509",
    "hash",
    "user",
    "gzip",
    "variables",
    "cel",
];

macro_rules! functions {
    ($($of:literal: $($name:ident $least:literal $most:literal),* ;)*) => {
        /// By what they are called on.
        pub(super) static FUNCTIONS: &[Signature] =
            &[$($(Signature { of: $of, name: stringify!($name), least: $least, most: $most },)*)*];
    };
}

functions! {
    "": size 1 1, int 1 1, uint 1 1, double 1 1, string 1 1, bool 1 1, bytes 1 1, dyn 1 1, timestamp 1 1, duration 1 1, matches 2 2,
        quantity 1 1, isQuantity 1 1, semver 1 2, isSemver 1 2, ip 1 1, isIP 1 1, cidr 1 1, isCIDR 1 1, url 1 1, isURL 1 1,
        image 1 1, isImage 1 1, parseImageReference 1 1, sha1 1 1, sha256 1 1, md5 1 1, random 0 1, parseServiceAccount 1 1,
        listObjToMap 4 4, has 1 1, type 1 1;
    ".": size 0 0, contains 1 1, startsWith 1 1, endsWith 1 1, matches 1 1, charAt 1 1, indexOf 1 2, lastIndexOf 1 2, lowerAscii 0 0,
        upperAscii 0 0, replace 2 3, split 1 2, substring 1 2, trim 0 0, join 0 1, format 1 1, reverse 0 0, find 1 1, findAll 1 2,
        isSorted 0 0, sum 0 0, min 0 0, max 0 0, slice 2 2, flatten 0 1, distinct 0 0, sort 0 0, first 0 0, last 0 0,
        getScheme 0 0, getHost 0 0, getHostname 0 0, getPort 0 0, getEscapedPath 0 0, getQuery 0 0,
        family 0 0, isUnspecified 0 0, isLoopback 0 0, isLinkLocalMulticast 0 0, isLinkLocalUnicast 0 0, isGlobalUnicast 0 0,
        containsIP 1 1, containsCIDR 1 1, ip 0 0, masked 0 0, prefixLength 0 0, isCanonical 1 1,
        sign 0 0, isInteger 0 0, asInteger 0 0, asApproximateFloat 0 0, isGreaterThan 1 1, isLessThan 1 1, compareTo 1 1, add 1 1,
        sub 1 1, major 0 0, minor 0 0, patch 0 0, hasValue 0 0, value 0 0, orValue 1 1, or 1 1, validate 1 1,
        getFullYear 0 1, getMonth 0 1, getDate 0 1, getDayOfMonth 0 1, getDayOfYear 0 1, getDayOfWeek 0 1, getHours 0 1,
        getMinutes 0 1, getSeconds 0 1, getMilliseconds 0 1,
        registry 0 0, repository 0 0, identifier 0 0, tag 0 0, digest 0 0, containsDigest 0 0;
    "math": greatest 1 99, least 1 99, ceil 1 1, floor 1 1, round 1 2, trunc 1 1, abs 1 1, sign 1 1, isNaN 1 1, isInf 1 1,
        isFinite 1 1, sqrt 1 1, bitAnd 2 2, bitOr 2 2, bitXor 2 2, bitNot 1 1, bitShiftLeft 2 2, bitShiftRight 2 2;
    "sets": contains 2 2, equivalent 2 2, intersects 2 2;
    "strings": quote 1 1;
    "base64": encode 1 1, decode 1 1;
    "optional": of 1 1, none 0 0, ofNonZeroValue 1 1;
    "lists": range 1 1;
    "regex": replace 3 4, extract 2 2, extractAll 2 2;
    "format": named 1 1, dns1123Label 0 0, dns1123Subdomain 0 0, dns1035Label 0 0, qualifiedName 0 0, dns1123LabelPrefix 0 0,
        dns1123SubdomainPrefix 0 0, dns1035LabelPrefix 0 0, labelValue 0 0, uri 0 0, uuid 0 0, byte 0 0, date 0 0, datetime 0 0;
    "jsonpatch": escapeKey 1 1;
    "image": parse 1 1;
    "json": unmarshal 1 1, marshal 1 1;
    "time": now 0 0, toCron 1 1, truncate 2 2;
    "transform": listObjToMap 4 4;
    "x509": decode 1 1;
    "hash": sha1 1 1, sha256 1 1, md5 1 1;
    "user": parseServiceAccount 1 1;
    "gzip": compress 1 1, uncompress 1 1, decompress 1 1;
}

/// Names that are no variables: namespaces and types.
pub(super) fn ident<'a>(name: &str) -> Option<Val<'a>> {
    let types = [
        "bool",
        "int",
        "uint",
        "double",
        "string",
        "bytes",
        "list",
        "map",
        "null_type",
        "type",
        "optional_type",
    ];
    if let Some(known) = types.into_iter().find(|known| *known == name) {
        return Some(Val::Type(known));
    }
    SPACES.iter().find(|known| **known == name).map(|known| Val::Space(known))
}

pub(super) fn lower_first(name: &str) -> Cow<'_, str> {
    match name.as_bytes().first() {
        Some(first) if first.is_ascii_uppercase() => {
            Cow::Owned(format!("{}{}", first.to_ascii_lowercase() as char, &name[1..]))
        }
        _ => Cow::Borrowed(name),
    }
}

/// A field of a value that has some.
pub(super) fn field<'a>(value: &Val<'a>, name: &str) -> Option<Val<'a>> {
    match value {
        Val::Space("math") => Some(match name {
            "pi" => Val::Double(std::f64::consts::PI),
            _ => return None,
        }),
        value => value.field(name),
    }
}

/// That a function does not take such values.
///
/// # Errors
/// Always.
pub fn no<'a>(name: &str, values: &[Val<'a>]) -> Found<'a> {
    let types: Vec<&str> = values.iter().map(Val::type_name).collect();
    Err(Fault::no(format!("no such overload: {name}({})", types.join(", "))))
}

pub(super) fn call<'a>(
    evaluation: &Evaluation<'_, '_, 'a>,
    target: Option<Val<'a>>,
    name: &str,
    arguments: &[Val<'a>],
    regex: Option<&Regex>,
) -> Found<'a> {
    match target {
        None if of_host(evaluation, "", name) => evaluation.scope.host.call(evaluation, "", name, arguments),
        None => global(evaluation, name, arguments),
        Some(Val::Space(space)) => {
            let (name, simple) = (lower_first(name), |value: &Val<'a>| value.clone().simple());
            let arguments: Vec<Val<'a>> = arguments.iter().map(simple).collect();
            match of_host(evaluation, space, &name) {
                true => evaluation.scope.host.call(evaluation, space, &name, &arguments),
                false => spaced(evaluation, space, &name, &arguments),
            }
        }
        Some(target) => member(evaluation, target.simple(), &lower_first(name), arguments, regex),
    }
}

fn of_host(evaluation: &Evaluation<'_, '_, '_>, of: &str, name: &str) -> bool {
    evaluation.scope.host.functions().iter().any(|known| known.of == of && known.name == name)
}

fn global<'a>(evaluation: &Evaluation<'_, '_, 'a>, name: &str, arguments: &[Val<'a>]) -> Found<'a> {
    let [first, rest @ ..] = arguments else {
        return match name {
            "random" => random(evaluation, "[a-z0-9]{8}"),
            _ => no(name, arguments),
        };
    };
    let first = first.clone().simple();
    let text = first.as_str();
    Ok(match (name, text) {
        ("size", _) => first.len().map_or_else(|| no(name, arguments), |len| Ok(Val::Int(len as i64)))?,
        ("dyn", _) => first,
        ("type", _) => Val::Type(first.type_name()),
        ("int" | "uint" | "double" | "bool" | "string" | "bytes" | "timestamp" | "duration", _) => {
            convert(name, first)?
        }
        ("matches", Some(_)) => member(evaluation, first, "matches", rest, None)?,
        ("quantity" | "isQuantity" | "semver" | "isSemver", Some(text)) => number::parse(name, text, rest)?,
        ("ip" | "isIP" | "cidr" | "isCIDR" | "url" | "isURL", Some(text)) => text::parse(name, text)?,
        ("image" | "parseImageReference", Some(text)) => {
            image::Image::parse(text).map(|image| Val::Image(Rc::new(image))).map_err(Fault::no)?
        }
        ("isImage", Some(text)) => Val::Bool(image::Image::parse(text).is_ok()),
        ("isImage", None) => Val::Bool(matches!(first, Val::Image(_))),
        ("sha1" | "sha256" | "md5", Some(text)) => digest(name, text),
        ("random", Some(pattern)) => random(evaluation, pattern)?,
        ("parseServiceAccount", Some(text)) => service_account(text),
        ("listObjToMap", _) => collections::to_map(arguments)?,
        _ => no(name, arguments)?,
    })
}

fn digest<'a>(name: &str, text: &str) -> Val<'a> {
    Val::text(match name {
        "sha1" => crypt::sha1(text),
        "md5" => crypt::md5(text),
        _ => crypt::sha256(text),
    })
}

fn random<'a>(evaluation: &Evaluation<'_, '_, 'a>, pattern: &str) -> Found<'a> {
    crypt::random_text(pattern, &evaluation.scope.world.seed).map(Val::text).map_err(Fault::no)
}

fn service_account<'a>(text: &str) -> Val<'a> {
    let rest = text.strip_prefix("system:serviceaccount:").unwrap_or_default();
    let (namespace, name) = rest.split_once(':').unwrap_or_default();
    Val::Map(Rc::new(vec![
        (Val::Str("Namespace"), Val::text(namespace)),
        (Val::Str("Name"), Val::text(name)),
        (Val::Str("namespace"), Val::text(namespace)),
        (Val::Str("name"), Val::text(name)),
    ]))
}

fn convert<'a>(name: &str, value: Val<'a>) -> Found<'a> {
    let range = || Fault::no(format!("{name}() is beyond its range"));
    match (name, &value) {
        ("int", Val::Int(_))
        | ("uint", Val::Uint(_))
        | ("double", Val::Double(_))
        | ("bool", Val::Bool(_)) => Ok(value),
        ("timestamp", Val::Timestamp(_)) | ("duration", Val::Duration(_)) | ("bytes", Val::Bytes(_)) => {
            Ok(value)
        }
        ("int", Val::Uint(value)) => i64::try_from(*value).map(Val::Int).map_err(|_| range()),
        ("int", Val::Double(value)) if value.abs() < 9.2e18 => Ok(Val::Int(*value as i64)),
        ("int", Val::Timestamp(nanos)) => {
            i64::try_from(nanos / 1_000_000_000).map(Val::Int).map_err(|_| range())
        }
        ("uint", Val::Int(value)) => u64::try_from(*value).map(Val::Uint).map_err(|_| range()),
        ("uint", Val::Double(value)) if (0.0..1.8e19).contains(value) => Ok(Val::Uint(*value as u64)),
        ("double", Val::Int(value)) => Ok(Val::Double(*value as f64)),
        ("double", Val::Uint(value)) => Ok(Val::Double(*value as f64)),
        ("timestamp", Val::Int(seconds)) => Ok(Val::Timestamp(i128::from(*seconds) * 1_000_000_000)),
        ("string", _) => value.print().map(Val::text).map_or_else(|| no(name, &[value]), Ok),
        (_, Val::Str(_) | Val::Text(_)) => {
            let text = value.as_str().unwrap_or_default();
            let unread = || Fault::no(format!("{text:?} is no {name}"));
            match name {
                "int" => text.parse().map(Val::Int).map_err(|_| unread()),
                "uint" => text.parse().map(Val::Uint).map_err(|_| unread()),
                "double" => text.parse().map(Val::Double).map_err(|_| unread()),
                "bool" => match text {
                    "true" | "True" | "TRUE" | "t" | "1" => Ok(Val::Bool(true)),
                    "false" | "False" | "FALSE" | "f" | "0" => Ok(Val::Bool(false)),
                    _ => Err(unread()),
                },
                "bytes" => Ok(Val::Bytes(text.as_bytes().into())),
                "duration" => duration::parse(text).map(Val::Duration).ok_or_else(unread),
                _ => time::parse(text).map(Val::Timestamp).ok_or_else(unread),
            }
        }
        _ => no(name, &[value]),
    }
}

fn member<'a>(
    evaluation: &Evaluation<'_, '_, 'a>,
    target: Val<'a>,
    name: &str,
    arguments: &[Val<'a>],
    regex: Option<&Regex>,
) -> Found<'a> {
    evaluation.spend(target.len().unwrap_or(0) / 16)?;
    if name == "size" {
        return target
            .len()
            .map_or_else(|| no(name, std::slice::from_ref(&target)), |len| Ok(Val::Int(len as i64)));
    }
    if let ("orValue" | "or", false) = (name, matches!(target, Val::Optional(_))) {
        // What is there is not asked for something else.
        return Ok(target);
    }
    match &target {
        Val::Str(_) | Val::Text(_) => {
            let made = text::call(evaluation, target.as_str().unwrap_or_default(), name, arguments, regex)?;
            match made.as_str().map(str::len) {
                Some(length) if length > meter::TEXT => {
                    Err(Fault::no("the text it makes is longer than 4 MiB"))
                }
                _ => Ok(made),
            }
        }
        Val::List(_) | Val::Json(Value::Array(_)) => collections::call(evaluation, &target, name, arguments),
        Val::Optional(inner) => optional(inner.as_deref(), name, arguments, &target),
        Val::Quantity(_) | Val::Version(_) => number::call(&target, name, arguments),
        Val::Ip(_) | Val::Cidr(..) | Val::Url(_) | Val::Format(_) => {
            text::call_typed(&target, name, arguments)
        }
        Val::Timestamp(_) | Val::Duration(_) => time::call(&target, name, arguments),
        Val::Image(image) => of_image(image, name, &target),
        Val::Map(_) | Val::Json(Value::Object(_)) | Val::Opaque(_) if of_host(evaluation, ".", name) => {
            let arguments: Vec<Val<'a>> = std::iter::once(&target).chain(arguments).cloned().collect();
            evaluation.scope.host.call(evaluation, ".", name, &arguments)
        }
        _ => no(name, std::slice::from_ref(&target)),
    }
}

fn optional<'a>(inner: Option<&Val<'a>>, name: &str, arguments: &[Val<'a>], target: &Val<'a>) -> Found<'a> {
    match (name, inner, arguments) {
        ("hasValue", inner, []) => Ok(Val::Bool(inner.is_some())),
        ("value", Some(value), []) | ("orValue", Some(value), [_]) => Ok(value.clone()),
        ("value", None, []) => Err(Fault::no("optional.none() dereference")),
        ("orValue", None, [other]) => Ok(other.clone()),
        ("or", Some(_), [_]) => Ok(target.clone()),
        ("or", None, [other]) => Ok(other.clone()),
        _ => no(name, std::slice::from_ref(target)),
    }
}

fn of_image<'a>(image: &image::Image, name: &str, target: &Val<'a>) -> Found<'a> {
    Ok(match name {
        "registry" => Val::text(image.registry.as_str()),
        "repository" => Val::text(image.path.as_str()),
        "identifier" => {
            Val::text(if image.digest.is_empty() { image.tag.as_str() } else { image.digest.as_str() })
        }
        "tag" => Val::text(image.tag.as_str()),
        "digest" => Val::text(image.digest.as_str()),
        "containsDigest" => Val::Bool(!image.digest.is_empty()),
        _ => return no(name, std::slice::from_ref(target)),
    })
}

fn spaced<'a>(evaluation: &Evaluation<'_, '_, 'a>, space: &str, name: &str, simple: &[Val<'a>]) -> Found<'a> {
    let text = simple.first().and_then(Val::as_str);
    Ok(match (space, name, text) {
        ("math", ..) => number::math(name, simple)?,
        ("sets", ..) => collections::sets(evaluation, name, simple)?,
        ("lists", "range", _) => collections::range(evaluation, simple)?,
        ("strings", "quote", Some(text)) => Val::text(format!("{text:?}")),
        ("base64" | "regex" | "format" | "jsonpatch", ..) => text::spaced(space, name, simple)?,
        ("optional", "none", _) => Val::Optional(None),
        ("optional", "of", _) => Val::some(simple.first().cloned().unwrap_or(Val::Null)),
        ("optional", _, _) => {
            let value = simple.first().cloned().unwrap_or(Val::Null);
            let zero = value.len() == Some(0)
                || value.number() == Some(0.0)
                || matches!(value, Val::Null | Val::Bool(false));
            if zero { Val::Optional(None) } else { Val::some(value) }
        }
        ("image", "parse", Some(text)) => {
            image::Image::parse(text).map(|image| Val::Image(Rc::new(image))).map_err(Fault::no)?
        }
        ("json", "unmarshal", Some(text)) => match serde_json::from_str(text) {
            Ok(value) => Val::Json(evaluation.scope.host.keep(value)).simple(),
            Err(why) => return Err(Fault::no(why.to_string())),
        },
        ("json", "marshal", _) => Val::text(simple[0].to_json().map_err(Fault::no)?.to_string()),
        ("time", ..) => time::spaced(name, simple, evaluation.scope.world.now)?,
        ("transform", ..) => collections::to_map(simple)?,
        ("x509", "decode", Some(text)) => {
            Val::Json(evaluation.scope.host.keep(pem::certificate(text).map_err(Fault::no)?)).simple()
        }
        ("hash", _, Some(text)) => digest(name, text),
        ("user", _, Some(text)) => service_account(text),
        ("gzip", ..) => text::gzip(name, simple)?,
        _ => no(&format!("{space}.{name}"), simple)?,
    })
}

pub(super) fn arithmetic<'a>(
    evaluation: &Evaluation<'_, '_, 'a>,
    operator: Binary,
    left: Val<'a>,
    right: Val<'a>,
) -> Found<'a> {
    if operator == Binary::Add {
        if let (Some(left), Some(right)) = (left.as_str(), right.as_str()) {
            let length = left.len() + right.len();
            evaluation.spend(length / 16)?;
            if length > meter::TEXT {
                return Err(Fault::no("the text it makes is longer than 4 MiB"));
            }
            return Ok(Val::text(format!("{left}{right}")));
        }
        if let (Some(mut left), Some(right)) = (left.items(), right.items()) {
            evaluation.spend(left.len() + right.len())?;
            left.extend(right);
            return Ok(Val::list(left));
        }
        if let (Val::Bytes(left), Val::Bytes(right)) = (&left, &right) {
            return Ok(Val::Bytes([&**left, &**right].concat().into()));
        }
    }
    number::arithmetic(operator, &left, &right)
}
