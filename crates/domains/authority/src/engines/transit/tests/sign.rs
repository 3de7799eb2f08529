//! `sign/`, `verify/` and `hmac/`.

use super::*;

fn sign(bench: &mut Bench, path: &str, body: &Value) -> String {
    text(&ok(bench, &format!("sign/{path}"), body)["signature"]).to_owned()
}

fn valid(bench: &mut Bench, path: &str, body: &Value, signature: &str) -> bool {
    let mut body = body.clone();
    body["signature"] = json!(signature);
    ok(bench, &format!("verify/{path}"), &body)["valid"].as_bool().unwrap()
}

#[test]
fn what_is_signed_verifies_with_every_type() {
    let mut bench = mounted();
    for (name, body) in [
        ("ed25519", json!({"type": "ed25519"})),
        ("p256", json!({"type": "ecdsa-p256"})),
        ("p384", json!({"type": "ecdsa-p384"})),
        ("p521", json!({"type": "ecdsa-p521"})),
        ("rsa", json!({"type": "rsa-2048"})),
        ("ml", json!({"type": "ml-dsa", "parameter_set": "65"})),
    ] {
        ok(&mut bench, &format!("keys/{name}"), &body);
        for options in [
            json!({"input": b64("m")}),
            json!({"input": b64("m"), "marshaling_algorithm": "jws"}),
            json!({"input": b64("m"), "hash_algorithm": "sha2-512", "signature_algorithm": "pkcs1v15"}),
            json!({"input": b64("m"), "algorithm": "sha2-384", "salt_length": "hash"}),
            json!({}),
        ] {
            let signature = sign(&mut bench, name, &options);
            assert!(signature.starts_with("vault:v1:"), "{signature}");
            assert!(valid(&mut bench, name, &options, &signature), "{name} {options}");
            let mut other = options.clone();
            other["input"] = json!(b64("n"));
            assert!(!valid(&mut bench, name, &other, &signature), "{name} {options}");
            // A new version signs from now on, but verifies what the older ones signed.
            if options == json!({}) {
                ok(&mut bench, &format!("keys/{name}/rotate"), &json!({}));
                assert!(valid(&mut bench, name, &options, &signature), "{name}");
                assert!(sign(&mut bench, name, &options).starts_with("vault:v2:"));
            }
        }
    }
}

#[test]
fn the_hash_may_be_named_in_the_path_and_be_computed_before() {
    let mut bench = mounted();
    for (name, kind) in [("p", "ecdsa-p256"), ("r", "rsa-2048")] {
        ok(&mut bench, &format!("keys/{name}"), &json!({ "type": kind }));
        let (plain, hash) = (json!({"input": b64("abc")}), wire::encode(&hex::decode(
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
        ).unwrap()));
        let prehashed = json!({"input": hash, "prehashed": true});
        let path = format!("{name}/sha2-384");
        let signature = sign(&mut bench, &path, &prehashed);
        assert!(valid(&mut bench, &path, &plain, &signature), "{kind}");
        let signature = sign(&mut bench, &path, &plain);
        assert!(valid(&mut bench, &path, &prehashed, &signature), "{kind}");
        assert!(!valid(&mut bench, name, &plain, &signature), "{kind}");
    }
    for hash in ["sha1", "sha2-224", "sha3-256", "sha3-384", "sha3-512"] {
        let (path, body) = (format!("p/{hash}"), json!({"input": b64("m")}));
        let signature = sign(&mut bench, &path, &body);
        assert!(valid(&mut bench, &path, &body, &signature), "{hash}");
        let why = refused(&mut bench, &format!("sign/r/{hash}"), &body);
        assert!(
            why.starts_with(&format!("hash algorithm {hash} is not available for RSA signatures")),
            "{why}"
        );
    }
    let short = json!({"input": b64("short"), "prehashed": true});
    let why = refused(&mut bench, "sign/r", &short);
    assert_eq!(why, "the prehashed input has 5 bytes, but the hash algorithm gives 32");
}

