//! Where the authority is and how it is spoken to.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use keyward_core::parse_duration;
use keyward_crypto::Secret;

use crate::Address;

/// How a [`Client`](crate::Client) reaches the authority.
pub struct ClientConfig {
    /// Where the authority listens.
    pub address: Address,
    /// Sent with every request unless the request brings its own.
    pub token: Option<Secret<String>>,
    /// Sent as `X-Vault-Namespace` when not empty.
    pub namespace: String,
    /// A PEM file of the authorities trusted for the server's certificate, in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// The same, as PEM itself: where a pod is given it in its environment.
    pub ca_pem: Option<String>,
    /// A folder of such files.
    pub ca_path: Option<PathBuf>,
    /// A PEM file of the client's certificate chain; goes with `client_key`.
    pub client_cert: Option<PathBuf>,
    /// A PEM file of the client's private key.
    pub client_key: Option<PathBuf>,
    /// The name expected in the server's certificate when it is not the address's host.
    pub tls_server_name: Option<String>,
    /// Accepts any server certificate. Whoever sits in between can then read and change everything.
    pub skip_verify: bool,
    /// The time allowed for a request with its repetitions; zero allows any.
    pub timeout: Duration,
    /// How often a request is repeated at most.
    pub max_retries: u32,
    /// Asks for every answer to be wrapped in a single-use token of this life.
    pub wrap_ttl: Option<Duration>,
}

impl ClientConfig {
    /// The Go client's defaults: 60 s, two repetitions, the system's trusted authorities.
    pub fn new(address: Address) -> ClientConfig {
        ClientConfig {
            address,
            token: None,
            namespace: String::new(),
            ca_file: None,
            ca_pem: None,
            ca_path: None,
            client_cert: None,
            client_key: None,
            tls_server_name: None,
            skip_verify: false,
            timeout: Duration::from_secs(60),
            max_retries: 2,
            wrap_ttl: None,
        }
    }

    /// Reads `KEYWARD_*`, else `VAULT_*`, through `lookup` (which the binary gives the environment): `ADDR`
    /// (`https://127.0.0.1:8200` when unset), `TOKEN`, `CACERT`, `CACERT_BYTES`, `CAPATH`, `CLIENT_CERT`, `CLIENT_KEY`,
    /// `SKIP_VERIFY`, `TLS_SERVER_NAME`, `NAMESPACE`, `CLIENT_TIMEOUT`, `MAX_RETRIES`, `WRAP_TTL`. An empty
    /// value counts as unset. Every mistake is reported at once.
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<ClientConfig, ConfigError> {
        let mut read = Reader { lookup, mistakes: Vec::new() };
        let address = match read.parsed("ADDR", Address::parse) {
            Some(address) => address,
            None => {
                Address::Tcp { plain: false, host: "127.0.0.1".to_owned(), port: 8200, prefix: String::new() }
            }
        };
        let mut config = ClientConfig::new(address);
        config.token = read.text("TOKEN").map(|(_, token)| Secret::new(token));
        config.namespace = read.string("NAMESPACE").unwrap_or_default();
        config.ca_file = read.string("CACERT").map(PathBuf::from);
        config.ca_pem = read.string("CACERT_BYTES");
        config.ca_path = read.string("CAPATH").map(PathBuf::from);
        config.client_cert = read.string("CLIENT_CERT").map(PathBuf::from);
        config.client_key = read.string("CLIENT_KEY").map(PathBuf::from);
        config.tls_server_name = read.string("TLS_SERVER_NAME");
        config.skip_verify = read.parsed("SKIP_VERIFY", parse_bool).unwrap_or(false);
        if let Some(timeout) = read.parsed("CLIENT_TIMEOUT", duration) {
            config.timeout = timeout;
        }
        if let Some(retries) = read.parsed("MAX_RETRIES", |text| text.parse().map_err(|_| not_a_number(text)))
        {
            config.max_retries = retries;
        }
        config.wrap_ttl = read.parsed("WRAP_TTL", duration).filter(|ttl| !ttl.is_zero());
        if config.client_cert.is_some() != config.client_key.is_some() {
            read.mistakes
                .push("VAULT_CLIENT_CERT and VAULT_CLIENT_KEY go together: set both or neither".to_owned());
        }
        if read.mistakes.is_empty() { Ok(config) } else { Err(ConfigError(read.mistakes)) }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

fn not_a_number(text: &str) -> String {
    format!("{text:?} is not a whole number from 0 on")
}

fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    mistakes: Vec<String>,
}

impl Reader<'_> {
    fn text(&self, name: &str) -> Option<(String, String)> {
        ["KEYWARD_", "VAULT_"].into_iter().find_map(|prefix| {
            let name = format!("{prefix}{name}");
            let value = (self.lookup)(&name)?;
            let value = value.trim();
            (!value.is_empty()).then(|| (name, value.to_owned()))
        })
    }

    fn string(&self, name: &str) -> Option<String> {
        self.text(name).map(|(_, value)| value)
    }

    fn parsed<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let (name, value) = self.text(name)?;
        parse(&value).map_err(|why| self.mistakes.push(format!("{name}: {why}"))).ok()
    }
}

/// What is wrong with a configuration; one line per mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(pairs: &[(&str, &str)]) -> Result<ClientConfig, ConfigError> {
        ClientConfig::from_lookup(&|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn nothing_set_gives_the_defaults() {
        let config = from(&[("VAULT_ADDR", ""), ("VAULT_TOKEN", " ")]).unwrap();
        assert_eq!(config.address.to_string(), "https://127.0.0.1:8200");
        assert!(config.token.is_none());
        assert_eq!((config.timeout, config.max_retries), (Duration::from_secs(60), 2));
    }

    #[test]
    fn our_names_come_first() {
        let config = from(&[
            ("VAULT_ADDR", "https://vault:8200"),
            ("KEYWARD_ADDR", "unix:///run/k.sock"),
            ("VAULT_TOKEN", "hvs.x\n"),
            ("VAULT_SKIP_VERIFY", "1"),
            ("VAULT_CLIENT_TIMEOUT", "5"),
            ("VAULT_MAX_RETRIES", "0"),
            ("VAULT_WRAP_TTL", "5m"),
            ("VAULT_NAMESPACE", "team/a"),
        ])
        .unwrap();
        assert_eq!(config.address.to_string(), "unix:///run/k.sock");
        assert_eq!(config.token.unwrap().expose(), "hvs.x");
        assert!(config.skip_verify);
        assert_eq!((config.timeout, config.max_retries), (Duration::from_secs(5), 0));
        assert_eq!(config.wrap_ttl, Some(Duration::from_secs(300)));
        assert_eq!(config.namespace, "team/a");
    }

    #[test]
    fn every_mistake_is_told() {
        let error = from(&[
            ("VAULT_ADDR", "vault:8200"),
            ("VAULT_SKIP_VERIFY", "yes"),
            ("KEYWARD_CLIENT_TIMEOUT", "soon"),
            ("VAULT_MAX_RETRIES", "-1"),
            ("VAULT_CLIENT_KEY", "key.pem"),
        ])
        .err()
        .unwrap();
        assert_eq!(error.0.len(), 5, "{error}");
        assert!(error.0[2].starts_with("KEYWARD_CLIENT_TIMEOUT: "), "{error}");
    }
}
