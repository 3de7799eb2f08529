//! The manifest of a sealed secret.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{API_VERSION, Bounds, Invalid, Scope, invalid, names, yaml};

/// The kind of [`SealedSecret`].
const KIND: &str = "SealedSecret";
/// Most items of one object, and most recipients.
const MOST: usize = 1000;

/// What Kubernetes knows an object by. What a cluster adds is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The object's name.
    pub name: String,
    /// Its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Labels, which bind nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations, which bind nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A Secret whose values only recipients can read, bound to where it belongs and signed by who made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SealedSecret {
    api_version: String,
    kind: String,
    /// Where it stands.
    pub metadata: Metadata,
    /// What is sealed.
    pub spec: Spec,
}

/// What is sealed, and for whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// What the values are bound to.
    pub bounds: Bounds,
    /// Counts up with each change; a lower one than was seen before is a rollback.
    pub version: u64,
    /// The sealed values by their keys.
    #[serde(default)]
    pub items: BTreeMap<String, Item>,
    /// Ids of the recipients each value is sealed for. Informative: opening says who really can.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
    /// The groups of whom some must act together, in place of single recipients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Threshold>,
    /// Who made it: an SSH public key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The author's signature, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// One sealed value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Item {
    /// The object's version when it was sealed.
    pub version: u64,
    /// The hash of the signature inside, in base64: names the one plaintext this may be.
    pub seal: String,
    /// An armored age file.
    pub data: String,
}

/// k of n groups open the object's own identity, which opens the values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Threshold {
    /// How many shares give the identity.
    pub required: u8,
    /// Whom the values are sealed for: the object's own identity.
    pub recipient: String,
    /// One for each group.
    pub shares: Vec<Share>,
}

/// A group's share of the object's identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Share {
    /// The group's name.
    pub group: String,
    /// Ids of its members, any of whom opens the share.
    pub recipients: Vec<String>,
    /// An armored age file.
    pub data: String,
}

/// What the author signs: everything but ciphertext and who it is for, so that a new sealing of the same values for other
/// recipients needs no author, and can change nothing.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Signed<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    bounds: &'a Bounds,
    version: u64,
    items: BTreeMap<&'a str, (u64, &'a str)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<SignedThreshold<'a>>,
    author: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SignedThreshold<'a> {
    required: u8,
    recipient: &'a str,
    groups: Vec<(&'a str, &'a [String])>,
}

impl SealedSecret {
    /// Of its parts.
    pub fn new(metadata: Metadata, spec: Spec) -> SealedSecret {
        SealedSecret { api_version: API_VERSION.to_owned(), kind: KIND.to_owned(), metadata, spec }
    }

    /// Whether a document says that it is one.
    pub fn is(document: &yaml::Kind) -> bool {
        document.kind == KIND && document.api_version == API_VERSION
    }

    /// Reads a manifest, and checks all that needs no key.
    pub fn read(text: &str) -> Result<SealedSecret, Invalid> {
        let read: SealedSecret = yaml::read_public(text)?;
        if read.api_version != API_VERSION || read.kind != KIND {
            return invalid(format!("it is no {KIND} of {API_VERSION}"));
        }
        read.check().map(|()| read)
    }

    /// As YAML.
    pub fn write(&self) -> Result<String, Invalid> {
        yaml::write(self)
    }

    /// Whether every field is what it may be.
    pub fn check(&self) -> Result<(), Invalid> {
        names::object("metadata.name", &self.metadata.name)?;
        names::label("metadata.namespace", self.namespace())?;
        let spec = &self.spec;
        spec.bounds.check()?;
        if spec.items.len() > MOST || spec.recipients.len() > MOST {
            return invalid("it has more than 1,000 items or recipients");
        }
        for (key, item) in &spec.items {
            names::item(key)?;
            if item.version > spec.version {
                return invalid(format!("item {key} is of a later version than the object"));
            }
        }
        if spec.threshold.is_some() != spec.recipients.is_empty() {
            return invalid("it names either recipients or a threshold");
        }
        if let Some(threshold) = &spec.threshold
            && (threshold.required < 2 || usize::from(threshold.required) > threshold.shares.len())
        {
            return invalid("a threshold is at least 2, and not more than there are shares");
        }
        Ok(())
    }

    /// The namespace; `default` where none is written, as Kubernetes has it.
    pub fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or("default")
    }

    /// The namespace and name that the scope binds.
    pub fn place(&self) -> (Option<&str>, Option<&str>) {
        let (namespace, name) = (Some(self.namespace()), Some(self.metadata.name.as_str()));
        match self.spec.bounds.scope {
            Scope::Strict => (namespace, name),
            Scope::Namespace => (namespace, None),
            Scope::Cluster => (None, None),
        }
    }

    /// What the author signs.
    pub fn signed(&self) -> Vec<u8> {
        let (namespace, name) = self.place();
        let spec = &self.spec;
        let items = spec.items.iter().map(|(key, item)| (key.as_str(), (item.version, item.seal.as_str())));
        let threshold = spec.threshold.as_ref().map(|threshold| SignedThreshold {
            required: threshold.required,
            recipient: &threshold.recipient,
            groups: threshold
                .shares
                .iter()
                .map(|share| (share.group.as_str(), share.recipients.as_slice()))
                .collect(),
        });
        let signed = Signed {
            namespace,
            name,
            bounds: &spec.bounds,
            version: spec.version,
            items: items.collect(),
            threshold,
            author: spec.author.as_deref(),
        };
        let mut bytes = b"keyward.io/sealed-secret/v1\n".to_vec();
        // Plain structures of texts and numbers: writing them as JSON cannot fail.
        bytes.extend(serde_json::to_vec(&signed).unwrap_or_default());
        bytes
    }
}
