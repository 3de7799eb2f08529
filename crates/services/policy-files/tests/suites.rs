//! Suites of our own, for what those of Kyverno do not have.

use keyward_policy_files::suite;
use std::path::Path;

#[test]
fn answers_of_authorizers_are_told_by_values() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/authorizer");
    let [suite] = &suite::find(&folder, suite::FILE).unwrap()[..] else { panic!("there is one suite") };
    let rows = suite.run(0).unwrap();
    assert_eq!(rows.len(), 3);
    for row in &rows {
        assert!(row.passed, "{row:?}");
    }
    let said = |resource: &str| &rows.iter().find(|row| row.resource.contains(resource)).unwrap().message;
    assert_eq!(said("closed"), "it is for those who may guard: closed to all");
    assert!(said("elsewhere").contains("no SubjectAccessReview among the objects or values"), "{rows:?}");
}
