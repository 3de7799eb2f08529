//! `encrypt/`, `decrypt/`, `rewrap/` and `datakey/`.

use super::*;

#[test]
fn what_is_encrypted_decrypts_with_every_type() {
    let mut bench = mounted();
    for kind in ["aes128-gcm96", "aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305", "rsa-2048"] {
        ok(&mut bench, &format!("keys/{kind}"), &json!({ "type": kind }));
        for plaintext in ["", "the quick brown fox"] {
            let sealed = encrypt(&mut bench, kind, &json!({"plaintext": b64(plaintext)}));
            assert!(sealed.starts_with("vault:v1:"), "{sealed}");
            assert_eq!(decrypt(&mut bench, kind, &sealed), plaintext, "{kind}");
            assert_ne!(sealed, encrypt(&mut bench, kind, &json!({"plaintext": b64(plaintext)})));
        }
    }
    let data = ok(&mut bench, "encrypt/aes128-gcm96", &json!({"plaintext": "", "key_version": 1}));
    assert_eq!(data["key_version"], 1);
    for kind in ["ed25519", "ecdsa-p256", "hmac"] {
        ok(&mut bench, &format!("keys/{kind}"), &json!({ "type": kind }));
        let why = refused(&mut bench, &format!("encrypt/{kind}"), &json!({"plaintext": ""}));
        assert_eq!(why, format!("message encryption not supported for key type {kind}"));
        let why = refused(&mut bench, &format!("decrypt/{kind}"), &json!({"ciphertext": "vault:v1:"}));
        assert_eq!(why, format!("message decryption not supported for key type {kind}"));
    }
}

#[test]
fn encryption_makes_a_key_for_who_may_create_it() {
    let mut bench = mounted();
    let body = json!({"plaintext": b64("a")}).to_string();
    let decided = |bench: &Bench| {
        let request = bench.request(&bench.root, Operation::Update, "transit/encrypt/k", &body);
        let admitted = bench.authority.admit(
            &bench.store,
            &request,
            keyward_core::Clock::now(&bench.clock),
            &bench.random,
        );
        admitted.map(|admitted| admitted.operation).map_err(|rejected| rejected.refusal)
    };
    assert_eq!(decided(&bench), Ok(Operation::Create));
    bench.write("transit/encrypt/k", &body);
    assert_eq!(decided(&bench), Ok(Operation::Update));
    let context = json!({"plaintext": "", "context": b64("c"), "convergent_encryption": true, "type": "chacha20-poly1305"});
    ok(&mut bench, "encrypt/derived", &context);
    let made = read(&mut bench, "keys/derived");
    assert_eq!((&made["type"], &made["derived"]), (&json!("chacha20-poly1305"), &json!(true)));
    assert_eq!(made["convergent_encryption"], true);
    for (body, why) in [
        (json!({"plaintext": "", "type": "rsa-2048"}), "key type rsa-2048 not supported for this operation"),
        (json!({"plaintext": "", "type": "des"}), "unknown key type des"),
        (json!({}), "missing plaintext to encrypt"),
        (json!({"plaintext": "?"}), "illegal base64 data at input byte 0"),
        (
            json!({"plaintext": "", "convergent_encryption": true}),
            "convergent encryption requires derivation to be enabled, so context is required",
        ),
        (json!({"batch_input": [{"plaintext": "?"}]}), "illegal base64 data at input byte 0"),
        (json!({"batch_input": [{"plaintext": "", "context": "?"}]}), "failed to base64-decode context"),
        (
            json!({"plaintext": "", "key_version": 2}),
            "requested version for encryption is higher than the latest key version",
        ),
    ] {
        assert_eq!(refused(&mut bench, "encrypt/new", &body), why, "{body}");
    }
    assert_eq!(get(&mut bench, "keys/new").status, 404);
}

#[test]
fn associated_data_must_be_the_same() {
    let mut bench = mounted();
    ok(&mut bench, "keys/k", &json!({}));
    let sealed = encrypt(&mut bench, "k", &json!({"plaintext": b64("a"), "associated_data": b64("row 7")}));
    let open = |data: &str| json!({"ciphertext": sealed, "associated_data": b64(data)});
    assert_eq!(ok(&mut bench, "decrypt/k", &open("row 7"))["plaintext"], b64("a"));
    for other in ["row 8", ""] {
        assert_eq!(refused(&mut bench, "decrypt/k", &open(other)), "cipher: message authentication failed");
    }
    let body = json!({"plaintext": "", "associated_data": "?"});
    let why = refused(&mut bench, "encrypt/k", &body);
    assert_eq!(why, "unable to decode associated_data: illegal base64 data at input byte 0");
    let rewrapped = ok(&mut bench, "rewrap/k", &open("row 7"))["ciphertext"].clone();
    let again = json!({"ciphertext": rewrapped, "associated_data": b64("row 7")});
    assert_eq!(ok(&mut bench, "decrypt/k", &again)["plaintext"], b64("a"));
    ok(&mut bench, "keys/r", &json!({"type": "rsa-2048"}));
    let why = refused(&mut bench, "encrypt/r", &json!({"plaintext": "", "associated_data": b64("x")}));
    assert_eq!(why, "'[0].associated_data' provided for non-AEAD cipher suite rsa-2048");
}

