//! `wrapping_key`, `import`, `import_version`, `export/` and `byok-export/`.

use super::*;
use keyward_crypto::SystemRandom;
use keyward_crypto::keys::{Hash, Key, KeyType, wrap_for_import};

/// What a client does to send a key.
fn wrapped(wrapping: &str, key: &[u8], hash: Hash) -> String {
    let Ok(Key::Rsa(target)) = Key::import_public_pem(KeyType::Rsa4096, wrapping.as_bytes()) else {
        panic!("{wrapping}")
    };
    wire::encode(&wrap_for_import(&target, hash, key, &SystemRandom).unwrap())
}

fn private(kind: KeyType) -> (Key, Vec<u8>) {
    let key = Key::generate(kind, 48, &SystemRandom).unwrap();
    let bytes = key.private().unwrap().expose().clone();
    (key, bytes)
}

/// One wrapping key for all imports: making one takes long.
#[test]
fn keys_made_elsewhere_are_imported() {
    let mut bench = mounted();
    let why = refused(&mut bench, "keys/early/import", &json!({"ciphertext": "AAAA"}));
    assert_eq!(why, "there is no wrapping key yet: read wrapping_key and wrap the key for it");
    let wrapping = text(&read(&mut bench, "wrapping_key")["public_key"]).to_owned();
    assert_eq!(read(&mut bench, "wrapping_key")["public_key"], wrapping.as_str());
    assert_eq!(bench.root(Operation::List, "transit/keys", "").status, 404);
    imports_every_type(&mut bench, &wrapping);
    refuses_bad_imports(&mut bench, &wrapping);
    adds_versions(&mut bench, &wrapping);
    completes_public_keys(&mut bench, &wrapping);
    reads_what_vault_encrypted(&mut bench, &wrapping);
}

fn imports_every_type(bench: &mut Bench, wrapping: &str) {
    for kind in
        [KeyType::Aes128Gcm96, KeyType::ChaCha20Poly1305, KeyType::Hmac, KeyType::Ed25519, KeyType::EcdsaP384]
    {
        for (name, hash) in [("SHA256", Hash::Sha2_256), ("sha1", Hash::Sha1), ("SHA512", Hash::Sha2_512)] {
            let (key, bytes) = private(kind);
            let path = format!("keys/{}-{name}", kind.name());
            let ciphertext = wrapped(wrapping, &bytes, hash);
            let body = json!({
                "type": kind.name().to_uppercase(), "ciphertext": ciphertext, "hash_function": name,
                "exportable": true, "allow_plaintext_backup": true,
            });
            assert_eq!(bench.write(&format!("transit/{path}/import"), &body.to_string()).status, 204);
            let shown = read(bench, &path);
            assert_eq!(
                (&shown["imported_key"], &shown["imported_key_allow_rotation"]),
                (&json!(true), &json!(false))
            );
            if kind == KeyType::EcdsaP384 {
                assert_eq!(shown["keys"]["1"]["public_key"], key.public_pem().unwrap());
            }
            let why = refused(bench, &format!("{path}/rotate"), &json!({}));
            assert!(why.ends_with("does not allow rotation within Vault"), "{why}");
            let why = refused(bench, &format!("{path}/import"), &body);
            assert!(why.starts_with("the import path cannot be used with an existing key"), "{why}");
        }
    }
    assert_eq!(read(bench, "keys/hmac-SHA256")["key_size"], 48);
}

