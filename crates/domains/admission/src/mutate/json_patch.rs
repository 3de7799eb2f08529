//! JSON patches (RFC 6902), as policies expect them: what is missing on the way is made, what is to be removed may be missing,
//! and indexes count from the end where they are negative.

use serde_json::{Map, Value};

/// The longest list that an addition may make.
const LENGTH: usize = 100_000;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Operation {
    op: Op,
    path: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
enum Op {
    Add(Value),
    Remove,
    Replace(Value),
    Test(Value),
    Copy(Vec<String>),
    Move(Vec<String>),
}

/// The operations of a patch.
pub(crate) fn parse(patch: &Value) -> Result<Vec<Operation>, String> {
    let list = patch.as_array().ok_or("a JSON patch is a list of operations")?;
    list.iter().map(operation).collect()
}

fn operation(value: &Value) -> Result<Operation, String> {
    let path = pointer(value, "path")?;
    let given = || value.get("value").cloned().unwrap_or(Value::Null);
    let op = match value["op"].as_str().unwrap_or_default() {
        "add" => Op::Add(given()),
        "replace" => Op::Replace(given()),
        "test" => Op::Test(given()),
        "remove" => Op::Remove,
        "copy" => Op::Copy(pointer(value, "from")?),
        "move" => Op::Move(pointer(value, "from")?),
        other => {
            let hint = crate::nearest::hint(other, ["add", "replace", "test", "remove", "copy", "move"]);
            return Err(format!("there is no operation {other}{hint}"));
        }
    };
    Ok(Operation { op, path })
}

fn pointer(value: &Value, key: &str) -> Result<Vec<String>, String> {
    let text = value[key].as_str().ok_or_else(|| format!("an operation has no {key}"))?;
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let text =
        text.strip_prefix('/').ok_or_else(|| format!("{text} is not a JSON pointer, which begins with /"))?;
    Ok(text.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect())
}

/// Changes a document by operations; the first that cannot be done stops.
pub(crate) fn apply(document: &mut Value, operations: &[Operation]) -> Result<(), String> {
    for operation in operations {
        let path = &operation.path;
        match &operation.op {
            Op::Add(value) => add(document, path, value.clone())?,
            Op::Replace(value) => {
                let place = find(document, path).ok_or_else(|| missing(path))?;
                *place = value.clone();
            }
            Op::Remove => {
                remove(document, path);
            }
            Op::Test(value) => {
                if find(document, path).map(|found| &*found) != Some(value) {
                    return Err(format!("the test of /{} failed", path.join("/")));
                }
            }
            Op::Copy(from) => {
                let value = find(document, from).cloned().ok_or_else(|| missing(from))?;
                add(document, path, value)?;
            }
            Op::Move(from) => {
                let value = remove(document, from).ok_or_else(|| missing(from))?;
                add(document, path, value)?;
            }
        }
    }
    Ok(())
}

fn missing(path: &[String]) -> String {
    format!("there is nothing at /{}", path.join("/"))
}

fn index(step: &str, length: usize) -> Option<usize> {
    match step.parse::<i64>().ok()? {
        negative if negative < 0 => usize::try_from(negative + i64::try_from(length).ok()?).ok(),
        index => usize::try_from(index).ok(),
    }
}

fn find<'d>(document: &'d mut Value, path: &[String]) -> Option<&'d mut Value> {
    path.iter().try_fold(document, |value, step| match value {
        Value::Object(map) => map.get_mut(step),
        Value::Array(list) => {
            let at = index(step, list.len())?;
            list.get_mut(at)
        }
        _ => None,
    })
}

fn remove(document: &mut Value, path: &[String]) -> Option<Value> {
    let (last, above) = path.split_last()?;
    match find(document, above)? {
        Value::Object(map) => map.remove(last),
        Value::Array(list) => {
            let at = index(last, list.len()).filter(|at| *at < list.len())?;
            Some(list.remove(at))
        }
        _ => None,
    }
}

fn add(document: &mut Value, path: &[String], value: Value) -> Result<(), String> {
    let Some((step, rest)) = path.split_first() else {
        *document = value;
        return Ok(());
    };
    if document.is_null() {
        // What is missing is a list where an index follows, else a mapping.
        let list = step == "-" || step.parse::<usize>().is_ok();
        *document = if list { Value::Array(Vec::new()) } else { Value::Object(Map::new()) };
    }
    match document {
        Value::Object(map) if rest.is_empty() => {
            map.insert(step.clone(), value);
            Ok(())
        }
        Value::Object(map) => add(map.entry(step.as_str()).or_insert(Value::Null), rest, value),
        Value::Array(list) => {
            let at = if step == "-" {
                list.len()
            } else {
                index(step, list.len()).ok_or_else(|| format!("{step} is not an index"))?
            };
            if at > LENGTH {
                return Err(format!("index {at} is beyond {LENGTH}"));
            }
            if rest.is_empty() {
                list.insert(at.min(list.len()), value);
                return Ok(());
            }
            if at >= list.len() {
                list.push(Value::Null);
            }
            let at = at.min(list.len() - 1);
            add(&mut list[at], rest, value)
        }
        other => Err(format!("{step} cannot be added to {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lenient() {
        let mut document = json!({"a": [1, 2]});
        let patch = json!([
            {"op": "add", "path": "/b/c/d", "value": 1},
            {"op": "add", "path": "/a/-", "value": 3},
            {"op": "remove", "path": "/nothing"},
            {"op": "replace", "path": "/a/-1", "value": 4},
            {"op": "add", "path": "/l/-", "value": "x~y"},
            {"op": "copy", "from": "/a/0", "path": "/first"},
            {"op": "test", "path": "/first", "value": 1},
            {"op": "move", "from": "/first", "path": "/m~1n"},
        ]);
        apply(&mut document, &parse(&patch).unwrap()).unwrap();
        assert_eq!(document, json!({"a": [1, 2, 4], "b": {"c": {"d": 1}}, "l": ["x~y"], "m/n": 1}));
        assert!(
            apply(&mut document, &parse(&json!([{"op": "replace", "path": "/z", "value": 1}])).unwrap())
                .is_err()
        );
        assert!(parse(&json!([{"op": "ad", "path": "/z"}])).unwrap_err().contains("add"));
    }
}
