//! All that an API server serves, and requests by path.

use futures_util::{AsyncBufReadExt, AsyncReadExt, TryStreamExt};
use http::Request;
use kube::discovery::{ApiGroup, Discovery, Scope, verbs};
use serde_json::Value;
use std::pin::pin;

use crate::objects::bounded;
use crate::{Cluster, Error, Kind, Why};

/// The longest answer to a request by path, in bytes.
const LONGEST: u64 = 32 << 20;

/// A kind of object, in the version that the API server prefers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// Where its objects are.
    pub kind: Kind,
    /// Parts of them, such as `status`, `exec`, `scale`.
    pub subresources: Vec<String>,
    /// Whether its objects can be listed and watched.
    pub watched: bool,
}

impl Cluster {
    /// Asks for all kinds that are served (aggregated discovery, in two requests).
    pub async fn served(&self) -> Result<Vec<Served>, Error> {
        let doing = || "asking which kinds are served".to_owned();
        let found = bounded(doing, Discovery::new(self.client.clone()).run_aggregated()).await?;
        let mut served = Vec::new();
        for (resource, capabilities) in found.groups().flat_map(ApiGroup::recommended_resources) {
            let watched =
                capabilities.supports_operation(verbs::LIST) && capabilities.supports_operation(verbs::WATCH);
            let part = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
            served.push(Served {
                subresources: capabilities
                    .subresources
                    .iter()
                    .map(|(part_of, _)| part(&part_of.plural))
                    .collect(),
                watched,
                kind: Kind {
                    group: resource.group.into(),
                    version: resource.version.into(),
                    kind: resource.kind.into(),
                    plural: resource.plural.into(),
                    namespaced: capabilities.scope == Scope::Namespaced,
                },
            });
        }
        Ok(served)
    }

    /// Sends a GET, or with a body a POST, to a path of the API such as `/api/v1/namespaces/default/pods?limit=5`. An answer of more than
    /// 32 MiB is none.
    pub async fn call(&self, path: &str, body: Option<&Value>) -> Result<Value, Error> {
        let doing = || format!("asking {}", path.split('?').next().unwrap_or_default());
        let invalid = |why: String| Error::new(doing(), Why::Invalid(why));
        if !path.starts_with('/') {
            return Err(invalid("a path begins with /".to_owned()));
        }
        let request = match body {
            None => Request::get(path).body(Vec::new()),
            Some(body) => Request::post(path)
                .header(http::header::CONTENT_TYPE, "application/json")
                .body(body.to_string().into_bytes()),
        };
        let request = request.map_err(|why| invalid(why.to_string()))?;
        let answer = bounded(doing, async {
            let (answer, mut text) = (self.client.request_stream(request).await?, Vec::new());
            let read = answer.take(LONGEST + 1).read_to_end(&mut text).await;
            read.map(|_| text).map_err(kube::Error::ReadEvents)
        });
        let answer = answer.await?;
        if answer.len() as u64 > LONGEST {
            let why = format!(
                "the answer has more than {} MiB: ask for less, such as one namespace",
                LONGEST >> 20
            );
            return Err(invalid(why));
        }
        serde_json::from_slice(&answer)
            .map_err(|why| Error::new(doing(), Why::Other(format!("the answer is not JSON: {why}"))))
    }

    /// Shows `each` the lines of a page that is no object, such as `/metrics`, without keeping it in memory.
    pub async fn lines(&self, path: &str, mut each: impl FnMut(&str)) -> Result<(), Error> {
        let doing = || format!("reading {path}");
        let request = Request::get(path).body(Vec::new());
        let request = request.map_err(|why| Error::new(doing(), Why::Invalid(why.to_string())))?;
        let read = async {
            let mut page = pin!(self.client.request_stream(request).await?.lines());
            while let Some(line) = page.try_next().await.map_err(kube::Error::ReadEvents)? {
                each(&line);
            }
            Ok(())
        };
        bounded(doing, read).await
    }
}
