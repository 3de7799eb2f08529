//! Strings, addresses, URLs and named formats.

use super::eval::{Evaluation, Fault, Found};
use super::library::no;
use super::value::Val;
use crate::meter;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use regex::Regex;
use std::borrow::Cow;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::rc::Rc;

fn chars(text: &str, start: i64, end: Option<i64>) -> Result<String, Fault> {
    let all: Vec<char> = text.chars().collect();
    let bound = |at: i64| usize::try_from(at).ok().filter(|at| *at <= all.len());
    let end = end.map_or(Some(all.len()), bound);
    match (bound(start), end) {
        (Some(start), Some(end)) if start <= end => Ok(all[start..end].iter().collect()),
        _ => Err(Fault::no("index out of range")),
    }
}

/// An index in characters, of a byte.
fn position<'a>(text: &str, byte: Option<usize>) -> Val<'a> {
    let at = byte.map_or(-1, |byte| i64::try_from(text[..byte].chars().count()).unwrap_or(i64::MAX));
    Val::Int(at)
}

pub(super) fn call<'a>(
    evaluation: &Evaluation<'_, '_, 'a>,
    text: &str,
    name: &str,
    arguments: &[Val<'a>],
    regex: Option<&Regex>,
) -> Found<'a> {
    let argument = |index: usize| arguments.get(index).and_then(Val::as_str);
    let number = |index: usize| {
        arguments.get(index).map(|value| value.clone().simple()).and_then(|value| match value {
            Val::Int(value) => Some(value),
            other => other.number().map(|value| value as i64),
        })
    };
    let failed = || no(name, &[&[Val::text(text)], arguments].concat());
    let list = |parts: Vec<&str>| Val::list(parts.into_iter().map(Val::text).collect());
    Ok(match (name, argument(0)) {
        ("contains", Some(part)) => Val::Bool(text.contains(part)),
        ("startsWith", Some(part)) => Val::Bool(text.starts_with(part)),
        ("endsWith", Some(part)) => Val::Bool(text.ends_with(part)),
        ("matches" | "find" | "findAll", Some(pattern)) => {
            let regex = match regex {
                Some(regex) => Cow::Borrowed(regex),
                None => {
                    evaluation.spend(1_000)?;
                    Cow::Owned(meter::regex(pattern).map_err(Fault::no)?)
                }
            };
            match name {
                "matches" => Val::Bool(regex.is_match(text)),
                "find" => Val::text(regex.find(text).map_or("", |found| found.as_str())),
                _ => {
                    let limit = number(1).and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
                    list(regex.find_iter(text).take(limit).map(|found| found.as_str()).collect())
                }
            }
        }
        ("charAt", None) => match number(0) {
            Some(at) if usize::try_from(at).ok() == Some(text.chars().count()) => Val::text(""),
            Some(at) => Val::text(chars(text, at, Some(at + 1))?),
            None => return failed(),
        },
        ("indexOf", Some(part)) => {
            let from = text
                .char_indices()
                .nth(usize::try_from(number(1).unwrap_or(0)).unwrap_or(0))
                .map_or(text.len(), |(at, _)| at);
            position(text, text[from..].find(part).map(|at| at + from))
        }
        ("lastIndexOf", Some(part)) => position(text, text.rfind(part)),
        ("lowerAscii", None) => Val::text(text.to_ascii_lowercase()),
        ("upperAscii", None) => Val::text(text.to_ascii_uppercase()),
        ("trim", None) => Val::text(text.trim()),
        ("reverse", None) => Val::text(text.chars().rev().collect::<String>()),
        ("replace", Some(old)) => {
            let Some(new) = argument(1) else { return failed() };
            match number(2) {
                Some(count @ 0..) => Val::text(text.replacen(old, new, usize::try_from(count).unwrap_or(0))),
                _ => Val::text(text.replace(old, new)),
            }
        }
        ("split", Some(glue)) => match (number(1), glue) {
            (Some(0), _) => Val::list(Vec::new()),
            (Some(count @ 1..), _) => list(text.splitn(usize::try_from(count).unwrap_or(1), glue).collect()),
            (_, "") => Val::list(text.chars().map(|c| Val::text(c.to_string())).collect()),
            _ => list(text.split(glue).collect()),
        },
        ("substring", None) => match number(0) {
            Some(start) => Val::text(chars(text, start, number(1))?),
            None => return failed(),
        },
        ("format", None) => {
            Val::text(format(text, arguments.first().and_then(Val::items).unwrap_or_default())?)
        }
        _ => return failed(),
    })
}

