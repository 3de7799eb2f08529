//! An audit device as an operator configures it.

use crate::refusal::Refusal;
use keyward_core::parse_duration;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// An audit device as configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// With a trailing slash.
    pub path: String,
    /// `file`, `socket`, `syslog` or `stdout`.
    pub kind: String,
    /// The operator's words.
    pub description: String,
    /// Kept for clients that read it back.
    pub local: bool,
    /// By type; see `docs/audit.md`.
    pub options: BTreeMap<String, String>,
}

/// What records look like on a device. Records are made once for each form in use, not once for each device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Accessors are hashed.
    pub hmac_accessor: bool,
    /// Answers to lists show how many keys there were instead of the keys.
    pub elide_lists: bool,
}

/// How a socket device connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketKind {
    /// A TCP connection; one line a record.
    Tcp,
    /// One datagram a record.
    Udp,
    /// A stream socket in the file system; one line a record.
    Unix,
}

/// A syslog facility's number (RFC 5424, section 6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facility(pub u8);

/// Where a device writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    /// Appends lines to a file.
    File {
        /// Where.
        path: String,
        /// The file's permission bits; those it has when absent.
        mode: Option<u32>,
    },
    /// Lines on standard output.
    Stdout,
    /// Nowhere: every record is accepted and forgotten.
    Discard,
    /// A connection.
    Socket {
        /// See [`SocketKind`].
        kind: SocketKind,
        /// `host:port`, or a path.
        address: String,
        /// How long a write may take.
        write_timeout: Duration,
    },
    /// The local system log.
    Syslog {
        /// See [`Facility`].
        facility: Facility,
        /// The name lines are logged under.
        tag: String,
    },
}

impl Sink {
    /// Two devices may not share it.
    pub fn is_exclusive(&self) -> bool {
        matches!(self, Sink::File { .. })
    }
}

/// A device's options, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where records go.
    pub sink: Sink,
    /// What they look like.
    pub form: Form,
    /// Written before each record.
    pub prefix: String,
}

const COMMON: [&str; 6] =
    ["format", "log_raw", "hmac_accessor", "elide_list_responses", "prefix", "skip_test"];

const FACILITIES: [&str; 24] = [
    "KERN", "USER", "MAIL", "DAEMON", "AUTH", "SYSLOG", "LPR", "NEWS", "UUCP", "CRON", "AUTHPRIV", "FTP",
    "NTP", "AUDIT", "ALERT", "CLOCK", "LOCAL0", "LOCAL1", "LOCAL2", "LOCAL3", "LOCAL4", "LOCAL5", "LOCAL6",
    "LOCAL7",
];

impl Device {
    /// Reads the options; every refusal names the option and what it takes.
    pub fn config(&self) -> Result<Config, Refusal> {
        let own: &[&str] = match self.kind.as_str() {
            "file" => &["file_path", "path", "mode"],
            "socket" => &["address", "socket_type", "write_timeout"],
            "syslog" => &["facility", "tag"],
            "stdout" => &[],
            other => {
                return Err(Refusal::invalid(format!(
                    "unknown backend type: {other:?}; audit devices are file, socket, syslog and stdout"
                )));
            }
        };
        self.check_names(own)?;
        if self.flag("log_raw", false)? {
            return Err(Refusal::invalid(
                "log_raw is not supported: values are always hashed, since a log may hold no plaintext; \
                 to show single fields use audit_non_hmac_request_keys and audit_non_hmac_response_keys of a mount",
            ));
        }
        if !matches!(self.option("format"), "" | "json") {
            return Err(Refusal::invalid(format!(
                "unknown format type {:?}: records are written as json",
                self.option("format")
            )));
        }
        let form = Form {
            hmac_accessor: self.flag("hmac_accessor", true)?,
            elide_lists: self.flag("elide_list_responses", false)?,
        };
        let sink = match self.kind.as_str() {
            "file" => self.file()?,
            "socket" => self.socket()?,
            "syslog" => self.syslog()?,
            _ => Sink::Stdout,
        };
        Ok(Config { sink, form, prefix: self.prefix()? })
    }

    fn option(&self, name: &str) -> &str {
        self.options.get(name).map_or("", String::as_str)
    }

