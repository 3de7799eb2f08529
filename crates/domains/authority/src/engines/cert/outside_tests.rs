//! What is revoked by the word of others: OCSP servers, and lists that are fetched.

use super::tests::{Authority, DAY, LEAF, Leaf, YESTERDAY, ask_with, bench, entry, login, refused};
use crate::outside::{Ask, Reply};
use crate::request::Operation::{Delete, Read, Update};
use crate::testing::{Bench, now};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_crypto::sha256;
use keyward_crypto::x509::{
    CertStatus, Extension, OcspAnswer, OcspRequest, RevocationList, RevokedEntry, Scheme,
};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// What lies outside: servers and what they say, and who was asked.
#[derive(Default)]
struct World {
    /// What `http://one.test` and `http://two.test` say of serial numbers.
    one: Option<CertStatus>,
    two: Option<CertStatus>,
    /// For how long, in seconds.
    until: u64,
    /// The time of the answers.
    at: u64,
    /// The list at `http://crl.test/`, in DER.
    list: Option<Vec<u8>>,
    asked: Vec<(String, u64, u8)>,
}

type Shared = Rc<RefCell<World>>;

fn reply(body: Vec<u8>) -> Reply {
    let version = u64::from_be_bytes(sha256(&body)[..8].try_into().unwrap());
    Reply { status: 200, body: body.into(), version }
}

fn scheme(authority: &Authority) -> Scheme {
    Scheme::of(&authority.key, 0, false).unwrap()
}

/// A bench whose world answers as `root`.
fn world(root: &Rc<Authority>) -> (Bench, Shared) {
    let mut bench = bench();
    let shared = Shared::default();
    shared.borrow_mut().at = now(&bench).secs();
    shared.borrow_mut().until = DAY;
    let (answers, signer) = (shared.clone(), root.clone());
    bench.world = Box::new(move |ask: &Ask| {
        let mut world = answers.borrow_mut();
        let host = ask.url.split('/').nth(2).unwrap().to_owned();
        world.asked.push((host.clone(), ask.may_be_old.as_secs(), ask.retries));
        if host == "crl.test" {
            return world.list.clone().map(reply).ok_or_else(|| "crl.test does not answer".to_owned());
        }
        let status = if host == "one.test" { world.one } else { world.two };
        let Some(status) = status else { return Err(format!("{host} does not answer")) };
        let encoded = ask.url.rsplit('/').next().unwrap();
        let plain = encoded.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
        let request = OcspRequest::read(&STANDARD.decode(plain).unwrap()).unwrap();
        assert!(request.queries[0].is_of(&signer.certificate));
        let answer = OcspAnswer {
            request: &request,
            statuses: &[status],
            signer: &signer.certificate,
            at: world.at,
            until: world.at + world.until,
        };
        Ok(reply(answer.sign(&signer.key, scheme(&signer)).unwrap()))
    });
    (bench, shared)
}

fn named(urls: &[&str]) -> Vec<Extension> {
    let urls: Vec<String> = urls.iter().map(|url| (*url).to_owned()).collect();
    vec![Extension::authority_info(&urls, &[]).unwrap()]
}

fn list(authority: &Authority, serials: &[u8], at: u64) -> Vec<u8> {
    let entry = |serial: &u8| RevokedEntry { serial: vec![*serial], at: YESTERDAY, extensions: Vec::new() };
    let list = RevocationList {
        issuer: authority.certificate.subject(),
        key_id: &authority.certificate.key_id(),
        number: 1,
        base: None,
        this_update: at,
        next_update: at + DAY,
        entries: serials.iter().map(entry).collect(),
        extensions: &[],
    };
    list.sign(&authority.key, scheme(authority)).unwrap()
}

fn status(bench: &mut Bench, leaf: &[Vec<u8>]) -> u16 {
    login(bench, leaf).status
}

