//! `keyward token`: tokens.

use crate::cli::{Failure, Session};
use clap::Subcommand;
use keyward_authority_client::Method;
use serde_json::{Map, Value, json};

/// Manage tokens
#[derive(Subcommand)]
pub(crate) enum Token {
    /// Create a token
    Create(Box<Create>),
    /// Show what is known of a token
    Lookup {
        /// The token; the session's own when absent
        token: Option<String>,
        /// The argument is an accessor
        #[arg(long)]
        accessor: bool,
    },
    /// Extend a token's life
    Renew {
        /// The token; the session's own when absent
        token: Option<String>,
        /// The argument is an accessor
        #[arg(long)]
        accessor: bool,
        /// By how much
        #[arg(long, short, value_name = "DURATION")]
        increment: Option<String>,
    },
    /// Revoke a token and its children
    Revoke {
        /// The token
        token: Option<String>,
        /// The argument is an accessor
        #[arg(long)]
        accessor: bool,
        /// Revoke the session's own token
        #[arg(long = "self", conflicts_with = "token")]
        own: bool,
        /// Leave the children as orphans
        #[arg(long, value_parser = ["orphan"])]
        mode: Option<String>,
    },
    /// Show what a token may do at a path
    Capabilities {
        /// The token, or the path of the session's own
        token_or_path: String,
        /// The path
        path: Option<String>,
    },
}

/// A new token
#[derive(clap::Args)]
pub(crate) struct Create {
    /// Policy; may be given more than once
    #[arg(long = "policy", value_name = "NAME")]
    policies: Vec<String>,
    /// Time to live
    #[arg(long, value_name = "DURATION")]
    ttl: Option<String>,
    /// Longest life, renewals included
    #[arg(long, value_name = "DURATION")]
    explicit_max_ttl: Option<String>,
    /// Renewed for ever by this much
    #[arg(long, value_name = "DURATION")]
    period: Option<String>,
    /// Uses before it ends
    #[arg(long)]
    use_limit: Option<u32>,
    /// Name for people
    #[arg(long)]
    display_name: Option<String>,
    /// Metadata as key=value; may be given more than once
    #[arg(long, value_name = "KEY=VALUE")]
    metadata: Vec<String>,
    /// service or batch
    #[arg(long = "type", value_parser = ["service", "batch"])]
    kind: Option<String>,
    /// Not a child of the session's token
    #[arg(long)]
    orphan: bool,
    /// Without the default policy
    #[arg(long)]
    no_default_policy: bool,
    /// May it be renewed
    #[arg(long)]
    renewable: Option<bool>,
    /// Token role
    #[arg(long)]
    role: Option<String>,
}

impl Create {
    fn request(&self) -> Result<(String, Value), Failure> {
        let mut body = Map::new();
        let texts = [
            ("ttl", &self.ttl),
            ("explicit_max_ttl", &self.explicit_max_ttl),
            ("period", &self.period),
            ("display_name", &self.display_name),
            ("type", &self.kind),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                body.insert(name.to_owned(), Value::from(text.as_str()));
            }
        }
        if !self.policies.is_empty() {
            body.insert("policies".to_owned(), json!(self.policies));
        }
        if !self.metadata.is_empty() {
            body.insert("meta".to_owned(), Value::Object(crate::cli::input::object(&self.metadata)?));
        }
        if let Some(limit) = self.use_limit {
            body.insert("num_uses".to_owned(), json!(limit));
        }
        if let Some(renewable) = self.renewable {
            body.insert("renewable".to_owned(), json!(renewable));
        }
        if self.no_default_policy {
            body.insert("no_default_policy".to_owned(), json!(true));
        }
        let path = match (&self.role, self.orphan) {
            (Some(role), _) => format!("auth/token/create/{role}"),
            (None, true) => "auth/token/create-orphan".to_owned(),
            (None, false) => "auth/token/create".to_owned(),
        };
        Ok((path, Value::Object(body)))
    }
}

pub(crate) async fn run(session: &Session, command: &Token) -> Result<(), Failure> {
    match command {
        Token::Create(create) => {
            let (path, body) = create.request()?;
            session
                .output
                .reply(&session.ask("Error creating a token", Method::Post, &path, Some(&body)).await?)
        }
        Token::Lookup { token, accessor } => {
            let reply = match named(token, *accessor, "lookup")? {
                None => {
                    session
                        .ask("Error looking up the token", Method::Get, "auth/token/lookup-self", None)
                        .await?
                }
                Some((path, body)) => {
                    session.ask("Error looking up the token", Method::Post, &path, Some(&body)).await?
                }
            };
            session.output.reply(&reply)
        }
        Token::Renew { token, accessor, increment } => {
            let (path, mut body) =
                named(token, *accessor, "renew")?.unwrap_or(("auth/token/renew-self".to_owned(), json!({})));
            if let Some(increment) = increment {
                body["increment"] = json!(increment);
            }
            session
                .output
                .reply(&session.ask("Error renewing the token", Method::Put, &path, Some(&body)).await?)
        }
        Token::Revoke { token, accessor, own, mode } => {
            let (path, body) = match (own, mode, named(token, *accessor, "revoke")?) {
                (true, ..) => ("auth/token/revoke-self".to_owned(), json!({})),
                (false, Some(_), Some((_, body))) if !*accessor => {
                    ("auth/token/revoke-orphan".to_owned(), body)
                }
                (false, _, Some(named)) => named,
                (false, _, None) => {
                    return Err(Failure::Usage("name the token to revoke, or give --self".to_owned()));
                }
            };
            session
                .write("Error revoking the token", &path, &body, "Success! Revoked token (if it existed)")
                .await
        }
        Token::Capabilities { token_or_path, path } => {
            let (at, body) = match path {
                Some(path) => ("sys/capabilities", json!({ "token": token_or_path, "paths": [path] })),
                None => ("sys/capabilities-self", json!({ "paths": [token_or_path] })),
            };
            let reply = session.ask("Error asking for capabilities", Method::Post, at, Some(&body)).await?;
            let data = reply.data().unwrap_or(Value::Null);
            let names = data["capabilities"].as_array().into_iter().flatten().filter_map(Value::as_str);
            match session.output.is_table() {
                true => crate::cli::output::line(&names.collect::<Vec<_>>().join(", ")),
                false => session.output.value(&data["capabilities"]),
            }
        }
    }
}

/// The path and body that name a token or accessor for `verb`; none for the session's own.
fn named(token: &Option<String>, accessor: bool, verb: &str) -> Result<Option<(String, Value)>, Failure> {
    match (token, accessor) {
        (None, true) => Err(Failure::Usage("--accessor needs the accessor as an argument".to_owned())),
        (None, false) => Ok(None),
        (Some(name), true) => Ok(Some((format!("auth/token/{verb}-accessor"), json!({ "accessor": name })))),
        (Some(name), false) => Ok(Some((format!("auth/token/{verb}"), json!({ "token": name })))),
    }
}
