//! The test suites of Kyverno and of its policies, where they are at hand: every one passes, but those that are named with a reason.

use keyward_policy_files::suite;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Some day of 2026, for suites that look at the time.
const NOW: i128 = 1_780_000_000_000_000_000;

fn data() -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let given = std::env::var_os("KEYWARD_CONFORMANCE").map(PathBuf::from);
    let folder = given.unwrap_or_else(|| root.join("../shared/conformance")).join("kyverno");
    match folder.is_dir() {
        true => Ok(folder),
        false => {
            Err(format!("there is no conformance data at {}: set KEYWARD_CONFORMANCE", folder.display()))
        }
    }
}

/// What cannot pass, and why.
fn excused() -> BTreeMap<&'static str, &'static str> {
    let lines = include_str!("data/cannot-pass.txt")
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| line.split_once('\t').unwrap_or((line, ""))).collect()
}

#[test]
fn suites_of_kyverno() {
    let folder = data();
    if !keyward_testkit::require(folder.as_ref().map(|_| ())) {
        return;
    }
    let folder = folder.unwrap();
    let mut excused = excused();
    let (mut suites, mut passed, mut wrong) = (0, 0, Vec::new());
    for one in suite::find(&folder, suite::FILE).unwrap() {
        suites += 1;
        let place = one.folder.strip_prefix(&folder).unwrap().display().to_string();
        let failed: Vec<String> = match one.run(NOW) {
            Err(why) => vec![why],
            Ok(rows) => {
                passed += rows.iter().filter(|row| row.passed).count();
                let failed = rows.into_iter().filter(|row| !row.passed);
                failed
                    .map(|row| {
                        format!(
                            "{}/{} {}: {} ({})",
                            row.policy, row.rule, row.resource, row.reason, row.message
                        )
                    })
                    .collect()
            }
        };
        let key = format!("{place} {}", one.name);
        match (failed.is_empty(), excused.remove(key.as_str())) {
            (true, None) | (false, Some(_)) => {}
            (true, Some(_)) => wrong.push(format!("{key} passes: take it off cannot-pass.txt")),
            (false, None) => wrong.push(format!("{key}:\n  {}", failed.join("\n  "))),
        }
    }
    wrong
        .extend(excused.keys().map(|key| format!("{key} is in cannot-pass.txt, and there is no such suite")));
    println!("{suites} suites, {passed} tests passed, {} suites wrong", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(suites >= 357, "only {suites} suites were found");
}
