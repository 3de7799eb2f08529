//! Every endpoint through an authority, as clients call it.

mod authorities;
mod cel;
mod hostile;
mod leased;
mod lists;
mod revocation;
mod rules;
mod speed;
mod unified;

use crate::request::Operation;
use crate::testing::{Answer, Bench};
use keyward_crypto::SystemRandom;
use keyward_crypto::keys::{Key, KeyType};
use keyward_crypto::x509::{Certificate, Extension, San, Scheme, Subject, attribute, pem, sign_request};
use serde_json::{Value, json};

/// A mount without an authority, whose certificates may live ten years.
fn mounted() -> Bench {
    let mut bench = Bench::new();
    bench.write("sys/mounts/pki", r#"{"type":"pki","config":{"max_lease_ttl":"87600h"}}"#);
    bench
}

/// A mount with a root on P-256 and the role `any`, which allows every name.
fn rooted() -> Bench {
    let mut bench = mounted();
    root(&mut bench, &json!({}));
    role(
        &mut bench,
        "any",
        &json!({"allow_any_name": true, "allowed_uri_sans": "*", "allowed_other_sans": "*"}),
    );
    bench
}

fn root(bench: &mut Bench, more: &Value) -> Value {
    let mut body = json!({"common_name": "Root", "key_type": "ec", "ttl": "8760h"});
    merge(&mut body, more);
    ok(bench, "root/generate/internal", &body)
}

/// Writes a role on P-256.
fn role(bench: &mut Bench, name: &str, more: &Value) {
    let mut body = json!({"key_type": "ec", "max_ttl": "72h"});
    merge(&mut body, more);
    ok(bench, &format!("roles/{name}"), &body);
}

fn merge(body: &mut Value, more: &Value) {
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
}

/// A write that must succeed: its data.
fn ok(bench: &mut Bench, path: &str, body: &Value) -> Value {
    bench.write(&format!("pki/{path}"), &body.to_string()).data().clone()
}

/// A write that must be refused as the caller's and change nothing: its messages.
fn refused(bench: &mut Bench, path: &str, body: &Value) -> String {
    let before = stored(bench);
    let answer = bench.root(Operation::Update, &format!("pki/{path}"), &body.to_string());
    assert_eq!(answer.status, 400, "{path} {body}: {answer:?}");
    assert_eq!(stored(bench), before, "{path} {body} changed something");
    answer.errors()
}

fn read(bench: &mut Bench, path: &str) -> Value {
    bench.read(&format!("pki/{path}")).data().clone()
}

fn get(bench: &mut Bench, path: &str) -> Answer {
    bench.root(Operation::Read, &format!("pki/{path}"), "")
}

/// An answer that is not JSON, as anybody gets it.
fn raw(bench: &mut Bench, operation: Operation, path: &str, body: &Value) -> (u16, Vec<u8>) {
    let request = bench.request("", operation, &format!("pki/{path}"), &body.to_string());
    let response = bench.answer(&request);
    let response = response.unwrap_or_else(|why| panic!("{path}: {why}"));
    (response.http_status(), response.body("id").unwrap())
}

/// Every entry of the mount with its revision.
fn stored(bench: &Bench) -> Vec<(Vec<u8>, u64)> {
    let own = bench.store.entries().filter(|(key, _)| key.starts_with(b"m/"));
    own.map(|(key, entry)| (key.clone(), entry.rev)).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}"))
}

/// The first certificate of a PEM text.
fn certificate(value: &Value) -> Certificate {
    Certificate::read(&pem::first(&[pem::CERTIFICATE], text(value)).unwrap()).unwrap()
}

/// The alternative names of a certificate.
fn sans(value: &Value) -> Vec<San> {
    certificate(value).alternative_names().unwrap()
}

fn dns(name: &str) -> San {
    San::Dns(name.to_owned())
}

fn new_key(kind: KeyType) -> Key {
    Key::generate(kind, 0, &SystemRandom).unwrap()
}

fn subject(common_name: &str) -> Subject {
    let names: Vec<String> =
        Some(common_name.to_owned()).into_iter().filter(|name| !name.is_empty()).collect();
    Subject::new(&[(attribute::COMMON_NAME, &names)]).unwrap()
}

/// A certificate request in PEM.
fn csr(key: &Key, common_name: &str, names: &[San]) -> String {
    let wanted: Vec<Extension> = match names {
        [] => Vec::new(),
        names => vec![Extension::alternative_names(names, false).unwrap()],
    };
    csr_with(key, common_name, &wanted)
}

fn csr_with(key: &Key, common_name: &str, extensions: &[Extension]) -> String {
    let scheme = Scheme::of(key, 0, false).unwrap();
    pem::encode(pem::REQUEST, &sign_request(&subject(common_name), extensions, key, scheme).unwrap())
}
