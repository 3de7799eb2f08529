//! The policy library in `policies/`: its suites, its tiers, and what its overlays make of them.

use keyward_testkit::cluster::kubectl;
use keyward_testkit::require;
use keyward_tests::binary::keyward;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TIERS: [&str; 3] = ["critical", "important", "best-practice"];

/// A report without results: `rollout` is asked about the policies alone.
const NO_RESULTS: &str =
    "{apiVersion: wgpolicyk8s.io/v1alpha2, kind: PolicyReport, metadata: {name: a, namespace: a}}";

fn library() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies")
}

/// What the program prints, and whether it is content.
fn run(arguments: &[&str]) -> (String, bool) {
    let done = Command::new(keyward()).args(arguments).output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    (String::from_utf8(said).unwrap(), done.status.success())
}

/// Stage and tier by policy, as `rollout` has them on a day.
fn stages(policies: &Path, on: &str) -> BTreeMap<String, (String, String)> {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.yaml");
    fs::write(&report, NO_RESULTS).unwrap();
    let (policies, report) = (policies.to_str().unwrap(), report.to_str().unwrap());
    let (said, done) =
        run(&["policy", "rollout", policies, "--report", report, "--on", on, "--output", "json"]);
    assert!(done, "{said}");
    let said: Value = serde_json::from_str(&said).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let plans = said["policies"].as_array().unwrap().iter();
    plans.map(|plan| (text(&plan["policy"]), (text(&plan["stage"]), text(&plan["tier"])))).collect()
}

#[test]
fn every_suite_passes() {
    let library = library();
    let (said, done) = run(&["policy", "test", library.to_str().unwrap(), "--fail-only"]);
    assert!(done, "{said}");
    let (said, done) = run(&["policy", "lint", library.to_str().unwrap()]);
    assert!(done, "{said}");
}

#[test]
fn every_policy_is_described_and_has_a_suite() {
    for tier in TIERS {
        let folder = library().join(tier);
        let listed = fs::read_to_string(folder.join("kustomization.yaml")).unwrap();
        for entry in
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir())
        {
            let name = entry.file_name().unwrap().to_str().unwrap();
            let policy = fs::read_to_string(entry.join("policy.yaml")).unwrap();
            for part in ["title", "category", "severity", "subject", "description"] {
                assert!(
                    policy.contains(&format!("    policies.kyverno.io/{part}: ")),
                    "{name} has no {part}"
                );
            }
            assert!(policy.contains(&format!("  name: {name}\n")), "{name} has another name than its folder");
            assert!(
                policy.contains(&format!("    keyward.io/tier: {tier}\n")),
                "{name} is not labelled {tier}"
            );
            assert!(listed.contains(&format!("  - {name}/policy.yaml\n")), "{tier} leaves {name} out");
            assert!(entry.join("kyverno-test.yaml").is_file(), "{name} has no suite");
        }
    }
}

#[test]
fn tiers_are_what_they_are_called() {
    for (tier, before, after) in [
        ("critical", "enforced", "enforced"),
        ("important", "planned", "due"),
        ("best-practice", "audited", "audited"),
    ] {
        for (on, wanted) in [("2026-12-01", before), ("2100-01-01", after)] {
            let stages = stages(&library().join(tier), on);
            assert!(!stages.is_empty());
            for (policy, (stage, labelled)) in stages {
                assert_eq!((stage.as_str(), labelled.as_str()), (wanted, tier), "{policy}");
            }
        }
    }
}

/// What an overlay is built to, in a file.
fn built(kubectl: &Path, overlay: &str, folder: &Path) -> PathBuf {
    let place = library().join("overlays").join(overlay);
    let done = Command::new(kubectl).arg("kustomize").arg(place).output().unwrap();
    assert!(done.status.success(), "{overlay}: {}", String::from_utf8_lossy(&done.stderr));
    let file = folder.join(format!("{overlay}.yaml"));
    fs::write(&file, done.stdout).unwrap();
    file
}