fn refuses_bad_imports(bench: &mut Bench, wrapping: &str) {
    let good = wrapped(wrapping, &[7; 32], Hash::Sha2_256);
    let short = wrapped(wrapping, &[7; 31], Hash::Sha2_256);
    let pem = private(KeyType::Ed25519).0.public_pem().unwrap();
    for (body, why) in [
        (json!({}), "one of the fields ciphertext and public_key must be set"),
        (json!({"type": "des", "ciphertext": good}), "unknown key type: des"),
        (
            json!({"ciphertext": good, "convergent_encryption": true}),
            "import cannot be used on keys with conv",
        ),
        (json!({"ciphertext": good, "auto_rotate_period": "2h"}), "allow_rotation must be set to true if"),
        (
            json!({"ciphertext": good, "auto_rotate_period": 60, "allow_rotation": true}),
            "auto rotate period must be 0 to disable or at least an hour",
        ),
        (json!({"ciphertext": good, "hash_function": "md5"}), "unknown hash function: md5"),
        (json!({"ciphertext": good, "hash_function": "SHA224"}), "hash algorithm sha2-224 is not available"),
        (json!({"ciphertext": good, "hash_function": "SHA384"}), "failed to decrypt the ephemeral AES key"),
        (json!({"ciphertext": "?"}), "illegal base64 data at input byte 0"),
        (json!({"ciphertext": "AAAA"}), "provided ciphertext is too short"),
        (
            json!({"ciphertext": short}),
            "error importing key: invalid key size 31 bytes for key type aes256-gcm96",
        ),
        (
            json!({"ciphertext": good, "type": "ed25519"}),
            "error importing key: error parsing asymmetric key: pri",
        ),
        (
            json!({"ciphertext": good, "type": "rsa-2048", "derived": true}),
            "key derivation not supported for",
        ),
        (json!({"public_key": pem}), "provided type does not support public_key import"),
        (
            json!({"public_key": pem, "type": "rsa-2048"}),
            "error importing key: invalid key type: expected rsa",
        ),
        (
            json!({"public_key": "x", "type": "ed25519"}),
            "error importing key: error parsing public key: not in",
        ),
        (
            json!({"public_key": pem, "type": "ed25519", "derived": true}),
            "error importing key: unable to import only",
        ),
    ] {
        let found = refused(bench, "keys/bad/import", &body);
        assert!(found.starts_with(why), "{body}: {found}");
    }
    assert_eq!(get(bench, "keys/bad").status, 404);
}

fn adds_versions(bench: &mut Bench, wrapping: &str) {
    let send = |byte: u8| json!({"ciphertext": wrapped(wrapping, &[byte; 32], Hash::Sha2_256)});
    let mut first = send(1);
    first["allow_rotation"] = json!(true);
    first["exportable"] = json!(true);
    bench.write("transit/keys/v/import", &first.to_string());
    bench.write("transit/keys/v/import_version", &send(2).to_string());
    let exported = read(bench, "export/encryption-key/v")["keys"].clone();
    assert_eq!(exported, json!({"1": wire::encode(&[1; 32]), "2": wire::encode(&[2; 32])}));
    let mut third = send(3);
    third["version"] = json!(1);
    let why = refused(bench, "keys/v/import_version", &third);
    assert_eq!(why, "provided type does not support importing key versions");
    ok(bench, "keys/v/rotate", &json!({}));
    let why = refused(bench, "keys/v/import_version", &send(4));
    assert_eq!(why, "the import_version endpoint can only be used with an imported key");
    let why = refused(bench, "keys/none/import_version", &send(4));
    assert_eq!(why, "no key found with name none; to import a new key, use the import/ endpoint");
}

fn completes_public_keys(bench: &mut Bench, wrapping: &str) {
    let (key, bytes) = private(KeyType::EcdsaP256);
    let (other, other_bytes) = private(KeyType::EcdsaP256);
    let pem = key.public_pem().unwrap();
    let body = json!({"type": "ecdsa-p256", "public_key": pem, "exportable": true});
    bench.write("transit/keys/p/import", &body.to_string());
    assert_eq!(read(bench, "keys/p")["keys"]["1"]["public_key"], pem.as_str());
    let why = refused(bench, "sign/p", &json!({"input": ""}));
    assert_eq!(why, "requested version for signing does not contain a private part");
    assert_eq!(read(bench, "export/signing-key/p")["keys"]["1"], "");
    let Key::Ecdsa(signer) = &key else { unreachable!() };
    let hash = Hash::Sha2_256.digest(b"m").unwrap();
    let signature = signer.sign(&hash, keyward_crypto::keys::Marshaling::Asn1).unwrap();
    let body = json!({"input": b64("m"), "signature": format!("vault:v1:{}", wire::encode(&signature))});
    assert_eq!(ok(bench, "verify/p", &body)["valid"], true);
    let tag = ok(bench, "hmac/p", &json!({"input": ""}))["hmac"].clone();
    let send = |bytes: &[u8], version: Option<u64>| json!({"ciphertext": wrapped(wrapping, bytes, Hash::Sha2_256), "version": version});
    let why = refused(bench, "keys/p/import_version", &send(&other_bytes, Some(1)));
    assert_eq!(why, "cannot import key, key pair does not match");
    let public = json!({"public_key": other.public_pem(), "version": 1});
    let why = refused(bench, "keys/p/import_version", &public);
    assert_eq!(why, "cannot add a public key to a key version that already has a public key set");
    assert_eq!(refused(bench, "keys/p/import_version", &send(&bytes, Some(2))), "no such key version");
    assert_eq!(
        refused(bench, "keys/p/import_version", &json!({"public_key": pem, "version": -1})),
        "no such key version"
    );
    bench.write("transit/keys/p/import_version", &send(&bytes, None).to_string());
    assert_eq!(read(bench, "keys/p")["latest_version"], 1);
    assert_eq!(ok(bench, "hmac/p", &json!({"input": ""}))["hmac"], tag);
    ok(bench, "sign/p", &json!({"input": ""}));
    let why = refused(bench, "keys/p/import_version", &send(&bytes, Some(1)));
    assert_eq!(why, "private key imported, key version cannot be updated");
    bench.write("transit/keys/p/import_version", &send(&other_bytes, None).to_string());
    assert_eq!(read(bench, "keys/p")["keys"]["2"]["public_key"], other.public_pem().unwrap());
}

