//! `keyward kv`: secrets, whichever version of the key-value engine holds them.

use crate::cli::input::object;
use crate::cli::{Failure, Session};
use crate::data::nothing_there;
use clap::Subcommand;
use keyward_authority_client::{Method, Reply, RequestOptions};
use serde_json::{Map, Value, json};

/// Keep and read secrets
#[derive(Subcommand)]
pub(crate) enum Kv {
    /// Read a secret
    Get {
        #[command(flatten)]
        place: Place,
        /// The version to read; the newest otherwise
        #[arg(long)]
        version: Option<u64>,
    },
    /// Write a secret: all of it
    Put {
        #[command(flatten)]
        place: Place,
        /// key=value, key=@file, key=- for standard input, @file.json or - for a whole object
        #[arg(value_name = "KEY=VALUE", required = true)]
        data: Vec<String>,
        /// The version this write relies on; 0 for none yet
        #[arg(long)]
        cas: Option<u64>,
    },
    /// Change some values of a secret and keep the others
    Patch {
        #[command(flatten)]
        place: Place,
        /// key=value, key=@file, key=- for standard input
        #[arg(value_name = "KEY=VALUE", required = true)]
        data: Vec<String>,
        /// The version this write relies on
        #[arg(long)]
        cas: Option<u64>,
    },
    /// List secrets
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Delete the newest version, or those named; they can be restored
    Delete {
        #[command(flatten)]
        place: Place,
        /// Versions, separated by commas
        #[arg(long, value_delimiter = ',')]
        versions: Vec<u64>,
    },
    /// Restore deleted versions
    Undelete {
        #[command(flatten)]
        place: Place,
        /// Versions, separated by commas
        #[arg(long, value_delimiter = ',', required = true)]
        versions: Vec<u64>,
    },
    /// Remove versions for ever
    Destroy {
        #[command(flatten)]
        place: Place,
        /// Versions, separated by commas
        #[arg(long, value_delimiter = ',', required = true)]
        versions: Vec<u64>,
    },
    /// Write an old version again as the newest
    Rollback {
        #[command(flatten)]
        place: Place,
        /// The version to go back to
        #[arg(long)]
        version: u64,
    },
    /// What is known of a secret besides its values
    #[command(subcommand)]
    Metadata(Metadata),
    /// Turn a version 1 mount into version 2
    EnableVersioning {
        /// The mount
        mount: String,
    },
}

/// What is known of a secret besides its values
#[derive(Subcommand)]
pub(crate) enum Metadata {
    /// Read it
    Get {
        #[command(flatten)]
        place: Place,
    },
    /// Write it
    Put {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        settings: Settings,
    },
    /// Change some of it
    Patch {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        settings: Settings,
    },
    /// Remove it with all versions
    Delete {
        #[command(flatten)]
        place: Place,
    },
}

/// Where the secret is
#[derive(clap::Args)]
pub(crate) struct Place {
    /// The mount; the path's own first part otherwise
    #[arg(long, short, value_name = "MOUNT")]
    mount: Option<String>,
    /// Path of the secret, such as secret/app, or app with --mount secret
    path: String,
}

/// What metadata can be set
#[derive(clap::Args)]
pub(crate) struct Settings {
    /// Versions to keep
    #[arg(long)]
    max_versions: Option<u64>,
    /// Refuse writes without --cas
    #[arg(long)]
    cas_required: Option<bool>,
    /// Versions are deleted so long after they were made
    #[arg(long, value_name = "DURATION")]
    delete_version_after: Option<String>,
    /// Words about the secret, as key=value; may be given more than once
    #[arg(long, value_name = "KEY=VALUE")]
    custom_metadata: Vec<String>,
}

impl Settings {
    fn body(&self) -> Result<Value, Failure> {
        let mut body = Map::new();
        let mut set =
            |name: &str, value: Option<Value>| value.map(|value| body.insert(name.to_owned(), value));
        set("max_versions", self.max_versions.map(Value::from));
        set("cas_required", self.cas_required.map(Value::from));
        set("delete_version_after", self.delete_version_after.clone().map(Value::from));
        if !self.custom_metadata.is_empty() {
            set("custom_metadata", Some(Value::Object(object(&self.custom_metadata)?)));
        }
        Ok(Value::Object(body))
    }
}

/// Where a secret is, once the authority has said what is mounted there.
struct Found {
    mount: String,
    path: String,
    versioned: bool,
}

