//! Who gets what is sealed, and everything that keeps others from it.

use super::*;

#[test]
fn a_pod_that_is_among_the_subjects_reads_its_secret() {
    let mut world = World::at_bootstrap();
    let sealed = world.seal("db", 1, world.bounds());
    let digest = world.registered(&sealed).data()["digest"].as_str().unwrap().to_owned();
    let token = world.token(&WEB);
    let answer = world.open(&token, "db");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        answer.data()["items"],
        json!({"password": STANDARD.encode("correct horse"), "username": STANDARD.encode("ada")})
    );
    assert_eq!(
        (
            answer.data()["version"].as_u64(),
            answer.data()["digest"].as_str(),
            answer.data()["refresh"].as_u64()
        ),
        (Some(1), Some(digest.as_str()), Some(30))
    );
    // The record names who had what, and shows no value.
    let record = world.bench.last_records().1;
    assert_eq!(
        record["response"]["facts"],
        json!({"shop/db": format!("version 1 {digest}"), "pod": "shop/web-1 uid-of-web-1"})
    );
    assert_eq!(record["auth"]["metadata"]["pod_name"], "web-1");
    for value in [STANDARD.encode("correct horse"), "correct horse".to_owned()] {
        assert!(!record.to_string().contains(&value), "{record}");
    }
    // Who knows it already is told so, without values.
    let same = world.bench.ask(&token, Read, &format!("sealed/open/shop/db?digest={digest}"), "");
    assert_eq!((same.data()["unchanged"].as_bool(), same.data().get("items")), (Some(true), None));
}

#[test]
fn several_are_opened_all_or_none() {
    let mut world = World::at_bootstrap();
    for name in ["a", "b"] {
        let sealed = world.seal(name, 1, world.bounds());
        world.registered(&sealed);
    }
    let other = world.seal(
        "other",
        1,
        Bounds { subjects: [Subject::parse("api", "shop").unwrap()].into(), ..world.bounds() },
    );
    world.registered(&other);
    let token = world.token(&WEB);
    let mut ask = |body: Value| world.bench.ask(&token, Update, "sealed/open/shop", &body.to_string());
    let both = ask(json!({"objects": [{"name": "a"}, {"name": "b"}]}));
    assert_eq!(both.data()["objects"][1]["items"]["username"], STANDARD.encode("ada"), "{both:?}");
    assert_eq!(ask(json!({"objects": [{"name": "a"}, {"name": "other"}]})).status, 403);
    assert_eq!(ask(json!({"objects": [{"name": "a"}, {"name": "none"}]})).status, 404);
    let many: Vec<Value> = (0..33).map(|_| json!({"name": "a"})).collect();
    for (body, why) in [
        (json!({}), "missing objects"),
        (json!({"objects": []}), "from 1 to 32"),
        (json!({"objects": many}), "from 1 to 32"),
        (json!({"objects": [{"nam": "a"}]}), "objects"),
    ] {
        let refused = ask(body);
        assert!(refused.status == 400 && refused.errors().contains(why), "{why}: {refused:?}");
    }
    // What a policy keeps from the pod by itself it does not get with others either.
    world.bench.policy(
        "workload",
        r#"path "sealed/open/shop" { capabilities = ["update"] } path "sealed/open/shop/a" { capabilities = ["read"] }"#,
    );
    let mut ask = |body: Value| world.bench.ask(&token, Update, "sealed/open/shop", &body.to_string());
    assert_eq!(ask(json!({"objects": [{"name": "a"}]})).status, 200);
    assert_eq!(ask(json!({"objects": [{"name": "a"}, {"name": "b"}]})).status, 403);
}

