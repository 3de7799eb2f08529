//! `keyward dev`: an authority to try things on.

use crate::cli::{Failure, output};
use crate::server;
use crate::services::runtime;
use keyward_authority::fields::Fields;
use keyward_authority::refusal::Refusal;
use keyward_authority::request::{Media, Operation, Request, Shown};
use keyward_authority::seal::Shares;
use keyward_authority::settings::Settings;
use keyward_authority_server::clock::SteadyClock;
use keyward_authority_server::config::{self, Storage};
use keyward_authority_server::http::Limits;
use keyward_authority_server::listener::{Address, Listener};
use keyward_authority_server::node::Node;
use keyward_authority_server::server as authority;
use keyward_core::random;
use keyward_crypto::{Secret, SystemRandom};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Everything is kept in memory unless `--data` names a folder.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where to listen; loopback addresses only, since dev mode speaks plain HTTP
    #[arg(long, default_value = "127.0.0.1:8200", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Keep the data in this folder; in memory otherwise
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    if !args.listen.ip().is_loopback() {
        return Err(Failure::Usage(format!(
            "{} is not a loopback address: dev mode speaks plain HTTP and prints its keys. Listen on 127.0.0.1, or \
             run `keyward server` with a configuration file",
            args.listen.ip()
        )));
    }
    runtime()?.block_on(start(args))
}

async fn start(args: &Args) -> Result<(), Failure> {
    let storage = args.data.clone().map_or(Storage::Memory, Storage::Sqlite);
    let settings = Settings {
        storage_type: if args.data.is_some() { "sqlite" } else { "memory" }.to_owned(),
        ..Settings::default()
    };
    let store = server::open_store(&storage)?;
    let node = Arc::new(Node::new(store, Arc::new(SteadyClock::start()), Arc::new(SystemRandom), settings));
    let keys = unlock(&node, args.data.as_deref()).await?;
    let listener = config::Listener {
        address: Address::Tcp(args.listen),
        tls: None,
        limits: Limits::default(),
        forwarded: None,
    };
    let listener = Listener::bind(&listener).await.map_err(|why| {
        Failure::Usage(format!("cannot listen on {}: {why}; choose another with --listen", args.listen))
    })?;
    greet(listener.address(), &keys, args.data.as_deref())?;
    Ok(authority::run(node, vec![listener]).await?)
}

/// What opens the authority, as printed.
#[derive(Serialize, Deserialize)]
struct Keys {
    unseal_key: String,
    root_token: String,
}

/// Initialises and unseals. With a folder the keys are kept beside the data, so that the next start finds its
/// secrets again: dev mode trades their protection for that, and says so.
async fn unlock(node: &Arc<Node>, data: Option<&Path>) -> Result<Keys, Failure> {
    let file = data.map(|folder| folder.join("dev-keys.json"));
    let refused = |why: Refusal| Failure::Usage(why.to_string());
    if node.seal_state().map_err(refused)?.config.is_some() {
        let file = file.ok_or_else(|| Failure::Usage("a new store is initialised already".to_owned()))?;
        let unreadable = |why: String| {
            Failure::Usage(format!(
                "{} cannot be read ({why}), and without its unseal key the folder stays sealed: run `keyward server` \
                 on it, or name an empty folder",
                file.display()
            ))
        };
        let text = fs::read_to_string(&file).map_err(|why| unreadable(why.to_string()))?;
        let keys: Keys = serde_json::from_str(&text)
            .map_err(|_| unreadable("it is not what dev mode wrote".to_owned()))?;
        node.unseal(&keys.unseal_key).await.map_err(refused)?;
        mount(node, &keys.root_token).await?;
        return Ok(keys);
    }
    let mut made = node.prepare(Shares { shares: 1, threshold: 1 }).map_err(refused)?;
    let unseal_key = made.shares.first().map(|share| hex::encode(share.expose())).unwrap_or_default();
    let keys = Keys { unseal_key, root_token: made.root_token.expose().clone() };
    if let Some(file) = file {
        // Before there is anything to open: a start that is cut off must not leave a folder without its keys.
        keep(&file, &keys)?;
    }
    node.install(&mut made).await.map_err(refused)?;
    node.unseal(&keys.unseal_key).await.map_err(refused)?;
    mount(node, &keys.root_token).await?;
    Ok(keys)
}

fn keep(file: &Path, keys: &Keys) -> Result<(), Failure> {
    let text = serde_json::to_vec(keys).map_err(|why| Failure::Usage(why.to_string()))?;
    // What an earlier start left opens nothing, and may be anybody's to read.
    if let Err(why) = fs::remove_file(file)
        && why.kind() != ErrorKind::NotFound
    {
        return Err(why.into());
    }
    let mut opened = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    opened.write_all(&text)?;
    Ok(opened.sync_all()?)
}

/// What is there to try, where nothing is mounted yet: key-value secrets, and what opens sealed objects.
const MOUNTS: [(&str, &[u8]); 2] = [
    ("secret", br#"{"type":"kv","options":{"version":"2"},"description":"key/value secret storage"}"#),
    ("sealed", br#"{"type":"sealed","description":"sealed objects"}"#),
];

async fn mount(node: &Arc<Node>, token: &str) -> Result<(), Failure> {
    for (path, body) in MOUNTS {
        let request = Request {
            id: random::uuid(node.random()),
            operation: Operation::Update,
            path: format!("sys/mounts/{path}"),
            fields: Fields::parse(body).map_err(|why| Failure::Usage(why.to_string()))?,
            token: Some(Secret::new(token.to_owned())),
            shown: Shown::default(),
            wrap: None,
            headers: Vec::new(),
            remote: None,
            certificates: Default::default(),
            media: Media::Json,
            head: false,
            arrived: node.now(),
        };
        let reply = node.serve(request).await;
        let said = String::from_utf8_lossy(&reply.body);
        if !(200..300).contains(&reply.status) && !said.contains("path is already in use") {
            return Err(Failure::Usage(said.into_owned()));
        }
    }
    Ok(())
}

fn greet(address: &str, keys: &Keys, data: Option<&Path>) -> Result<(), Failure> {
    let kept = match data {
        None => "Everything is kept in memory, and gone when this ends.".to_owned(),
        Some(folder) => format!(
            "Everything is kept in {0}, with the keys beside it in {0}/dev-keys.json: for trying things out only.",
            folder.display()
        ),
    };
    output::line(&format!(
        "Keyward {} in dev mode: plain HTTP, one unseal key, a root token. {kept}\n\n\
         Address:     {address}\nRoot token:  {}\nUnseal key:  {}\n\n\
         Try, in another terminal:\n\n  \
         export VAULT_ADDR={address} VAULT_TOKEN={}\n  \
         keyward kv put secret/hello greeting=world\n  \
         keyward kv get secret/hello\n",
        env!("CARGO_PKG_VERSION"),
        keys.root_token,
        keys.unseal_key,
        keys.root_token,
    ))
}