impl Found {
    /// The API path of this secret under `part` (`data`, `metadata`, ...), which version 1 does not have.
    fn at(&self, part: &str) -> String {
        match self.versioned {
            true => format!("{}{part}/{}", self.mount, self.path),
            false => format!("{}{}", self.mount, self.path),
        }
    }

    fn versioned(&self, what: &str) -> Result<(), Failure> {
        match self.versioned {
            true => Ok(()),
            false => Err(Failure::Usage(format!(
                "{what} needs version 2 of the key-value engine, and {} is version 1: run `keyward kv \
                 enable-versioning {}` first",
                self.mount, self.mount
            ))),
        }
    }
}

async fn find(session: &Session, place: &Place) -> Result<Found, Failure> {
    let mount = place.mount.as_deref().map(|mount| mount.trim_matches('/'));
    let path = place.path.trim_start_matches('/');
    let full = mount.map_or_else(|| path.to_owned(), |mount| format!("{mount}/{path}"));
    let preflight = format!("sys/internal/ui/mounts/{}", full.trim_end_matches('/'));
    let reply = session.ask(&format!("Error looking for {full}"), Method::Get, &preflight, None).await?;
    let data = reply.data().unwrap_or(Value::Null);
    let at = data.get("path").and_then(Value::as_str).unwrap_or("");
    let version = data.pointer("/options/version").and_then(Value::as_str);
    let below = full.strip_prefix(at.trim_end_matches('/')).unwrap_or("").trim_start_matches('/');
    Ok(Found { mount: at.to_owned(), path: below.to_owned(), versioned: version == Some("2") })
}

pub(crate) async fn run(session: &Session, command: &Kv) -> Result<(), Failure> {
    match command {
        Kv::Get { place, version } => get(session, place, *version).await,
        Kv::Put { place, data, cas } => put(session, place, data, *cas).await,
        Kv::Patch { place, data, cas } => patch(session, place, data, *cas).await,
        Kv::List { place } => {
            let found = find(session, place).await?;
            let path = found.at("metadata");
            let reply = session.ask(&format!("Error listing {path}"), Method::List, &path, None).await;
            session
                .output
                .keys(&reply.map_err(|why| nothing_there(why, &format!("No value found at {path}")))?)
        }
        Kv::Delete { place, versions } if versions.is_empty() => {
            let path = find(session, place).await?.at("data");
            let reply = session.ask(&format!("Error deleting {path}"), Method::Delete, &path, None).await?;
            session.output.reply_or(&reply, &format!("Success! Data deleted (if it existed) at: {path}"))
        }
        Kv::Delete { place, versions } => change(session, place, "delete", versions).await,
        Kv::Undelete { place, versions } => change(session, place, "undelete", versions).await,
        Kv::Destroy { place, versions } => change(session, place, "destroy", versions).await,
        Kv::Rollback { place, version } => roll_back(session, place, *version).await,
        Kv::Metadata(command) => metadata(session, command).await,
        Kv::EnableVersioning { mount } => {
            let path = format!("sys/mounts/{}/tune", mount.trim_matches('/'));
            let body = json!({ "options": { "version": "2" } });
            session
                .write(
                    "Error tuning",
                    &path,
                    &body,
                    &format!("Success! Tuned the secrets engine at: {mount}/"),
                )
                .await
        }
    }
}

async fn read(session: &Session, found: &Found, version: Option<u64>) -> Result<Reply, Failure> {
    let query = version.map(|version| ("version".to_owned(), version.to_string())).into_iter().collect();
    let options = RequestOptions { query, ..RequestOptions::default() };
    let path = found.at("data");
    let reply = session.ask_with(&format!("Error reading {path}"), Method::Get, &path, None, &options).await;
    reply.map_err(|why| no_version(why, found, version))
}

/// No value: none yet, or one that was deleted, of which the metadata is left.
fn no_version(why: Failure, found: &Found, version: Option<u64>) -> Failure {
    let (path, secret) = (found.at("data"), format!("{}{}", found.mount, found.path));
    let Failure::Absent { data, .. } = &why else { return why };
    let part =
        |name: &str| data.as_ref().and_then(|data| data.pointer(&format!("/metadata/{name}"))).cloned();
    let said = match (part("version"), part("destroyed"), part("deletion_time"), version) {
        (Some(number), Some(Value::Bool(true)), _, _) => {
            format!("No value found at {path}: version {number} is destroyed")
        }
        (Some(number), _, Some(Value::String(when)), _) => format!(
            "No value found at {path}: version {number} was deleted at {when}\n  Restore it with `keyward kv undelete \
             --versions={number} {secret}`."
        ),
        (_, _, _, Some(wanted)) => format!(
            "No value found at {path}: there is no version {wanted}\n  See which there are with `keyward kv metadata get \
             {secret}`."
        ),
        _ => format!("No value found at {path}"),
    };
    nothing_there(why, &said)
}

