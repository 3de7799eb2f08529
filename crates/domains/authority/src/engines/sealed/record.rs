//! What the mount signs: which phase the cluster is in, who owns a secret since when, on whose word. Whoever has the
//! mount's public key can check such a record long after, and without the authority.

use crate::context::Context;
use crate::engines::transit::wire::Hidden;
use crate::refusal::Refusal;
use keyward_crypto::secret::SecretKey;
use keyward_crypto::{Secret, sha256};
use keyward_envelope::Signer;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

const PATH: &str = "signer";
/// What is signed begins with it, so that no signature of another protocol is one of a record.
const MAGIC: &[u8] = b"keyward.io/authority-record/v1\n";

/// The mount's signing key, made when it is first needed.
pub(super) fn signer(cx: &mut Context<'_, '_>) -> Result<Arc<Signer>, Refusal> {
    let read = |plain: &[u8]| {
        let corrupt = || Refusal::Corrupt(PATH.to_owned());
        let seed: Hidden = serde_json::from_slice(plain).map_err(|_| corrupt())?;
        signer_of(SecretKey::from_slice(seed.0.expose()).ok_or_else(corrupt)?)
    };
    if let Some(signer) = cx.built(PATH, read)? {
        return Ok(signer);
    }
    let seed: SecretKey = Secret::random(cx.random());
    cx.put_json(PATH, &Hidden(Secret::new(seed.expose().to_vec())))?;
    signer_of(seed).map(Arc::new)
}

fn signer_of(seed: SecretKey) -> Result<Signer, Refusal> {
    Signer::from_seed(seed).map_err(|why| Refusal::Internal(why.to_string()))
}

/// A record and the mount's signature of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Signed {
    /// The record, byte for byte as it was signed: JSON.
    text: String,
    signature: String,
    key: String,
}

impl Signed {
    /// Signs `record`.
    pub(super) fn of(cx: &mut Context<'_, '_>, record: &impl Serialize) -> Result<Signed, Refusal> {
        let signer = signer(cx)?;
        let text = serde_json::to_string(record)
            .map_err(|why| Refusal::Internal(format!("a record could not be written: {why}")))?;
        let signature = signer.sign(&[MAGIC, text.as_bytes()].concat());
        let signature = signature.map_err(|why| Refusal::Internal(why.to_string()))?;
        Ok(Signed { text, signature, key: signer.public() })
    }

    /// What it says.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        serde_json::from_str(&self.text).map_err(|_| Refusal::Corrupt("a signed record".to_owned()))
    }

    /// Names it in the record after it.
    pub(super) fn digest(&self) -> String {
        digest(self.text.as_bytes())
    }

    /// As clients read it.
    pub(super) fn describe(&self) -> Value {
        json!({
            "record": serde_json::from_str::<Value>(&self.text).unwrap_or_default(),
            "text": self.text,
            "signature": self.signature,
            "key": self.key,
        })
    }
}

/// A hash that names bytes.
pub(super) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(sha256(bytes)))
}

/// Who asks, as records name them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Who {
    name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    entity_id: String,
    accessor: String,
}

pub(super) fn who(cx: &Context<'_, '_>) -> Result<Who, Refusal> {
    let token = &cx.caller()?.token;
    Ok(Who {
        name: token.display_name.clone(),
        entity_id: token.entity_id.clone(),
        accessor: token.accessor.clone(),
    })
}
