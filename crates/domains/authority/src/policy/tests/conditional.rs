//! Rules with a condition.

use super::{ask, of_text};
use crate::policy::{Acl, Reason, Unmet, Who, explain};
use crate::request::Operation::{self, List, Read, Update};
use crate::token::TokenEntry;
use std::collections::BTreeMap;

fn token(namespace: &str) -> TokenEntry {
    let metadata = BTreeMap::from([("service_account_namespace".to_owned(), namespace.to_owned())]);
    TokenEntry { metadata, attested: true, ..TokenEntry::default() }
}

fn allowed(acl: &Acl, namespace: &str, operation: Operation, path: &str) -> bool {
    let token = token(namespace);
    let who = Some(Who { token: &token, holder: None, address: None, posture: None });
    acl.check(&super::Ask { who, ..ask(operation, path) }).allowed
}

#[test]
fn a_rule_counts_where_its_condition_holds() {
    let acl = of_text(
        r#"path "secret/*" { capabilities = ["read"] }
           path "secret/prod/*" { capabilities = ["read", "list"] condition = "pod.namespace == 'prod'" }"#,
    );
    assert!(allowed(&acl, "prod", Read, "secret/prod/a"));
    // The rule for the path decides, whether or not its condition holds: a wider one grants nothing there.
    assert!(!allowed(&acl, "dev", Read, "secret/prod/a"));
    assert!(allowed(&acl, "dev", Read, "secret/dev/a"));
    assert!(allowed(&acl, "prod", List, "secret/prod/a/"));
    let token = token("dev");
    let who = Some(Who { token: &token, holder: None, address: None, posture: None });
    let asked = super::Ask { who, ..ask(Read, "secret/prod/a") };
    let unmet = Unmet::Expression("p".to_owned(), 2, None);
    assert_eq!(acl.check(&asked).reason, Reason::Condition(unmet));
    let explained = explain(&acl, &asked).to_string();
    assert!(explained.contains("the condition of policy p line 2 does not hold"), "{explained}");
    assert!(explained.contains("[list, read] if pod.namespace == 'prod'"), "{explained}");
    // Nobody in particular: the condition cannot be told.
    let nobody = acl.check(&ask(Read, "secret/prod/a"));
    assert!(
        matches!(nobody.reason, Reason::Condition(Unmet::Expression(_, 2, Some(_)))),
        "{:?}",
        nobody.reason
    );
}

#[test]
fn rules_for_one_path_count_each_by_itself() {
    let acl = of_text(
        r#"path "secret/a" { capabilities = ["read"] }
           path "secret/a" { capabilities = ["update"] condition = "pod.namespace == 'prod'" }
           path "secret/a" { capabilities = ["deny"] condition = "pod.namespace == 'banned'" }"#,
    );
    for (namespace, read, update) in [("dev", true, false), ("prod", true, true), ("banned", false, false)] {
        assert_eq!(allowed(&acl, namespace, Read, "secret/a"), read, "{namespace}");
        assert_eq!(allowed(&acl, namespace, Update, "secret/a"), update, "{namespace}");
    }
    // Of nobody it is not known whether they are to be denied.
    assert!(!acl.check(&ask(Read, "secret/a")).allowed);
}

#[test]
fn what_nothing_attests_is_not_there() {
    let acl = of_text(r#"path "secret/a" { capabilities = ["read"] condition = "posture.compliant" }"#);
    assert!(!allowed(&acl, "prod", Read, "secret/a"));
    let acl =
        of_text(r#"path "secret/a" { capabilities = ["read"] condition = "!has(posture.quarantined)" }"#);
    assert!(allowed(&acl, "prod", Read, "secret/a"));
}

#[test]
fn conditions_that_cannot_be_kept_are_refused() {
    let text = r#"path "secret/a" { capabilities = ["read"] condition = "pods.namespace == 'x'" }"#;
    let why = crate::policy::Policy::parse("test", text).err().map(|why| why.to_string()).unwrap_or_default();
    assert!(
        why.contains("undeclared reference to 'pods' at 1:1; did you mean pod")
            && why.contains("known: request")
            && why.contains("line 1"),
        "{why}"
    );
}
