//! Which reports are believed.

use super::*;
use crate::refusal::Refusal;
use keyward_posture::{Finding, NodeState, Publisher, Record, Ruling, Said, Signed, Subject};
use keyward_testkit::fakes::SeededRandom;

const MOUNT: &str = "auth/kubernetes/";
const VALIDITY: Duration = Duration::from_secs(60);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(1_000_000 + seconds)
}

fn token(uid: &str) -> TokenEntry {
    let metadata = [("pod_uid".to_owned(), uid.to_owned())].into();
    TokenEntry { path: format!("{MOUNT}login"), metadata, attested: true, ..TokenEntry::default() }
}

struct World {
    verdicts: Verdicts,
    publisher: Publisher,
    session: String,
    sequence: u64,
}

impl World {
    fn new() -> World {
        let (verdicts, publisher) = (Verdicts::default(), Publisher::new(&SeededRandom::new(1)).unwrap());
        let session = begin(&verdicts, &publisher, 0).unwrap().session;
        World { verdicts, publisher, session, sequence: 0 }
    }

    fn record(&mut self, seconds: u64, said: Said) -> Record {
        self.sequence += 1;
        let session = self.session.clone();
        Record { session, cluster: "prod".to_owned(), sequence: self.sequence, at: at(seconds), said }
    }

    fn sign(&self, record: &Record) -> Signed {
        self.publisher.sign(record).unwrap()
    }

    fn report(&self, records: &[Signed], seconds: u64) -> Result<Taken, String> {
        report(&self.verdicts, "engine", &self.session, records, seconds)
    }

    fn say(&mut self, seconds: u64, said: Said) -> Result<Taken, String> {
        let record = self.record(seconds, said);
        self.report(&[self.sign(&record)], seconds)
    }

    fn compliant(&self, uid: &str, seconds: u64) -> Option<bool> {
        let found = self.verdicts.of_pod(&token(uid), at(seconds))?;
        Some(found.known.verdict.compliant())
    }
}

fn begin(verdicts: &Verdicts, publisher: &Publisher, seconds: u64) -> Result<Begun, Refusal> {
    let key = publisher.public();
    let wanted = Wanted { mount: MOUNT, token: "engine", cluster: "prod", key: &key, validity: VALIDITY };
    verdicts.begin(&wanted, at(seconds), &SeededRandom::new(seconds))
}

fn report(
    verdicts: &Verdicts,
    token: &str,
    session: &str,
    records: &[Signed],
    seconds: u64,
) -> Result<Taken, String> {
    verdicts.report((MOUNT, token, session), records, at(seconds)).map_err(|why| why.to_string())
}

fn pod(uid: &str, compliant: bool) -> Said {
    let subject = Subject::Pod { namespace: "n".to_owned(), name: "p".to_owned(), uid: uid.to_owned() };
    let ruling = Ruling {
        policy: "p".to_owned(),
        result: if compliant { Finding::Pass } else { Finding::Fail },
        tier: None,
        critical: !compliant,
        rules: Vec::new(),
        exceptions: Vec::new(),
    };
    Said::Verdict(Verdict::new(subject, at(0), &[ruling]))
}

#[test]
fn forged_and_unsigned_records_are_refused_and_change_nothing() {
    let mut world = World::new();
    world.say(0, pod("a", false)).unwrap();
    let good = world.record(1, pod("a", true));
    let stranger = Publisher::new(&SeededRandom::new(9)).unwrap();
    let forged = stranger.sign(&good).unwrap();
    let unsigned = Signed { signature: String::new(), ..world.sign(&good) };
    let altered = Signed { text: world.sign(&good).text.replace("\"n\"", "\"m\""), ..world.sign(&good) };
    for bad in [forged, unsigned, altered] {
        let why = world.report(&[world.sign(&good), bad], 1).unwrap_err();
        assert!(why.contains("signature is none of the session's key"), "{why}");
        assert_eq!(world.compliant("a", 1), Some(false), "all of a report or nothing");
    }
    world.report(&[world.sign(&good)], 1).unwrap();
    assert_eq!(world.compliant("a", 1), Some(true));
}

#[test]
fn what_was_said_before_cannot_be_said_again_nor_left_out() {
    let mut world = World::new();
    let (one, two, three) =
        (world.record(0, pod("a", true)), world.record(0, pod("a", false)), world.record(0, pod("b", true)));
    world.report(&[world.sign(&one), world.sign(&two)], 0).unwrap();
    // The answer was lost, and all of it comes again with more.
    let again = [&one, &two, &three].map(|record| world.sign(record));
    assert_eq!(world.report(&again, 0).map(|taken| taken.sequence), Ok(3));
    world.report(&[world.sign(&one)], 5).unwrap();
    assert_eq!(world.compliant("a", 5), Some(false), "an old verdict is passed over");
    let skipped = Record { sequence: 5, ..three };
    let why = world.report(&[world.sign(&skipped)], 5).unwrap_err();
    assert!(why.contains("record 4 of the session comes next, not 5"), "{why}");
}

