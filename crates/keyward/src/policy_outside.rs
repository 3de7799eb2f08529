//! What lies outside of files for admission commands: a cluster, asked with the kubeconfig's rights, and registries, asked with
//! Docker's configuration and Secrets. A command waits for each answer.

use crate::cli::Failure;
use crate::policy_files::now;
use crate::services::ClusterArgs;
use keyward_admission::Lookup;
use keyward_admission_server::images::{Images, Keychain, Reading, Secrets};
use keyward_admission_server::{Catalog, Cluster, Error, Outside, within};
use keyward_policy_files::world;
use serde_json::Value;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// How long one question about an image may take.
const LIMIT: Duration = Duration::from_secs(30);

/// A cluster, and where answers of it are waited for.
pub(crate) struct Live {
    runtime: Runtime,
    pub(crate) cluster: Cluster,
}

impl Live {
    pub(crate) fn connect(args: &ClusterArgs) -> Result<Live, Failure> {
        let runtime = runtime()?;
        let cluster = runtime.block_on(Cluster::connect(&args.source())).map_err(failed)?;
        Ok(Live { runtime, cluster })
    }

    pub(crate) fn wait<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
        self.runtime.block_on(answer).map_err(failed)
    }

    /// For policies that look into the cluster, which serves `catalog`; its global context is among `objects`.
    pub(crate) fn outside<'o>(
        self,
        catalog: Catalog,
        objects: impl IntoIterator<Item = &'o Value>,
    ) -> FromHere {
        let outside = Outside::for_command(self.cluster, catalog, objects);
        FromHere { runtime: self.runtime, cluster: Some(outside), registries: None }
    }
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

fn failed(why: Error) -> Failure {
    Failure::Usage(why.to_string())
}

/// See the module.
pub(crate) struct FromHere {
    runtime: Runtime,
    cluster: Option<Outside>,
    registries: Option<Registries>,
}

struct Registries {
    images: Images,
    secrets: Vec<Value>,
    docker: Option<Vec<u8>>,
}

impl fmt::Debug for FromHere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FromHere")
    }
}

impl FromHere {
    /// Asks nobody.
    pub(crate) fn nobody() -> Result<FromHere, Failure> {
        Ok(FromHere { runtime: runtime()?, cluster: None, registries: None })
    }

    /// Asks registries too, with the Secrets among `objects`.
    pub(crate) fn with_registries(self, objects: &[Value]) -> FromHere {
        let registries = Registries {
            images: Images::default(),
            secrets: objects.iter().filter(|object| object["kind"] == "Secret").cloned().collect(),
            docker: docker_config().and_then(|path| std::fs::read(path).ok()),
        };
        FromHere { registries: Some(registries), ..self }
    }

    async fn about_image(
        &self,
        registries: &Registries,
        home: &str,
        question: &Lookup,
    ) -> Result<Arc<Value>, String> {
        let seconds = u64::try_from(now() / 1_000_000_000).unwrap_or_default();
        let question = within(home, question)?;
        let secrets = Known { registries, cluster: self.cluster.as_ref() };
        let answer = registries.images.answer(&question, &secrets, seconds);
        match tokio::time::timeout(LIMIT, answer).await {
            Ok(answer) => answer.map(Arc::new),
            Err(_) => Err(format!("there was no answer within {} s", LIMIT.as_secs())),
        }
    }
}

/// Where Docker keeps credentials.
fn docker_config() -> Option<PathBuf> {
    let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let folder = folder.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker")))?;
    Some(folder.join("config.json"))
}

impl world::Outside for FromHere {
    fn is_for(&self, question: &Lookup) -> bool {
        match question.is_about_images() {
            true => self.registries.is_some(),
            false => self.cluster.is_some(),
        }
    }

    fn answer(&self, home: &str, question: &Lookup) -> Result<Arc<Value>, String> {
        self.runtime.block_on(async {
            match (&self.registries, &self.cluster) {
                (Some(registries), _) if question.is_about_images() => {
                    self.about_image(registries, home, question).await
                }
                (_, Some(cluster)) => cluster.answer(home, question).await,
                (_, None) => Err("nobody is asked: name a cluster with --cluster".to_owned()),
            }
        })
    }
}

/// Secrets of files, then of the cluster.
struct Known<'k> {
    registries: &'k Registries,
    cluster: Option<&'k Outside>,
}

impl Secrets for Known<'_> {
    fn read<'s>(&'s self, namespace: &'s str, name: &'s str) -> Reading<'s> {
        let is = |secret: &&Value| {
            secret["metadata"]["name"] == name
                && (namespace.is_empty() || secret["metadata"]["namespace"] == namespace)
        };
        match (self.registries.secrets.iter().find(is), self.cluster) {
            (Some(found), _) => Box::pin(std::future::ready(Ok(found.clone()))),
            (None, Some(cluster)) => cluster.read(namespace, name),
            (None, None) => {
                let why = "it is not among the objects of --cluster-resource".to_owned();
                Box::pin(std::future::ready(Err(why)))
            }
        }
    }

    fn keychain(&self) -> Keychain {
        let mut keychain = Keychain::default();
        if let Some(json) = &self.registries.docker
            && let Err(why) = keychain.add(json)
        {
            eprintln!("Docker's configuration is not used: {why}");
        }
        keychain
    }
}
