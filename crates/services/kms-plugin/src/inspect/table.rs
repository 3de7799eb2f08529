//! Reports for people.

use std::fmt::Write as _;

use super::snapshot::{Checksum, ResourceReport, SnapshotReport};
use super::value::{Protection, ValueReport};

/// Objects named per list; the rest is counted. JSON has them all.
const NAMED: usize = 20;

/// One value as lines of text.
pub fn value_table(report: &ValueReport) -> String {
    let mut rows = vec![("Protection", protection(&report.protection)), ("Bytes", report.bytes.to_string())];
    if let Protection::KmsV2 { .. } = report.protection {
        rows.push(("Encrypted bytes", report.encrypted_bytes.to_string()));
        rows.push(("Sealed secret", if report.seed { "seed, one key per write" } else { "key" }.to_owned()));
        for (name, bytes) in &report.annotations {
            rows.push(("Annotation", format!("{name}, {bytes} bytes")));
        }
    }
    if let Some(kek) = &report.kek {
        rows.push(("Key version", kek.version.clone()));
        rows.push(("Epoch", kek.epoch.to_string()));
    }
    rows.iter().map(|(name, value)| format!("{name:<17}{value}\n")).collect()
}

/// A snapshot as text.
pub fn snapshot_table(report: &SnapshotReport) -> String {
    let mut out = String::new();
    let checksum = match report.checksum {
        Checksum::Right => "right",
        Checksum::Wrong => "wrong",
        Checksum::Absent => "none",
    };
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "Revision {}, {} live objects, checksum: {checksum}\n",
        report.revision, report.objects
    );
    let _ = writeln!(out, "{:<38}{:<16}{:>9}  KEY VERSIONS (EPOCH)", "KEY", "PROVIDER", "OBJECTS");
    for key in &report.keys {
        let mut versions: Vec<_> =
            key.keks.iter().map(|kek| format!("{} ({})", kek.version, kek.epoch)).collect();
        versions.sort();
        versions.dedup();
        let _ = writeln!(
            out,
            "{:<38}{:<16}{:>9}  {}",
            key.key_id,
            key.provider,
            key.objects,
            versions.join(", ")
        );
    }
    for (name, resource) in &report.resources {
        describe(&mut out, name, resource);
    }
    let _ = writeln!(out, "\n{} objects of other resources", report.others);
    out
}

fn describe(out: &mut String, name: &str, resource: &ResourceReport) {
    let _ = writeln!(out, "\n{name}");
    for count in &resource.protections {
        let _ = writeln!(out, "  {:>9}  {}", count.objects, protection(&count.protection));
    }
    for object in resource.plaintext.iter().take(NAMED) {
        let _ = writeln!(out, "             not encrypted: {object}");
    }
    for (object, why) in resource.broken.iter().take(NAMED) {
        let _ = writeln!(out, "             unreadable: {object}: {why}");
    }
    let unnamed =
        resource.plaintext.len().saturating_sub(NAMED) + resource.broken.len().saturating_sub(NAMED);
    if unnamed > 0 {
        let _ = writeln!(out, "             and {unnamed} more: --format json names them all");
    }
}

fn protection(protection: &Protection) -> String {
    match protection {
        Protection::Plaintext => "NOT ENCRYPTED".to_owned(),
        Protection::KmsV2 { provider, key_id } => format!("kms:v2 {provider}, key {key_id}"),
        Protection::Other { kind, name } => format!("{kind} {name}"),
        Protection::Broken { why } => format!("UNREADABLE: {why}"),
    }
}
