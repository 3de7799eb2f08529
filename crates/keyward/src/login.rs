//! `keyward login`: a token for later commands.

use crate::cli::input::{content, object};
use crate::cli::{Failure, Session, output, token_helper};
use crate::login_browser;
use crate::operator::prompt;
use keyward_authority_client::{Method, Reply, RequestOptions};
use keyward_crypto::Secret;
use serde_json::{Map, Value, json};

/// Log in and keep the token for later commands
#[derive(clap::Args)]
pub(crate) struct Login {
    /// How: token, userpass, ldap, oidc, approle, cert, kubernetes or jwt
    #[arg(long, default_value = "token")]
    method: String,
    /// Where the method is mounted; its own name otherwise
    #[arg(long)]
    path: Option<String>,
    /// Print the token, and do not keep it
    #[arg(long)]
    token_only: bool,
    /// Do not keep the token
    #[arg(long)]
    no_store: bool,
    /// The token, or the method's parameters as key=value; - reads from standard input
    #[arg(value_name = "TOKEN or KEY=VALUE")]
    parameters: Vec<String>,
}

pub(crate) async fn run(session: &Session, login: &Login) -> Result<(), Failure> {
    let reply = match login.method.as_str() {
        "token" => with_token(session, login).await?,
        method => {
            let mut sent = object(&login.parameters)?;
            let mount = login.path.as_deref().unwrap_or(method).trim_matches('/').to_owned();
            match method {
                "oidc" => login_browser::log_in(session, &mount, sent).await?,
                _ => {
                    let path = match method {
                        "userpass" | "ldap" => {
                            let user = taken(&mut sent, "username")?;
                            if !sent.contains_key("password") {
                                let password = prompt("Password (will be hidden): ")?;
                                sent.insert("password".to_owned(), Value::from(password));
                            }
                            format!("auth/{mount}/login/{user}")
                        }
                        _ => format!("auth/{mount}/login"),
                    };
                    let sent = Value::Object(sent);
                    session.ask("Error authenticating", Method::Put, &path, Some(&sent)).await?
                }
            }
        }
    };
    let reply = second_factors(session, reply).await?;
    let body = reply.body().unwrap_or(Value::Null);
    let token =
        body.pointer("/auth/client_token").or_else(|| body.pointer("/data/id")).and_then(Value::as_str);
    let Some(token) = token else { return session.output.reply(&reply) };
    if login.token_only {
        return output::line(token);
    }
    if !login.no_store {
        token_helper::store(token)?;
    }
    session.output.done("Success! You are now authenticated. Later commands find the token; there is no need to log in again.\n")?;
    session.output.reply(&reply)
}

/// Finishes a login that waits for second factors: asks for a code of one method of each rule.
async fn second_factors(session: &Session, reply: Reply) -> Result<Reply, Failure> {
    let body = reply.body().unwrap_or(Value::Null);
    let Some(wanted) = body.pointer("/auth/mfa_requirement").filter(|wanted| !wanted.is_null()) else {
        return Ok(reply);
    };
    let mut payload = Map::new();
    let rules = wanted.get("mfa_constraints").and_then(Value::as_object);
    for rule in rules.into_iter().flat_map(Map::values) {
        let any = rule.get("any").and_then(Value::as_array);
        let methods: Vec<(&str, &str)> = any
            .into_iter()
            .flatten()
            .filter_map(|method| {
                let text = |name: &str| method.get(name).and_then(Value::as_str);
                let id = text("id")?;
                Some((id, text("name").unwrap_or(id)))
            })
            .collect();
        if methods.iter().any(|(id, _)| payload.contains_key(*id)) {
            continue;
        }
        let Some((id, name)) = methods.first() else { continue };
        let code = prompt(&format!("Code of {name} (will be hidden): "))?;
        payload.insert((*id).to_owned(), json!([code]));
    }
    let sent = json!({ "mfa_request_id": wanted.get("mfa_request_id"), "mfa_payload": payload });
    session.ask("Error authenticating", Method::Put, "sys/mfa/validate", Some(&sent)).await
}

async fn with_token(session: &Session, login: &Login) -> Result<Reply, Failure> {
    let token = match login.parameters.first().map(String::as_str) {
        Some(word) => content(word.strip_prefix("token=").unwrap_or(word))?.trim().to_owned(),
        None => prompt("Token (will be hidden): ")?,
    };
    let options = RequestOptions { token: Some(Secret::new(token)), ..RequestOptions::default() };
    session.ask_with("Error authenticating", Method::Get, "auth/token/lookup-self", None, &options).await
}

fn taken(sent: &mut Map<String, Value>, name: &str) -> Result<String, Failure> {
    match sent.remove(name) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(Failure::Usage(format!("the method needs {name}=..."))),
    }
}
