//! Every endpoint through an authority, as clients call it.

mod crypt;
mod import;
mod keys;
mod oracle;
mod sign;

use super::wire;
use crate::request::Operation;
use crate::testing::{Answer, Bench};
use serde_json::{Value, json};

fn mounted() -> Bench {
    let mut bench = Bench::new();
    bench.write("sys/mounts/transit", r#"{"type":"transit"}"#);
    bench
}

/// A write that must succeed: its data.
fn ok(bench: &mut Bench, path: &str, body: &Value) -> Value {
    bench.write(&format!("transit/{path}"), &body.to_string()).data().clone()
}

/// A write that must be refused as the caller's: its messages.
fn refused(bench: &mut Bench, path: &str, body: &Value) -> String {
    let before = stored(bench);
    let answer = bench.root(Operation::Update, &format!("transit/{path}"), &body.to_string());
    assert_eq!(answer.status, 400, "{path} {body}: {answer:?}");
    assert_eq!(stored(bench), before, "{path} {body} changed something");
    answer.errors()
}

/// A read that must succeed: its data.
fn read(bench: &mut Bench, path: &str) -> Value {
    bench.read(&format!("transit/{path}")).data().clone()
}

fn get(bench: &mut Bench, path: &str) -> Answer {
    bench.root(Operation::Read, &format!("transit/{path}"), "")
}

/// Every entry of the mount with its revision.
fn stored(bench: &Bench) -> Vec<(Vec<u8>, u64)> {
    let own = bench.store.entries().filter(|(key, _)| key.starts_with(b"m/"));
    own.map(|(key, entry)| (key.clone(), entry.rev)).collect()
}

fn b64(text: &str) -> String {
    wire::encode(text.as_bytes())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}"))
}

fn encrypt(bench: &mut Bench, key: &str, body: &Value) -> String {
    text(&ok(bench, &format!("encrypt/{key}"), body)["ciphertext"]).to_owned()
}

fn decrypt(bench: &mut Bench, key: &str, ciphertext: &str) -> String {
    let data = ok(bench, &format!("decrypt/{key}"), &json!({ "ciphertext": ciphertext }));
    let plain = wire::decode(text(&data["plaintext"])).unwrap();
    String::from_utf8(plain).unwrap()
}

#[test]
fn randomness_has_the_size_and_form_asked_for() {
    let mut bench = mounted();
    let size = |bench: &mut Bench, path: &str, body: Value| {
        wire::decode(text(&ok(bench, path, &body)["random_bytes"])).unwrap().len()
    };
    assert_eq!(size(&mut bench, "random", json!({})), 32);
    assert_eq!(size(&mut bench, "random", json!({"bytes": "7"})), 7);
    assert_eq!(size(&mut bench, "random/9", json!({})), 9);
    assert_eq!(size(&mut bench, "random/all/131072", json!({})), 131_072);
    assert_eq!(size(&mut bench, "random/seal", json!({"bytes": 5})), 5);
    let hex = ok(&mut bench, "random/3", &json!({"format": "hex"}));
    assert_eq!(text(&hex["random_bytes"]).len(), 6);
    for (path, body, why) in [
        ("random/0", json!({}), "\"bytes\" cannot be less than 1"),
        ("random/131073", json!({}), "\"bytes\" should be less than 131072"),
        ("random/many", json!({}), "error parsing url-set byte count: strconv.Atoi"),
        ("random/moon/3", json!({}), "unsupported entropy source \"moon\""),
        ("random", json!({"format": "octal"}), "unsupported encoding format \"octal\""),
        ("random", json!({"bytes": "x"}), "Field validation failed"),
    ] {
        let found = refused(&mut bench, path, &body);
        assert!(found.starts_with(why), "{path}: {found}");
    }
}

