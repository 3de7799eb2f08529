//! `keyward audit`: audit devices, proof that a log is whole, and searches in it.

use crate::audit_search::{self, Search};
use crate::cli::{Failure, Session};
use clap::Subcommand;
use keyward_authority::audit::chain::Head;
use keyward_authority_client::Method;
use keyward_authority_server::audit::verify::report;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Manage audit devices, verify logs and search them
#[derive(Subcommand)]
pub(crate) enum Audit {
    /// List audit devices
    List,
    /// Enable an audit device
    Enable {
        /// Its type: file, socket, syslog or stdout
        kind: String,
        /// Options as key=value, such as file_path=/var/log/keyward-audit.log
        #[arg(value_name = "KEY=VALUE")]
        options: Vec<String>,
        /// Where; the type's name otherwise
        #[arg(long)]
        path: Option<String>,
        /// Words for people
        #[arg(long)]
        description: Option<String>,
    },
    /// Disable an audit device
    Disable {
        /// Where
        path: String,
    },
    /// Prove that a log is whole, or name its first break; needs no authority. The exit code is 0 when it is whole,
    /// 1 when it is broken, 2 when it cannot be read
    Verify(Verify),
    /// Find requests in a log, and say whether it is whole
    ///
    /// Who read this secret, what did this pod see, what is alive of it. Needs no authority but for --alive and
    /// --device. The exit code is 0 when the log is whole, 1 when it is not, 2 when it cannot be read.
    #[command(after_help = crate::examples::AUDIT_SEARCH)]
    Search(Box<Search>),
}

/// A log, its parts in order
#[derive(clap::Args)]
pub(crate) struct Verify {
    /// The log's files, oldest first
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// The last record the authority wrote, as SEQUENCE:HASH; without it a cut end cannot be seen
    #[arg(long, value_name = "SEQUENCE:HASH")]
    pub(crate) head: Option<String>,
}

pub(crate) async fn run(session: &Session, command: &Audit) -> Result<(), Failure> {
    match command {
        Audit::List => {
            let reply = session.ask("Error listing audit devices", Method::Get, "sys/audit", None).await?;
            let data = reply.data().unwrap_or(Value::Null);
            let text = |value: &Value| crate::cli::output::plain(value);
            let row = |(path, device): (&String, &Value)| {
                vec![
                    path.clone(),
                    text(&device["type"]),
                    text(&device["description"]),
                    text(&device["options"]),
                ]
            };
            let rows: Vec<Vec<String>> = data.as_object().into_iter().flatten().map(row).collect();
            if rows.is_empty() && session.output.is_table() {
                return Err(Failure::Remote("No audit devices are enabled.".to_owned()));
            }
            session.output.rows(&["Path", "Type", "Description", "Options"], &rows, &data)
        }
        Audit::Enable { kind, options, path, description } => {
            let path = path.as_deref().unwrap_or(kind).trim_matches('/');
            let body = json!({
                "type": kind,
                "options": crate::cli::input::object(options)?,
                "description": description.clone().unwrap_or_default(),
            });
            let done = format!("Success! Enabled the {kind} audit device at: {path}/");
            session.write("Error enabling the audit device", &format!("sys/audit/{path}"), &body, &done).await
        }
        Audit::Disable { path } => {
            let at = format!("sys/audit/{}", path.trim_matches('/'));
            let reply = session.ask("Error disabling the audit device", Method::Delete, &at, None).await?;
            session
                .output
                .reply_or(&reply, &format!("Success! Disabled audit device (if it was enabled) at: {path}/"))
        }
        Audit::Verify(verify) => run_verify(verify),
        Audit::Search(search) => audit_search::run(session, search).await,
    }
}

/// Reads the files and says what they prove.
pub(crate) fn run_verify(verify: &Verify) -> Result<(), Failure> {
    let expected = verify.head.as_deref().map(head).transpose()?;
    match report(&verify.files, expected, &mut std::io::stdout())? {
        0 => Ok(()),
        code => Err(Failure::Code(code)),
    }
}

fn head(text: &str) -> Result<Head, Failure> {
    let parts = text.split_once(':').and_then(|(seq, hash)| Head::new(seq.parse().ok()?, hash));
    parts.ok_or_else(|| {
        Failure::Usage("--head takes SEQUENCE:HASH, the hash in 64 hexadecimal digits".to_owned())
    })
}
