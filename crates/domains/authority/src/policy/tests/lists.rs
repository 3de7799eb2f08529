//! Lists, whose path is looked up with and without its slash.

use super::*;

#[test]
fn a_list_is_granted_and_denied_in_both_forms() {
    let cases: &[(&[&str], &str, bool)] = &[
        // Exact.
        (&["foo list"], "foo/", true),
        (&["foo/ list"], "foo/", true),
        (&["foo list"], "foo", true),
        (&["foo/ list"], "foo", false),
        (&["foo/ read", "foo list"], "foo/", false),
        (&["foo/ list", "foo deny"], "foo/", true),
        (&["foo/ deny", "foo list"], "foo/", false),
        (&["foo deny", "foo/* list"], "foo/", false),
        (&["foo list", "foo/* deny"], "foo/", true),
        (&["foo list", "foo* deny"], "foo/", true),
        (&["foo read", "* list"], "foo/", false),
        // Globs.
        (&["foo/* list"], "foo/", true),
        (&["foo/* list"], "foo/bar/", true),
        (&["foo* list"], "foo/", true),
        (&["foo/bar* list"], "foo/", false),
        (&["* list"], "", true),
        // Segments without the slash (VAULT-3825).
        (&["+/policies/acl list"], "sys/policies/acl/", true),
        (&["+/policies/acl/ list"], "sys/policies/acl/", true),
        (&["+ list"], "foo/", true),
        (&["foo/+ list"], "foo/bar/", true),
        (&["foo/+ list"], "foo/", true),
        (&["foo/+/ list"], "foo/bar/", true),
        (&["foo/+ list"], "foo/bar/baz/", false),
        // A denial below a broader grant (GHSA-xp3c-3jw3-4vcr).
        (&["foo/metadata/* list", "foo/metadata/private/* deny"], "foo/metadata/private/", false),
        (&["foo/metadata/* list", "foo/metadata/private/* deny"], "foo/metadata/", true),
        (&["foo/metadata/* list", "foo/metadata/private/* deny"], "foo/metadata/public/", true),
        (&["foo/metadata/* list", "foo/metadata/private* deny"], "foo/metadata/private/", false),
        (&["foo/+ list", "foo/bar/* deny"], "foo/bar/", false),
        (&["foo/+ list", "foo/+/ deny"], "foo/bar/", false),
        (&["foo/* list", "foo/+/ deny"], "foo/bar/", false),
        (&["foo/* deny", "foo/bar/* list"], "foo/bar/", true),
        (&["foo/* deny", "foo/+ list"], "foo/bar/", true),
        (&["* list", "foo/+ deny"], "foo/bar/", false),
        // The more specific form says nothing about lists: the other may grant.
        (&["secret/* list", "secret/a/* read"], "secret/a/", true),
        (&["secret/* read", "secret/a/* list"], "secret/a/", true),
        (&["secret/* read", "secret/a/* read"], "secret/a/", false),
        (&["secret/+ read", "secret/* list"], "secret/a/", true),
        // But not against a denial that is more specific than the grant.
        (&["secret/* list", "secret/a/* read", "secret/+/ deny"], "secret/a/", false),
        (&["secret/* deny", "secret/a/* read"], "secret/a/", false),
        (&["* deny", "secret/* list", "secret/a/* read"], "secret/a/", true),
        // And never what is less specific in the same form.
        (&["secret/* list", "secret/a* read"], "secret/a/", false),
        (&["* list", "secret/* read"], "secret/a/b/", false),
    ];
    for (rules, path, wanted) in cases {
        assert_eq!(may(&acl(rules), Operation::List, path), *wanted, "{rules:?} {path}");
        let reversed: Vec<&str> = rules.iter().rev().copied().collect();
        assert_eq!(may(&acl(&reversed), Operation::List, path), *wanted, "{reversed:?} {path}");
    }
}