#[test]
fn an_ocsp_server_says_who_may_come_in() {
    let root = Rc::new(Authority::root("root"));
    let (mut bench, world) = world(&root);
    entry(
        &mut bench,
        "web",
        &json!({"certificate": root.pem(), "ocsp_enabled": true, "ocsp_max_retries": 2}),
    );
    let leaf = [root.issue_with(&LEAF, named(&["http://one.test/ocsp/"]))];
    world.borrow_mut().one = Some(CertStatus::Good);
    let logged_in = login(&mut bench, &leaf);
    assert_eq!(logged_in.status, 200, "{logged_in:?}");
    assert_eq!(world.borrow().asked, [("one.test".to_owned(), 43_200, 2)]);
    // A renewal asks again.
    let token = logged_in.body["auth"]["client_token"].as_str().unwrap().to_owned();
    let renew =
        |bench: &mut Bench| ask_with(bench, &token, "auth/token/renew-self", &json!({}), &leaf).status;
    assert_eq!(renew(&mut bench), 200);
    world.borrow_mut().one = Some(CertStatus::Revoked(YESTERDAY));
    assert_eq!(renew(&mut bench), 400);
    refused(&mut bench, &leaf, "revoked");
    for untold in [Some(CertStatus::Unknown), None] {
        world.borrow_mut().one = untold;
        assert_eq!(status(&mut bench, &leaf), 403, "{untold:?}");
    }
    // The name of no server is as good as one that does not answer.
    assert_eq!(status(&mut bench, &[root.issue(&LEAF)]), 403);
    entry(&mut bench, "web", &json!({"ocsp_fail_open": true}));
    assert_eq!((status(&mut bench, &leaf), status(&mut bench, &[root.issue(&LEAF)])), (200, 200));
    world.borrow_mut().one = Some(CertStatus::Revoked(YESTERDAY));
    refused(&mut bench, &leaf, "revoked");
    entry(&mut bench, "web", &json!({"ocsp_enabled": false}));
    assert_eq!(status(&mut bench, &leaf), 200);
    let shown = bench.read("auth/cert/certs/web").data().clone();
    assert_eq!((&shown["ocsp_fail_open"], &shown["ocsp_max_retries"]), (&json!(true), &json!(2)));
}

#[test]
fn answers_count_in_their_time() {
    let root = Rc::new(Authority::root("root"));
    let (mut bench, world) = world(&root);
    entry(&mut bench, "web", &json!({"certificate": root.pem(), "ocsp_enabled": true}));
    let leaf = [root.issue_with(&LEAF, named(&["http://one.test"]))];
    let start = now(&bench).secs();
    world.borrow_mut().one = Some(CertStatus::Good);
    let mut given = |at: u64, until: u64, age: u64| {
        let mut outside = world.borrow_mut();
        (outside.at, outside.until) = (at, until);
        outside.asked.clear();
        drop(outside);
        entry(&mut bench, "web", &json!({ "ocsp_this_update_max_age": age }));
        let status = status(&mut bench, &leaf);
        (status, world.borrow().asked.iter().map(|(_, age, _)| *age).collect::<Vec<_>>())
    };
    assert_eq!(given(start, 3600, 0), (200, vec![43_200]));
    // What may have been kept is asked for anew once its time is over, or where it has none.
    assert_eq!(given(start - 7200, 3600, 0), (403, vec![43_200, 5]));
    assert_eq!(given(start, 0, 0), (200, vec![43_200, 5]));
    assert_eq!(given(start + 3600, 7200, 0), (403, vec![43_200, 5]));
    assert_eq!(given(start - 600, DAY, 300), (403, vec![43_200, 5]));
    assert_eq!(given(start - 200, DAY, 300), (200, vec![43_200]));
}

