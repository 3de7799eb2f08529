//! Sealed objects: what opens them, and everything that must not.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail where it stands")]

use keyward_core::Timestamp;
use keyward_crypto::age::{self, Identity, Mixing, Recipient, Unwrap, pq, x25519};
use keyward_crypto::{Secret, SystemRandom};
use keyward_intent::{Bounds, LabelSelector, Metadata, Moment, Phase, Scope, SealedSecret, Subject};
use keyward_sealing::author::{self, Signer};
use keyward_sealing::recipients::Sealer;
use keyward_sealing::{Audience, Failure, Place, PlainSecret, Violation, diff, lint, object};
use std::collections::BTreeMap;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn at(seconds: i64) -> Moment {
    Moment::of(Timestamp::from_secs(1_800_000_000u64.checked_add_signed(seconds).unwrap()))
}

fn plain(name: &str) -> PlainSecret {
    let metadata =
        Metadata { name: name.to_owned(), namespace: Some("shop".to_owned()), ..Metadata::default() };
    let value = |text: &str| Secret::new(text.as_bytes().to_vec());
    let data = BTreeMap::from([
        ("password".to_owned(), value("correct horse")),
        ("username".to_owned(), value("ada")),
        ("empty".to_owned(), value("")),
    ]);
    PlainSecret { metadata, kind: "Opaque".to_owned(), data }
}

fn bounds() -> Bounds {
    Bounds {
        phase: Phase::Bootstrap,
        not_before: Some(at(-100)),
        not_after: Some(at(1000)),
        subjects: [Subject::parse("web", "shop").unwrap()].into(),
        namespace_selector: selector("env in (prod,test)"),
        conditions: ["posture.compliant".to_owned()].into(),
        images: [digest('a'), digest('b')].into(),
        ..Bounds::in_cluster("prod")
    }
}

/// Of an image.
fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

fn selector(text: &str) -> Option<LabelSelector> {
    Some(text.parse().unwrap())
}

struct World {
    identity: pq::Identity,
    signer: Signer,
}

impl World {
    fn new() -> World {
        World {
            identity: pq::Identity::generate(&SystemRandom),
            signer: author::generate(&SystemRandom).unwrap(),
        }
    }

    fn audience(&self) -> Audience {
        Audience::Each(vec![Recipient::PostQuantum(Box::new(self.identity.recipient()))])
    }

    fn sealer(&self) -> Sealer {
        Sealer::new(&self.audience(), Mixing::Refuse, &SystemRandom).unwrap()
    }

    fn seal(&self, bounds: Bounds) -> SealedSecret {
        object::seal(&plain("db"), bounds, 1, &self.sealer(), &self.signer, &SystemRandom).unwrap()
    }

