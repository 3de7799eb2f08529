//! What the authority is told, and what it says.

use keyward_authority_client::{Body, ClientError, Method, RequestOptions, Workload};
use keyward_kubernetes::Key;
use serde_json::{Value, json};

/// What the authority knows of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registered {
    pub(crate) version: u64,
    pub(crate) digest: String,
    pub(crate) keys: usize,
    /// `active`, or why it does not open.
    pub(crate) state: String,
    /// In words.
    pub(crate) reason: String,
}

/// Why an object is not registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// The object is wrong, or the authority does not believe it.
    Refused(String),
    /// Nothing can be said of it: the reason in one word, and in many.
    Away(&'static str, String),
}

impl From<ClientError> for Failed {
    fn from(error: ClientError) -> Failed {
        match &error {
            ClientError::BadRequest(said) => Failed::Refused(said.messages.join("; ")),
            ClientError::Sealed(_) => Failed::Away(
                "AuthoritySealed",
                "the authority is sealed: nothing is opened until it is unsealed (keyward operator unseal)"
                    .to_owned(),
            ),
            ClientError::Denied(said) => Failed::Away(
                "ControllerDenied",
                format!(
                    "the authority does not let the controller in or does not allow it {}: see its auth role and policy",
                    said.path
                ),
            ),
            ClientError::NotFound(said) => Failed::Away(
                "NotMounted",
                format!("the authority has no {}: mount the engine `sealed` there", said.path),
            ),
            ClientError::Invalid(why) => Failed::Away("ControllerBroken", why.clone()),
            _ => Failed::Away("AuthorityUnreachable", format!("the authority cannot be asked: {error}")),
        }
    }
}

/// The mount of the engine `sealed`.
pub(crate) struct Authority {
    pub(crate) workload: Workload,
    pub(crate) mount: String,
}

impl Authority {
    fn path(&self, key: &Key) -> String {
        format!("{}/objects/{}/{}", self.mount, key.namespace, key.name)
    }

    /// Registers a manifest; one that is known already changes nothing.
    pub(crate) async fn register(&self, key: &Key, manifest: &Value) -> Result<Registered, Failed> {
        let body = json!({ "manifest": manifest });
        let options = RequestOptions::default();
        let reply =
            self.workload.request(Method::Put, &self.path(key), Some(Body::Json(&body)), &options).await?;
        let data = reply.data().unwrap_or_default();
        let text = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
        Ok(Registered {
            version: data["version"].as_u64().unwrap_or_default(),
            digest: text("digest"),
            keys: data["items"].as_array().map_or(0, Vec::len),
            state: text("state"),
            reason: text("reason"),
        })
    }

    /// Forgets an object but for its version. One that is not there is forgotten already.
    pub(crate) async fn forget(&self, key: &Key) -> Result<(), Failed> {
        self.workload.request(Method::Delete, &self.path(key), None, &RequestOptions::default()).await?;
        Ok(())
    }

    /// Every object that was ever registered.
    pub(crate) async fn registered(&self) -> Result<Vec<Key>, Failed> {
        let mut all = Vec::new();
        for namespace in self.list(&format!("{}/objects", self.mount)).await? {
            let namespace = namespace.trim_end_matches('/');
            for name in self.list(&format!("{}/objects/{namespace}", self.mount)).await? {
                all.push(Key { namespace: namespace.into(), name: name.into() });
            }
        }
        Ok(all)
    }

    async fn list(&self, path: &str) -> Result<Vec<String>, Failed> {
        let listed = self.workload.request(Method::List, path, None, &RequestOptions::default()).await;
        let reply = match listed {
            // A list of nothing.
            Err(ClientError::NotFound(_)) => return Ok(Vec::new()),
            listed => listed?,
        };
        let keys = reply.data().unwrap_or_default();
        let keys = keys["keys"].as_array().into_iter().flatten();
        Ok(keys.filter_map(|key| key.as_str().map(str::to_owned)).collect())
    }
}