/// A pod that breaks a policy of each tier: it is privileged, has no probes and no labels.
fn careless_pod(folder: &Path) -> PathBuf {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "careless"},
        "spec": {"containers": [{"name": "app", "image": "registry.k8s.io/pause:3.10", "securityContext": {"privileged": true}}]},
    });
    let file = folder.join("pod.yaml");
    fs::write(&file, pod.to_string()).unwrap();
    file
}

#[test]
fn overlays_are_what_the_table_of_environments_says() {
    let kubectl = kubectl();
    if !require(kubectl.as_ref().map(|_| ())) {
        return;
    }
    let (kubectl, folder) = (kubectl.unwrap(), tempfile::tempdir().unwrap());
    let pod = careless_pod(folder.path());
    // Critical, important and best practice, as of a day after every date.
    for (environment, wanted) in [
        ("production", [Some("enforced"), Some("due"), Some("audited")]),
        ("staging", [Some("audited"); 3]),
        ("development", [Some("audited"), None, None]),
        ("local", [None; 3]),
    ] {
        let policies = built(&kubectl, environment, folder.path());
        let (said, done) = run(&["policy", "lint", policies.to_str().unwrap()]);
        assert!(done, "{environment}: {said}");
        let stages = stages(&policies, "2100-01-01");
        for (tier, wanted) in TIERS.into_iter().zip(wanted) {
            let mut of_tier =
                stages.values().filter(|(_, of)| of == tier).map(|(stage, _)| stage.as_str()).peekable();
            assert_eq!(of_tier.peek().copied(), wanted, "{environment}: {tier}");
            assert!(of_tier.all(|stage| Some(stage) == wanted), "{environment}: {tier}: {stages:?}");
        }
        let (policies, pod) = (policies.to_str().unwrap(), pod.to_str().unwrap());
        let (said, _) = run(&["policy", "apply", policies, "--resource", pod]);
        for (policy, tier) in
            [("disallow-privileged-containers", 0), ("require-probes", 1), ("recommend-labels", 2)]
        {
            assert_eq!(said.contains(policy), wanted[tier].is_some(), "{environment}: {policy}: {said}");
        }
        let (changed, _) = run(&["policy", "apply", policies, "--resource", pod, "--changed"]);
        let changes = matches!(environment, "production" | "staging");
        assert_eq!(changed.contains("runAsNonRoot: true"), changes, "{environment}: {changed}");
    }
}

#[test]
fn a_tier_is_enforced_in_its_files_when_it_is_due() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.yaml");
    fs::write(&report, NO_RESULTS).unwrap();
    let mut names = Vec::new();
    for entry in fs::read_dir(library().join("important")).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            let name = entry.file_name().unwrap().to_str().unwrap().to_owned();
            fs::copy(entry.join("policy.yaml"), folder.path().join(format!("{name}.yaml"))).unwrap();
            names.push(name);
        }
    }
    let place = folder.path().to_str().unwrap();
    let (said, done) = run(&[
        "policy",
        "rollout",
        place,
        "--report",
        report.to_str().unwrap(),
        "--on",
        "2100-01-01",
        "--write",
    ]);
    assert!(done, "{said}");
    let stages = stages(folder.path(), "2100-01-01");
    assert!(stages.values().all(|(stage, _)| stage == "enforced"), "{stages:?}");
    for name in names {
        let before = fs::read_to_string(library().join("important").join(&name).join("policy.yaml")).unwrap();
        let after = fs::read_to_string(folder.path().join(format!("{name}.yaml"))).unwrap();
        let changed = before.lines().zip(after.lines()).filter(|(before, after)| before != after).count();
        assert_eq!(before.lines().count(), after.lines().count());
        // What adds defaults refuses nothing, and stays as it is.
        assert_eq!(changed, usize::from(!name.starts_with("add-")), "{name}");
    }
}