#[test]
fn hashes_are_those_of_the_standards() {
    let mut bench = mounted();
    let input = json!({"input": b64("abc")});
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(ok(&mut bench, "hash", &input)["sum"], expected);
    assert_eq!(ok(&mut bench, "hash/sha2-256", &input)["sum"], expected);
    let body = json!({"input": b64("abc"), "algorithm": "sha2-256", "format": "base64"});
    assert_eq!(ok(&mut bench, "hash", &body)["sum"], wire::encode(&hex::decode(expected).unwrap()));
    let sha3 = ok(&mut bench, "hash/sha3-256", &input);
    assert_eq!(sha3["sum"], "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532");
    for (path, body, why) in [
        ("hash", json!({}), "input missing"),
        (
            "hash",
            json!({"input": "!"}),
            "unable to decode input as base64: illegal base64 data at input byte 0",
        ),
        ("hash/md5", input.clone(), "unsupported algorithm md5"),
        ("hash/sha1", input.clone(), "unsupported algorithm sha1"),
        ("hash/sha3-224", input.clone(), "hash algorithm sha3-224 is not available for hashing"),
        ("hash", json!({"input": "", "format": "x"}), "unsupported encoding format x;"),
    ] {
        let found = refused(&mut bench, path, &body);
        assert!(found.starts_with(why), "{path}: {found}");
    }
}

#[test]
fn settings_read_back() {
    let mut bench = mounted();
    assert_eq!(read(&mut bench, "cache-config"), json!({"size": 0}));
    assert_eq!(ok(&mut bench, "cache-config", &json!({"size": 10})), json!({"size": 10}));
    assert_eq!(read(&mut bench, "cache-config"), json!({"size": 10}));
    let why = refused(&mut bench, "cache-config", &json!({"size": 9}));
    assert_eq!(why, "size must be 0 or a value greater or equal to 10");
    assert_eq!(read(&mut bench, "config/keys"), json!({"disable_upsert": false}));
    ok(&mut bench, "config/keys", &json!({"disable_upsert": true}));
    assert_eq!(read(&mut bench, "config/keys"), json!({"disable_upsert": true}));
    let why = refused(&mut bench, "encrypt/new", &json!({"plaintext": ""}));
    assert_eq!(why, "encryption key not found");
}

#[test]
fn unknown_parameters_are_warned_of_and_known_ones_are_not() {
    let mut bench = mounted();
    let body = json!({"plaintext": "", "associated_data": "", "key_version": 0, "type": "aes256-gcm96"});
    let answer = bench.write("transit/encrypt/k", &body.to_string());
    assert_eq!(answer.body["warnings"], Value::Null);
    let answer = bench.write("transit/encrypt/k", r#"{"plaintext":"","flavour":"sweet"}"#);
    assert_eq!(answer.body["warnings"][0], "Endpoint ignored these unrecognized parameters: [flavour]");
    assert_eq!(bench.root(Operation::Help, "transit/encrypt/k", "").status, 200);
}

/// Every field of every path with values of every type: what is wrong is the caller's to mend, never a 500.
#[test]
fn no_value_of_any_field_breaks_anything() {
    let mut bench = mounted();
    ok(&mut bench, "keys/k", &json!({}));
    ok(&mut bench, "keys/derived", &json!({"derived": true}));
    ok(&mut bench, "keys/signs", &json!({"type": "ecdsa-p256", "exportable": true}));
    let values = [
        "null",
        "true",
        "-1",
        "0",
        "1.5",
        "1e99",
        "18446744073709551616",
        "\"\"",
        "\"?\"",
        "\"vault:v1:\"",
        "\"AAAA\"",
        "[]",
        "[{}]",
        "[[]]",
        "[null]",
        "{}",
        "{\"a\":{}}",
    ];
    let mut asked = 0;
    for route in super::BACKEND.routes.iter().flat_map(|table| table.iter()) {
        for key in ["k", "derived", "signs", "none", "ü"] {
            let path =
                ["{name}", "{source}", "{destination}", "{version}", "{urlbytes}", "{type}", "{plaintext}"]
                    .iter()
                    .fold(format!("transit/{}", route.pattern), |path, param| path.replace(param, key));
            let path = path.replace("{urlalgorithm}", "sha2-256");
            for (operation, _) in
                route.operations.iter().filter(|(operation, _)| *operation != Operation::Read)
            {
                for (field, value) in route.fields.iter().flat_map(|field| values.map(|value| (field, value)))
                {
                    let body = format!("{{\"{}\":{value}}}", field.name);
                    let answer = bench.root(*operation, &path, &body);
                    assert!(answer.status < 500, "{path} {body}: {answer:?}");
                    asked += 1;
                }
            }
        }
    }
    assert!(asked > 5_000, "{asked}");
}
