//! Calls without end, in a process of their own, so that nothing else opens files or takes memory.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail where it stands")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use keyward_crypto::{SystemRandom, age};
use keyward_kms_plugin::{LogLevel, Options, PluginClient, ProviderOptions, run};

/// Open descriptors and resident kilobytes of this process.
fn usage() -> (usize, usize) {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().count();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    (descriptors, resident.trim().trim_end_matches(" kB").parse().unwrap())
}

/// Calls in a row; `KEYWARD_KMS_CALLS` asks for more than a usual run has time for.
fn calls() -> usize {
    std::env::var("KEYWARD_KMS_CALLS").ok().and_then(|calls| calls.parse().ok()).unwrap_or(10_000)
}

#[tokio::test]
async fn many_calls_grow_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let identity = folder.path().join("identity");
    fs::write(&identity, age::x25519::Identity::generate(&SystemRandom).text().expose()).unwrap();
    fs::set_permissions(&identity, fs::Permissions::from_mode(0o600)).unwrap();
    let socket = folder.path().join("kms.sock");
    let provider = ProviderOptions::AgeFile(identity);
    let mut options = Options::new(socket.clone(), folder.path().join("state"), "test".to_owned(), provider);
    (options.log, options.harden) = (LogLevel::Error, false);
    let plugin = tokio::spawn(run(options, std::future::pending(), Arc::default()));
    let connect = || PluginClient::connect(&socket, Duration::from_secs(3));
    let mut client = loop {
        match connect().await {
            Ok(client) => break client,
            Err(_) if !plugin.is_finished() => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(error) => panic!("{error}"),
        }
    };
    let sealed = client.encrypt("uid", &[9; 32]).await.unwrap();
    let mut before = (0, 0);
    for call in 0..calls() + 2000 {
        if call == 2000 {
            before = usage();
        }
        assert_eq!(client.decrypt("uid", &sealed).await.unwrap().expose(), &[9; 32]);
        if call % 100 == 0 {
            // Connections come and go, as API servers restart.
            connect().await.unwrap().status().await.unwrap();
        }
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let after = usage();
    assert!(after.0 <= before.0 + 2, "{} descriptors became {}", before.0, after.0);
    assert!(after.1 < before.1 + 4096, "{} kB became {}", before.1, after.1);
}
