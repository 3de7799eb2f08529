//! `keyward kms`: the Kubernetes KMS v2 plugin, and what looks after it.

use crate::cli::output::{Output, line};
use crate::cli::{Connection, Failure, OutputArgs, client_config};
use crate::services::{duration, runtime};
use clap::Subcommand;
use keyward_keystores::{Credentials, TransitOptions};
use keyward_kms_plugin::doctor::{DoctorOptions, Verdict, doctor};
use keyward_kms_plugin::inspect::{self, SnapshotQuery};
use keyward_kms_plugin::{
    LogLevel, Options, PluginClient, PluginError, ProviderOptions, ServeError, request_epoch, serve,
};
use serde::Serialize;
use serde_json::json;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest value that is read: etcd's own limit is far below.
const LONGEST_VALUE: u64 = 64 << 20;
const SOCKET: &str = "/run/keyward/kms.sock";
const STATE: &str = "/var/lib/keyward/kms";

/// Encrypt what a kube-apiserver writes to etcd
#[derive(Subcommand)]
pub(crate) enum Kms {
    /// Serve the KMS v2 contract on a Unix socket
    Serve(Box<ServeArgs>),
    /// Ask a plugin for its status; exit code 2 when it is unwell
    Status(StatusArgs),
    /// Make the plugin take a new key with its next check, or at once when it gets SIGHUP
    Rotate(RotateArgs),
    /// Examine everything between the API server and the provider; exit code 2 when something fails
    Doctor(Box<DoctorArgs>),
    /// Tell which key protects what, from an etcd value or snapshot; needs neither etcd nor the plugin
    Inspect(InspectArgs),
}

/// Nothing here is secret: secrets are in the files named. Every option can be given in the environment instead.
#[derive(clap::Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    socket: SocketArgs,
    #[command(flatten)]
    provider: ProviderArgs,
    /// Folder for the registry of keys; it belongs to one plugin alone
    #[arg(long, value_name = "FOLDER", default_value = STATE, env = "KEYWARD_KMS_STATE")]
    state: PathBuf,
    /// Name of the Kubernetes cluster; the same on every node, and never to be changed. Clusters that share a key
    /// need different ones
    #[arg(long, value_name = "NAME", default_value = "kubernetes", env = "KEYWARD_KMS_CLUSTER")]
    cluster: String,
    /// Least epoch; raising it, on every node, makes a new key
    #[arg(long, value_name = "NUMBER", default_value_t = 1, env = "KEYWARD_KMS_EPOCH")]
    epoch: u64,
    /// User id that may connect besides root and the plugin's own; may be given more than once
    #[arg(long = "allow-uid", value_name = "UID", value_delimiter = ',', env = "KEYWARD_KMS_ALLOW_UIDS")]
    allow_uids: Vec<u32>,
    /// How often the provider is tried
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration, env = "KEYWARD_KMS_CHECK_INTERVAL")]
    check_interval: Duration,
    /// How long the status stays good while the provider is silent
    #[arg(long, value_name = "DURATION", default_value = "90s", value_parser = duration, env = "KEYWARD_KMS_MAX_STALENESS")]
    max_staleness: Duration,
    /// How much is told on standard error
    #[arg(long, value_enum, default_value = "info", env = "KEYWARD_KMS_LOG_LEVEL")]
    log_level: Level,
}

#[derive(clap::Args)]
pub(crate) struct SocketArgs {
    /// The plugin's socket, as a path or as unix:///PATH
    #[arg(long, value_name = "PATH", default_value = SOCKET, env = "KEYWARD_KMS_SOCKET")]
    socket: String,
}

#[derive(clap::Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    socket: SocketArgs,
    /// Only whether the plugin answers at all, well or unwell: what a liveness probe wants
    #[arg(long)]
    alive: bool,
}

