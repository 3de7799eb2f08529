//! Which key protects what, from real snapshots.

use keyward_tests::kms::{ApiServer, Plugin, stdout};
use keyward_tests::server::Server;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

fn inspect(plugin: &Plugin, file: &Path, more: &[&str]) -> Value {
    let arguments = [&["inspect", "--format", "json", "--snapshot", file.to_str().unwrap()], more].concat();
    let finished = plugin.kms(&arguments);
    assert!(finished.status.success(), "{}", finished.stderr);
    serde_json::from_slice(&finished.stdout).unwrap()
}

#[test]
fn a_snapshot_tells_what_is_left_under_an_old_key() {
    let Some(mut api) = ApiServer::start() else { return };
    let server = Server::dev();
    let plugin = Plugin::transit(&server);
    api.load(&plugin);
    let old_key = plugin.key_id().unwrap();
    for name in ["kept", "rewritten", "deleted"] {
        let key = format!("/registry/secrets/default/{name}");
        let stored = api.write(&key, b"value").unwrap();
        api.put(&key, &stored);
    }
    api.put("/registry/secrets/default/plain", b"k8s\0 a secret from before");
    api.put("/registry/pods/default/p", b"k8s\0 a pod");
    api.put("/registry/configmaps/default/c", b"k8s:enc:aescbc:v1:key1:xxxx");
    api.put("/elsewhere/secrets/x", b"k8s:enc:kms:v2:other:not even a message");
    server.root().write("transit/keys/kube/rotate", &json!({})).expect(200);
    let new_key = plugin.wait_for_key(|key| key != old_key);
    api.load(&plugin);
    let rewritten = api.write("/registry/secrets/default/rewritten", b"value").unwrap();
    api.put("/registry/secrets/default/rewritten", &rewritten);
    api.delete("/registry/secrets/default/deleted");
    let file = plugin.folder().join("snapshot.db");
    api.snapshot(&file, 4096, true);

    let report = inspect(&plugin, &file, &[]);
    assert_eq!((&report["checksum"], &report["objects"]), (&json!("right"), &json!(5)), "{report}");
    let uses: Vec<_> =
        report["keys"].as_array().unwrap().iter().map(|key| (&key["key_id"], &key["objects"])).collect();
    assert_eq!(uses.len(), 2, "{report}");
    assert!(uses.contains(&(&json!(old_key), &json!(1))) && uses.contains(&(&json!(new_key), &json!(1))));
    let secrets = &report["resources"]["secrets"];
    assert_eq!(secrets["plaintext"], json!(["secrets/default/plain"]));
    assert_eq!(
        secrets["encrypted"],
        json!({"secrets/default/kept": old_key, "secrets/default/rewritten": new_key})
    );
    assert_eq!(report["resources"]["configmaps"]["encrypted"]["configmaps/default/c"], "aescbc:v1:key1");
    assert_eq!(report["others"], 1);
    let versions: Vec<_> =
        report["keys"].as_array().unwrap().iter().map(|key| &key["keks"][0]["version"]).collect();
    assert!(versions.iter().any(|version| version.as_str().unwrap().starts_with("2@")), "{versions:?}");

    let snapshot = file.to_str().unwrap();
    let arguments = ["inspect", "--snapshot", snapshot, "--resource", "secrets", "--all-under", &new_key];
    let left = plugin.kms(&arguments);
    assert_eq!(left.status.code(), Some(2));
    assert!(left.stderr.contains("secrets/default/kept") && left.stderr.contains("secrets/default/plain"));
    assert!(!left.stderr.contains("secrets/default/rewritten"));
    assert!(stdout(&left).contains("not encrypted: secrets/default/plain"), "{}", stdout(&left));
    for name in ["kept", "plain"] {
        let key = format!("/registry/secrets/default/{name}");
        let stored = api.write(&key, b"value").unwrap();
        api.put(&key, &stored);
    }
    let migrated = plugin.folder().join("migrated.db");
    api.snapshot(&migrated, 4096, false);
    let done = plugin.kms(&[
        "inspect",
        "--snapshot",
        migrated.to_str().unwrap(),
        "--resource",
        "secrets",
        "--all-under",
        &new_key,
    ]);
    assert!(done.status.success(), "{}", done.stderr);
    assert!(!stdout(&done).contains(&old_key), "{}", stdout(&done));
}

