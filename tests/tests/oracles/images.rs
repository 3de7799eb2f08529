//! Signatures that cosign makes, of images in a real registry, by `keyward policy apply --registry`.

use keyward_testkit::process::{free_port, run};
use keyward_testkit::require;
use keyward_tests::binary::keyward;
use keyward_tests::images::{Layout, READER, Registry, Signer, check};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use serde_json::{Value, json};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(90);
const SCAN: &str = "https://example.com/scan/v1";

fn here(program: &Path) -> Command {
    Command::new(program)
}

fn start(logins: &str) -> Registry {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port().unwrap()));
    let registry = Registry::start(|program| Command::new(program), address, logins);
    registry.wait();
    registry
}

/// A policy of Kyverno's documents: every image is signed by these attestors.
fn policy(attestors: Value, more: Value) -> Value {
    let mut entry = json!({"imageReferences": ["*"], "failureAction": "Enforce", "attestors": attestors});
    entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "check-image"}, "spec": {"rules": [{
        "name": "check", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, "verifyImages": [entry]}]}})
}

/// An entry for a key, whose signatures are told to nobody.
fn key(pem: &str) -> Value {
    json!({"keys": {"publicKeys": pem, "rekor": {"ignoreTlog": true}, "ctlog": {"ignoreSCT": true}}})
}

fn by(entry: Value) -> Value {
    json!([{"entries": [entry]}])
}

/// What is said of a pod with this image, and whether it is refused.
struct Said {
    refused: bool,
    text: String,
}

fn apply(registry: &Registry, policy: &Value, image: &str, more: &[&str]) -> Said {
    let (of_policy, of_pod) = (registry.file("policy.json"), registry.file("pod.json"));
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "app", "namespace": "default"},
        "spec": {"containers": [{"name": "app", "image": image}]}});
    fs::write(&of_policy, policy.to_string()).unwrap();
    fs::write(&of_pod, pod.to_string()).unwrap();
    let mut command = here(keyward());
    command.args(["policy", "apply", "--registry"]).arg(&of_policy).arg("--resource").arg(&of_pod).args(more);
    command.env("DOCKER_CONFIG", registry.file("nowhere"));
    let done = run(&mut command, b"", LIMIT).unwrap();
    let text = String::from_utf8(done.stdout).unwrap() + &done.stderr;
    Said { refused: !done.status.success(), text }
}

fn fine(registry: &Registry, policy: &Value, image: &str) -> String {
    let said = apply(registry, policy, image, &["--changed"]);
    assert!(!said.refused, "{image}: {}", apply(registry, policy, image, &[]).text);
    said.text
}

fn refused(registry: &Registry, policy: &Value, image: &str, why: &str) {
    let said = apply(registry, policy, image, &[]);
    assert!(said.refused && said.text.contains(why), "{image}: {}", said.text);
}

#[test]
fn signatures_of_cosign_are_verified() {
    if !require(check()) {
        return;
    }
    let registry = start("");
    let (ours, theirs) = (Signer::new(), Signer::new());
    let at = |repository: &str, reference: &str| format!("{}/{repository}{reference}", registry.address());
    let wanted = policy(by(key(&ours.public_key())), json!({}));
    for (layout, tag) in [(Layout::Tags, "tags"), (Layout::Bundles, "bundles")] {
        let digest = registry.push("app", tag, tag);
        let (image, exact) = (at("app", &format!(":{tag}")), at("app", &format!("@{digest}")));
        refused(&registry, &wanted, &image, ".attestors[0].entries[0].keys: no signatures found");
        theirs.sign(here, &exact, layout, &[], None);
        refused(&registry, &wanted, &image, "no matching signatures: invalid signature");
        ours.sign(here, &exact, layout, &["--annotations=team=a"], None);
        let made = fine(&registry, &wanted, &image);
        assert!(
            made.contains(&format!("{image}@{digest}")) && made.contains("kyverno.io/verify-images"),
            "{made}"
        );
        fine(&registry, &wanted, &exact);
        annotations_and_counts(&registry, &ours, &theirs, &image);
        // The tag is moved to what nobody signed.
        registry.push("app", tag, &format!("{tag} of somebody else"));
        refused(&registry, &wanted, &image, "no signatures found");
        fine(&registry, &wanted, &exact);
    }
    let bundles = policy(by(key(&ours.public_key())), json!({"type": "SigstoreBundle"}));
    fine(&registry, &bundles, &at("app", &format!("@{}", registry.push("app", "again", "bundles"))));
    refused(
        &registry,
        &bundles,
        &at("app", &format!("@{}", registry.push("app", "again", "tags"))),
        "no signatures",
    );
    let elsewhere = at("signatures", "");
    let apart = registry.push("app", "apart", "signed elsewhere");
    ours.sign(here, &at("app", &format!("@{apart}")), Layout::Tags, &[], Some(&elsewhere));
    refused(&registry, &wanted, &at("app", ":apart"), "no signatures found");
    fine(
        &registry,
        &policy(by(key(&ours.public_key())), json!({"repository": elsewhere})),
        &at("app", ":apart"),
    );
}

