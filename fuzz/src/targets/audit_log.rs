//! Audit logs, which whoever could write to the file may have changed.

use keyward_authority::audit::chain::{Head, Verifier};

pub(crate) fn run(data: &[u8]) {
    let mut verifier = Verifier::default();
    for line in data.split_inclusive(|byte| *byte == b'\n') {
        let _ = Head::of_line(line);
        if let Err(found) = verifier.line(line) {
            let _ = found.why.to_string();
            return;
        }
    }
    if let Ok(proved) = verifier.finish(None) {
        assert!(proved.first <= proved.head.seq && proved.records > 0);
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut log = Vec::new();
    let mut head = Head::START;
    for record in [r#"{"type":"request","request":{"path":"secret/data/a"}}"#, r#"{"type":"response"}"#, "{}"] {
        head = head.link("", record, &mut log);
    }
    let mut prefixed = Vec::new();
    Head::START.link("@cee: ", r#"{"a":1}"#, &mut prefixed);
    let third = log.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1).map_or(0, |(at, _)| at + 1);
    vec![log[third..].to_vec(), prefixed, log]
}
