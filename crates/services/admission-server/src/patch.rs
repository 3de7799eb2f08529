//! What mutations made of an object, as a JSON patch (RFC 6902).

use serde_json::{Value, json};

/// The operations that make one value of another; lists of other lengths are replaced whole.
pub(crate) fn difference(before: &Value, after: &Value) -> Vec<Value> {
    let mut operations = Vec::new();
    walk(before, after, &mut String::new(), &mut operations);
    operations
}

fn walk(before: &Value, after: &Value, path: &mut String, out: &mut Vec<Value>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Value::Object(old), Value::Object(new)) => {
            for (key, value) in old {
                within(path, key, |path| match new.get(key) {
                    Some(changed) => walk(value, changed, path, out),
                    None => out.push(json!({"op": "remove", "path": path})),
                });
            }
            for (key, value) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
                within(path, key, |path| out.push(json!({"op": "add", "path": path, "value": value})));
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (index, (value, changed)) in old.iter().zip(new).enumerate() {
                within(path, &index.to_string(), |path| walk(value, changed, path, out));
            }
        }
        (_, after) => out.push(json!({"op": "replace", "path": path, "value": after})),
    }
}

fn within(path: &mut String, key: &str, then: impl FnOnce(&mut String)) {
    let length = path.len();
    path.push('/');
    path.push_str(&key.replace('~', "~0").replace('/', "~1"));
    then(path);
    path.truncate(length);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_and_nothing_else() {
        let before = json!({"a": {"b/c": 1, "gone": true}, "list": [{"x": 1}, 2], "same": [1]});
        let after = json!({"a": {"b/c": 2, "new~": []}, "list": [{"x": 2}, 2], "same": [1], "more": null});
        assert_eq!(
            difference(&before, &after),
            [
                json!({"op": "replace", "path": "/a/b~1c", "value": 2}),
                json!({"op": "remove", "path": "/a/gone"}),
                json!({"op": "add", "path": "/a/new~0", "value": []}),
                json!({"op": "replace", "path": "/list/0/x", "value": 2}),
                json!({"op": "add", "path": "/more", "value": null}),
            ]
        );
        assert!(difference(&before, &before).is_empty());
        assert_eq!(
            difference(&json!([1]), &json!([1, 2])),
            [json!({"op": "replace", "path": "", "value": [1, 2]})]
        );
    }
}