/// `%s`, `%d`, `%f`, `%e`, `%b`, `%x`, `%X`, `%o` and `%%`.
fn format(text: &str, arguments: Vec<Val<'_>>) -> Result<String, Fault> {
    let mut out = String::new();
    let mut arguments = arguments.into_iter();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut precision = String::new();
        if rest.peek() == Some(&'.') {
            rest.next();
            while let Some(digit) = rest.next_if(char::is_ascii_digit) {
                precision.push(digit);
            }
        }
        let verb = rest.next().ok_or_else(|| Fault::no("a format ends with %"))?;
        if verb == '%' {
            out.push('%');
            continue;
        }
        let value = arguments.next().ok_or_else(|| Fault::no("a format has more verbs than arguments"))?;
        let digits = precision.parse::<usize>().unwrap_or(6).min(100);
        let fault = || Fault::no(format!("%{verb} is not for {}", value.type_name()));
        let int = || match value.clone().simple() {
            Val::Int(value) => Ok(value),
            Val::Uint(value) => i64::try_from(value).map_err(|_| fault()),
            _ => Err(fault()),
        };
        out.push_str(&match verb {
            's' => value
                .print()
                .map_or_else(|| value.to_json().map(|json| json.to_string()).map_err(Fault::no), Ok)?,
            'd' => value.number().and_then(|_| value.clone().simple().print()).ok_or_else(fault)?,
            'f' => format!("{:.digits$}", value.number().ok_or_else(fault)?),
            'e' => format!("{:.digits$e}", value.number().ok_or_else(fault)?),
            'b' => match value.clone().simple() {
                Val::Bool(value) => u8::from(value).to_string(),
                _ => format!("{:b}", int()?),
            },
            'o' => format!("{:o}", int()?),
            'x' | 'X' => {
                let text = match (value.as_str(), &value) {
                    (Some(text), _) => hex::encode(text),
                    (_, Val::Bytes(bytes)) => hex::encode(bytes),
                    _ => format!("{:x}", int()?),
                };
                if verb == 'X' { text.to_uppercase() } else { text }
            }
            other => return Err(Fault::no(format!("there is no verb %{other}"))),
        });
    }
    Ok(out)
}

fn cidr(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = text.split_once('/')?;
    let address = ip(address)?;
    let bits: u8 = bits.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    (bits <= most).then_some((address, bits))
}

/// An address, but none that is IPv4 in IPv6's clothes.
fn ip(text: &str) -> Option<IpAddr> {
    text.parse().ok().filter(|address| !matches!(address, IpAddr::V6(six) if six.to_ipv4_mapped().is_some()))
}

/// The parts of a URL: scheme, host with port, path, query.
fn url(text: &str) -> Option<(&str, &str, &str, &str)> {
    if text.starts_with('/') {
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        return Some(("", "", path, query));
    }
    let (scheme, rest) = text.split_once("://")?;
    let fine = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    if scheme.is_empty() || !scheme.chars().all(fine) || rest.contains(' ') {
        return None;
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, rest) = rest.split_at(end);
    let rest = rest.split('#').next().unwrap_or_default();
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    Some((scheme, host.rsplit('@').next().unwrap_or_default(), path, query))
}

