//! Signatures and attestations of images, which anybody may have put into a registry.

use keyward_signatures::{
    Artifact, Attestor, CertificateLog, Digest, TransparencyLog, Trust, Verifier,
};
use std::collections::BTreeMap;
use std::sync::OnceLock;

const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
const NOW: u64 = 1_780_000_000;

/// Whoever Sigstore's public instance has given a certificate.
fn anybody() -> &'static Verifier {
    static MADE: OnceLock<Verifier> = OnceLock::new();
    MADE.get_or_init(|| {
        let trust =
            Trust::Keyless { roots: String::new(), identities: Vec::new(), extensions: BTreeMap::new() };
        Verifier::new(&Attestor {
            trust,
            annotations: BTreeMap::new(),
            log: TransparencyLog::default(),
            certificate_log: CertificateLog::default(),
            trusted_root: String::new(),
        })
        .unwrap()
    })
}

pub(crate) fn run(data: &[u8]) {
    let digest = Digest::of(b"an image of nobody");
    let text = String::from_utf8_lossy(data).into_owned();
    let annotations = ["dev.sigstore.cosign/certificate", "dev.sigstore.cosign/chain", "dev.sigstore.cosign/bundle"]
        .map(|key| (key.to_owned(), text.clone()));
    let signature = ("dev.cosignproject.cosign/signature".to_owned(), "AAAA".to_owned());
    let layer = |media_type: &str, annotations: BTreeMap<String, String>| Artifact::Layer {
        media_type: media_type.to_owned(),
        contents: data.to_vec(),
        annotations,
    };
    let payload = r#"{"critical":{"image":{"docker-manifest-digest":"DIGEST"}}}"#;
    let artifacts = [
        Artifact::Bundle(data.to_vec()),
        layer(ENVELOPE, BTreeMap::new()),
        layer(PAYLOAD, BTreeMap::from([signature.clone()])),
        Artifact::Layer {
            media_type: PAYLOAD.to_owned(),
            contents: payload.replace("DIGEST", &digest.to_string()).into_bytes(),
            annotations: annotations.into_iter().chain([signature]).collect(),
        },
    ];
    // Nobody has signed this image, whatever is said.
    assert!(anybody().signed(&digest, &artifacts, NOW).is_err(), "{text}");
    assert!(anybody().statements(&digest, &artifacts, NOW).is_err(), "{text}");
    if let Some(read) = Digest::parse(&text) {
        assert_eq!(read.to_string(), text);
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let bundle = include_str!("../../../crates/domains/signatures/testdata/promise.json");
    let payload = r#"{"critical":{"identity":{"docker-reference":"a/b"},"image":{"docker-manifest-digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},"type":"cosign container image signature"},"optional":{"a":"b"}}"#;
    let entry = r#"{"SignedEntryTimestamp":"AAAA","Payload":{"body":"e30=","integratedTime":1,"logIndex":1,"logID":"c0d23d6ad406973f9559f3ba2d1ca01f84147d8ffc5b8445c224f98b9591801d"}}"#;
    let envelope = r#"{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[{"sig":"AAAA"}]}"#;
    crate::texts(&[bundle, payload, entry, envelope, "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"])
}
