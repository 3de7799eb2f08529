//! Secrets as Kubernetes has them: plaintext.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use keyward_crypto::Secret;
use keyward_crypto::secret::{SecretBytes, SecretString};
use keyward_intent::{Metadata, names, yaml};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::violation::{Failure, invalid};

/// A Secret of the core group.
pub struct PlainSecret {
    /// Where it stands.
    pub metadata: Metadata,
    /// Its type.
    pub kind: String,
    /// Its values.
    pub data: BTreeMap<String, SecretBytes>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    api_version: String,
    kind: String,
    metadata: Metadata,
    #[serde(rename = "type", default)]
    secret_type: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    data: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    string_data: BTreeMap<String, String>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.data.values_mut().chain(self.string_data.values_mut()).for_each(Zeroize::zeroize);
    }
}

impl PlainSecret {
    /// Whether a document says that it is one.
    pub fn is(document: &yaml::Kind) -> bool {
        document.kind == "Secret" && document.api_version == "v1"
    }

    /// Reads a manifest: `data` in base64, and `stringData`, which counts where both have a key.
    pub fn read(text: &str) -> Result<PlainSecret, Failure> {
        let mut wire: Wire = yaml::read(text)?;
        if wire.kind != "Secret" || wire.api_version != "v1" {
            return invalid("it is no Secret of v1");
        }
        names::object("metadata.name", &wire.metadata.name)?;
        let mut data = BTreeMap::new();
        for (key, value) in &wire.data {
            names::item(key)?;
            let bytes = BASE64.decode(value.trim());
            let bytes = bytes.map_err(|_| Failure::Invalid(format!("data.{key} is not base64")))?;
            data.insert(key.clone(), Secret::new(bytes));
        }
        for (key, value) in std::mem::take(&mut wire.string_data) {
            names::item(&key)?;
            data.insert(key, Secret::new(value.into_bytes()));
        }
        let kind = wire.secret_type.take().filter(|kind| !kind.is_empty());
        let metadata = std::mem::take(&mut wire.metadata);
        Ok(PlainSecret { metadata, kind: kind.unwrap_or_else(|| "Opaque".to_owned()), data })
    }

    /// As YAML, with everything in `data`.
    pub fn write(&self) -> Result<SecretString, Failure> {
        let wire = Wire {
            api_version: "v1".to_owned(),
            kind: "Secret".to_owned(),
            metadata: self.metadata.clone(),
            secret_type: Some(self.kind.clone()),
            data: self.data.iter().map(|(key, value)| (key.clone(), BASE64.encode(value.expose()))).collect(),
            string_data: BTreeMap::new(),
        };
        Ok(Secret::new(yaml::write(&wire)?))
    }
}
