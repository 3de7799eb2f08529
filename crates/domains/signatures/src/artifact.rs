//! What is attached to an image and may be a signature.

use crate::bundle;
use crate::candidate::{Candidate, Claim};
use crate::certificate;
use crate::digest::Digest;
use crate::envelope;
use crate::log::Entry;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;

const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
const CHAIN: &str = "dev.sigstore.cosign/chain";
const ENTRY: &str = "dev.sigstore.cosign/bundle";

/// What was found in a registry, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Artifact {
    /// A layer of a manifest that cosign attached, with its annotations.
    Layer {
        /// What kind of contents it has.
        media_type: String,
        /// The contents: a payload that is signed, or an envelope with its signatures.
        contents: Vec<u8>,
        /// What stands beside it in the manifest.
        annotations: BTreeMap<String, String>,
    },
    /// A Sigstore bundle, in JSON.
    Bundle(Vec<u8>),
}

impl Artifact {
    /// Whether a layer of this kind may be a signature or something that is said of an image.
    pub fn is_signature(media_type: &str) -> bool {
        media_type == "application/vnd.dev.cosign.simplesigning.v1+json" || media_type == envelope::MEDIA_TYPE
    }

    /// Whether an artifact of this kind is a bundle.
    pub fn is_bundle(media_type: &str) -> bool {
        media_type.starts_with("application/vnd.dev.sigstore.bundle")
    }

    /// What claims to be signed. Nothing of it is verified.
    pub(crate) fn read(&self) -> Result<Candidate, String> {
        match self {
            Artifact::Bundle(json) => bundle::read(json),
            Artifact::Layer { media_type, contents, annotations } => {
                let of_envelope = media_type == envelope::MEDIA_TYPE;
                let mut candidate = match of_envelope {
                    true => envelope::read(contents)?,
                    false => payload(contents, annotations)?,
                };
                let text = |key: &str| annotations.get(key).filter(|text| !text.is_empty());
                if let Some(pem) = text(CERTIFICATE) {
                    let mut read = certificate::all(pem).map_err(|why| format!("its certificate: {why}"))?;
                    let chain = text(CHAIN).map(|chain| certificate::all(chain)).transpose();
                    let chain = chain.map_err(|why| format!("its chain: {why}"))?.unwrap_or_default();
                    candidate.certificate = (!read.is_empty()).then(|| read.swap_remove(0));
                    candidate.between = chain.iter().map(|one| one.der().to_vec()).collect();
                }
                if let Some(json) = text(ENTRY) {
                    candidate.entries.push(Entry::of_annotation(json)?);
                }
                Ok(candidate)
            }
        }
    }
}

/// A payload in the form of "simple signing", and the signature beside it.
fn payload(contents: &[u8], annotations: &BTreeMap<String, String>) -> Result<Candidate, String> {
    let value: serde_json::Value =
        serde_json::from_slice(contents).map_err(|_| "its payload is not JSON".to_owned())?;
    let digest = value["critical"]["image"]["docker-manifest-digest"].as_str().unwrap_or_default();
    let digest = Digest::parse(digest).ok_or("its payload names no image")?;
    let signature = annotations.get(SIGNATURE).ok_or("there is no signature beside the payload")?;
    let signature = STANDARD.decode(signature).map_err(|_| "its signature is not base64".to_owned())?;
    let annotations = value["optional"].as_object().into_iter().flatten();
    let annotations =
        annotations.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
    Ok(Candidate {
        message: contents.to_vec(),
        hashed: contents.to_vec(),
        signatures: vec![signature],
        claim: Claim::Image { digests: vec![digest], annotations },
        certificate: None,
        between: Vec::new(),
        entries: Vec::new(),
    })
}
