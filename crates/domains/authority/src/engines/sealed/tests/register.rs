//! What is registered, and everything that is not.

use super::*;

#[test]
fn what_is_altered_is_refused_and_changes_nothing() {
    let mut world = World::at_bootstrap();
    let sealed = world.seal("db", 3, Bounds { not_after: Some(world.at(5000)), ..world.bounds() });
    world.registered(&sealed);
    let entries = world.bench.count("m/");
    let eve = author::generate(&SystemRandom).unwrap();
    let forge = |change: fn(&mut SealedSecret)| {
        let mut object = sealed.clone();
        object.spec.version = 4;
        change(&mut object);
        object
    };
    let widened = |object: &mut SealedSecret| {
        object.spec.bounds.subjects.insert(Subject::parse("thief", "shop").unwrap());
    };
    let swapped = |object: &mut SealedSecret| {
        let items = &mut object.spec.items;
        let (a, b) = (items["password"].clone(), items["username"].clone());
        items.insert("password".to_owned(), b);
        items.insert("username".to_owned(), a);
    };
    type Change = (fn(&mut SealedSecret), &'static str);
    let changes: [Change; 12] = [
        (widened, "subjects"),
        (swapped, "item key"),
        (|object| object.spec.bounds.clusters.extend(["prod-2".to_owned()]), "clusters"),
        (|object| object.spec.bounds.scope = keyward_intent::Scope::Cluster, "scope"),
        (|object| object.spec.bounds.kind = "kubernetes.io/tls".to_owned(), "type"),
        (|object| object.spec.bounds.phase = Phase::Bootstrap, "phase"),
        (|object| object.spec.bounds.not_after = None, "notAfter"),
        (|object| object.spec.items.get_mut("username").unwrap().version = 1, "version"),
        (|object| object.spec.bounds.not_before = "2026-01-01T00:00:00Z".parse().ok(), "notBefore"),
        (|object| object.spec.version = 5, "signature"),
        (|object| object.spec.author = None, "author: nobody signed it"),
        (|object| object.spec.signature = Some("x".to_owned()), "signature"),
    ];
    for (change, why) in changes {
        let mut object = forge(change);
        let answer = world.register(&object, "db");
        assert_eq!(answer.status, 400, "{why}: {answer:?}");
        assert!(answer.errors().contains(why), "{why}: {}", answer.errors());
        // Signed anew by somebody else.
        object::sign(&mut object, &eve).unwrap();
        let answer = world.register(&object, "db");
        assert_eq!(answer.status, 400, "{why}, signed by another: {answer:?}");
    }
    assert_eq!(world.bench.count("m/"), entries);
    let token = world.token(&WEB);
    assert_eq!(world.open(&token, "db").data()["version"], 3, "what was there is opened still");
}

#[test]
fn what_was_moved_or_is_of_another_cluster_is_refused() {
    let mut world = World::at_bootstrap();
    let sealed = world.seal("db", 1, world.bounds());
    let mut renamed = sealed.clone();
    renamed.metadata.name = "other".to_owned();
    let answer = world.register(&renamed, "other");
    assert!(answer.errors().contains("name: it is sealed as db, and stands as other"), "{answer:?}");
    let answer = world.register(&sealed, "other");
    assert!(answer.errors().contains("the manifest is of shop/db"), "{answer:?}");
    let mut moved = sealed.clone();
    moved.metadata.namespace = Some("thief".to_owned());
    world.bench.write("sealed/namespaces/thief", "{}");
    let body = json!({ "manifest": moved }).to_string();
    let answer = world.bench.root(Update, "sealed/objects/thief/db", &body);
    // The key of another namespace does not even open it.
    assert!(answer.errors().contains("item password"), "{answer:?}");
    let elsewhere = world.seal("db", 1, Bounds { clusters: ["test".to_owned()].into(), ..world.bounds() });
    let answer = world.register(&elsewhere, "db");
    assert!(answer.errors().contains("cluster: it is sealed for test, and this is prod"), "{answer:?}");
    world.bench.write("sealed/config", r#"{"cluster_sets": ["test"]}"#);
    assert_eq!(world.register(&elsewhere, "db").status, 200);
}

#[test]
fn versions_never_go_back() {
    let mut world = World::at_bootstrap();
    let old = world.seal("db", 1, world.bounds());
    let new = world.seal("db", 2, world.bounds());
    world.registered(&old);
    world.registered(&new);
    assert_eq!(world.registered(&new).data()["version"], 2, "writing it again is no change");
    let refused = world.register(&old, "db");
    assert!(refused.errors().contains("version: 1 is older than 2"), "{refused:?}");
    let another = world.seal("db", 2, world.bounds());
    let refused = world.register(&another, "db");
    assert!(refused.errors().contains("another 2 than this one"), "{refused:?}");
    // Deleting does not forget.
    assert_eq!(world.bench.root(Delete, "sealed/objects/shop/db", "").status, 204);
    assert_eq!(world.bench.root(Read, "sealed/objects/shop/db", "").status, 404);
    let token = world.token(&WEB);
    assert_eq!(world.open(&token, "db").status, 404);
    assert_eq!(world.register(&old, "db").status, 400);
    assert_eq!(world.register(&new, "db").status, 200);
}

#[test]
fn a_new_sealing_of_a_version_is_the_same_version() {
    let mut world = World::at_bootstrap();
    let custodian = keyward_crypto::age::pq::Identity::generate(&SystemRandom);
    let own = Recipient::PostQuantum(Box::new(custodian.recipient()));
    let sealer = |recipients: &[Recipient]| {
        Sealer::new(&Audience::Each(recipients.to_vec()), Mixing::Refuse, &SystemRandom).unwrap()
    };
    let metadata =
        Metadata { name: "db".to_owned(), namespace: Some("shop".to_owned()), ..Metadata::default() };
    let data = [("password".to_owned(), Secret::new(b"hush".to_vec()))].into();
    let secret = PlainSecret { metadata, kind: "Opaque".to_owned(), data };
    let both = sealer(&[world.recipient.clone(), own.clone()]);
    let sealed = object::seal(&secret, world.bounds(), 1, &both, &world.signer, &SystemRandom).unwrap();
    let first = world.registered(&sealed).data()["digest"].clone();
    let rotated = world.bench.write("sealed/namespaces/shop/rotate", "{}");
    let new = rotated.data()["recipient"].as_str().unwrap().parse().unwrap();
    let again =
        object::reseal(&sealed, None, &[&custodian], &sealer(&[new, own]), None, &SystemRandom).unwrap();
    let answer = world.registered(&again);
    assert_eq!((&answer.data()["version"], &answer.data()["key_version"]), (&json!(1), &json!(2)));
    assert_ne!(answer.data()["digest"], first, "agents take it anew");
    assert_eq!(world.bench.write("sealed/namespaces/shop/trim", r#"{"min_version": 2}"#).status, 200);
    let token = world.token(&WEB);
    assert_eq!(world.open(&token, "db").data()["items"]["password"], STANDARD.encode("hush"));
}

#[test]
fn the_inventory_is_read_in_pages() {
    let mut world = World::at_bootstrap();
    for name in ["a", "b", "c"] {
        let mut sealed = world.seal(name, 1, world.bounds());
        sealed.metadata.annotations.insert("keyward.io/owner".to_owned(), format!("team-{name}"));
        sealed.metadata.annotations.insert("keyward.io/reason".to_owned(), "orders".to_owned());
        world.registered(&sealed);
    }
    world.bench.root(Delete, "sealed/objects/shop/b", "");
    let page = world.bench.read("sealed/inventory?limit=2");
    assert_eq!(
        (page.data()["secrets"].as_array().unwrap().len(), &page.data()["next"]),
        (1, &json!("shop/b"))
    );
    let first = &page.data()["secrets"][0];
    for (name, wanted) in [
        ("name", json!("a")),
        ("owner", json!("team-a")),
        ("why", json!("orders")),
        ("consumers", json!(["shop/web"])),
        ("authority", json!("git")),
        ("state", json!("active")),
        ("workflow", json!("git")),
        ("version", json!(1)),
    ] {
        assert_eq!(first[name], wanted, "{name}");
    }
    let rest = world.bench.read("sealed/inventory?limit=2&after=shop/b");
    assert_eq!((&rest.data()["secrets"][0]["name"], &rest.data()["next"]), (&json!("c"), &Value::Null));
    assert!(!page.body.to_string().contains("items"), "{page:?}");
}

#[test]
fn authors_come_from_the_root_and_a_root_only_from_the_one_before() {
    use keyward_sealing::root::Root;
    let mut world = World::at_bootstrap();
    let now = world.at(0);
    let (root, stranger) = (Root::generate(None, &SystemRandom), Root::generate(None, &SystemRandom));
    let document = |root: &Root, old| root.document(now, (2, 3), &[], old).unwrap().write().unwrap();
    let config = json!({"root_document": document(&root, None)}).to_string();
    world.bench.write("sealed/config", &config);
    world.signer = root.author().unwrap();
    let sealed = world.seal("db", 1, world.bounds());
    world.registered(&sealed);
    let refused = world.bench.root(
        Update,
        "sealed/config",
        &json!({"root_document": document(&stranger, None)}).to_string(),
    );
    assert!(refused.status == 400 && refused.errors().contains("did not sign"), "{refused:?}");
    let next = Root::generate(Some(&root), &SystemRandom);
    world.bench.write("sealed/config", &json!({"root_document": document(&next, Some(&root))}).to_string());
    let token = world.token(&WEB);
    assert_eq!(world.open(&token, "db").status, 200, "the old author counts until it is taken off the list");
    world.bench.write("sealed/config", r#"{"authors": []}"#);
    world.denied(&token, "db", "author: signatures of");
    let digest = world.bench.read("sealed/objects/shop/db").data()["digest"].as_str().unwrap().to_owned();
    let known = world.bench.ask(&token, Read, &format!("sealed/open/shop/db?digest={digest}"), "");
    assert_eq!(known.status, 403, "nor is it confirmed");
    world.signer = next.author().unwrap();
    let sealed = world.seal("db", 2, world.bounds());
    world.registered(&sealed);
    assert_eq!(world.open(&token, "db").status, 200);
}

#[test]
fn old_keys_go_when_no_object_needs_them() {
    let mut world = World::at_bootstrap();
    let (a, b) = (world.seal("a", 1, world.bounds()), world.seal("b", 1, world.bounds()));
    world.registered(&a);
    world.registered(&b);
    let rotated = world.bench.write("sealed/namespaces/shop/rotate", "{}");
    assert_eq!((&rotated.data()["latest_version"], &rotated.data()["min_version"]), (&json!(2), &json!(1)));
    assert_eq!(rotated.data()["versions"]["1"]["objects"], 2);
    world.recipient = rotated.data()["recipient"].as_str().unwrap().parse().unwrap();
    let trim = |world: &mut World, min: u64| {
        world.bench.root(Update, "sealed/namespaces/shop/trim", &json!({"min_version": min}).to_string())
    };
    let refused = trim(&mut world, 2);
    assert!(refused.errors().contains("2 registered objects open with versions below 2 only"), "{refused:?}");
    let a = world.seal("a", 2, world.bounds());
    world.registered(&a);
    world.bench.root(Delete, "sealed/objects/shop/b", "");
    let refused = world.bench.root(Delete, "sealed/namespaces/shop", "");
    assert!(refused.errors().contains("1 objects are registered"), "{refused:?}");
    let trimmed = trim(&mut world, 2);
    assert_eq!((trimmed.status, &trimmed.data()["min_version"]), (200, &json!(2)), "{trimmed:?}");
    assert_eq!(trim(&mut world, 3).status, 400);
    // What only the destroyed version opened is refused.
    assert_eq!(world.register(&b, "b").status, 400);
    let token = world.token(&WEB);
    assert_eq!(world.open(&token, "a").status, 200);
    let all = world.bench.read("sealed/recipients");
    let recipient = world.recipient.to_string();
    assert_eq!(all.data()["recipients"]["shop"], recipient.as_str());
    assert_eq!(all.data()["yaml"], format!("recipients:\n  shop: {recipient}\n"));
    world.bench.root(Delete, "sealed/objects/shop/a", "");
    assert_eq!(world.bench.root(Delete, "sealed/namespaces/shop", "").status, 204);
}

#[test]
fn a_manifest_as_long_as_may_be_is_stored_whole() {
    let mut world = World::at_bootstrap();
    let value = vec![7; 330_000];
    let sealed = world.seal_values("large", 1, world.bounds(), &[("value", &value)]);
    let length = json!(sealed).to_string().len();
    assert!((450_000..480 * 1024).contains(&length), "{length}");
    assert_eq!(world.register(&sealed, "large").status, 200);
    let token = world.token(&WEB);
    assert_eq!(world.open(&token, "large").data()["items"]["value"], STANDARD.encode(value));
}

#[test]
fn mistakes_are_told() {
    let mut world = World::at_bootstrap();
    let long = json!({"manifest": "x".repeat(500_000)}).to_string();
    for (path, body, why) in [
        ("objects/shop/db", "{}", "missing manifest"),
        ("objects/shop/db", r#"{"manifest": "a: b"}"#, "neither a SealedSecret"),
        ("objects/shop/db", r#"{"manifest": "a: &x 1\nb: *x"}"#, "anchors"),
        ("objects/shop/db", long.as_str(), "longer than 480 KiB"),
        ("objects/Shop/db", "{}", "the namespace is no name"),
        ("namespaces/-", "{}", "the namespace is no name"),
        ("zenlock/shop", r#"{"identity": "AGE-PLUGIN-X-1QQ"}"#, "AGE-SECRET-KEY-1"),
        ("config", r#"{"cluster": "Prod"}"#, "cluster is no name"),
        ("config", r#"{"authors": ["ssh-rsa AAAA"]}"#, "Ed25519"),
        ("config", r#"{"root_document": "a: b"}"#, "root_document"),
        ("config", r#"{"refresh": 0}"#, "refresh is from 1 second"),
        ("accounts/shop/web", "{}", "missing uid"),
    ] {
        let answer = world.bench.root(Update, &format!("sealed/{path}"), body);
        assert!(answer.status == 400 && answer.errors().contains(why), "{path} {why}: {answer:?}");
    }
    let mut fresh = Bench::new();
    fresh.write("sys/mounts/sealed", r#"{"type":"sealed"}"#);
    let sealed = world.seal("db", 1, world.bounds());
    let body = json!({ "manifest": sealed }).to_string();
    let answer = fresh.root(Update, "sealed/objects/shop/db", &body);
    assert!(answer.errors().contains("the mount has no configuration"), "{answer:?}");
}
