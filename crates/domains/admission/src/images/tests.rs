use crate::{
    Leave, Loaded, Lookup, Operation, Outcome, Policy, Request, RuleKind, Snapshot, Status, Surroundings,
    load,
};
use keyward_signatures::{PublicKeySource, Trust};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Answers by what a key is named.
#[derive(Default)]
struct Registry(BTreeMap<&'static str, Result<Value, String>>);

impl Snapshot for Registry {
    fn answer(&self, question: &Lookup) -> Option<Result<Cow<'_, Value>, String>> {
        let (Lookup::Signatures { attestor, .. } | Lookup::Attestations { attestor, .. }) = question else {
            return None;
        };
        let Trust::Key { key: PublicKeySource::Pem(name), .. } = &attestor.trust else { return None };
        let found = self.0.get(name.as_str())?;
        Some(found.as_ref().map(Cow::Borrowed).map_err(Clone::clone))
    }
}

fn signed(digest: &str) -> Result<Value, String> {
    Ok(json!({ "digest": digest }))
}

fn denied() -> Result<Value, String> {
    Ok(json!({"digest": "sha256:1", "denied": "no signatures found"}))
}

fn registry() -> Registry {
    Registry(BTreeMap::from([
        ("a", signed("sha256:1")),
        ("b", signed("sha256:1")),
        ("moved", signed("sha256:2")),
        ("no", denied()),
        ("down", Err("it does not answer".to_owned())),
    ]))
}

fn compiled(entry: Value) -> Result<Policy, String> {
    let mut whole = json!({"imageReferences": ["*"]});
    whole.as_object_mut().unwrap().extend(entry.as_object().unwrap().clone());
    let policy = json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"},
        "spec": {"rules": [{"name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
            "verifyImages": [whole]}]}});
    match load(&policy, None) {
        Ok(Loaded::Policy(policy)) => Ok(*policy),
        other => Err(format!("{other:?}")),
    }
}

fn keys(names: &[&str]) -> Value {
    names.iter().map(|name| json!({"keys": {"publicKeys": name}})).collect()
}

fn pod(image: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "namespace": "n"},
        "spec": {"containers": [{"name": "c", "image": image}]}})
}

fn decide(policy: &Policy, request: &Request, snapshot: &dyn Snapshot) -> Outcome {
    let around =
        Surroundings { snapshot, exceptions: &[], bindings: &[], now: 0, seed: 1, leave: Leave::Full };
    policy.decide(RuleKind::ImageVerification, request, &around)
}

fn said(entry: Value, image: &str) -> (Status, String) {
    let policy = compiled(entry).unwrap();
    let outcome = decide(&policy, &Request::of_object(pod(image), Operation::Create), &registry());
    (outcome.rules[0].status, outcome.rules[0].message.to_string())
}

#[test]
fn as_many_must_have_signed_as_a_set_says() {
    let set = |count: Option<u64>, names: &[&str]| {
        let mut set = json!({"entries": keys(names)});
        if let Some(count) = count {
            set["count"] = json!(count);
        }
        said(json!({"attestors": [set]}), "x:1").0
    };
    assert_eq!(set(None, &["a", "b"]), Status::Pass);
    assert_eq!(set(None, &["a", "no"]), Status::Fail);
    assert_eq!(set(Some(1), &["no", "a"]), Status::Pass);
    assert_eq!(set(Some(2), &["no", "a", "no"]), Status::Fail);
    // What is not known counts only where it matters.
    assert_eq!(set(Some(1), &["down", "a"]), Status::Pass);
    assert_eq!(set(None, &["down", "no"]), Status::Error);
    let nested =
        json!({"attestors": [{"entries": [{"attestor": {"count": 1, "entries": keys(&["no", "b"])}}]}]});
    assert_eq!(said(nested, "x:1").0, Status::Pass);
    let two = json!({"attestors": [{"entries": keys(&["a"])}, {"entries": keys(&["no"])}]});
    let (status, why) = said(two, "x:1");
    assert_eq!(status, Status::Fail);
    assert_eq!(
        why,
        "failed to verify image docker.io/x:1: .attestors[1].entries[0].keys: no signatures found"
    );
    let split = json!({"attestors": [{"entries": keys(&["a", "moved"])}]});
    assert!(said(split, "x:1").1.contains("its tag was moved"));
}

#[test]
fn what_is_lacking_is_asked_for_at_once() {
    let policy = compiled(json!({"attestors": [{"entries": keys(&["x", "y"])}]})).unwrap();
    let mut object = pod("x:1");
    object["spec"]["initContainers"] = json!([{"name": "i", "image": "y:1"}]);
    let outcome = decide(&policy, &Request::of_object(object, Operation::Create), &Registry::default());
    assert_eq!(outcome.lacks.len(), 4, "{:?}", outcome.lacks);
}