/// What wraps the local keys: a transit key of the authority at --address, or an age identity in a file
#[derive(clap::Args)]
#[command(next_help_heading = "Provider")]
pub(crate) struct ProviderArgs {
    /// Which provider; known from --key or --identity otherwise
    #[arg(long, value_enum, env = "KEYWARD_KMS_PROVIDER")]
    provider: Option<Provider>,
    /// Key in the transit engine of Keyward, Vault or OpenBao
    #[arg(
        long,
        alias = "transit-key",
        value_name = "NAME",
        env = "KEYWARD_KMS_KEY",
        conflicts_with = "identity"
    )]
    key: Option<String>,
    /// Where transit is mounted
    #[arg(long, value_name = "PATH", default_value = "transit", env = "KEYWARD_KMS_MOUNT")]
    mount: String,
    /// File with a token; read again when it changes
    #[arg(long, value_name = "FILE", env = "KEYWARD_KMS_TOKEN_FILE", conflicts_with = "role_id_file")]
    token_file: Option<PathBuf>,
    /// File with an AppRole's role id
    #[arg(long, value_name = "FILE", env = "KEYWARD_KMS_ROLE_ID_FILE", requires = "secret_id_file")]
    role_id_file: Option<PathBuf>,
    /// File with a secret id; read again with each login
    #[arg(long, value_name = "FILE", env = "KEYWARD_KMS_SECRET_ID_FILE", requires = "role_id_file")]
    secret_id_file: Option<PathBuf>,
    /// Where AppRole is mounted
    #[arg(long, value_name = "PATH", default_value = "approle", env = "KEYWARD_KMS_APPROLE_MOUNT")]
    approle_mount: String,
    /// How long the authority may take; the API server itself waits 3 s
    #[arg(long, value_name = "DURATION", default_value = "2500ms", value_parser = duration, env = "KEYWARD_KMS_PROVIDER_TIMEOUT")]
    provider_timeout: Duration,
    /// File with an age identity, for a laptop or a rehearsal
    #[arg(long, alias = "age-identity", value_name = "FILE", env = "KEYWARD_KMS_IDENTITY")]
    identity: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Provider {
    /// A key in the transit engine of Keyward, Vault or OpenBao
    Transit,
    /// An age identity in a file
    AgeFile,
}

#[derive(clap::Args)]
pub(crate) struct RotateArgs {
    /// The plugin's state folder
    #[arg(long, value_name = "FOLDER", default_value = STATE, env = "KEYWARD_KMS_STATE")]
    state: PathBuf,
    /// The epoch to go to, the same on every node; one more than the present otherwise
    #[arg(long, value_name = "NUMBER")]
    epoch: Option<u64>,
}

#[derive(clap::Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    socket: SocketArgs,
    #[command(flatten)]
    provider: ProviderArgs,
    /// The plugin's state folder
    #[arg(long, value_name = "FOLDER", env = "KEYWARD_KMS_STATE")]
    state: Option<PathBuf>,
    /// The API server's encryption configuration
    #[arg(long, value_name = "FILE")]
    encryption_config: Option<PathBuf>,
    /// The API server's static pod manifest
    #[arg(long, value_name = "FILE")]
    apiserver_manifest: Option<PathBuf>,
    /// How long the API server waits for the plugin
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = duration)]
    timeout: Duration,
}

