//! Where a database is: the connection strings that Vault's plugins take, read once.
//!
//! The placeholders `{{username}}` and `{{password}}` are read as they stand and replaced by values, so that no
//! character of a password can change what the rest of the string means.

use crate::act::database::TlsMode;
use crate::refusal::Refusal;

/// A connection string, read. User and password may be placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) hosts: Vec<(String, u16)>,
    pub(super) database: String,
    pub(super) user: String,
    pub(super) password: String,
    pub(super) tls: Option<TlsMode>,
    pub(super) options: Vec<(String, String)>,
}

fn bad(why: impl std::fmt::Display) -> Refusal {
    Refusal::invalid(format!("connection_url cannot be used: {why}"))
}

/// Percent-decoding (RFC 3986, section 2.1).
fn decoded(text: &str) -> Result<String, Refusal> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
        let pair = digit().zip(digit()).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        out.push(pair.ok_or_else(|| bad("a % in it is not followed by two hexadecimal digits"))?);
    }
    String::from_utf8(out).map_err(|_| bad("it is not UTF-8"))
}

fn host_and_port(text: &str, usual: u16) -> Result<(String, u16), Refusal> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) =
                rest.split_once(']').ok_or_else(|| bad("an IPv6 address is not closed by ]"))?;
            (host, rest.strip_prefix(':'))
        }
        None => text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        None | Some("") => usual,
        Some(port) => port.parse().map_err(|_| bad(format!("{port:?} is not a port")))?,
    };
    Ok((decoded(host)?, port))
}

fn hosts(text: &str, usual: u16) -> Result<Vec<(String, u16)>, Refusal> {
    let hosts: Vec<_> = text.split(',').map(|part| host_and_port(part, usual)).collect::<Result<_, _>>()?;
    if hosts.iter().any(|(host, _)| host.is_empty()) {
        return Err(bad("it names no host"));
    }
    Ok(hosts)
}

fn user_and_password(text: &str) -> Result<(String, String), Refusal> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    Ok((decoded(user)?, decoded(password)?))
}

fn tls_mode(text: &str) -> Result<TlsMode, Refusal> {
    match text {
        "disable" => Ok(TlsMode::Disable),
        "allow" | "prefer" => Ok(TlsMode::Prefer),
        "require" => Ok(TlsMode::Require),
        "verify-ca" => Ok(TlsMode::VerifyCa),
        "verify-full" => Ok(TlsMode::VerifyFull),
        other => {
            Err(bad(format!("sslmode={other}: write disable, prefer, require, verify-ca or verify-full")))
        }
    }
}

const POSTGRESQL_PORT: u16 = 5432;
const MYSQL_PORT: u16 = 3306;

/// Parameters of sessions that PostgreSQL takes at their start.
const SESSION: [&str; 8] = [
    "application_name",
    "options",
    "search_path",
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "timezone",
    "role",
];

/// A URI or a list of `key=value`, as section 34.1.1 of PostgreSQL's manual has them.
pub(super) fn postgresql(text: &str) -> Result<Address, Refusal> {
    let rest = text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://"));
    match rest {
        Some(rest) => postgresql_uri(rest),
        None if text.contains("://") => {
            Err(bad("it must begin with postgresql:// or be a list of key=value"))
        }
        None => postgresql_pairs(text),
    }
}

fn postgresql_uri(rest: &str) -> Result<Address, Refusal> {
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    // A password may have been written with a slash or an @ in it.
    let (user_info, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, password) = user_and_password(user_info)?;
    let mut address = Address {
        hosts: hosts(authority, POSTGRESQL_PORT)?,
        database: decoded(database)?,
        user,
        password,
        tls: None,
        options: Vec::new(),
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        postgresql_parameter(&mut address, name, &decoded(value)?)?;
    }
    Ok(address)
}

fn postgresql_pairs(text: &str) -> Result<Address, Refusal> {
    let empty = String::new;
    let mut address = Address {
        hosts: Vec::new(),
        database: empty(),
        user: empty(),
        password: empty(),
        tls: None,
        options: Vec::new(),
    };
    let (mut host, mut port) = (String::new(), POSTGRESQL_PORT.to_string());
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or_else(|| bad("it is neither a URI nor key=value"))?;
        let (value, after) = quoted(after.trim_start())?;
        match name.trim() {
            "host" | "hostaddr" => host = value,
            "port" => port = value,
            "user" => address.user = value,
            "password" => address.password = value,
            "dbname" | "database" => address.database = value,
            name => postgresql_parameter(&mut address, name, &value)?,
        }
        rest = after.trim_start();
    }
    address.hosts = hosts(&format!("{host}:{port}"), POSTGRESQL_PORT)?;
    Ok(address)
}

