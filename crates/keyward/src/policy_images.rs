//! Registries for policies in files: asked from here, with Docker's configuration and the Secrets among the objects.

use crate::cli::Failure;
use crate::policy_files::now;
use keyward_admission::Lookup;
use keyward_admission_server::images::{Images, Keychain, Reading, Secrets};
use keyward_policy_files::world::Registries;
use serde_json::Value;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use tokio::runtime::Runtime;

/// How long one question may take.
const LIMIT: Duration = Duration::from_secs(30);

/// See the module.
pub(crate) struct FromHere {
    runtime: Runtime,
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
    /// With the Secrets among `objects`.
    pub(crate) fn new(objects: &[Value]) -> Result<FromHere, Failure> {
        Ok(FromHere {
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
            images: Images::default(),
            secrets: objects.iter().filter(|object| object["kind"] == "Secret").cloned().collect(),
            docker: docker_config().and_then(|path| std::fs::read(path).ok()),
        })
    }
}

/// Where Docker keeps credentials.
fn docker_config() -> Option<PathBuf> {
    let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let folder = folder.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker")))?;
    Some(folder.join("config.json"))
}

impl Registries for FromHere {
    fn answer(&self, question: &Lookup) -> Result<Value, String> {
        let seconds = u64::try_from(now() / 1_000_000_000).unwrap_or_default();
        self.runtime.block_on(async {
            let answer = tokio::time::timeout(LIMIT, self.images.answer(question, self, seconds)).await;
            answer.unwrap_or_else(|_| Err(format!("there was no answer within {} s", LIMIT.as_secs())))
        })
    }
}

impl Secrets for FromHere {
    fn read<'s>(&'s self, namespace: &'s str, name: &'s str) -> Reading<'s> {
        let is = |secret: &&Value| {
            secret["metadata"]["name"] == name
                && (namespace.is_empty() || secret["metadata"]["namespace"] == namespace)
        };
        let found = self.secrets.iter().find(is).cloned();
        let why = || "it is not among the objects of --cluster-resource".to_owned();
        Box::pin(std::future::ready(found.ok_or_else(why)))
    }

    fn keychain(&self) -> Keychain {
        let mut keychain = Keychain::default();
        if let Some(json) = &self.docker
            && let Err(why) = keychain.add(json)
        {
            eprintln!("Docker's configuration is not used: {why}");
        }
        keychain
    }
}
