//! `keys/`, `backup/` and `restore/`.

use super::*;
use keyward_crypto::keys::ALL_KEY_TYPES;
use std::time::Duration;

fn versions(described: &Value) -> Vec<String> {
    described["keys"].as_object().unwrap().keys().cloned().collect()
}

#[test]
fn every_type_is_made_and_shown() {
    let mut bench = mounted();
    for (at, kind) in ALL_KEY_TYPES.into_iter().enumerate() {
        // A larger RSA key only takes longer.
        if matches!(kind.name(), "rsa-3072" | "rsa-4096") {
            continue;
        }
        let path = format!("keys/k{at}");
        let body = json!({"type": kind.name(), "parameter_set": kind.parameter_set()});
        let made = ok(&mut bench, &path, &body);
        assert_eq!(made, read(&mut bench, &path), "{kind}");
        assert_eq!((&made["type"], &made["latest_version"]), (&json!(kind.name()), &json!(1)));
        assert_eq!(made["supports_encryption"], kind.encrypts());
        assert_eq!(made["supports_decryption"], kind.encrypts());
        assert_eq!(made["supports_signing"], kind.signs());
        assert_eq!(made["supports_derivation"], kind.derives());
        let shown = &made["keys"]["1"];
        if kind.is_asymmetric() {
            assert_eq!(shown["creation_time"], "2026-01-01T00:00:00Z", "{kind}");
            assert!(!text(&shown["public_key"]).is_empty() && !text(&shown["name"]).is_empty(), "{kind}");
        } else if kind.is_aead() {
            assert_eq!(*shown, 1_767_225_600_u64, "{kind}");
        } else {
            assert_eq!((&made["keys"], &made["key_size"]), (&Value::Null, &json!(32)), "{kind}");
        }
    }
    let named = |bench: &mut Bench, path: &str| read(bench, path)["keys"]["1"]["name"].clone();
    assert_eq!(named(&mut bench, "keys/k5"), "P-256");
    assert_eq!(named(&mut bench, "keys/k4"), "ed25519");
    assert_eq!(named(&mut bench, "keys/k8"), "rsa-2048");
    assert_eq!(named(&mut bench, "keys/k14"), "ml-dsa-87");
    let listed = bench.root(Operation::List, "transit/keys", "").data()["keys"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 13);
}

