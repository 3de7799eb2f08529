//! `kill -9` at any moment: what was acknowledged is there, and nothing is there by halves.

use super::Moments;
use keyward_testkit::process::Process;
use keyward_testkit::{continuous_integration, say};
use keyward_tests::binary::keyward;
use keyward_tests::http::Client;
use keyward_tests::server::{ON_DISK, PLAIN_HTTP, SOON, Server, keys_of};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often each test kills its server; `KEYWARD_CRASHES` says otherwise.
fn crashes() -> u32 {
    match std::env::var("KEYWARD_CRASHES") {
        Ok(count) => count.parse().unwrap(),
        Err(_) if continuous_integration() => 200,
        Err(_) => 20,
    }
}

const WRITERS: usize = 8;

/// What the server has acknowledged.
#[derive(Default)]
struct Acknowledged {
    /// By writer: how many versions of its one secret, each written upon the one before.
    versions: [u64; WRITERS],
    /// By writer: how many secrets of its own.
    secrets: [u64; WRITERS],
    /// The key ring's newest term.
    term: u64,
}

fn value(writer: usize, number: u64) -> Value {
    // Long enough to span pages of the store's file, and to show a mixture of two.
    json!({"n": number, "fill": format!("{writer}-{number}-").repeat(300)})
}

/// Writes until the server is gone; each answer counts once it has arrived.
fn write_on(client: &Client, writer: usize, acknowledged: &Mutex<Acknowledged>, gone: &AtomicBool) {
    while !gone.load(Ordering::Relaxed) {
        let (version, secret) = {
            let known = acknowledged.lock().unwrap();
            (known.versions[writer], known.secrets[writer])
        };
        let body = json!({"data": value(writer, version + 1), "options": {"cas": version}});
        match post(client, &format!("secret/data/versions/{writer}"), &body) {
            Some(200) => acknowledged.lock().unwrap().versions[writer] = version + 1,
            Some(status) => panic!("writer {writer}, version {}: {status}", version + 1),
            None => return,
        }
        match post(client, &format!("kv/{writer}/{secret}"), &value(writer, secret)) {
            Some(204) => acknowledged.lock().unwrap().secrets[writer] = secret + 1,
            Some(status) => panic!("writer {writer}, secret {secret}: {status}"),
            None => return,
        }
    }
}

fn rotate_on(client: &Client, acknowledged: &Mutex<Acknowledged>, gone: &AtomicBool) {
    while !gone.load(Ordering::Relaxed) {
        match post(client, "sys/rotate", &json!({})) {
            Some(204) => acknowledged.lock().unwrap().term += 1,
            Some(status) => panic!("rotation: {status}"),
            None => return,
        }
    }
}

/// The status, or nothing from a server that is gone.
fn post(client: &Client, path: &str, body: &Value) -> Option<u16> {
    client.request("POST", &format!("/v1/{path}")).json(body).try_send().ok().map(|answer| answer.status)
}

/// Compares with what was acknowledged, and takes over what was written beyond it.
fn check(root: &Client, acknowledged: &mut Acknowledged) {
    for writer in 0..WRITERS {
        acknowledged.versions[writer] = checked_versions(root, writer, acknowledged.versions[writer]);
        acknowledged.secrets[writer] = checked_secrets(root, writer, acknowledged.secrets[writer]);
    }
}

/// A request whose answer never came was carried out whole or not at all.
fn one_more_at_most(what: &str, found: u64, acknowledged: u64) -> u64 {
    assert!(
        (acknowledged..=acknowledged + 1).contains(&found),
        "{what}: {found}, {acknowledged} acknowledged"
    );
    found
}

fn checked_versions(root: &Client, writer: usize, acknowledged: u64) -> u64 {
    let path = format!("versions/{writer}");
    let metadata = root.read(&format!("secret/metadata/{path}"));
    if metadata.status == 404 {
        return one_more_at_most(&path, 0, acknowledged);
    }
    let metadata = metadata.expect(200).data();
    let current = metadata["current_version"].as_u64().unwrap();
    let kept: BTreeMap<u64, Value> = serde_json::from_value(metadata["versions"].clone()).unwrap();
    assert_eq!(kept.keys().max(), Some(&current), "{metadata}");
    assert_eq!(kept.len() as u64, current.min(10), "{metadata}");
    for version in kept.keys() {
        let read = root.read(&format!("secret/data/{path}?version={version}")).expect(200).data();
        assert_eq!(read["data"], value(writer, *version), "version {version} of {path}");
    }
    one_more_at_most(&path, current, acknowledged)
}

fn checked_secrets(root: &Client, writer: usize, acknowledged: u64) -> u64 {
    let listed = root.list(&format!("kv/{writer}"));
    let count = match listed.status {
        404 => 0,
        _ => listed.expect(200).data()["keys"].as_array().unwrap().len() as u64,
    };
    // The newest ones are read; a walk over all would make the last rounds the longest.
    for secret in count.saturating_sub(30)..count {
        assert_eq!(root.read(&format!("kv/{writer}/{secret}")).expect(200).data(), value(writer, secret));
    }
    one_more_at_most(&format!("secrets of writer {writer}"), count, acknowledged)
}

fn key_term(root: &Client) -> u64 {
    root.read("sys/key-status").expect(200).data()["term"].as_u64().unwrap()
}

