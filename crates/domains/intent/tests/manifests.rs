//! Manifests as people and programs write them, and as they must not be.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use keyward_intent::{SealedSecret, ZenLock, yaml};
use proptest::prelude::*;

const SEALED: &str = "\
apiVersion: keyward.io/v1alpha1
kind: SealedSecret
metadata:
  name: db
  namespace: shop
spec:
  bounds:
    clusters: [prod]
    phase: steady
  version: 1
  recipients: [0123456789abcdef]
  items:
    password:
      version: 1
      seal: c2VhbA
      data: |
        -----BEGIN AGE ENCRYPTED FILE-----
        YWdl
        -----END AGE ENCRYPTED FILE-----
";

const ZENLOCK: &str = "\
apiVersion: security.kube-zen.io/v1alpha1
kind: ZenLock
metadata:
  name: jira
  namespace: zen
spec:
  algorithm: age
  allowedSubjects:
    - kind: ServiceAccount
      name: foreman
      namespace: zen
  encryptedData:
    TOKEN: YWdl
";

#[test]
fn manifests_are_written_as_they_are_read() {
    let sealed = SealedSecret::read(SEALED).unwrap();
    let text = sealed.write().unwrap();
    assert_eq!(SealedSecret::read(&text).unwrap(), sealed);
    assert!(text.contains("|\n") && text.contains("-----BEGIN AGE ENCRYPTED FILE-----\n"), "{text}");
    let lock = ZenLock::read(ZENLOCK).unwrap();
    assert_eq!(ZenLock::read(&lock.write().unwrap()).unwrap(), lock);
    assert!(SealedSecret::is(&yaml::kind(SEALED)) && ZenLock::is(&yaml::kind(ZENLOCK)));
}

#[test]
fn what_two_readers_could_understand_differently_is_refused() {
    for (from, to, wanted) in [
        ("  name: db\n", "  name: db\n  name: other\n", "uplicate"),
        ("phase: steady\n", "phase: steady\n    phase: git\n", "uplicate"),
        ("clusters: [prod]", "clusters: &a [prod]", "anchors"),
        ("name: db\n", "name: &n db\n  x: *n\n", "anchors"),
        ("phase: steady", "phase: always", "always"),
        // What a later program binds an object to is not passed over by this one.
        ("phase: steady", "phase: steady\n    nodeSelector: {}", "nodeSelector"),
        (
            "phase: steady",
            "phase: steady\n    namespaceSelector: {}",
            "namespaceSelector: it selects everything",
        ),
        ("phase: steady", "phase: steady\n    namespaceSelector: {matchLabel: {a: b}}", "matchLabel"),
        (
            "phase: steady",
            "phase: steady\n    namespaceSelector: {matchLabels: {a: b c}}",
            "no label's value",
        ),
        (
            "phase: steady",
            "phase: steady\n    subjects: [{kind: ServiceAccount, namespace: shop, name: '*'}]",
            "anybody",
        ),
        (
            "phase: steady",
            "phase: steady\n    subjects: [{kind: ServiceAccount, namespace: '*', name: web}]",
            "anybody",
        ),
        ("version: 1\n  rec", "version: 1\n  secret: x\n  rec", "secret"),
        ("name: db", "name: DB", "metadata.name"),
        ("namespace: shop", "namespace: ../x", "metadata.namespace"),
        ("clusters: [prod]", "clusters: []", "cluster"),
        ("password:", "\"../x\":", "key"),
        ("      version: 1\n", "      version: 2\n", "later"),
        ("  recipients: [0123456789abcdef]\n", "", "recipients"),
        ("kind: SealedSecret", "kind: Secret", "SealedSecret"),
        ("keyward.io/v1alpha1", "keyward.io/v2", "v1alpha1"),
    ] {
        let text = SEALED.replacen(from, to, 1);
        assert_ne!(text, SEALED, "{from}");
        let refused = SealedSecret::read(&text).unwrap_err().to_string();
        assert!(refused.contains(wanted), "{to}: {refused}");
    }
    // What more can be demanded of who asks.
    for (bounds, wanted) in [
        ("images: [app:latest]".to_owned(), "named by its digest"),
        ("images: [sha256:abc]".to_owned(), "named by its digest"),
        (format!("images: [app@sha256:{}]", "0".repeat(64)), "without the names"),
        ("conditions: ['']".to_owned(), "from 1 to 2048"),
        (format!("conditions: ['{}']", "a".repeat(2049)), "from 1 to 2048"),
        (
            format!("conditions: [{}]", (0..17).map(|at| at.to_string()).collect::<Vec<_>>().join(", ")),
            "more than 16",
        ),
    ] {
        let text = SEALED.replacen("phase: steady", &format!("phase: steady\n    {bounds}"), 1);
        let refused = SealedSecret::read(&text).unwrap_err().to_string();
        assert!(refused.contains(wanted), "{bounds}: {refused}");
    }
    assert!(yaml::text(b"a: \xff").unwrap_err().0.contains("byte 3"));
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(yaml::read::<Vec<u8>>(&deep).is_err());
    for change in [
        ("algorithm: age", "algorithm: rsa"),
        ("kind: ServiceAccount", "kind: User"),
        ("    TOKEN: YWdl\n", "    {}\n"),
    ] {
        assert!(ZenLock::read(&ZENLOCK.replacen(change.0, change.1, 1)).is_err(), "{}", change.1);
    }
}

