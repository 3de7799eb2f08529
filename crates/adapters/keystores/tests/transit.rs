//! The transit provider against a small authority: what it asks for, and what it does when refused.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod authority;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use authority::Authority;
use keyward_authority_client::{Address, ClientConfig};
use keyward_crypto::Secret;
use keyward_keystores::{Context, Credentials, Keystore, KeystoreError, Transit, TransitOptions};

const CONTEXT: Context<'_> = Context { cluster: "test", provider: "keyward", key_id: "id", epoch: 1 };

fn private(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn transit(address: &str, credentials: Credentials) -> Transit {
    let mut client = ClientConfig::new(Address::parse(address).unwrap());
    client.timeout = Duration::from_millis(500);
    Transit::new(TransitOptions { client, mount: "transit".to_owned(), key: "kube".to_owned(), credentials })
        .unwrap()
}

struct Setting {
    authority: Arc<Authority>,
    address: String,
    folder: tempfile::TempDir,
}

impl Setting {
    async fn new() -> Setting {
        let (authority, address) = Authority::start().await;
        Setting { authority, address, folder: tempfile::tempdir().unwrap() }
    }

    fn by_role(&self) -> Transit {
        let role_id_file = private(self.folder.path(), "role", "role-1\n");
        let secret_id_file = private(self.folder.path(), "secret", "secret-1\n");
        transit(
            &self.address,
            Credentials::AppRole { mount: "approle".to_owned(), role_id_file, secret_id_file },
        )
    }

    fn by_token(&self, token: &str) -> Transit {
        transit(&self.address, Credentials::TokenFile(private(self.folder.path(), "token", token)))
    }
}

#[tokio::test]
async fn wraps_and_unwraps_in_its_context_only() {
    let setting = Setting::new().await;
    let store = setting.by_role();
    assert_eq!(store.identity(), "transit::transit/kube");
    let version = store.current_version().await.unwrap();
    assert_eq!(version.as_str(), "1@1700000001");
    let wrapped = store.wrap(&version, &CONTEXT, &Secret::new([7; 32])).await.unwrap();
    assert_eq!(wrapped.len(), 12 + 65 + 16);
    assert_eq!(store.unwrap(&version, &CONTEXT, &wrapped).await.unwrap().expose(), &[7; 32]);
    for other in [
        Context { key_id: "di", ..CONTEXT },
        Context { cluster: "prod", ..CONTEXT },
        Context { epoch: 2, ..CONTEXT },
    ] {
        let error = store.unwrap(&version, &other, &wrapped).await.unwrap_err();
        assert!(matches!(error, KeystoreError::Rejected(_)), "{error}");
    }
    assert_eq!(setting.authority.logins.load(Ordering::SeqCst), 1, "one login serves all");
}

#[tokio::test]
async fn an_authority_that_ignores_associated_data_changes_nothing() {
    let setting = Setting::new().await;
    setting.authority.ignores_associated_data.store(true, Ordering::SeqCst);
    let store = setting.by_role();
    let version = store.current_version().await.unwrap();
    let wrapped = store.wrap(&version, &CONTEXT, &Secret::new([7; 32])).await.unwrap();
    let error = store.unwrap(&version, &Context { key_id: "di", ..CONTEXT }, &wrapped).await.unwrap_err();
    assert!(matches!(error, KeystoreError::Rejected(_)), "{error}");
}

#[tokio::test]
async fn rotation_and_replacement_are_new_versions() {
    let setting = Setting::new().await;
    let store = setting.by_role();
    let first = store.current_version().await.unwrap();
    let wrapped = store.wrap(&first, &CONTEXT, &Secret::new([7; 32])).await.unwrap();
    setting.authority.rotate();
    let second = store.current_version().await.unwrap();
    assert_eq!(second.as_str(), "2@1700000002");
    store.unwrap(&first, &CONTEXT, &wrapped).await.unwrap();
    let newer = store.wrap(&second, &CONTEXT, &Secret::new([8; 32])).await.unwrap();
    assert_eq!(store.unwrap(&second, &CONTEXT, &newer).await.unwrap().expose(), &[8; 32]);

    setting.authority.replace_key();
    let replaced = store.current_version().await.unwrap();
    assert!(replaced.as_str().starts_with("1@") && replaced != first, "{replaced}");
    let error = store.unwrap(&first, &CONTEXT, &wrapped).await.unwrap_err();
    assert!(matches!(error, KeystoreError::Rejected(_)), "{error}");
}

/// Moves the client's clock on; the authority's stays.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_wrong_secret_id_is_a_refusal() {
    let setting = Setting::new().await;
    let store = setting.by_role();
    private(setting.folder.path(), "secret", "secret-2");
    let error = store.current_version().await.unwrap_err();
    assert!(
        matches!(&error, KeystoreError::Denied(why) if why.contains("invalid role or secret ID")),
        "{error}"
    );
}

