//! What a check costs. Prints; asserts only the answers.

use super::*;
use std::hint::black_box;

type Kind = (&'static str, fn(usize) -> String);

#[test]
fn checks_take_well_under_a_microsecond() {
    let kinds: [Kind; 4] = [
        ("exact", |n| format!("secret/data/team-{n}/application read")),
        ("prefix", |n| format!("secret/data/team-{n}/* read")),
        ("segment", |n| format!("secret/data/+/service-{n}/config read")),
        ("mixed", |n| match n % 3 {
            0 => format!("secret/data/team-{n}/application read"),
            1 => format!("secret/data/team-{n}/* read,list"),
            _ => format!("secret/+/team-{n}/+ read"),
        }),
    ];
    for (kind, rule) in kinds {
        let rules: Vec<String> = (0..100).map(rule).collect();
        let acl = acl(&rules.iter().map(String::as_str).collect::<Vec<_>>());
        let paths: Vec<String> = (0..100)
            .map(|n| match kind {
                "segment" => format!("secret/data/x/service-{n}/config"),
                _ => format!("secret/data/team-{n}/application"),
            })
            .collect();
        let rounds = 200;
        #[expect(clippy::disallowed_methods, reason = "a measurement needs a clock")]
        let begun = std::time::Instant::now();
        for _ in 0..rounds {
            for path in &paths {
                assert!(black_box(acl.check(&ask(Operation::Read, black_box(path)))).allowed, "{path}");
            }
        }
        let each = begun.elapsed() / (rounds * paths.len() as u32);
        println!("check, 100 {kind} rules: {} ns", each.as_nanos());
    }
}
