//! `keyward policy`: what tokens may do.

use crate::cli::input::content;
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
    }
}