#[test]
fn salts_of_pss() {
    let mut bench = mounted();
    ok(&mut bench, "keys/r", &json!({"type": "rsa-2048"}));
    let body = |salt: &str| json!({"input": b64("m"), "salt_length": salt});
    for (salt, same, other) in [
        ("auto", "222", "hash"),
        ("0", "AUTO", "32"),
        ("hash", "32", "20"),
        ("-1", "hash", "222"),
        ("1", "1", "2"),
    ] {
        let signature = sign(&mut bench, "r", &body(salt));
        assert!(valid(&mut bench, "r", &body(same), &signature), "{salt}");
        assert!(valid(&mut bench, "r", &body("auto"), &signature), "{salt}");
        assert!(!valid(&mut bench, "r", &body(other), &signature), "{salt}");
    }
    for (salt, why) in [
        ("-2", "salt length is invalid: -2"),
        ("long", "salt length neither 'auto', 'hash', nor an int: long"),
        ("223", "requested salt length 223 is invalid"),
        ("70000", "salt length is invalid: 70000"),
    ] {
        assert_eq!(refused(&mut bench, "sign/r", &body(salt)), why);
    }
}

#[test]
fn derived_signing_keys() {
    let mut bench = mounted();
    ok(&mut bench, "keys/e", &json!({"type": "ed25519", "derived": true}));
    let body = |context: &str| json!({"input": b64("m"), "context": b64(context)});
    let signed = ok(&mut bench, "sign/e", &body("c"));
    let signature = text(&signed["signature"]).to_owned();
    assert!(valid(&mut bench, "e", &body("c"), &signature));
    assert!(!valid(&mut bench, "e", &body("d"), &signature));
    let shown = read(&mut bench, &format!("keys/e?context={}", b64("c")));
    assert_eq!(shown["keys"]["1"]["public_key"], signed["public_key"]);
    assert_eq!(read(&mut bench, "keys/e")["keys"]["1"]["public_key"], "");
    assert_eq!(get(&mut bench, "keys/e?context=?").errors(), "failed to base64-decode context");
    let batch = json!({"batch_input": [body("c")]});
    assert_eq!(ok(&mut bench, "sign/e", &batch)["batch_results"][0]["publickey"], signed["public_key"]);
    let why = refused(&mut bench, "sign/e", &json!({"input": ""}));
    assert!(why.starts_with("missing 'context' for key derivation;"), "{why}");
    let why = refused(&mut bench, "sign/e", &json!({"input": "", "context": "?"}));
    assert_eq!(why, "failed to base64-decode context");
}

#[test]
fn what_cannot_be_signed() {
    let mut bench = mounted();
    ok(&mut bench, "keys/p", &json!({"type": "ecdsa-p256"}));
    ok(&mut bench, "keys/r", &json!({"type": "rsa-2048"}));
    ok(&mut bench, "keys/e", &json!({"type": "ed25519"}));
    ok(&mut bench, "keys/k", &json!({}));
    let none = "hash_algorithm=none requires both prehashed=true and signature_algorithm=pkcs1v15";
    for (path, body, why) in [
        ("none", json!({}), "signing key not found"),
        ("k", json!({}), "key type aes256-gcm96 does not support signing"),
        ("p/md5", json!({}), "invalid hash algorithm \"md5\""),
        ("p", json!({"marshaling_algorithm": "x"}), "invalid marshaling type \"x\""),
        ("p", json!({"hash_algorithm": "none"}), none),
        ("p", json!({"hash_algorithm": "none", "prehashed": true}), none),
        ("p/sha3-224", json!({}), "hash algorithm sha3-224 is not available for hashing"),
        ("p", json!({"input": "?"}), "unable to decode input as base64: illegal base64 data at input byte 0"),
        (
            "p",
            json!({"key_version": 2}),
            "requested version for signing is higher than the latest key version",
        ),
        ("p", json!({"key_version": -1}), "requested version for signing is negative"),
        ("r", json!({"signature_algorithm": "raw"}), "unsupported rsa signature algorithm raw"),
        (
            "r",
            json!({"hash_algorithm": "none", "prehashed": true, "signature_algorithm": "pkcs1v15"}),
            "hash_algorithm=none is not available",
        ),
        ("e", json!({"signature_context": "x"}), "error generating Ed25519 options: signature context"),
        (
            "e",
            json!({"prehashed": true, "hash_algorithm": "sha2-512"}),
            "error generating Ed25519 options: hash",
        ),
        ("p", json!({"batch_input": []}), "missing batch input to process"),
    ] {
        let found = refused(&mut bench, &format!("sign/{path}"), &body);
        assert!(found.starts_with(why), "{path} {body}: {found}");
    }
    ok(&mut bench, "keys/p/rotate", &json!({}));
    ok(&mut bench, "keys/p/config", &json!({"min_encryption_version": 2}));
    let why = refused(&mut bench, "sign/p", &json!({"key_version": 1}));
    assert_eq!(why, "requested version for signing is less than the minimum encryption key version");
}

