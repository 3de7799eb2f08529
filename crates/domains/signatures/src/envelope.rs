//! DSSE envelopes with in-toto statements.
//! <https://github.com/secure-systems-lab/dsse/blob/master/protocol.md>,
//! <https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md>

use crate::candidate::{Candidate, Claim};
use crate::digest::Digest;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::Value;
use std::collections::BTreeMap;

pub(crate) const MEDIA_TYPE: &str = "application/vnd.dsse.envelope.v1+json";
const STATEMENT: &str = "application/vnd.in-toto+json";
/// The predicate by which cosign's bundles say that an image is signed, and no more.
const SIGNED: &str = "https://sigstore.dev/cosign/sign/v1";
/// A statement of cosign whose predicate is a text, or JSON as a text.
const CUSTOM: &str = "https://cosign.sigstore.dev/attestation/v1";
/// Signatures and subjects that are looked at.
const MOST: usize = 256;

pub(crate) fn read(json: &[u8]) -> Result<Candidate, String> {
    let value: Value = serde_json::from_slice(json).map_err(|_| "its envelope is not JSON".to_owned())?;
    of_value(&value)
}

pub(crate) fn of_value(envelope: &Value) -> Result<Candidate, String> {
    let kind = envelope["payloadType"].as_str().unwrap_or_default();
    if kind != STATEMENT {
        return Err("its envelope holds no in-toto statement".to_owned());
    }
    let payload = decoded(&envelope["payload"]).ok_or("the payload of its envelope is not base64")?;
    let listed = envelope["signatures"].as_array().map(Vec::as_slice).unwrap_or_default();
    let signatures: Vec<Vec<u8>> = listed.iter().take(MOST).filter_map(|one| decoded(&one["sig"])).collect();
    if signatures.is_empty() {
        return Err("its envelope has no signature".to_owned());
    }
    Ok(Candidate {
        message: encode(kind, &payload),
        claim: claim(&payload)?,
        hashed: payload,
        signatures,
        certificate: None,
        between: Vec::new(),
        entries: Vec::new(),
    })
}

fn decoded(value: &Value) -> Option<Vec<u8>> {
    let text = value.as_str()?;
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}

/// The pre-authentication encoding: what is signed.
fn encode(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out
}

fn claim(payload: &[u8]) -> Result<Claim, String> {
    let mut statement: Value =
        serde_json::from_slice(payload).map_err(|_| "its statement is not JSON".to_owned())?;
    let kind = statement["_type"].as_str().unwrap_or_default();
    if !kind.starts_with("https://in-toto.io/Statement/") {
        return Err("its payload is no in-toto statement".to_owned());
    }
    let subjects = statement["subject"].as_array().map(Vec::as_slice).unwrap_or_default();
    let digest =
        |subject: &Value| Digest::parse(&format!("sha256:{}", subject["digest"]["sha256"].as_str()?));
    let digests = subjects.iter().take(MOST).filter_map(digest).collect();
    if statement["predicateType"] == SIGNED {
        let mut annotations = BTreeMap::new();
        for subject in subjects.iter().take(MOST) {
            for (key, value) in subject["annotations"].as_object().into_iter().flatten() {
                if let Some(text) = value.as_str() {
                    annotations.insert(key.clone(), text.to_owned());
                }
            }
        }
        return Ok(Claim::Image { digests, annotations });
    }
    if statement["predicateType"] == CUSTOM
        && let Some(text) = statement["predicate"]["Data"].as_str()
        && let Ok(data @ Value::Object(_)) = serde_json::from_str(text)
    {
        statement["predicate"]["Data"] = data;
    }
    Ok(Claim::Statement { digests, statement })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_what_the_protocol_says() {
        assert_eq!(
            encode("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }
}
