//! Paths that name the caller.

use super::*;
use std::collections::BTreeMap;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn ann() -> Subject {
    Subject {
        entity_id: "id-1".into(),
        entity_name: "ann".into(),
        metadata: map(&[("team", "red"), ("a.b", "dotted"), ("empty", ""), ("path", "x/y")]),
        aliases: vec![
            Alias {
                accessor: "auth_kubernetes_1".into(),
                id: "alias-1".into(),
                name: "sa".into(),
                metadata: map(&[("namespace", "prod")]),
                custom_metadata: map(&[("tier", "gold")]),
            },
            Alias { accessor: "auth_ldap_2".into(), name: "ann@x".into(), ..Alias::default() },
        ],
        groups: vec![
            Group { id: "g1".into(), name: "ops".into(), metadata: map(&[("zone", "eu")]) },
            Group { id: "g2".into(), name: "dev".into(), metadata: map(&[]) },
        ],
        slashes: false,
    }
}

fn compiled(rule: &str, subject: Option<&Subject>) -> Acl {
    Acl::compile(&[brief("p", &[rule])], subject)
}

#[test]
fn every_template_is_filled_in() {
    for (template, path) in [
        ("kv/{{identity.entity.id}}", "kv/id-1"),
        ("kv/{{ identity.entity.name }}", "kv/ann"),
        ("kv/{{identity.entity.metadata.team}}", "kv/red"),
        ("kv/{{identity.entity.metadata.a.b}}", "kv/dotted"),
        ("kv/{{identity.entity.aliases.auth_kubernetes_1.id}}", "kv/alias-1"),
        ("kv/{{identity.entity.aliases.auth_kubernetes_1.name}}", "kv/sa"),
        ("kv/{{identity.entity.aliases.auth_kubernetes_1.metadata.namespace}}", "kv/prod"),
        ("kv/{{identity.entity.aliases.auth_kubernetes_1.custom_metadata.tier}}", "kv/gold"),
        ("kv/{{identity.entity.aliases.auth_ldap_2.name}}", "kv/ann@x"),
        ("kv/{{identity.groups.ids.g1.name}}", "kv/ops"),
        ("kv/{{identity.groups.ids.g1.id}}", "kv/g1"),
        ("kv/{{identity.groups.names.dev.id}}", "kv/g2"),
        ("kv/{{identity.groups.names.dev.name}}", "kv/dev"),
        ("kv/{{identity.groups.names.ops.metadata.zone}}", "kv/eu"),
        ("kv/{{identity.groups.ids.g1.metadata.zone}}", "kv/eu"),
        ("{{identity.entity.name}}", "ann"),
        ("/{{identity.entity.name}}/{{identity.entity.id}}/x", "ann/id-1/x"),
        ("a{{identity.entity.name}}b{{identity.entity.id}}", "aannbid-1"),
    ] {
        let acl = compiled(&format!("{template} read"), Some(&ann()));
        assert!(may(&acl, Operation::Read, path), "{template}");
        assert!(!may(&acl, Operation::Read, &format!("{path}x")), "{template}");
        assert!(!may(&acl, Operation::Read, template), "{template}");
        let globbed = compiled(&format!("{template}/* read"), Some(&ann()));
        assert!(may(&globbed, Operation::Read, &format!("{path}/below")), "{template}");
        let parsed = brief("p", &[&format!("{template} read")]);
        assert!(parsed.is_templated(), "{template}");
    }
    assert!(!brief("p", &["kv/identity.entity.id read"]).is_templated());
}

