//! What more is demanded of who asks than to be a ServiceAccount: by options and by rules, shown, added to and never dropped.

use crate::world::World;
use std::fs;

const SECRET: &[u8] = b"apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: shop}\nstringData: {password: correct horse}\n";
const SEAL: &str = "seal - --to apps/db.yaml --subject web --sign-with author.key";

fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

/// With more that the rule says.
fn ruled(more: &str) -> World {
    let world = World::new();
    let rules = fs::read_to_string(world.path(".keyward.yaml")).unwrap();
    fs::write(world.path(".keyward.yaml"), format!("{rules}  {more}\n")).unwrap();
    world
}

#[test]
fn options_and_rules_demand_together() {
    let (a, b) = (digest('a'), digest('b'));
    let world = ruled("namespaceSelector: {matchLabels: {env: prod}}\n  conditions: [posture.compliant]");
    let options = format!(
        "--namespace-selector team=a --condition pod.node!='edge' --image registry.example.org/web:1@{a} --image {b}"
    );
    world.done(&format!("{SEAL} {options}"), SECRET);
    let sealed = fs::read_to_string(world.path("apps/db.yaml")).unwrap();
    for bound in ["env: prod", "team: a", "posture.compliant", "pod.node!='edge'", &a, &b] {
        assert!(sealed.contains(bound), "{bound}: {sealed}");
    }
    assert!(!sealed.contains("registry.example.org"), "{sealed}");
    world.done("lint apps", b"");
    // What is set keeps what is bound.
    world.done("set apps/db.yaml token --from - --sign-with author.key", b"t");
    let kept = world.done("open -i shop.key --key token apps/db.yaml", b"");
    assert_eq!(kept, "t");
    world.done("lint apps", b"");
}

#[test]
fn a_new_sealing_adds_and_drops_nothing() {
    let world = World::new();
    let (a, b, c) = (digest('a'), digest('b'), digest('c'));
    world.done(&format!("{SEAL} --condition posture.compliant --image {a} --image {b}"), SECRET);
    fs::copy(world.path("apps/db.yaml"), world.path("before.yaml")).unwrap();
    let reseal = "reseal -i shop.key --sign-with author.key apps";
    let wider = world.says(&format!("{reseal} --image {a} --image {c}"), b"");
    assert!(wider.code == Some(1) && wider.err.contains("images would be wider"), "{}", wider.err);
    world.done(
        &format!("{reseal} --image {a} --condition pod.node!='edge' --namespace-selector env=prod"),
        b"",
    );
    let differs = world.done("diff before.yaml apps/db.yaml", b"");
    for field in ["bounds.images", "bounds.conditions", "bounds.namespaceSelector", "version"] {
        assert!(differs.contains(field), "{field}: {differs}");
    }
    assert_eq!(world.done("open -i shop.key --key password apps/db.yaml", b""), "correct horse");
    // Whatever is dropped or changed by hand is missed.
    let sealed = fs::read_to_string(world.path("apps/db.yaml")).unwrap();
    for (from, to, field) in [
        (a.as_str(), c.as_str(), "images: the manifest says something else"),
        ("posture.compliant", "posture.other", "conditions: the manifest says something else"),
        ("env: prod", "env: test", "namespaceSelector: the manifest says something else"),
    ] {
        assert!(sealed.contains(from), "{from}: {sealed}");
        fs::write(world.path("apps/db.yaml"), sealed.replace(from, to)).unwrap();
        let refused = world.says("open -i shop.key apps/db.yaml", b"");
        assert!(refused.code == Some(1) && refused.err.contains(field), "{field}: {}", refused.err);
        let lint = world.says("lint apps", b"");
        assert!(lint.code == Some(1) && lint.out.contains("signature"), "{}", lint.out);
    }
}

#[test]
fn what_cannot_be_meant_is_not_sealed() {
    let world = World::new();
    for (options, why) in [
        ("--condition postur.compliant", "undeclared reference to 'postur' at 1:1; did you mean posture?"),
        ("--condition posture.compliant&&", "a value is expected at 1:20"),
        ("--namespace-selector env>1", "is no label"),
        ("--namespace-selector env=a,", "is no part of a selector"),
        ("--image web:latest", "named by its digest"),
        ("--subject *", "the subject shop/* is anybody"),
    ] {
        let refused = world.says(&format!("{SEAL} {options}"), SECRET);
        assert_ne!(refused.code, Some(0), "{options}");
        assert!(refused.err.contains(why), "{options}: {}", refused.err);
        assert!(!world.path("apps/db.yaml").exists(), "{options}");
    }
    world.done(&format!("{SEAL} --subject */web --namespace-selector env=prod"), SECRET);
    // A rule that demands more finds what demands less.
    let rules = fs::read_to_string(world.path(".keyward.yaml")).unwrap();
    let stricter = format!("{rules}  conditions: [posture.compliant]\n  images: [{}]\n", digest('a'));
    fs::write(world.path(".keyward.yaml"), stricter).unwrap();
    let lint = world.says("lint apps", b"");
    assert!(
        lint.code == Some(1) && lint.out.contains("the rule wants the condition posture.compliant"),
        "{}",
        lint.out
    );
    assert!(lint.out.contains("names an image that the rule does not"), "{}", lint.out);
}