async fn get(session: &Session, place: &Place, version: Option<u64>) -> Result<(), Failure> {
    let found = find(session, place).await?;
    if version.is_some() {
        found.versioned("--version")?;
    }
    let reply = read(session, &found, version).await?;
    let data = reply.data().unwrap_or(Value::Null);
    if !session.output.is_table() || !found.versioned {
        return session.output.reply(&reply);
    }
    let part = |name: &str| data.get(name).cloned().unwrap_or(Value::Null);
    crate::cli::output::line(&format!(
        "====== Secret Path ======\n{}\n\n======= Metadata =======",
        found.at("data")
    ))?;
    session.output.value(&part("metadata"))?;
    crate::cli::output::line("\n====== Data ======")?;
    session.output.value(&part("data"))
}

fn with_cas(data: Value, cas: Option<u64>) -> Value {
    match cas {
        Some(cas) => json!({ "data": data, "options": { "cas": cas } }),
        None => json!({ "data": data }),
    }
}

async fn put(session: &Session, place: &Place, data: &[String], cas: Option<u64>) -> Result<(), Failure> {
    // A mistake in the words is told before anything is sent.
    let data = Value::Object(object(data)?);
    let found = find(session, place).await?;
    let path = found.at("data");
    let body = if found.versioned {
        with_cas(data, cas)
    } else {
        if cas.is_some() {
            found.versioned("--cas")?;
        }
        data
    };
    let done = format!("Success! Data written to: {path}");
    session.write(&format!("Error writing {path}"), &path, &body, &done).await
}

async fn patch(session: &Session, place: &Place, data: &[String], cas: Option<u64>) -> Result<(), Failure> {
    let body = with_cas(Value::Object(object(data)?), cas);
    let found = find(session, place).await?;
    found.versioned("patch")?;
    let path = found.at("data");
    let reply = session.ask(&format!("Error patching {path}"), Method::Patch, &path, Some(&body)).await?;
    session.output.reply(&reply)
}

async fn change(session: &Session, place: &Place, verb: &str, versions: &[u64]) -> Result<(), Failure> {
    let found = find(session, place).await?;
    found.versioned(verb)?;
    let path = found.at(verb);
    let done = format!("Success! Data written to: {path}");
    session.write(&format!("Error writing {path}"), &path, &json!({ "versions": versions }), &done).await
}

async fn roll_back(session: &Session, place: &Place, version: u64) -> Result<(), Failure> {
    let found = find(session, place).await?;
    found.versioned("rollback")?;
    let newest = read(session, &found, None).await.ok().and_then(|reply| reply.data());
    let current = newest.as_ref().and_then(|data| data.pointer("/metadata/version")).and_then(Value::as_u64);
    let old = read(session, &found, Some(version)).await?.data().unwrap_or(Value::Null);
    let data = old.get("data").cloned().filter(|data| !data.is_null());
    let data = data.ok_or_else(|| Failure::Usage(format!("version {version} has no value to go back to")))?;
    let path = found.at("data");
    let done = format!("Success! Data written to: {path}");
    session.write(&format!("Error writing {path}"), &path, &with_cas(data, current), &done).await
}

async fn metadata(session: &Session, command: &Metadata) -> Result<(), Failure> {
    let (doing, place, method, body) = match command {
        Metadata::Get { place } => ("Error reading", place, Method::Get, None),
        Metadata::Put { place, settings } => ("Error writing", place, Method::Put, Some(settings.body()?)),
        Metadata::Patch { place, settings } => {
            ("Error patching", place, Method::Patch, Some(settings.body()?))
        }
        Metadata::Delete { place } => ("Error deleting", place, Method::Delete, None),
    };
    let found = find(session, place).await?;
    found.versioned("metadata")?;
    let path = found.at("metadata");
    let reply = session.ask(&format!("{doing} {path}"), method, &path, body.as_ref()).await;
    let reply = reply.map_err(|why| nothing_there(why, &format!("No value found at {path}")))?;
    let done = match method {
        Method::Delete => format!("Success! Data deleted (if it existed) at: {path}"),
        _ => format!("Success! Data written to: {path}"),
    };
    session.output.reply_or(&reply, &done)
}
