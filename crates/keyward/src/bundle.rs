//! `keyward bundle`: values for one recipient, once.

use crate::cli::output::raw;
use crate::cli::{Failure, Session};
use crate::sealing::common::IdentityArgs;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Subcommand;
use keyward_authority_client::Method;
use keyward_envelope::bundle::Bundle as Opened;
use keyward_sealer::files;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Hand values over to one recipient, once, for a short time
#[derive(Subcommand)]
pub(crate) enum Bundle {
    /// Make a bundle
    Create(Create),
    /// Redeem a bundle and write its values; nobody can redeem it a second time
    Open(Open),
    /// Show whether a bundle was redeemed, when and from where
    Status {
        /// Its id
        id: String,
        #[command(flatten)]
        at: At,
    },
    /// Make a bundle void
    Revoke {
        /// Its id
        id: String,
        #[command(flatten)]
        at: At,
    },
}

/// Where the engine is
#[derive(clap::Args)]
pub(crate) struct At {
    /// Where the engine is mounted
    #[arg(long, default_value = "sealed")]
    mount: String,
}

impl At {
    fn path(&self, below: &str) -> String {
        format!("{}/bundles{below}", self.mount.trim_matches('/'))
    }
}

/// What a bundle is bound to
#[derive(clap::Args)]
pub(crate) struct Binding {
    /// What it is for, such as agent
    #[arg(long, value_name = "NAME")]
    purpose: String,
    /// Namespace of the cluster it is for; none otherwise
    #[arg(long, value_name = "NAME")]
    for_namespace: Option<String>,
    #[command(flatten)]
    at: At,
}

/// A new bundle
#[derive(clap::Args)]
pub(crate) struct Create {
    /// Values: KEY=@FILE, or KEY=- for standard input
    #[arg(required = true, value_name = "KEY=@FILE")]
    items: Vec<String>,
    /// Age recipient, who alone can open it
    #[arg(long, value_name = "RECIPIENT")]
    recipient: String,
    /// Cluster it is redeemed in; that of the authority otherwise
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// How long it may be redeemed
    #[arg(long, value_name = "DURATION", default_value = "30m")]
    ttl: String,
    /// New file to write it to; standard output otherwise
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    #[command(flatten)]
    binding: Binding,
}

/// A bundle, and where its values go
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("out").required(true).args(["key", "to"])))]
pub(crate) struct Open {
    /// The bundle, or - for standard input
    file: PathBuf,
    #[command(flatten)]
    identities: IdentityArgs,
    /// Cluster it is redeemed in
    #[arg(long, value_name = "NAME")]
    cluster: String,
    /// Who must have made it: an SSH public key, as the engine's config shows it; anybody otherwise
    #[arg(long, value_name = "KEY")]
    issuer: Option<String>,
    /// Write this value alone to standard output; the others are lost
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// New folder to write the values to, a file each
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
    #[command(flatten)]
    binding: Binding,
}

pub(crate) async fn run(session: &Session, command: &Bundle) -> Result<(), Failure> {
    match command {
        Bundle::Create(args) => create(session, args).await,
        Bundle::Open(args) => open(session, args).await,
        Bundle::Status { id, at } => {
            let path = at.path(&format!("/{id}"));
            let reply = session.ask("Error reading the bundle", Method::Get, &path, None).await?;
            session.output.reply(&reply)
        }
        Bundle::Revoke { id, at } => {
            let path = at.path(&format!("/{id}"));
            let reply = session.ask("Error revoking the bundle", Method::Delete, &path, None).await?;
            session.output.reply_or(&reply, "Success! Nobody can redeem the bundle.")
        }
    }
}

/// Values may be any bytes, and never stand in an argument.
fn items(words: &[String]) -> Result<Map<String, Value>, Failure> {
    let read = |word: &String| {
        let (key, from) = word.split_once('=').unwrap_or((word, ""));
        let path = match from {
            "-" => Path::new("-"),
            from => Path::new(from.strip_prefix('@').ok_or_else(|| {
                Failure::Usage(format!(
                    "write {key}=@FILE, or {key}=- for standard input: an argument can be read by others"
                ))
            })?),
        };
        Ok((key.to_owned(), Value::String(STANDARD.encode(files::read(path)?.expose()))))
    };
    words.iter().map(read).collect()
}

async fn create(session: &Session, args: &Create) -> Result<(), Failure> {
    let body = json!({
        "recipient": args.recipient,
        "cluster": args.cluster,
        "purpose": args.binding.purpose,
        "namespace": args.binding.for_namespace,
        "ttl": args.ttl,
        "items": items(&args.items)?,
    });
    let reply =
        session.ask("Error making the bundle", Method::Put, &args.binding.at.path(""), Some(&body)).await?;
    let data = reply.data().unwrap_or_default();
    let text = |name: &str| data[name].as_str().unwrap_or_default();
    match &args.to {
        Some(to) => {
            files::create_private(to, text("bundle").as_bytes())?;
            let rows = [("Bundle", "id"), ("Expires", "expires"), ("Issuer", "issuer")];
            session.output.titled(&rows, &data)
        }
        None if session.output.is_table() => raw(text("bundle").as_bytes()),
        None => session.output.reply(&reply),
    }
}

async fn open(session: &Session, args: &Open) -> Result<(), Failure> {
    let keys = args.identities.read()?;
    let bundle = Opened::read(files::read(&args.file)?.expose(), &keys.unwraps())?;
    if args.issuer.as_deref().is_some_and(|issuer| issuer.trim() != bundle.issuer()) {
        return Err(Failure::Usage(format!(
            "the bundle was made by {}, and not by --issuer",
            bundle.issuer()
        )));
    }
    // Before it is used up: nothing may be in the way of what comes.
    if let Some(to) = &args.to {
        std::fs::create_dir(to).map_err(|why| {
            Failure::Usage(format!("{} cannot be made: {why}; name a new folder with --to", to.display()))
        })?;
    }
    let body = json!({
        "id": bundle.header().id,
        "proof": bundle.proof().expose(),
        "cluster": args.cluster,
        "purpose": args.binding.purpose,
        "namespace": args.binding.for_namespace,
    });
    let path = args.binding.at.path("/redeem");
    let reply = session.ask("Error redeeming the bundle", Method::Put, &path, Some(&body)).await?;
    let data = reply.data().unwrap_or_default();
    let share = keyward_crypto::Secret::new(data["share"].as_str().unwrap_or_default().to_owned());
    let values = bundle.open(share.expose())?;
    if let Some(key) = &args.key {
        let value = values.get(key).ok_or_else(|| {
            let there: Vec<&str> = values.keys().map(String::as_str).collect();
            Failure::Usage(format!("the bundle has no {key}: it had {}", there.join(", ")))
        })?;
        return raw(value.expose());
    }
    for (key, value) in
        args.to.iter().flat_map(|to| values.iter().map(move |(key, value)| (to.join(key), value)))
    {
        files::create_private(&key, value.expose())?;
    }
    session.output.done(&format!("Success! {} values were written.", values.len()))
}
