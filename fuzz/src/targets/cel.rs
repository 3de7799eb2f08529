//! CEL of admission policies.

use keyward_admission::evaluate;
use serde_json::json;

pub(crate) fn run(data: &[u8]) {
    let Some(text) = crate::text(data) else { return };
    let object = json!({"a": {"b": [1, "x", null, {"c": "1Gi"}]}, "m": {"k": 1}});
    if let Err(why) = evaluate(text, &[("object", &object)], 0) {
        assert!(!why.is_empty());
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    crate::texts(&[
        "object.a.b.all(e, e != 2) && has(object.m.k)",
        "object.?q[?'r'].orValue('%s'.format([1]))",
        "quantity('1Gi').add(quantity('1')) == quantity('2')",
        "Object{spec: Object.spec{a: [JSONPatch{op: 'add', path: '/x'}]}}",
        "cel.bind(x, b'\\xff', size(x)) + timestamp('2026-01-02T15:04:05Z').getHours()",
    ])
}
