//! Which rule decides about a path.

use super::*;

type Texts = &'static [&'static str];
/// Patterns, then paths and which of the patterns decides (`-` is none).
type Decisions = (Texts, &'static [(&'static str, &'static str)]);
/// Policies of rules, then a path and what may be done there.
type Merging = (&'static [Texts], &'static str, Texts);

const DECIDING: &[Decisions] = &[
    // Exact paths.
    (&["secret/a"], &[("secret/a", "secret/a"), ("secret/ab", "-"), ("secret/a/", "-"), ("secret", "-")]),
    (&["secret/a/"], &[("secret/a", "-"), ("secret/a/", "secret/a/")]),
    (&["/secret/a"], &[("secret/a", "secret/a"), ("/secret/a", "secret/a"), ("//secret/a", "secret/a")]),
    (&["//secret/a"], &[("secret/a", "-"), ("/secret/a", "-")]),
    (&[""], &[("", ""), ("a", "-")]),
    // An asterisk is a glob only at the end.
    (&["secret/*/a"], &[("secret/b/a", "-"), ("secret/*/a", "secret/*/a")]),
    (&["*/a"], &[("b/a", "-"), ("*/a", "*/a")]),
    (&["secret/**"], &[("secret/a", "-"), ("secret/*a", "secret/**")]),
    // Globs.
    (
        &["secret/*"],
        &[("secret/a", "secret/*"), ("secret/a/b/c", "secret/*"), ("secret/", "secret/*"), ("secret", "-")],
    ),
    (&["secret/zip-*"], &[("secret/zip-zap/zong", "secret/zip-*"), ("secret/zip/zap", "-")]),
    (&["*"], &[("", "*"), ("a", "*"), ("sys/seal", "*")]),
    (&["/*"], &[("a/b", "*")]),
    // One `+` is one segment, also an empty one.
    (
        &["secret/+/team"],
        &[
            ("secret/a/team", "secret/+/team"),
            ("secret//team", "secret/+/team"),
            ("secret/a/b/team", "-"),
            ("secret/team", "-"),
            ("secret/a/team/", "-"),
            ("secret/a/teams", "-"),
        ],
    ),
    (&["secret/+/+/team"], &[("secret/a/b/team", "secret/+/+/team"), ("secret/a/team", "-")]),
    (
        &["secret/+"],
        &[("secret/a", "secret/+"), ("secret/", "secret/+"), ("secret", "-"), ("secret/a/b", "-")],
    ),
    (&["+"], &[("secret", "+"), ("", "+"), ("secret/a", "-"), ("secret/", "-")]),
    (&["+/a"], &[("x/a", "+/a"), ("/a", "-"), ("x/b", "-")]),
    (&["+/+"], &[("x/a", "+/+"), ("x", "-"), ("x/", "+/+")]),
    (&["secret/+/"], &[("secret/a/", "secret/+/"), ("secret/a", "-")]),
    // A `+` beside other characters is itself.
    (&["secret/a+b"], &[("secret/a+b", "secret/a+b"), ("secret/axb", "-")]),
    (&["secret/+b"], &[("secret/+b", "secret/+b"), ("secret/ab", "-")]),
    (&["secret/a+/*"], &[("secret/a+/x", "secret/a+/*"), ("secret/ab/x", "-")]),
    (&["secret/+b*"], &[("secret/+bc/d", "secret/+b*"), ("secret/ab", "-")]),
    // Both.
    (
        &["secret/+/*"],
        &[
            ("secret/a/b", "secret/+/*"),
            ("secret/a/", "secret/+/*"),
            ("secret/a/b/c", "secret/+/*"),
            ("secret/a", "-"),
        ],
    ),
    (
        &["secret/+/ba*"],
        &[
            ("secret/a/ba", "secret/+/ba*"),
            ("secret/a/bar/c", "secret/+/ba*"),
            ("secret/a/ba/c", "secret/+/ba*"),
            ("secret/a/b", "-"),
        ],
    ),
    (&["+/a/*"], &[("x/a/b", "+/a/*"), ("x/a", "-"), ("x/b/a", "-")]),
    // Exact beats everything.
    (&["secret/a", "secret/*", "secret/+", "+/a", "*"], &[("secret/a", "secret/a")]),
    // The longer prefix.
    (
        &["*", "secret/*", "secret/a*", "secret/abc*"],
        &[
            ("secret/abcd", "secret/abc*"),
            ("secret/ab", "secret/a*"),
            ("secret/b", "secret/*"),
            ("sys", "*"),
            ("secret", "*"),
            ("secret/abb", "secret/a*"),
        ],
    ),
    (
        &["a*", "ab*", "abd*", "b*", "abcx*"],
        &[("abc", "ab*"), ("abd", "abd*"), ("ac", "a*"), ("abcy", "ab*"), ("c", "-"), ("b", "b*")],
    ),
    // 1. The first wildcard comes later.
    (&["foo/a*", "foo/+"], &[("foo/ab", "foo/a*"), ("foo/b", "foo/+")]),
    (&["foo/bar/+/baz", "foo/+/bar/baz"], &[("foo/bar/bar/baz", "foo/bar/+/baz")]),
    (&["+/bar", "foo/*"], &[("foo/bar", "foo/*"), ("x/bar", "+/bar")]),
    (&["+/bar/baz", "foo*"], &[("foo/bar/baz", "foo*")]),
    // 2. No asterisk at the end.
    (&["foo/+/bar", "foo/+/ba*"], &[("foo/x/bar", "foo/+/bar"), ("foo/x/bars", "foo/+/ba*")]),
    (&["foo/+", "foo/*"], &[("foo/x", "foo/+"), ("foo/x/y", "foo/*")]),
    (&["+", "*"], &[("foo", "+"), ("foo/x", "*")]),
    // 3. Fewer `+`.
    (
        &["foo/+/+/baz", "foo/+/bar/baz"],
        &[("foo/x/bar/baz", "foo/+/bar/baz"), ("foo/x/y/baz", "foo/+/+/baz")],
    ),
    (&["secret/*", "secret/+/+/foo/*"], &[("secret/a/b/foo/c", "secret/*")]),
    (&["+/+/*", "+/a*"], &[("x/ab/c", "+/a*"), ("x/b/c", "+/+/*")]),
    // 4. The longer.
    (
        &["foo/+/bar/ba*", "foo/+/bar/b*"],
        &[("foo/x/bar/baz", "foo/+/bar/ba*"), ("foo/x/bar/bbb", "foo/+/bar/b*")],
    ),
    (&["+/a*", "+/ab*", "+/*"], &[("x/abc", "+/ab*"), ("x/ac", "+/a*"), ("x/c", "+/*")]),
    // 5. The greater.
    (&["+/b/+", "+/+/c"], &[("x/b/c", "+/b/+")]),
    (&["a/+/b/+", "a/+/+/c"], &[("a/x/b/c", "a/+/b/+")]),
    // The first `+` counts even where it is not a wildcard, as in Vault.
    (&["a+/+/b", "a+/x*"], &[("a+/x/b", "a+/x*"), ("a+/x", "a+/x*"), ("a+/y/b", "a+/+/b")]),
];

#[test]
fn the_most_specific_rule_decides() {
    let mut cases = 0;
    for (patterns, paths) in DECIDING {
        let rules: Vec<String> = patterns.iter().map(|pattern| format!("{pattern} {ALL}")).collect();
        for rotation in 0..rules.len() {
            let mut rules: Vec<&str> = rules.iter().map(String::as_str).collect();
            rules.rotate_left(rotation);
            let acl = acl(&rules);
            for (path, wanted) in *paths {
                let explanation = explain(&acl, &ask(Operation::Read, path));
                let decided = explanation.decided_by.as_ref().map_or("-", |matched| &matched.path);
                assert_eq!(decided, *wanted, "{rules:?} {path:?}");
                assert_eq!(explanation.allowed, *wanted != "-", "{rules:?} {path:?}");
                cases += 1;
            }
        }
    }
    assert!(cases >= 150, "{cases}");
}

#[test]
fn each_operation_needs_its_capability() {
    let operations = ["create", "read", "update", "patch", "delete", "list"];
    for granted in operations.into_iter().chain(["sudo", "scan", "subscribe", "recover", "deny", ""]) {
        let acl = acl(&[&format!("a/b {granted}"), &format!("c/* {granted}"), &format!("d/+ {granted}")]);
        for asked in operations {
            for path in ["a/b", "c/b", "d/b"] {
                let verdict = acl.check(&ask(operation(asked), path));
                assert_eq!(verdict.allowed, asked == granted, "{granted} {asked} {path}");
                assert_eq!(verdict.sudo, granted == "sudo", "{granted} {asked} {path}");
            }
        }
        assert!(may(&acl, Operation::Help, "a/b") && may(&acl, Operation::Help, "nowhere"));
    }
}

#[test]
fn a_rule_without_capabilities_hides_less_specific_ones() {
    let acl = acl(&["secret/* read", "secret/a ", "secret/b/* "]);
    assert!(may(&acl, Operation::Read, "secret/c"));
    assert!(!may(&acl, Operation::Read, "secret/a"));
    assert!(!may(&acl, Operation::Read, "secret/b/c"));
}

#[test]
fn rules_for_the_same_path_are_one() {
    let cases: &[Merging] = &[
        (&[&["a read", "a list"]], "a", &["list", "read"]),
        (&[&["a read"], &["a list"]], "a", &["list", "read"]),
        (&[&["a read"], &["/a list"]], "a", &["list", "read"]),
        (&[&["a/* read"], &["a/* update,sudo"]], "a/b", &["read", "sudo", "update"]),
        (&[&["a/+ read"], &["a/+ update"]], "a/b", &["read", "update"]),
        (&[&["a read"], &["a deny"]], "a", &["deny"]),
        (&[&["a deny"], &["a read"]], "a", &["deny"]),
        (&[&["a read", "a deny", "a list"]], "a", &["deny"]),
        (&[&["a/* read"], &["a/* deny"]], "a/b", &["deny"]),
        (&[&["a/+ read"], &["a/+ deny"]], "a/b", &["deny"]),
        (&[&["a read,deny"]], "a", &["deny"]),
        // Different patterns stay apart, even if they mean the same.
        (&[&["a/* read"], &["a/b* update"]], "a/b", &["update"]),
        (&[&["a/* deny"], &["a/b read"]], "a/b", &["read"]),
        (&[&["a/* read"], &["a/b deny"]], "a/b", &["deny"]),
        (&[&[], &["a read"]], "a", &["read"]),
        (&[], "a", &["deny"]),
        (&[&["a "]], "a", &["deny"]),
    ];
    for (policies, path, wanted) in cases {
        let policies: Vec<_> = policies.iter().map(|rules| brief("p", rules)).collect();
        let acl = Acl::compile(&policies, None);
        assert_eq!(acl.capabilities(path, Timestamp::EPOCH), *wanted, "{path}");
        let reversed: Vec<_> = policies.iter().rev().cloned().collect();
        assert_eq!(Acl::compile(&reversed, None).capabilities(path, Timestamp::EPOCH), *wanted, "{path}");
    }
}

#[test]
fn root_is_everything_and_stands_alone() {
    let root = Acl::compile(&[Arc::new(Policy::root())], None);
    for acl in [&root, &Acl::root()] {
        assert!(acl.is_root() && acl.reaches("sys/", Timestamp::EPOCH));
        assert_eq!(acl.capabilities("sys/seal", Timestamp::EPOCH), ["root"]);
        let verdict = acl.check(&ask(Operation::Delete, "sys/seal"));
        assert!(verdict.allowed && verdict.sudo && verdict.reason == Reason::Root);
        assert_eq!(verdict.granting_policies().collect::<Vec<_>>(), ["root"]);
    }
    let both = Acl::compile(&[Arc::new(Policy::root()), brief("p", &["a read"])], None);
    assert!(!both.is_root() && may(&both, Operation::Read, "a") && !may(&both, Operation::Read, "b"));
    assert!(!Acl::compile(&[], None).is_root());
    for name in ["root", "Root", " ROOT "] {
        assert!(Policy::parse(name, "").is_err(), "{name}");
    }
}

#[test]
fn audit_learns_which_policies_granted() {
    let policies = [
        brief("one", &["a read,list", "a read"]),
        brief("two", &["a update"]),
        brief("Three", &["a read"]),
        brief("four", &["* read"]),
    ];
    let acl = Acl::compile(&policies, None);
    let granting = |operation, path: &str| -> Vec<String> {
        acl.check(&ask(operation, path)).granting_policies().map(str::to_owned).collect()
    };
    assert_eq!(granting(Operation::Read, "a"), ["one", "three"]);
    assert_eq!(granting(Operation::Update, "a"), ["two"]);
    assert_eq!(granting(Operation::Read, "b"), ["four"]);
    assert_eq!(granting(Operation::Delete, "a"), Vec::<String>::new());
    assert_eq!(granting(Operation::Help, "a"), Vec::<String>::new());
    assert_eq!(granting(Operation::Read, "a"), ["one", "three"]);
}

#[test]
fn explanations_name_the_rule_and_what_else_matches() {
    let policies = [
        policy(
            "one",
            "path \"secret/*\" { capabilities = [\"read\"] }\n\npath \"secret/a\" {\n  capabilities = [\"list\"]\n}\n",
        ),
        policy("two", "path \"secret/+\" { capabilities = [\"deny\"] }"),
    ];
    let acl = Acl::compile(&policies, None);
    let explanation = explain(&acl, &ask(Operation::Read, "secret/b"));
    assert_eq!(
        explanation.to_string(),
        "denied: the rule denies\n  decided by \"secret/+\" [deny], policy two line 1 [deny]\n  also matches \
         \"secret/*\" [read], policy one line 1 [read]"
    );
    let explanation = explain(&acl, &ask(Operation::Read, "secret/a"));
    assert_eq!(explanation.reason, "the rule does not grant read");
    let rule = explanation.decided_by.expect("the exact rule").rules.remove(0);
    assert_eq!((rule.policy.as_str(), rule.line), ("one", 3));
    assert_eq!(explanation.others.len(), 2);
    assert_eq!(explain(&acl, &ask(Operation::Read, "x")).to_string(), "denied: no rule matches the path");
    assert_eq!(explain(&acl, &ask(Operation::Help, "x")).to_string(), "allowed: help needs no capability");
    assert!(explain(&Acl::root(), &ask(Operation::Read, "x")).decided_by.is_none());
    assert!(serde_json::to_value(explain(&acl, &ask(Operation::Read, "x"))).is_ok());
}

#[test]
fn a_mount_is_shown_if_anything_below_it_is_granted() {
    let cases: &[(&str, &str, bool)] = &[
        ("secret/ read", "secret/", true),
        ("secret list", "secret/", true),
        ("secret/a/b read", "secret/", true),
        ("secret/a* read", "secret/", true),
        ("secret/* read", "secret/", true),
        ("sec* read", "secret/", true),
        ("* read", "secret/", true),
        ("+/a read", "secret/", true),
        ("+/+/a read", "secret/", true),
        ("+/a/* read", "secret/", true),
        ("secret/+/a read", "secret/", true),
        ("team/+/kv/a read", "team/x/kv/", true),
        ("team/+/other read", "team/x/kv/", false),
        ("team/+ read", "team/x/kv/", false),
        ("other/+ read", "secret/", false),
        ("secrets/a read", "secret/", false),
        ("secre read", "secret/", false),
        ("secret/a deny", "secret/", false),
        ("secret/* deny", "secret/", false),
        ("+/a deny", "secret/", false),
        ("secret/a ", "secret/", false),
    ];
    for (rule, folder, wanted) in cases {
        assert_eq!(acl(&[rule]).reaches(folder, Timestamp::EPOCH), *wanted, "{rule} {folder}");
    }
}

#[test]
fn the_built_in_policies_grant_what_they_should() {
    let subject = Subject { entity_id: "e1".into(), entity_name: "ann".into(), ..Subject::default() };
    let acl = Acl::compile(&[policy("default", DEFAULT_POLICY)], Some(&subject));
    let granted = [
        ("read", "auth/token/lookup-self"),
        ("update", "auth/token/renew-self"),
        ("update", "auth/token/revoke-self"),
        ("update", "sys/capabilities-self"),
        ("read", "identity/entity/id/e1"),
        ("read", "identity/entity/name/ann"),
        ("read", "sys/internal/ui/resultant-acl"),
        ("update", "sys/renew"),
        ("update", "sys/leases/renew"),
        ("update", "sys/leases/lookup"),
        ("create", "cubbyhole/a/b"),
        ("list", "cubbyhole/"),
        ("delete", "cubbyhole/a"),
        ("update", "sys/wrapping/wrap"),
        ("update", "sys/wrapping/lookup"),
        ("update", "sys/wrapping/unwrap"),
        ("update", "sys/tools/hash"),
        ("update", "sys/tools/hash/sha2-256"),
        ("update", "sys/control-group/request"),
        ("read", "identity/oidc/provider/p/authorize"),
        ("update", "identity/oidc/provider/p/authorize"),
    ];
    for (name, path) in granted {
        let verdict = acl.check(&ask(operation(name), path));
        assert!(verdict.allowed && !verdict.sudo, "{name} {path}");
    }
    let refused = [
        ("update", "auth/token/lookup-self"),
        ("read", "identity/entity/id/e2"),
        ("read", "identity/entity/name/bob"),
        ("read", "secret/data/a"),
        ("update", "auth/token/create"),
        ("update", "sys/tools/random"),
        ("read", "sys/policies/acl/default"),
        ("update", "sys/seal"),
        ("patch", "cubbyhole/a"),
    ];
    for (name, path) in refused {
        assert!(!may(&acl, operation(name), path), "{name} {path}");
    }
    let wrapping = of_text(RESPONSE_WRAPPING_POLICY);
    assert!(may(&wrapping, Operation::Read, "cubbyhole/response"));
    assert!(may(&wrapping, Operation::Update, "sys/wrapping/unwrap"));
    assert!(!may(&wrapping, Operation::Update, "cubbyhole/response"));
    assert!(!may(&wrapping, Operation::Update, "sys/wrapping/rewrap"));
    for (name, immutable, assignable) in [
        ("root", true, true),
        ("default", false, true),
        ("response-wrapping", true, false),
        ("control-group", true, false),
        ("mine", false, true),
    ] {
        assert_eq!((is_immutable(name), is_assignable(name)), (immutable, assignable), "{name}");
    }
}

#[test]
fn names_are_kept_in_one_form() {
    assert_eq!(sanitize([" Dev ", "ops", "dev", "", "OPS"]), ["dev", "ops"]);
    assert_eq!(sanitize(["dev", "Root", "ops"]), ["root"]);
    assert_eq!(sanitize(Vec::<String>::new()), Vec::<String>::new());
    assert_eq!(policy("Dev ", "").name(), "dev");
}