#[test]
fn only_lists_have_two_forms() {
    let acl = acl(&["foo read,list,update", "a/+ read,list"]);
    for path in ["foo/", "a/b/"] {
        assert!(may(&acl, Operation::List, path));
        assert!(!may(&acl, Operation::Read, path) && !may(&acl, Operation::Update, path));
        assert_ne!(acl.capabilities(path, Timestamp::EPOCH), ["deny"], "{path}");
    }
}

#[test]
fn capabilities_of_a_folder_are_those_of_the_rule_that_decides_a_list() {
    for (rules, wanted) in [
        (["secret/a/* read", "secret/* list,update"], "list,update"),
        (["secret/a/* read", "secret/* update"], "read"),
        (["secret/a/* read", "secret/* deny"], "read"),
        (["secret/a/* deny", "secret/* list"], "deny"),
    ] {
        assert_eq!(acl(&rules).capabilities("secret/a/", Timestamp::EPOCH).join(","), wanted, "{rules:?}");
    }
}

#[test]
fn pages_are_limited() {
    let text = |more: &str| {
        format!("path \"a/*\" {{ capabilities = [\"list\", \"read\"]\n pagination_limit = 10\n {more} }}")
    };
    let check = |acl: &Acl, operation, body: Value| {
        let body = Body::of(body);
        let verdict = acl.check(&Ask { parameters: Some(&body), ..ask(operation, "a/") });
        (verdict.allowed, verdict.page())
    };
    let limited = of_text(&text(""));
    for (body, allowed) in [
        (json!({}), true),
        (json!({"limit": "10"}), true),
        (json!({"limit": 10}), true),
        (json!({"limit": "max"}), true),
        (json!({"limit": 0}), true),
        (json!({"limit": 11}), false),
        (json!({"limit": "11"}), false),
        (json!({"limit": "all"}), false),
        (json!({"limit": -1}), false),
        (json!({"limit": 1.5}), false),
        (json!({"limit": null}), false),
    ] {
        let page = allowed.then_some(10);
        assert_eq!(check(&limited, Operation::List, body.clone()), (allowed, page), "{body}");
    }
    assert_eq!(check(&limited, Operation::Read, json!({"limit": 11})), (true, None));
    let required = of_text(&text("required_parameters = [\"Limit\"]"));
    assert_eq!(check(&required, Operation::List, json!({})), (false, None));
    assert_eq!(check(&required, Operation::List, json!({"limit": 5})), (true, Some(10)));
    let merged = of_text(&format!("{}\npath \"a/*\" {{ pagination_limit = 3 }}", text("")));
    assert_eq!(check(&merged, Operation::List, json!({"limit": 5})), (false, None));
    assert_eq!(check(&merged, Operation::List, json!({"limit": 2})), (true, Some(3)));
    assert_eq!(acl(&["a/* list"]).check(&ask(Operation::List, "a/")).page(), None);
}

#[test]
fn keys_are_filtered_by_what_their_paths_allow() {
    let acl = of_text(
        r#"path "secret/metadata/*" {
             capabilities = ["list"]
             list_scan_response_keys_filter_path = "{{ .path }}{{ .key }}"
           }
           path "pki/certs/" {
             capabilities = ["list"]
             list_scan_response_keys_filter_path = "pki/cert/{{.key}}"
           }
           path "secret/metadata/mine" { capabilities = ["read"] }
           path "secret/metadata/hidden/*" { capabilities = ["deny"] }
           path "pki/cert/+" { capabilities = ["read"] }
           path "pki/cert/b" { capabilities = ["deny"] }"#,
    );
    let shown = |path: &str, key: &str| {
        let verdict = acl.check(&ask(Operation::List, path));
        assert!(verdict.allowed);
        acl.shows(verdict.filter().expect("a filter"), key, &ask(Operation::List, path)).allowed
    };
    assert!(shown("secret/metadata/", "mine") && shown("secret/metadata/", "folder/"));
    assert!(!shown("secret/metadata/", "theirs") && !shown("secret/metadata/", "hidden/"));
    assert!(shown("pki/certs/", "a") && !shown("pki/certs/", "b"));
    assert!(acl.check(&ask(Operation::Read, "secret/metadata/mine")).filter().is_none());
}
