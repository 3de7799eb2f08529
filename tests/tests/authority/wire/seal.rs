//! Before there is an authority, and while it is shut.

use keyward_tests::http::Client;
use keyward_tests::server::{IN_MEMORY, Keys, ON_DISK, PLAIN_HTTP, Server};
use serde_json::{Value, json};
use std::sync::Barrier;

fn fresh() -> Server {
    Server::configured(&format!("{PLAIN_HTTP}{IN_MEMORY}"))
}

fn sealed(shares: u8, threshold: u8) -> (Server, Keys) {
    let mut server = fresh();
    let keys = server.initialize(shares, threshold);
    (server, keys)
}

/// Hands in a share and answers with the seal's state.
fn submit(client: &Client, share: &str) -> Value {
    client.write("sys/unseal", &json!({ "key": share })).expect(200).json()
}

fn assert_state(state: &Value, sealed: bool, progress: u64) {
    assert_eq!((&state["sealed"], &state["progress"]), (&json!(sealed), &json!(progress)), "{state}");
}

#[test]
fn before_initialization_there_is_only_status() {
    let server = fresh();
    let guest = server.guest();
    assert_eq!(guest.read("sys/init").expect(200).json(), json!({"initialized": false}));
    let state = guest.read("sys/seal-status").expect(200).json();
    assert_eq!((&state["initialized"], &state["sealed"]), (&json!(false), &json!(true)));
    assert_eq!((&state["t"], &state["n"], &state["type"]), (&json!(0), &json!(0), &json!("shamir")));
    guest.read("sys/health").expect(501);
    guest.write("sys/unseal", &json!({"key": "00".repeat(32)})).refused(400, "Vault is not initialized");
    for client in [guest.clone(), guest.with_token("hvs.anything")] {
        client.read("secret/data/a").refused(503, "Vault is sealed");
        client.read("sys/mounts").refused(503, "Vault is sealed");
        client.write("auth/approle/login", &json!({})).refused(503, "Vault is sealed");
    }
}

#[test]
fn initialization_is_checked_and_happens_once() {
    let mut server = fresh();
    let guest = server.guest();
    let wrong = [
        (json!({}), "shares"),
        (json!({"secret_shares": 0, "secret_threshold": 0}), "shares"),
        (json!({"secret_shares": 256, "secret_threshold": 2}), "shares"),
        (json!({"secret_shares": -1, "secret_threshold": 1}), "shares"),
        (json!({"secret_shares": 3, "secret_threshold": 4}), "threshold"),
        (json!({"secret_shares": 3, "secret_threshold": 1}), "threshold"),
        (json!({"secret_shares": 3}), "threshold"),
        (json!({"secret_shares": "three", "secret_threshold": 2}), "secret_shares"),
        (json!({"secret_shares": 1, "secret_threshold": 1, "pgp_keys": ["mQEN"]}), "pgp_keys"),
        (json!({"secret_shares": 1, "secret_threshold": 1, "recovery_shares": 1}), "recovery_shares"),
    ];
    for (body, words) in wrong {
        guest.write("sys/init", &body).refused(400, words);
        assert_eq!(guest.read("sys/init").json()["initialized"], false, "{body}");
    }
    guest.request("DELETE", "/v1/sys/init").send().refused(405, "unsupported operation");
    // Of several who want to be first one is.
    let start = Barrier::new(4);
    let asked = || {
        start.wait();
        guest.write("sys/init", &json!({"secret_shares": "5", "secret_threshold": "3"}))
    };
    let answers: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(asked)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let made: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(made.len(), 1, "{answers:?}");
    for late in answers.iter().filter(|answer| answer.status != 200) {
        late.clone().refused(400, "already initialized");
    }
    let body = made[0].json();
    let texts = |name: &str| -> Vec<String> { serde_json::from_value(body[name].clone()).unwrap() };
    assert_eq!((texts("keys").len(), texts("keys_base64").len()), (5, 5));
    assert!(body["root_token"].as_str().unwrap().starts_with("hvs."));
    assert_eq!(guest.read("sys/init").json(), json!({"initialized": true}));
    assert_state(&guest.read("sys/seal-status").expect(200).json(), true, 0);
    for share in &texts("keys_base64")[2..] {
        submit(&guest, share);
    }
    guest.with_token(body["root_token"].as_str().unwrap()).read("sys/mounts").expect(200);
    assert!(server.stop().success());
}

