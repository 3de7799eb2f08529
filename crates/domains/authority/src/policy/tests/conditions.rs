//! Parameters, wrapping and expiration.

use super::*;
use std::time::Duration;

fn rule(conditions: &str) -> String {
    format!(
        "path \"p\" {{ capabilities = [\"create\", \"read\", \"update\", \"patch\", \"delete\", \"list\"]\n{conditions} }}\n"
    )
}

fn unmet(acl: &Acl, operation: Operation, body: &Value) -> Option<Unmet> {
    let body = Body::of(body.clone());
    let verdict = acl.check(&Ask { parameters: Some(&body), ..ask(operation, "p") });
    match verdict.reason {
        Reason::Granted => None,
        Reason::Condition(unmet) => Some(unmet),
        other => panic!("{other:?}"),
    }
}

fn passes(conditions: &str, body: &Value) -> bool {
    unmet(&of_text(&rule(conditions)), Operation::Update, body).is_none()
}

#[test]
fn parameters_are_allowed_denied_and_required() {
    let cases = [
        ("", json!({"a": 1}), true),
        // Allowed.
        (r#"allowed_parameters = { "a" = [] }"#, json!({"a": "x"}), true),
        (r#"allowed_parameters = { "a" = [] }"#, json!({"a": {"b": 1}}), true),
        (r#"allowed_parameters = { "a" = [] }"#, json!({"a": null}), true),
        (r#"allowed_parameters = { "a" = [] }"#, json!({}), true),
        (r#"allowed_parameters = { "a" = [] }"#, json!({"b": "x"}), false),
        (r#"allowed_parameters = { "a" = [] }"#, json!({"a": "x", "b": "x"}), false),
        (r#"allowed_parameters = { "A" = [] }"#, json!({"a": "x"}), true),
        (r#"allowed_parameters = { "a" = [] }"#, json!({"A": "x"}), true),
        (r#"allowed_parameters = { "a" = ["x", "y"] }"#, json!({"a": "y"}), true),
        (r#"allowed_parameters = { "a" = ["x", "y"] }"#, json!({"a": "z"}), false),
        (r#"allowed_parameters = { "a" = ["x"] }"#, json!({"a": null}), false),
        (r#"allowed_parameters = { "a" = ["x"] }"#, json!({"a": {"x": 1}}), false),
        (r#"allowed_parameters = { "a" = ["x"], "*" = [] }"#, json!({"a": "x", "b": "z"}), true),
        (r#"allowed_parameters = { "a" = ["x"], "*" = [] }"#, json!({"a": "y"}), false),
        (r#"allowed_parameters = { "*" = [] }"#, json!({"a": "y"}), true),
        (r#"allowed_parameters = {}"#, json!({"a": "y"}), true),
        (r#"allowed_parameters { "a" = ["x"] }"#, json!({"a": "y"}), false),
        // Denied.
        (r#"denied_parameters = { "a" = [] }"#, json!({"a": "x"}), false),
        (r#"denied_parameters = { "a" = [] }"#, json!({"A": null}), false),
        (r#"denied_parameters = { "a" = [] }"#, json!({"b": "x"}), true),
        (r#"denied_parameters = { "a" = ["x"] }"#, json!({"a": "x"}), false),
        (r#"denied_parameters = { "a" = ["x"] }"#, json!({"a": "y"}), true),
        (r#"denied_parameters = { "*" = [] }"#, json!({"a": "y"}), false),
        (r#"denied_parameters = { "*" = [] }"#, json!({}), true),
        // Denied comes before allowed.
        (
            r#"denied_parameters = { "a" = ["x"] } allowed_parameters = { "a" = [] }"#,
            json!({"a": "x"}),
            false,
        ),
        (r#"denied_parameters = { "a" = ["x"] } allowed_parameters = { "a" = [] }"#, json!({"a": "y"}), true),
        (
            r#"denied_parameters = { "a" = ["x"] } allowed_parameters = { "a" = [] }"#,
            json!({"b": "y"}),
            false,
        ),
        (r#"denied_parameters = { "*" = [] } allowed_parameters = { "a" = [] }"#, json!({"a": "y"}), false),
        // Required.
        (r#"required_parameters = ["a"]"#, json!({"a": null}), true),
        (r#"required_parameters = ["A"]"#, json!({"a": 1}), true),
        (r#"required_parameters = ["a"]"#, json!({"A": 1}), false),
        (r#"required_parameters = ["a", "b"]"#, json!({"a": 1}), false),
        (r#"required_parameters = ["a", "b"]"#, json!({"a": 1, "b": 2, "c": 3}), true),
        (r#"required_parameters = ["a"]"#, json!({}), false),
        (r#"required_parameters = []"#, json!({}), true),
        // Globs.
        (r#"allowed_parameters = { "a" = ["foo*"] }"#, json!({"a": "foo"}), true),
        (r#"allowed_parameters = { "a" = ["foo*"] }"#, json!({"a": "foobar"}), true),
        (r#"allowed_parameters = { "a" = ["foo*"] }"#, json!({"a": "xfoo"}), false),
        (r#"allowed_parameters = { "a" = ["*foo"] }"#, json!({"a": "xfoo"}), true),
        (r#"allowed_parameters = { "a" = ["*foo"] }"#, json!({"a": "foox"}), false),
        (r#"allowed_parameters = { "a" = ["*foo*"] }"#, json!({"a": "xfoox"}), true),
        (r#"allowed_parameters = { "a" = ["*foo*"] }"#, json!({"a": "fo"}), false),
        (r#"allowed_parameters = { "a" = ["f*o"] }"#, json!({"a": "foo"}), false),
        (r#"allowed_parameters = { "a" = ["f*o"] }"#, json!({"a": "f*o"}), true),
        (r#"allowed_parameters = { "a" = ["**"] }"#, json!({"a": "anything"}), true),
        (r#"denied_parameters = { "a" = ["foo*"] }"#, json!({"a": "foobar"}), false),
    ];
    for (conditions, body, wanted) in cases {
        assert_eq!(passes(conditions, &body), wanted, "{conditions} {body}");
    }
}

#[test]
fn lists_and_types_leave_no_way_around() {
    let cases = [
        // Lists are compared element by element.
        (r#"allowed_parameters = { "a" = ["x", "y"] }"#, json!({"a": ["y", "x"]}), true),
        (r#"allowed_parameters = { "a" = ["x", "y"] }"#, json!({"a": ["x", "z"]}), false),
        (r#"allowed_parameters = { "a" = ["x", "y"] }"#, json!({"a": "x,y"}), true),
        (r#"allowed_parameters = { "a" = ["x", "y"] }"#, json!({"a": "x, y"}), true),
        (r#"allowed_parameters = { "a" = ["x", "y"] }"#, json!({"a": "x,z"}), false),
        (r#"allowed_parameters = { "a" = ["x,z"] }"#, json!({"a": "x,z"}), true),
        (r#"allowed_parameters = { "a" = ["x"] }"#, json!({"a": []}), false),
        (r#"allowed_parameters = { "a" = [["x", "y"]] }"#, json!({"a": ["x", "y"]}), true),
        (r#"allowed_parameters = { "a" = [["x", "y"]] }"#, json!({"a": ["y", "x"]}), false),
        (r#"allowed_parameters = { "a" = [["x", "y"]] }"#, json!({"a": ["x"]}), false),
        (r#"denied_parameters = { "a" = ["x"] }"#, json!({"a": ["y", "x"]}), false),
        (r#"denied_parameters = { "a" = ["x"] }"#, json!({"a": "y, x"}), false),
        (r#"denied_parameters = { "a" = ["x"] }"#, json!({"a": ["y"]}), true),
        (r#"denied_parameters = { "a" = ["x"] }"#, json!({"a": []}), true),
        // A glob does not span a comma.
        (r#"allowed_parameters = { "a" = ["dev-*"] }"#, json!({"a": "dev-x,root"}), false),
        (r#"allowed_parameters = { "a" = ["dev-*"] }"#, json!({"a": "dev-x,dev-y"}), true),
        (
            r#"allowed_parameters = { "a" = ["*.example.com"] }"#,
            json!({"a": "evil.com,a.example.com"}),
            false,
        ),
        // Types are weak.
        (r#"allowed_parameters = { "a" = [5] }"#, json!({"a": 5}), true),
        (r#"allowed_parameters = { "a" = [5] }"#, json!({"a": "5"}), true),
        (r#"allowed_parameters = { "a" = ["5"] }"#, json!({"a": 5}), true),
        (r#"allowed_parameters = { "a" = [5] }"#, json!({"a": 6}), false),
        (r#"allowed_parameters = { "a" = [1.5] }"#, json!({"a": 1.50}), true),
        (r#"denied_parameters = { "a" = [true] }"#, json!({"a": true}), false),
        (r#"denied_parameters = { "a" = [true] }"#, json!({"a": "true"}), false),
        (r#"denied_parameters = { "a" = [true] }"#, json!({"a": "T"}), false),
        (r#"denied_parameters = { "a" = [true] }"#, json!({"a": 1}), false),
        (r#"denied_parameters = { "a" = ["true"] }"#, json!({"a": true}), false),
        (r#"denied_parameters = { "a" = [1] }"#, json!({"a": true}), false),
        (r#"denied_parameters = { "a" = [true] }"#, json!({"a": false}), true),
        (r#"denied_parameters = { "a" = [false] }"#, json!({"a": 0}), false),
        // Names of policies are compared as they are kept.
        (r#"denied_parameters = { "policies" = ["root"] }"#, json!({"policies": " ROOT"}), false),
        (r#"denied_parameters = { "policies" = ["root"] }"#, json!({"policies": ["dev", " Root "]}), false),
        (
            r#"denied_parameters = { "token_policies" = ["root"] }"#,
            json!({"token_policies": "dev,Root"}),
            false,
        ),
        (r#"allowed_parameters = { "Policies" = ["dev"] }"#, json!({"policies": ["Dev"]}), true),
        (r#"denied_parameters = { "name" = ["root"] }"#, json!({"name": "ROOT"}), true),
    ];
    for (conditions, body, wanted) in cases {
        assert_eq!(passes(conditions, &body), wanted, "{conditions} {body}");
    }
}

#[test]
fn parameters_matter_to_reads_and_writes_alone() {
    let acl = of_text(&rule(r#"required_parameters = ["a"] denied_parameters = { "b" = [] }"#));
    for name in ["create", "read", "update", "patch"] {
        assert_eq!(unmet(&acl, operation(name), &json!({})), Some(Unmet::Required("a".into())), "{name}");
        let both = json!({"a": 1, "b": 1});
        assert_eq!(unmet(&acl, operation(name), &both), Some(Unmet::Denied("b".into())), "{name}");
        assert_eq!(unmet(&acl, operation(name), &json!({"a": 1})), None, "{name}");
    }
    for name in ["delete", "list"] {
        assert_eq!(unmet(&acl, operation(name), &json!({"b": 1})), None, "{name}");
    }
    assert!(!may(&acl, Operation::Update, "p"), "no parameters at all");
}

#[test]
fn conditions_of_one_path_are_merged() {
    let cases = [
        // Values are united.
        (
            r#"allowed_parameters = { "a" = ["x"] }"#,
            r#"allowed_parameters = { "a" = ["y"] }"#,
            json!({"a": "y"}),
            true,
        ),
        (
            r#"allowed_parameters = { "a" = ["x"] }"#,
            r#"allowed_parameters = { "b" = [] }"#,
            json!({"a": "x", "b": 1}),
            true,
        ),
        // Any value wins.
        (
            r#"allowed_parameters = { "a" = ["x"] }"#,
            r#"allowed_parameters = { "a" = [] }"#,
            json!({"a": "z"}),
            true,
        ),
        (
            r#"denied_parameters = { "a" = ["x"] }"#,
            r#"denied_parameters = { "a" = [] }"#,
            json!({"a": "z"}),
            false,
        ),
        (
            r#"denied_parameters = { "a" = ["x"] }"#,
            r#"denied_parameters = { "b" = ["y"] }"#,
            json!({"b": "y"}),
            false,
        ),
        // A rule without conditions does not lift those of another.
        ("", r#"allowed_parameters = { "a" = [] }"#, json!({"b": 1}), false),
        ("", r#"denied_parameters = { "a" = [] }"#, json!({"a": 1}), false),
        ("", r#"required_parameters = ["a"]"#, json!({}), false),
        (r#"required_parameters = ["a"]"#, r#"required_parameters = ["b"]"#, json!({"a": 1}), false),
        (
            r#"required_parameters = ["a"]"#,
            r#"required_parameters = ["b", "a"]"#,
            json!({"a": 1, "b": 1}),
            true,
        ),
        // Denied in one, allowed in the other.
        (
            r#"denied_parameters = { "a" = ["x"] }"#,
            r#"allowed_parameters = { "a" = ["x"] }"#,
            json!({"a": "x"}),
            false,
        ),
    ];
    for (one, other, body, wanted) in cases {
        for (one, other) in [(one, other), (other, one)] {
            let same_policy = of_text(&format!("{}{}", rule(one), rule(other)));
            let two = Acl::compile(&[policy("p", &rule(one)), policy("q", &rule(other))], None);
            for acl in [same_policy, two] {
                assert_eq!(unmet(&acl, Operation::Update, &body).is_none(), wanted, "{one} {other} {body}");
            }
        }
    }
}

#[test]
fn answers_must_be_wrapped_within_bounds() {
    let cases: &[(&str, &[(u64, bool)])] = &[
        ("min_wrapping_ttl = \"1m\"", &[(0, false), (59, false), (60, true), (9999, true)]),
        ("max_wrapping_ttl = 90", &[(0, false), (1, true), (90, true), (91, false)]),
        (
            "min_wrapping_ttl = \"10\" max_wrapping_ttl = \"20s\"",
            &[(9, false), (10, true), (20, true), (21, false)],
        ),
        ("min_wrapping_ttl = 0 max_wrapping_ttl = \"\"", &[(0, true), (5, true)]),
    ];
    let check = |acl: &Acl, operation, seconds: u64| {
        let wrap_ttl = (seconds > 0).then(|| Duration::from_secs(seconds));
        acl.check(&Ask { wrap_ttl, ..ask(operation, "p") }).allowed
    };
    for (conditions, asks) in cases {
        let acl = of_text(&rule(conditions));
        for (seconds, wanted) in *asks {
            for name in ["read", "update", "delete", "list"] {
                assert_eq!(check(&acl, operation(name), *seconds), *wanted, "{conditions} {seconds} {name}");
            }
        }
    }
    // The lesser of each remains, which may leave nothing between them.
    let merged = of_text(&format!(
        "{}{}",
        rule("min_wrapping_ttl = 30 max_wrapping_ttl = 100"),
        rule("min_wrapping_ttl = 40 max_wrapping_ttl = 60")
    ));
    assert!(check(&merged, Operation::Read, 30) && check(&merged, Operation::Read, 60));
    assert!(!check(&merged, Operation::Read, 29) && !check(&merged, Operation::Read, 61));
    let nothing = of_text(&format!("{}{}", rule("min_wrapping_ttl = 50"), rule("max_wrapping_ttl = 40")));
    assert!([0, 39, 40, 45, 50, 51].iter().all(|seconds| !check(&nothing, Operation::Read, *seconds)));
}

#[test]
fn rules_expire() {
    let acl = of_text(
        r#"path "a" { capabilities = ["read"] }
           path "a" { capabilities = ["update"] expiration = "1970-01-01T00:01:40Z" }
           path "a" { capabilities = ["deny"] expiration = 50 }
           path "b/*" { capabilities = ["read"] }
           path "b/c*" { capabilities = ["update"] expiration = "100" }
           path "d/" { capabilities = ["list"] expiration = 100 comment = "until then" }"#,
    );
    let at = |path: &str, seconds: u64| acl.capabilities(path, Timestamp::from_secs(seconds)).join(",");
    for (path, seconds, wanted) in [
        ("a", 0, "deny"),
        ("a", 50, "deny"),
        ("a", 51, "read,update"),
        ("a", 100, "read,update"),
        ("a", 101, "read"),
        ("b/c", 100, "update"),
        ("b/c", 101, "read"),
        ("d/", 100, "list"),
        ("d/", 101, "deny"),
    ] {
        assert_eq!(at(path, seconds), wanted, "{path} {seconds}");
    }
    assert!(acl.reaches("d/", Timestamp::from_secs(100)) && !acl.reaches("d/", Timestamp::from_secs(101)));
    let later = Ask { now: Timestamp::from_secs(101), ..ask(Operation::Read, "b/c") };
    assert_eq!(explain(&acl, &later).decided_by.map(|matched| matched.path).as_deref(), Some("b/*"));
    assert!(explain(&acl, &later).others.is_empty());
}
