//! Where the authority listens.

use std::fmt;
use std::path::PathBuf;

/// The address of an authority: `https://host[:port]`, `http://host[:port]` or `unix:///path/to/socket`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP, with TLS unless `plain`.
    Tcp {
        /// Whether the connection goes without TLS.
        plain: bool,
        /// A name or an IP address, an IPv6 one without its brackets.
        host: String,
        /// The port; 443 or 80 when the address names none.
        port: u16,
        /// What precedes `/v1` in every path: empty, or `/prefix` without a final slash.
        prefix: String,
    },
    /// A Unix socket, spoken to in plain HTTP.
    Unix(PathBuf),
}

impl Address {
    /// Reads an address. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Address, String> {
        let wrong = |why: &str| {
            Err(format!(
                "{text:?} is not an address: {why}; write https://host:8200, http://host:8200 or unix:///path"
            ))
        };
        let Some((scheme, rest)) = text.trim().split_once("://") else {
            return wrong("it has no scheme");
        };
        let plain = match scheme {
            "https" => false,
            "http" => true,
            "unix" if rest.starts_with('/') => return Ok(Address::Unix(PathBuf::from(rest))),
            "unix" => return wrong("the path of the socket is not absolute"),
            _ => return wrong("the scheme is unknown"),
        };
        if rest.contains(|at: char| "?#@".contains(at) || at.is_whitespace() || at.is_control()) {
            return wrong("only a host, a port and a path may follow the scheme");
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let default_port = if plain { 80 } else { 443 };
        let Some((host, port)) = split_port(authority, default_port) else {
            return wrong("the host or the port is malformed");
        };
        let path = path.trim_end_matches('/');
        let prefix = if path.is_empty() { String::new() } else { format!("/{path}") };
        Ok(Address::Tcp { plain, host: host.to_owned(), port, prefix })
    }

    /// The value of the `Host` header.
    pub(crate) fn host_header(&self) -> String {
        match self {
            Address::Unix(_) => "localhost".to_owned(),
            Address::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Address::Tcp { host, port, .. } => format!("{host}:{port}"),
        }
    }

    /// What precedes `/v1` in every path.
    pub(crate) fn prefix(&self) -> &str {
        match self {
            Address::Unix(_) => "",
            Address::Tcp { prefix, .. } => prefix,
        }
    }

    /// Whether the connection is authenticated and private by itself.
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Address::Tcp { plain: false, .. })
    }
}

fn split_port(authority: &str, default: u16) -> Option<(&str, u16)> {
    let (host, port) = if let Some(bracketed) = authority.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port != 0)?,
        None => default,
    };
    let named = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    (!host.is_empty() && host.bytes().all(named)).then_some((host, port))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix://{}", path.display()),
            Address::Tcp { plain, prefix, .. } => {
                let scheme = if *plain { "http" } else { "https" };
                write!(f, "{scheme}://{}{prefix}", self.host_header())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_addresses() {
        for (text, written) in [
            ("https://127.0.0.1:8200", "https://127.0.0.1:8200"),
            ("http://localhost:8200/", "http://localhost:8200"),
            ("https://vault.example.org", "https://vault.example.org:443"),
            ("http://[::1]:8200", "http://[::1]:8200"),
            ("https://[fd00::1]", "https://[fd00::1]:443"),
            ("https://proxy.example.org/vault/", "https://proxy.example.org:443/vault"),
            ("unix:///run/keyward/keyward.sock", "unix:///run/keyward/keyward.sock"),
        ] {
            assert_eq!(Address::parse(text).map(|address| address.to_string()).as_deref(), Ok(written));
        }
    }

    #[test]
    fn refuses_what_is_none() {
        for text in [
            "",
            "127.0.0.1:8200",
            "ftp://host",
            "https://",
            "https://:8200",
            "https://host:0",
            "https://host:99999",
            "https://host:x",
            "unix://relative",
            "https://[::1",
            "https://[zz]:1",
            "https://user@host",
            "https://::1:8200",
            "http://host?x=1",
            "https://exämple.org",
            "http://ho\nst",
            "http://[::1]x",
            "http://a[b",
            "http://host/a b",
            "http://host/:\n/",
            "http://host/\u{0}",
        ] {
            assert!(Address::parse(text).is_err(), "{text:?}");
        }
    }
}