#[derive(clap::Args)]
pub(crate) struct InspectArgs {
    /// File with a value as etcd holds it; - for standard input
    #[arg(long, value_name = "FILE", required_unless_present = "snapshot", conflicts_with = "snapshot")]
    value: Option<PathBuf>,
    /// File made by `etcdctl snapshot save`, or the db file of a stopped etcd
    #[arg(long, value_name = "FILE")]
    snapshot: Option<PathBuf>,
    /// The API server's --etcd-prefix
    #[arg(long, value_name = "PREFIX", default_value = "/registry")]
    prefix: String,
    /// Resource to name the objects of, such as secrets; secrets and all that are encrypted otherwise
    #[arg(long = "resource", value_name = "NAME")]
    resources: Vec<String>,
    /// Exit with code 2 and name the objects unless all are under this key
    #[arg(long, value_name = "KEY", requires = "snapshot")]
    all_under: Option<String>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Level {
    /// What an operator must act on
    Error,
    /// And what went wrong
    Warn,
    /// And what changes
    Info,
    /// And every request
    Debug,
}

pub(crate) fn run(connection: &Connection, output: &OutputArgs, command: Kms) -> Result<(), Failure> {
    let output = Output::from(output);
    let runtime = runtime()?;
    match command {
        Kms::Serve(args) => runtime.block_on(serve(args.options(connection)?)).map_err(Failure::from),
        Kms::Status(args) => runtime.block_on(status(&output, &args)),
        Kms::Rotate(args) => rotate(&args),
        Kms::Doctor(args) => runtime.block_on(examine(&output, connection, *args)),
        Kms::Inspect(args) => look(&output, &args),
    }
}

impl From<ServeError> for Failure {
    fn from(why: ServeError) -> Failure {
        Failure::Usage(why.to_string())
    }
}

impl ServeArgs {
    fn options(self, connection: &Connection) -> Result<Options, Failure> {
        let provider = self.provider.options(connection)?.ok_or_else(|| {
            Failure::Usage("name a provider: --key with its credentials, or --identity".to_owned())
        })?;
        let mut options = Options::new(self.socket.path()?, self.state, self.cluster, provider);
        options.epoch = self.epoch;
        options.allowed_uids = self.allow_uids;
        options.check_interval = self.check_interval;
        options.max_staleness = self.max_staleness;
        options.log = match self.log_level {
            Level::Error => LogLevel::Error,
            Level::Warn => LogLevel::Warn,
            Level::Info => LogLevel::Info,
            Level::Debug => LogLevel::Debug,
        };
        Ok(options)
    }
}

impl SocketArgs {
    fn path(&self) -> Result<PathBuf, Failure> {
        // A plain path may be relative, as any other; an endpoint is written as the API server has it.
        let absolute = match self.socket.contains("://") || self.socket.starts_with('@') {
            true => self.socket.clone(),
            false => std::path::absolute(&self.socket)?.to_string_lossy().into_owned(),
        };
        keyward_kms_plugin::socket_path(&absolute).map_err(Failure::Usage)
    }
}

impl ProviderArgs {
    /// The provider named; none when nothing names one.
    fn options(&self, connection: &Connection) -> Result<Option<ProviderOptions>, Failure> {
        let lacks = |what: &str| Failure::Usage(format!("the provider lacks {what}"));
        let known = match (&self.key, &self.identity) {
            (Some(_), _) => Some(Provider::Transit),
            (None, Some(_)) => Some(Provider::AgeFile),
            (None, None) => None,
        };
        match (self.provider.or(known), &self.key, &self.identity) {
            (None, _, _) => Ok(None),
            (Some(Provider::AgeFile), None, Some(path)) => Ok(Some(ProviderOptions::AgeFile(path.clone()))),
            (Some(Provider::AgeFile), _, _) => Err(lacks("its file: name it with --identity, and no --key")),
            (Some(Provider::Transit), Some(key), None) => self.transit(connection, key).map(Some),
            (Some(Provider::Transit), _, _) => Err(lacks("its key: name it with --key, and no --identity")),
        }
    }

    fn transit(&self, connection: &Connection, key: &str) -> Result<ProviderOptions, Failure> {
        let credentials = match (&self.token_file, &self.role_id_file, &self.secret_id_file) {
            (Some(file), _, _) => Credentials::TokenFile(file.clone()),
            (None, Some(role), Some(secret)) => Credentials::AppRole {
                mount: self.approle_mount.clone(),
                role_id_file: role.clone(),
                secret_id_file: secret.clone(),
            },
            _ => {
                let why = "name credentials: --token-file, or --role-id-file and --secret-id-file";
                return Err(Failure::Usage(why.to_owned()));
            }
        };
        let mut client = client_config(connection)?;
        client.timeout = self.provider_timeout;
        let options = TransitOptions { client, mount: self.mount.clone(), key: key.to_owned(), credentials };
        Ok(ProviderOptions::Transit(Box::new(options)))
    }