#[test]
fn what_cannot_be_filled_in_does_not_exist() {
    for template in [
        "kv/{{identity.entity.metadata.absent}}",
        "kv/{{identity.entity.metadata.empty}}",
        "kv/{{identity.entity.aliases.auth_other_3.name}}",
        "kv/{{identity.entity.aliases.auth_ldap_2.id}}",
        "kv/{{identity.entity.aliases.auth_ldap_2.metadata.x}}",
        "kv/{{identity.entity.aliases.auth_kubernetes_1.custom_metadata.x}}",
        "kv/{{identity.groups.ids.g3.name}}",
        "kv/{{identity.groups.names.g1.id}}",
        "kv/{{identity.groups.names.dev.metadata.zone}}",
        "kv/{{identity.entity.metadata.path}}",
        "kv/{{identity.entity.name}}/{{identity.entity.metadata.absent}}",
    ] {
        for end in ["", "*", "/*"] {
            let acl = compiled(&format!("{template}{end} read"), Some(&ann()));
            let literal = format!("{template}{end}");
            for path in ["kv/", "kv", "kv//", "kv/x/y", "kv/ann/", &literal] {
                assert!(!may(&acl, Operation::Read, path), "{literal} {path}");
            }
            assert!(!acl.reaches("kv/", Timestamp::EPOCH), "{literal}");
        }
    }
    for subject in [None, Some(&Subject::default())] {
        let acl = compiled("kv/{{identity.entity.id}}* read", subject);
        assert!(
            !may(&acl, Operation::Read, "kv/") && !may(&acl, Operation::Read, "kv/{{identity.entity.id}}")
        );
    }
    // The other rules stay.
    let rules = ["kv/{{identity.entity.id}} read", "kv/a read"];
    assert!(may(&Acl::compile(&[brief("p", &rules)], None), Operation::Read, "kv/a"));
}

#[test]
fn values_never_widen_a_rule() {
    for name in ["*", "+", "a*", "+a", "a+b", "**"] {
        let subject = Subject { entity_name: name.into(), ..ann() };
        for (template, own) in [
            ("kv/{{identity.entity.name}}", format!("kv/{name}")),
            ("kv/{{identity.entity.name}}/*", format!("kv/{name}/x")),
            ("kv/{{identity.entity.name}}/x", format!("kv/{name}/x")),
            ("kv/+/{{identity.entity.name}}", format!("kv/x/{name}")),
            ("{{identity.entity.name}}", name.to_owned()),
            ("{{identity.entity.name}}/x", format!("{name}/x")),
        ] {
            let acl = compiled(&format!("{template} read"), Some(&subject));
            assert!(may(&acl, Operation::Read, &own), "{template} {name}");
            for path in ["kv/b", "kv/ab", "kv/b/x", "kv/ab/x", "kv/a/x", "kv/x/b", "b", "b/x", "a", "a/x", ""]
            {
                assert!(!may(&acl, Operation::Read, path), "{template} {name} {path}");
            }
        }
    }
}

#[test]
fn slashes_in_values_are_a_choice() {
    let path = "kv/{{identity.entity.metadata.path}}/*";
    assert!(!may(&compiled(&format!("{path} read"), Some(&ann())), Operation::Read, "kv/x/y/z"));
    let subject = Subject { slashes: true, ..ann() };
    let acl = compiled(&format!("{path} read"), Some(&subject));
    assert!(may(&acl, Operation::Read, "kv/x/y/z") && !may(&acl, Operation::Read, "kv/x/z"));
    // Nobody escapes a denial by taking a name with a slash.
    let rules = ["kv/* read", &format!("{path} deny")];
    let acl = Acl::compile(&[brief("p", &rules)], Some(&ann()));
    assert!(!may(&acl, Operation::Read, "kv/x/y/z") && may(&acl, Operation::Read, "kv/x/z"));
}

#[test]
fn filled_in_paths_merge_with_plain_ones() {
    let policies = [brief("p", &["kv/ann/* read"]), brief("q", &["kv/{{identity.entity.name}}/* update"])];
    let acl = Acl::compile(&policies, Some(&ann()));
    assert_eq!(acl.capabilities("kv/ann/x", Timestamp::EPOCH), ["read", "update"]);
}
