//! Phases, the handover, and who owns a secret.

use super::*;
use keyward_envelope::AuthorKey;

/// Whether the mount signed what it shows.
fn is_signed(record: &Value, key: &str) -> bool {
    let text = record["text"].as_str().unwrap();
    let signed = [b"keyward.io/authority-record/v1\n".as_slice(), text.as_bytes()].concat();
    serde_json::from_str::<Value>(text).unwrap() == record["record"]
        && AuthorKey::read(key).unwrap().verifies(&signed, record["signature"].as_str().unwrap())
}

/// A world whose cluster is at `authority`, with `secret/` mounted.
fn at_authority() -> World {
    let mut world = World::new();
    world.bench.write("sys/mounts/secret", r#"{"type":"kv","options":{"version":"2"}}"#);
    for phase in [Phase::Git, Phase::Bootstrap, Phase::Authority] {
        assert_eq!(world.phase(phase).status, 200);
    }
    world
}

fn hand_over(world: &mut World, digest: &str, target: &str) -> Answer {
    let body = json!({"digest": digest, "target": target, "reason": "the authority is up"}).to_string();
    world.bench.root(Update, "sealed/handover/shop/db", &body)
}

fn bootstrap(world: &mut World) -> String {
    let sealed = world.seal("db", 1, Bounds { phase: Phase::Bootstrap, ..world.bounds() });
    world.registered(&sealed).data()["digest"].as_str().unwrap().to_owned()
}

#[test]
fn phases_follow_each_other_and_every_step_is_signed() {
    let mut world = World::new();
    let key = world.bench.read("sealed/config").data()["public_key"].as_str().unwrap().to_owned();
    assert_eq!(world.bench.read("sealed/phase").data()["phase"], "root");
    for (to, why) in
        [(Phase::Root, "goes on to git, and not to root"), (Phase::Bootstrap, "not to bootstrap")]
    {
        let refused = world.phase(to);
        assert!(refused.status == 400 && refused.errors().contains(why), "{refused:?}");
    }
    bootstrap(&mut world);
    for phase in [Phase::Git, Phase::Bootstrap, Phase::Authority] {
        assert_eq!(world.phase(phase).status, 200);
    }
    let stuck = world.phase(Phase::Steady);
    assert!(stuck.errors().contains("1 bootstrap secrets are owned by Git"), "{stuck:?}");
    assert_eq!(world.bench.read("sealed/phase").data()["lacking"][0], stuck.body["errors"][0]);
    let refused = world.phase(Phase::Bootstrap);
    assert!(refused.errors().contains("and not to bootstrap"), "{refused:?}");
    world.bench.root(Delete, "sealed/objects/shop/db", "");
    assert_eq!(world.phase(Phase::Steady).status, 200);
    assert_eq!(world.phase(Phase::Authority).status, 200, "the one way back");
    assert_eq!(world.phase(Phase::Bootstrap).status, 400);
    let history = world.bench.read("sealed/phase/history");
    let records = history.data()["records"].as_array().unwrap();
    assert_eq!(records.len(), 6);
    for (at, record) in records.iter().enumerate() {
        assert!(is_signed(record, &key), "{record}");
        assert_eq!(
            record["record"]["reason"],
            if at == 5 { "the authority was told of its cluster" } else { "a test" }
        );
        if let Some(before) = records.get(at + 1) {
            let digest = super::super::record::digest(before["text"].as_str().unwrap().as_bytes());
            assert_eq!(record["record"]["previous"], digest.as_str());
        }
    }
    let mut forged = records[0].clone();
    forged["text"] = json!(forged["text"].as_str().unwrap().replace("authority", "steady"));
    forged["record"] = serde_json::from_str(forged["text"].as_str().unwrap()).unwrap();
    assert!(!is_signed(&forged, &key));
}

#[test]
fn guards_name_what_is_lacking() {
    let mut bench = Bench::new();
    bench.write("sys/mounts/sealed", r#"{"type":"sealed"}"#);
    bench.write("sealed/config", r#"{"cluster": "prod"}"#);
    let step = |bench: &mut Bench, to: Phase, why: &str| {
        let answer = bench.root(Update, "sealed/phase", &json!({"phase": to, "reason": "r"}).to_string());
        assert!(answer.status == 400 && answer.errors().contains(why), "{why}: {answer:?}");
    };
    step(&mut bench, Phase::Git, "no author is trusted");
    let author = author::generate(&SystemRandom).unwrap().public();
    bench.write("sealed/config", &json!({ "authors": [author] }).to_string());
    bench.write("sealed/phase", r#"{"phase": "git", "reason": "r"}"#);
    step(&mut bench, Phase::Bootstrap, "no namespace has a key");
    bench.write("sealed/namespaces/shop", "{}");
    step(&mut bench, Phase::Bootstrap, "nobody could prove a workload");
    bench.mount_auth("kubernetes", "kubernetes");
    bench.write("sealed/phase", r#"{"phase": "bootstrap", "reason": "r"}"#);
    step(&mut bench, Phase::Authority, "no audit device");
    let answer = bench.root(Update, "sealed/phase", r#"{"phase": "authority"}"#);
    assert!(answer.errors().contains("missing reason"), "{answer:?}");
}

#[test]
fn a_secret_is_handed_over_once_and_rotated_after() {
    let mut world = at_authority();
    let digest = bootstrap(&mut world);
    let token = world.token(&WEB);
    let stale = hand_over(&mut world, "sha256:00", "secret/data/shop/db");
    assert!(stale.errors().contains("digest: the object is sha256:"), "{stale:?}");
    let answer = hand_over(&mut world, &digest, "secret/data/shop/db");
    assert_eq!(answer.status, 200, "{answer:?}");
    let key = world.bench.read("sealed/config").data()["public_key"].as_str().unwrap().to_owned();
    assert!(is_signed(&answer.data()["receipt"], &key));
    assert_eq!(
        world.bench.read("secret/data/shop/db").data()["data"],
        json!({"password": "correct horse", "username": "ada"})
    );
    // The sealed copy is refused, also when it is applied again or anew.
    world.denied(&token, "db", "the authority owns it");
    let again = world.seal("db", 2, Bounds { phase: Phase::Steady, ..world.bounds() });
    assert_eq!(world.registered(&again).data()["state"], "rotation-due");
    world.denied(&token, "db", "read secret/data/shop/db");
    world.bench.root(Delete, "sealed/objects/shop/db", "");
    world.registered(&again);
    world.denied(&token, "db", "the authority owns it");
    // Asking again is answered with the same receipt; anything else is refused.
    let repeated = hand_over(&mut world, &digest, "secret/data/shop/db");
    assert_eq!(repeated.data()["receipt"], answer.data()["receipt"]);
    for (digest, target) in [(digest.as_str(), "secret/data/other"), ("sha256:00", "secret/data/shop/db")] {
        let refused = hand_over(&mut world, digest, target);
        assert!(refused.errors().contains("handed over already"), "{refused:?}");
    }
    assert_eq!(world.bench.read("secret/metadata/shop/db").data()["current_version"], 1);

    let stuck = world.phase(Phase::Steady);
    assert!(stuck.errors().contains("1 secrets have the value they had in Git"), "{stuck:?}");
    let tell = |world: &mut World, digest: &str| {
        let body = json!({"value_digest": digest, "workflow": "by hand"}).to_string();
        world.bench.root(Update, "sealed/rotated/shop/db", &body)
    };
    let shown = world.bench.read("sealed/handover/shop/db");
    let known = shown.data()["value_digest"].as_str().unwrap().to_owned();
    assert_eq!(
        (&shown.data()["known_value_digest"], &shown.data()["rotation_due"]),
        (&json!(known), &json!(true))
    );
    let refused = tell(&mut world, &known);
    assert!(refused.errors().contains("change it first"), "{refused:?}");
    world.bench.write("secret/data/shop/db", r#"{"data": {"password": "new", "username": "ada"}}"#);
    let refused = tell(&mut world, &known);
    assert!(refused.errors().contains("value_digest: the value at secret/data/shop/db is"), "{refused:?}");
    let fresh =
        world.bench.read("sealed/handover/shop/db").data()["value_digest"].as_str().unwrap().to_owned();
    assert_ne!(fresh, known);
    assert_eq!(tell(&mut world, &fresh).status, 200);
    assert_eq!(world.bench.read("sealed/objects/shop/db").data()["state"], "handed-over");
    let receipts = world.bench.read("sealed/handover/shop/db").data()["receipts"].clone();
    assert_eq!(
        (&receipts[0]["record"]["kind"], &receipts[1]["record"]["kind"]),
        (&json!("handover"), &json!("rotation"))
    );
    assert!(is_signed(&receipts[1], &key));
    assert_eq!(world.phase(Phase::Steady).status, 200);
}

#[test]
fn a_handover_needs_the_phase_the_policy_and_a_free_place() {
    let mut world = World::new();
    world.bench.write("sys/mounts/secret", r#"{"type":"kv","options":{"version":"2"}}"#);
    let digest = bootstrap(&mut world);
    let refused = hand_over(&mut world, &digest, "secret/data/shop/db");
    assert!(refused.errors().contains("phase: the cluster is at root"), "{refused:?}");
    for phase in [Phase::Git, Phase::Bootstrap] {
        assert_eq!(world.phase(phase).status, 200);
    }
    world.bench.write("sys/mounts/old", r#"{"type":"kv"}"#);
    for target in [
        "secret/shop/db",
        "secret/metadata/db",
        "old/data/db",
        "nowhere/data/db",
        "secret/data/",
        "sys/policy",
    ] {
        let refused = hand_over(&mut world, &digest, target);
        assert!(
            refused.errors().contains("is not the data path of a key-value mount"),
            "{target}: {refused:?}"
        );
    }
    world.bench.write("secret/data/taken", r#"{"data": {"a": "b"}}"#);
    let refused = hand_over(&mut world, &digest, "secret/data/taken");
    assert!(refused.errors().contains("check-and-set parameter did not match"), "{refused:?}");
    // Who may hand over may not write what its policy does not let it write.
    world.bench.policy("operator", r#"path "sealed/handover/*" { capabilities = ["update"] }"#);
    let operator = world.bench.token(&["operator"]);
    let body = json!({"digest": digest, "target": "secret/data/shop/db", "reason": "r"}).to_string();
    assert_eq!(world.bench.ask(&operator, Update, "sealed/handover/shop/db", &body).status, 403);
    assert!(world.reason().contains("no policy of the token allows to create secret/data/shop/db"));
    assert_eq!(world.bench.read("sealed/objects/shop/db").data()["authority"], "git");
    // Values that are no text are told apart from those that are.
    let binary = world.seal_values("db", 2, world.bounds(), &[("key", &[0xff, 0x00])]);
    let digest = world.registered(&binary).data()["digest"].as_str().unwrap().to_owned();
    let refused = hand_over(&mut world, &digest, "secret/data/shop/db");
    assert!(refused.errors().contains("not UTF-8"), "{refused:?}");
    let body =
        json!({"digest": digest, "target": "secret/data/shop/db", "reason": "r", "encoding": "base64"});
    assert_eq!(world.bench.root(Update, "sealed/handover/shop/db", &body.to_string()).status, 200);
    assert_eq!(world.bench.read("secret/data/shop/db").data()["data"]["key"], STANDARD.encode([0xff, 0x00]));
}
