//! What a workload must be besides one of the ServiceAccounts that an object is sealed for.

use super::*;
use crate::outside::Credential;
use keyward_intent::Scope;
use keyward_posture::{
    self as posture, Finding, Images, NodeState, Publisher, Record, Ruling, Said, Verdict,
};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What an API server says of namespaces: the status, and the labels of `shop`.
type Labels = Arc<Mutex<(u16, Value)>>;

/// An API server whose namespace `shop` has labels.
fn with_labels(world: &mut World) -> Labels {
    let labels: Labels = Arc::new(Mutex::new((200, json!({"env": "prod", "team": "a"}))));
    let answers = labels.clone();
    world.bench.world = Box::new(move |ask| {
        if ask.body.is_some() {
            return api_server(ask);
        }
        assert_eq!(ask.url, format!("{HOST}/api/v1/namespaces/shop"));
        assert!(ask.may_be_old <= Duration::from_secs(10) && ask.credential == Credential::Pod, "{ask:?}");
        let (status, labels) = answers.lock().unwrap().clone();
        let body =
            json!({"kind": "Namespace", "metadata": {"name": "shop", "labels": labels}, "message": "no"});
        Ok(Reply { status, body: body.to_string().into_bytes().into(), version: 1 })
    });
    labels
}

fn selecting(world: &World, selector: &str) -> Bounds {
    Bounds { namespace_selector: Some(selector.parse().unwrap()), ..world.bounds() }
}

#[test]
fn a_namespace_must_have_the_labels_that_are_sealed() {
    let mut world = World::at_bootstrap();
    let labels = with_labels(&mut world);
    let (db, other) = (
        world.seal("db", 1, selecting(&world, "env=prod,tier notin (gold)")),
        world.seal("other", 1, selecting(&world, "team in (b,c)")),
    );
    let digest = world.registered(&db).data()["digest"].as_str().unwrap().to_owned();
    world.registered(&other);
    let token = world.token(&WEB);
    assert_eq!(world.open(&token, "db").data()["items"]["username"], STANDARD.encode("ada"));
    world.denied(
        &token,
        "other",
        "namespaceSelector: the labels of the namespace shop are not team in (b,c)",
    );
    // An account that is not among the subjects is none for the labels of its namespace.
    let stranger = world.token(&Pod { account: "api", ..WEB });
    world.denied(&stranger, "db", "subjects: shop/api is not among them");
    // It is asked each time, also of who has the values already.
    *labels.lock().unwrap() = (200, json!({"env": "prod", "tier": "gold"}));
    world.denied(&token, "db", "namespaceSelector");
    let known = world.bench.ask(&token, Read, &format!("sealed/open/shop/db?digest={digest}"), "");
    assert_eq!(known.status, 403, "{known:?}");
    let body = json!({"objects": [{"name": "db"}]}).to_string();
    assert_eq!(world.bench.ask(&token, Update, "sealed/open/shop", &body).status, 403);
    *labels.lock().unwrap() = (200, json!({}));
    world.denied(&token, "db", "namespaceSelector");
    *labels.lock().unwrap() = (200, Value::Null);
    world.denied(&token, "db", "cannot be read");
}

#[test]
fn labels_that_cannot_be_had_are_none() {
    let mut world = World::at_bootstrap();
    let labels = with_labels(&mut world);
    let db = world.seal("db", 1, selecting(&world, "!quarantined"));
    world.registered(&db);
    let token = world.token(&WEB);
    assert_eq!(world.open(&token, "db").status, 200);
    for status in [403, 404, 500] {
        *labels.lock().unwrap() = (status, json!({}));
        world.denied(&token, "db", &format!("/api/v1/namespaces/shop: HTTP status {status}: no"));
    }
    world.bench.world = Box::new(|ask| match ask.body {
        Some(_) => api_server(ask),
        None => Err("it does not answer".to_owned()),
    });
    world.denied(&token, "db", "the API server cannot be asked: it does not answer");
    // There must be somebody to ask as, for no workload shows its own token here.
    with_labels(&mut world);
    let config = json!({"kubernetes_host": HOST, "disable_local_ca_jwt": true,
        "kubernetes_ca_cert": "-----BEGIN CERTIFICATE-----"});
    world.bench.write("auth/kubernetes/config", &config.to_string());
    world.denied(&token, "db", "has no token_reviewer_jwt to ask the API server with");
}