/// `ip()`, `cidr()`, `url()` and whether a text is one.
pub(super) fn parse<'a>(name: &str, text: &str) -> Found<'a> {
    let unread = || Fault::no(format!("{text:?} is no {name}"));
    match name {
        "isIP" => Ok(Val::Bool(ip(text).is_some())),
        "isCIDR" => Ok(Val::Bool(cidr(text).is_some())),
        "isURL" => Ok(Val::Bool(url(text).is_some())),
        "ip" => ip(text).map(Val::Ip).ok_or_else(unread),
        "cidr" => cidr(text).map(|(address, bits)| Val::Cidr(address, bits)).ok_or_else(unread),
        _ => url(text).map(|_| Val::Url(text.into())).ok_or_else(unread),
    }
}

fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(four) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4((u32::from(four) & mask).into())
        }
        IpAddr::V6(six) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6((u128::from(six) & mask).into())
        }
    }
}

/// Functions of addresses, networks, URLs and formats.
pub(super) fn call_typed<'a>(target: &Val<'a>, name: &str, arguments: &[Val<'a>]) -> Found<'a> {
    let failed = || no(name, &[std::slice::from_ref(target), arguments].concat());
    Ok(match target {
        Val::Ip(address) => match (name, address) {
            ("family", _) => Val::Int(if address.is_ipv4() { 4 } else { 6 }),
            ("isUnspecified", _) => Val::Bool(address.is_unspecified()),
            ("isLoopback", _) => Val::Bool(address.is_loopback()),
            ("isLinkLocalMulticast", IpAddr::V4(four)) => Val::Bool(four.octets()[..3] == [224, 0, 0]),
            ("isLinkLocalMulticast", IpAddr::V6(six)) => Val::Bool(six.segments()[0] & 0xff0f == 0xff02),
            ("isLinkLocalUnicast", IpAddr::V4(four)) => Val::Bool(four.is_link_local()),
            ("isLinkLocalUnicast", IpAddr::V6(six)) => Val::Bool(six.is_unicast_link_local()),
            ("isGlobalUnicast", _) => {
                let local = match address {
                    IpAddr::V4(four) => four.is_link_local() || four.is_broadcast(),
                    IpAddr::V6(six) => six.is_unicast_link_local(),
                };
                Val::Bool(
                    !local && !address.is_unspecified() && !address.is_loopback() && !address.is_multicast(),
                )
            }
            _ => return failed(),
        },
        Val::Cidr(address, bits) => {
            let other = arguments.first();
            let other_ip = other.and_then(|value| match value {
                Val::Ip(address) => Some(*address),
                value => value.as_str().and_then(ip),
            });
            let other_cidr = other.and_then(|value| match value {
                Val::Cidr(address, bits) => Some((*address, *bits)),
                value => value.as_str().and_then(cidr),
            });
            let within = |inner: IpAddr| {
                inner.is_ipv4() == address.is_ipv4() && masked(inner, *bits) == masked(*address, *bits)
            };
            match (name, other_ip, other_cidr) {
                ("containsIP", Some(inner), _) => Val::Bool(within(inner)),
                ("containsCIDR", _, Some((inner, inner_bits))) => {
                    Val::Bool(inner_bits >= *bits && within(inner))
                }
                ("ip", ..) => Val::Ip(*address),
                ("masked", ..) => Val::Cidr(masked(*address, *bits), *bits),
                ("prefixLength", ..) => Val::Int(i64::from(*bits)),
                _ => return failed(),
            }
        }
        Val::Url(whole) => {
            let (scheme, host, path, query) = url(whole).unwrap_or_default();
            let (hostname, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                Some((six, rest)) => (six, rest.strip_prefix(':').unwrap_or_default()),
                None => host.split_once(':').unwrap_or((host, "")),
            };
            match name {
                "getScheme" => Val::text(scheme),
                "getHost" => Val::text(host),
                "getHostname" => Val::text(hostname),
                "getPort" => Val::text(port),
                "getEscapedPath" => Val::text(path),
                "getQuery" => {
                    let mut map: Vec<(Val<'a>, Vec<Val<'a>>)> = Vec::new();
                    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
                        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                        match map.iter_mut().find(|(known, _)| known.as_str() == Some(key)) {
                            Some((_, values)) => values.push(Val::text(value)),
                            None => map.push((Val::text(key), vec![Val::text(value)])),
                        }
                    }
                    Val::Map(Rc::new(map.into_iter().map(|(key, values)| (key, Val::list(values))).collect()))
                }
                _ => return failed(),
            }
        }
        Val::Format(format) => match (name, arguments.first().and_then(Val::as_str)) {
            ("validate", Some(text)) => match has_format(format, text) {
                true => Val::Optional(None),
                false => {
                    Val::some(Val::list(vec![Val::text(format!("{text:?} is not of the format {format}"))]))
                }
            },
            _ => return failed(),
        },
        _ => return failed(),
    })
}