fn annotations_and_counts(registry: &Registry, ours: &Signer, theirs: &Signer, image: &str) {
    let mut annotated = key(&ours.public_key());
    annotated["annotations"] = json!({"team": "a"});
    fine(registry, &policy(by(annotated.clone()), json!({})), image);
    annotated["annotations"] = json!({"team": "b"});
    refused(registry, &policy(by(annotated), json!({})), image, "annotation value for team does not match");
    let stranger = Signer::new();
    let both = format!("{}\n{}", ours.public_key(), stranger.public_key());
    let any = json!([{"count": 1, "entries": [key(&both)]}]);
    fine(registry, &policy(any, json!({})), image);
    refused(registry, &policy(by(key(&both)), json!({})), image, ".entries[1].keys: no matching signatures");
    let nested = json!([{"entries": [key(&theirs.public_key()), {"attestor": {"count": 1, "entries": [key(&both)]}}]}]);
    fine(registry, &policy(nested, json!({})), image);
}

#[test]
fn a_signature_is_of_one_image() {
    if !require(check()) {
        return;
    }
    let registry = start("");
    let ours = Signer::new();
    let at = |reference: &str| format!("{}/app{reference}", registry.address());
    let wanted = policy(by(key(&ours.public_key())), json!({}));
    let (good, bad) = (registry.push("app", "good", "good"), registry.push("app", "bad", "bad"));
    ours.sign(here, &at(&format!("@{good}")), Layout::Tags, &[], None);
    registry.move_signature("app", &good, &bad);
    refused(&registry, &wanted, &at(":bad"), "of another image");
    fine(&registry, &wanted, &at(":good"));
    registry.tamper("app", &good);
    refused(&registry, &wanted, &at(":good"), "invalid signature");
    let missing = format!("@sha256:{}", "0".repeat(64));
    refused(&registry, &wanted, &at(&missing), "no signatures found");
    refused(&registry, &wanted, &at(":never"), "is not there");
}

#[test]
fn attestations_hold_what_conditions_say() {
    if !require(check()) {
        return;
    }
    let registry = start("");
    let (ours, theirs) = (Signer::new(), Signer::new());
    let at = |reference: &str| format!("{}/app{reference}", registry.address());
    let scanned = |pem: &str| {
        let conditions = json!([{"all": [{"key": "{{ findings }}", "operator": "LessThan", "value": 3}]}]);
        policy(
            json!([]),
            json!({"attestations": [{"type": SCAN, "attestors": by(key(pem)), "conditions": conditions}]}),
        )
    };
    let of_policy = in_cel(&ours.public_key());
    for (layout, tag) in [(Layout::Tags, "tags"), (Layout::Bundles, "bundles")] {
        let digest = registry.push("app", tag, tag);
        let (image, exact) = (at(&format!(":{tag}")), at(&format!("@{digest}")));
        let wanted = scanned(&ours.public_key());
        refused(&registry, &wanted, &image, "no signatures found");
        ours.attest(here, &exact, layout, "https://example.com/other/v1", &json!({"findings": 0}));
        refused(&registry, &wanted, &image, "attestations not found for predicate type");
        ours.attest(here, &exact, layout, SCAN, &json!({"findings": 1}));
        assert!(fine(&registry, &wanted, &image).contains(&digest));
        refused(&registry, &scanned(&theirs.public_key()), &image, "invalid signature");
        refused(&registry, &of_policy, &image, "signed by the team: ");
        ours.sign(here, &exact, layout, &[], None);
        assert!(fine(&registry, &of_policy, &image).contains(&digest));
        ours.attest(here, &exact, layout, SCAN, &json!({"findings": 7}));
        refused(&registry, &wanted, &image, "attestation checks failed");
    }
}

