//! The connection to an authority, and the token.

use super::advice::{self, Known};
use super::output::Output;
use super::{Failure, OutputArgs, token_helper};
use keyward_authority_client::{
    Address, Client, ClientConfig, ClientError, ConfigError, Method, Reply, RequestOptions,
};
use serde_json::Value;
use std::path::PathBuf;

/// How to reach the authority
#[derive(clap::Args, Clone, Default)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// Address of the authority; VAULT_ADDR otherwise, and https://127.0.0.1:8200 without either
    #[arg(long, global = true, value_name = "URL", value_parser = address)]
    address: Option<String>,
    /// File of CA certificates to trust; VAULT_CACERT otherwise
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    ca_cert: Option<PathBuf>,
    /// Client certificate; VAULT_CLIENT_CERT otherwise
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    client_cert: Option<PathBuf>,
    /// Key of the client certificate; VAULT_CLIENT_KEY otherwise
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    client_key: Option<PathBuf>,
    /// Name to expect in the server's certificate; VAULT_TLS_SERVER_NAME otherwise
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    tls_server_name: Option<String>,
    /// Do not check the server's certificate; for trying things out only
    #[arg(long, global = true, hide_short_help = true)]
    tls_skip_verify: bool,
    /// Namespace; VAULT_NAMESPACE otherwise
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    namespace: Option<String>,
    /// Wrap the answer in a single-use token of this life, such as 5m; `keyward unwrap` opens it
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration, hide_short_help = true)]
    wrap_ttl: Option<String>,
}

/// Checked here, so that a mistake is told under the option's name.
fn address(text: &str) -> Result<String, String> {
    Address::parse(text).map(|_| text.to_owned())
}

fn duration(text: &str) -> Result<String, String> {
    keyward_core::parse_duration(text).map(|_| text.to_owned()).map_err(|why| why.to_string())
}

impl From<ConfigError> for Failure {
    fn from(why: ConfigError) -> Failure {
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
    /// Whether anybody said where the authority is.
    address_given: bool,
}

impl Session {
    /// Flags first, then the environment, then the token file.
    pub(crate) fn open(connection: &Connection, output: &OutputArgs) -> Result<Session, Failure> {
        let client = Client::new(client_config(connection)?)?;
        if client.token().is_none() {
            client.set_token(token_helper::read()?);
        }
        let set = |name| std::env::var(name).is_ok_and(|address| !address.trim().is_empty());
        let address_given = connection.address.is_some() || set("KEYWARD_ADDR") || set("VAULT_ADDR");
        Ok(Session { client, output: Output::from(output), address_given })
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
        let answer = self.client.request(method, path, body.map(Into::into), options).await;
        answer.map_err(|why| self.failure(doing, why, options.token.is_some()))
    }

    /// What happened and why in one line, what to do next in another.
    pub(crate) fn failure(&self, doing: &str, why: ClientError, with_token: bool) -> Failure {
        let known = Known {
            address_given: self.address_given,
            has_token: with_token || self.client.token().is_some(),
        };
        let reason = match why.rejection() {
            Some(rejection) => format!("{} [{}]", rejection.said(), rejection.reply.status),
            None => why.reason(),
        };
        let said = format!("{doing}: {reason}\n  {}", advice::next(&why, &known));
        match why {
            ClientError::Invalid(_) => Failure::Usage(format!("{doing}: {reason}")),
            ClientError::NotFound(rejection) if rejection.messages.is_empty() => {
                Failure::Absent { said, data: rejection.reply.data() }
            }
            _ => Failure::Remote(said),
        }
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
