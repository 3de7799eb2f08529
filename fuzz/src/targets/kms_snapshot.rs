//! etcd's snapshots, for `kms inspect --snapshot`: a bbolt database.

use super::kms_value::{field, value};
use keyward_kms_plugin::inspect::{SnapshotQuery, inspect_snapshot, snapshot_table};
use std::sync::OnceLock;
use tempfile::TempDir;

const PAGE: usize = 1024;
const META: usize = 16;

pub(crate) fn run(data: &[u8]) {
    let mut bytes = data.to_vec();
    // Else no change of a description would ever be read.
    for page in 0..2 {
        describe(&mut bytes, page * PAGE + META);
    }
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let path = FOLDER.get_or_init(|| tempfile::tempdir().unwrap()).path().join("db");
    std::fs::write(&path, &bytes).unwrap();
    let query = SnapshotQuery { prefix: "/registry".to_owned(), resources: Vec::new() };
    if let Ok(report) = inspect_snapshot(&path, &query) {
        assert!(!snapshot_table(&report).is_empty());
        let _ = report.not_under("kw1-0123456789abcdef");
    }
}

/// Writes the checksum (FNV-1a) of the description at `at`.
fn describe(bytes: &mut [u8], at: usize) {
    let Some(meta) = bytes.get_mut(at..at + 64) else { return };
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let sum = meta[..56].iter().fold(0xcbf2_9ce4_8422_2325, step);
    meta[56..].copy_from_slice(&sum.to_le_bytes());
}

/// A page: its number, kind, elements and what follows them.
fn page(number: u64, leaf: &[(u32, &[u8], &[u8])]) -> Vec<u8> {
    let mut page = number.to_le_bytes().to_vec();
    page.extend(2_u16.to_le_bytes());
    page.extend((leaf.len() as u16).to_le_bytes());
    page.extend(0_u32.to_le_bytes());
    let (mut elements, mut content) = (Vec::new(), Vec::new());
    for (at, (flags, key, value)) in leaf.iter().enumerate() {
        let offset = (leaf.len() - at) * 16 + content.len();
        for number in [*flags, offset as u32, key.len() as u32, value.len() as u32] {
            elements.extend(number.to_le_bytes());
        }
        content.extend_from_slice(key);
        content.extend_from_slice(value);
    }
    page.extend(elements);
    page.extend(content);
    page
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut change = Vec::new();
    field(&mut change, 1, b"/registry/secrets/default/app");
    field(&mut change, 5, &value());
    let revision = |number: u64| [&number.to_be_bytes()[..], b"_", &0_u64.to_be_bytes()].concat();
    let (first, second) = (revision(1), [revision(2), b"t".to_vec()].concat());
    let mut gone = Vec::new();
    field(&mut gone, 1, b"/registry/secrets/default/gone");
    let entries = page(3, &[(0, &first, &change), (0, &second, &gone)]);
    let bucket = [3_u64.to_le_bytes(), 0_u64.to_le_bytes()].concat();
    let root = page(2, &[(1, b"key", &bucket)]);
    let mut file = vec![0; 4 * PAGE];
    for (number, transaction) in [(0, 1_u64), (1, 2)] {
        let at = number * PAGE;
        let meta = [
            0xED0C_DAED_u32.to_le_bytes().as_slice(),
            &2_u32.to_le_bytes(),
            &(PAGE as u32).to_le_bytes(),
            &0_u32.to_le_bytes(),
            &2_u64.to_le_bytes(),
            &0_u64.to_le_bytes(),
            &0_u64.to_le_bytes(),
            &4_u64.to_le_bytes(),
            &transaction.to_le_bytes(),
        ]
        .concat();
        file[at + META..at + META + 56].copy_from_slice(&meta);
    }
    file[2 * PAGE..2 * PAGE + root.len()].copy_from_slice(&root);
    file[3 * PAGE..3 * PAGE + entries.len()].copy_from_slice(&entries);
    vec![file]
}