/// What was sealed before there were these bounds is signed in the same bytes still.
#[test]
fn what_is_not_bound_is_not_written() {
    let signed = SealedSecret::read(SEALED).unwrap().signed();
    let wanted = "keyward.io/sealed-secret/v1\n{\"namespace\":\"shop\",\"name\":\"db\",\"bounds\":{\"clusters\":[\"prod\"],\
        \"scope\":\"strict\",\"type\":\"Opaque\",\"phase\":\"steady\"},\"version\":1,\"items\":{\"password\":[1,\"c2VhbA\"]},\"author\":null}";
    assert_eq!(String::from_utf8(signed).unwrap(), wanted);
}

#[test]
fn json_is_read_as_strictly() {
    let sealed = SealedSecret::read(SEALED).unwrap();
    let lock = ZenLock::read(ZENLOCK).unwrap();
    let text = serde_json::to_string(&sealed).unwrap();
    assert_eq!(SealedSecret::read(&text).unwrap(), sealed);
    assert_eq!(SealedSecret::read(&serde_json::to_string_pretty(&sealed).unwrap()).unwrap(), sealed);
    assert_eq!(ZenLock::read(&serde_json::to_string(&lock).unwrap()).unwrap(), lock);
    // Also what a cluster adds, and what is in maps whose keys may be any.
    let head = r#"{"kind":"SealedSecret","apiVersion":"keyward.io/v1alpha1","metadata":{"name":"db","namespace":"shop""#;
    let spec = text.find(r#""spec":"#).map(|at| &text[at..]).unwrap();
    let with = |more: &str| format!("{head}{more}}},{spec}");
    assert_eq!(SealedSecret::read(&with("")).unwrap().spec, sealed.spec);
    for (text, wanted) in [
        (with(r#","name":"other""#), "uplicate"),
        (with(r#","labels":{"a":"1","a":"2"}"#), "uplicate"),
        (with(r#","managedFields":[{"x":1,"x":2}]"#), "uplicate"),
        (with(r#","annotations":{"a":"1","\u0061":"2"}"#), "uplicate"),
        (text.replacen(r#""version":1"#, r#""version":1,"version":2"#, 1), "uplicate"),
        (text.replacen(r#""version":1"#, r#""secret":"hunter2","version":1"#, 1), "secret"),
        (text.replacen(r#""version":1"#, r#""version":{"a":"hunter2"}"#, 1), ""),
        (text.replacen(r#""clusters":["#, r#""clusters":["hunter2",{},"#, 1), ""),
        (format!("{text} hunter2"), ""),
        (format!("{text}{text}"), ""),
        (text[..text.len() - 1].to_owned(), ""),
        (with(&format!(r#","x":{}1{}"#, "[".repeat(100), "]".repeat(100))), ""),
        (with(&format!(r#","x":{}1{}"#, "[".repeat(100_000), "]".repeat(100_000))), ""),
    ] {
        let refused = SealedSecret::read(&text).unwrap_err().to_string();
        assert!(refused.contains(wanted) && !refused.contains("hunter2"), "{refused}");
    }
}

#[test]
fn documents_are_divided_as_they_stand() {
    let text = "# head\na: 1\n---\nb: |\n  ---\n  x\n--- # c\nc: 1\n";
    let parts = yaml::documents(text);
    assert_eq!(parts.concat(), text);
    assert_eq!(parts, ["# head\na: 1\n", "---\nb: |\n  ---\n  x\n", "--- # c\nc: 1\n"]);
    assert_eq!(yaml::documents("---\na: 1\n"), ["---\na: 1\n"]);
    assert_eq!(yaml::kind("---\nkind: K\napiVersion: v\n").kind, "K");
}

proptest! {
    #[test]
    fn reading_never_panics(text in ".{0,200}", cut in 0..SEALED.len()) {
        let _ = (SealedSecret::read(&text), ZenLock::read(&text), yaml::kind(&text));
        let _ = SealedSecret::read(&format!("{}{text}", &SEALED[..cut]));
        let _ = SealedSecret::read(&format!("{{{text}}}"));
        prop_assert_eq!(yaml::documents(&text).concat(), text);
    }
}

#[test]
fn a_subject_stands_for_every_account_of_its_name_or_for_one() {
    use keyward_intent::{Bounds, Subject, Wider};
    let subject = |text: &str| Subject::parse(text, "shop").unwrap();
    let (any, one, other) = (subject("web"), subject("shop/web@u1"), subject("web@u2"));
    let bounds = |subjects: &[&Subject]| Bounds {
        subjects: subjects.iter().map(|it| (*it).clone()).collect(),
        ..Bounds::in_cluster("prod")
    };
    assert!(bounds(&[&any]).allow(&one) && bounds(&[&one]).allow(&one));
    assert!(!bounds(&[&one]).allow(&other) && !bounds(&[&one]).allow(&any) && !bounds(&[]).allow(&one));
    assert_eq!(bounds(&[&one]).within(&bounds(&[&any])), Ok(()));
    assert_eq!(bounds(&[&any]).within(&bounds(&[&one])), Err(Wider("subjects")));
    // Any account is meant where a selector says of which namespaces.
    let selector = Some("env=prod".parse().unwrap());
    for (text, wanted) in [("*", true), ("*/web", true), ("*/*", true), ("*/api", false), ("zen/*", false)] {
        let any = Bounds { namespace_selector: selector.clone(), ..bounds(&[&subject(text)]) };
        assert_eq!(any.allow(&one), wanted, "{text}");
        assert_eq!((any.check().is_ok(), bounds(&[&subject(text)]).check().is_ok()), (true, false), "{text}");
        assert!(bounds(&[&one]).within(&any).is_err(), "{text}: without the selector");
        assert_eq!(
            Bounds { subjects: [one.clone()].into(), ..any.clone() }.within(&any).is_ok(),
            wanted,
            "{text}"
        );
    }
    // Images say who of a namespace is meant, and not of which namespaces.
    let images = std::collections::BTreeSet::from([format!("sha256:{}", "a".repeat(64))]);
    for (text, wanted) in [("*", true), ("*/web", false)] {
        let runs = Bounds { images: images.clone(), ..bounds(&[&subject(text)]) };
        assert_eq!(runs.check().is_ok(), wanted, "{text}");
    }
    for bad in ["web@", "@u1", "*@u1", "*/web@u1", "we*", "*x/web", &format!("web@{}", "u".repeat(64))] {
        assert!(Subject::parse(bad, "shop").is_err(), "{bad}");
    }
}
