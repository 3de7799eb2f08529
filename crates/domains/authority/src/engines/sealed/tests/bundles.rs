//! Enrollment bundles.

use super::*;
use keyward_crypto::age::pq;
use keyward_envelope::bundle::Bundle;
use std::time::Duration;

fn made(world: &mut World, identity: &pq::Identity, more: &Value) -> (Answer, Bundle) {
    let recipient = identity.recipient().to_string();
    let mut body =
        json!({"recipient": recipient, "purpose": "agent", "items": {"token": STANDARD.encode("hush")}});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = world.bench.write("sealed/bundles", &body.to_string());
    let file = answer.data()["bundle"].as_str().unwrap().to_owned();
    (answer, Bundle::read(file.as_bytes(), &[identity]).unwrap())
}

fn redeem(world: &mut World, bundle: &Bundle, more: &Value) -> Answer {
    let mut body = json!({
        "id": bundle.header().id, "proof": bundle.proof().expose(), "cluster": "prod", "purpose": "agent",
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.bench.ask("", Update, "sealed/bundles/redeem", &body.to_string())
}

#[test]
fn a_bundle_is_redeemed_once_by_whom_it_is_for() {
    let mut world = World::new();
    let identity = pq::Identity::generate(&SystemRandom);
    let (answer, bundle) = made(&mut world, &identity, &json!({}));
    assert_eq!(bundle.issuer(), answer.data()["issuer"].as_str().unwrap());
    assert_eq!(bundle.header().expires, world.at(1800));
    let file = answer.data()["bundle"].as_str().unwrap();
    let stranger = pq::Identity::generate(&SystemRandom);
    assert!(Bundle::read(file.as_bytes(), &[&stranger]).is_err());
    assert!(!answer.body.to_string().contains(&STANDARD.encode("hush")));
    let given = redeem(&mut world, &bundle, &json!({}));
    let items = bundle.open(given.data()["share"].as_str().unwrap()).unwrap();
    assert_eq!(items["token"].expose(), b"hush");
    assert!(bundle.open(&STANDARD.encode([0; 32])).is_err());
    let second = redeem(&mut world, &bundle, &json!({}));
    assert!(second.status == 403 && second.errors().contains("it was redeemed at"), "{second:?}");
    assert!(world.reason().contains(&bundle.header().id), "{}", world.reason());
    let path = format!("sealed/bundles/{}", bundle.header().id);
    let shown = world.bench.read(&path);
    assert_eq!(
        (&shown.data()["state"], &shown.data()["redeemed_from"]),
        (&json!("redeemed"), &json!("127.0.0.1"))
    );
    // Nothing that opens it is left.
    assert!(!shown.body.to_string().contains(given.data()["share"].as_str().unwrap()));
    world.bench.pass(Duration::from_secs(8 * 24 * 3600));
    assert_eq!(world.bench.root(Read, &path, "").status, 404, "it is forgotten in the end");
}

#[test]
fn late_and_elsewhere_and_without_proof_it_is_refused() {
    let mut world = World::new();
    let identity = pq::Identity::generate(&SystemRandom);
    let (_, bundle) = made(&mut world, &identity, &json!({"ttl": "60s", "namespace": "shop"}));
    for (more, why) in [
        (json!({"namespace": "shop", "cluster": "test"}), "it is for the cluster prod"),
        (json!({"namespace": "shop", "purpose": "other"}), "the purpose agent"),
        (json!({"namespace": "thief"}), "the namespace shop"),
        (json!({}), "the namespace shop"),
    ] {
        let refused = redeem(&mut world, &bundle, &more);
        assert!(refused.status == 403 && refused.errors().contains(why), "{why}: {refused:?}");
    }
    for more in
        [json!({"proof": STANDARD.encode([7; 32])}), json!({"id": "x/../y"}), json!({"id": "unknown"})]
    {
        let refused = redeem(&mut world, &bundle, &more);
        assert_eq!(refused.errors().trim(), "1 error occurred:\n\t* permission denied", "{refused:?}");
        assert!(world.reason().contains("no bundle has this id and proof"));
    }
    world.bench.pass(Duration::from_secs(60));
    let late = redeem(&mut world, &bundle, &json!({"namespace": "shop"}));
    assert!(late.status == 403 && late.errors().contains("it expired at"), "{late:?}");
    let (_, void) = made(&mut world, &identity, &json!({}));
    world.bench.root(Delete, &format!("sealed/bundles/{}", void.header().id), "");
    assert_eq!(redeem(&mut world, &void, &json!({})).status, 403);
}

#[test]
fn of_two_at_the_same_time_one_comes_second() {
    let mut world = World::new();
    let identity = pq::Identity::generate(&SystemRandom);
    let (_, bundle) = made(&mut world, &identity, &json!({}));
    let body = json!({
        "id": bundle.header().id, "proof": bundle.proof().expose(), "cluster": "prod", "purpose": "agent",
    })
    .to_string();
    let bench = &mut world.bench;
    let request = bench.request("", Update, "sealed/bundles/redeem", &body);
    let now = bench.clock.now();
    let decide = |bench: &Bench| {
        let admitted = bench.authority.admit(&bench.store, &request, now, &bench.random);
        bench
            .carry_out(&request, &admitted.unwrap_or_else(|_| panic!("refused")))
            .map(|outcome| outcome.batch)
    };
    let (first, second) = (decide(bench).unwrap(), decide(bench).unwrap());
    bench.store.commit(first).unwrap();
    assert!(matches!(bench.store.commit(second), Err(keyward_core::Fault::Conflict(_))));
    // Decided anew, as a server does it.
    assert!(decide(bench).is_err());
}

#[test]
fn mistakes_are_told() {
    let mut world = World::new();
    let recipient = pq::Identity::generate(&SystemRandom).recipient().to_string();
    let good = json!({"recipient": recipient, "purpose": "agent", "items": {"a": ""}});
    for (name, value, why) in [
        ("recipient", json!("age1plugin1xyz"), "recipient"),
        ("recipient", Value::Null, "missing recipient"),
        ("purpose", Value::Null, "missing purpose"),
        ("purpose", json!("An agent"), "purpose is no name"),
        ("ttl", json!("25h"), "from 1 second to 24 hours"),
        ("ttl", json!(0), "from 1 second to 24 hours"),
        ("items", json!({}), "missing items"),
        ("items", json!({"a": "no base64!"}), "items.a is not base64"),
        ("items", json!({"..": ""}), "an item's key"),
        ("items", json!({"a": STANDARD.encode(vec![0; 300_000])}), "longer than 256 KiB"),
    ] {
        let mut body = good.clone();
        body[name] = value;
        let refused = world.bench.root(Update, "sealed/bundles", &body.to_string());
        assert!(refused.status == 400 && refused.errors().contains(why), "{name} {why}: {refused:?}");
    }
}
