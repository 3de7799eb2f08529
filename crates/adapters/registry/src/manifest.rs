//! Manifests and indexes.
//! <https://github.com/opencontainers/image-spec/blob/main/manifest.md>

use keyward_crypto::sha256;
use serde_json::Value;
use std::collections::BTreeMap;

/// Layers, and manifests of an index, that are read.
const MOST: usize = 1000;

/// A manifest or an index, with the digest of its bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// `sha256:` and hexadecimal digits, of what came.
    pub digest: String,
    /// What it says.
    pub value: Value,
}

/// What a manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// What kind of artifact, where it is a manifest; else empty.
    pub artifact_type: String,
    /// By which it is asked for.
    pub digest: String,
    /// Its bytes, as the manifest has it.
    pub size: u64,
    /// What stands beside it.
    pub annotations: BTreeMap<String, String>,
}

/// The digest of contents.
pub(crate) fn digest(contents: &[u8]) -> String {
    format!("sha256:{}", hex::encode(sha256(contents)))
}

/// Whether it is a digest that contents can be held against.
pub(crate) fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|digits| {
        digits.len() == 64
            && digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}

impl Manifest {
    /// Reads one.
    ///
    /// # Errors
    ///
    /// That it is none.
    pub fn read(bytes: &[u8]) -> Result<Manifest, String> {
        let value: Value =
            serde_json::from_slice(bytes).map_err(|_| "the manifest is not JSON".to_owned())?;
        if !value.is_object() {
            return Err("the manifest is no JSON object".to_owned());
        }
        Ok(Manifest { digest: digest(bytes), value })
    }

    /// Whether it lists manifests, such as one for each platform.
    pub fn is_index(&self) -> bool {
        self.value["manifests"].is_array()
    }

    /// What an image is made of, in order.
    pub fn layers(&self) -> Vec<Descriptor> {
        descriptors(&self.value["layers"])
    }

    /// The manifests of an index.
    pub fn manifests(&self) -> Vec<Descriptor> {
        descriptors(&self.value["manifests"])
    }

    /// The configuration of an image.
    pub fn config(&self) -> Option<Descriptor> {
        descriptor(&self.value["config"])
    }

    /// The manifest for a platform among those of an index.
    pub fn of_platform(&self, os: &str, architecture: &str) -> Option<Descriptor> {
        let listed = self.value["manifests"].as_array()?;
        let suits = |one: &&Value| {
            one["platform"]["os"].as_str() == Some(os)
                && one["platform"]["architecture"].as_str() == Some(architecture)
        };
        descriptor(listed.iter().take(MOST).find(suits)?)
    }
}

fn descriptors(list: &Value) -> Vec<Descriptor> {
    list.as_array().into_iter().flatten().take(MOST).filter_map(descriptor).collect()
}

fn descriptor(value: &Value) -> Option<Descriptor> {
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let annotations = value["annotations"].as_object().into_iter().flatten();
    let digest = text("digest");
    is_digest(&digest).then(|| Descriptor {
        media_type: text("mediaType"),
        artifact_type: text("artifactType"),
        digest,
        size: value["size"].as_u64().unwrap_or(u64::MAX),
        annotations: annotations
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect(),
    })
}