#[test]
fn derived_keys_need_their_context() {
    let mut bench = mounted();
    for kind in ["aes128-gcm96", "aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305"] {
        ok(&mut bench, &format!("keys/{kind}"), &json!({"type": kind, "derived": true}));
        let sealed = encrypt(&mut bench, kind, &json!({"plaintext": b64("a"), "context": b64("c")}));
        let path = format!("decrypt/{kind}");
        let open = |context: &str| json!({"ciphertext": sealed, "context": context});
        assert_eq!(ok(&mut bench, &path, &open(&b64("c")))["plaintext"], b64("a"));
        let why = refused(&mut bench, &path, &open(&b64("d")));
        assert_eq!(why, "cipher: message authentication failed");
        assert!(refused(&mut bench, &path, &open("")).starts_with("missing 'context' for key derivation;"));
        assert_eq!(refused(&mut bench, &path, &open("!")), "illegal base64 data at input byte 0");
        let why = refused(&mut bench, &format!("encrypt/{kind}"), &json!({"plaintext": ""}));
        assert!(why.starts_with("missing 'context' for key derivation;"), "{why}");
    }
}

#[test]
fn convergent_keys_encrypt_equal_plaintexts_equally() {
    let mut bench = mounted();
    for kind in ["aes128-gcm96", "aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305"] {
        let path = format!("keys/{kind}");
        ok(&mut bench, &path, &json!({"type": kind, "derived": true, "convergent_encryption": true}));
        let mut seal = |plaintext: &str, context: &str| {
            encrypt(&mut bench, kind, &json!({"plaintext": b64(plaintext), "context": b64(context)}))
        };
        let sealed = seal("a", "c");
        assert_eq!(sealed, seal("a", "c"), "{kind}");
        assert_ne!(sealed, seal("b", "c"), "{kind}");
        assert_ne!(sealed, seal("a", "d"), "{kind}");
        let body = json!({"ciphertext": sealed, "context": b64("c")});
        assert_eq!(ok(&mut bench, &format!("decrypt/{kind}"), &body)["plaintext"], b64("a"));
    }
    let body = json!({"plaintext": "", "context": b64("c"), "nonce": b64("123456789012")});
    assert_eq!(refused(&mut bench, "encrypt/aes256-gcm96", &body), "nonce provided when not allowed");
}

#[test]
fn ciphertexts_that_are_none() {
    let mut bench = mounted();
    ok(&mut bench, "keys/k", &json!({}));
    ok(&mut bench, "keys/r", &json!({"type": "rsa-2048"}));
    let sealed = encrypt(&mut bench, "k", &json!({"plaintext": b64("a")}));
    let body = |text: &str| json!({ "ciphertext": text });
    for (text, why) in [
        ("", "missing ciphertext to decrypt"),
        ("v1:x", "invalid ciphertext: no prefix"),
        ("vault:v1", "invalid ciphertext: wrong number of fields"),
        ("vault:vx:AAAA", "invalid ciphertext: version number could not be decoded"),
        ("vault:v2:AAAA", "invalid ciphertext: version is too new"),
        ("vault:v1:?", "invalid ciphertext: could not decode base64"),
        ("vault:v1:AAAA", "invalid ciphertext length"),
        ("vault:v1:AAAAAAAAAAAAAAAA", "cipher: message authentication failed"),
    ] {
        assert_eq!(refused(&mut bench, "decrypt/k", &body(text)), why, "{text}");
        assert_eq!(refused(&mut bench, "rewrap/k", &body(text)), why, "{text}");
    }
    for at in 10..sealed.len() {
        let mut altered = sealed.clone().into_bytes();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered).unwrap();
        refused(&mut bench, "decrypt/k", &body(&altered));
    }
    let why = refused(&mut bench, "decrypt/r", &body("vault:v1:AAAA"));
    assert_eq!(why, "failed to RSA decrypt the ciphertext: crypto/rsa: decryption error");
    for path in ["decrypt/none", "rewrap/none", "datakey/wrapped/none"] {
        assert_eq!(refused(&mut bench, path, &body(&sealed)), "encryption key not found");
    }
    // The first ciphertexts of Vault counted versions from zero.
    assert_eq!(decrypt(&mut bench, "k", &sealed.replacen("v1", "v0", 1)), "a");
}

