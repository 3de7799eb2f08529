//! What the client subcommands have in common: the connection, the token, the way out.

pub(crate) mod input;
pub(crate) mod output;
pub(crate) mod token_helper;

use keyward_authority_client::{
    Client, ClientConfig, ClientError, ConfigError, Method, Reply, RequestOptions,
};
use output::{Format, Output};
use serde_json::Value;
use std::fmt;
use std::path::PathBuf;

/// How to reach the authority
#[derive(clap::Args, Clone, Default)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// Address of the authority; VAULT_ADDR otherwise
    #[arg(long, global = true, value_name = "URL")]
    address: Option<String>,
    /// File of CA certificates to trust; VAULT_CACERT otherwise
    #[arg(long, global = true, value_name = "FILE")]
    ca_cert: Option<PathBuf>,
    /// Client certificate; VAULT_CLIENT_CERT otherwise
    #[arg(long, global = true, value_name = "FILE")]
    client_cert: Option<PathBuf>,
    /// Key of the client certificate; VAULT_CLIENT_KEY otherwise
    #[arg(long, global = true, value_name = "FILE")]
    client_key: Option<PathBuf>,
    /// Name to expect in the server's certificate; VAULT_TLS_SERVER_NAME otherwise
    #[arg(long, global = true, value_name = "NAME")]
    tls_server_name: Option<String>,
    /// Do not check the server's certificate; for trying things out only
    #[arg(long, global = true)]
    tls_skip_verify: bool,
    /// Namespace; VAULT_NAMESPACE otherwise
    #[arg(long, global = true, value_name = "NAME")]
    namespace: Option<String>,
    /// Wrap the answer in a single-use token of this life
    #[arg(long, global = true, value_name = "DURATION")]
    wrap_ttl: Option<String>,
}

/// How to show the answer
#[derive(clap::Args, Clone, Default)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// How to write the answer; VAULT_FORMAT otherwise
    #[arg(long, short, global = true, value_enum, alias = "format", env = "VAULT_FORMAT")]
    output: Option<Format>,
    /// Write only this field, without a newline at the end where no terminal reads it
    #[arg(long, global = true, value_name = "NAME")]
    field: Option<String>,
}

/// Why a command failed, and the exit code that tells.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line or its input is wrong: 1.
    Usage(String),
    /// The authority refused or cannot be reached: 2.
    Remote(String),
    /// The exit code is the whole answer.
    Code(u8),
}

impl Failure {
    pub(crate) fn code(&self) -> u8 {
        match self {
            Failure::Usage(_) => 1,
            Failure::Remote(_) => 2,
            Failure::Code(code) => *code,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(why) | Failure::Remote(why) => f.write_str(why),
            Failure::Code(_) => Ok(()),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(why: ClientError) -> Failure {
        match why {
            ClientError::Invalid(_) => Failure::Usage(why.to_string()),
            _ => Failure::Remote(why.to_string()),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(why: ConfigError) -> Failure {
        Failure::Usage(why.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(why: std::io::Error) -> Failure {
        Failure::Usage(why.to_string())
    }
}

/// Flags first, then the environment.
pub(crate) fn client_config(connection: &Connection) -> Result<ClientConfig, ConfigError> {
    let text = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let lookup = |name: &str| {
        let flag = match name.trim_start_matches("VAULT_").trim_start_matches("KEYWARD_") {
            "ADDR" => connection.address.clone(),
            "CACERT" => text(&connection.ca_cert),
            "CLIENT_CERT" => text(&connection.client_cert),
            "CLIENT_KEY" => text(&connection.client_key),
            "TLS_SERVER_NAME" => connection.tls_server_name.clone(),
            "SKIP_VERIFY" => connection.tls_skip_verify.then(|| "true".to_owned()),
            "NAMESPACE" => connection.namespace.clone(),
            "WRAP_TTL" => connection.wrap_ttl.clone(),
            _ => None,
        };
        flag.or_else(|| std::env::var(name).ok())
    };
    ClientConfig::from_lookup(&lookup)
}

/// A connection and a way out.
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) output: Output,
}

impl Session {
    /// Flags first, then the environment, then the token file.
    pub(crate) fn open(connection: &Connection, output: &OutputArgs) -> Result<Session, Failure> {
        let client = Client::new(client_config(connection)?)?;
        if client.token().is_none() {
            client.set_token(token_helper::read()?);
        }
        Ok(Session { client, output: Output::from(output) })
    }

    /// Sends a request; anything but success is a failure that names `doing`.
    pub(crate) async fn ask(
        &self,
        doing: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Reply, Failure> {
        self.ask_with(doing, method, path, body, &RequestOptions::default()).await
    }

    /// As [`Session::ask`], with options.
    pub(crate) async fn ask_with(
        &self,
        doing: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
        options: &RequestOptions,
    ) -> Result<Reply, Failure> {
        self.client.request(method, path, body.map(Into::into), options).await.map_err(|why| {
            match why.into() {
                Failure::Remote(why) => Failure::Remote(format!("{doing}: {why}")),
                other => other,
            }
        })
    }

    /// A write whose answer is shown, or `done` when there is none.
    pub(crate) async fn write(
        &self,
        doing: &str,
        path: &str,
        body: &Value,
        done: &str,
    ) -> Result<(), Failure> {
        let reply = self.ask(doing, Method::Put, path, Some(body)).await?;
        self.output.reply_or(&reply, done)
    }
}