    fn check_names(&self, own: &[&str]) -> Result<(), Refusal> {
        let known = |name: &str| COMMON.contains(&name) || own.contains(&name);
        match self.options.keys().find(|name| !known(name)) {
            Some(unknown) => Err(Refusal::invalid(format!(
                "unknown option {unknown:?} of a {} audit device; it takes {}",
                self.kind,
                own.iter().chain(&COMMON).copied().collect::<Vec<_>>().join(", ")
            ))),
            None => Ok(()),
        }
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool, Refusal> {
        match self.option(name) {
            "" => Ok(default),
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            other => Err(Refusal::invalid(format!("the option {name} is true or false, not {other:?}"))),
        }
    }

    fn file(&self) -> Result<Sink, Refusal> {
        let path = match self.option("file_path") {
            "" => self.option("path"),
            path => path,
        };
        match path.to_ascii_lowercase().as_str() {
            "" => return Err(Refusal::invalid("file_path is required")),
            "stdout" => return Ok(Sink::Stdout),
            "discard" => return Ok(Sink::Discard),
            _ => {}
        }
        if !path.starts_with('/') || path.ends_with('/') || path.chars().any(char::is_control) {
            return Err(Refusal::invalid(format!(
                "file_path must be an absolute path of a file, \"stdout\" or \"discard\", not {path:?}"
            )));
        }
        let mode = match self.option("mode") {
            "" => Some(0o600),
            text => match u32::from_str_radix(text, 8) {
                // As Vault has it: leave the permissions of the file as they are.
                Ok(0) => None,
                // A log that can be run is a way to make the server write programs.
                Ok(mode) if mode <= 0o777 && mode & 0o111 == 0 => Some(mode),
                _ => {
                    return Err(Refusal::invalid(format!(
                        "mode is an octal number without execute permission, such as 0600, not {text:?}"
                    )));
                }
            },
        };
        Ok(Sink::File { path: path.to_owned(), mode })
    }

    fn socket(&self) -> Result<Sink, Refusal> {
        let kind = match self.option("socket_type") {
            "" | "tcp" => SocketKind::Tcp,
            "udp" => SocketKind::Udp,
            "unix" => SocketKind::Unix,
            other => {
                return Err(Refusal::invalid(format!("socket_type is tcp, udp or unix, not {other:?}")));
            }
        };
        let address = self.option("address");
        let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        match kind {
            _ if address.is_empty() => return Err(Refusal::invalid("address is required")),
            SocketKind::Unix if !address.starts_with('/') => {
                return Err(Refusal::invalid(format!(
                    "the address of a unix socket is an absolute path, not {address:?}"
                )));
            }
            SocketKind::Tcp | SocketKind::Udp if port.is_none() => {
                return Err(Refusal::invalid(format!(
                    "the address is a host and a port, such as 127.0.0.1:9090, not {address:?}"
                )));
            }
            _ => {}
        }
        let write_timeout = match self.option("write_timeout") {
            "" => Duration::from_secs(2),
            text => parse_duration(text)
                .ok()
                .filter(|span| !span.is_zero() && *span <= Duration::from_secs(60))
                .ok_or_else(|| {
                    Refusal::invalid(format!("write_timeout is a duration up to 60s, not {text:?}"))
                })?,
        };
        Ok(Sink::Socket { kind, address: address.to_owned(), write_timeout })
    }

    fn syslog(&self) -> Result<Sink, Refusal> {
        let name = match self.option("facility") {
            "" => "AUTH",
            name => name,
        };
        let number = FACILITIES.iter().position(|known| known.eq_ignore_ascii_case(name));
        let facility =
            number.and_then(|number| u8::try_from(number).ok()).map(Facility).ok_or_else(|| {
                Refusal::invalid(format!("facility is one of {}, not {name:?}", FACILITIES.join(", ")))
            })?;
        let tag = match self.option("tag") {
            "" => "vault",
            tag => tag,
        };
        if tag.len() > 32 || !tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
            return Err(Refusal::invalid(format!(
                "tag is up to 32 letters, digits, dashes, dots and underscores, not {tag:?}"
            )));
        }
        Ok(Sink::Syslog { facility, tag: tag.to_owned() })
    }

