//! Starts everything, and ends it in order.

use crate::Catalog;
use crate::background::{Background, Requested};
use crate::compliance::Compliance;
use crate::configurations::{Keeper, believed, observe, release};
use crate::events::Outbox;
use crate::heartbeat::{self, Heartbeat};
use crate::log::{self, Wall};
use crate::metrics::Metrics;
use crate::posture::{self, Posture};
use crate::report::{Dialect, Reports};
use crate::review::Reviewer;
use crate::scan::Scanner;
use crate::sources::{self, Known};
use crate::webhooks::{Place, Reached};
use crate::world::World;
use keyward_core::Clock;
use keyward_kubernetes::{Cluster, Election, Source};
use keyward_webhook::{Certificate, Clients, Limits, Lives, Server, TlsFiles};
use serde_json::json;
use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often it is asked again which kinds are served.
const DISCOVER: Duration = Duration::from_secs(15);
/// How long a leader that is gone keeps others waiting.
const TERM: Duration = Duration::from_secs(10);
const READY: Duration = Duration::from_millis(100);

/// How policies are served.
#[derive(Debug)]
pub struct Options {
    /// The cluster.
    pub source: Source,
    /// Where reviews are listened for.
    pub listen: SocketAddr,
    /// Where the API server finds us.
    pub reached: Reached,
    /// Our own namespace, where leases are.
    pub namespace: String,
    /// Which replica we are, such as the pod's name.
    pub identity: String,
    /// The names that a certificate of our own is for, besides those of the Service.
    pub names: Vec<String>,
    /// A certificate of files, with who it is believed by, in the place of one of our own.
    pub files: Option<(TlsFiles, Option<PathBuf>)>,
    /// How long what we make ourselves lives.
    pub lives: Lives,
    /// How reports are written; not at all without one.
    pub reports: Option<Dialect>,
    /// After how long everything is looked at again.
    pub scan_every: Duration,
    /// Where verdicts are published; nowhere without.
    pub posture: Option<posture::Options>,
}

