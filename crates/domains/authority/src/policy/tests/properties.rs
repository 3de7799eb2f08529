//! What holds for all policies, and agreement with a matcher that is as plain as the documentation.

use super::*;
use proptest::prelude::*;
use std::cmp::Ordering;

const CAPABILITIES: [&str; 5] = ["read", "list", "update", "sudo", "deny"];

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("a"),
        Just("a"),
        Just("b"),
        Just("ab"),
        Just("abc"),
        Just("a+"),
        Just("+b"),
        Just(""),
        Just("ü")
    ]
    .prop_map(str::to_owned)
}

fn pattern() -> impl Strategy<Value = String> {
    let part = prop_oneof![3 => segment(), 2 => Just("+".to_owned())];
    let end = prop_oneof![Just(""), Just(""), Just("/"), Just("*"), Just("*"), Just("/*"), Just("a*")];
    (proptest::collection::vec(part, 1..5), end)
        .prop_map(|(parts, end)| format!("{}{end}", parts.join("/")))
        .prop_filter("forbidden", |text| !text.contains("+*"))
}

fn rules() -> impl Strategy<Value = Vec<String>> {
    let capabilities = proptest::sample::subsequence(&CAPABILITIES[..], 0..3);
    let rule = (pattern(), capabilities).prop_map(|(path, some)| format!("{path} {}", some.join(",")));
    proptest::collection::vec(rule, 0..8)
}

fn path() -> impl Strategy<Value = String> {
    let part = prop_oneof![3 => segment(), 1 => Just("+".to_owned())];
    (proptest::collection::vec(part, 1..5), any::<bool>())
        .prop_map(|(parts, slash)| format!("{}{}", parts.join("/"), if slash { "/" } else { "" }))
        .prop_map(|path| path.trim_start_matches('/').to_owned())
}

/// Whether a pattern with wildcards matches, by its definition.
fn glob_matches(pattern: &str, path: &str) -> bool {
    let (pattern, open) = pattern.strip_suffix('*').map_or((pattern, false), |rest| (rest, true));
    let (wanted, given): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), path.split('/').collect());
    if !is_segmented(pattern) {
        return open && path.starts_with(pattern);
    }
    let same = |(wanted, given): (&&str, &&str)| *wanted == "+" || wanted == given;
    if !open {
        return wanted.len() == given.len() && wanted.iter().zip(&given).all(same);
    }
    let (last, before) = wanted.split_last().expect("a segment");
    given.len() >= wanted.len()
        && before.iter().zip(&given).all(same)
        && (*last == "+" || given[before.len()].starts_with(last))
}

fn is_segmented(pattern: &str) -> bool {
    pattern == "+" || pattern.starts_with("+/") || pattern.contains("/+")
}

fn is_exact(pattern: &str) -> bool {
    !pattern.ends_with('*') && !is_segmented(pattern)
}

/// Less is less specific.
fn less_specific(left: &str, right: &str) -> Ordering {
    let bare = |text: &str| text.trim_end_matches('*').to_owned();
    let first = |text: &str| {
        if is_segmented(text.trim_end_matches('*')) {
            text.find('+').expect("a plus")
        } else {
            text.len() - 1
        }
    };
    let wildcards = |text: &str| bare(text).split('/').filter(|part| *part == "+").count();
    first(left)
        .cmp(&first(right))
        .then_with(|| right.ends_with('*').cmp(&left.ends_with('*')))
        .then_with(|| wildcards(right).cmp(&wildcards(left)))
        .then_with(|| bare(left).len().cmp(&bare(right).len()))
        .then_with(|| bare(left).cmp(&bare(right)))
}

/// A rule's pattern (without a leading slash) and capabilities.
fn split(rule: &str) -> (&str, Vec<&str>) {
    let (path, capabilities) = rule.rsplit_once(' ').expect("a rule");
    (path.strip_prefix('/').unwrap_or(path), capabilities.split(',').filter(|one| !one.is_empty()).collect())
}

fn capabilities_of(rules: &[String], pattern: &str) -> Vec<String> {
    let same = rules.iter().map(|rule| split(rule)).filter(|(other, _)| *other == pattern);
    let mut all: Vec<String> = same.flat_map(|(_, some)| some).map(str::to_owned).collect();
    all.sort();
    all.dedup();
    if all.is_empty() || all.iter().any(|one| one == "deny") { vec!["deny".to_owned()] } else { all }
}

/// The pattern that decides for a path that ends in no slash.
fn deciding<'a>(rules: &'a [String], path: &str) -> Option<&'a str> {
    let patterns = || rules.iter().map(|rule| split(rule).0);
    patterns().find(|pattern| is_exact(pattern) && *pattern == path).or_else(|| {
        patterns()
            .filter(|pattern| !is_exact(pattern) && glob_matches(pattern, path))
            .max_by(|left, right| less_specific(left, right))
    })
}

