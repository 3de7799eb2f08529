//! `keyward read|write|list|delete|patch|unwrap|path-help`: any path of the authority.

use crate::cli::input::object;
use crate::cli::{Failure, Session, token_helper};
use keyward_authority_client::{Method, RequestOptions};
use keyward_crypto::Secret;
use serde_json::{Value, json};

/// A path and what to send
#[derive(clap::Args)]
pub(crate) struct ReadArgs {
    /// Path, such as secret/data/app
    path: String,
    /// Parameters as key=value
    #[arg(value_name = "KEY=VALUE")]
    parameters: Vec<String>,
}

/// A path and what to write
#[derive(clap::Args)]
pub(crate) struct WriteArgs {
    /// Path, such as transit/keys/orders
    path: String,
    /// key=value, key=@file, key=- for standard input, @file.json or - for a whole object
    #[arg(value_name = "KEY=VALUE")]
    data: Vec<String>,
    /// Write although there is nothing to send
    #[arg(long, short)]
    force: bool,
}

/// A path
#[derive(clap::Args)]
pub(crate) struct PathArgs {
    /// Path
    path: String,
}

/// A wrapping token
#[derive(clap::Args)]
pub(crate) struct UnwrapArgs {
    /// The wrapping token, or - to read it from standard input; the session's own token when absent
    token: Option<String>,
}

pub(crate) async fn read(session: &Session, args: &ReadArgs) -> Result<(), Failure> {
    let query = pairs(&args.parameters)?;
    let options = RequestOptions { query, ..RequestOptions::default() };
    let doing = format!("Error reading {}", args.path);
    let reply = session.ask_with(&doing, Method::Get, &args.path, None, &options).await;
    let reply = reply.map_err(|why| nothing_there(why, &format!("No value found at {}", args.path)))?;
    session.output.reply(&reply)
}

fn pairs(words: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let text = |value: Value| crate::cli::output::plain(&value);
    Ok(object(words)?.into_iter().map(|(name, value)| (name, text(value))).collect())
}

/// A 404 without words is an answer, not an error of the server: said in people's words.
pub(crate) fn nothing_there(why: Failure, said: &str) -> Failure {
    match why {
        Failure::Absent { .. } => Failure::Remote(said.to_owned()),
        other => other,
    }
}

pub(crate) async fn write(session: &Session, args: &WriteArgs) -> Result<(), Failure> {
    if args.data.is_empty() && !args.force {
        return Err(Failure::Usage(
            "there is nothing to write: give key=value arguments, or --force for a write without any"
                .to_owned(),
        ));
    }
    let doing = format!("Error writing {}", args.path);
    let body = Value::Object(object(&args.data)?);
    session.write(&doing, &args.path, &body, &format!("Success! Data written to: {}", args.path)).await
}

pub(crate) async fn patch(session: &Session, args: &WriteArgs) -> Result<(), Failure> {
    let doing = format!("Error patching {}", args.path);
    let body = Value::Object(object(&args.data)?);
    let reply = session.ask(&doing, Method::Patch, &args.path, Some(&body)).await?;
    session.output.reply_or(&reply, &format!("Success! Data written to: {}", args.path))
}

pub(crate) async fn list(session: &Session, args: &PathArgs) -> Result<(), Failure> {
    let doing = format!("Error listing {}", args.path);
    let reply = session.ask(&doing, Method::List, &args.path, None).await;
    session
        .output
        .keys(&reply.map_err(|why| nothing_there(why, &format!("No value found at {}", args.path)))?)
}

pub(crate) async fn delete(session: &Session, args: &ReadArgs) -> Result<(), Failure> {
    let options = RequestOptions { query: pairs(&args.parameters)?, ..RequestOptions::default() };
    let doing = format!("Error deleting {}", args.path);
    let reply = session.ask_with(&doing, Method::Delete, &args.path, None, &options).await?;
    session.output.reply_or(&reply, &format!("Success! Data deleted (if it existed) at: {}", args.path))
}

pub(crate) async fn path_help(session: &Session, args: &PathArgs) -> Result<(), Failure> {
    let options =
        RequestOptions { query: vec![("help".to_owned(), "1".to_owned())], ..RequestOptions::default() };
    let doing = format!("Error reading the help of {}", args.path);
    let reply = session.ask_with(&doing, Method::Get, &args.path, None, &options).await?;
    let body = reply.body().unwrap_or(Value::Null);
    match body.get("help").and_then(Value::as_str) {
        Some(help) if session.output.is_table() => crate::cli::output::line(help.trim_end()),
        _ => session.output.value(&body),
    }
}

pub(crate) async fn unwrap(session: &Session, args: &UnwrapArgs) -> Result<(), Failure> {
    let wrapping = args.token.as_deref().map(|token| match token {
        "-" => crate::cli::input::content("-").map(|text| text.trim().to_owned()),
        token => Ok(token.to_owned()),
    });
    let options = match wrapping.transpose()? {
        // A session with a token of its own unwraps by naming the other; the token itself opens it otherwise.
        Some(token) if session.client.token().is_none() => {
            RequestOptions { token: Some(Secret::new(token)), ..RequestOptions::default() }
        }
        Some(token) => {
            let body = json!({ "token": token });
            let reply =
                session.ask("Error unwrapping", Method::Put, "sys/wrapping/unwrap", Some(&body)).await?;
            return session.output.reply(&reply);
        }
        None => RequestOptions::default(),
    };
    let reply =
        session.ask_with("Error unwrapping", Method::Put, "sys/wrapping/unwrap", None, &options).await?;
    session.output.reply(&reply)
}

/// `keyward print token`
pub(crate) fn print_token(session: &Session) -> Result<(), Failure> {
    match session.client.token() {
        Some(token) => crate::cli::output::line(token.expose()),
        None => Err(Failure::Usage("there is no token: log in first, or set VAULT_TOKEN".to_owned())),
    }
}

/// `keyward logout`
pub(crate) fn log_out(session: &Session) -> Result<(), Failure> {
    token_helper::erase()?;
    session
        .output
        .done("Success! The token file is gone; the token itself lives until it is revoked or expires.")
}