const FORMATS: [&str; 13] = [
    "dns1123Label",
    "dns1123Subdomain",
    "dns1035Label",
    "qualifiedName",
    "dns1123LabelPrefix",
    "dns1123SubdomainPrefix",
    "dns1035LabelPrefix",
    "labelValue",
    "uri",
    "uuid",
    "byte",
    "date",
    "datetime",
];

/// Whether a text has one of Kubernetes' named formats, such as `dns1123Label`; none has a format that is not there.
pub fn has_format(format: &str, text: &str) -> bool {
    let lower = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let label = |text: &str, first: fn(&u8) -> bool| {
        let bytes = text.as_bytes();
        bytes.first().is_some_and(first)
            && bytes.last().is_some_and(|c| lower(*c))
            && bytes.len() <= 63
            && bytes.iter().all(|c| lower(*c) || *c == b'-')
    };
    let any_first = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let name = |text: &str| {
        let bytes = text.as_bytes();
        let edge = |c: Option<&u8>| c.is_some_and(u8::is_ascii_alphanumeric);
        edge(bytes.first())
            && edge(bytes.last())
            && bytes.len() <= 63
            && bytes.iter().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(c))
    };
    let subdomain = |text: &str| text.len() <= 253 && text.split('.').all(|part| label(part, any_first));
    match format {
        "dns1123Label" => label(text, any_first),
        "dns1123Subdomain" => subdomain(text),
        "dns1035Label" => label(text, u8::is_ascii_lowercase),
        "dns1123LabelPrefix" => label(text.strip_suffix('-').unwrap_or(text), any_first),
        "dns1123SubdomainPrefix" => subdomain(text.strip_suffix('-').unwrap_or(text)),
        "dns1035LabelPrefix" => label(text.strip_suffix('-').unwrap_or(text), u8::is_ascii_lowercase),
        "labelValue" => text.is_empty() || name(text),
        "qualifiedName" => match text.split_once('/') {
            Some((prefix, rest)) => subdomain(prefix) && name(rest),
            None => name(text),
        },
        "uri" => url(text).is_some(),
        "uuid" => {
            let parts: Vec<usize> = text.split('-').map(str::len).collect();
            parts == [8, 4, 4, 4, 12] && text.bytes().all(|c| c == b'-' || c.is_ascii_hexdigit())
        }
        "byte" => STANDARD.decode(text).is_ok(),
        "date" => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
        "datetime" => super::time::parse(text).is_some(),
        _ => false,
    }
}

