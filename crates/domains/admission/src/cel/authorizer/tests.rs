use crate::{
    Leave, Loaded, Lookup, Operation, Outcome, Policy, Request, RuleKind, Snapshot, Status, Surroundings,
    load,
};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::cell::RefCell;

/// Authorizers that allow what is named `allowed`, fail for `broken`, and are silent about `unasked`.
#[derive(Default)]
struct Authorizers(RefCell<Vec<Value>>);

impl Snapshot for Authorizers {
    fn answer(&self, question: &Lookup) -> Option<Result<Cow<'_, Value>, String>> {
        let Lookup::Access { spec } = question else { return None };
        self.0.borrow_mut().push(spec.clone());
        let resource = &spec["resourceAttributes"];
        let answer = match resource["name"].as_str() {
            Some("unasked") => return None,
            Some("broken") => json!({"allowed": false, "evaluationError": "a webhook is down"}),
            Some("unreachable") => return Some(Err("there was no answer in time".to_owned())),
            name => {
                let allowed = name == Some("allowed") || spec["nonResourceAttributes"]["path"] == "/open";
                json!({"allowed": allowed, "reason": if allowed { "RBAC" } else { "" }})
            }
        };
        Some(Ok(Cow::Owned(answer)))
    }
}

fn policy(expression: &str) -> Result<Policy, String> {
    let policy = json!({"apiVersion": "policies.kyverno.io/v1", "kind": "ValidatingPolicy", "metadata": {"name": "p"},
        "spec": {
            "matchConstraints": {"resourceRules": [
                {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["*"]}]},
            "variables": [{"name": "who", "expression": "authorizer"}],
            "validations": [{"expression": expression, "message": "no"}]}});
    match load(&policy, None) {
        Ok(Loaded::Policy(policy)) => Ok(*policy),
        Ok(other) => Err(format!("{other:?}")),
        Err(refusal) => Err(refusal.to_string()),
    }
}

fn decide(expression: &str, request: &Request, authorizers: &Authorizers) -> Outcome {
    let around = Surroundings {
        snapshot: authorizers,
        exceptions: &[],
        bindings: &[],
        now: 0,
        seed: 1,
        leave: Leave::Full,
    };
    policy(expression).unwrap().decide(RuleKind::Validation, request, &around)
}

/// Somebody asks for the scale of a Deployment, in a version that the API server turns into another.
fn request(name: &str) -> Request {
    Request::of_review(json!({
        "uid": "1", "operation": "UPDATE", "name": name, "namespace": "team",
        "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
        "resource": {"group": "apps", "version": "v1", "resource": "deployments"},
        "requestKind": {"group": "apps", "version": "v1", "kind": "Deployment"},
        "requestResource": {"group": "extensions", "version": "v1beta1", "resource": "deployments"},
        "requestSubResource": "scale",
        "userInfo": {"username": "ann", "uid": "7", "groups": ["ops"], "extra": {"scopes": ["a"]}},
        "object": {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "team"}},
    }))
    .unwrap()
}

/// What is said of an expression, why, and what was asked for it.
fn said(expression: &str, name: &str) -> (Status, String, Vec<Value>) {
    let authorizers = Authorizers::default();
    let outcome = decide(expression, &request(name), &authorizers);
    assert!(outcome.lacks.is_empty(), "{:?}", outcome.lacks);
    let rule = &outcome.rules[0];
    (rule.status, rule.message.to_string(), authorizers.0.take())
}

fn holds(expression: &str, name: &str) -> Vec<Value> {
    let (status, why, asked) = said(expression, name);
    assert_eq!(status, Status::Pass, "{expression}: {why}");
    asked
}

#[test]
fn authorizers_are_asked_about_who_asks() {
    let expression = "authorizer.group('apps').resource('deployments').subresource('scale').namespace('team').name('allowed')\
        .check('update').allowed()";
    let ann = json!({"user": "ann", "uid": "7", "groups": ["ops"], "extra": {"scopes": ["a"]}});
    let asked = |attributes: Value| {
        let mut spec = ann.clone();
        spec["resourceAttributes"] = attributes;
        vec![spec]
    };
    assert_eq!(
        holds(expression, "x"),
        asked(json!({"version": "*", "group": "apps", "resource": "deployments", "subresource": "scale",
            "namespace": "team", "name": "allowed", "verb": "update"}))
    );
    assert_eq!(
        holds("authorizer.requestResource.check('breakglass').reason() == 'RBAC'", "allowed"),
        asked(
            json!({"version": "*", "group": "extensions", "resource": "deployments", "subresource": "scale",
            "namespace": "team", "name": "allowed", "verb": "breakglass"})
        )
    );
    let selected = "!authorizer.group('').resource('pods').fieldSelector('spec.nodeName=a').labelSelector('a in (b)')\
        .check('list').allowed()";
    assert_eq!(
        holds(selected, "x"),
        asked(json!({"version": "*", "group": "", "resource": "pods", "verb": "list",
            "fieldSelector": {"rawSelector": "spec.nodeName=a"}, "labelSelector": {"rawSelector": "a in (b)"}}))
    );
    let mut path = ann.clone();
    path["nonResourceAttributes"] = json!({"path": "/open", "verb": "get"});
    assert_eq!(holds("variables.who.path('/open').check('get').allowed()", "x"), [path]);
}