#[test]
fn shares_add_up_in_any_order_and_writing() {
    let (server, keys) = sealed(5, 3);
    let guest = server.guest();
    let upper = keys.shares[4].to_uppercase();
    let padded = format!(" {}\n", keys.shares[0]);
    let state = submit(&guest, &upper);
    assert_state(&state, true, 1);
    let nonce = state["nonce"].clone();
    assert!(nonce.as_str().is_some_and(|nonce| !nonce.is_empty()));
    // The same share again is no second one.
    assert_state(&submit(&guest, &keys.shares[4]), true, 1);
    let state = submit(&guest, &padded);
    assert_state(&state, true, 2);
    assert_eq!((&state["nonce"], &state["t"], &state["n"]), (&nonce, &json!(3), &json!(5)));
    let state = submit(&guest, &keys.shares[2]);
    assert_state(&state, false, 0);
    assert_eq!(state["nonce"], "");
    assert!(state["cluster_id"].is_string());
    server.root().read("sys/mounts").expect(200);
    // Once open, a share changes nothing.
    assert_state(&submit(&guest, &keys.shares[1]), false, 0);
    assert_state(&guest.write("sys/unseal", &json!({"key": "nonsense"})).expect(200).json(), false, 0);
}

#[test]
fn wrong_shares_open_nothing_and_are_forgotten() {
    let (server, keys) = sealed(3, 2);
    let guest = server.guest();
    for bad in ["", "zz", "not a key", "é", "00", &"00".repeat(32), &"00".repeat(34), &"00".repeat(4096)] {
        guest.write("sys/unseal", &json!({ "key": bad })).expect(400);
        assert_state(&guest.read("sys/seal-status").json(), true, 0);
    }
    for body in [json!({}), json!({"key": null}), json!({"key": ["a"]}), json!({"reset": "perhaps"})] {
        guest.write("sys/unseal", &body).expect(400);
    }
    let flipped = |share: &str, at: usize| {
        let mut bytes: Vec<char> = share.chars().collect();
        bytes[at] = if bytes[at] == '0' { '1' } else { '0' };
        bytes.into_iter().collect::<String>()
    };
    for at in [0, 1, 31, 63, 64, 65] {
        assert_state(&submit(&guest, &keys.shares[0]), true, 1);
        let wrong = flipped(&keys.shares[1], at);
        guest.write("sys/unseal", &json!({ "key": wrong })).refused(400, "Unseal failed, invalid key");
        assert_state(&guest.read("sys/seal-status").json(), true, 0);
    }
    submit(&guest, &keys.shares[0]);
    assert_state(&submit(&guest, &keys.shares[1]), false, 0);
}

#[test]
fn shares_of_another_authority_open_nothing() {
    let (ours, keys) = sealed(3, 2);
    let (_other, theirs) = sealed(3, 2);
    let guest = ours.guest();
    for [first, second] in [[&theirs.shares[0], &theirs.shares[1]], [&keys.shares[0], &theirs.shares[1]]] {
        assert_state(&submit(&guest, first), true, 1);
        guest.write("sys/unseal", &json!({ "key": second })).refused(400, "Unseal failed, invalid key");
    }
    assert_state(&guest.write("sys/unseal", &json!({"reset": true})).expect(200).json(), true, 0);
    submit(&guest, &keys.shares[2]);
    assert_state(&submit(&guest, &keys.shares[0]), false, 0);
}

#[test]
fn one_can_start_over() {
    let (server, keys) = sealed(3, 3);
    let guest = server.guest();
    submit(&guest, &keys.shares[0]);
    submit(&guest, &keys.shares[1]);
    assert_state(&guest.write("sys/unseal", &json!({"reset": "true"})).expect(200).json(), true, 0);
    guest.write("sys/unseal", &json!({"migrate": true, "key": keys.shares[0]})).refused(400, "migration");
    for share in &keys.shares {
        submit(&guest, share);
    }
    assert_state(&guest.read("sys/seal-status").json(), false, 0);
}

