//! Bundles that Sigstore's public instance made, of packages in npm's registry: `promise.json` has a log's promise, `proof.json`
//! a proof of inclusion besides.

use crate::attestor::*;
use crate::candidate::{Candidate, Claim};
use crate::{Artifact, Digest, Verifier};
use serde_json::Value;
use std::collections::BTreeMap;

const PROMISE: &str = include_str!("../testdata/promise.json");
const PROOF: &str = include_str!("../testdata/proof.json");
/// Long after all of the certificates have ended.
const NOW: u64 = 1_780_000_000;
const GITHUB: &str = "https://token.actions.githubusercontent.com";

fn keyless(issuer: Wanted, subject: Wanted) -> Attestor {
    Attestor {
        trust: Trust::Keyless {
            roots: String::new(),
            identities: vec![Identity { issuer, subject }],
            extensions: BTreeMap::new(),
        },
        annotations: BTreeMap::new(),
        log: TransparencyLog::default(),
        certificate_log: CertificateLog::default(),
        trusted_root: String::new(),
    }
}

fn github() -> Attestor {
    keyless(Wanted::Text(GITHUB.to_owned()), Wanted::Pattern("^https://github.com/sigstore/".to_owned()))
}

/// The bundles are about packages, which are no images: of them all else is checked.
fn about(digest: Digest, json: &str) -> Result<Candidate, String> {
    let mut candidate = Artifact::Bundle(json.as_bytes().to_vec()).read()?;
    let (Claim::Image { digests, .. } | Claim::Statement { digests, .. }) = &mut candidate.claim;
    digests.push(digest);
    Ok(candidate)
}

fn check(attestor: &Attestor, json: &str) -> Result<(), String> {
    let digest = Digest::of(b"an image");
    Verifier::new(attestor).unwrap().check(&about(digest, json)?, &digest, NOW)
}

#[test]
fn what_the_public_instance_signed_is_signed() {
    for json in [PROMISE, PROOF] {
        assert_eq!(check(&github(), json), Ok(()));
    }
}

#[test]
fn a_proof_of_inclusion_counts_without_a_promise() {
    let mut bundle: Value = serde_json::from_str(PROOF).unwrap();
    bundle["verificationMaterial"]["tlogEntries"][0]["inclusionPromise"] = Value::Null;
    // It tells no time, and the certificate lived for minutes.
    let why = check(&github(), &bundle.to_string()).unwrap_err();
    assert!(why.contains("no log has signed when it was used"), "{why}");
    for broken in ["rootHash", "treeSize", "hashes"] {
        let mut bundle = bundle.clone();
        let proof = &mut bundle["verificationMaterial"]["tlogEntries"][0]["inclusionProof"];
        proof[broken] = match broken {
            "rootHash" => proof["hashes"][0].clone(),
            "treeSize" => "3".into(),
            _ => Value::Array(Vec::new()),
        };
        let why = check(&github(), &bundle.to_string()).unwrap_err();
        assert!(why.contains("proof") || why.contains("checkpoint"), "{broken}: {why}");
    }
}

#[test]
fn others_have_not_signed() {
    let somebody = keyless(Wanted::Anything, Wanted::Text("somebody@example.com".to_owned()));
    assert!(check(&somebody, PROMISE).unwrap_err().contains("mismatch"));
    let elsewhere = keyless(Wanted::Text("https://accounts.google.com".to_owned()), Wanted::Anything);
    assert!(check(&elsewhere, PROMISE).unwrap_err().contains(GITHUB));
    let mut extended = github();
    if let Trust::Keyless { extensions, .. } = &mut extended.trust {
        extensions.insert("githubWorkflowTrigger".to_owned(), Wanted::Text("push".to_owned()));
    }
    let pushed = check(&extended, PROMISE);
    if let Trust::Keyless { extensions, .. } = &mut extended.trust {
        extensions.insert("githubWorkflowTrigger".to_owned(), Wanted::Text("never".to_owned()));
    }
    assert_ne!(pushed, check(&extended, PROMISE));
}