#[tokio::test]
async fn a_revoked_token_is_replaced_by_a_login_but_not_by_many() {
    let setting = Setting::new().await;
    let store = setting.by_role();
    store.current_version().await.unwrap();
    setting.authority.revoke_all();
    let error = store.current_version().await.unwrap_err();
    assert!(matches!(error, KeystoreError::Denied(_)), "a refusal right after a login is believed: {error}");
    assert_eq!(setting.authority.logins.load(Ordering::SeqCst), 1);
    pass(Duration::from_secs(11)).await;
    store.current_version().await.unwrap();
    assert_eq!(setting.authority.logins.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn tokens_are_renewed_and_replaced_in_time() {
    let setting = Setting::new().await;
    let store = setting.by_role();
    store.current_version().await.unwrap();
    let due = store.due().unwrap();
    assert!(
        due <= Duration::from_secs(2400) && due > Duration::from_secs(2390),
        "two thirds of the life: {due:?}"
    );
    pass(Duration::from_secs(2401)).await;
    store.current_version().await.unwrap();
    assert_eq!(setting.authority.renewals.load(Ordering::SeqCst), 1);
    // Near the end of the longest life a renewal gives less than half of what it gave: a login is due.
    setting.authority.ttl.store(1000, Ordering::SeqCst);
    pass(Duration::from_secs(2401)).await;
    store.current_version().await.unwrap();
    assert_eq!(setting.authority.logins.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_renewal_that_fails_is_tried_again_while_the_token_lives() {
    let setting = Setting::new().await;
    let store = setting.by_role();
    store.current_version().await.unwrap();
    pass(Duration::from_secs(2401)).await;
    setting.authority.sealed.store(true, Ordering::SeqCst);
    assert!(store.current_version().await.unwrap_err().is_transient());
    assert!(store.due().unwrap() <= Duration::from_secs(15));
    setting.authority.sealed.store(false, Ordering::SeqCst);
    store.current_version().await.unwrap();
    pass(Duration::from_secs(16)).await;
    store.current_version().await.unwrap();
    assert_eq!(setting.authority.renewals.load(Ordering::SeqCst), 1);
    assert_eq!(setting.authority.logins.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_token_file_is_read_again_when_it_changes() {
    let setting = Setting::new().await;
    let store = setting.by_token("wrong");
    let error = store.current_version().await.unwrap_err();
    assert!(matches!(error, KeystoreError::Denied(_)), "{error}");
    assert!(!error.to_string().contains("wrong"), "{error}");
    setting.authority.allow("hvs.good", 0);
    private(setting.folder.path(), "token", "hvs.good\n");
    store.current_version().await.unwrap();
    assert_eq!(store.due(), None, "a token without end needs no renewal");
    assert_eq!(store.notice(), None);
}

#[tokio::test]
async fn a_token_that_ends_is_told_of() {
    let setting = Setting::new().await;
    setting.authority.renewable.store(false, Ordering::SeqCst);
    setting.authority.allow("hvs.ending", 3600);
    let store = setting.by_token("hvs.ending");
    store.current_version().await.unwrap();
    let notice = store.notice().unwrap();
    assert!(notice.contains("59 minutes"), "{notice}");
}

#[tokio::test]
async fn failures_are_told_by_blame() {
    let setting = Setting::new().await;
    let store = setting.by_role();
    let version = store.current_version().await.unwrap();
    let wrapped = store.wrap(&version, &CONTEXT, &Secret::new([7; 32])).await.unwrap();

    setting.authority.sealed.store(true, Ordering::SeqCst);
    let error = store.current_version().await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("sealed"), "{error}");
    setting.authority.sealed.store(false, Ordering::SeqCst);

    setting.authority.set_kind("rsa-2048");
    let error = store.current_version().await.unwrap_err();
    assert!(matches!(&error, KeystoreError::Key(why) if why.contains("aes256-gcm96")), "{error}");
    setting.authority.set_kind("aes256-gcm96");

    setting.authority.rotate();
    setting.authority.min_decryption.store(2, Ordering::SeqCst);
    let error = store.unwrap(&version, &CONTEXT, &wrapped).await.unwrap_err();
    assert!(matches!(&error, KeystoreError::Key(why) if why.contains("too old")), "{error}");

    setting.authority.delete_key();
    let error = store.current_version().await.unwrap_err();
    assert!(matches!(error, KeystoreError::Key(_)), "{error}");
}

#[tokio::test]
async fn the_breaker_spares_an_authority_that_is_down() {
    let setting = Setting::new().await;
    let store = setting.by_role();
    store.current_version().await.unwrap();
    setting.authority.sealed.store(true, Ordering::SeqCst);
    for _ in 0..10 {
        assert!(store.current_version().await.unwrap_err().is_transient());
    }
    let asked = setting.authority.requests.load(Ordering::SeqCst);
    setting.authority.sealed.store(false, Ordering::SeqCst);
    let error = store.current_version().await.unwrap_err();
    assert!(error.to_string().contains("next attempt"), "{error}");
    assert_eq!(setting.authority.requests.load(Ordering::SeqCst), asked);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    store.current_version().await.unwrap();
}

#[tokio::test]
async fn an_absent_authority_is_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    let store =
        transit("http://127.0.0.1:1", Credentials::TokenFile(private(folder.path(), "token", "hvs.x")));
    let error = store.current_version().await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(!error.to_string().contains("hvs.x"), "{error}");
}

#[tokio::test]
async fn the_clock_is_told() {
    let setting = Setting::new().await;
    assert_eq!(setting.by_role().clock().await.unwrap(), Some(Duration::from_secs(1_700_000_000)));
}

#[test]
fn names_that_would_leave_the_path_are_refused() {
    for (mount, key) in
        [("transit", "../sys"), ("", "kube"), ("a//b", "kube"), ("transit", ""), ("..", "kube"), ("t?x", "k")]
    {
        let options = TransitOptions {
            client: ClientConfig::new(Address::parse("http://127.0.0.1:1").unwrap()),
            mount: mount.to_owned(),
            key: key.to_owned(),
            credentials: Credentials::TokenFile(PathBuf::from("token")),
        };
        assert!(Transit::new(options).is_err(), "{mount} {key}");
    }
}