#[test]
fn any_account_of_namespaces_that_are_selected_may_be_meant() {
    let mut world = World::at_bootstrap();
    let labels = with_labels(&mut world);
    let bounds = Bounds {
        scope: Scope::Cluster,
        subjects: [Subject::parse("*/*", "shop").unwrap()].into(),
        ..selecting(&world, "env=prod")
    };
    let db = world.seal("db", 1, bounds);
    world.registered(&db);
    let (web, api) = (world.token(&WEB), world.token(&Pod { account: "api", ..WEB }));
    assert_eq!((world.open(&web, "db").status, world.open(&api, "db").status), (200, 200));
    let elsewhere = world.token(&Pod { namespace: "thief", ..WEB });
    world.denied(&elsewhere, "db", "it is in another namespace");
    *labels.lock().unwrap() = (200, json!({"env": "test"}));
    world.denied(&api, "db", "namespaceSelector");
    // Without a selector that would be everybody, and so it is no manifest.
    let mut forged = serde_json::to_value(&db).unwrap();
    forged["spec"]["bounds"].as_object_mut().unwrap().remove("namespaceSelector");
    let refused = world.register(&forged, "db");
    assert!(refused.errors().contains("the subject */* is anybody"), "{refused:?}");
    // A ZenLock can demand nothing, and so it names accounts.
    let made = world.bench.write("sealed/namespaces/shop", r#"{"zenlock": true}"#);
    let lock = zenlock(made.data()["zenlock_recipients"][0].as_str().unwrap(), &["*"], "hush");
    let refused = world.register(&lock, "lock");
    assert!(refused.status == 400 && refused.errors().contains("names no ServiceAccount"), "{refused:?}");
}

/// A policy engine, which reports with the token of a pod of its own.
struct Engine {
    publisher: Publisher,
    token: String,
    session: String,
    sequence: u64,
}

impl Engine {
    fn begin(world: &mut World) -> Engine {
        world.bench.policy(
            "workload",
            &format!("{POLICY} path \"sys/posture/+\" {{ capabilities = [\"update\"] }}"),
        );
        let pod = Pod { namespace: "keyward", account: "engine", uid: "uid-engine", pod: Some("engine-1") };
        let token = world.token(&pod);
        let publisher = Publisher::new(&SystemRandom).unwrap();
        let body = json!({"cluster": "prod", "key": publisher.public(), "validity": "60s"});
        let begun = world.bench.ask(&token, Update, "sys/posture/sessions", &body.to_string());
        let session = begun.data()["session"].as_str().unwrap().to_owned();
        Engine { publisher, token, session, sequence: 0 }
    }

    /// Reports what policies say of the pod `web-1`.
    fn judge(&mut self, world: &mut World, compliant: bool) {
        self.see(world, compliant, None);
    }

    /// Reports what they say, and what it runs.
    fn see(&mut self, world: &mut World, compliant: bool, images: Option<Images>) {
        let subject = posture::Subject::Pod {
            namespace: "shop".to_owned(),
            name: "web-1".to_owned(),
            uid: "uid-of-web-1".to_owned(),
        };
        let ruling = Ruling {
            policy: "no-root".to_owned(),
            result: if compliant { Finding::Pass } else { Finding::Fail },
            tier: None,
            critical: !compliant,
            rules: Vec::new(),
            exceptions: Vec::new(),
        };
        let verdict = Verdict::new(subject, world.bench.clock.now(), &[ruling]);
        self.say(world, Verdict { images, ..verdict });
    }

    fn say(&mut self, world: &mut World, verdict: Verdict) {
        self.sequence += 1;
        let record = Record {
            session: self.session.clone(),
            cluster: "prod".to_owned(),
            sequence: self.sequence,
            at: world.bench.clock.now(),
            said: Said::Verdict(verdict),
        };
        let records = [self.publisher.sign(&record).unwrap()];
        let body = json!({"session": self.session, "records": records}).to_string();
        assert_eq!(world.bench.ask(&self.token, Update, "sys/posture/report", &body).status, 200);
    }
}

fn under(world: &World, conditions: &[&str]) -> Bounds {
    Bounds { conditions: conditions.iter().map(|text| (*text).to_owned()).collect(), ..world.bounds() }
}

#[test]
fn conditions_are_asked_with_every_reading() {
    let mut world = World::at_bootstrap();
    let db = world.seal("db", 1, under(&world, &["posture.compliant", "pod.namespace == 'shop'"]));
    let digest = world.registered(&db).data()["digest"].as_str().unwrap().to_owned();
    let token = world.token(&WEB);
    world.denied(&token, "db", "conditions: posture.compliant cannot be told");
    assert!(world.reason().contains("no verdict on the pod is known, or the last one is too old"));
    let mut engine = Engine::begin(&mut world);
    engine.judge(&mut world, true);
    assert_eq!(world.open(&token, "db").status, 200);
    // The record says which verdict it was.
    let facts = world.bench.last_records().1["response"]["facts"].clone();
    assert!(facts["posture_pod"].as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{facts}");
    engine.judge(&mut world, false);
    world.denied(&token, "db", "conditions: posture.compliant does not hold");
    assert!(world.reason().contains("the pod shop/web-1 violates critical policies: no-root"));
    let known = world.bench.ask(&token, Read, &format!("sealed/open/shop/db?digest={digest}"), "");
    assert_eq!(known.status, 403, "{known:?}");
    engine.judge(&mut world, true);
    assert_eq!(world.open(&token, "db").status, 200);
    // Of another pod of the same account nothing is known, and in the end of none.
    let other = world.token(&Pod { pod: Some("web-2"), ..WEB });
    world.denied(&other, "db", "no verdict on the pod");
    world.bench.pass(Duration::from_secs(60));
    world.denied(&token, "db", "no verdict on the pod");
}

#[test]
fn the_node_that_a_pod_runs_on_can_be_demanded_to_be_healthy() {
    let mut world = World::at_bootstrap();
    let db = world.seal("db", 1, under(&world, &["posture.compliant && posture.node.healthy"]));
    world.registered(&db);
    let token = world.token(&WEB);
    let mut engine = Engine::begin(&mut world);
    let node = |world: &World, problems: &[&str]| {
        let subject = posture::Subject::Node { name: "n1".to_owned(), uid: "u1".to_owned() };
        let problems = problems.iter().map(|name| (*name).to_owned()).collect();
        let state = NodeState { ready: true, problems: Some(problems), ..NodeState::default() };
        Verdict { state: Some(Box::new(state)), ..Verdict::new(subject, world.bench.clock.now(), &[]) }
    };
    let verdict = node(&world, &[]);
    engine.say(&mut world, verdict);
    engine.judge(&mut world, true);
    world.denied(&token, "db", "no verdict on the node is known");
    // The token names no node, and so it is the one that the engine sees the pod on.
    let subject = posture::Subject::Pod {
        namespace: "shop".to_owned(),
        name: "web-1".to_owned(),
        uid: "uid-of-web-1".to_owned(),
    };
    let verdict = Verdict::new(subject, world.bench.clock.now(), &[]);
    engine.say(&mut world, Verdict { node: Some("n1".to_owned()), ..verdict });
    assert_eq!(world.open(&token, "db").status, 200);
    let facts = world.bench.last_records().1["response"]["facts"].clone();
    assert!(facts["posture_node"].as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{facts}");
    let verdict = node(&world, &["DiskPressure", "KernelDeadlock"]);
    engine.say(&mut world, verdict);
    world.denied(
        &token,
        "db",
        "the node n1 violates no critical policy, and is not healthy: DiskPressure, KernelDeadlock",
    );
    let verdict = node(&world, &[]);
    engine.say(&mut world, verdict);
    assert_eq!(world.open(&token, "db").status, 200);
}

#[test]
fn a_condition_that_does_not_hold_is_named() {
    let mut world = World::at_bootstrap();
    let token = world.token(&WEB);
    for (at, (text, why)) in [
        ("pod.name.startsWith('web-')", None),
        (
            "inCidr(request.address, '10.0.0.0/8')",
            Some("conditions: inCidr(request.address, '10.0.0.0/8') does not hold"),
        ),
        ("pod.node == 'a'", Some("conditions: pod.node == 'a' cannot be told: no such key: node")),
        (
            "lists.range(200).all(a, lists.range(200).all(b, a != b || a == b))",
            Some("more steps than it may"),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("db-{at}");
        let sealed = world.seal(&name, 1, under(&world, &[text]));
        world.registered(&sealed);
        match why {
            None => assert_eq!(world.open(&token, &name).status, 200, "{text}"),
            Some(why) => world.denied(&token, &name, why),
        }
    }
}

#[test]
fn conditions_that_cannot_be_read_are_not_registered() {
    let mut world = World::at_bootstrap();
    let db = world.seal("db", 1, under(&world, &["posture.compliant"]));
    for (text, why) in [
        (
            "postur.compliant",
            "conditions: postur.compliant: the condition cannot be read: undeclared reference to 'postur' at 1:1",
        ),
        ("posture.compliant &&", "a value is expected at 1:21"),
        // It can be read, and is not what was signed.
        ("true", "conditions: the manifest says something else"),
    ] {
        let mut forged = db.clone();
        forged.spec.bounds.conditions = [text.to_owned()].into();
        let refused = world.register(&forged, "db");
        assert!(refused.status == 400 && refused.errors().contains(why), "{text}: {refused:?}");
    }
    assert_eq!(world.register(&db, "db").status, 200);
    let inventory = world.bench.read("sealed/inventory");
    assert_eq!(inventory.data()["secrets"][0]["conditions"], json!(["posture.compliant"]));
}

fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

fn runs(digits: &[char], unpinned: u32) -> Option<Images> {
    Some(Images { digests: digits.iter().map(|digit| digest(*digit)).collect(), unpinned })
}

#[test]
fn every_container_must_run_an_image_that_is_sealed() {
    let mut world = World::at_bootstrap();
    let images = [digest('a'), digest('b')].into();
    let db = world.seal("db", 1, Bounds { images, ..world.bounds() });
    world.registered(&db);
    let token = world.token(&WEB);
    world.denied(&token, "db", "images: what the pod runs is not known; no verdict on the pod is known");
    let mut engine = Engine::begin(&mut world);
    engine.judge(&mut world, true);
    world.denied(
        &token,
        "db",
        "images: the verdict does not say what the pod runs: the policy engine is an older one",
    );
    let other = format!("images: the pod runs {}, which is not among them", digest('c'));
    for (seen, why) in [
        (runs(&['a'], 0), ""),
        (runs(&['a', 'b'], 0), ""),
        (runs(&['a', 'c'], 0), other.as_str()),
        (runs(&['a', 'b'], 2), "images: 2 of the pod's containers are pinned to no digest"),
        (runs(&[], 1), "images: 1 of the pod's containers"),
        (runs(&[], 0), "images: 0 of the pod's containers"),
    ] {
        engine.see(&mut world, true, seen.clone());
        match why {
            "" => assert_eq!(world.open(&token, "db").status, 200, "{seen:?}"),
            why => world.denied(&token, "db", why),
        }
    }
    // What runs the right images may be out of order otherwise, unless a condition says more.
    engine.see(&mut world, false, runs(&['b'], 0));
    assert_eq!(world.open(&token, "db").status, 200);
    world.bench.pass(Duration::from_secs(60));
    world.denied(&token, "db", "images: what the pod runs is not known");
    // A pod is known by its UID: what another of the same name ran says nothing.
    let unbound = world.token(&Pod { pod: None, ..WEB });
    world.bench.write("sealed/config", r#"{"require_pod": false}"#);
    world.denied(&unbound, "db", "images: what the pod runs is not known");
}

#[test]
fn whoever_runs_an_image_may_be_meant() {
    let mut world = World::at_bootstrap();
    let subjects = [Subject::parse("*", "shop").unwrap()].into();
    let db = world.seal("db", 1, Bounds { subjects, images: [digest('a')].into(), ..world.bounds() });
    world.registered(&db);
    let mut engine = Engine::begin(&mut world);
    let token = world.token(&Pod { account: "any", ..WEB });
    world.denied(&token, "db", "images");
    engine.see(&mut world, true, runs(&['a'], 0));
    assert_eq!(world.open(&token, "db").status, 200);
    // Conditions see the same.
    for (at, (text, status)) in [
        (format!("posture.images == ['{}'] && posture.unpinned == 0", digest('a')), 200),
        (format!("'{}' in posture.images", digest('b')), 403),
        ("has(posture.namespace.images)".to_owned(), 403),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("db-{at}");
        let sealed = world.seal(&name, 1, under(&world, &[&text]));
        world.registered(&sealed);
        let web = world.token(&WEB);
        assert_eq!(world.open(&web, &name).status, status, "{text}");
    }
    let inventory = world.bench.read("sealed/inventory");
    assert_eq!(inventory.data()["secrets"][0]["images"], json!([digest('a')]));
}

#[test]
fn what_is_sealed_is_shown_and_cannot_be_dropped() {
    let mut world = World::at_bootstrap();
    let db = world.seal("db", 1, selecting(&world, "env=prod"));
    for selector in [None, Some("env".parse().unwrap())] {
        let mut forged = db.clone();
        forged.spec.bounds.namespace_selector = selector;
        let refused = world.register(&forged, "db");
        let why = "namespaceSelector: the manifest says something else";
        assert!(refused.errors().contains(why), "{refused:?}");
    }
    world.registered(&db);
    let shown = world.bench.read("sealed/objects/shop/db").data()["bounds"]["namespaceSelector"].clone();
    assert_eq!(shown, json!({"matchLabels": {"env": "prod"}}));
    let inventory = world.bench.read("sealed/inventory");
    assert_eq!(inventory.data()["secrets"][0]["namespace_selector"], "env=prod");
}