#[test]
fn what_cannot_be_verified() {
    let mut bench = mounted();
    ok(&mut bench, "keys/p", &json!({"type": "ecdsa-p256"}));
    ok(&mut bench, "keys/k", &json!({}));
    let signature = sign(&mut bench, "p", &json!({"input": b64("m")}));
    for (path, body, why) in [
        ("p", json!({}), "neither a 'signature' nor an 'hmac' were given to verify"),
        ("p", json!({"signature": "x", "hmac": "x"}), "invalid signature: no prefix"),
        ("none", json!({"signature": "x"}), "signature verification key not found"),
        ("none", json!({"hmac": "x"}), "encryption key not found"),
        ("k", json!({"signature": "x"}), "key type aes256-gcm96 does not support verification"),
        ("p", json!({"signature": "x"}), "invalid signature: no prefix"),
        ("p", json!({"signature": "vault:v1"}), "invalid signature: wrong number of fields"),
        ("p", json!({"signature": "vault:v:x"}), "invalid signature: version number could not be decoded"),
        ("p", json!({"signature": "vault:v9:x"}), "invalid signature: version is too new"),
        ("p", json!({"signature": "vault:v1:?"}), "invalid base64 signature value"),
        ("p", json!({"signature": "vault:v1:AAAA"}), "supplied signature is invalid"),
        (
            "p",
            json!({"batch_input": [{"signature": "x"}, {"hmac": "x"}]}),
            "elements of batch_input must all",
        ),
        (
            "p",
            json!({"batch_input": [{"signature": "x"}, {}]}),
            "some elements of batch_input are missing 'sig",
        ),
        ("p", json!({"batch_input": [{"hmac": "x"}, {}]}), "some elements of batch_input are missing 'hmac'"),
        ("p", json!({"batch_input": [{}]}), "no batch_input elements have 'signature' or 'hmac'"),
    ] {
        let found = refused(&mut bench, &format!("verify/{path}"), &body);
        assert!(found.starts_with(why), "{path} {body}: {found}");
    }
    ok(&mut bench, "keys/p/rotate", &json!({}));
    ok(&mut bench, "keys/p/config", &json!({"min_decryption_version": 2}));
    let why = refused(&mut bench, "verify/p", &json!({"input": b64("m"), "signature": signature}));
    assert_eq!(why, "ciphertext or signature version is disallowed by policy (too old)");
}

#[test]
fn batches_of_signatures() {
    let mut bench = mounted();
    ok(&mut bench, "keys/p", &json!({"type": "ecdsa-p256"}));
    let items = json!({"batch_input": [
        {"input": b64("a"), "reference": "r"}, {"input": "?"}, {"reference": "empty"},
    ]});
    let signed = ok(&mut bench, "sign/p", &items)["batch_results"].clone();
    assert_eq!((&signed[0]["reference"], &signed[0]["key_version"]), (&json!("r"), &json!(1)));
    assert_eq!(signed[1]["error"], "unable to decode input as base64: illegal base64 data at input byte 0");
    assert_eq!(signed[2], json!({"error": "missing input", "key_version": 0, "reference": "empty"}));
    let signature = &signed[0]["signature"];
    let items = json!({"batch_input": [
        {"input": b64("a"), "signature": signature}, {"input": b64("b"), "signature": signature, "reference": "b"},
        {"input": b64("b"), "signature": "x"}, {"signature": signature},
    ]});
    assert_eq!(
        ok(&mut bench, "verify/p", &items)["batch_results"],
        json!([{"valid": true, "reference": ""}, {"valid": false, "reference": "b"},
               {"error": "invalid signature: no prefix", "valid": false, "reference": ""}, {"error": "missing input", "valid": false, "reference": ""}])
    );
}

