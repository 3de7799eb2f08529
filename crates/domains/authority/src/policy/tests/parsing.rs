//! From text to rules, and what is refused.

use super::*;

#[test]
fn hcl_and_json_read_alike() {
    let cases: &[(&str, &str, &[&str])] = &[
        (r#"path "a" { capabilities = ["read"] }"#, "a", &["read"]),
        (r#"path "a" { capabilities = ["read", "list",] }"#, "a", &["list", "read"]),
        ("path \"a\" {\n  # a comment\n  capabilities = [\n \"read\"\n ] // so\n}", "a", &["read"]),
        (r#"path "a" { capabilities = [] }"#, "a", &["deny"]),
        (r#"path "a" { }"#, "a", &["deny"]),
        (r#"path a { capabilities = ["read"] }"#, "a", &["read"]),
        (r#"path = { "a" = { capabilities = ["read"] } }"#, "a", &["read"]),
        (r#"path { "a" { capabilities = ["read"] } "b" { capabilities = ["list"] } }"#, "b", &["list"]),
        (r#"{"path": {"a": {"capabilities": ["read"]}}}"#, "a", &["read"]),
        (r#"{"path": {"a": {"capabilities": ["read"]}, "b": {"capabilities": ["list"]}}}"#, "b", &["list"]),
        (
            r#"{"path": [{"a": {"capabilities": ["read"]}}, {"b": {"capabilities": ["list"]}}]}"#,
            "b",
            &["list"],
        ),
        (r#"{"path": {"a": [{"capabilities": ["read"]}]}}"#, "a", &["read"]),
        (r#"{"path": {"a": {"policy": "read"}}}"#, "a", &["list", "read"]),
        (r#"{"name": "x", "path": {}}"#, "a", &["deny"]),
        (r#"name = "x" path "a" { policy = "deny" }"#, "a", &["deny"]),
        (r#"path "a" { policy = "read" }"#, "a", &["list", "read"]),
        (r#"path "a" { policy = "write" }"#, "a", &["create", "delete", "list", "read", "update"]),
        (r#"path "a" { policy = "sudo" }"#, "a", &["create", "delete", "list", "read", "sudo", "update"]),
        (r#"path "a" { policy = "read" capabilities = ["sudo"] }"#, "a", &["list", "read", "sudo"]),
        (r#"path "a" { policy = "deny" capabilities = ["sudo"] }"#, "a", &["deny"]),
        (r#"path "a" { policy = "" capabilities = ["sudo"] }"#, "a", &["sudo"]),
        (
            r#"path "a" { capabilities = ["create", "read", "update", "patch", "delete", "list", "scan", "sudo", "subscribe", "recover"] }"#,
            "a",
            &["create", "delete", "list", "patch", "read", "recover", "scan", "subscribe", "sudo", "update"],
        ),
        (r#"path "a" { capabilities = ["read"] comment = "why" }"#, "a", &["read"]),
        ("", "a", &["deny"]),
        ("# nothing\n", "a", &["deny"]),
        ("{}", "a", &["deny"]),
    ];
    for (text, path, wanted) in cases {
        assert_eq!(of_text(text).capabilities(path, Timestamp::EPOCH), *wanted, "{text}");
    }
}

type Refusals = &'static [(&'static str, &'static str)];

/// Texts, and what is told of them.
const WRONG_KEYS: Refusals = &[
    (
        "path \"a\" {\n  capabilites = [\"read\"]\n}",
        "path \"a\": invalid key \"capabilites\" on line 2: did you mean \"capabilities\"?",
    ),
    ("path \"a\" {\n  allowed_parameter = {}\n}", "did you mean \"allowed_parameters\"?"),
    ("path \"a\" { colour = 1 }", "invalid key \"colour\" on line 1: the keys are comment, policy"),
    ("\npaths \"a\" { }", "invalid key \"paths\" on line 2: did you mean \"path\"?"),
    ("Path \"a\" { }", "invalid key \"Path\" on line 1: did you mean \"path\"?"),
    ("rules = 3", "invalid key \"rules\" on line 1: the keys are path, name"),
    (
        "path \"a\" { capabilities = [\"raed\"] }",
        "path \"a\": invalid capability \"raed\" on line 1: did you mean \"read\"?",
    ),
    ("path \"a\" { capabilities = [\"READ\"] }", "invalid capability \"READ\""),
    ("path \"a\" { capabilities = [\"write\"] }", "the capabilities are create, delete"),
    ("path \"a\" { capabilities = [\"deny\", \"raed\"] }", "invalid capability \"raed\""),
    (
        "path \"a\" { capabilities = \"read\" }",
        "expected a list, found a string on line 1: put it in brackets",
    ),
    ("path \"a\" { capabilities = [[\"read\"]] }", "expected a text, found a list"),
    ("path \"a\" { policy = \"admin\" }", "path \"a\": invalid policy \"admin\""),
    ("path \"a\" { policy = [\"read\"] }", "expected a text, found a list"),
    ("path \"a\" \"b\" { }", "`path` takes 1 label, and has 2"),
    ("path \"a\" = 3", ""),
    ("path = 3", "`path` is a number, not a block"),
    ("name \"a\" { }", "\"name\" is not a text"),
];

const WRONG_PATHS: Refusals = &[
    ("path \"a/+*\" { }", "path \"a/+*\": invalid use of wildcards ('+*' is forbidden)"),
    ("path \"a/+*b\" { }", "'+*' is forbidden"),
    (
        "path \"a/{{identity.entity.id}\" { }",
        "failed to validate policy templating: unbalanced templating characters",
    ),
    ("path \"a/identity.entity.id}}\" { }", "unbalanced templating characters"),
    ("path \"a/{{identity.entity.id}}}}\" { }", "unbalanced templating characters"),
    ("path \"a/{{{{identity.entity.id}}\" { }", "unbalanced templating characters"),
    (
        "path \"a/{{identity.entity.nam}}\" { }",
        "there is no template \"identity.entity.nam\" on line 1: use identity",
    ),
    ("path \"a/{{}}\" { }", "there is no template \"\""),
    ("path \"a/{{identity.entity.metadata}}\" { }", "there is no template"),
    ("path \"a/{{identity.entity.metadata.}}\" { }", "there is no template"),
    ("path \"a/{{identity.entity.custom_metadata.x}}\" { }", "there is no template"),
    ("path \"a/{{identity.entity.aliases.x}}\" { }", "there is no template"),
    ("path \"a/{{identity.groups.x.y.id}}\" { }", "there is no template"),
    ("path \"a/{{time.now}}\" { }", "there is no template"),
];

const WRONG_VALUES: Refusals = &[
    ("path \"a\" {\n policy = \"read\"\n policy = \"write\"\n}", "\"policy\" is written twice on line 3"),
    ("path \"a\" { allowed_parameters = [\"x\"] }", "expected an object of lists, found a list"),
    ("path \"a\" { allowed_parameters = { \"x\" = \"y\" } }", "the values of \"x\" are a string"),
    (
        "path \"a\" { denied_parameters = { \"x\" = [\"*\"] } }",
        "the value \"*\" matches only an asterisk on line 1: write []",
    ),
    ("path \"a\" { denied_parameters = { \"*\" = [\"x\"] } }", "the parameter \"*\" has values"),
    ("path \"a\" { denied_parameters = { \"x\" = [], \"X\" = [] } }", "the parameter \"X\" is written twice"),
    ("path \"a\" { denied_parameters = { \"x\" = [{}] } }", "a parameter's value is an object"),
    ("path \"a\" { required_parameters = \"x\" }", "expected a list"),
    ("path \"a\" { min_wrapping_ttl = \"soon\" }", "\"soon\" is not a duration"),
    ("path \"a\" { max_wrapping_ttl = -3 }", "\"-3\" is not a duration"),
    (
        "path \"a\" { min_wrapping_ttl = 60 max_wrapping_ttl = 30 }",
        "max_wrapping_ttl cannot be less than min_wrapping_ttl",
    ),
    ("path \"a\" { pagination_limit = -1 }", "pagination_limit is not a number of keys"),
    ("path \"a\" { expiration = \"tomorrow\" }", "invalid expiration time \"tomorrow\""),
    (
        "path \"a\" { list_scan_response_keys_filter_path = \"{{ .key }}\" }",
        "list_scan_response_keys_filter_path needs to be used on a path with the list capability",
    ),
    (
        "path \"a\" { capabilities = [\"list\"] list_scan_response_keys_filter_path = \"{{ .path }}\" }",
        "does not contain {{ .key }}",
    ),
    (
        "path \"a\" { capabilities = [\"list\"] list_scan_response_keys_filter_path = \"{{ .key | lower }}\" }",
        "has no template \".key | lower\"",
    ),
    (
        "path \"a\" { capabilities = [\"list\"] list_scan_response_keys_filter_path = \"{{ .key\" }",
        "unbalanced templating characters in the filter path",
    ),
    ("path \"a\" { mfa_methods = [\"x\"] }", "\"mfa_methods\" is not supported"),
    ("path \"a\" { control_group = { } }", "\"control_group\" is not supported"),
    ("path \"a\" { subscribe_event_types = [\"*\"] }", "\"subscribe_event_types\" is not supported"),
    ("path \"a\" { capabilities = [\"read\"]", ""),
    ("path \"a\" {{", ""),
    ("{\"path\": ", ""),
];

#[test]
fn what_is_wrong_is_told_with_its_line_and_a_remedy() {
    for (text, wanted) in [WRONG_KEYS, WRONG_PATHS, WRONG_VALUES].concat() {
        let why = Policy::parse("p", text).err().unwrap_or_else(|| panic!("parsed: {text}"));
        let told = why.to_string();
        assert!(told.starts_with("failed to parse policy: "), "{told}");
        assert!(told.contains(wanted), "{text}\n{told}\n{wanted}");
        assert!(
            why.problems.iter().all(|problem| problem.at.line >= 1 && !problem.remedy.is_empty()),
            "{told}"
        );
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = "path \"a\" {\n  capabilites = []\n  policy = \"x\"\n}\nrule \"b\" { }\npath \"c/+*\" { }\n";
    let why = Policy::parse("p", text).expect_err("four mistakes");
    let mut lines: Vec<u32> = why.problems.iter().map(|problem| problem.at.line).collect();
    lines.sort_unstable();
    assert_eq!(lines, [2, 3, 5, 6]);
    let many = "path \"a/+*\" { }\n".repeat(500);
    assert_eq!(Policy::parse("p", &many).map_or_else(|why| why.problems.len(), |_| 0), 20);
}

#[test]
fn a_key_of_any_length_is_refused_quickly() {
    let text = format!("path \"a\" {{ {} = 1 }}", "x".repeat(500_000));
    assert!(Policy::parse("p", &text).is_err());
}
