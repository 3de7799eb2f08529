//! What the authority opens.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_authority_client::{Body, Method, RequestOptions, Workload};
use keyward_crypto::Secret;
use keyward_crypto::secret::SecretBytes;
use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::json;
use zeroize::Zeroizing;

use crate::AgentError;

/// What a namespace's objects are by now.
#[derive(Deserialize)]
pub(crate) struct Answer {
    pub(crate) objects: Vec<Opened>,
    /// Seconds until it is worth asking again.
    refresh: u64,
}

/// One object.
#[derive(Deserialize)]
pub(crate) struct Opened {
    pub(crate) name: String,
    pub(crate) version: u64,
    pub(crate) digest: String,
    /// The type of the Secret that was sealed.
    #[serde(default, rename = "type")]
    pub(crate) kind: String,
    /// Missing when the digest is the one that was known.
    #[serde(default)]
    pub(crate) items: Option<BTreeMap<String, Value>>,
}

/// A value, never in text longer than it takes to decode it.
pub(crate) struct Value(pub(crate) SecretBytes);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        struct Base64;
        impl Visitor<'_> for Base64 {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value in base64")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
                // Without what was read: it may be a secret.
                let bytes = STANDARD.decode(text).map_err(|_| E::custom("a value is no base64"))?;
                Ok(Value(Secret::new(bytes)))
            }
        }
        deserializer.deserialize_str(Base64).map_err(|_| D::Error::custom("a value is no base64"))
    }
}

impl Answer {
    /// How long to wait, within reason.
    pub(crate) fn refresh(&self) -> Duration {
        Duration::from_secs(self.refresh.clamp(1, 3600))
    }
}

/// What is sent back as `{"data": ...}`.
#[derive(Deserialize)]
struct Envelope {
    data: Answer,
}

/// Has `objects` of `namespace` opened, all or none; of those whose digest is `known` and current only that is said.
pub(crate) async fn fetch(
    workload: &Workload,
    mount: &str,
    namespace: &str,
    objects: &[String],
    known: &BTreeMap<String, String>,
) -> Result<Answer, AgentError> {
    let wanted: Vec<_> = objects
        .iter()
        .map(|name| json!({"name": name, "digest": known.get(name).map_or("", String::as_str)}))
        .collect();
    let path = format!("{}/open/{namespace}", mount.trim_matches('/'));
    let body = json!({ "objects": wanted });
    let reply =
        workload.request(Method::Post, &path, Some(Body::Json(&body)), &RequestOptions::default()).await?;
    let raw = Zeroizing::new(reply.raw().to_vec());
    let read: Envelope = serde_json::from_slice(&raw)
        .map_err(|why| AgentError::NotUnderstood(format!("line {} column {}", why.line(), why.column())))?;
    let answered = |name: &String| read.data.objects.iter().any(|opened| opened.name == *name);
    match objects.iter().find(|name| !answered(name)) {
        Some(missing) => Err(AgentError::NotUnderstood(format!("it says nothing of {missing}"))),
        None => Ok(read.data),
    }
}