/// Whether a list of a path that ends in a slash is granted.
fn lists(rules: &[String], path: &str) -> bool {
    let has = |pattern: &str, wanted: &str| capabilities_of(rules, pattern).iter().any(|one| one == wanted);
    let exact = |path: &str| rules.iter().map(|rule| split(rule).0).find(|one| is_exact(one) && *one == path);
    let short = path.strip_suffix('/').expect("a slash");
    if let Some(pattern) = exact(path).or_else(|| exact(short)) {
        return has(pattern, "list");
    }
    let globs: Vec<String> = rules.iter().filter(|rule| !is_exact(split(rule).0)).cloned().collect();
    let mut winners: Vec<&str> = [path, short].iter().filter_map(|form| deciding(&globs, form)).collect();
    winners.sort_by(|left, right| less_specific(right, left));
    let Some(granting) = winners.iter().find(|pattern| has(pattern, "list")) else { return false };
    !globs.iter().map(|rule| split(rule).0).any(|pattern| {
        has(pattern, "deny")
            && rules.iter().any(|rule| split(rule).0 == pattern && split(rule).1.contains(&"deny"))
            && (glob_matches(pattern, path) || glob_matches(pattern, short))
            && less_specific(pattern, granting) == Ordering::Greater
    })
}

fn compile(rules: &[String]) -> Acl {
    acl(&rules.iter().map(String::as_str).collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn agrees_with_the_plain_matcher(rules in rules(), path in path()) {
        let acl = compile(&rules);
        if path.ends_with('/') {
            prop_assert_eq!(may(&acl, Operation::List, &path), lists(&rules, &path), "{:?} {:?}", rules, path);
        } else {
            let wanted = deciding(&rules, &path).map_or(vec!["deny".to_owned()], |found| capabilities_of(&rules, found));
            prop_assert_eq!(acl.capabilities(&path, Timestamp::EPOCH), wanted, "{:?} {:?}", rules, path);
        }
        let explanation = explain(&acl, &ask(Operation::Read, &path));
        prop_assert_eq!(explanation.decided_by.as_ref().map(|matched| matched.path.as_str()), deciding(&rules, &path));
        let matching = rules.iter().map(|rule| split(rule).0)
            .filter(|one| if is_exact(one) { *one == path } else { glob_matches(one, &path) })
            .collect::<std::collections::BTreeSet<_>>().len();
        prop_assert_eq!(explanation.others.len() + usize::from(explanation.decided_by.is_some()), matching);
    }

    #[test]
    fn an_exact_rule_decides(rules in rules(), path in path()) {
        let path = path.replace('+', "c");
        let mut rules: Vec<String> = rules.into_iter().filter(|rule| split(rule).0 != path).collect();
        rules.push(format!("{path} read"));
        prop_assert_eq!(compile(&rules).capabilities(&path, Timestamp::EPOCH), ["read"]);
    }

    #[test]
    fn a_denial_never_widens(rules in rules(), denied in pattern(), paths in proptest::collection::vec(path(), 8)) {
        let before = compile(&rules);
        let mut more = rules.clone();
        more.push(format!("{denied} deny"));
        let after = compile(&more);
        for path in &paths {
            for name in ["read", "list", "update"] {
                let wider = may(&after, operation(name), path) && !may(&before, operation(name), path);
                prop_assert!(!wider, "{:?} + {:?} {} {:?}", rules, denied, name, path);
            }
        }
    }

    #[test]
    fn the_order_of_policies_does_not_matter(rules in rules(), path in path(), turn in 0usize..8) {
        let policies: Vec<_> = rules.iter().map(|rule| brief("p", &[rule])).collect();
        let mut turned = policies.clone();
        turned.rotate_left(turn.checked_rem(policies.len()).unwrap_or_default());
        let (one, other) = (Acl::compile(&policies, None), Acl::compile(&turned, None));
        prop_assert_eq!(one.capabilities(&path, Timestamp::EPOCH), other.capabilities(&path, Timestamp::EPOCH));
    }

    #[test]
    fn every_right_below_a_folder_is_found(rules in rules(), folder in segment(), below in path()) {
        prop_assume!(!folder.is_empty());
        let acl = compile(&rules);
        let granted = acl.capabilities(&format!("{folder}/{below}"), Timestamp::EPOCH) != ["deny"];
        prop_assert!(!granted || acl.reaches(&format!("{folder}/"), Timestamp::EPOCH), "{:?} {}", rules, folder);
    }

    #[test]
    fn no_text_panics(text in "[a-z{}\"=\\[\\]* +/,\n]{0,60}", path in "\\PC{0,20}", value in "\\PC{0,8}") {
        let subject = Subject { entity_name: value.clone(), slashes: true, ..Subject::default() };
        let written = format!("path {path:?} {{ capabilities = [\"read\"] }} path \"{{{{identity.entity.name}}}}{}\" {{}}", "*");
        for text in [text, written] {
            if let Ok(policy) = Policy::parse("p", &text) {
                let acl = Acl::compile(&[Arc::new(policy)], Some(&subject));
                for asked in [&path, &value] {
                    let _ = (explain(&acl, &ask(Operation::List, asked)), acl.reaches(asked, Timestamp::EPOCH));
                }
            }
        }
    }

    #[test]
    fn names_cannot_reach_beyond_their_place(name in "[a*+/.ü]{1,5}", path in path(), slashes in any::<bool>()) {
        let subject = Subject { entity_name: name.clone(), slashes, ..Subject::default() };
        let acl = Acl::compile(&[brief("p", &["kv/{{identity.entity.name}}/* read"])], Some(&subject));
        let asked = format!("kv/{path}");
        let own = asked.starts_with(&format!("kv/{name}/")) && (slashes || !name.contains('/'));
        prop_assert_eq!(may(&acl, Operation::Read, &asked), own, "{:?} {:?}", name, asked);
    }
}