    fn open(&self, object: &SealedSecret) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
        self.open_at(object, &Place::offline(NOW))
    }

    fn open_at(
        &self,
        object: &SealedSecret,
        place: &Place<'_>,
    ) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
        let opened = object::open(object, place, &[&self.identity])?;
        Ok(opened.values().map(|(key, value)| (key.to_owned(), value.to_vec())).collect())
    }

    /// What opening says after a change that leaves the signature as it was, and after one that is signed anew by another
    /// author.
    fn refused(&self, change: impl Fn(&mut SealedSecret)) -> Violation {
        let mut object = self.seal(bounds());
        change(&mut object);
        let forger = author::generate(&SystemRandom).unwrap();
        let mut signed = object.clone();
        if object::sign(&mut signed, &forger).is_ok() {
            let author = self.signer.public();
            let place = Place { authors: Some(&[&author]), ..Place::offline(NOW) };
            assert!(self.open_at(&signed, &place).is_err(), "a forger's signature");
        }
        match self.open(&object) {
            Err(Failure::Violation(violation)) => violation,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_was_sealed_opens_where_it_belongs() {
    let world = World::new();
    let object = world.seal(bounds());
    let again = SealedSecret::read(&object.write().unwrap()).unwrap();
    assert_eq!(again, object);
    let subject = Subject::parse("web", "shop").unwrap();
    let author = world.signer.public();
    let place = Place {
        cluster: Some("prod"),
        phase: Some(Phase::Git),
        now: NOW,
        subject: Some(&subject),
        seen: Some(1),
        authors: Some(&[&author]),
    };
    let values = world.open_at(&again, &place).unwrap();
    assert_eq!(values["password"], b"correct horse");
    assert_eq!(
        (values["username"].as_slice(), values["empty"].as_slice()),
        (b"ada".as_slice(), b"".as_slice())
    );
    let text = object.write().unwrap();
    assert!(!text.contains("correct horse"), "{text}");
    // Stock age opens each value, with the header in front.
    let file = age::open(object.spec.items["password"].data.as_bytes(), &[&world.identity], 1 << 20).unwrap();
    assert!(file.expose().ends_with(b"\n\ncorrect horse"));
    assert_eq!(
        object::plain(&object, &object::open(&object, &Place::offline(NOW), &[&world.identity]).unwrap())
            .data
            .len(),
        3
    );
}

#[test]
fn the_place_must_fit() {
    let world = World::new();
    let object = world.seal(bounds());
    let (other, eve) =
        (Subject::parse("other", "shop").unwrap(), author::generate(&SystemRandom).unwrap().public());
    let offline = Place::offline(NOW);
    let authors = [eve.as_str()];
    let later = |seconds: u64| Timestamp::from_secs(1_800_000_000 + seconds);
    let places = [
        (Place { cluster: Some("test"), ..offline }, "cluster"),
        (Place { phase: Some(Phase::Authority), ..offline }, "phase"),
        (Place { now: Timestamp::from_secs(1_799_999_000), ..offline }, "notBefore"),
        (Place { now: later(1000), ..offline }, "notAfter"),
        (Place { subject: Some(&other), ..offline }, "subjects"),
        (Place { seen: Some(2), ..offline }, "version"),
        (Place { authors: Some(&authors), ..offline }, "author"),
    ];
    for (place, field) in places {
        let refused = world.open_at(&object, &place).unwrap_err().to_string();
        assert!(refused.starts_with(&format!("{field}: ")), "{field}: {refused}");
    }
    // Clocks differ a little; what expired stays expired.
    assert!(world.open_at(&object, &Place { now: Timestamp::from_secs(1_799_999_850), ..offline }).is_ok());
    assert!(world.open_at(&object, &Place { now: later(999), ..offline }).is_ok());
    // Nobody is a subject where nobody is named.
    let nobody = world.seal(Bounds::in_cluster("prod"));
    assert!(world.open_at(&nobody, &Place { subject: Some(&other), ..offline }).is_err());
}

type Change = Box<dyn Fn(&mut SealedSecret)>;

#[test]
fn every_altered_field_is_refused_by_its_name() {
    let world = World::new();
    let changes: &[(&str, Change)] = &[
        ("namespace", Box::new(|o| o.metadata.namespace = Some("thief".to_owned()))),
        ("name", Box::new(|o| o.metadata.name = "other".to_owned())),
        ("clusters", Box::new(|o| o.spec.bounds.clusters.extend(["test".to_owned()]))),
        ("scope", Box::new(|o| o.spec.bounds.scope = Scope::Cluster)),
        ("type", Box::new(|o| o.spec.bounds.kind = "kubernetes.io/tls".to_owned())),
        ("phase", Box::new(|o| o.spec.bounds.phase = Phase::Steady)),
        ("notBefore", Box::new(|o| o.spec.bounds.not_before = None)),
        ("notAfter", Box::new(|o| o.spec.bounds.not_after = None)),
        ("notAfter", Box::new(|o| o.spec.bounds.not_after = Some(at(100_000)))),
        ("subjects", Box::new(|o| o.spec.bounds.subjects.extend([Subject::parse("eve", "shop").unwrap()]))),
        ("namespaceSelector", Box::new(|o| o.spec.bounds.namespace_selector = None)),
        ("namespaceSelector", Box::new(|o| o.spec.bounds.namespace_selector = selector("env"))),
        ("conditions", Box::new(|o| o.spec.bounds.conditions.clear())),
        ("conditions", Box::new(|o| o.spec.bounds.conditions = ["true".to_owned()].into())),
        ("images", Box::new(|o| o.spec.bounds.images.clear())),
        ("images", Box::new(|o| o.spec.bounds.images.extend([digest('c')]))),
        ("signature", Box::new(|o| o.spec.version = 7)),
        ("signature", Box::new(|o| drop(o.spec.items.remove("empty")))),
        ("author", Box::new(|o| o.spec.signature = None)),
        (
            "item key",
            Box::new(|o| {
                let (a, b) = (o.spec.items["password"].clone(), o.spec.items["username"].clone());
                o.spec.items.insert("password".to_owned(), b);
                o.spec.items.insert("username".to_owned(), a);
            }),
        ),
    ];
    for (field, change) in changes {
        let violation = world.refused(change).to_string();
        assert!(violation.starts_with(&format!("{field}: ")), "{field}: {violation}");
    }
}

#[test]
fn values_of_two_objects_and_versions_do_not_mix() {
    let world = World::new();
    let (one, mut two) = (world.seal(bounds()), world.seal(bounds()));
    // The same author, place and key: only the seal tells them apart.
    two.spec.items.get_mut("password").unwrap().data = one.spec.items["password"].data.clone();
    let mixed = world.open(&two).unwrap_err();
    assert!(matches!(mixed, Failure::Violation(Violation::Seal(_))), "{mixed}");
    // An older value in a newer object.
    let mut newer = one.clone();
    object::set(&mut newer, "password", b"new", &world.sealer(), &world.signer, &SystemRandom).unwrap();
    assert_eq!(world.open(&newer).unwrap()["password"], b"new");
    newer.spec.items.insert("password".to_owned(), one.spec.items["password"].clone());
    assert_eq!(world.open(&newer).unwrap_err(), Failure::Violation(Violation::Signature));
    // A thief who is an author too signs somebody else's values into an object of his own.
    let thief = author::generate(&SystemRandom).unwrap();
    let mut stolen = one.clone();
    stolen.metadata.namespace = Some("thief".to_owned());
    object::sign(&mut stolen, &thief).unwrap();
    assert!(object::verify(&stolen, None).is_ok());
    assert!(matches!(world.open(&stolen).unwrap_err(), Failure::Violation(Violation::Namespace { .. })));
}

#[test]
fn wider_scopes_let_objects_move_only_so_far() {
    let world = World::new();
    for (scope, name, namespace) in
        [(Scope::Strict, false, false), (Scope::Namespace, true, false), (Scope::Cluster, true, true)]
    {
        let object = world.seal(Bounds { scope, ..bounds() });
        let mut moved = object.clone();
        moved.metadata.name = "other".to_owned();
        assert_eq!(world.open(&moved).is_ok(), name, "{scope:?}");
        moved.metadata.namespace = Some("other".to_owned());
        assert_eq!(world.open(&moved).is_ok(), namespace, "{scope:?}");
    }
}

#[test]
fn a_value_is_set_without_any_identity() {
    let world = World::new();
    let mut object = world.seal(bounds());
    let before = object.clone();
    let other = author::generate(&SystemRandom).unwrap();
    object::set(&mut object, "token", b"t", &world.sealer(), &other, &SystemRandom).unwrap();
    assert!(object::unset(&mut object, "empty", &world.signer).unwrap());
    assert!(!object::unset(&mut object, "empty", &world.signer).unwrap());
    assert_eq!(object.spec.version, 3);
    let values = world.open(&object).unwrap();
    assert_eq!(values.keys().map(String::as_str).collect::<Vec<_>>(), ["password", "token", "username"]);
    // Both authors made some of it, so both must be taken.
    let (one, two) = (world.signer.public(), other.public());
    assert!(world.open_at(&object, &Place { authors: Some(&[&one, &two]), ..Place::offline(NOW) }).is_ok());
    assert!(world.open_at(&object, &Place { authors: Some(&[&one]), ..Place::offline(NOW) }).is_err());
    let changed = diff::between(Some(&before), Some(&object));
    let fields: Vec<&str> = changed.iter().map(|change| change.field.as_str()).collect();
    assert_eq!(fields, ["version", "item empty", "item token"]);
    assert!(object::set(&mut object, "../x", b"", &world.sealer(), &other, &SystemRandom).is_err());
}

#[test]
fn a_new_sealing_changes_who_opens_and_nothing_else() {
    let (world, other) = (World::new(), World::new());
    let object = world.seal(bounds());
    let fresh =
        object::reseal(&object, None, &[&world.identity], &other.sealer(), None, &SystemRandom).unwrap();
    assert_eq!(fresh.signed(), object.signed());
    assert_eq!(other.open(&fresh).unwrap(), world.open(&object).unwrap());
    assert!(matches!(world.open(&fresh), Err(Failure::Age { why: age::Error::NoMatch, .. })));
    assert_eq!(diff::between(Some(&object), Some(&fresh)).len(), 1);
    // What was altered is not sealed anew either.
    let mut altered = object.clone();
    altered.spec.bounds.not_after = None;
    assert!(
        object::reseal(&altered, None, &[&world.identity], &other.sealer(), None, &SystemRandom).is_err()
    );
}

#[test]
fn bounds_get_narrower_and_never_wider() {
    let world = World::new();
    let object = world.seal(bounds());
    let narrow = |bounds: Bounds| {
        let place = Place::offline(NOW);
        object::narrow(
            &object,
            bounds,
            &place,
            &[&world.identity],
            &world.sealer(),
            &world.signer,
            &SystemRandom,
        )
    };
    let fresh =
        narrow(Bounds { not_after: Some(at(10)), subjects: [].into(), phase: Phase::Git, ..bounds() })
            .unwrap();
    assert!(narrow(Bounds { namespace_selector: selector("env=prod,team"), ..bounds() }).is_ok());
    assert!(narrow(Bounds { images: [digest('b')].into(), ..bounds() }).is_ok());
    let mut more = bounds();
    more.conditions.insert("pod.node != 'edge'".to_owned());
    assert!(narrow(more).is_ok());
    assert_eq!((fresh.spec.version, world.open(&fresh).unwrap().len()), (2, 3));
    let wider = [
        ("clusters", Bounds { clusters: ["prod".to_owned(), "test".to_owned()].into(), ..bounds() }),
        ("scope", Bounds { scope: Scope::Namespace, ..bounds() }),
        ("type", Bounds { kind: "x".to_owned(), ..bounds() }),
        ("phase", Bounds { phase: Phase::Authority, ..bounds() }),
        ("notBefore", Bounds { not_before: None, ..bounds() }),
        ("notBefore", Bounds { not_before: Some(at(-101)), ..bounds() }),
        ("notAfter", Bounds { not_after: None, ..bounds() }),
        ("notAfter", Bounds { not_after: Some(at(1001)), ..bounds() }),
        ("subjects", Bounds { subjects: [Subject::parse("eve", "shop").unwrap()].into(), ..bounds() }),
        ("subjects", Bounds { subjects: [Subject::parse("*", "shop").unwrap()].into(), ..bounds() }),
        ("images", Bounds { images: [].into(), ..bounds() }),
        ("images", Bounds { images: [digest('a'), digest('c')].into(), ..bounds() }),
        ("conditions", Bounds { conditions: [].into(), ..bounds() }),
        ("conditions", Bounds { conditions: ["posture.compliant || true".to_owned()].into(), ..bounds() }),
        ("namespaceSelector", Bounds { namespace_selector: None, ..bounds() }),
        ("namespaceSelector", Bounds { namespace_selector: selector("env in (prod,dev)"), ..bounds() }),
    ];
    for (field, bounds) in wider {
        assert_eq!(narrow(bounds).unwrap_err(), Failure::Wider(field));
    }
}

#[test]
fn k_of_n_groups_act_together_and_are_keyed_anew_when_they_change() {
    let world = World::new();
    let people: Vec<pq::Identity> = (0..4).map(|_| pq::Identity::generate(&SystemRandom)).collect();
    let of = |at: usize| Recipient::PostQuantum(Box::new(people[at].recipient()));
    let groups = vec![
        ("ops".to_owned(), vec![of(0), of(1)]),
        ("security".to_owned(), vec![of(2)]),
        ("board".to_owned(), vec![of(3)]),
    ];
    let audience = Audience::Threshold { required: 2, groups: groups.clone() };
    let sealer = Sealer::new(&audience, Mixing::Refuse, &SystemRandom).unwrap();
    let object = object::seal(&plain("db"), bounds(), 1, &sealer, &world.signer, &SystemRandom).unwrap();
    let object = SealedSecret::read(&object.write().unwrap()).unwrap();
    assert!(audience.is_of(&object.spec));
    let open = |object: &SealedSecret, who: &[usize]| {
        let identities: Vec<&dyn Unwrap> = who.iter().map(|at| &people[*at] as &dyn Unwrap).collect();
        object::open(object, &Place::offline(NOW), &identities).map(drop)
    };
    assert!(
        open(&object, &[0, 2]).is_ok()
            && open(&object, &[1, 3]).is_ok()
            && open(&object, &[0, 1, 2, 3]).is_ok()
    );
    // Two of one group are one group.
    assert_eq!(open(&object, &[0, 1]), Err(Failure::Shares { found: 1, required: 2 }));
    assert_eq!(open(&object, &[]), Err(Failure::Shares { found: 0, required: 2 }));
    // One value is set for the object's own identity, without any share.
    let mut more = object.clone();
    let same = Sealer::same(more.spec.threshold.as_ref(), &audience, Mixing::Refuse, &SystemRandom).unwrap();
    object::set(&mut more, "token", b"t", &same, &world.signer, &SystemRandom).unwrap();
    assert!(open(&more, &[2, 3]).is_ok());
    // The board goes: its share, and every old share, is of an identity that opens nothing any more.
    let fewer = Audience::Threshold { required: 2, groups: groups[..2].to_vec() };
    let sealer = Sealer::new(&fewer, Mixing::Refuse, &SystemRandom).unwrap();
    let identities: [&dyn Unwrap; 2] = [&people[0], &people[3]];
    let unsigned = object::reseal(&object, None, &identities, &sealer, None, &SystemRandom);
    assert!(unsigned.unwrap_err().to_string().contains("--sign-with"));
    let fresh =
        object::reseal(&object, None, &identities, &sealer, Some(&world.signer), &SystemRandom).unwrap();
    assert!(open(&fresh, &[0, 2]).is_ok());
    assert_eq!(open(&fresh, &[0, 3]), Err(Failure::Shares { found: 1, required: 2 }));
    assert_ne!(
        fresh.spec.threshold.as_ref().unwrap().recipient,
        object.spec.threshold.as_ref().unwrap().recipient
    );
    let mut mixed = fresh.clone();
    mixed.spec.threshold.as_mut().unwrap().shares = object.spec.threshold.clone().unwrap().shares;
    assert!(open(&mixed, &[0, 3]).unwrap_err().to_string().contains("mixed"));
    // Who redirects the object to a recipient of his own breaks the signature.
    let mut redirected = object.clone();
    redirected.spec.threshold.as_mut().unwrap().recipient = people[3].recipient().to_string();
    assert_eq!(object::verify(&redirected, None), Err(Failure::Violation(Violation::Signature)));
}

#[test]
fn changes_of_two_branches_come_together_by_item() {
    let world = World::new();
    let base = world.seal(bounds());
    let change = |key: &str, value: &[u8]| {
        let mut object = base.clone();
        object::set(&mut object, key, value, &world.sealer(), &world.signer, &SystemRandom).unwrap();
        object
    };
    let (ours, theirs) = (change("password", b"one"), change("username", b"two"));
    let merged = object::merge(Some(&base), &ours, &theirs, &world.signer).unwrap();
    let values = world.open(&merged).unwrap();
    assert_eq!((values["password"].as_slice(), values["username"].as_slice()), (&b"one"[..], &b"two"[..]));
    assert_eq!(merged.spec.version, 3);
    let conflict = object::merge(Some(&base), &ours, &change("password", b"three"), &world.signer);
    assert_eq!(conflict.unwrap_err(), ["item password"]);
    let mut gone = base.clone();
    object::unset(&mut gone, "empty", &world.signer).unwrap();
    let merged = object::merge(Some(&base), &ours, &gone, &world.signer).unwrap();
    assert_eq!(world.open(&merged).unwrap().len(), 2);
}

#[test]
fn classic_recipients_stand_beside_post_quantum_ones_only_when_somebody_says_so() {
    let world = World::new();
    let classic = Recipient::X25519(x25519::Identity::generate(&SystemRandom).recipient());
    let both = Audience::Each(vec![classic, Recipient::PostQuantum(Box::new(world.identity.recipient()))]);
    let seal = |mixing| {
        let sealer = Sealer::new(&both, mixing, &SystemRandom).unwrap();
        object::seal(&plain("db"), bounds(), 1, &sealer, &world.signer, &SystemRandom)
    };
    assert!(matches!(seal(Mixing::Refuse), Err(Failure::Age { why: age::Error::Mixed(_), .. })));
    assert!(world.open(&seal(Mixing::Allow).unwrap()).is_ok());
}

#[test]
fn large_and_odd_values_come_back_as_they_were() {
    let world = World::new();
    let mut secret = plain("db");
    let large: Vec<u8> = (0..10_000_000u32).map(|at| at as u8).collect();
    secret.data.insert("large".to_owned(), Secret::new(large.clone()));
    secret.data.insert("lines".to_owned(), Secret::new(b"a\n\nb\xff\0\n".to_vec()));
    let object = object::seal(&secret, bounds(), 1, &world.sealer(), &world.signer, &SystemRandom).unwrap();
    let object = SealedSecret::read(&object.write().unwrap()).unwrap();
    let values = world.open(&object).unwrap();
    assert!(values["large"] == large && values["lines"] == b"a\n\nb\xff\0\n");
}

#[test]
fn a_manifest_cut_anywhere_opens_nothing() {
    let world = World::new();
    let text = world.seal(bounds()).write().unwrap();
    let whole = world.open(&SealedSecret::read(&text).unwrap()).unwrap();
    for cut in 0..text.trim_end().len() - 1 {
        if let Ok(object) = SealedSecret::read(&text[..cut]) {
            // Only what loses nothing but white space could still be whole.
            let opened = world.open(&object);
            assert!(opened.is_err(), "cut at {cut}: {:?}", opened.map(|values| values == whole));
        }
    }
}

#[test]
fn the_identity_in_a_file_opens_too() {
    let world = World::new();
    let identity: Identity = world.identity.text().expose().parse().unwrap();
    assert!(object::open(&world.seal(bounds()), &Place::offline(NOW), &[&identity]).is_ok());
}

#[test]
fn a_condition_that_cannot_be_read_is_not_sealed() {
    let world = World::new();
    let sealed = |text: &str| {
        let bounds = Bounds { conditions: [text.to_owned()].into(), ..bounds() };
        object::seal(&plain("db"), bounds, 1, &world.sealer(), &world.signer, &SystemRandom)
    };
    for (text, wanted) in [
        ("posture.compliant &&", "a value is expected at 1:21"),
        (
            "postur.compliant",
            "undeclared reference to 'postur' at 1:1; did you mean posture?; known are request, time",
        ),
        ("true &&\n  has(pod.name", ") is missing at 2:15"),
        ("size(pod.name)", "yields a number"),
        ("", "from 1 to 2048 bytes"),
    ] {
        let why = sealed(text).err().unwrap_or_else(|| panic!("{text}")).to_string();
        assert!(why.contains(wanted), "{text}: {why}");
    }
    // One that somebody wrote without this program is found.
    let mut object = sealed("pod.node == 'a'").unwrap();
    object.spec.bounds.conditions = ["pods.node == 'a'".to_owned()].into();
    let text = object.write().unwrap();
    let found = lint::document(&text, &keyward_intent::Rules::empty(), None, NOW);
    assert!(
        found.iter().any(|finding| finding.rule == "condition" && finding.said.contains("1:1")),
        "{found:?}"
    );
}

#[test]
fn a_rule_says_what_must_be_demanded() {
    let world = World::new();
    let text = format!(
        "apiVersion: keyward.io/v1alpha1\nkind: SealingRules\nrecipients: {{shop: {}}}\nrules:\n- clusters: [prod]\n  \
         recipients: [shop]\n  namespaceSelector: {{matchLabels: {{env: prod}}}}\n  conditions: [posture.compliant]\n  \
         images: ['{}', '{}']\n",
        world.identity.recipient(),
        digest('a'),
        digest('b'),
    );
    let rules = keyward_intent::Rules::read(&text).unwrap();
    for (demanded, wanted) in [("env=prod", true), ("env=prod,team=a", true), ("env", false), ("", false)] {
        let namespace_selector = (!demanded.is_empty()).then(|| demanded.parse().unwrap());
        let object = world.seal(Bounds { namespace_selector, not_after: None, ..bounds() });
        let found = lint::document(&object.write().unwrap(), &rules, rules.rule_for("db.yaml"), NOW);
        let found: Vec<&str> = found.iter().map(|finding| finding.rule).collect();
        assert_eq!(found, if wanted { vec![] } else { vec!["namespace-selector"] }, "{demanded}");
    }
    let images = [digest('c')].into();
    let without = world.seal(Bounds { conditions: [].into(), images, not_after: None, ..bounds() });
    let found = lint::document(&without.write().unwrap(), &rules, rules.rule_for("db.yaml"), NOW);
    let found: Vec<&str> = found.iter().map(|finding| finding.rule).collect();
    assert_eq!(found, ["condition", "images", "namespace-selector"]);
    assert!(keyward_intent::Rules::read(&text.replace("{matchLabels: {env: prod}}", "{}")).is_err());
}

#[test]
fn who_checks_may_have_another_clock_than_who_sealed() {
    let world = World::new();
    let text = format!(
        "apiVersion: keyward.io/v1alpha1\nkind: SealingRules\nrecipients: {{shop: {}}}\nauthors: {{root: {}}}\n\
         rules:\n- clusters: [prod]\n  recipients: [shop]\n  maxLife: 1000s\n",
        world.identity.recipient(),
        world.signer.public()
    );
    let rules = keyward_intent::Rules::read(&text).unwrap();
    let found = |sealed_until: i64| {
        let bounds = Bounds { not_after: Some(at(sealed_until)), not_before: None, ..bounds() };
        let text = world.seal(bounds).write().unwrap();
        let found = lint::document(&text, &rules, rules.rule_for("db.yaml"), NOW);
        found.iter().map(|finding| finding.rule).filter(|rule| *rule != "expires").collect::<Vec<_>>()
    };
    // Sealed for the longest life, on machines that are up to a minute ahead of this one, or behind it.
    assert_eq!([found(1000), found(1060), found(1)], [[]; 3] as [[&str; 0]; 3]);
    assert_eq!([found(1061), found(2000)], [["life"]; 2]);
    assert_eq!([found(0), found(-60)], [["expired"]; 2]);
    // Opening offline is judged by the clock of who opens: a minute at the beginning, nothing at the end.
    let opens = |from: i64, until: i64| {
        let bounds = Bounds { not_before: Some(at(from)), not_after: Some(at(until)), ..bounds() };
        world.open(&world.seal(bounds)).map(drop)
    };
    assert_eq!((opens(60, 100), opens(-9, 1)), (Ok(()), Ok(())));
    assert_eq!(opens(61, 100), Err(Violation::NotBefore(at(61)).into()));
    assert_eq!(opens(-9, 0), Err(Violation::NotAfter(at(0)).into()));
}
