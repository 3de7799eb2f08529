//! Serves until it is told to stop.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{SystemTime, UNIX_EPOCH};

use keyward_consumption::pod::Setup;
use keyward_core::{Clock, Timestamp};
use keyward_kubernetes::{Cluster, Source};
use keyward_log::{Log, LogLevel};
use keyward_tls::{Clients, TlsFiles};
use keyward_webhook::{Certificate, Limits, Lives, Server, certificate};
use tokio::sync::watch;

use crate::bundle;
use crate::handler::Injector;

/// What the injector shows to the API server.
#[derive(Clone, Debug)]
pub enum Shown {
    /// A certificate in files, which are read again when they change. Somebody else says in the webhook's configuration who
    /// is to be believed.
    Files {
        /// The chain in PEM.
        certificate: PathBuf,
        /// Its key in PEM.
        key: PathBuf,
    },
    /// One of its own making for these names, written into the webhook's configuration of this name.
    Own {
        /// Host names and addresses that the API server calls it by.
        names: Vec<String>,
        /// The MutatingWebhookConfiguration.
        configuration: String,
    },
}

/// How the injector runs.
pub struct Options {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What it shows.
    pub shown: Shown,
    /// What pods get.
    pub setup: Setup,
    /// The cluster whose webhook configuration is kept up.
    pub cluster: Source,
    /// How much is told.
    pub log: LogLevel,
}

/// Why the injector does not run.
#[derive(Debug)]
pub enum InjectorError {
    /// Its certificate.
    Certificate(certificate::Error),
    /// The cluster.
    Cluster(keyward_kubernetes::Error),
    /// The address to listen at.
    Listen(SocketAddr, std::io::Error),
}

impl fmt::Display for InjectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InjectorError::Certificate(why) => why.fmt(f),
            InjectorError::Cluster(why) => why.fmt(f),
            InjectorError::Listen(address, why) => write!(f, "cannot listen at {address}: {why}"),
        }
    }
}

impl std::error::Error for InjectorError {}

/// The machine's own time: what certificates are valid by.
struct Wall;

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        Timestamp::EPOCH.plus(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

/// Serves until `stop`, then answers what is under way.
pub async fn run(options: Options, stop: impl Future<Output = ()>) -> Result<(), InjectorError> {
    let log = Log(options.log);
    let (certificate, configuration) = match options.shown {
        Shown::Files { certificate, key } => {
            let files = TlsFiles { certificate, key, clients: Clients::Silent, tls12: false };
            (Certificate::of_files(files, None), None)
        }
        Shown::Own { names, configuration } => {
            (Certificate::own(&names, Lives::default(), Clients::Silent, Wall.now()), Some(configuration))
        }
    };
    let certificate = Arc::new(certificate.map_err(InjectorError::Certificate)?);
    let known = AtomicBool::new(configuration.is_none());
    let injector = Arc::new(Injector { setup: options.setup, log, known });
    let keeping = match configuration {
        None => None,
        Some(name) => {
            let cluster = Cluster::connect(&options.cluster).await.map_err(InjectorError::Cluster)?;
            Some(tokio::spawn(bundle::keep(cluster, name, certificate.bundle(), injector.clone())))
        }
    };
    let server = Server::bind(options.listen, certificate.clone(), Limits::default());
    let server = server.map_err(|why| InjectorError::Listen(options.listen, why))?;
    log.event(LogLevel::Info, "serving", &[("address", &server.address().to_string())]);
    let renewing = tokio::spawn(async move {
        let failed = |why: &certificate::Error| {
            log.event(LogLevel::Error, "the certificate is not renewed", &[("error", &why.to_string())]);
        };
        certificate.keep(&Wall, failed).await;
    });
    let (told, stopped) = watch::channel(false);
    tokio::select! {
        () = server.serve(injector, stopped) => {}
        () = async { stop.await; let _ = told.send(true); std::future::pending().await } => {}
    }
    renewing.abort();
    if let Some(keeping) = keeping {
        keeping.abort();
    }
    log.event(LogLevel::Info, "stopped", &[]);
    Ok(())
}