#[test]
fn several_servers_are_asked_in_turn() {
    let root = Rc::new(Authority::root("root"));
    let (mut bench, world) = world(&root);
    let servers = ["http://one.test", "http://two.test"];
    let first = json!({"certificate": root.pem(), "ocsp_enabled": true, "ocsp_servers_override": servers});
    entry(&mut bench, "web", &first);
    let leaf = [root.issue(&LEAF)];
    let (good, bad) = (Some(CertStatus::Good), Some(CertStatus::Revoked(YESTERDAY)));
    for (all, one, two, wanted) in [
        (false, good, bad, 200),
        (false, None, good, 200),
        (false, None, bad, 400),
        (false, Some(CertStatus::Unknown), None, 403),
        (true, good, good, 200),
        (true, good, bad, 400),
        (true, good, None, 403),
        (true, bad, good, 400),
    ] {
        entry(&mut bench, "web", &json!({ "ocsp_query_all_servers": all }));
        (world.borrow_mut().one, world.borrow_mut().two) = (one, two);
        assert_eq!(status(&mut bench, &leaf), wanted, "{all} {one:?} {two:?}");
    }
}

#[test]
fn an_answer_of_somebody_else_does_not_count() {
    let (root, other) = (Rc::new(Authority::root("root")), Rc::new(Authority::root("root")));
    let (mut bench, world) = world(&root);
    let (answers, signer) = (world.clone(), other.clone());
    let own = std::mem::replace(&mut bench.world, Box::new(|_| Err(String::new())));
    // The answer of the right server, signed anew by somebody else.
    bench.world = Box::new(move |ask: &Ask| {
        let reply = own(ask)?;
        let encoded = ask.url.rsplit('/').next().unwrap();
        let plain = encoded.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
        let request = OcspRequest::read(&STANDARD.decode(plain).unwrap()).unwrap();
        let at = answers.borrow().at;
        let forged = OcspAnswer {
            request: &request,
            statuses: &[CertStatus::Good],
            signer: &signer.certificate,
            at,
            until: at + DAY,
        };
        Ok(Reply { body: forged.sign(&signer.key, scheme(&signer)).unwrap().into(), ..reply })
    });
    world.borrow_mut().one = Some(CertStatus::Revoked(YESTERDAY));
    let leaf = [root.issue_with(&LEAF, named(&["http://one.test"]))];
    entry(&mut bench, "web", &json!({"certificate": root.pem(), "ocsp_enabled": true}));
    assert_eq!(status(&mut bench, &leaf), 403);
    let others = STANDARD.encode(other.pem());
    entry(&mut bench, "web", &json!({ "ocsp_ca_certificates": others }));
    assert_eq!(status(&mut bench, &leaf), 200);
    assert_eq!(bench.read("auth/cert/certs/web").data()["ocsp_ca_certificates"], other.pem());
    let pinned = json!({"certificate": keyward_crypto::x509::pem::encode("CERTIFICATE", &leaf[0]), "ocsp_enabled": true});
    let answer = bench.root(Update, "auth/cert/certs/one", &pinned.to_string());
    assert!(answer.errors().contains("ocsp_enabled needs an entry that trusts authorities"), "{answer:?}");
}

