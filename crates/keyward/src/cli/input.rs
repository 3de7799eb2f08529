//! Values on the command line: `key=value`, `key=@file`, `key=-` (standard input), `@file.json`, `-`.
//!
//! A secret in an argument can be read in the process list: `@file` and `-` keep it out.

use super::Failure;
use serde_json::{Map, Value};
use std::io::Read;

/// The object that `words` describe. Equal keys make a list, as people expect of `policies=a policies=b`.
pub(crate) fn object(words: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut object = Map::new();
    for word in words {
        if word == "-" || word.starts_with('@') {
            let whole: Map<String, Value> = serde_json::from_str(&content(word)?)
                .map_err(|why| Failure::Usage(format!("{word} is not a JSON object: line {}", why.line())))?;
            object.extend(whole);
            continue;
        }
        let Some((key, value)) = word.split_once('=') else {
            return Err(Failure::Usage(format!(
                "an argument is not understood: write key=value, key=@file, @file.json or - for standard input{}",
                if word.len() < 20 { format!(" ({word})") } else { String::new() }
            )));
        };
        let value = match value {
            escaped if escaped.starts_with("\\@") => escaped[1..].to_owned(),
            from if from == "-" || from.starts_with('@') => content(from)?,
            plain => plain.to_owned(),
        };
        match object.get_mut(key) {
            None => drop(object.insert(key.to_owned(), Value::String(value))),
            Some(Value::Array(values)) => values.push(Value::String(value)),
            Some(one) => *one = Value::Array(vec![one.take(), Value::String(value)]),
        }
    }
    Ok(object)
}

/// What `@file` or `-` names; any other word is itself.
pub(crate) fn content(word: &str) -> Result<String, Failure> {
    if word == "-" {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(|why| Failure::Usage(format!("standard input cannot be read: {why}")))?;
        return Ok(text);
    }
    match word.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file)
            .map_err(|why| Failure::Usage(format!("{file} cannot be read: {why}"))),
        None => Ok(word.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(words: &[&str]) -> Result<Value, Failure> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        object(&words).map(Value::Object)
    }

    #[test]
    fn words_become_an_object() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f");
        std::fs::write(&file, r#"{"x":1}"#).unwrap();
        let at = format!("@{}", file.display());
        assert_eq!(read(&["a=1", "b=x=y", "c="]).unwrap(), json!({"a": "1", "b": "x=y", "c": ""}));
        assert_eq!(read(&["p=a", "p=b", "p=c"]).unwrap(), json!({"p": ["a", "b", "c"]}));
        assert_eq!(read(&[&at, "y=2"]).unwrap(), json!({"x": 1, "y": "2"}));
        assert_eq!(
            read(&[&format!("z={at}"), "w=\\@home"]).unwrap(),
            json!({"z": "{\"x\":1}", "w": "@home"})
        );
        assert!(read(&["plain"]).is_err() && read(&["@/does/not/exist"]).is_err());
        let long = read(&["hunter2hunter2hunter2hunter2"]).err().map(|why| why.to_string());
        assert!(long.is_some_and(|why| !why.contains("hunter2")));
    }
}