#[test]
fn sealing_shuts_everything_at_once() {
    let server = Server::unsealed(ON_DISK);
    let (root, guest) = (server.root(), server.guest());
    root.write("sys/mounts/kv", &json!({"type": "kv"})).expect(204);
    root.write("kv/a", &json!({"x": 1})).expect(204);
    guest.write("sys/seal", &json!({})).refused(403, "permission denied");
    let mut kept = root.connect().unwrap();
    assert_eq!(kept.exchange(&root.request("GET", "/v1/kv/a")).unwrap().status, 200);
    root.request("PUT", "/v1/sys/seal").send().expect(204);
    assert_eq!(kept.exchange(&root.request("GET", "/v1/kv/a")).unwrap().status, 503);
    for path in ["kv/a", "sys/mounts", "auth/token/lookup-self", "nowhere"] {
        root.read(path).refused(503, "Vault is sealed");
    }
    root.write("sys/seal", &json!({})).refused(503, "Vault is sealed");
    let state = guest.read("sys/seal-status").expect(200).json();
    assert_eq!((&state["initialized"], &state["sealed"]), (&json!(true), &json!(true)));
    assert!(state.get("cluster_id").is_none());
    server.unseal();
    assert_eq!(root.read("kv/a").data(), json!({"x": 1}));
}

#[test]
fn health_tells_by_its_status() {
    let mut server = fresh();
    let guest = server.guest();
    let ask = |query: &str| guest.read(&format!("sys/health{query}"));
    let shape = |body: &Value, initialized: bool, sealed: bool| {
        assert_eq!((&body["initialized"], &body["sealed"]), (&json!(initialized), &json!(sealed)));
        assert_eq!((&body["standby"], &body["performance_standby"]), (&json!(false), &json!(false)));
        assert_eq!(body["replication_dr_mode"], "disabled");
        assert_eq!(body["replication_performance_mode"], "disabled");
        assert!(body["server_time_utc"].is_u64() && body["version"].is_string(), "{body}");
        assert_eq!(body.get("cluster_id").is_some(), initialized && !sealed);
    };
    shape(&ask("").expect(501).json(), false, true);
    shape(&ask("?uninitcode=200").expect(200).json(), false, true);
    ask("?sealedcode=200&activecode=201").expect(501);
    let keys = server.initialize(1, 1);
    shape(&ask("").expect(503).json(), true, true);
    shape(&ask("?sealedcode=299").expect(299).json(), true, true);
    ask("?uninitcode=200").expect(503);
    submit(&guest, &keys.shares[0]);
    shape(&ask("").expect(200).json(), true, false);
    ask("?activecode=203&standbycode=204").expect(203);
    ask("?standbyok=true&perfstandbyok=1&drsecondarycode=1&performancestandbycode=1").expect(200);
    for bad in ["?activecode=99", "?activecode=600", "?activecode=x", "?activecode=-200"] {
        ask(bad).refused(400, "activecode");
    }
    let head = guest.request("HEAD", "/v1/sys/health?activecode=298").send().expect(298);
    assert!(head.body.is_empty());
    let leader = guest.read("sys/leader").expect(200).json();
    assert_eq!((&leader["ha_enabled"], &leader["is_self"]), (&json!(false), &json!(true)));
}

#[test]
fn rotation_changes_the_key_not_the_values() {
    let server = Server::unsealed(ON_DISK);
    let root = server.root();
    root.write("sys/mounts/kv", &json!({"type": "kv"})).expect(204);
    let before = root.read("sys/key-status").expect(200).json();
    assert_eq!(before["term"], before["data"]["term"]);
    assert!(before["data"]["install_time"].as_str().unwrap().contains('T'));
    for round in 1..4 {
        root.write(&format!("kv/{round}"), &json!({"round": round})).expect(204);
        root.request("PUT", "/v1/sys/rotate").send().expect(204);
        let now = root.read("sys/key-status").expect(200).data()["term"].as_u64().unwrap();
        assert_eq!(now, before["term"].as_u64().unwrap() + round);
        for earlier in 1..=round {
            assert_eq!(root.read(&format!("kv/{earlier}")).data(), json!({"round": earlier}));
        }
    }
    server.guest().request("PUT", "/v1/sys/rotate").send().refused(403, "permission denied");
}