/// The same in CEL, and what the image is made of besides.
fn in_cel(pem: &str) -> Value {
    json!({"apiVersion": "policies.kyverno.io/v1", "kind": "ImageValidatingPolicy", "metadata": {"name": "images"}, "spec": {
        "matchConstraints": {"resourceRules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]},
        "matchImageReferences": [{"expression": "ref.startsWith('127.0.0.1:')"}],
        "attestors": [{"name": "team", "cosign": {
            "key": {"expression": format!("{pem:?}")},
            "ctlog": {"insecureIgnoreTlog": true, "insecureIgnoreSCT": true}}}],
        "attestations": [{"name": "scan", "intoto": {"type": SCAN}}],
        "validations": [
            {"message": "signed by the team",
             "expression": "images.containers.map(i, verifyImageSignatures(i, [attestors.team])).all(n, n > 0)"},
            {"message": "scanned",
             "expression": "images.containers.all(i, verifyAttestationSignatures(i, attestations.scan, [attestors.team]) > 0)"},
            {"message": "few findings",
             "expression": "images.containers.all(i, extractPayload(i, attestations.scan).predicate.findings < 3)"},
            {"message": "not root",
             "expression": "images.containers.all(i, getImageData(i).config.config.User == '1000')"}]}})
}

/// A key, a certificate for it that is good for signing code, and who issued that; all in PEM.
fn certified() -> (String, String, String) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let of_authority = KeyPair::generate().unwrap();
    let chain = authority.self_signed(&of_authority).unwrap().pem();
    let mut signer = CertificateParams::new(vec!["signer.example.com".to_owned()]).unwrap();
    signer.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    signer.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate().unwrap();
    let certificate = signer.signed_by(&key, &Issuer::new(authority, of_authority)).unwrap().pem();
    (key.serialize_pem(), certificate, chain)
}

#[test]
fn certificates_are_held_to_their_chain() {
    if !require(check()) {
        return;
    }
    let registry = start("");
    let (key, certificate, chain) = certified();
    let foreign = certified().2;
    let signer = Signer::of_key(&key);
    fs::write(signer.file("certificate.pem"), &certificate).unwrap();
    fs::write(signer.file("chain.pem"), &chain).unwrap();
    let image = format!("{}/app:v1", registry.address());
    let digest = registry.push("app", "v1", "certified");
    let exact = format!("{}/app@{digest}", registry.address());
    signer.sign(
        here,
        &exact,
        Layout::Tags,
        &["--certificate=certificate.pem", "--certificate-chain=chain.pem"],
        None,
    );
    let wanted = |fields: Value| {
        let mut certificates = json!({"rekor": {"ignoreTlog": true}, "ctlog": {"ignoreSCT": true}});
        certificates.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        policy(by(json!({"certificates": certificates})), json!({}))
    };
    fine(&registry, &wanted(json!({"cert": certificate, "certChain": chain})), &image);
    fine(&registry, &wanted(json!({"certChain": chain})), &image);
    refused(&registry, &wanted(json!({"certChain": foreign})), &image, "no trusted certificate issued it");
    let mismatched = wanted(json!({"cert": certificate, "certChain": foreign}));
    refused(&registry, &mismatched, &image, "does not fit its chain");
}

#[test]
fn registries_that_want_a_password_get_it() {
    if !require(check()) {
        return;
    }
    let registry = start(&format!("{READER}:$2y$05$abcdefghijklmnopqrstuuPC2u5yu83kFe0ThrRv3JkhExksO5/JC\n"));
    let ours = Signer::new();
    let host = registry.address();
    let image = format!("{host}/app:v1");
    let digest = registry.push("app", "v1", "private");
    let login = ["--registry-username=reader", "--registry-password=reads"];
    ours.sign(here, &format!("{host}/app@{digest}"), Layout::Tags, &login, None);
    let signed = |secrets: Value| {
        policy(by(key(&ours.public_key())), json!({"imageRegistryCredentials": {"secrets": secrets}}))
    };
    refused(&registry, &signed(json!([])), &image, "there are no credentials for it");
    refused(&registry, &signed(json!(["pull"])), &image, "the Secret /pull");
    let config = json!({"auths": {host.to_string(): {"username": READER, "password": "reads"}}}).to_string();
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pull", "namespace": "keyward"},
        "stringData": {".dockerconfigjson": config}});
    let file = registry.file("secret.json");
    fs::write(&file, secret.to_string()).unwrap();
    let more = ["--cluster-resource", file.to_str().unwrap()];
    let said = apply(&registry, &signed(json!(["pull"])), &image, &more);
    assert!(!said.refused, "{}", said.text);
    assert!(!said.text.contains("reads"), "{}", said.text);
}

#[test]
fn silent_registries_are_given_up() {
    if !require(check()) {
        return;
    }
    let registry = start("");
    let ours = Signer::new();
    let wanted = policy(by(key(&ours.public_key())), json!({}));
    let closed = format!("127.0.0.1:{}/app:v1", free_port().unwrap());
    let said = apply(&registry, &wanted, &closed, &[]);
    assert!(
        said.refused && said.text.contains("error: 1") && said.text.contains("cannot connect"),
        "{}",
        said.text
    );
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let began = Instant::now();
    let said = apply(&registry, &wanted, &format!("{}/app:v1", silent.local_addr().unwrap()), &[]);
    assert!(said.refused && said.text.contains("no answer within"), "{}", said.text);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}