#[test]
fn digests_are_put_in_and_noted() {
    let entry = |more: Value| {
        let mut entry = json!({"attestors": [{"entries": keys(&["a"])}]});
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        entry
    };
    let policy = compiled(entry(json!({}))).unwrap();
    let changed =
        decide(&policy, &Request::of_object(pod("x:1"), Operation::Create), &registry()).patched.unwrap();
    assert_eq!(changed["spec"]["containers"][0]["image"], "docker.io/x:1@sha256:1");
    assert_eq!(
        changed["metadata"]["annotations"]["kyverno.io/verify-images"],
        r#"{"docker.io/x:1@sha256:1":"pass"}"#
    );
    let kept = entry(json!({"mutateDigest": false}));
    assert_eq!(said(kept, "x:1"), (Status::Fail, "missing digest for docker.io/x:1".to_owned()));
    assert_eq!(said(entry(json!({"mutateDigest": false, "verifyDigest": false})), "x:1").0, Status::Pass);
    assert_eq!(said(entry(json!({"skipImageReferences": ["x:*"]})), "x:1").0, Status::Skip);
}

#[test]
fn what_stood_there_before_is_not_verified_again() {
    let policy = compiled(json!({"attestors": [{"entries": keys(&["no"])}]})).unwrap();
    let update = |before: Value, after: Value| {
        let review = json!({"operation": "UPDATE", "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"}, "namespace": "n", "name": "x",
            "userInfo": {}, "object": after, "oldObject": before});
        let outcome = decide(&policy, &Request::of_review(review).unwrap(), &registry());
        (outcome.rules[0].status, outcome.rules[0].message.to_string())
    };
    assert_eq!(update(pod("x:1"), pod("x:1")).0, Status::Pass);
    assert_eq!(update(pod("x:1"), pod("x:2")).0, Status::Fail);
    let noted = |verdict: &str| {
        let mut pod = pod("x:1");
        pod["metadata"]["annotations"] =
            json!({"kyverno.io/verify-images": json!({"x": verdict}).to_string()});
        pod
    };
    let (status, why) = update(noted("fail"), noted("pass"));
    assert_eq!(
        (status, why.as_str()),
        (Status::Fail, "kyverno.io/verify-images annotation cannot be changed")
    );
    // Nothing is believed because it is noted.
    let made = Request::of_object(noted("pass"), Operation::Create);
    assert_eq!(decide(&policy, &made, &registry()).rules[0].status, Status::Fail);
}

#[test]
fn every_statement_of_a_kind_must_fit() {
    let policy = compiled(json!({"attestations": [{"type": "scan", "attestors": [{"entries": keys(&["k"])}],
        "conditions": [{"all": [{"key": "{{ found }}", "operator": "LessThan", "value": 3}]}]}]}))
    .unwrap();
    let found = |statements: Value| {
        let known = Ok(json!({"digest": "sha256:1", "statements": statements}));
        let registry = Registry(BTreeMap::from([("k", known)]));
        let outcome = decide(&policy, &Request::of_object(pod("x:1"), Operation::Create), &registry);
        outcome.rules[0].status
    };
    let scan = |found: u64| json!({"predicateType": "scan", "predicate": {"found": found}});
    assert_eq!(found(json!([scan(1)])), Status::Pass);
    assert_eq!(found(json!([scan(1), scan(5)])), Status::Fail);
    assert_eq!(found(json!([{"predicateType": "other", "predicate": {"found": 1}}])), Status::Fail);
    assert_eq!(found(json!([{"predicateType": "scan", "predicate": 7}])), Status::Error);
}

#[test]
fn what_cannot_be_verified_is_refused_when_it_is_read() {
    for (entry, why) in [
        (json!({"type": "Notary"}), "Notary"),
        (json!({"type": "Cosgin"}), "Cosign"),
        (json!({"attestors": [{"count": 2, "entries": keys(&["a"])}]}), "count"),
        (json!({"attestors": [{"entries": []}]}), "entry"),
        (json!({"attestors": [{"entries": [{"keys": {"kms": "awskms:///x"}}]}]}), "KMS"),
        (json!({"attestors": [{"entries": [{"keys": {"publicKeys": "k8s://nowhere"}}]}]}), "k8s://"),
        (json!({"attestors": [{"entries": [{"keys": {"publicKeys": "a"}, "keyless": {}}]}]}), "one of"),
        (json!({"attestations": [{"type": "scan"}]}), "anybody"),
        (json!({"attestations": [{"attestors": [{"entries": keys(&["a"])}]}]}), "type"),
    ] {
        let refused = compiled(entry).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
}

#[test]
fn variables_name_keys() {
    let policy = json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"},
        "spec": {"rules": [{"name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
            "context": [{"name": "team", "variable": {"value": "a"}}],
            "verifyImages": [{"imageReferences": ["*"],
                "attestors": [{"entries": [{"keys": {"publicKeys": "{{ team }}"}}]}]}]}]}});
    let Ok(Loaded::Policy(policy)) = load(&policy, None) else { panic!("not read") };
    let outcome = decide(&policy, &Request::of_object(pod("x:1"), Operation::Create), &registry());
    assert_eq!(outcome.rules[0].status, Status::Pass, "{}", outcome.rules[0].message);
}
