//! Entries of a transparency log (Rekor, version 1), verified by what comes with a signature.
//!
//! A log's signed promise covers the entry and the time when it was made; a proof of inclusion covers the entry alone, under a
//! checkpoint that the log has signed. Either shows that the entry is public. What the entry is about is in its body, and must be
//! this signature, of these bytes, by this key: an entry of something else proves nothing.

use crate::digest::Digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_crypto::sha256;
use keyward_crypto::x509::{Certificate, PublicKey, log_signed, pem};
use serde_json::Value;

/// Levels of a tree that a proof may climb.
const MOST_HASHES: usize = 64;
const UNREADABLE: &str = "its entry of the transparency log cannot be read";

pub(crate) struct Entry {
    body: Vec<u8>,
    /// Seconds since 1970.
    integrated: u64,
    index: u64,
    /// SHA-256 of the log's public key.
    log: [u8; 32],
    promise: Option<Vec<u8>>,
    proof: Option<Proof>,
}

struct Proof {
    index: u64,
    size: u64,
    root: [u8; 32],
    hashes: Vec<[u8; 32]>,
    checkpoint: String,
}

/// Who signed, as the log has to have it.
#[derive(Clone, Copy)]
pub(crate) enum Signer<'a> {
    Key(&'a PublicKey),
    Certificate(&'a Certificate),
}

fn decoded(value: &Value) -> Option<Vec<u8>> {
    STANDARD.decode(value.as_str()?).ok()
}

/// JSON of protocol buffers has large numbers as texts.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

impl Entry {
    /// What cosign puts beside a signature: `{"SignedEntryTimestamp", "Payload"}`.
    pub(crate) fn of_annotation(json: &str) -> Result<Entry, String> {
        let value: Value = serde_json::from_str(json).map_err(|_| UNREADABLE.to_owned())?;
        let payload = &value["Payload"];
        let read = || {
            let mut log = [0; 32];
            hex::decode_to_slice(payload["logID"].as_str()?, &mut log).ok()?;
            Some(Entry {
                body: decoded(&payload["body"])?,
                integrated: number(&payload["integratedTime"])?,
                index: number(&payload["logIndex"])?,
                log,
                promise: Some(decoded(&value["SignedEntryTimestamp"])?),
                proof: None,
            })
        };
        read().ok_or_else(|| UNREADABLE.to_owned())
    }

    /// One of `tlogEntries` of a bundle.
    pub(crate) fn of_bundle(value: &Value) -> Result<Entry, String> {
        let read = || {
            let proof = &value["inclusionProof"];
            Some(Entry {
                body: decoded(&value["canonicalizedBody"])?,
                // A log that does not promise tells no time.
                integrated: number(&value["integratedTime"]).unwrap_or_default(),
                index: number(&value["logIndex"]).unwrap_or_default(),
                log: decoded(&value["logId"]["keyId"])?.try_into().ok()?,
                promise: decoded(&value["inclusionPromise"]["signedEntryTimestamp"]),
                proof: if proof.is_object() { Some(Proof::read(proof)?) } else { None },
            })
        };
        read().ok_or_else(|| UNREADABLE.to_owned())
    }

    /// Verifies that one of `logs` has the entry, and that it is about this signature. The time, in seconds since 1970, when the log
    /// got it, where the log has signed that.
    pub(crate) fn verify(
        &self,
        logs: &[PublicKey],
        hashed: &[u8],
        signature: &[u8],
        signer: Signer<'_>,
    ) -> Result<Option<u64>, String> {
        let log = logs.iter().find(|log| sha256(log.spki()) == self.log);
        let log = log.ok_or("the transparency log that has it is not one that is believed")?;
        if !is_about(&self.body, hashed, signature, signer) {
            return Err("its entry of the transparency log is of another signature".to_owned());
        }
        if let Some(promise) = &self.promise {
            return match log_signed(log, self.promised().as_bytes(), promise) {
                true => Ok(Some(self.integrated)),
                false => Err("the transparency log's promise is not signed by it".to_owned()),
            };
        }
        let proof = self.proof.as_ref().ok_or("the transparency log has neither promised nor proved it")?;
        proof.verify(&self.body, log).map(|()| None)
    }

    /// What a promise signs: RFC 8785 of the entry.
    fn promised(&self) -> String {
        format!(
            r#"{{"body":"{}","integratedTime":{},"logID":"{}","logIndex":{}}}"#,
            STANDARD.encode(&self.body),
            self.integrated,
            hex::encode(self.log),
            self.index
        )
    }
}

impl Proof {
    fn read(value: &Value) -> Option<Proof> {
        let hash = |value: &Value| <[u8; 32]>::try_from(decoded(value)?).ok();
        let hashes = value["hashes"].as_array().map(Vec::as_slice).unwrap_or_default();
        if hashes.len() > MOST_HASHES {
            return None;
        }
        Some(Proof {
            index: number(&value["logIndex"]).unwrap_or_default(),
            size: number(&value["treeSize"])?,
            root: hash(&value["rootHash"])?,
            hashes: hashes.iter().map(hash).collect::<Option<_>>()?,
            checkpoint: value["checkpoint"]["envelope"].as_str()?.to_owned(),
        })
    }

    fn verify(&self, body: &[u8], log: &PublicKey) -> Result<(), String> {
        if self.climb(body) != Some(self.root) {
            return Err("the transparency log's proof does not lead to its root".to_owned());
        }
        let wrong =
            || "the transparency log's checkpoint is not signed by it, or is of another tree".to_owned();
        let (head, signatures) = self.checkpoint.split_once("\n\n").ok_or_else(wrong)?;
        let mut lines = head.lines().skip(1);
        let size = lines.next().and_then(|line| line.parse::<u64>().ok());
        let root = lines.next().and_then(|line| STANDARD.decode(line).ok());
        if size != Some(self.size) || root.as_deref() != Some(&self.root) {
            return Err(wrong());
        }
        let signed = format!("{head}\n");
        let by_log = |line: &str| {
            let signature = line.strip_prefix("\u{2014} ").and_then(|line| line.split_once(' '));
            let signature = signature.and_then(|(_, text)| STANDARD.decode(text).ok()).unwrap_or_default();
            // Four bytes hint at the key.
            signature.get(4..).is_some_and(|signature| log_signed(log, signed.as_bytes(), signature))
        };
        if signatures.lines().take(MOST_HASHES).any(by_log) { Ok(()) } else { Err(wrong()) }
    }

    /// The root that the proof leads to from a leaf: RFC 9162, 2.1.3.2.
    fn climb(&self, body: &[u8]) -> Option<[u8; 32]> {
        let node = |left: &[u8], right: &[u8]| sha256(&[&[1], left, right].concat());
        let (mut at, mut last) = (self.index, self.size.checked_sub(1)?);
        if at > last {
            return None;
        }
        let mut hash = sha256(&[&[0], body].concat());
        for other in &self.hashes {
            if last == 0 {
                return None;
            }
            if at & 1 == 1 || at == last {
                hash = node(other, &hash);
                while at & 1 == 0 && at != 0 {
                    at >>= 1;
                    last >>= 1;
                }
            } else {
                hash = node(&hash, other);
            }
            at >>= 1;
            last >>= 1;
        }
        (last == 0).then_some(hash)
    }
}

/// Whether the body of an entry is of these bytes, this signature and this signer.
fn is_about(body: &[u8], hashed: &[u8], signature: &[u8], signer: Signer<'_>) -> bool {
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return false };
    let spec = &body["spec"];
    let same_hash = |hash: &Value| {
        hash["algorithm"] == "sha256" && hash["value"].as_str() == Some(&Digest::of(hashed).digits())
    };
    let is_signature = |value: &Value| decoded(value).as_deref() == Some(signature);
    match body["kind"].as_str() {
        Some("hashedrekord") => {
            let signed = &spec["signature"];
            same_hash(&spec["data"]["hash"])
                && is_signature(&signed["content"])
                && is_signer(&signed["publicKey"]["content"], signer)
        }
        Some("dsse") => {
            let signatures = spec["signatures"].as_array().into_iter().flatten();
            let ours = |one: &Value| is_signature(&one["signature"]) && is_signer(&one["verifier"], signer);
            same_hash(&spec["payloadHash"]) && signatures.take(MOST_HASHES).any(ours)
        }
        Some("intoto") if body["apiVersion"] == "0.0.2" => {
            let signatures = spec["content"]["envelope"]["signatures"].as_array().into_iter().flatten();
            // It has the base64 of the envelope's base64.
            let ours = |one: &Value| {
                let inner = decoded(&one["sig"]).and_then(|text| STANDARD.decode(text).ok());
                inner.as_deref() == Some(signature) && is_signer(&one["publicKey"], signer)
            };
            same_hash(&spec["content"]["payloadHash"]) && signatures.take(MOST_HASHES).any(ours)
        }
        _ => false,
    }
}

/// Whether a PEM text in base64 is of who signed.
fn is_signer(value: &Value, signer: Signer<'_>) -> bool {
    let text = decoded(value).and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    let Some(block) = pem::blocks(&text).and_then(|blocks| blocks.into_iter().next()) else { return false };
    match (signer, block.label == pem::CERTIFICATE) {
        (Signer::Certificate(certificate), true) => certificate.der() == block.der.as_slice(),
        (Signer::Key(key), true) => Certificate::read(&block.der).is_ok_and(|read| read.public() == key),
        (Signer::Key(key), false) => key.spki() == block.der.as_slice(),
        (Signer::Certificate(certificate), false) => certificate.public().spki() == block.der.as_slice(),
    }
}