fn storing() -> Server {
    let server = Server::unsealed(ON_DISK);
    let root = server.root();
    root.write("sys/mounts/secret", &json!({"type": "kv-v2"})).expect(204);
    root.write("sys/mounts/kv", &json!({"type": "kv"})).expect(204);
    server
}

#[test]
fn writes_are_whole_and_none_is_lost() {
    let mut server = storing();
    let mut moments = Moments::new();
    let mut acknowledged = Acknowledged::default();
    for round in 0..crashes() {
        let (known, gone, root) = (Mutex::new(acknowledged), AtomicBool::new(false), server.root());
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (root, known, gone) = (&root, &known, &gone);
                scope.spawn(move || write_on(root, writer, known, gone));
            }
            std::thread::sleep(moments.up_to(Duration::from_millis(300)));
            server.process().kill().unwrap();
            gone.store(true, Ordering::Relaxed);
        });
        acknowledged = known.into_inner().unwrap();
        server.restart();
        server.unseal();
        check(&server.root(), &mut acknowledged);
        let written = acknowledged.versions.iter().chain(&acknowledged.secrets).sum::<u64>();
        if round % 50 == 49 {
            say(format_args!("{} crashes, {written} writes, none lost", round + 1));
        }
    }
    assert!(acknowledged.versions.iter().all(|versions| *versions > 0), "{:?}", acknowledged.versions);
}

#[test]
fn rotation_leaves_every_entry_readable() {
    let mut server = storing();
    let mut moments = Moments::new();
    let mut acknowledged = Acknowledged { term: key_term(&server.root()), ..Acknowledged::default() };
    let first = acknowledged.term;
    for _ in 0..crashes() {
        let (known, gone, root) = (Mutex::new(acknowledged), AtomicBool::new(false), server.root());
        std::thread::scope(|scope| {
            scope.spawn(|| rotate_on(&root, &known, &gone));
            scope.spawn(|| write_on(&root, 0, &known, &gone));
            std::thread::sleep(moments.up_to(Duration::from_millis(150)));
            server.process().kill().unwrap();
            gone.store(true, Ordering::Relaxed);
        });
        acknowledged = known.into_inner().unwrap();
        server.restart();
        server.unseal();
        let root = server.root();
        acknowledged.term = one_more_at_most("the key's term", key_term(&root), acknowledged.term);
        check(&root, &mut acknowledged);
    }
    assert!(acknowledged.term > first);
}

#[test]
fn initialization_is_whole_or_never_was() {
    let mut moments = Moments::new();
    let whole = {
        let mut server = Server::configured(&format!("{PLAIN_HTTP}{ON_DISK}"));
        let began = Instant::now();
        server.initialize(3, 2);
        began.elapsed()
    };
    let (mut answered, mut untouched) = (0, 0);
    for _ in 0..crashes() {
        let mut server = Server::configured(&format!("{PLAIN_HTTP}{ON_DISK}"));
        let guest = server.guest();
        let answer = std::thread::scope(|scope| {
            let wanted = json!({"secret_shares": 3, "secret_threshold": 2});
            let asked =
                scope.spawn(move || guest.request("PUT", "/v1/sys/init").json(&wanted).try_send().ok());
            std::thread::sleep(moments.up_to(whole * 3 / 2));
            server.process().kill().unwrap();
            asked.join().unwrap()
        });
        server.restart();
        let guest = server.guest();
        let initialized = guest.read("sys/init").expect(200).json()["initialized"] == true;
        let keys = answer.map(|answer| keys_of(&answer.expect(200).json()));
        match keys {
            Some(keys) => {
                assert!(initialized, "what was acknowledged is lost");
                answered += 1;
                for share in &keys.shares[1..] {
                    guest.write("sys/unseal", &json!({ "key": share })).expect(200);
                }
                guest.with_token(&keys.root).read("sys/mounts").expect(200);
            }
            // Its shares are lost with the answer; that they were made it must not forget.
            None if initialized => {
                assert_eq!(guest.read("sys/seal-status").expect(200).json()["n"], 3);
                guest.write("sys/init", &json!({"secret_shares": 1, "secret_threshold": 1})).expect(400);
            }
            None => {
                untouched += 1;
                server.initialize(1, 1);
                server.unseal();
                server.root().read("sys/mounts").expect(200);
            }
        }
        assert!(server.process().terminate(SOON).unwrap().success());
    }
    say(format_args!("{} crashes at initialization: {answered} after, {untouched} before it", crashes()));
}

#[test]
fn a_dev_server_always_finds_its_keys() {
    let folder = tempfile::tempdir().unwrap();
    let mut moments = Moments::new();
    for round in 0..crashes() {
        let data = folder.path().join(round.to_string());
        let log = folder.path().join("log");
        let mut command = Command::new(keyward());
        command.args(["dev", "--listen", "127.0.0.1:0", "--data"]).arg(&data);
        let mut started = Process::spawn(&mut command, &log).unwrap();
        std::thread::sleep(moments.up_to(Duration::from_millis(120)));
        started.kill().unwrap();
        let server = Server::dev_with(&["--data", data.to_str().unwrap()]);
        server.root().write("secret/data/a", &json!({"data": {"round": round}})).expect(200);
        assert_eq!(server.root().read("secret/data/a").expect(200).data()["data"]["round"], round);
    }
}