fn fetched(bench: &mut Bench) -> Value {
    bench.write("auth/cert/crls/far", r#"{"url": "http://crl.test/root.crl"}"#);
    bench.read("auth/cert/crls/far").data().clone()
}

#[test]
fn a_list_is_fetched_and_fetched_again() {
    let root = Rc::new(Authority::root("root"));
    let (mut bench, world) = world(&root);
    entry(&mut bench, "web", &json!({"certificate": root.pem()}));
    let (good, bad) = ([root.issue(&LEAF)], [root.issue(&Leaf { serial: 9, ..LEAF })]);
    let start = now(&bench).secs();
    for body in [r#"{"url": "http://crl.test/root.crl"}"#, r#"{"url": "http://crl.test/a", "crl": "b"}"#] {
        assert_eq!(bench.root(Update, "auth/cert/crls/far", body).status, 400, "{body}");
    }
    world.borrow_mut().list = Some(list(&root, &[9], start));
    let shown = fetched(&mut bench);
    assert_eq!(
        (&shown["serials"], &shown["cdp"]["url"]),
        (&json!({"9": {}}), &json!("http://crl.test/root.crl"))
    );
    assert!(shown["cdp"]["valid_until"].as_str().unwrap().starts_with("2026-01-02T"), "{shown}");
    refused(&mut bench, &bad, "revoked");
    assert_eq!(status(&mut bench, &good), 200);
    // Half its time long it is not asked for again.
    let count = world.borrow().asked.len();
    world.borrow_mut().list = Some(list(&root, &[7, 9], start + 3600));
    bench.pass(Duration::from_secs(11 * 3600));
    assert_eq!(status(&mut bench, &good), 200);
    assert_eq!(world.borrow().asked.len(), count);
    bench.pass(Duration::from_secs(3600));
    refused(&mut bench, &good, "revoked");
    world.borrow_mut().list = Some(list(&root, &[9], now(&bench).secs()));
    bench.pass(Duration::from_secs(13 * 3600));
    assert_eq!(status(&mut bench, &good), 200);
    bench.root(Delete, "auth/cert/crls/far", "");
    assert_eq!(bench.root(Read, "auth/cert/crls/far", "").status, 404);
    assert_eq!(status(&mut bench, &bad), 200);
}

#[test]
fn a_list_that_cannot_be_fetched_counts_until_its_time_is_over() {
    let root = Rc::new(Authority::root("root"));
    let (mut bench, world) = world(&root);
    entry(&mut bench, "web", &json!({"certificate": root.pem()}));
    let good = [root.issue(&LEAF)];
    let start = now(&bench).secs();
    world.borrow_mut().list = Some(list(&root, &[9], start));
    fetched(&mut bench);
    assert_eq!(status(&mut bench, &good), 200);
    let count = world.borrow().asked.len();
    let older = list(&root, &[], start - 60);
    let foreign = list(&Authority::root("root"), &[], start + 60);
    bench.pass(Duration::from_secs(13 * 3600));
    for other in [None, Some(older), Some(foreign), Some(b"none".to_vec())] {
        world.borrow_mut().list = other;
        // Asked for once a minute, however many log in.
        assert_eq!((status(&mut bench, &good), status(&mut bench, &good)), (200, 200));
        refused(&mut bench, &[root.issue(&Leaf { serial: 9, ..LEAF })], "revoked");
        bench.pass(Duration::from_secs(61));
    }
    assert_eq!(world.borrow().asked.len(), count + 4);
    bench.pass(Duration::from_secs(11 * 3600));
    assert_eq!(status(&mut bench, &good), 403, "its time is over");
    world.borrow_mut().list = Some(list(&root, &[], now(&bench).secs()));
    assert_eq!(status(&mut bench, &good), 200);
}

#[test]
fn a_list_that_its_issuer_did_not_sign_lets_nobody_in() {
    let root = Rc::new(Authority::root("root"));
    let (mut bench, world) = world(&root);
    entry(&mut bench, "web", &json!({"certificate": root.pem()}));
    let (good, start) = ([root.issue(&LEAF)], now(&bench).secs());
    world.borrow_mut().list = Some(list(&Authority::root("root"), &[], start));
    fetched(&mut bench);
    assert_eq!(status(&mut bench, &good), 403);
    world.borrow_mut().list = Some(list(&root, &[], start));
    assert_eq!(status(&mut bench, &good), 200);
    // Who is of another issuer is no matter of this list.
    let between = root.below("between");
    let far = [between.issue(&LEAF), between.certificate.der().to_vec()];
    world.borrow_mut().list = Some(list(&between, &[], start));
    bench.write("auth/cert/crls/between", r#"{"url": "http://crl.test/between"}"#);
    world.borrow_mut().list = None;
    assert_eq!((status(&mut bench, &good), status(&mut bench, &far)), (200, 403));
    world.borrow_mut().list = Some(list(&between, &[7], start));
    refused(&mut bench, &far, "revoked");
    for name in ["a", "b", "c"] {
        bench.write(&format!("auth/cert/crls/{name}"), r#"{"url": "http://crl.test/x"}"#);
    }
    let answer = bench.root(Update, "auth/cert/crls/d", r#"{"url": "http://crl.test/x"}"#);
    assert!(answer.errors().contains("at most 5 lists"), "{answer:?}");
}