    fn secret_files(&self) -> Vec<PathBuf> {
        let files = [&self.token_file, &self.secret_id_file, &self.identity];
        files.into_iter().flatten().cloned().collect()
    }
}

async fn status(output: &Output, args: &StatusArgs) -> Result<(), Failure> {
    let unwell = |error: PluginError| match error {
        PluginError::Unreachable(_) => Failure::Remote(format!(
            "{error}\n  Check that `keyward kms serve` runs and that --socket (KEYWARD_KMS_SOCKET) is its own; `keyward kms \
             doctor` examines everything."
        )),
        PluginError::Refused(_) => Failure::Remote(error.to_string()),
    };
    let mut client =
        PluginClient::connect(&args.socket.path()?, Duration::from_secs(3)).await.map_err(unwell)?;
    let status = match client.status().await {
        Err(PluginError::Refused(why)) if args.alive => return output.done(&format!("It answers: {why}")),
        other => other.map_err(unwell)?,
    };
    let shown = json!({"version": status.version, "healthz": status.healthz, "key_id": status.key_id});
    output.value(&shown)?;
    if status.healthz == "ok" { Ok(()) } else { Err(Failure::Code(2)) }
}

fn rotate(args: &RotateArgs) -> Result<(), Failure> {
    let epoch = request_epoch(&args.state, args.epoch).map_err(Failure::Usage)?;
    line(&format!(
        "Epoch {epoch} asked for. The plugin takes a new key with its next check, or at once when it gets SIGHUP.\n\
         Ask for epoch {epoch} on every other node too; then rewrite the secrets, and see with `keyward kms inspect`\n\
         that none is left under the old key."
    ))
}

async fn examine(output: &Output, connection: &Connection, args: DoctorArgs) -> Result<(), Failure> {
    let options = DoctorOptions {
        socket: args.socket.path()?,
        timeout: args.timeout,
        state: args.state,
        secret_files: args.provider.secret_files(),
        provider: args.provider.options(connection)?,
        encryption_config: args.encryption_config,
        apiserver_manifest: args.apiserver_manifest,
    };
    let report = doctor(options).await?;
    show(output, &report, || report.table())?;
    if report.verdict == Verdict::Failed { Err(Failure::Code(2)) } else { Ok(()) }
}

fn look(output: &Output, args: &InspectArgs) -> Result<(), Failure> {
    if let Some(path) = &args.value {
        let report = inspect::inspect_value(&read_value(path)?);
        return show(output, &report, || inspect::value_table(&report));
    }
    let path = args.snapshot.as_deref().unwrap_or(Path::new(""));
    let query = SnapshotQuery { prefix: args.prefix.clone(), resources: args.resources.clone() };
    let report = inspect::inspect_snapshot(path, &query).map_err(Failure::Usage)?;
    show(output, &report, || inspect::snapshot_table(&report))?;
    let Some(key) = &args.all_under else { return Ok(()) };
    match report.not_under(key).as_slice() {
        [] => Ok(()),
        left => {
            Err(Failure::Remote(format!("{} objects are not under {key}:\n{}", left.len(), left.join("\n"))))
        }
    }
}

fn read_value(path: &Path) -> Result<Vec<u8>, Failure> {
    let unreadable =
        |why: std::io::Error| Failure::Usage(format!("{} cannot be read: {why}", path.display()));
    let mut source: Box<dyn Read> = match path.to_str() {
        Some("-") => Box::new(std::io::stdin().lock()),
        _ => Box::new(std::fs::File::open(path).map_err(unreadable)?),
    };
    let mut value = Vec::new();
    source.by_ref().take(LONGEST_VALUE).read_to_end(&mut value).map_err(unreadable)?;
    Ok(value)
}

fn show(output: &Output, report: &impl Serialize, table: impl FnOnce() -> String) -> Result<(), Failure> {
    if output.is_table() {
        return line(table().trim_end());
    }
    let value = serde_json::to_value(report);
    output.value(&value.map_err(|why| Failure::Usage(format!("the report cannot be written: {why}")))?)
}
