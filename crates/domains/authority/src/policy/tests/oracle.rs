//! The answers of Vault's own ACL, recorded by `tests/go/acl-oracle` from Vault 1.14.0.

use super::*;
use std::time::Duration;

const RECORDED: &str = include_str!("vault-1.14.jsonl");

#[test]
fn vault_answers_the_same() {
    let (mut paths, mut conditions) = (0, 0);
    for line in RECORDED.lines() {
        let case: Value = serde_json::from_str(line).expect("a recorded case");
        if case.get("answers").is_some() {
            paths += check_paths(&case);
        } else {
            check_conditions(&case);
            conditions += 1;
        }
    }
    assert!(paths > 2000 && conditions == 300, "{paths} {conditions}");
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().expect("a list").iter().map(|one| one.as_str().expect("a text")).collect()
}

fn check_paths(case: &Value) -> usize {
    let policies: Vec<_> = case["policies"]
        .as_array()
        .expect("policies")
        .iter()
        .map(|rules| brief("p", &texts(rules)))
        .collect();
    let acl = Acl::compile(&policies, None);
    let answers = case["answers"].as_object().expect("answers");
    for (path, wanted) in answers {
        assert_eq!(acl.capabilities(path, Timestamp::EPOCH), texts(wanted), "{path} {}", case["policies"]);
    }
    answers.len()
}

fn check_conditions(case: &Value) {
    let rules = case["rules"].as_array().expect("rules").iter();
    let policies: Vec<_> = rules.map(|rule| policy("p", &json!({"path": {"p": rule}}).to_string())).collect();
    let body = Body::of(case["data"].clone());
    let wrap_ttl = case["wrap"].as_u64().filter(|wrap| *wrap > 0).map(Duration::from_secs);
    let asked = Ask {
        parameters: Some(&body),
        wrap_ttl,
        ..ask(operation(case["operation"].as_str().expect("one")), "p")
    };
    let acl = Acl::compile(&policies, None);
    let verdict = acl.check(&asked);
    assert_eq!(verdict.allowed, case["allowed"] == true, "{case} {:?}", verdict.reason);
}