    /// One word, so that no prefix makes a line mean something to another program than a log reader.
    fn prefix(&self) -> Result<String, Refusal> {
        let prefix = self.option("prefix");
        let word = prefix.strip_suffix(' ').unwrap_or(prefix);
        let word = word.strip_suffix(':').unwrap_or(word);
        if word.len() > 32 || !word.bytes().all(|b| b.is_ascii_alphanumeric() || b"@-_".contains(&b)) {
            return Err(Refusal::invalid(format!(
                "prefix is one word of up to 32 letters, digits, '@', '-' and '_', then perhaps a colon and a \
                 space, such as \"@cee: \", not {prefix:?}"
            )));
        }
        Ok(prefix.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: &str, options: &[(&str, &str)]) -> Result<Config, Refusal> {
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let (path, kind) = ("a/".to_owned(), kind.to_owned());
        Device { path, kind, description: String::new(), local: false, options }.config()
    }

    #[test]
    fn defaults_are_those_of_vault() {
        let config = read("file", &[("file_path", "/var/log/a.log")]).unwrap();
        assert_eq!(config.sink, Sink::File { path: "/var/log/a.log".to_owned(), mode: Some(0o600) });
        assert_eq!(config.form, Form { hmac_accessor: true, elide_lists: false });
        assert_eq!(config.prefix, "");
        assert_eq!(
            read("socket", &[("address", "[::1]:9090")]).unwrap().sink,
            Sink::Socket {
                kind: SocketKind::Tcp,
                address: "[::1]:9090".to_owned(),
                write_timeout: Duration::from_secs(2)
            }
        );
        assert_eq!(
            read("syslog", &[]).unwrap().sink,
            Sink::Syslog { facility: Facility(4), tag: "vault".to_owned() }
        );
        assert_eq!(
            read("syslog", &[("facility", "local7"), ("tag", "kw")]).unwrap().sink,
            Sink::Syslog { facility: Facility(23), tag: "kw".to_owned() }
        );
        assert_eq!(read("file", &[("path", "STDOUT")]).unwrap().sink, Sink::Stdout);
        assert_eq!(read("file", &[("file_path", "discard")]).unwrap().sink, Sink::Discard);
        assert_eq!(read("stdout", &[("prefix", "@cee: ")]).unwrap().prefix, "@cee: ");
        let moded =
            read("file", &[("file_path", "/a"), ("mode", "0000"), ("hmac_accessor", "false")]).unwrap();
        assert_eq!(moded.sink, Sink::File { path: "/a".to_owned(), mode: None });
        assert!(!moded.form.hmac_accessor);
    }

    #[test]
    fn mistakes_are_named() {
        for (kind, options, word) in [
            ("kafka", &[][..], "kafka"),
            ("file", &[], "file_path is required"),
            ("file", &[("file_path", "a.log")], "absolute"),
            ("file", &[("file_path", "/var/log/")], "absolute"),
            ("file", &[("file_path", "/a"), ("mode", "0755")], "execute"),
            ("file", &[("file_path", "/a"), ("mode", "888")], "octal"),
            ("file", &[("file_path", "/a"), ("log_raw", "true")], "log_raw"),
            ("file", &[("file_path", "/a"), ("log_raw", "maybe")], "true or false"),
            ("file", &[("file_path", "/a"), ("format", "jsonx")], "jsonx"),
            ("file", &[("file_path", "/a"), ("fallback", "true")], "fallback"),
            ("file", &[("file_path", "/a"), ("prefix", "* * * * * root sh")], "one word"),
            ("file", &[("file_path", "/a"), ("prefix", "a\n")], "one word"),
            ("socket", &[], "address is required"),
            ("socket", &[("address", "localhost")], "port"),
            ("socket", &[("address", "a.sock"), ("socket_type", "unix")], "absolute"),
            ("socket", &[("address", "a:1"), ("socket_type", "sctp")], "sctp"),
            ("socket", &[("address", "a:1"), ("write_timeout", "2h")], "60s"),
            ("syslog", &[("facility", "LOCAL8")], "LOCAL8"),
            ("syslog", &[("tag", "a b")], "tag"),
            ("stdout", &[("file_path", "/a")], "file_path"),
        ] {
            let refused = read(kind, options).err().map(|why| why.to_string()).unwrap_or_default();
            assert!(refused.contains(word), "{kind} {options:?}: {refused}");
        }
    }
}
