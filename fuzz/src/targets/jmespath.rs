//! JMESPath of admission policies, and documents that it is searched in.

use keyward_admission::search;
use serde_json::json;

pub(crate) fn run(data: &[u8]) {
    let Some(text) = crate::text(data) else { return };
    let document = json!({"a": {"b": [1, "x", null, {"c": "1Gi"}]}, "l": [[1], [2]], "t": "2026-01-02T15:04:05Z"});
    if let Err(why) = search(text, &document) {
        assert!(!why.is_empty());
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    crate::texts(&[
        "a.b[?c].c | [0] || 'x'",
        "{x: a.*, \"y z\": l[::-1][]}",
        "add(a.b[3].c, '1Mi')",
        "time_add(t, '1h30m')",
        "regex_replace_all('(a)(b)', 'ab', '$2$1')",
        "sort_by(l, &[0])[-1]",
    ])
}
