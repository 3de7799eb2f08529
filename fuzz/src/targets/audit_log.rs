//! Audit logs, which whoever could write to the file may have changed.

use keyward_authority::audit::chain::{Head, Verifier};
use keyward_authority::audit::search::{Place, Query, Search};

pub(crate) fn run(data: &[u8]) {
    search(data);
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

/// Every part of a query is held against each line.
fn search(data: &[u8]) {
    let text = |text: &str| text.to_owned();
    let narrow = Query {
        path: text("secret/*"),
        lease: text("database/creds"),
        hashed_lease: text("h"),
        who: vec![text("root")],
        ..Query::default()
    };
    let lease = Query { lease: text("database/creds"), ..Query::default() };
    for query in [Query::default(), narrow, lease] {
        let mut search = Search::new(query);
        for (line, number) in data.split_inclusive(|byte| *byte == b'\n').zip(1..) {
            search.line(line, Place { file: 0, line: number });
        }
        search.finish().for_each(drop);
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
    let mut searched = Vec::new();
    Head::START.link(
        "",
        r#"{"time":"2026-11-21T12:00:00Z","type":"response","auth":{"display_name":"root","entity_id":"e","metadata":{"pod_name":"p","service_account_namespace":"n"}},"request":{"id":"1","operation":"read","path":"secret/data/a","mount_point":"secret/","mount_type":"kv","data":{"lease_id":"h"}},"response":{"auth":{"accessor":"a"},"secret":{"lease_id":"database/creds/app/h1"}}}"#,
        &mut searched,
    );
    vec![log[third..].to_vec(), prefixed, log, searched]
}