#[test]
fn versions_are_chosen_within_their_bounds() {
    let mut bench = mounted();
    ok(&mut bench, "keys/k", &json!({}));
    let first = encrypt(&mut bench, "k", &json!({"plaintext": b64("a")}));
    for _ in 0..19 {
        ok(&mut bench, "keys/k/rotate", &json!({}));
    }
    let seal = |version: i64| json!({"plaintext": b64("a"), "key_version": version});
    assert!(encrypt(&mut bench, "k", &seal(0)).starts_with("vault:v20:"));
    assert!(encrypt(&mut bench, "k", &seal(15)).starts_with("vault:v15:"));
    ok(&mut bench, "keys/k/config", &json!({"min_encryption_version": 18}));
    for (version, why) in [
        (-1, "requested version for encryption is negative"),
        (21, "requested version for encryption is higher than the latest key version"),
        (17, "requested version for encryption is less than the minimum encryption key version"),
    ] {
        assert_eq!(refused(&mut bench, "encrypt/k", &seal(version)), why);
    }
    assert_eq!(decrypt(&mut bench, "k", &first), "a");
    let rewrapped = ok(&mut bench, "rewrap/k", &json!({"ciphertext": first, "key_version": "19"}));
    assert_eq!(rewrapped["key_version"], 19);
    let rewrapped = ok(&mut bench, "rewrap/k", &json!({ "ciphertext": first }));
    let rewrapped = text(&rewrapped["ciphertext"]).to_owned();
    assert!(rewrapped.starts_with("vault:v20:"));
    ok(&mut bench, "keys/k/config", &json!({"min_decryption_version": 18}));
    assert_eq!(decrypt(&mut bench, "k", &rewrapped), "a");
    let why = refused(&mut bench, "decrypt/k", &json!({ "ciphertext": first }));
    assert_eq!(why, "ciphertext or signature version is disallowed by policy (too old)");
}

#[test]
fn rsa_paddings() {
    let mut bench = mounted();
    ok(&mut bench, "keys/r", &json!({"type": "rsa-2048"}));
    let sealed = encrypt(&mut bench, "r", &json!({"plaintext": b64("a"), "padding_scheme": "pkcs1v15"}));
    let open = json!({"ciphertext": sealed, "padding_scheme": "pkcs1v15"});
    assert_eq!(ok(&mut bench, "decrypt/r", &open)["plaintext"], b64("a"));
    let body = json!({"ciphertext": sealed, "decrypt_padding_scheme": "pkcs1v15"});
    let rewrapped = ok(&mut bench, "rewrap/r", &body)["ciphertext"].clone();
    assert_eq!(decrypt(&mut bench, "r", text(&rewrapped)), "a");
    let why = refused(&mut bench, "encrypt/r", &json!({"plaintext": "", "padding_scheme": "x"}));
    assert_eq!(why, "unknown padding scheme: x");
    let long = json!({"plaintext": b64(&"x".repeat(191))});
    assert_eq!(
        refused(&mut bench, "encrypt/r", &long),
        "failed to RSA encrypt the plaintext: message too long for RSA key size: at most 190 bytes can be encrypted"
    );
    ok(&mut bench, "keys/k", &json!({}));
    let why = refused(&mut bench, "encrypt/k", &json!({"plaintext": "", "padding_scheme": "oaep"}));
    assert_eq!(why, "'[0].padding_scheme' provided for key type aes256-gcm96");
}

#[test]
fn a_batch_answers_each_item() {
    let mut bench = mounted();
    ok(&mut bench, "keys/k", &json!({}));
    let items = json!({"batch_input": [
        {"plaintext": b64("one"), "reference": "r1"}, {"plaintext": b64("two"), "key_version": 1}, {"plaintext": ""},
    ]});
    let results = ok(&mut bench, "encrypt/k", &items)["batch_results"].clone();
    assert_eq!((&results[0]["reference"], &results[1]["reference"]), (&json!("r1"), &json!("")));
    assert_eq!(results[1]["key_version"], 1);
    let sealed: Vec<Value> =
        (0..3).map(|at| json!({"ciphertext": results[at]["ciphertext"], "reference": at})).collect();
    let opened = ok(&mut bench, "decrypt/k", &json!({ "batch_input": sealed }))["batch_results"].clone();
    assert_eq!(
        opened,
        json!([{"plaintext": b64("one"), "reference": "0"}, {"plaintext": b64("two"), "reference": "1"},
               {"plaintext": "", "reference": "2"}])
    );
    let rewrapped = ok(&mut bench, "rewrap/k", &json!({ "batch_input": sealed }));
    assert_eq!(rewrapped["batch_results"].as_array().unwrap().len(), 3);
    for (path, body, why) in [
        ("encrypt/k", json!({"batch_input": []}), "missing batch input to process"),
        ("decrypt/k", json!({"batch_input": []}), "missing batch input to process"),
        (
            "encrypt/k",
            json!({"batch_input": "x"}),
            "failed to parse batch input: source data must be an array",
        ),
        ("encrypt/k", json!({"batch_input": [1]}), "failed to parse batch input: [0] expected a map"),
        (
            "encrypt/k",
            json!({"batch_input": [{"plaintext": ""}, {}]}),
            "failed to parse batch input: '[1].plaintext' missing plaintext to encrypt",
        ),
        (
            "decrypt/k",
            json!({"batch_input": [{}]}),
            "failed to parse batch input: '[0].ciphertext' missing ciphertext to decrypt",
        ),
        (
            "encrypt/k",
            json!({"batch_input": [{"plaintext": "", "context": b64("c")}, {"plaintext": ""}]}),
            "context should be set either in all the request blocks or in none",
        ),
    ] {
        let found = refused(&mut bench, path, &body);
        assert!(found.starts_with(why), "{found}");
    }
}