#[test]
fn authorizers_are_asked_about_service_accounts() {
    let asked = holds("authorizer.serviceAccount('team', 'app').path('/open').check('get').allowed()", "x");
    let app = json!({"user": "system:serviceaccount:team:app",
        "groups": ["system:serviceaccounts", "system:serviceaccounts:team"],
        "nonResourceAttributes": {"path": "/open", "verb": "get"}});
    assert_eq!(asked, [app]);
    // Nobody asks for what is only looked at, but of a ServiceAccount something is known.
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x", "namespace": "team"}});
    let scanned = Request::of_object(object, Operation::Create);
    let decide = |expression: &str| decide(expression, &scanned, &Authorizers::default());
    let outcome = decide("authorizer.serviceAccount('team', 'app').path('/open').check('get').allowed()");
    assert_eq!(outcome.rules[0].status, Status::Pass);
    let outcome = decide("authorizer.path('/open').check('get').allowed()");
    assert_eq!(outcome.rules[0].status, Status::Error);
    assert!(outcome.rules[0].message.contains("who asks is known in a review alone"), "{outcome:?}");
}

#[test]
fn an_authorizer_that_fails_allows_nothing_and_says_so() {
    let decision = "authorizer.requestResource.check('get')";
    holds(&format!("!{decision}.allowed() && !{decision}.errored() && {decision}.error() == ''"), "denied");
    holds(&format!("!{decision}.allowed() && {decision}.errored()"), "broken");
    holds(&format!("{decision}.error() == 'a webhook is down' && {decision}.reason() == ''"), "broken");
    // Where nobody can be asked nothing is decided, and the policy's failurePolicy counts.
    let (status, why, _) = said(&format!("{decision}.allowed()"), "unreachable");
    assert_eq!((status, why.contains("there was no answer in time")), (Status::Error, true), "{why}");
    let authorizers = Authorizers::default();
    let outcome = decide(&format!("{decision}.allowed()"), &request("unasked"), &authorizers);
    assert_eq!(outcome.lacks.len(), 1, "{outcome:?}");
}

#[test]
fn what_makes_no_question_is_refused() {
    for (expression, words) in [
        ("authorizer.path(' ').check('get').allowed()", "path must not be empty"),
        ("authorizer.group('').resource('').check('get').allowed()", "resource must not be empty"),
        (
            "authorizer.serviceAccount('a.b', 'c').path('/').check('get').allowed()",
            "Invalid service account namespace",
        ),
        (
            "authorizer.serviceAccount('a', 'C').path('/').check('get').allowed()",
            "Invalid service account name",
        ),
        ("authorizer.group('').check('get').allowed()", "no such overload"),
        ("authorizer.path('/').namespace('a').check('get').allowed()", "no such overload"),
        ("authorizer.path('/').allowed()", "no such overload"),
        ("authorizer.path(1).check('get').allowed()", "no such overload"),
        ("object.metadata.check('get').allowed()", "no such overload"),
    ] {
        let (status, why, asked) = said(expression, "x");
        assert_eq!(status, Status::Error, "{expression}: {why}");
        assert!(why.contains(words) && asked.is_empty(), "{expression}: {why}");
    }
    let why = policy("authorizer.paht('/').check('get').allowed()").unwrap_err();
    assert!(why.contains("there is no function authorizer.paht at 1:12; did you mean path?"), "{why}");
    let why = policy("authorizer.path('/').check('get').allowed() + 1").unwrap_err();
    assert!(why.contains("a boolean"), "{why}");
}

#[test]
fn questions_are_bounded() {
    let (status, why, asked) = said(
        "lists.range(1000).all(n, authorizer.requestResource.name(string(n)).check('get').reason() == '')",
        "x",
    );
    assert_eq!(status, Status::Error, "{why}");
    assert!(asked.len() <= 100, "{} questions", asked.len());
}