#[test]
fn keyed_hashes() {
    let mut bench = mounted();
    ok(&mut bench, "keys/k", &json!({}));
    ok(&mut bench, "keys/h", &json!({"type": "hmac", "key_size": 64, "exportable": true}));
    for key in ["k", "h"] {
        for hash in ["", "/sha1", "/sha2-224", "/sha2-256", "/sha2-384", "/sha2-512"] {
            let path = format!("hmac/{key}{hash}");
            let tag = ok(&mut bench, &path, &json!({"input": b64("m")}))["hmac"].clone();
            let check = format!("verify/{key}{hash}");
            let body = |input: &str| json!({"input": b64(input), "hmac": tag});
            assert_eq!(ok(&mut bench, &check, &body("m"))["valid"], true, "{path}");
            assert_eq!(ok(&mut bench, &check, &body("n"))["valid"], false, "{path}");
        }
        for hash in ["sha3-224", "sha3-256", "sha3-384", "sha3-512"] {
            let why = refused(&mut bench, &format!("hmac/{key}/{hash}"), &json!({"input": ""}));
            assert!(why.starts_with(&format!("hash algorithm {hash} is not available for HMAC")), "{why}");
        }
    }
    // The key of an hmac key is the key of its keyed hashes.
    let raw = read(&mut bench, "export/hmac-key/h")["keys"]["1"].clone();
    let raw = wire::decode(text(&raw)).unwrap();
    let expected = wire::encode(&keyward_crypto::MacKey::new(&raw).tag(b"m"));
    let tag = ok(&mut bench, "hmac/h", &json!({"input": b64("m"), "algorithm": "sha2-256"}))["hmac"].clone();
    assert_eq!(tag, format!("vault:v1:{expected}"));
    // Checking takes the newer name of the hash function too, and the newer name first.
    let tag512 =
        ok(&mut bench, "hmac/h", &json!({"input": b64("m"), "algorithm": "sha2-512"}))["hmac"].clone();
    let body =
        json!({"input": b64("m"), "hmac": tag512, "hash_algorithm": "sha2-512", "algorithm": "sha2-256"});
    assert_eq!(ok(&mut bench, "verify/h", &body)["valid"], true);
    let items = json!({"batch_input": [{"input": b64("m"), "reference": "r"}, {"input": "?"}, {}]});
    let made = ok(&mut bench, "hmac/h", &items)["batch_results"].clone();
    assert_eq!(made[0], json!({"hmac": tag, "reference": "r"}));
    assert_eq!(made[2]["error"], "missing input for HMAC");
    let items =
        json!({"batch_input": [{"input": b64("m"), "hmac": tag}, {"input": "", "hmac": tag}, {"hmac": tag}]});
    let checked = ok(&mut bench, "verify/h", &items)["batch_results"].clone();
    assert_eq!((&checked[0]["valid"], &checked[1]["valid"]), (&json!(true), &json!(false)));
    assert_eq!(checked[2]["error"], "missing input");
}

#[test]
fn keyed_hashes_that_are_none() {
    let mut bench = mounted();
    ok(&mut bench, "keys/k", &json!({}));
    ok(&mut bench, "keys/k/rotate", &json!({}));
    ok(&mut bench, "keys/k/rotate", &json!({}));
    for (path, body, why) in [
        ("hmac/none", json!({"input": ""}), "encryption key not found"),
        ("hmac/k", json!({}), "missing input for HMAC"),
        ("hmac/k/md5", json!({"input": ""}), "unsupported algorithm \"md5\""),
        (
            "hmac/k",
            json!({"input": "", "key_version": 4}),
            "key version does not exist; latest key version is 3",
        ),
        (
            "hmac/k",
            json!({"input": "", "key_version": -1}),
            "key version does not exist (cannot be negative)",
        ),
        ("verify/k", json!({"hmac": "x"}), "invalid HMAC to verify: no prefix"),
        ("verify/k", json!({"hmac": "vault:v1"}), "invalid HMAC: wrong number of fields"),
        ("verify/k", json!({"hmac": "vault:vx:"}), "invalid HMAC: version number could not be decoded"),
        ("verify/k", json!({"hmac": "vault:v1:?"}), "unable to decode verification HMAC as base64: illegal"),
        ("verify/k", json!({"hmac": "vault:v4:"}), "invalid HMAC: version is too new"),
    ] {
        let found = refused(&mut bench, path, &body);
        assert!(found.starts_with(why), "{path} {body}: {found}");
    }
    let old = ok(&mut bench, "hmac/k", &json!({"input": "", "key_version": 1}))["hmac"].clone();
    ok(&mut bench, "keys/k/config", &json!({"min_encryption_version": 3, "min_decryption_version": 2}));
    let why = refused(&mut bench, "hmac/k", &json!({"input": "", "key_version": 2}));
    assert_eq!(why, "cannot generate HMAC: version is too old (disallowed by policy)");
    ok(&mut bench, "hmac/k", &json!({"input": "", "key_version": 3}));
    let why = refused(&mut bench, "verify/k", &json!({"input": "", "hmac": old}));
    assert_eq!(why, "cannot verify HMAC: version is too old (disallowed by policy)");
}