fn reads_what_vault_encrypted(bench: &mut Bench, wrapping: &str) {
    let vectors = include_str!("../../../../../../crypto/testdata/convergent.txt");
    for (at, line) in vectors.lines().filter(|line| !line.starts_with('#')).enumerate() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [kind, raw, context, plaintext, sealed] = fields[..] else { panic!("{line}") };
        let coded = |digits: &str| wire::encode(&hex::decode(digits).unwrap());
        let ciphertext = wrapped(wrapping, &hex::decode(raw).unwrap(), Hash::Sha2_256);
        let body = json!({"type": kind, "derived": true, "ciphertext": ciphertext});
        bench.write(&format!("transit/keys/vault{at}/import"), &body.to_string());
        let body = json!({"ciphertext": format!("vault:v1:{}", coded(sealed)), "context": coded(context)});
        assert_eq!(ok(bench, &format!("decrypt/vault{at}"), &body)["plaintext"], coded(plaintext).as_str());
    }
}

#[test]
fn exports_have_the_form_asked_for() {
    let mut bench = mounted();
    for kind in ["aes128-gcm96", "hmac", "ed25519", "ecdsa-p521", "rsa-2048"] {
        ok(&mut bench, &format!("keys/{kind}"), &json!({"type": kind, "exportable": true}));
    }
    let mut export = |path: &str| {
        let shown = read(&mut bench, &format!("export/{path}"));
        text(&shown["keys"]["1"]).to_owned()
    };
    assert_eq!(wire::decode(&export("encryption-key/aes128-gcm96")).unwrap().len(), 16);
    assert_eq!(wire::decode(&export("encryption-key/aes128-gcm96?format=raw")).unwrap().len(), 16);
    assert_eq!(wire::decode(&export("hmac-key/aes128-gcm96")).unwrap().len(), 32);
    assert_eq!(wire::decode(&export("hmac-key/hmac")).unwrap().len(), 32);
    assert_eq!(wire::decode(&export("signing-key/ed25519")).unwrap().len(), 64);
    assert_eq!(wire::decode(&export("public-key/ed25519")).unwrap().len(), 32);
    assert!(export("signing-key/ed25519?format=pem").starts_with("-----BEGIN PRIVATE KEY-----"));
    assert!(export("public-key/ed25519?format=pem").ends_with("-----END PUBLIC KEY-----"));
    assert!(export("signing-key/ecdsa-p521").ends_with("-----END EC PRIVATE KEY-----"));
    assert!(export("signing-key/ecdsa-p521?format=pem").starts_with("-----BEGIN PRIVATE KEY-----"));
    assert!(export("public-key/ecdsa-p521").ends_with("-----END PUBLIC KEY-----"));
    assert!(export("signing-key/rsa-2048").ends_with("-----END RSA PRIVATE KEY-----\n"));
    assert_eq!(export("encryption-key/rsa-2048"), export("signing-key/rsa-2048"));
    assert!(export("public-key/rsa-2048").ends_with("-----END PUBLIC KEY-----\n"));
    let der = wire::decode(&export("signing-key/rsa-2048?format=der")).unwrap();
    let again = Key::import(KeyType::Rsa2048, keyward_crypto::Secret::new(der)).unwrap();
    assert_eq!(again.public_pem().unwrap(), export("public-key/rsa-2048"));
}

