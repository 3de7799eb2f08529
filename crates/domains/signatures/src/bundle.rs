//! Sigstore bundles of the versions 0.1 to 0.3, in JSON.
//! <https://docs.sigstore.dev/about/bundle/>

use crate::candidate::Candidate;
use crate::envelope;
use crate::log::Entry;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_crypto::x509::Certificate;
use serde_json::Value;

const MOST: usize = 16;

pub(crate) fn read(json: &[u8]) -> Result<Candidate, String> {
    let value: Value = serde_json::from_slice(json).map_err(|_| "its bundle is not JSON".to_owned())?;
    let envelope = &value["dsseEnvelope"];
    if !envelope.is_object() {
        return Err("its bundle has no envelope: signatures of the contents alone name no image".to_owned());
    }
    let mut candidate = envelope::of_value(envelope)?;
    let material = &value["verificationMaterial"];
    let single = &material["certificate"];
    let chain = material["x509CertificateChain"]["certificates"].as_array();
    let raw: Vec<&Value> = match single.is_object() {
        true => vec![single],
        false => chain.into_iter().flatten().take(MOST).collect(),
    };
    let mut certificates = Vec::new();
    for one in raw {
        let der = one["rawBytes"].as_str().and_then(|text| STANDARD.decode(text).ok());
        certificates.push(der.ok_or("a certificate of its bundle is not base64")?);
    }
    if !certificates.is_empty() {
        let first = certificates.remove(0);
        let first = Certificate::read(&first).map_err(|why| format!("its certificate: {why}"))?;
        candidate.certificate = Some(first);
        candidate.between = certificates;
    }
    for entry in material["tlogEntries"].as_array().into_iter().flatten().take(MOST) {
        candidate.entries.push(Entry::of_bundle(entry)?);
    }
    Ok(candidate)
}