#[test]
fn only_a_login_of_kubernetes_proves_a_workload() {
    let mut world = World::at_bootstrap();
    let sealed = world.seal("db", 1, world.bounds());
    world.registered(&sealed);
    // Whoever may make tokens may give them any metadata.
    let forged = json!({
        "policies": ["workload"],
        "meta": {
            "service_account_namespace": "shop", "service_account_name": "web", "service_account_uid": "uid-web",
            "pod_name": "web-1", "pod_uid": "uid-of-web-1",
        },
    });
    let root = world.bench.root.clone();
    let forged = world.bench.created(&root, &forged.to_string());
    world.denied(&forged, "db", "it proves no workload");
    world.denied(&root, "db", "it proves no workload");
    let child = world.token(&WEB);
    world.bench.policy(
        "workload",
        r#"path "sealed/open/*" { capabilities = ["read"] } path "auth/token/create" { capabilities = ["update"] }"#,
    );
    let child = world.bench.created(&child, r#"{"meta": {"service_account_name": "web"}}"#);
    world.denied(&child, "db", "it proves no workload");
    // Another auth method at another path is not among those that prove.
    world.bench.write("sealed/config", r#"{"auth_mounts": ["other"]}"#);
    let token = world.token(&WEB);
    world.denied(&token, "db", "it proves no workload");
    world.bench.write("sealed/config", r#"{"auth_mounts": ["auth/kubernetes/"]}"#);
    assert_eq!(world.open(&token, "db").status, 200);
}

#[test]
fn others_are_refused() {
    let mut world = World::at_bootstrap();
    let sealed = world.seal("db", 1, world.bounds());
    world.registered(&sealed);
    let other = world.token(&Pod { account: "api", ..WEB });
    world.denied(&other, "db", "subjects: shop/api is not among them");
    let elsewhere = world.token(&Pod { namespace: "thief", ..WEB });
    world.denied(&elsewhere, "db", "it is in another namespace");
    let unbound = world.token(&Pod { pod: None, ..WEB });
    world.denied(&unbound, "db", "not bound to a pod");
    world.bench.write("sealed/config", r#"{"require_pod": false}"#);
    assert_eq!(world.open(&unbound, "db").status, 200);
    // Policy is needed besides.
    world.bench.policy("workload", "");
    let token = world.token(&WEB);
    world.denied(&token, "db", "no policy");
}

#[test]
fn an_account_made_again_under_its_name_is_another_one() {
    let mut world = World::at_bootstrap();
    let bound = Subject::parse("web@uid-web", "shop").unwrap();
    let sealed = world.seal("bound", 1, Bounds { subjects: [bound].into(), ..world.bounds() });
    world.registered(&sealed);
    let sealed = world.seal("db", 1, world.bounds());
    world.registered(&sealed);
    let (first, again) = (world.token(&WEB), world.token(&Pod { uid: "uid-new", ..WEB }));
    assert_eq!(world.open(&first, "bound").status, 200);
    world.denied(&again, "bound", "subjects: shop/web is not among them");
    assert_eq!(world.open(&again, "db").status, 200, "the object says nothing of UIDs");
    world.bench.write("sealed/accounts/shop/web", r#"{"uid": "uid-web"}"#);
    world.denied(&again, "db", "it was deleted and made again");
    assert_eq!(world.open(&first, "db").status, 200);
    world.bench.write("sealed/config", r#"{"require_account_uid": true}"#);
    assert_eq!(world.open(&first, "db").status, 200);
    world.bench.root(Delete, "sealed/accounts/shop/web", "");
    world.denied(&first, "db", "says no UID");
}

#[test]
fn the_servers_clock_and_phase_decide() {
    let mut world = World::at_bootstrap();
    let timed = Bounds {
        not_before: Some(world.at(1000)),
        not_after: Some(world.at(2000)),
        phase: Phase::Bootstrap,
        ..world.bounds()
    };
    let sealed = world.seal("db", 1, timed);
    assert_eq!(world.registered(&sealed).data()["state"], "waiting");
    let token = world.token(&WEB);
    world.denied(&token, "db", "notBefore");
    world.bench.pass(std::time::Duration::from_secs(1990));
    let opened = world.open(&token, "db");
    assert_eq!(opened.data()["refresh"], 10, "ask again when it ends: {opened:?}");
    world.bench.pass(std::time::Duration::from_secs(10));
    world.denied(&token, "db", "notAfter");
    assert_eq!(world.bench.read("sealed/objects/shop/db").data()["state"], "expired");

    let bootstrap = world.seal("early", 1, Bounds { phase: Phase::Bootstrap, ..world.bounds() });
    world.registered(&bootstrap);
    assert_eq!(world.open(&token, "early").status, 200);
    assert_eq!(world.phase(Phase::Authority).status, 200);
    world.denied(&token, "early", "phase: it may be opened up to bootstrap, and the cluster is at authority");
}

#[test]
fn nothing_is_opened_before_the_phase_of_bootstrap() {
    let mut world = World::new();
    let made = world.bench.write("sealed/namespaces/shop", r#"{"zenlock": true}"#);
    let lock = zenlock(made.data()["zenlock_recipients"][0].as_str().unwrap(), &["web"], "hush");
    // Registering is how intent is known, and needs no phase.
    let sealed = [
        world.seal("git", 1, Bounds { phase: Phase::Git, ..world.bounds() }),
        world.seal("bootstrap", 1, Bounds { phase: Phase::Bootstrap, ..world.bounds() }),
        world.seal("steady", 1, world.bounds()),
    ];
    let states: Vec<Value> =
        sealed.iter().map(|sealed| world.registered(sealed).data()["state"].clone()).collect();
    assert_eq!(states, ["phase-early"; 3]);
    assert_eq!(world.register(&lock, "lock").data()["state"], "phase-early");
    let token = world.token(&WEB);
    let names = ["git", "bootstrap", "steady", "lock"];
    for (phase, why) in [
        (
            None,
            "phase: the cluster is at root (0), and nothing is opened before bootstrap (2): write phase=git",
        ),
        (
            Some(Phase::Git),
            "phase: the cluster is at git (1), and nothing is opened before bootstrap (2): write phase=bootstrap",
        ),
    ] {
        if let Some(phase) = phase {
            assert_eq!(world.phase(phase).status, 200);
        }
        names.iter().for_each(|name| world.denied(&token, name, why));
        let reason = world.bench.read("sealed/objects/shop/steady").data()["reason"].clone();
        assert!(reason.as_str().is_some_and(|reason| reason.starts_with(why)), "{reason}");
    }
    assert_eq!(world.phase(Phase::Bootstrap).status, 200);
    for name in ["bootstrap", "steady", "lock"] {
        assert_eq!(world.open(&token, name).status, 200, "{name}");
    }
    world.denied(&token, "git", "phase: it may be opened up to git, and the cluster is at bootstrap");
}

/// Clocks differ: of who seals, of who asks, and of the authority, whose own is the only one that counts.
#[test]
fn clocks_may_differ_by_a_minute_at_the_beginning_and_by_nothing_at_the_end() {
    let mut world = World::at_bootstrap();
    let token = world.token(&WEB);
    // Seconds from the authority's clock to the sealing machine's, which sealed "from now on" or "until now".
    for (at, skew, opens) in [(0, 0, true), (1, 60, true), (2, 61, false), (3, 3600, false), (4, -3600, true)]
    {
        let name = format!("from-{at}");
        let bounds = Bounds { not_before: Some(world.at(skew)), ..world.bounds() };
        let sealed = world.seal(&name, 1, bounds);
        let state = world.registered(&sealed).data()["state"].clone();
        assert_eq!(state, if opens { "active" } else { "waiting" }, "{skew}");
        assert_eq!(world.open(&token, &name).status, if opens { 200 } else { 403 }, "{skew}");
    }
    for (at, skew, opens) in [(0, 1, true), (1, 0, false), (2, -1, false), (3, -60, false)] {
        let name = format!("until-{at}");
        let bounds = Bounds { not_after: Some(world.at(skew)), ..world.bounds() };
        let sealed = world.seal(&name, 1, bounds);
        let state = world.registered(&sealed).data()["state"].clone();
        assert_eq!(state, if opens { "active" } else { "expired" }, "{skew}");
        assert_eq!(world.open(&token, &name).status, if opens { 200 } else { 403 }, "{skew}");
    }
    // A life that is over before the tolerance is not opened by it.
    let over = Bounds { not_before: Some(world.at(-20)), not_after: Some(world.at(-10)), ..world.bounds() };
    let sealed = world.seal("over", 1, over);
    world.registered(&sealed);
    world.denied(&token, "over", "notAfter");
    // What the authority says to do next is a span, so that the agent's clock does not matter.
    let bounds = Bounds { not_after: Some(world.at(20)), ..world.bounds() };
    let sealed = world.seal("short", 1, bounds);
    world.registered(&sealed);
    assert_eq!(world.open(&token, "short").data()["refresh"], 20);
}

#[test]
fn a_zenlock_without_subjects_is_for_nobody() {
    let mut world = World::at_bootstrap();
    let made = world.bench.write("sealed/namespaces/shop", r#"{"zenlock": true}"#);
    let recipient = made.data()["zenlock_recipients"][0].as_str().unwrap().to_owned();
    assert!(recipient.starts_with("age1") && !recipient.starts_with("age1pq"), "{recipient}");
    let answer = world.register(&zenlock(&recipient, &[], "hush"), "lock");
    assert_eq!((answer.status, &answer.data()["state"]), (200, &json!("no-subjects")), "{answer:?}");
    let token = world.token(&WEB);
    world.denied(&token, "lock", "it names no subjects");
    let answer = world.register(&zenlock(&recipient, &["web"], "hush"), "lock");
    assert_eq!(answer.data()["version"], 2, "{answer:?}");
    assert_eq!(world.open(&token, "lock").data()["items"]["token"], STANDARD.encode("hush"));
    let other = world.token(&Pod { account: "api", ..WEB });
    world.denied(&other, "lock", "subjects");
}

#[test]
fn a_zenlock_that_was_carried_elsewhere_is_refused() {
    let mut world = World::at_bootstrap();
    let identity = keyward_crypto::age::x25519::Identity::generate(&SystemRandom);
    let body = json!({"identity": identity.text().expose()}).to_string();
    let imported = world.bench.write("sealed/zenlock/*", &body);
    assert!(imported.body["warnings"][0].as_str().unwrap().contains("every namespace"), "{imported:?}");
    let recipient = imported.data()["recipient"].as_str().unwrap().to_owned();
    let mut lock = zenlock(&recipient, &["web"], "hush");
    assert_eq!(world.register(&lock, "lock").status, 200);
    lock["metadata"]["namespace"] = json!("thief");
    let stolen = json!({ "manifest": lock }).to_string();
    let answer = world.bench.root(Update, "sealed/objects/thief/lock", &stolen);
    assert!(answer.errors().contains("registered in shop/lock already"), "{answer:?}");
    world.bench.root(Delete, "sealed/objects/shop/lock", "");
    assert_eq!(world.bench.root(Update, "sealed/objects/thief/lock", &stolen).status, 200, "it may move");
    // Nothing shows the identity again.
    let shown = world.bench.read("sealed/zenlock/*");
    assert!(!shown.body.to_string().contains("SECRET"), "{shown:?}");
    let refused = world.bench.root(Delete, "sealed/zenlock/thief", "");
    assert!(refused.errors().contains("1 ZenLocks"), "{refused:?}");
}
