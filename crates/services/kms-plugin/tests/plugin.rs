//! The plugin behind its socket, as an API server meets it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail where it stands")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use keyward_crypto::{SystemRandom, age};
use keyward_kms_plugin::{
    ANNOTATION, LogLevel, Options, PluginClient, PluginError, ProviderOptions, SealedSeed, ServeError,
    request_epoch, run,
};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

struct Plugin {
    folder: tempfile::TempDir,
    stop: Arc<Notify>,
    refresh: Arc<Notify>,
    task: Option<JoinHandle<Result<(), ServeError>>>,
}

impl Plugin {
    fn new() -> Plugin {
        let folder = tempfile::tempdir().unwrap();
        let plugin = Plugin { folder, stop: Arc::default(), refresh: Arc::default(), task: None };
        plugin.write_identities(&[&new_identity()]);
        plugin
    }

    async fn started() -> Plugin {
        let mut plugin = Plugin::new();
        plugin.start().await;
        plugin
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("kms.sock")
    }

    fn identity_file(&self) -> PathBuf {
        self.folder.path().join("identity")
    }

    fn write_identities(&self, identities: &[&str]) {
        let fresh = self.folder.path().join("identity.new");
        fs::write(&fresh, identities.join("\n")).unwrap();
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(fresh, self.identity_file()).unwrap();
    }

    fn options(&self) -> Options {
        let provider = ProviderOptions::AgeFile(self.identity_file());
        let mut options =
            Options::new(self.socket(), self.folder.path().join("state"), "test".to_owned(), provider);
        options.log = LogLevel::Error;
        options.harden = false;
        options
    }

