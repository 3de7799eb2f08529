//! The way to an API server.

use std::path::PathBuf;
use std::time::Duration;

use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::discovery::{Scope, pinned_kind};

use crate::objects::bounded;
use crate::{Error, Kind, Objects, Why};

const CONNECT: Duration = Duration::from_secs(10);

/// Who we are, and to which API server.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// A kubeconfig file. Without one `KUBECONFIG` counts, then `~/.kube/config`, then the files of a pod's
    /// ServiceAccount.
    pub kubeconfig: Option<PathBuf>,
    /// A context in it other than its current one.
    pub context: Option<String>,
}

/// A cluster's API server. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    pub(crate) client: Client,
    namespace: String,
    address: String,
}

impl Cluster {
    /// Reads the configuration; connects only with the first request. Tokens and certificates in files are read
    /// again when they change.
    pub async fn connect(source: &Source) -> Result<Cluster, Error> {
        let doing = match &source.kubeconfig {
            Some(file) => format!("reading {}", file.display()),
            None => "looking for a cluster".to_owned(),
        };
        let unusable = |why: Why| Error::new(doing.clone(), why);
        let mut config = configuration(source).await.map_err(unusable)?;
        config.connect_timeout = Some(CONNECT);
        let (namespace, address) = (config.default_namespace.clone(), config.cluster_url.to_string());
        let client = Client::try_from(config).map_err(|why| unusable(Why::of(why)))?;
        Ok(Cluster { client, namespace, address })
    }

    /// The namespace of the kubeconfig's context, or the one we run in.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The API server's URL.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Objects of a kind, in one namespace or in all.
    pub fn objects(&self, kind: &Kind, namespace: Option<&str>) -> Objects {
        Objects::new(self.client.clone(), kind, namespace)
    }

    /// Asks what a kind is called in paths and whether it stands in namespaces. None where the API server does not
    /// serve it.
    pub async fn discover(&self, group: &str, version: &str, kind: &str) -> Result<Option<Kind>, Error> {
        let wanted = GroupVersionKind::gvk(group, version, kind);
        let doing = || format!("asking for {}/{kind}", wanted.api_version());
        let found = bounded(doing, async { Ok(pinned_kind(&self.client, &wanted).await) }).await?;
        match found.map_err(|why| Error::of(doing(), why)) {
            Ok((resource, capabilities)) => Ok(Some(Kind {
                group: resource.group.into(),
                version: resource.version.into(),
                kind: resource.kind.into(),
                plural: resource.plural.into(),
                namespaced: capabilities.scope == Scope::Namespaced,
            })),
            Err(why) if why.is_missing() => Ok(None),
            Err(why) => Err(why),
        }
    }
}

async fn configuration(source: &Source) -> Result<Config, Why> {
    let unusable = |why: &dyn std::error::Error| Why::Configuration(why.to_string());
    let options = KubeConfigOptions { context: source.context.clone(), ..KubeConfigOptions::default() };
    match (&source.kubeconfig, &source.context) {
        (Some(file), _) => {
            let read = Kubeconfig::read_from(file).map_err(|why| unusable(&why))?;
            Config::from_custom_kubeconfig(read, &options).await.map_err(|why| unusable(&why))
        }
        (None, Some(_)) => Config::from_kubeconfig(&options).await.map_err(|why| unusable(&why)),
        (None, None) => Config::infer().await.map_err(|why| unusable(&why)),
    }
}