/// Why policies are not served.
#[derive(Debug)]
pub enum Failure {
    /// The cluster does not let us.
    Cluster(keyward_kubernetes::Error),
    /// There is no certificate to show.
    Certificate(keyward_webhook::certificate::Error),
    /// The way to the authority that verdicts are published to is configured wrongly.
    Posture(keyward_authority_client::ConfigError),
    /// The address cannot be listened at.
    Listen(SocketAddr, std::io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Cluster(why) => why.fmt(f),
            Failure::Certificate(why) => why.fmt(f),
            Failure::Posture(why) => why.fmt(f),
            Failure::Listen(address, why) => write!(f, "{address} cannot be listened at: {why}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<keyward_kubernetes::Error> for Failure {
    fn from(why: keyward_kubernetes::Error) -> Failure {
        Failure::Cluster(why)
    }
}

/// Serves policies until `stop` turns true. The last replica that stops takes the webhooks with it, so that nothing is held up
/// while nobody answers.
///
/// # Errors
///
/// What keeps it from starting.
pub async fn serve(options: Options, mut stop: watch::Receiver<bool>) -> Result<(), Failure> {
    let cluster = Cluster::connect(&options.source).await?;
    let user = whoami(&cluster).await?;
    let certificate = Arc::new(certificate(&options).map_err(Failure::Certificate)?);
    let server = Server::bind(options.listen, certificate.clone(), Limits::default())
        .map_err(|why| Failure::Listen(options.listen, why))?;
    let metrics: Arc<Metrics> = Arc::default();
    let world = Arc::new(World::new(cluster.clone(), &options.namespace));
    world.outside.catalog.store(Arc::new(Catalog::new(cluster.served().await?)));
    let known = sources::start(&cluster, world.clone(), metrics.clone());
    let alive = heartbeat::listen(&cluster, &options.namespace);
    let observed = observe(&cluster);
    let place = Place { reached: options.reached.clone(), namespace: options.namespace.clone(), user };
    let own = options.files.is_none();

    let (tell, waits) = watch::channel("the policies are not read yet".to_owned());
    let outbox = Outbox::open(&cluster, &options.identity, metrics.clone());
    let exempt = exempt(&options.namespace);
    let background = Background {
        cluster: cluster.clone(),
        known: known.clone(),
        world: world.clone(),
        metrics: metrics.clone(),
        outbox: outbox.clone(),
        exempt: exempt.clone(),
        namespace: options.namespace.clone(),
        identity: options.identity.clone(),
        every: options.scan_every,
    };
    let requested = Requested::new(background.clone());
    let compliance = Arc::new(Compliance::new(&cluster, &options.namespace, metrics.clone()));
    let reviewer = Reviewer {
        set: known.set.clone(),
        world: world.clone(),
        outbox: outbox.clone(),
        metrics: metrics.clone(),
        requested: requested.clone(),
        compliance: compliance.clone(),
        waits,
    };
    log::info(&format!("reviews are answered at https://{}", server.address()));
    let serving = tokio::spawn(server.serve(Arc::new(reviewer), stop.clone()));

    let mut leadership =
        election(&options).stand(&cluster, |why| log::warn(&format!("the leader is not found out: {why}")));
    let (tell_leads, leads) = watch::channel(false);
    let heartbeat = Heartbeat::new(&cluster, &options.namespace, &options.identity);
    let keeper = Keeper {
        cluster: cluster.clone(),
        known: known.clone(),
        world: world.clone(),
        place: place.clone(),
        alive: alive.clone(),
        given: (!own).then(|| certificate.bundle()),
        observed: observed.clone(),
        leads: leads.clone(),
    };
    let posture = options.posture.map(|options| Posture::new(options, metrics.clone(), known.deaf.clone()));
    let posture = posture.transpose().map_err(Failure::Posture)?.map(Arc::new);
    let scanner = Scanner {
        cluster: cluster.clone(),
        known: known.clone(),
        world: world.clone(),
        reports: options
            .reports
            .map(|dialect| Arc::new(Reports::new(dialect, cluster.clone(), metrics.clone()))),
        posture: posture.clone(),
        metrics: metrics.clone(),
        outbox: outbox.clone(),
        exempt: exempt.clone(),
        every: options.scan_every,
    };
    let bundle = certificate.bundle();
    // A task of its own, so that nothing here holds up the word that we live.
    let beating = tokio::spawn(async move { heartbeat.run(bundle).await });
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        () = keeper.run() => {}
        () = scanner.run(leads.clone()) => {}
        () = compliance.run(leads.clone()) => {}
        () = background.run(leads) => {}
        () = certificate.keep(&Wall, |why| log::warn(&format!("the certificate is not renewed: {why}"))) => {}
        () = discover(&cluster, &world, &known) => {}
        () = follow_leader(&mut leadership, &tell_leads) => {}
        () = readiness(&known, &observed, &certificate, own, &place, &tell) => {}
    }
    beating.abort();
    if !alive.borrow().replicas.iter().any(|replica| *replica != options.identity) {
        free(&cluster).await;
    }
    Heartbeat::new(&cluster, &options.namespace, &options.identity).end().await;
    leadership.resign().await;
    if let Some(posture) = &posture {
        posture.log_out().await;
    }
    let _ = serving.await;
    requested.end().await;
    Ok(())
}

/// Removes the webhooks that nobody would answer any more.
async fn free(cluster: &Cluster) {
    match release(cluster).await {
        Ok(removed) => log::info(&format!("nobody is left to answer: {} removed", removed.join(", "))),
        Err(why) => log::warn(&format!("the webhooks are still there: {why}")),
    }
}

fn certificate(options: &Options) -> Result<Certificate, keyward_webhook::certificate::Error> {
    if let Some((files, authorities)) = &options.files {
        return Certificate::of_files(files.clone(), authorities.clone());
    }
    let mut names = options.names.clone();
    match &options.reached {
        Reached::Service { namespace, name, .. } => {
            names
                .extend([format!("{name}.{namespace}.svc"), format!("{name}.{namespace}.svc.cluster.local")]);
        }
        Reached::Url(url) => {
            let host = url.trim_start_matches("https://").split('/').next().unwrap_or_default();
            let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
            names.push(host.trim_matches(['[', ']']).to_owned());
        }
    }
    Certificate::own(&names, options.lives, Clients::Silent, Wall.now())
}

fn election(options: &Options) -> Election {
    Election {
        namespace: options.namespace.clone(),
        name: "keyward-policy-leader".to_owned(),
        identity: options.identity.clone(),
        term: TERM,
    }
}

/// The namespaces that are left alone: the cluster's own, and ours.
fn exempt(own: &str) -> Arc<HashSet<String>> {
    Arc::new(["kube-system", "kube-public", "kube-node-lease", own].map(str::to_owned).into())
}

/// The name by which the API server knows us.
async fn whoami(cluster: &Cluster) -> Result<String, keyward_kubernetes::Error> {
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let answer = cluster.call("/apis/authentication.k8s.io/v1/selfsubjectreviews", Some(&review)).await?;
    Ok(answer["status"]["userInfo"]["username"].as_str().unwrap_or_default().to_owned())
}

async fn discover(cluster: &Cluster, world: &World, known: &Known) {
    let mut generations = known.generation.subscribe();
    loop {
        // A policy may be for a kind that was not served when it was last asked.
        let lacking = |known: &Known| {
            let set = known.set.load();
            let catalog = world.outside.catalog.load();
            let interests = set.entries.iter().flat_map(|entry| {
                crate::policies::TASKS.into_iter().flat_map(|task| entry.policy.interests(task))
            });
            interests.into_iter().any(|interest| catalog.lacks(&interest))
        };
        tokio::select! {
            () = tokio::time::sleep(DISCOVER) => {}
            _ = generations.changed() => {
                if !lacking(known) {
                    continue;
                }
            }
        }
        match cluster.served().await.map(Catalog::new) {
            Ok(found) if found != **world.outside.catalog.load() => {
                world.outside.catalog.store(Arc::new(found));
                known.generation.send_modify(|generation| *generation += u64::from(*generation > 0));
                generations.mark_unchanged();
            }
            Ok(_) => {}
            Err(why) => log::warn(&format!("which kinds are served is not known anew: {why}")),
        }
    }
}

async fn follow_leader(leadership: &mut keyward_kubernetes::Leadership, tell: &watch::Sender<bool>) {
    loop {
        let leads = leadership.is_leader();
        tell.send_if_modified(|told| std::mem::replace(told, leads) != leads);
        leadership.changed().await;
    }
}

async fn readiness(
    known: &Known,
    observed: &watch::Receiver<Option<crate::configurations::Observed>>,
    certificate: &Certificate,
    own: bool,
    place: &Place,
    tell: &watch::Sender<String>,
) {
    let bundle = certificate.bundle();
    loop {
        let waits = if *known.generation.borrow() == 0 {
            "the policies are not read yet".to_owned()
        } else if own {
            let ours = bundle.borrow().clone();
            believed(observed.borrow().as_ref(), &ours, place).err().unwrap_or_default()
        } else {
            String::new()
        };
        tell.send_if_modified(|told| {
            let changed = *told != waits;
            if changed && waits.is_empty() {
                log::info("ready");
            }
            *told = waits;
            changed
        });
        tokio::time::sleep(READY).await;
    }
}
