//! A key in a file.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use keyward_crypto::Secret;
use keyward_keystores::{AgeFile, Context, Keystore, KeystoreError};

const FIRST: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";

fn write(path: &Path, text: &str) {
    let fresh = path.with_extension("new");
    fs::write(&fresh, text).unwrap();
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(fresh, path).unwrap();
}

fn context(key_id: &str) -> Context<'_> {
    Context { cluster: "test", provider: "keyward", key_id, epoch: 1 }
}

fn new_identity() -> String {
    keyward_crypto::age::x25519::Identity::generate(&keyward_crypto::SystemRandom).text().expose().clone()
}

#[tokio::test]
async fn wraps_binds_and_rotates() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.txt");
    write(&path, &format!("# made for a test\n\n{FIRST}\n"));
    let store = AgeFile::new(&path);
    let first = store.current_version().await.unwrap();
    assert!(first.as_str().starts_with("age1"), "{first}");
    let key = Secret::new([7; 32]);
    let wrapped = store.wrap(&first, &context("a"), &key).await.unwrap();
    assert!(wrapped.len() < 2048, "{}", wrapped.len());
    assert_eq!(store.unwrap(&first, &context("a"), &wrapped).await.unwrap().expose(), key.expose());
    let moved = store.unwrap(&first, &context("b"), &wrapped).await.unwrap_err();
    assert!(matches!(moved, KeystoreError::Rejected(_)), "{moved}");

    write(&path, &format!("{}\n{FIRST}\n", new_identity()));
    let second = store.current_version().await.unwrap();
    assert_ne!(first, second);
    assert_eq!(
        store.unwrap(&first, &context("a"), &wrapped).await.unwrap().expose(),
        key.expose(),
        "older keys open"
    );
    write(&path, &new_identity());
    let gone = store.wrap(&second, &context("a"), &key).await.unwrap_err();
    assert!(matches!(gone, KeystoreError::Key(_)), "{gone}");
    let refused = store.unwrap(&first, &context("a"), &wrapped).await.unwrap_err();
    assert!(matches!(refused, KeystoreError::Rejected(_)), "{refused}");
}

#[tokio::test]
async fn altered_bytes_do_not_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.txt");
    write(&path, FIRST);
    let store = AgeFile::new(&path);
    let version = store.current_version().await.unwrap();
    let wrapped = store.wrap(&version, &context("a"), &Secret::new([7; 32])).await.unwrap();
    for at in 0..wrapped.len() {
        let mut altered = wrapped.clone();
        altered[at] ^= 1;
        assert!(store.unwrap(&version, &context("a"), &altered).await.is_err(), "byte {at}");
        assert!(store.unwrap(&version, &context("a"), &wrapped[..at]).await.is_err(), "{at} bytes");
    }
}

#[tokio::test]
async fn an_exposed_or_unusable_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.txt");
    let store = AgeFile::new(&path);
    let error = store.current_version().await.unwrap_err();
    assert!(matches!(&error, KeystoreError::Denied(_)), "{error}");
    for mode in [0o640, 0o604, 0o660] {
        write(&path, FIRST);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = store.current_version().await.unwrap_err();
        assert!(error.to_string().contains("chmod 0600"), "{error}");
    }
    let too_long = "#".repeat(70_000);
    for text in ["", "# only a comment\n", "AGE-SECRET-KEY-1canary\n", "age1xyz\n", too_long.as_str()] {
        write(&path, text);
        let error = store.current_version().await.unwrap_err();
        assert!(!error.to_string().contains("canary"), "{error}");
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(store.current_version().await.is_err());
}