#[test]
fn each_part_of_a_bundle_counts() {
    let original: Value = serde_json::from_str(PROMISE).unwrap();
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut bundle = original.clone();
        change(&mut bundle);
        check(&github(), &bundle.to_string()).unwrap_err()
    };
    let entry = |bundle: &mut Value| bundle["verificationMaterial"]["tlogEntries"][0].take();
    let why = changed(&|bundle| {
        entry(bundle);
        bundle["verificationMaterial"]["tlogEntries"] = Value::Array(Vec::new());
    });
    assert_eq!(why, "it is in no transparency log");
    let why = changed(&|bundle| {
        bundle["verificationMaterial"]["tlogEntries"][0]["integratedTime"] = "1681839913".into();
    });
    assert!(why.contains("promise"), "{why}");
    let why = changed(&|bundle| {
        let other: Value = serde_json::from_str(PROOF).unwrap();
        bundle["verificationMaterial"]["tlogEntries"] = other["verificationMaterial"]["tlogEntries"].clone();
    });
    assert!(why.contains("another signature"), "{why}");
    let why = changed(&|bundle| {
        let other: Value = serde_json::from_str(PROOF).unwrap();
        bundle["dsseEnvelope"]["payload"] = other["dsseEnvelope"]["payload"].clone();
    });
    assert!(why.contains("invalid signature"), "{why}");
    let why = changed(&|bundle| bundle["verificationMaterial"]["x509CertificateChain"] = Value::Null);
    assert!(why.contains("no certificate"), "{why}");
}

#[test]
fn logs_and_authorities_of_others_are_not_believed() {
    // A log that is somebody else's: of the two that log certificates, neither logs signatures.
    let root: Value = serde_json::from_str(include_str!("../data/public-good.json")).unwrap();
    let key = root["ctlogs"][0]["publicKey"]["rawBytes"].as_str().unwrap();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{key}\n-----END PUBLIC KEY-----\n");
    let mut attestor = github();
    attestor.log.keys = pem.clone();
    assert!(check(&attestor, PROMISE).unwrap_err().contains("not one that is believed"));
    let mut attestor = github();
    attestor.certificate_log.keys = pem;
    assert!(check(&attestor, PROMISE).unwrap_err().contains("certificate log"));
    attestor.certificate_log.ignored = true;
    assert_eq!(check(&attestor, PROMISE), Ok(()));
    let mut attestor = github();
    attestor.trusted_root = {
        let mut root = root.clone();
        root["certificateAuthorities"].as_array_mut().unwrap().truncate(1);
        root.to_string()
    };
    assert!(check(&attestor, PROMISE).unwrap_err().contains("not believed"));
}

#[test]
fn what_cannot_be_used_is_told() {
    let key = |text: &str, hash: &str| Attestor {
        trust: Trust::Key { key: PublicKeySource::Pem(text.to_owned()), hash: hash.to_owned() },
        ..github()
    };
    for (attestor, why) in [
        (key("", ""), "no PUBLIC KEY"),
        (key("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", ""), "public key"),
        (key("", "md5"), "md5"),
        (keyless(Wanted::Pattern("(".to_owned()), Wanted::Anything), "regular expression"),
        (Attestor { trusted_root: "x".to_owned(), ..github() }, "trusted root"),
    ] {
        let unfit = Verifier::new(&attestor).unwrap_err().to_string();
        assert!(unfit.contains(why), "{unfit}");
    }
}

#[test]
fn hostile_artifacts_are_only_reasons() {
    let verifier = Verifier::new(&github()).unwrap();
    let digest = Digest::of(b"an image");
    let hostile = [
        &b""[..],
        b"[]",
        b"{}",
        br#"{"dsseEnvelope":{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[{"sig":""}]}}"#,
        br#"{"dsseEnvelope":{"payloadType":"application/vnd.in-toto+json","payload":"====","signatures":7}}"#,
    ];
    let mut artifacts: Vec<Artifact> = hostile.iter().map(|json| Artifact::Bundle(json.to_vec())).collect();
    for media_type in
        ["application/vnd.dev.cosign.simplesigning.v1+json", "application/vnd.dsse.envelope.v1+json"]
    {
        artifacts.extend(hostile.iter().map(|json| Artifact::Layer {
            media_type: media_type.to_owned(),
            contents: json.to_vec(),
            annotations: BTreeMap::from([
                ("dev.sigstore.cosign/certificate".to_owned(), "-----BEGIN".to_owned()),
                ("dev.sigstore.cosign/bundle".to_owned(), "{".to_owned()),
            ]),
        }));
    }
    assert!(verifier.signed(&digest, &artifacts, NOW).is_err());
    assert!(verifier.statements(&digest, &artifacts, NOW).is_err());
    assert_eq!(verifier.signed(&digest, &[], NOW).unwrap_err().to_string(), "no signatures found");
}