#[test]
fn a_batch_that_fails_in_part_says_so() {
    let mut bench = mounted();
    ok(&mut bench, "keys/k", &json!({}));
    let mut ask = |path: &str, body: Value| {
        bench.root(Operation::Update, &format!("transit/{path}"), &body.to_string())
    };
    let mixed = json!([{"plaintext": b64("a")}, {"plaintext": "?", "reference": "bad"}]);
    let answer = ask("encrypt/k", json!({ "batch_input": mixed }));
    assert_eq!(answer.status, 400);
    let results = &answer.data()["batch_results"];
    assert!(text(&results[0]["ciphertext"]).starts_with("vault:v1:"));
    assert_eq!(results[1], json!({"error": "illegal base64 data at input byte 0", "reference": "bad"}));
    for (code, status) in [(207, 207), (422, 422), (99, 400), (600, 400), (0, 400)] {
        let answer = ask("encrypt/k", json!({"batch_input": mixed, "partial_failure_response_code": code}));
        assert_eq!(answer.status, status);
        assert_eq!(answer.body["warnings"].is_null(), u16::try_from(code).is_ok_and(|code| code == status));
    }
    let none = json!({"batch_input": [{"ciphertext": "x"}, {"ciphertext": ""}], "partial_failure_response_code": 200});
    let answer = ask("decrypt/k", none);
    assert_eq!(answer.status, 400);
    assert_eq!(answer.data()["batch_results"][0]["error"], "invalid ciphertext: no prefix");
    assert_eq!(answer.data()["batch_results"][1]["error"], "missing ciphertext to decrypt");
    let answer = ask("rewrap/k", json!({"batch_input": [{"ciphertext": "x"}]}));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.data()["batch_results"][0]["error"], "invalid ciphertext: no prefix");
}

#[test]
fn data_keys_come_with_and_without_their_plaintext() {
    let mut bench = mounted();
    ok(&mut bench, "keys/k", &json!({}));
    for (bits, bytes) in [(128, 16), (256, 32), (512, 64)] {
        let made = ok(&mut bench, "datakey/plaintext/k", &json!({ "bits": bits }));
        assert_eq!(wire::decode(text(&made["plaintext"])).unwrap().len(), bytes);
        let body = json!({"ciphertext": made["ciphertext"]});
        assert_eq!(ok(&mut bench, "decrypt/k", &body)["plaintext"], made["plaintext"]);
        let wrapped = ok(&mut bench, "datakey/wrapped/k", &json!({ "bits": bits }));
        assert!(wrapped["plaintext"].is_null() && wrapped["key_version"] == 1);
    }
    for (path, body, why) in [
        ("datakey/shown/k", json!({}), "Invalid path, must be 'plaintext' or 'wrapped'"),
        ("datakey/wrapped/k", json!({"bits": 64}), "invalid bit length"),
        ("datakey/wrapped/k", json!({"context": "?"}), "failed to base64-decode context"),
        ("datakey/wrapped/k", json!({"nonce": "?"}), "failed to base64-decode nonce"),
        ("datakey/wrapped/k", json!({"nonce": b64("n")}), "nonce provided when not allowed"),
    ] {
        assert_eq!(refused(&mut bench, path, &body), why);
    }
    ok(&mut bench, "keys/d", &json!({"derived": true}));
    let made = ok(&mut bench, "datakey/plaintext/d", &json!({"context": b64("c")}));
    let body = json!({"ciphertext": made["ciphertext"], "context": b64("c")});
    assert_eq!(ok(&mut bench, "decrypt/d", &body)["plaintext"], made["plaintext"]);
}
