//! The contract, judged by the code of the API server.

use keyward_testkit::process::wait_for;
use keyward_tests::kms::{ApiServer, PREFIX, Plugin};
use keyward_tests::server::{SOON, Server};
use serde_json::json;
use std::time::Duration;

/// For a failure or its end to be seen through the plugin's tries, which pause longer and longer, and through what the
/// API server keeps of the last answer: together these take most of a minute on an idle machine.
const NOTICED: Duration = Duration::from_secs(180);

const KEY: &str = "/registry/secrets/default/a";

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn secrets_are_written_read_and_bound_to_their_place() {
    let Some(mut api) = ApiServer::start() else { return };
    let server = Server::dev();
    let plugin = Plugin::transit(&server);
    api.load(&plugin);
    let stored = api.write(KEY, b"hunter2 hunter2").unwrap();
    assert!(stored.starts_with(PREFIX) && !contains(&stored, b"hunter2"));
    assert!(stored.len() < 500, "{} bytes for 15", stored.len());
    assert_eq!(api.read(KEY, &stored), Ok((b"hunter2 hunter2".to_vec(), false)));
    assert!(api.read("/registry/secrets/default/b", &stored).is_err(), "a ciphertext moved to another key");
    for at in (PREFIX.len()..stored.len()).step_by(7) {
        let mut altered = stored.clone();
        altered[at] ^= 1;
        let read = api.read(KEY, &altered);
        assert!(read.is_err(), "byte {at}: {read:?}");
    }
    api.write_many("/registry/secrets/default/many", 20_000).unwrap();
    let seals = plugin.output().matches(r#""msg":"encrypt""#).count();
    assert_eq!(seals, 1, "one seal for all writes of an API server");
}

#[test]
fn a_restarted_api_server_and_a_restarted_plugin_read_on() {
    let Some(mut api) = ApiServer::start() else { return };
    let server = Server::dev();
    let mut plugin = Plugin::transit(&server);
    api.load(&plugin);
    let stored = api.write(KEY, b"one").unwrap();
    let key_id = plugin.key_id().unwrap();
    assert!(plugin.stop().success());
    plugin.start();
    assert_eq!(plugin.key_id(), Ok(key_id));
    assert_eq!(api.read(KEY, &stored), Ok((b"one".to_vec(), false)), "from the API server's cache");
    let after = api.write(KEY, b"two").unwrap();
    api.load(&plugin);
    assert_eq!(api.read(KEY, &stored), Ok((b"one".to_vec(), false)), "from the plugin");
    assert_eq!(api.read(KEY, &after), Ok((b"two".to_vec(), false)));
}

#[test]
fn a_rotation_makes_old_objects_stale_and_readable() {
    let Some(mut api) = ApiServer::start() else { return };
    let server = Server::dev();
    let plugin = Plugin::transit(&server);
    api.load(&plugin);
    let (old, old_key) = (api.write(KEY, b"one").unwrap(), plugin.key_id().unwrap());
    server.root().write("transit/keys/kube/rotate", &json!({})).expect(200);
    let new_key = plugin.wait_for_key(|key| key != old_key);
    api.load(&plugin);
    assert_eq!(api.read(KEY, &old), Ok((b"one".to_vec(), true)), "readable, and to be rewritten");
    let new = api.write(KEY, b"one").unwrap();
    assert_eq!(api.read(KEY, &new), Ok((b"one".to_vec(), false)));
    assert!(contains(&old, old_key.as_bytes()) && contains(&new, new_key.as_bytes()));
    // The running API server follows too, with its next poll: a change needs no restart.
    let rotated = plugin.kms(&["rotate", "--state", plugin.state().to_str().unwrap()]);
    assert!(rotated.status.success(), "{rotated:?}");
    let newest = plugin.wait_for_key(|key| key != new_key);
    let followed = wait_for("the API server to follow", SOON, || {
        api.health().unwrap();
        contains(&api.write(KEY, b"one").unwrap(), newest.as_bytes()).then_some(())
    });
    followed.unwrap();
}

#[test]
fn nodes_share_a_cluster_without_talking() {
    let (Some(mut one), Some(mut two)) = (ApiServer::start(), ApiServer::start()) else { return };
    let server = Server::dev();
    let (first, second) = (Plugin::transit(&server), Plugin::transit(&server));
    assert_eq!(first.key_id(), second.key_id());
    one.load(&first);
    two.load(&second);
    let (here, there) = (one.write(KEY, b"one").unwrap(), two.write(KEY, b"two").unwrap());
    assert_eq!(two.read(KEY, &here), Ok((b"one".to_vec(), false)));
    assert_eq!(one.read(KEY, &there), Ok((b"two".to_vec(), false)));
}

#[test]
fn another_cluster_with_the_same_provider_opens_nothing() {
    let (Some(mut one), Some(mut two)) = (ApiServer::start(), ApiServer::start()) else { return };
    let server = Server::dev();
    let ours = Plugin::transit(&server);
    let theirs = Plugin::stopped(&server.url(), &[]);
    let token = theirs.secret("token", &server.keys().root);
    let token = token.to_str().unwrap();
    let theirs = theirs.with(&["--key", "kube", "--token-file", token, "--cluster", "other"]);
    let theirs = theirs.started();
    assert_ne!(ours.key_id(), theirs.key_id());
    one.load(&ours);
    two.load(&theirs);
    let stored = one.write(KEY, b"one").unwrap();
    let refused = two.read(KEY, &stored).unwrap_err();
    assert!(refused.contains("cluster"), "{refused}");
}

#[test]
fn a_lost_authority_stops_writes_in_bounded_time_and_never_cached_reads() {
    let Some(mut api) = ApiServer::start() else { return };
    let mut server = Server::unsealed("storage \"sqlite\" {\n path = \"FOLDER/data\"\n}\n");
    let mut plugin = Plugin::transit(&server);
    api.load(&plugin);
    let (stored, key_id) = (api.write(KEY, b"one").unwrap(), plugin.key_id().unwrap());
    server.process().kill().unwrap();
    // On a busy machine it may first say that the provider has been silent for too long.
    let says_why = |refused: &String| refused.contains("cannot connect");
    wait_for("the status to say why", NOTICED, || plugin.key_id().err().filter(says_why)).unwrap();
    wait_for("the API server to notice", NOTICED, || api.health().err().filter(says_why)).unwrap();
    api.write(KEY, b"two").unwrap();
    api.advance(181);
    let stopped = api.write(KEY, b"two").unwrap_err();
    assert!(stopped.contains("expired"), "{stopped}");
    assert_eq!(api.read(KEY, &stored), Ok((b"one".to_vec(), false)), "cached reads go on");
    assert!(api.health().is_err(), "and asking again does not bring writes back");
    assert!(api.write(KEY, b"two").is_err());

    // Everything is started anew while the authority is sealed: nothing is lost, nothing is served wrongly.
    server.restart();
    assert!(plugin.stop().success());
    plugin.start();
    let says_why = |refused: &String| refused.contains("sealed");
    wait_for("the status to say why", NOTICED, || plugin.key_id().err().filter(says_why)).unwrap();
    api.load_unready(&plugin);
    assert!(api.read(KEY, &stored).is_err());
    assert!(api.write(KEY, b"two").is_err());
    server.unseal();
    assert_eq!(plugin.wait_for_key(|_| true), key_id, "the key is the one of before");
    wait_for("the API server to recover", NOTICED, || api.health().ok()).unwrap();
    assert_eq!(api.read(KEY, &stored), Ok((b"one".to_vec(), false)));
    api.write(KEY, b"two").unwrap();
}