#[test]
fn trees_of_every_shape_are_read() {
    let Some(mut api) = ApiServer::start() else { return };
    let plugin = Plugin::stopped("http://127.0.0.1:1", &[]);
    let mut expected = 0;
    // Inline in its parent's page; one leaf; branches; pages that run over.
    for (round, count) in [1, 30, 5_000].into_iter().enumerate() {
        for number in 0..count {
            api.put(&format!("/registry/secrets/round-{round}/{number}"), b"k8s\0 value");
        }
        api.put(&format!("/registry/secrets/round-{round}/long"), &vec![b'x'; 300_000 * round]);
        expected += count + 1;
        for page_size in [1024, 4096, 16_384] {
            let file = plugin.folder().join(format!("{round}-{page_size}.db"));
            api.snapshot(&file, page_size, page_size == 4096);
            let report = inspect(&plugin, &file, &[]);
            assert_eq!(report["objects"], expected, "{page_size}");
            assert_eq!(report["resources"]["secrets"]["plaintext"].as_array().unwrap().len(), expected);
        }
    }
}

#[test]
fn damaged_snapshots_are_refused_or_read_but_never_fatal() {
    let Some(mut api) = ApiServer::start() else { return };
    let plugin = Plugin::stopped("http://127.0.0.1:1", &[]);
    for number in 0..200 {
        api.put(
            &format!("/registry/secrets/default/{number}"),
            b"k8s:enc:kms:v2:n:\x0a\x01a\x12\x01b\x1a\x01c",
        );
    }
    let file = plugin.folder().join("whole.db");
    api.snapshot(&file, 1024, false);
    let whole = fs::read(&file).unwrap();
    let checked = plugin.folder().join("checked.db");
    api.snapshot(&checked, 1024, true);
    let mut altered = fs::read(&checked).unwrap();
    altered[5000] ^= 1;
    fs::write(&checked, &altered).unwrap();
    let refused = plugin.kms(&["inspect", "--snapshot", checked.to_str().unwrap()]);
    assert!(refused.stderr.contains("checksum"), "{}", refused.stderr);

    let damaged = plugin.folder().join("damaged.db");
    let examine = |bytes: &[u8], what: String| {
        fs::write(&damaged, bytes).unwrap();
        let finished = plugin.kms(&["inspect", "--format", "json", "--snapshot", damaged.to_str().unwrap()]);
        let code = finished.status.code();
        assert!(matches!(code, Some(0 | 1)), "{what}: {code:?}: {}", finished.stderr);
        code
    };
    for at in (0..whole.len()).step_by(whole.len() / 150) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        examine(&bytes, format!("byte {at}"));
    }
    for length in [0, 1, 100, 1023, 1024, 4096, whole.len() / 2] {
        assert_eq!(examine(&whole[..length], format!("{length} bytes")), Some(1));
    }
    assert_eq!(examine(&vec![0xab; 1 << 16], "noise".to_owned()), Some(1));
    assert_eq!(examine(&whole, "whole".to_owned()), Some(0));
}

#[test]
fn a_value_is_looked_into() {
    let Some(mut api) = ApiServer::start() else { return };
    let server = Server::dev();
    let plugin = Plugin::transit(&server);
    api.load(&plugin);
    let stored = api.write("/registry/secrets/default/a", b"value").unwrap();
    let file = plugin.folder().join("value");
    fs::write(&file, stored).unwrap();
    let finished = plugin.kms(&["inspect", "--format", "json", "--value", file.to_str().unwrap()]);
    let report: Value = serde_json::from_slice(&finished.stdout).unwrap();
    assert_eq!(report["protection"]["key_id"], json!(plugin.key_id().unwrap()));
    assert_eq!((&report["protection"]["provider"], &report["seed"]), (&json!("keyward"), &json!(true)));
    assert_eq!(report["kek"]["epoch"], 1);
    let table = stdout(&plugin.kms(&["inspect", "--value", file.to_str().unwrap()]));
    assert!(table.contains("kms:v2 keyward, key kw1-"), "{table}");
    let absent = plugin.kms(&["inspect", "--value", "/absent"]);
    assert_eq!(absent.status.code(), Some(1));
}
