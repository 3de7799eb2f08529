//! `keyward policy serve`, `crds` and `release`: admission policies in a cluster.

use crate::cli::{Connection, Failure, client_config, output};
use crate::policy_outside::Live;
use crate::services::{ClusterArgs, LoginArgs, give_memory_back};
use keyward_admission_server::posture;
use keyward_admission_server::webhooks::Reached;
use keyward_admission_server::{
    Clients, Dialect, Lives, Options, TlsFiles, release as release_webhooks, serve as serve_policies,
};
use keyward_core::parse_duration;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// The custom resource definitions of policies and reports.
const CRDS: [&str; 4] = [
    include_str!("../../../deploy/crds/kyverno.io.yaml"),
    include_str!("../../../deploy/crds/policies.kyverno.io.yaml"),
    include_str!("../../../deploy/crds/wgpolicyk8s.io.yaml"),
    include_str!("../../../deploy/crds/openreports.io.yaml"),
];

#[derive(clap::Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Where the API server's reviews are listened for
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:9443", env = "KEYWARD_POLICY_LISTEN")]
    listen: SocketAddr,
    /// Our own namespace, where leases are; no policy is asked about what is in it
    #[arg(long, value_name = "NAME", default_value = "keyward", env = "POD_NAMESPACE")]
    own_namespace: String,
    /// Which replica this is; different for each
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    identity: Option<String>,
    /// The Service in our namespace that leads to us
    #[arg(long, value_name = "NAME", default_value = "keyward-policy", env = "KEYWARD_POLICY_SERVICE")]
    service: String,
    /// The Service's port
    #[arg(long, value_name = "PORT", default_value_t = 443)]
    service_port: u16,
    /// A URL without a path in the place of the Service, for who runs outside of the cluster
    #[arg(long, value_name = "URL", conflicts_with = "service")]
    url: Option<String>,
    /// Another name that our own certificate is for; may be given more than once
    #[arg(long = "tls-name", value_name = "NAME")]
    names: Vec<String>,
    /// A certificate chain in PEM in the place of our own, read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The key of that certificate
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Who that certificate is believed by, in PEM: what the webhook configurations say
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_authorities: Option<PathBuf>,
    /// How long a certificate of our own lives; it is renewed when half of that is over
    #[arg(long, value_name = "DURATION", default_value = "168h", value_parser = duration)]
    tls_life: Duration,
    /// In which kinds reports are written
    #[arg(long, value_enum, default_value = "wgpolicyk8s")]
    reports: Reports,
    /// After how long everything that is there is looked at again
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    scan_every: Duration,
    #[command(flatten)]
    posture: PostureArgs,
}

/// Verdicts for the authority
#[derive(clap::Args)]
#[command(next_help_heading = "Posture")]
struct PostureArgs {
    /// Publish verdicts on pods to the authority at --address, as those of the cluster of this name
    #[arg(long, value_name = "NAME", requires = "role", env = "KEYWARD_POSTURE_CLUSTER")]
    posture_cluster: Option<String>,
    /// How long they count when nobody confirms them: 10s to 10m
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = validity)]
    posture_validity: Duration,
    #[command(flatten)]
    login: LoginArgs,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Reports {
    /// PolicyReports of wgpolicyk8s.io/v1alpha2
    Wgpolicyk8s,
    /// Reports of openreports.io/v1alpha1
    Openreports,
    /// None
    None,
}

/// They are confirmed four times as often, and the authority keeps none for longer.
fn validity(text: &str) -> Result<Duration, String> {
    let validity = duration(text)?;
    match (10..=600).contains(&validity.as_secs()) {
        true => Ok(validity),
        false => Err("verdicts count for 10s to 10m".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|why| why.to_string())
}

impl PostureArgs {
    fn options(&self, connection: &Connection) -> Result<Option<posture::Options>, Failure> {
        let Some(cluster) = &self.posture_cluster else { return Ok(None) };
        Ok(Some(posture::Options {
            client: client_config(connection)?,
            login: self.login.clone().login()?,
            cluster: cluster.clone(),
            validity: self.posture_validity,
        }))
    }
}

fn options(args: &ServeArgs, posture: Option<posture::Options>) -> Options {
    let reached = match &args.url {
        Some(url) => Reached::Url(url.clone()),
        None => Reached::Service {
            namespace: args.own_namespace.clone(),
            name: args.service.clone(),
            port: args.service_port,
        },
    };
    let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    let files = args.tls_certificate.clone().zip(args.tls_key.clone()).map(|(certificate, key)| {
        (TlsFiles { certificate, key, clients: Clients::Silent, tls12: false }, args.tls_authorities.clone())
    });
    Options {
        source: args.cluster.source(),
        listen: args.listen,
        reached,
        namespace: args.own_namespace.clone(),
        identity: args.identity.clone().unwrap_or_else(host),
        names: args.names.clone(),
        files,
        lives: Lives { server: args.tls_life, ..Lives::default() },
        reports: match args.reports {
            Reports::Wgpolicyk8s => Some(Dialect::PolicyReports),
            Reports::Openreports => Some(Dialect::OpenReports),
            Reports::None => None,
        },
        scan_every: args.scan_every,
        posture,
    }
}

pub(crate) fn serve(connection: &Connection, args: &ServeArgs) -> Result<(), Failure> {
    let options = options(args, args.posture.options(connection)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (stop, stopped) = watch::channel(false);
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            stop.send_replace(true);
        });
        tokio::spawn(give_memory_back());
        serve_policies(options, stopped).await.map_err(|why| Failure::Usage(why.to_string()))
    })
}

pub(crate) fn crds() -> Result<(), Failure> {
    output::line(CRDS.join("---\n").trim_end())
}

pub(crate) fn release(args: &ClusterArgs) -> Result<(), Failure> {
    let live = Live::connect(args)?;
    let removed = live.wait(release_webhooks(&live.cluster))?;
    match removed.is_empty() {
        true => output::line("No webhook of ours was there."),
        false => output::line(&format!("Removed {}: no policy holds anything up now.", removed.join(", "))),
    }
}