    async fn start(&mut self) {
        let (stop, refresh) = (self.stop.clone(), self.refresh.clone());
        let options = self.options();
        self.task = Some(tokio::spawn(run(options, async move { stop.notified().await }, refresh)));
        for _ in 0..300 {
            if self.socket().exists() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the plugin did not start");
    }

    async fn stop(&mut self) {
        self.stop.notify_one();
        self.task.take().unwrap().await.unwrap().unwrap();
    }

    async fn client(&self) -> PluginClient {
        connect(&self.socket()).await.unwrap()
    }

    /// Waits until the status tells another key than `old`.
    async fn promoted(&self, client: &mut PluginClient, old: &str) -> String {
        self.refresh.notify_one();
        for _ in 0..300 {
            let key_id = client.status().await.unwrap().key_id;
            if key_id != old {
                return key_id;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no other key than {old}");
    }
}

async fn connect(socket: &Path) -> Result<PluginClient, PluginError> {
    PluginClient::connect(socket, Duration::from_secs(3)).await
}

fn new_identity() -> String {
    age::x25519::Identity::generate(&SystemRandom).text().expose().clone()
}

#[tokio::test]
async fn keeps_the_contract() {
    let plugin = Plugin::started().await;
    let mut client = plugin.client().await;
    let status = client.status().await.unwrap();
    assert_eq!((status.version.as_str(), status.healthz.as_str()), ("v2", "ok"));
    let sealed = client.encrypt("uid-1", &[9; 32]).await.unwrap();
    assert_eq!(sealed.key_id, status.key_id);
    assert!(sealed.ciphertext.len() <= 1024 && !sealed.key_id.is_empty() && sealed.key_id.len() <= 1024);
    let taxed: usize = sealed.annotations.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(taxed < 4096, "{taxed} bytes ride in every object");
    assert!(sealed.annotations.keys().all(|name| name.contains('.') && *name == name.to_lowercase()));
    assert_eq!(client.decrypt("uid-2", &sealed).await.unwrap().expose(), &[9; 32]);
}

#[tokio::test]
async fn a_restart_changes_nothing() {
    let mut plugin = Plugin::started().await;
    let sealed = plugin.client().await.encrypt("uid", &[9; 32]).await.unwrap();
    plugin.stop().await;
    assert!(!plugin.socket().exists(), "the socket goes with the plugin");
    plugin.start().await;
    let mut client = plugin.client().await;
    assert_eq!(client.status().await.unwrap().key_id, sealed.key_id);
    assert_eq!(client.decrypt("uid", &sealed).await.unwrap().expose(), &[9; 32]);
}

#[tokio::test]
async fn starts_without_its_provider_and_says_so() {
    let mut plugin = Plugin::started().await;
    let sealed = plugin.client().await.encrypt("uid", &[9; 32]).await.unwrap();
    plugin.stop().await;
    let aside = plugin.folder.path().join("aside");
    fs::rename(plugin.identity_file(), &aside).unwrap();
    plugin.start().await;
    let mut client = plugin.client().await;
    let error = client.status().await.unwrap_err();
    assert!(matches!(&error, PluginError::Refused(why) if why.contains("identity")), "{error}");
    assert!(client.encrypt("uid", &[9; 32]).await.is_err());
    assert!(client.decrypt("uid", &sealed).await.is_err());
    fs::rename(aside, plugin.identity_file()).unwrap();
    plugin.refresh.notify_one();
    for _ in 0..300 {
        if client.status().await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(client.status().await.unwrap().key_id, sealed.key_id, "the key is the one of before");
    assert_eq!(client.decrypt("uid", &sealed).await.unwrap().expose(), &[9; 32]);
}

#[tokio::test]
async fn a_provider_that_is_lost_fails_the_status_and_keeps_reading() {
    let plugin = Plugin::started().await;
    let mut client = plugin.client().await;
    let sealed = client.encrypt("uid", &[9; 32]).await.unwrap();
    fs::remove_file(plugin.identity_file()).unwrap();
    plugin.refresh.notify_one();
    let mut failed = false;
    for _ in 0..300 {
        failed = client.status().await.is_err();
        if failed {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(failed, "a lost provider must fail the call itself");
    assert_eq!(
        client.decrypt("uid", &sealed).await.unwrap().expose(),
        &[9; 32],
        "what is open stays readable"
    );
}

#[tokio::test]
async fn rotation_by_the_provider_and_by_the_operator() {
    let plugin = Plugin::new();
    let (first, second) = (new_identity(), new_identity());
    plugin.write_identities(&[&first]);
    let mut plugin = plugin;
    plugin.start().await;
    let mut client = plugin.client().await;
    let old = client.encrypt("uid", &[1; 32]).await.unwrap();
    plugin.write_identities(&[&second, &first]);
    let rotated = plugin.promoted(&mut client, &old.key_id).await;
    let new = client.encrypt("uid", &[2; 32]).await.unwrap();
    assert_eq!(new.key_id, rotated);
    request_epoch(&plugin.folder.path().join("state"), None).unwrap();
    plugin.promoted(&mut client, &rotated).await;
    for (sealed, seed) in [(&old, 1), (&new, 2)] {
        assert_eq!(client.decrypt("uid", sealed).await.unwrap().expose(), &[seed; 32]);
    }
    plugin.stop().await;
    plugin.start().await;
    let mut client = plugin.client().await;
    for (sealed, seed) in [(&old, 1), (&new, 2)] {
        assert_eq!(client.decrypt("uid", sealed).await.unwrap().expose(), &[seed; 32], "after a restart too");
    }
}

#[tokio::test]
async fn what_was_not_made_here_does_not_open() {
    let (plugin, other) = (Plugin::started().await, Plugin::started().await);
    let mut client = plugin.client().await;
    let sealed = client.encrypt("uid", &[9; 32]).await.unwrap();
    let foreign = other.client().await.encrypt("uid", &[9; 32]).await.unwrap();
    let without = SealedSeed { annotations: Default::default(), ..sealed.clone() };
    let mut swapped = sealed.clone();
    swapped.annotations.clone_from(&foreign.annotations);
    let mut long = sealed.clone();
    long.annotations.insert(ANNOTATION.to_owned(), vec![1; 40_000]);
    let mut huge = sealed.clone();
    huge.ciphertext = vec![1; 100_000];
    for wrong in [foreign, without, swapped, long, huge] {
        let error = client.decrypt("uid", &wrong).await.err().unwrap();
        assert!(!error.to_string().contains("panick"), "{error}");
    }
    assert!(client.encrypt("uid", &[]).await.is_err());
    assert!(client.encrypt("uid", &vec![1; 2000]).await.is_err());
    assert_eq!(client.decrypt("uid", &sealed).await.unwrap().expose(), &[9; 32], "and all goes on");
}

#[tokio::test]
async fn two_plugins_do_not_share() {
    let plugin = Plugin::started().await;
    let again = run(plugin.options(), std::future::pending(), Arc::default()).await.unwrap_err();
    assert!(matches!(&again, ServeError::Socket(why) if why.contains("another process")), "{again}");
    let mut elsewhere = plugin.options();
    elsewhere.socket = plugin.folder.path().join("other.sock");
    let shared = run(elsewhere, std::future::pending(), Arc::default()).await.unwrap_err();
    assert!(matches!(&shared, ServeError::State(why) if why.contains("another process")), "{shared}");
    plugin.client().await.status().await.unwrap();
}

#[tokio::test]
async fn a_damaged_registry_stops_the_start() {
    let mut plugin = Plugin::started().await;
    plugin.stop().await;
    fs::write(plugin.folder.path().join("state/registry.json"), "{").unwrap();
    let error = run(plugin.options(), std::future::pending(), Arc::default()).await.unwrap_err();
    assert!(matches!(&error, ServeError::State(why) if why.contains("damaged")), "{error}");
    assert!(!plugin.socket().exists());
}

#[tokio::test]
async fn requests_under_way_are_finished() {
    let mut plugin = Plugin::started().await;
    let client = plugin.client().await;
    let asking: Vec<_> = (0..50)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move { client.encrypt("uid", &[9; 32]).await })
        })
        .collect();
    let mut first = client.clone();
    first.status().await.unwrap();
    plugin.stop().await;
    let mut answered = 0;
    for one in asking {
        match one.await.unwrap() {
            Ok(_) => answered += 1,
            // Sent after the stop: refused as a whole, never cut off half-way.
            Err(PluginError::Refused(why)) => assert!(why.contains("Unavailable"), "{why}"),
            Err(other) => panic!("{other}"),
        }
    }
    assert!(answered > 0);
}