/// `base64`, `regex`, `format` and `jsonpatch`.
pub(super) fn spaced<'a>(space: &str, name: &str, arguments: &[Val<'a>]) -> Found<'a> {
    let argument = |index: usize| arguments.get(index).and_then(Val::as_str);
    let failed = || no(&format!("{space}.{name}"), arguments);
    Ok(match (space, name, argument(0)) {
        ("base64", "encode", Some(text)) => Val::text(STANDARD.encode(text)),
        ("base64", "encode", None) => match arguments.first() {
            Some(Val::Bytes(bytes)) => Val::text(STANDARD.encode(bytes)),
            _ => return failed(),
        },
        ("base64", "decode", Some(text)) => {
            let bytes = STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text));
            Val::Bytes(bytes.map_err(|why| Fault::no(why.to_string()))?.into())
        }
        ("jsonpatch", _, Some(key)) => Val::text(key.replace('~', "~0").replace('/', "~1")),
        ("format", "named", Some(named)) => match FORMATS.into_iter().find(|known| *known == named) {
            Some(known) => Val::some(Val::Format(known)),
            None => Val::Optional(None),
        },
        ("format", _, None) => {
            FORMATS.into_iter().find(|known| *known == name).map(Val::Format).map_or_else(failed, Ok)?
        }
        ("regex", _, Some(text)) => {
            let Some(pattern) = argument(1) else { return failed() };
            let regex = meter::regex(pattern).map_err(Fault::no)?;
            let group = |found: regex::Captures<'_>| {
                found
                    .get(1)
                    .or_else(|| found.get(0))
                    .map_or_else(String::new, |found| found.as_str().to_owned())
            };
            match name {
                "extract" => {
                    Val::Optional(regex.captures(text).map(|found| Rc::new(Val::text(group(found)))))
                }
                "extractAll" => {
                    Val::list(regex.captures_iter(text).map(|found| Val::text(group(found))).collect())
                }
                _ => {
                    let Some(new) = argument(2) else { return failed() };
                    let new = new.replace("\\\\", "\u{0}");
                    // Groups are written \1 there, and ${1} here.
                    let mut template = String::new();
                    let mut rest = new.chars().peekable();
                    while let Some(c) = rest.next() {
                        match (c, rest.peek()) {
                            ('\\', Some(digit)) if digit.is_ascii_digit() => {
                                template.push_str(&format!("${{{digit}}}"));
                                rest.next();
                            }
                            ('$', _) => template.push_str("$$"),
                            ('\u{0}', _) => template.push('\\'),
                            _ => template.push(c),
                        }
                    }
                    let limit = match arguments.get(3) {
                        Some(Val::Int(0)) => return Ok(Val::text(text)),
                        Some(Val::Int(count @ 1..)) => usize::try_from(*count).unwrap_or(0),
                        _ => 0,
                    };
                    Val::text(regex.replacen(text, limit, template.as_str()).into_owned())
                }
            }
        }
        _ => return failed(),
    })
}

/// gzip in base64, as ConfigMaps and Secrets hold it.
pub(super) fn gzip<'a>(name: &str, arguments: &[Val<'a>]) -> Found<'a> {
    let bytes: Vec<u8> = match arguments.first() {
        Some(Val::Bytes(bytes)) => bytes.to_vec(),
        Some(value) => match value.as_str() {
            Some(text) if name == "compress" => text.as_bytes().to_vec(),
            Some(text) => STANDARD.decode(text).map_err(|why| Fault::no(why.to_string()))?,
            None => return no(name, arguments),
        },
        None => return no(name, arguments),
    };
    if name == "compress" {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        let done = encoder.write_all(&bytes).and_then(|()| encoder.finish());
        return Ok(Val::Bytes(done.map_err(|why| Fault::no(why.to_string()))?.into()));
    }
    let mut text = Vec::new();
    let limit = meter::TEXT as u64 + 1;
    flate2::read::GzDecoder::new(&bytes[..])
        .take(limit)
        .read_to_end(&mut text)
        .map_err(|why| Fault::no(why.to_string()))?;
    if text.len() > meter::TEXT {
        return Err(Fault::no("what is compressed is longer than 4 MiB"));
    }
    Ok(Val::text(String::from_utf8_lossy(&text).into_owned()))
}
