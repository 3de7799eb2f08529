//! What is public of a root of trust: a document that the root signed, so that two people can tell that they speak of the
//! same root. A new root is only ever one that the old root signed.

use std::collections::BTreeMap;

use keyward_crypto::sha256;
use keyward_intent::{API_VERSION, Moment, yaml};
use serde::{Deserialize, Serialize};

use crate::author::AuthorKey;
use crate::violation::{Failure, invalid};

const KIND: &str = "RootOfTrust";

/// Eight bytes that name a root: of the hash of its public key.
pub fn id_of(public: &str) -> [u8; 8] {
    *sha256(public.as_bytes()).first_chunk().unwrap_or(&[0; 8])
}

/// The same in 16 hexadecimal digits, as documents have it.
pub fn id(public: &str) -> String {
    id_of(public).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is public of a root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document {
    api_version: String,
    kind: String,
    /// What it says.
    pub spec: DocumentSpec,
}

/// What a root's document says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DocumentSpec {
    /// 16 hexadecimal digits that name the root, and stand in its shares.
    pub id: String,
    /// 1 for the first.
    pub generation: u32,
    /// When it was made.
    pub created: Moment,
    /// How many shares give it back.
    pub required: u8,
    /// How many there are.
    pub shares: u8,
    /// What the root signs with: an SSH public key.
    pub key: String,
    /// The intent signing key: an SSH public key.
    pub author: String,
    /// The sealing identities' recipients, by purpose.
    pub recipients: BTreeMap<String, String>,
    /// Whom it follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predecessor: Option<Predecessor>,
    /// The root's own signature, in base64.
    pub signature: String,
}

/// The root before, and its word for this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Predecessor {
    /// Its id.
    pub id: String,
    /// What it signs with.
    pub key: String,
    /// Its signature over its successor's id, generation and key, in base64.
    pub signature: String,
}

impl DocumentSpec {
    /// What the root signs.
    pub fn signed(&self) -> Vec<u8> {
        let unsigned = DocumentSpec { signature: String::new(), ..self.clone() };
        let mut bytes = b"keyward.io/root-of-trust/v1\n".to_vec();
        // Plain structures of texts and numbers: writing them as JSON cannot fail.
        bytes.extend(serde_json::to_vec(&unsigned).unwrap_or_default());
        bytes
    }

    /// What the root before signs.
    pub fn succession(&self) -> Vec<u8> {
        format!("keyward.io/root-succession/v1\n{}\n{}\n{}\n", self.id, self.generation, self.key)
            .into_bytes()
    }
}

impl Document {
    /// Of what it says.
    pub fn new(spec: DocumentSpec) -> Document {
        Document { api_version: API_VERSION.to_owned(), kind: KIND.to_owned(), spec }
    }

    /// Whether a document says that it is one.
    pub fn is(document: &yaml::Kind) -> bool {
        document.kind == KIND && document.api_version == API_VERSION
    }

    /// Reads a document, and checks its signatures.
    pub fn read(text: &str) -> Result<Document, Failure> {
        let read: Document = yaml::read(text)?;
        if read.api_version != API_VERSION || read.kind != KIND {
            return invalid(format!("it is no {KIND} of {API_VERSION}"));
        }
        let spec = &read.spec;
        let own = AuthorKey::read(&spec.key)?;
        if spec.id != id(&spec.key) || !own.verifies(&spec.signed(), &spec.signature) {
            return invalid("the root's signature is not that of its document: it was edited");
        }
        if let Some(old) = &spec.predecessor {
            let word = AuthorKey::read(&old.key)?;
            if old.id != id(&old.key) || !word.verifies(&spec.succession(), &old.signature) {
                return invalid("the old root did not sign this one");
            }
        }
        Ok(read)
    }

    /// As YAML.
    pub fn write(&self) -> Result<String, Failure> {
        Ok(yaml::write(self)?)
    }

    /// Whether `next` is the successor this root signed.
    pub fn is_followed_by(&self, next: &Document) -> Result<(), Failure> {
        match &next.spec.predecessor {
            Some(old) if old.key == self.spec.key && next.spec.generation > self.spec.generation => Ok(()),
            _ => invalid(format!("root {} did not sign {}", self.spec.id, next.spec.id)),
        }
    }
}
