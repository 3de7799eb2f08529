//! What a workload must be besides one of the ServiceAccounts that an object is sealed for.

use super::*;
use crate::outside::Credential;
use keyward_intent::Scope;
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
