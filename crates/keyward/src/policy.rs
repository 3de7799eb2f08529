//! `keyward policy`: what tokens may do.

use crate::cli::input::{content, object};
use crate::cli::{Failure, Session, output};
use crate::data::nothing_there;
use clap::Subcommand;
use keyward_authority_client::Method;
use serde_json::{Value, json};

/// Manage ACL policies
#[derive(Subcommand)]
pub(crate) enum Policy {
    /// List policies
    List,
    /// Show a policy's text
    Read {
        /// Its name
        name: String,
    },
    /// Write a policy
    Write {
        /// Its name
        name: String,
        /// A file, or - for standard input
        file: String,
    },
    /// Remove a policy
    Delete {
        /// Its name
        name: String,
    },
    /// Explain by which rule a request is allowed or refused
    Explain {
        /// create, read, update, patch, delete or list
        operation: String,
        /// The path of the request, such as secret/data/app
        path: String,
        /// The request's parameters as key=value, for rules that look at them
        parameters: Vec<String>,
        /// Whose request: the token with this accessor; your own without it
        #[arg(long, conflicts_with = "policies")]
        accessor: Option<String>,
        /// Nobody's request: what a token with these policies might do
        #[arg(long = "policy", value_name = "NAME")]
        policies: Vec<String>,
    },
}

pub(crate) async fn run(session: &Session, command: &Policy) -> Result<(), Failure> {
    match command {
        Policy::List => {
            let reply = session.ask("Error listing policies", Method::Get, "sys/policy", None).await?;
            let data = reply.data().unwrap_or(Value::Null);
            if !session.output.is_table() {
                return session.output.value(&data["policies"]);
            }
            let mut names = data["policies"].as_array().into_iter().flatten().filter_map(Value::as_str);
            names.try_for_each(output::line)
        }
        Policy::Read { name } => {
            let path = format!("sys/policies/acl/{name}");
            let reply = session.ask("Error reading the policy", Method::Get, &path, None).await;
            let none =
                |why| nothing_there(why, &format!("There is no policy {name}: see `keyward policy list`"));
            let reply = reply.map_err(none)?;
            match reply.data().as_ref().and_then(|data| data.get("policy")).and_then(Value::as_str) {
                Some(text) if session.output.is_table() => output::line(text.trim_end()),
                _ => session.output.reply(&reply),
            }
        }
        Policy::Write { name, file } => {
            let text = if file == "-" { content("-")? } else { content(&format!("@{file}"))? };
            let path = format!("sys/policies/acl/{name}");
            let done = format!("Success! Uploaded policy: {name}");
            session.write("Error writing the policy", &path, &json!({ "policy": text }), &done).await
        }
        Policy::Delete { name } => {
            let path = format!("sys/policies/acl/{name}");
            let reply = session.ask("Error deleting the policy", Method::Delete, &path, None).await?;
            session.output.reply_or(&reply, &format!("Success! Deleted policy: {name}"))
        }
        Policy::Explain { operation, path, parameters, accessor, policies } => {
            let mut sent = json!({ "path": path, "operation": operation });
            if !parameters.is_empty() {
                sent["parameters"] = Value::Object(object(parameters)?);
            }
            if let Some(accessor) = accessor {
                sent["accessor"] = json!(accessor);
            }
            if !policies.is_empty() {
                sent["policies"] = json!(policies);
            }
            let place = "sys/policies/explain";
            let reply = session.ask("Error explaining", Method::Put, place, Some(&sent)).await?;
            match reply.data().as_ref().and_then(|data| data.get("text")).and_then(Value::as_str) {
                Some(text) if session.output.is_table() => output::line(text),
                _ => session.output.reply(&reply),
            }
        }
    }
}
