//! Bodies of requests: JSON, and fields of it as their kinds want them.

use keyward_authority::fields::Fields;

pub(crate) fn run(data: &[u8]) {
    let Ok(fields) = Fields::parse(data) else { return };
    let names: Vec<String> = fields.names().map(str::to_owned).collect();
    for name in &names {
        let _ = (fields.string(name), fields.int(name), fields.bool(name), fields.duration(name));
        let _ = (fields.strings(name), fields.ints(name), fields.pairs(name), fields.value(name));
    }
    // What was read is written so that it reads the same.
    if let Ok(object) = fields.to_object() {
        let again = Fields::parse(fields.to_json().as_bytes()).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(again.to_object().ok(), Some(object));
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    crate::texts(&[
        r#"{"data": {"a": "b"}, "options": {"cas": 1}}"#,
        r#"{"ttl": "1h", "num_uses": "5", "renewable": "true", "policies": "a,b", "meta": {"k": "v"}, "n": null}"#,
        r#"{"a": [1, 2.5, -3e4, "\u00fc\ud83d\ude00"], "a": {"deep": [[[]]]}}"#,
    ])
}