#[test]
fn records_of_elsewhere_and_of_other_times_are_refused() {
    let mut world = World::new();
    world.say(0, pod("a", false)).unwrap();
    let good = world.record(10, pod("a", true));
    for (record, why) in [
        (Record { session: "other".to_owned(), ..good.clone() }, "of another session"),
        (Record { cluster: "dev".to_owned(), ..good.clone() }, "about the cluster \"dev\""),
        (Record { at: at(50), ..good.clone() }, "set the publisher's clock"),
        (Record { at: Timestamp::from_secs(0), ..good.clone() }, "older than the 60s"),
    ] {
        let said = world.report(&[world.sign(&record)], 10).unwrap_err();
        assert!(said.contains(why), "{why}: {said}");
    }
    let signed = [world.sign(&good)];
    let why = report(&world.verdicts, "other", &world.session, &signed, 10).unwrap_err();
    assert!(why.contains("there is no session"), "{why}");
    let elsewhere = ("auth/other/", "engine", world.session.as_str());
    assert!(world.verdicts.report(elsewhere, &signed, at(10)).is_err());
    assert!(report(&Verdicts::default(), "engine", &world.session, &signed, 10).is_err(), "after a restart");
    assert_eq!(world.compliant("a", 10), Some(false));
    let many: Vec<Signed> = std::iter::repeat_with(|| world.sign(&good)).take(MOST_RECORDS + 1).collect();
    assert!(world.report(&many, 10).unwrap_err().contains("at most 500"));
}

#[test]
fn a_later_session_goes_on_where_an_earlier_one_ended() {
    let mut world = World::new();
    world.say(0, pod("a", true)).unwrap();
    world.say(0, pod("b", true)).unwrap();
    let later = Publisher::new(&SeededRandom::new(2)).unwrap();
    let begun = begin(&world.verdicts, &later, 10).unwrap();
    // What the earlier one said counts until it ends, but it may say no more: neither something else nor that it still holds.
    assert_eq!(world.compliant("a", 59), Some(true));
    let why = world.say(20, Said::Holds).unwrap_err();
    assert!(why.contains("a later session"), "{why}");
    let mut next = World { verdicts: world.verdicts, publisher: later, session: begun.session, sequence: 0 };
    next.say(20, pod("a", false)).unwrap();
    assert_eq!((next.compliant("a", 20), next.compliant("b", 20)), (Some(false), Some(true)));
    assert_eq!((next.compliant("a", 79), next.compliant("b", 60)), (Some(false), None));
    let shown = next.verdicts.sessions(at(20));
    assert_eq!(shown.iter().map(|one| one.current).collect::<Vec<_>>(), [true, false]);
    begin(&next.verdicts, &next.publisher, 1000).unwrap();
    assert_eq!(next.verdicts.sessions(at(1000)).len(), 1, "what ended is forgotten");
    assert!(next.verdicts.all(Subjects::Pods, at(20)).is_empty());
}

#[test]
fn what_is_kept_is_counted() {
    let mut world = World::new();
    let bytes = |world: &World| world.verdicts.read(|state| state.clusters[MOUNT].bytes);
    world.say(0, pod("a", true)).unwrap();
    let one = bytes(&world);
    assert!(one > 0);
    world.say(0, pod("b", true)).unwrap();
    world.say(0, pod("b", false)).unwrap();
    assert!(bytes(&world) > one);
    for uid in ["a", "b"] {
        let Said::Verdict(verdict) = pod(uid, true) else { return };
        world.say(0, Said::Gone(verdict.subject)).unwrap();
    }
    assert_eq!(bytes(&world), 0);
    world.say(0, pod("a", true)).unwrap();
    begin(&world.verdicts, &world.publisher, 100).unwrap();
    assert_eq!(bytes(&world), 0, "what ended is not counted");
}

fn on_node(uid: &str, node: Option<(&str, Option<&str>)>) -> TokenEntry {
    let mut token = token(uid);
    let (name, uid) = node.unzip();
    for (key, value) in [("node_name", name), ("node_uid", uid.flatten())] {
        token.metadata.extend(value.map(|value| (key.to_owned(), value.to_owned())));
    }
    token
}

