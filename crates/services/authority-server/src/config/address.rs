//! Addresses to listen on and URLs to be reached at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Reads `127.0.0.1:8200`, `[::1]:8200`, `localhost:8200`, or `:8200` for every address. The error is what is
/// wrong and the remedy.
pub(super) fn socket(text: &str) -> Result<SocketAddr, (String, String)> {
    let example = "write an IP address and a port, such as \"127.0.0.1:8200\" or \"[::]:8200\"";
    let wrong = |what: &str| (format!("`address` {what}"), example.to_owned());
    let text = text.trim();
    if text.contains("{{") {
        return Err(wrong("is a template, and templates are not evaluated"));
    }
    if text.contains("://") {
        return Err(wrong("is a URL"));
    }
    if text.parse::<IpAddr>().is_ok() {
        return Err(wrong("has no port"));
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(|| wrong("has no port"))?;
    let port: u16 = port.parse().map_err(|_| wrong("has a port that is no number up to 65535"))?;
    let host = match host {
        "" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        _ => match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(inner) => {
                IpAddr::V6(inner.parse().map_err(|_| wrong("has no IPv6 address in its brackets"))?)
            }
            None if host.contains(':') => return Err(wrong("is an IPv6 address without brackets")),
            None => IpAddr::V4(host.parse().map_err(|_| wrong("is a name, and names are not looked up"))?),
        },
    };
    Ok(SocketAddr::new(host, port))
}

/// What is wrong with a URL, if anything: `http` or `https`, a host, perhaps a port, and no path.
pub(super) fn url(text: &str) -> Result<(), &'static str> {
    if text.contains("{{") {
        return Err("is a template, and templates are not evaluated");
    }
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let rest = rest.ok_or("does not begin with https:// or http://")?;
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let named = !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    let numbered = inner.is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok());
    if !named && !numbered {
        return Err("has no host, or something besides host and port");
    }
    match port.map(str::parse::<u16>) {
        Some(Err(_)) => Err("has a port that is no number up to 65535"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets() {
        for (text, wanted) in [
            ("127.0.0.1:8200", "127.0.0.1:8200"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::]:8200", "[::]:8200"),
            ("[::1]:0", "[::1]:0"),
            (":8200", "[::]:8200"),
            ("localhost:8200", "127.0.0.1:8200"),
        ] {
            assert_eq!(socket(text).unwrap().to_string(), wanted);
        }
        for (text, what) in [
            ("127.0.0.1", "`address` has no port"),
            ("::1", "`address` has no port"),
            ("vault", "`address` has no port"),
            ("127.0.0.1:http", "`address` has a port that is no number up to 65535"),
            ("127.0.0.1:65536", "`address` has a port that is no number up to 65535"),
            ("fe80::1:8200:x:1", "`address` is an IPv6 address without brackets"),
            ("[::g]:1", "`address` has no IPv6 address in its brackets"),
            ("vault.example:8200", "`address` is a name, and names are not looked up"),
            ("http://127.0.0.1:8200", "`address` is a URL"),
            ("{{ GetPrivateIP }}:8200", "`address` is a template, and templates are not evaluated"),
        ] {
            assert_eq!(socket(text).unwrap_err().0, what, "{text}");
        }
    }

    #[test]
    fn urls() {
        for text in
            ["https://vault:8200", "http://127.0.0.1:8200/", "https://[::1]:8200", "https://a.example"]
        {
            assert_eq!(url(text), Ok(()), "{text}");
        }
        for text in [
            "",
            "vault:8200",
            "https://",
            "https://a/b",
            "ftp://a",
            "https://a:99999",
            "https://a:",
            "https://u@a",
            "https://{{ GetPrivateIP }}:8200",
        ] {
            assert!(url(text).is_err(), "{text}");
        }
    }
}
