//! The `ZenLock` resource of the Zen Mesh project (`security.kube-zen.io/v1alpha1`), taken as written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Invalid, Metadata, invalid, names, yaml};

const API_VERSION: &str = "security.kube-zen.io/v1alpha1";
const KIND: &str = "ZenLock";

/// Values sealed one by one, bound to nothing: neither their place nor their subjects stand inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ZenLock {
    api_version: String,
    kind: String,
    /// Where it stands.
    pub metadata: Metadata,
    /// What is sealed.
    pub spec: ZenLockSpec,
}

/// What is sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ZenLockSpec {
    /// Age files in base64.
    pub encrypted_data: BTreeMap<String, String>,
    /// `age`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
    /// Who may have it. Zen Mesh takes an empty list for everybody; Keyward takes it for nobody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_subjects: Vec<AllowedSubject>,
}

/// A subject, with a namespace unless it is the object's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AllowedSubject {
    /// `ServiceAccount`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

impl ZenLock {
    /// Whether a document says that it is one.
    pub fn is(document: &yaml::Kind) -> bool {
        document.kind == KIND && document.api_version == API_VERSION
    }

    /// Reads a manifest.
    pub fn read(text: &str) -> Result<ZenLock, Invalid> {
        let read: ZenLock = yaml::read_public(text)?;
        if read.api_version != API_VERSION || read.kind != KIND {
            return invalid(format!("it is no {KIND} of {API_VERSION}"));
        }
        names::object("metadata.name", &read.metadata.name)?;
        if read.spec.algorithm.as_deref().is_some_and(|algorithm| algorithm != "age") {
            return invalid("the algorithm of a ZenLock is age");
        }
        if read.spec.encrypted_data.is_empty() {
            return invalid("encryptedData is empty");
        }
        read.spec.encrypted_data.keys().try_for_each(|key| names::item(key))?;
        match read.spec.allowed_subjects.iter().all(|subject| subject.kind == "ServiceAccount") {
            true => Ok(read),
            false => invalid("allowedSubjects are of the kind ServiceAccount"),
        }
    }

    /// As YAML.
    pub fn write(&self) -> Result<String, Invalid> {
        yaml::write(self)
    }
}