#[test]
fn exports_are_refused_where_they_must_be() {
    let mut bench = mounted();
    ok(&mut bench, "keys/k", &json!({}));
    ok(&mut bench, "keys/e", &json!({"type": "ed25519"}));
    for (path, why) in [
        ("export/encryption-key/k", "private key material is not exportable"),
        ("export/hmac-key/k", "private key material is not exportable"),
        ("export/signing-key/e", "private key material is not exportable"),
        ("export/secret-key/k", "invalid export type: secret-key"),
        ("export/public-key/e?format=jwk", "invalid format: jwk"),
        ("export/public-key/k", "unknown key type aes256-gcm96 for export type public-key"),
        ("byok-export/e/k", "key is not exportable"),
    ] {
        let answer = get(&mut bench, path);
        assert_eq!((answer.status, answer.errors().as_str()), (400, why), "{path}");
    }
    read(&mut bench, "export/public-key/e");
    assert_eq!(get(&mut bench, "export/encryption-key/none").status, 404);
    for key in ["k", "e"] {
        ok(&mut bench, &format!("keys/{key}/config"), &json!({"exportable": true}));
    }
    for (path, why) in [
        ("export/signing-key/k", "signing not supported for the key"),
        ("export/encryption-key/e", "encryption not supported for the key"),
        ("export/encryption-key/k/x", "invalid key version"),
        ("export/encryption-key/k/2", "version does not exist or cannot be found"),
        ("export/encryption-key/k/0", "version for export is below minimum decryption version"),
        (
            "export/encryption-key/k?format=pem",
            "unknown key format for symmetric key; supported values are `` or",
        ),
        ("export/hmac-key/k?format=der", "unknown key format for HMAC key; supported values are `` or `raw`"),
        ("byok-export/e/k", "unsupported key type in use; must be a rsa key"),
        ("byok-export/none/k", "no such destination key to export to"),
        ("byok-export/e/none", "no such source key for export"),
        ("byok-export/e/k?hash=md5", "unknown hash function: md5"),
    ] {
        let answer = get(&mut bench, path);
        assert!(answer.status == 400 && answer.errors().starts_with(why), "{path}: {answer:?}");
    }
    ok(&mut bench, "keys/k/rotate", &json!({}));
    for (version, shown) in [("latest", "2"), ("v1", "1"), ("2", "2")] {
        let data = read(&mut bench, &format!("export/encryption-key/k/{version}"));
        assert_eq!(data["keys"].as_object().unwrap().keys().collect::<Vec<_>>(), [shown]);
        assert_eq!((&data["name"], &data["type"]), (&json!("k"), &json!("aes256-gcm96")));
    }
}

#[test]
fn a_wrapped_export_is_for_the_holder_of_the_key_alone() {
    let mut bench = mounted();
    ok(&mut bench, "keys/to", &json!({"type": "rsa-2048", "exportable": true}));
    ok(&mut bench, "keys/from", &json!({"exportable": true}));
    ok(&mut bench, "keys/from/rotate", &json!({}));
    let pem = wire::decode(text(&read(&mut bench, "export/signing-key/to?format=der")["keys"]["1"])).unwrap();
    let Ok(Key::Rsa(holder)) = Key::import(KeyType::Rsa2048, keyward_crypto::Secret::new(pem)) else {
        panic!()
    };
    let plain = read(&mut bench, "export/encryption-key/from")["keys"].clone();
    let wrapped = read(&mut bench, "byok-export/to/from")["keys"].clone();
    for version in ["1", "2"] {
        let blob = wire::decode(text(&wrapped[version])).unwrap();
        let key = keyward_crypto::keys::unwrap_for_import(&holder, Hash::Sha2_256, &blob).unwrap();
        assert_eq!(wire::encode(key.expose()), plain[version]);
    }
    let one = read(&mut bench, "byok-export/to/from/latest?hash=SHA1")["keys"].clone();
    assert_eq!(one.as_object().unwrap().len(), 1);
}