#[test]
fn the_whole_of_a_new_key() {
    let mut bench = mounted();
    let made = ok(&mut bench, "keys/k", &json!({"derived": true, "convergent_encryption": "true"}));
    assert_eq!(
        made,
        json!({
            "name": "k", "type": "aes256-gcm96", "derived": true, "deletion_allowed": false,
            "min_available_version": 0, "min_decryption_version": 1, "min_encryption_version": 0,
            "latest_version": 1, "exportable": false, "allow_plaintext_backup": false,
            "supports_encryption": true, "supports_decryption": true, "supports_signing": false,
            "supports_derivation": true, "auto_rotate_period": 0, "imported_key": false,
            "soft_deleted": false, "kdf": "hkdf_sha256", "convergent_encryption": true,
            "convergent_encryption_version": -1, "keys": {"1": 1_767_225_600_u64},
        })
    );
    let again = bench.write("transit/keys/k", r#"{"type":"rsa-2048"}"#);
    assert_eq!(again.body["warnings"], json!(["key k already existed"]));
    assert_eq!(again.data(), &made);
}

#[test]
fn what_no_key_can_be() {
    let mut bench = mounted();
    for (body, why) in [
        (json!({"type": "des"}), "unknown key type des"),
        (json!({"type": "ml-dsa"}), "keys of type ml-dsa need a parameter_set: 44, 65 or 87"),
        (json!({"convergent_encryption": true}), "convergent encryption requires derivation to be enabled"),
        (
            json!({"type": "rsa-2048", "derived": true}),
            "key derivation and convergent encryption not supported for keys of type rsa-2048",
        ),
        (
            json!({"type": "ed25519", "derived": true, "convergent_encryption": true}),
            "convergent encryption not supported for keys of type ed25519",
        ),
        (json!({"key_size": 32}), "key_size is not valid for algorithm aes256-gcm96"),
        (json!({"type": "hmac", "key_size": 31}), "invalid key_size 31: write 32 to 512 bytes"),
        (json!({"type": "hmac", "key_size": -1}), "invalid key_size -1: write 32 to 512 bytes"),
        (json!({"auto_rotate_period": 3599}), "auto rotate period must be 0 to disable or at least an hour"),
    ] {
        assert_eq!(refused(&mut bench, "keys/k", &body), why);
    }
    for name in ["-k", "k.", "a%20b", "ü", "."] {
        let answer = bench.root(Operation::Update, &format!("transit/keys/{name}"), "");
        assert_eq!(answer.status, 404, "{name}");
    }
    assert_eq!(ok(&mut bench, "keys/a.b-c_D9", &json!({}))["name"], "a.b-c_D9");
    assert_eq!(ok(&mut bench, "keys/h", &json!({"type": "hmac", "key_size": 512}))["key_size"], 512);
    assert_eq!(get(&mut bench, "keys/none").status, 404);
}

#[test]
fn deletion_must_be_allowed_and_leaves_nothing() {
    let mut bench = mounted();
    let delete = |bench: &mut Bench| bench.root(Operation::Delete, "transit/keys/k", "");
    let before = stored(&bench).len();
    assert_eq!(delete(&mut bench).errors(), "error deleting policy k: could not delete key; not found");
    for _ in 0..3 {
        ok(&mut bench, "keys/k", &json!({}));
        for _ in 0..20 {
            ok(&mut bench, "keys/k/rotate", &json!({}));
        }
        assert_eq!(
            delete(&mut bench).errors(),
            "error deleting policy k: deletion is not allowed for this key"
        );
        ok(&mut bench, "keys/k/config", &json!({"deletion_allowed": true}));
        assert_eq!(delete(&mut bench).status, 204);
        assert_eq!(stored(&bench).len(), before);
        assert_eq!(get(&mut bench, "keys/k").status, 404);
    }
}

#[test]
fn configuration_is_checked_as_a_whole() {
    let mut bench = mounted();
    ok(&mut bench, "keys/k", &json!({}));
    for _ in 0..4 {
        ok(&mut bench, "keys/k/rotate", &json!({}));
    }
    let min = |name: &str, value: i64| json!({ name: value });
    for (body, why) in [
        (min("min_decryption_version", -1), "min decryption version cannot be negative"),
        (min("min_encryption_version", -1), "min encryption version cannot be negative"),
        (min("min_decryption_version", 6), "cannot set min decryption version of 6, latest key version is 5"),
        (min("min_encryption_version", 6), "cannot set min encryption version of 6, latest key version is 5"),
        (
            json!({"min_decryption_version": 4, "min_encryption_version": 3}),
            "cannot set min encryption/decryption values; min encryption version of 3 must be greater than or \
             equal to min decryption version of 4",
        ),
        (min("auto_rotate_period", 60), "auto rotate period must be 0 to disable or at least an hour"),
    ] {
        assert_eq!(refused(&mut bench, "keys/k/config", &body), why);
    }
    let why = refused(&mut bench, "keys/none/config", &json!({}));
    assert_eq!(why, "no existing key named none could be found");
    let set =
        ok(&mut bench, "keys/k/config", &json!({"min_decryption_version": 3, "min_encryption_version": "4"}));
    assert_eq!(versions(&set), ["3", "4", "5"]);
    assert_eq!((&set["min_decryption_version"], &set["min_encryption_version"]), (&json!(3), &json!(4)));
    let zero = bench.write("transit/keys/k/config", r#"{"min_decryption_version":0}"#);
    assert_eq!(
        zero.body["warnings"][0],
        "since Vault 0.3, transit key numbering starts at 1; forcing minimum to 1"
    );
    assert_eq!(versions(zero.data()), ["1", "2", "3", "4", "5"]);
    let body = json!({"exportable": true, "allow_plaintext_backup": true, "auto_rotate_period": "24h"});
    let set = ok(&mut bench, "keys/k/config", &body);
    assert_eq!(set["auto_rotate_period"], 86_400);
    let set = ok(&mut bench, "keys/k/config", &json!({"exportable": false, "allow_plaintext_backup": false}));
    assert_eq!((&set["exportable"], &set["allow_plaintext_backup"]), (&json!(true), &json!(true)));
    let before = stored(&bench);
    ok(&mut bench, "keys/k/config", &json!({"exportable": true}));
    assert_eq!(stored(&bench), before, "nothing new was written all the same");
}

#[test]
fn trimming_destroys_versions_for_good() {
    let mut bench = mounted();
    ok(&mut bench, "keys/k", &json!({"exportable": true}));
    let first = encrypt(&mut bench, "k", &json!({"plaintext": b64("one")}));
    for _ in 0..39 {
        ok(&mut bench, "keys/k/rotate", &json!({}));
    }
    let latest = encrypt(&mut bench, "k", &json!({"plaintext": b64("forty")}));
    let (before, trim) = (stored(&bench).len(), |first: i64| json!({"min_available_version": first}));
    assert_eq!(refused(&mut bench, "keys/k/trim", &json!({})), "missing min_available_version");
    assert_eq!(refused(&mut bench, "keys/none/trim", &trim(1)), "invalid key name");
    let unset = "minimum available version cannot be set when minimum encryption version is not set";
    assert_eq!(refused(&mut bench, "keys/k/trim", &trim(1)), unset);
    ok(&mut bench, "keys/k/config", &json!({"min_encryption_version": 38, "min_decryption_version": 36}));
    for (wanted, why) in [
        (-1, "minimum available version cannot be negative"),
        (0, "minimum available version should be positive"),
        (39, "minimum available version cannot be greater than minmum encryption version"),
        (37, "minimum available version cannot be greater than minimum decryption version"),
    ] {
        assert_eq!(refused(&mut bench, "keys/k/trim", &trim(wanted)), why);
    }
    assert_eq!(ok(&mut bench, "keys/k/trim", &trim(34))["min_available_version"], 34);
    assert_eq!(stored(&bench).len(), before - 2, "two whole groups of versions are gone");
    let why = refused(&mut bench, "keys/k/trim", &trim(33));
    assert_eq!(why, "minimum available version cannot be decremented");
    let why = refused(&mut bench, "keys/k/config", &json!({"min_decryption_version": 33}));
    assert_eq!(why, "min decryption version should not be less then min available version");
    let why = refused(&mut bench, "keys/k/config", &json!({"min_encryption_version": 0}));
    assert_eq!(why, "min encryption version should not be less than min available version");
    ok(&mut bench, "keys/k/config", &json!({"min_decryption_version": 34}));
    assert_eq!(versions(&read(&mut bench, "keys/k")).len(), 7);
    assert_eq!(read(&mut bench, "export/encryption-key/k")["keys"].as_object().unwrap().len(), 7);
    assert_eq!(decrypt(&mut bench, "k", &latest), "forty");
    let why = refused(&mut bench, "decrypt/k", &json!({"ciphertext": first}));
    assert_eq!(why, "ciphertext or signature version is disallowed by policy (too old)");
}

#[test]
fn keys_rotate_when_it_is_time() {
    let mut bench = mounted();
    ok(&mut bench, "keys/k", &json!({"auto_rotate_period": "2h"}));
    let first = encrypt(&mut bench, "k", &json!({"plaintext": b64("a")}));
    bench.clock.advance(Duration::from_secs(7200));
    assert!(encrypt(&mut bench, "k", &json!({"plaintext": b64("a")})).starts_with("vault:v1:"));
    bench.clock.advance(Duration::from_secs(1));
    assert!(encrypt(&mut bench, "k", &json!({"plaintext": b64("a")})).starts_with("vault:v2:"));
    assert_eq!(decrypt(&mut bench, "k", &first), "a");
    bench.clock.advance(Duration::from_secs(7201));
    assert_eq!(read(&mut bench, "keys/k")["latest_version"], 3);
    bench.clock.advance(Duration::from_secs(7201));
    assert!(text(&ok(&mut bench, "hmac/k", &json!({"input": ""}))["hmac"]).starts_with("vault:v4:"));
    ok(&mut bench, "keys/k/config", &json!({"auto_rotate_period": 0}));
    bench.clock.advance(Duration::from_secs(1_000_000));
    assert_eq!(read(&mut bench, "keys/k")["latest_version"], 4);
    assert_eq!(refused(&mut bench, "keys/none/rotate", &json!({})), "key not found");
}

#[test]
fn a_soft_deleted_key_does_nothing_until_it_is_restored() {
    let mut bench = mounted();
    ok(
        &mut bench,
        "keys/k",
        &json!({"type": "rsa-2048", "exportable": true, "allow_plaintext_backup": true}),
    );
    let ciphertext = encrypt(&mut bench, "k", &json!({"plaintext": b64("a")}));
    let gone = bench.root(Operation::Delete, "transit/keys/k/soft-delete", "");
    assert_eq!(gone.data()["soft_deleted"], true);
    let again = bench.root(Operation::Delete, "transit/keys/k/soft-delete", "");
    assert_eq!(again.body["warnings"][0], "key was already marked as soft deleted");
    for (path, body) in [
        ("encrypt/k", json!({"plaintext": ""})),
        ("decrypt/k", json!({"ciphertext": ciphertext})),
        ("rewrap/k", json!({"ciphertext": ciphertext})),
        ("datakey/wrapped/k", json!({})),
        ("sign/k", json!({"input": ""})),
        ("verify/k", json!({"input": "", "signature": "vault:v1:"})),
        ("verify/k", json!({"input": "", "hmac": "vault:v1:"})),
        ("hmac/k", json!({"input": ""})),
        ("keys/k/rotate", json!({})),
    ] {
        assert!(refused(&mut bench, path, &body).starts_with("the key is soft deleted"), "{path}");
    }
    for path in ["export/signing-key/k", "backup/k"] {
        assert!(get(&mut bench, path).errors().starts_with("the key is soft deleted"), "{path}");
    }
    assert_eq!(ok(&mut bench, "keys/k/soft-delete-restore", &json!({}))["soft_deleted"], false);
    let again = bench.write("transit/keys/k/soft-delete-restore", "");
    assert_eq!(again.body["warnings"][0], "key was already restored");
    assert_eq!(decrypt(&mut bench, "k", &ciphertext), "a");
    assert_eq!(bench.root(Operation::Delete, "transit/keys/none/soft-delete", "").status, 404);
}

#[test]
fn a_backup_restores_every_version() {
    let mut bench = mounted();
    assert_eq!(get(&mut bench, "backup/none").errors(), "key \"none\" not found");
    ok(&mut bench, "keys/k", &json!({}));
    assert_eq!(get(&mut bench, "backup/k").errors(), "exporting is disallowed on the policy");
    ok(&mut bench, "keys/k/config", &json!({"exportable": true}));
    assert_eq!(get(&mut bench, "backup/k").errors(), "plaintext backup is disallowed on the policy");
    ok(&mut bench, "keys/k/config", &json!({"allow_plaintext_backup": true, "deletion_allowed": true}));
    let first = encrypt(&mut bench, "k", &json!({"plaintext": b64("one")}));
    for _ in 0..33 {
        ok(&mut bench, "keys/k/rotate", &json!({}));
    }
    let latest = encrypt(&mut bench, "k", &json!({"plaintext": b64("two")}));
    let tag = ok(&mut bench, "hmac/k", &json!({"input": ""}))["hmac"].clone();
    let backup = read(&mut bench, "backup/k")["backup"].clone();
    assert_eq!(read(&mut bench, "keys/k")["backup_info"]["version"], 34);
    let body = json!({ "backup": backup });
    assert_eq!(refused(&mut bench, "restore", &body), "key \"k\" already exists");
    let entries = stored(&bench).len();
    ok(&mut bench, "restore", &json!({"backup": backup, "force": true}));
    assert_eq!(stored(&bench).len(), entries, "the replaced key left something behind");
    ok(&mut bench, "restore/other", &body);
    bench.root(Operation::Delete, "transit/keys/k", "");
    ok(&mut bench, "restore", &json!({"backup": backup, "name": "third"}));
    for key in ["other", "third"] {
        assert_eq!(decrypt(&mut bench, key, &first), "one");
        assert_eq!(decrypt(&mut bench, key, &latest), "two");
        assert_eq!(ok(&mut bench, &format!("hmac/{key}"), &json!({"input": ""}))["hmac"], tag);
        assert_eq!(read(&mut bench, &format!("keys/{key}"))["restore_info"]["version"], 34);
    }
    assert_eq!(refused(&mut bench, "restore", &json!({})), "'backup' must be supplied");
    assert_eq!(
        refused(&mut bench, "restore", &json!({"backup": "?"})),
        "illegal base64 data at input byte 0"
    );
    let named = json!({"backup": backup, "name": "a/b"});
    assert_eq!(refused(&mut bench, "restore", &named), "key names cannot be paths");
    let plain = String::from_utf8(wire::decode(text(&backup)).unwrap()).unwrap();
    for (from, to) in [
        ("\"latest\":34", "\"latest\":35"),
        ("\"latest\":34", "\"latest\":18446744073709551615"),
        ("aes256-gcm96", "aes128-gcm96"),
        ("\"min_decryption\":1", "\"min_decryption\":99"),
        ("keyward_transit_backup", "another_backup"),
    ] {
        assert!(plain.contains(from), "{from}");
        let damaged = json!({"backup": b64(&plain.replace(from, to)), "name": "bad"});
        let why = refused(&mut bench, "restore", &damaged);
        assert_eq!(why, "backup data does not contain a valid policy", "{to}");
    }
    let newer = plain.replace("\"keyward_transit_backup\":1", "\"keyward_transit_backup\":2");
    let why = refused(&mut bench, "restore", &json!({"backup": b64(&newer), "name": "bad"}));
    assert_eq!(why, "the backup was made by a newer version, which can restore it");
}
