//! `keyward secrets` and `keyward auth`: what is mounted where. Both speak of the same thing at two places.

use crate::cli::{Failure, Session};
use clap::Subcommand;
use keyward_authority_client::Method;
use serde_json::{Map, Value, json};

/// Manage what is mounted
#[derive(Subcommand)]
pub(crate) enum Mounts {
    /// List what is mounted
    List {
        /// Show more columns
        #[arg(long)]
        detailed: bool,
    },
    /// Mount an engine or method
    Enable {
        /// Its type, such as kv, transit, approle
        kind: String,
        /// Where; the type's name otherwise
        #[arg(long)]
        path: Option<String>,
        /// Words for people
        #[arg(long)]
        description: Option<String>,
        /// Version of the key-value engine
        #[arg(long)]
        version: Option<u8>,
        /// Option as key=value; may be given more than once
        #[arg(long, value_name = "KEY=VALUE")]
        options: Vec<String>,
        #[command(flatten)]
        tuning: Tuning,
    },
    /// Unmount, and remove everything kept there
    Disable {
        /// Where
        path: String,
    },
    /// Change a mount's settings
    Tune {
        /// Where
        path: String,
        /// Words for people
        #[arg(long)]
        description: Option<String>,
        #[command(flatten)]
        tuning: Tuning,
    },
    /// Move a mount to another path
    Move {
        /// From
        source: String,
        /// To
        destination: String,
    },
}

/// Settings of a mount
#[derive(clap::Args)]
pub(crate) struct Tuning {
    /// Default time to live of what it issues
    #[arg(long, value_name = "DURATION")]
    default_lease_ttl: Option<String>,
    /// Longest time to live of what it issues
    #[arg(long, value_name = "DURATION")]
    max_lease_ttl: Option<String>,
    /// hidden or unauth
    #[arg(long)]
    listing_visibility: Option<String>,
}

impl Tuning {
    fn body(&self) -> Map<String, Value> {
        let mut body = Map::new();
        for (name, value) in [
            ("default_lease_ttl", &self.default_lease_ttl),
            ("max_lease_ttl", &self.max_lease_ttl),
            ("listing_visibility", &self.listing_visibility),
        ] {
            if let Some(value) = value {
                body.insert(name.to_owned(), json!(value));
            }
        }
        body
    }
}

/// Secrets engines or auth methods.
#[derive(Clone, Copy)]
pub(crate) enum Class {
    Secrets,
    Auth,
}

impl Class {
    fn root(self) -> &'static str {
        match self {
            Class::Secrets => "sys/mounts",
            Class::Auth => "sys/auth",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Class::Secrets => "secrets engine",
            Class::Auth => "auth method",
        }
    }

    /// The mount's path as `sys/remount` names it.
    fn full(self, path: &str) -> String {
        match self {
            Class::Secrets => path.to_owned(),
            Class::Auth => format!("auth/{path}"),
        }
    }
}

pub(crate) async fn run(session: &Session, class: Class, command: &Mounts) -> Result<(), Failure> {
    let (root, name) = (class.root(), class.name());
    match command {
        Mounts::List { detailed } => list(session, class, *detailed).await,
        Mounts::Enable { kind, path, description, version, options, tuning } => {
            let path = path.as_deref().unwrap_or(kind).trim_matches('/').to_owned();
            let mut options = crate::cli::input::object(options)?;
            if let Some(version) = version {
                options.insert("version".to_owned(), json!(version.to_string()));
            }
            let mut body = json!({ "type": kind, "config": tuning.body(), "options": options });
            if let Some(description) = description {
                body["description"] = json!(description);
            }
            let done = format!("Success! Enabled the {kind} {name} at: {path}/");
            session
                .write(&format!("Error enabling the {name}"), &format!("{root}/{path}"), &body, &done)
                .await
        }
        Mounts::Disable { path } => {
            let at = format!("{root}/{}", path.trim_matches('/'));
            let reply =
                session.ask(&format!("Error disabling the {name}"), Method::Delete, &at, None).await?;
            session
                .output
                .reply_or(&reply, &format!("Success! Disabled the {name} (if it existed) at: {path}/"))
        }
        Mounts::Tune { path, description, tuning } => {
            let mut body = tuning.body();
            if let Some(description) = description {
                body.insert("description".to_owned(), json!(description));
            }
            let at = format!("{root}/{}/tune", path.trim_matches('/'));
            let done = format!("Success! Tuned the {name} at: {path}/");
            session.write(&format!("Error tuning the {name}"), &at, &Value::Object(body), &done).await
        }
        Mounts::Move { source, destination } => {
            let (from, to) =
                (class.full(source.trim_matches('/')), class.full(destination.trim_matches('/')));
            let body = json!({ "from": from, "to": to });
            let reply =
                session.ask("Error moving the mount", Method::Put, "sys/remount", Some(&body)).await?;
            match session.output.is_table() {
                true => session.output.done(&format!("Success! Moved the {name} from {from}/ to {to}/")),
                false => session.output.reply(&reply),
            }
        }
    }
}

async fn list(session: &Session, class: Class, detailed: bool) -> Result<(), Failure> {
    let reply = session.ask("Error listing the mounts", Method::Get, class.root(), None).await?;
    let data = reply.data().unwrap_or(Value::Null);
    let text = |value: &Value| match value {
        Value::Null => "n/a".to_owned(),
        other => crate::cli::output::plain(other),
    };
    let ttl = |value: &Value| match value.as_u64() {
        None | Some(0) => "system".to_owned(),
        Some(seconds) => seconds.to_string(),
    };
    let row = |(path, mount): (&String, &Value)| {
        let mut row = vec![path.clone(), text(&mount["type"]), text(&mount["accessor"])];
        if detailed {
            row.extend([
                ttl(&mount["config"]["default_lease_ttl"]),
                ttl(&mount["config"]["max_lease_ttl"]),
                text(&mount["options"]),
                text(&mount["uuid"]),
            ]);
        }
        row.push(text(&mount["description"]));
        row
    };
    let rows: Vec<Vec<String>> = data.as_object().into_iter().flatten().map(row).collect();
    let mut headings = vec!["Path", "Type", "Accessor"];
    if detailed {
        headings.extend(["Default TTL", "Max TTL", "Options", "UUID"]);
    }
    headings.push("Description");
    session.output.rows(&headings, &rows, &data)
}