fn node(name: &str, uid: &str, ready: bool) -> Said {
    let subject = Subject::Node { name: name.to_owned(), uid: uid.to_owned() };
    let state = NodeState { ready, problems: Some([].into()), ..NodeState::default() };
    Said::Verdict(Verdict { state: Some(Box::new(state)), ..Verdict::new(subject, at(0), &[]) })
}

/// A pod that the engine sees on a node.
fn seen_on(uid: &str, node: &str) -> Said {
    let Said::Verdict(verdict) = pod(uid, true) else { return Said::Holds };
    Said::Verdict(Verdict { node: Some(node.to_owned()), ..verdict })
}

#[test]
fn a_node_is_the_one_that_the_token_is_bound_to() {
    let mut world = World::new();
    let healthy = |world: &World, token: &TokenEntry, seconds: u64| {
        let found = world.verdicts.of_node(token, at(seconds))?;
        found.known.verdict.state.as_deref().map(NodeState::healthy)
    };
    let bound = on_node("a", Some(("n1", Some("u1"))));
    let unnamed = on_node("a", None);
    assert_eq!(healthy(&world, &bound, 0), None);
    world.say(0, node("n1", "u1", true)).unwrap();
    world.say(0, node("n2", "u2", false)).unwrap();
    assert_eq!(healthy(&world, &bound, 0), Some(true), "whether or not the pod is known");
    assert_eq!(healthy(&world, &unnamed, 0), None, "nobody says which node it is");
    // Tokens of older clusters name no node, or no UID.
    world.say(0, pod("a", true)).unwrap();
    assert_eq!(healthy(&world, &unnamed, 0), None, "an engine that does not speak of nodes");
    world.say(0, seen_on("a", "n1")).unwrap();
    for token in [&bound, &unnamed, &on_node("a", Some(("n1", None)))] {
        assert_eq!(healthy(&world, token, 0), Some(true));
    }
    assert_eq!(healthy(&world, &on_node("b", Some(("n2", Some("u2")))), 0), Some(false));
    // A pod never moves.
    world.say(0, seen_on("a", "n2")).unwrap();
    assert_eq!((healthy(&world, &bound, 0), healthy(&world, &unnamed, 0)), (None, Some(false)));
    world.say(0, seen_on("a", "n1")).unwrap();
    // Made anew under its name, a node is another one, for whose sake the old one's end is not its own.
    world.say(0, node("n1", "u9", true)).unwrap();
    assert_eq!((healthy(&world, &bound, 0), healthy(&world, &unnamed, 0)), (None, Some(true)));
    let gone = |uid: &str| Said::Gone(Subject::Node { name: "n1".to_owned(), uid: uid.to_owned() });
    world.say(0, gone("u1")).unwrap();
    assert_eq!(healthy(&world, &unnamed, 0), Some(true));
    assert_eq!(world.verdicts.all(Subjects::Nodes, at(0)).len(), 2);
    assert_eq!((healthy(&world, &unnamed, 59), healthy(&world, &unnamed, 60)), (Some(true), None), "too old");
    world.say(50, gone("u9")).unwrap();
    assert_eq!(healthy(&world, &unnamed, 50), None);
    let stranger = TokenEntry { attested: false, ..bound };
    world.say(50, node("n1", "u1", true)).unwrap();
    assert_eq!(healthy(&world, &stranger, 50), None, "metadata that nobody proved");
}

#[test]
fn nodes_are_among_the_subjects_that_are_counted() {
    let mut world = World::new();
    world.say(0, node("n1", "u1", true)).unwrap();
    world.say(0, node("n1", "u1", false)).unwrap();
    let bytes = |world: &World| world.verdicts.read(|state| state.clusters[MOUNT].bytes);
    assert!(bytes(&world) > 0);
    begin(&world.verdicts, &world.publisher, 100).unwrap();
    assert_eq!((bytes(&world), world.verdicts.all(Subjects::Nodes, at(0)).len()), (0, 0));
}

#[test]
fn sessions_that_cannot_be_are_refused() {
    let verdicts = Verdicts::default();
    let line = Publisher::new(&SeededRandom::new(1)).unwrap().public();
    let wanted = Wanted { mount: MOUNT, token: "t", cluster: "prod", key: &line, validity: VALIDITY };
    for (wanted, why) in [
        (Wanted { key: "x", ..wanted }, "Ed25519"),
        (Wanted { cluster: "", ..wanted }, "cluster"),
        (Wanted { validity: Duration::ZERO, ..wanted }, "validity"),
        (Wanted { validity: Duration::from_secs(601), ..wanted }, "validity"),
    ] {
        let refused = verdicts.begin(&wanted, at(0), &SeededRandom::new(1)).unwrap_err().to_string();
        assert!(refused.contains(why), "{refused}");
    }
    assert!(verdicts.sessions(at(0)).is_empty());
}
