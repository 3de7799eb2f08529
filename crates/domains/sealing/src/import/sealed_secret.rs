//! Bitnami's SealedSecret (`bitnami.com/v1alpha1`): each value under AES-256-GCM with a key of its own, which RSA-OAEP wraps
//! with the scope as its label.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use keyward_crypto::AeadKey;
use keyward_crypto::keys::{Hash, Key, RsaKey};
use keyward_crypto::secret::SecretKey;
use keyward_crypto::x509::pem;
use keyward_intent::{Metadata, Scope, names, yaml};
use serde::Deserialize;

use crate::secret::PlainSecret;
use crate::violation::{Failure, invalid};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    metadata: Metadata,
    spec: WireSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireSpec {
    encrypted_data: BTreeMap<String, String>,
    #[serde(default)]
    template: Template,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Template {
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// The private keys of a controller.
pub struct PrivateKeys(Vec<RsaKey>);

impl PrivateKeys {
    /// From PEM, or from the Secrets that the controller keeps them in.
    pub fn read(text: &str) -> Result<PrivateKeys, Failure> {
        let mut found = Vec::new();
        for document in yaml::documents(text) {
            if PlainSecret::is(&yaml::kind(document)) {
                let secret = PlainSecret::read(yaml::body(document))?;
                let key = secret.data.get("tls.key").and_then(|key| std::str::from_utf8(key.expose()).ok());
                found.extend(key.into_iter().flat_map(rsa_keys));
            } else {
                found.extend(rsa_keys(document));
            }
        }
        match found.is_empty() {
            true => invalid("no RSA private key was found: give PEM, or the controller's Secrets as YAML"),
            false => Ok(PrivateKeys(found)),
        }
    }
}

fn rsa_keys(text: &str) -> Vec<RsaKey> {
    let blocks = pem::blocks(text).unwrap_or_default();
    let keys = blocks.iter().filter_map(|block| Key::import_der(&block.der).ok());
    let rsa = keys.filter_map(|(_, key)| match key {
        Key::Rsa(key) => Some(*key),
        _ => None,
    });
    rsa.collect()
}

/// Whether a document says that it is one.
pub fn is_sealed_secret(document: &yaml::Kind) -> bool {
    document.kind == "SealedSecret" && document.api_version == "bitnami.com/v1alpha1"
}

/// Its values, and its scope.
pub fn open_sealed_secret(text: &str, keys: &PrivateKeys) -> Result<(PlainSecret, Scope), Failure> {
    let wire: Wire = yaml::read(yaml::body(text))?;
    names::object("metadata.name", &wire.metadata.name)?;
    let is_set = |name: &str| {
        wire.metadata
            .annotations
            .get(&format!("sealedsecrets.bitnami.com/{name}"))
            .is_some_and(|set| set == "true")
    };
    let namespace = wire.metadata.namespace.as_deref().unwrap_or("default");
    let (scope, label) = match () {
        () if is_set("cluster-wide") => (Scope::Cluster, String::new()),
        () if is_set("namespace-wide") => (Scope::Namespace, namespace.to_owned()),
        () => (Scope::Strict, format!("{namespace}/{}", wire.metadata.name)),
    };
    let mut data = BTreeMap::new();
    for (key, sealed) in &wire.spec.encrypted_data {
        names::item(key)?;
        let value = keys.0.iter().find_map(|private| open(private, sealed, label.as_bytes()));
        let Some(value) = value else {
            return invalid(format!(
                "encryptedData.{key} does not open: the key is another's, or the object was moved from where it was sealed"
            ));
        };
        data.insert(key.clone(), value);
    }
    let kind = wire.spec.template.kind.filter(|kind| !kind.is_empty()).unwrap_or_else(|| "Opaque".to_owned());
    let mut metadata = wire.metadata;
    metadata.annotations.retain(|name, _| !name.starts_with("sealedsecrets.bitnami.com/"));
    Ok((PlainSecret { metadata, kind, data }, scope))
}

/// Two bytes of length, the wrapped key, and the ciphertext under a nonce of zeros: each key is used once.
fn open(private: &RsaKey, sealed: &str, label: &[u8]) -> Option<keyward_crypto::secret::SecretBytes> {
    let bytes = BASE64.decode(sealed.trim()).ok()?;
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (wrapped, ciphertext) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let key = private.decrypt_labelled(Hash::Sha2_256, label, wrapped).ok()?;
    let key = SecretKey::from_slice(key.expose())?;
    AeadKey::new(key.expose()).open([0; 12], &[], ciphertext).ok().map(keyward_crypto::Secret::new)
}