/// A value, bare or in single quotes with backslash escapes, and what follows it.
fn quoted(text: &str) -> Result<(String, &str), Refusal> {
    let Some(inner) = text.strip_prefix('\'') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        return Ok((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => return Ok((value, &inner[at + 1..])),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    Err(bad("a quote in it is not closed"))
}

fn postgresql_parameter(address: &mut Address, name: &str, value: &str) -> Result<(), Refusal> {
    match name {
        "sslmode" => address.tls = Some(tls_mode(value)?),
        // Connections are given up after a time of our own.
        "connect_timeout" => {}
        "sslcert" | "sslkey" | "sslrootcert" => {
            return Err(bad(format!(
                "{name} names a file; send its contents as tls_certificate, private_key or tls_ca"
            )));
        }
        name if SESSION.contains(&name) => address.options.push((name.to_owned(), value.to_owned())),
        name => return Err(bad(format!("the parameter {name} is not known"))),
    }
    Ok(())
}

/// A data source name of Go's MySQL driver: `USER:PASSWORD@tcp(HOST:PORT)/DATABASE?name=value`.
pub(super) fn mysql(text: &str) -> Result<Address, Refusal> {
    let (text, query) = text.split_once('?').unwrap_or((text, ""));
    let (before, database) =
        text.rsplit_once('/').ok_or_else(|| bad("it must have a / before the name of the database"))?;
    // Nothing in a data source name is percent-encoded.
    let (user_info, network) = before.rsplit_once('@').unwrap_or(("", before));
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let host = match network.strip_prefix("tcp(").and_then(|rest| rest.strip_suffix(')')) {
        Some(host) => host,
        None if network.is_empty() || network == "tcp" => "127.0.0.1",
        None => return Err(bad("write the server as tcp(HOST:PORT)")),
    };
    let mut address = Address {
        hosts: hosts(host, MYSQL_PORT)?,
        database: database.to_owned(),
        user: user.to_owned(),
        password: password.to_owned(),
        tls: None,
        options: Vec::new(),
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match (name, value) {
            ("tls", "false") => address.tls = Some(TlsMode::Disable),
            ("tls", "preferred") => address.tls = Some(TlsMode::Prefer),
            ("tls", "skip-verify") => address.tls = Some(TlsMode::Require),
            ("tls", "true") => address.tls = Some(TlsMode::VerifyFull),
            ("tls", other) => {
                return Err(bad(format!("tls={other}: write true, false, skip-verify or preferred")));
            }
            // How results are read and how long is waited is ours to decide.
            (
                "parseTime"
                | "timeout"
                | "readTimeout"
                | "writeTimeout"
                | "charset"
                | "collation"
                | "loc"
                | "multiStatements"
                | "interpolateParams"
                | "allowNativePasswords",
                _,
            ) => {}
            (name, _) => return Err(bad(format!("the parameter {name} is not known"))),
        }
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn why(result: Result<Address, Refusal>) -> String {
        result.err().map(|why| why.to_string()).unwrap_or_default()
    }

    #[test]
    fn uris_of_postgresql_are_read() {
        let address = postgresql("postgresql://{{username}}:{{password}}@postgres:5432/production").unwrap();
        assert_eq!(
            address,
            Address {
                hosts: vec![("postgres".into(), 5432)],
                database: "production".into(),
                user: "{{username}}".into(),
                password: "{{password}}".into(),
                tls: None,
                options: vec![],
            }
        );
        let address = postgresql("postgres://a%40b:p%2Fq@[::1],h2:6000/d?sslmode=verify-full&search_path=x");
        let address = address.unwrap();
        assert_eq!(address.hosts, [("::1".to_owned(), 5432), ("h2".to_owned(), 6000)]);
        assert_eq!((address.user.as_str(), address.password.as_str()), ("a@b", "p/q"));
        assert_eq!(address.tls, Some(TlsMode::VerifyFull));
        assert_eq!(address.options, [("search_path".to_owned(), "x".to_owned())]);
        assert!(why(postgresql("postgresql://h/d?sslmode=odd")).contains("sslmode=odd"));
        assert!(why(postgresql("postgresql://h/d?nonsense=1")).contains("nonsense is not known"));
        assert!(why(postgresql("postgresql:///d")).contains("names no host"));
        assert!(why(postgresql("postgresql://h:x/d")).contains("is not a port"));
        assert!(why(postgresql("mysql://h/d")).contains("must begin with postgresql://"));
    }

    #[test]
    fn pairs_of_postgresql_are_read() {
        let text =
            "host=db port=6432 user={{username}} password='{{password}}' dbname='my \\'db' sslmode=disable";
        let address = postgresql(text).unwrap();
        assert_eq!(address.hosts, [("db".to_owned(), 6432)]);
        assert_eq!(address.database, "my 'db");
        assert_eq!((address.user.as_str(), address.tls), ("{{username}}", Some(TlsMode::Disable)));
        assert!(why(postgresql("host='db")).contains("not closed"));
        assert!(why(postgresql("nothing")).contains("neither a URI nor"));
    }

    #[test]
    fn names_of_mysql_are_read() {
        let address =
            mysql("{{username}}:{{password}}@tcp(127.0.0.1:3307)/app?tls=skip-verify&parseTime=true");
        let address = address.unwrap();
        assert_eq!(address.hosts, [("127.0.0.1".to_owned(), 3307)]);
        assert_eq!((address.database.as_str(), address.tls), ("app", Some(TlsMode::Require)));
        assert_eq!(mysql("root@tcp(db)/").unwrap().hosts, [("db".to_owned(), 3306)]);
        assert!(why(mysql("root@unix(/tmp/s)/")).contains("tcp(HOST:PORT)"));
        assert!(why(mysql("root@tcp(db)")).contains("must have a /"));
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in ".{0,80}") {
            let _ = (postgresql(&text), mysql(&text), postgresql(&format!("postgresql://{text}")));
        }
    }
}
