//! The same requests to Vault's transit engine, whose answers were recorded, and to ours.
//!
//! `tests/go/transit-oracle` tells how they were recorded and what stands for what differs between runs.

use super::*;
use std::collections::HashMap;

/// Where the answers are meant to differ: how the step begins, and what ours is.
const DIFFERENCES: &[(&str, &str)] = &[
    // The engine says nothing; Vault's server makes 404 of that, as this engine does itself.
    ("read keys/none", "404"),
    ("read export/encryption-key/none", "404"),
    // The message goes on to say what to do.
    ("update keys/bad {\"type\":\"hmac\",\"key_size\":31}", "invalid key_size 31: write 32 to 512 bytes"),
    // Vault has refused these nonces since 1.14.3: a repeated one gives the key away.
    ("update encrypt/a {\"plaintext\":\"\",\"nonce\":\"MTIz", "nonce provided when not allowed"),
    (
        "update encrypt/conv {\"plaintext\":\"\",\"context\":\"Yw==\",\"nonce\"",
        "nonce provided when not allowed",
    ),
    // Never valid, whatever the policy.
    (
        "update hmac/a {\"input\":\"bQ==\",\"key_version\":-1}",
        "key version does not exist (cannot be negative)",
    ),
];

struct Replay {
    bench: Bench,
    known: HashMap<String, String>,
}

impl Replay {
    fn ask(&mut self, step: &str) -> Answer {
        let (step, saves) = step.split_once(" > ").unwrap_or((step, ""));
        let mut parts = step.splitn(3, ' ');
        let (operation, path) = (parts.next().unwrap(), parts.next().unwrap());
        let mut body = parts.next().unwrap_or("{}").to_owned();
        // The longest names first: $ct must not be found in $ct3.
        let mut names: Vec<&String> = self.known.keys().collect();
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        for name in names {
            body = body.replace(&format!("${name}"), &self.known[name]);
        }
        let path = format!("transit/{path}");
        let answer = match operation {
            "update" => self.bench.root(Operation::Update, &path, &body),
            "delete" => self.bench.root(Operation::Delete, &path, ""),
            "list" => self.bench.root(Operation::List, path.trim_end_matches('/'), ""),
            _ => {
                let query: serde_json::Map<String, Value> = serde_json::from_str(&body).unwrap();
                let query: Vec<String> =
                    query.iter().map(|(name, value)| format!("{name}={}", text(value))).collect();
                self.bench.root(Operation::Read, &format!("{path}?{}", query.join("&")), "")
            }
        };
        for save in saves.split_whitespace() {
            let (name, field) = save.split_once('=').unwrap();
            let pointer = format!("/{}", field.replace('.', "/"));
            let value = answer.data().pointer(&pointer).unwrap_or_else(|| panic!("{step}: {answer:?}"));
            self.known.insert(name.to_owned(), text(value).to_owned());
        }
        answer
    }
}

/// What differs from run to run, replaced as in the recording.
fn settled(name: &str, value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let settle = |(key, inner): (&String, &Value)| {
                let inner = match settled(key, inner) {
                    Value::Number(number) if name == "keys" && number.as_u64() > Some(1_000_000_000) => {
                        json!("<time>")
                    }
                    Value::String(text) if name == "keys" && !text.is_empty() => json!("<text>"),
                    other => other,
                };
                (key.clone(), inner)
            };
            Value::Object(map.iter().map(settle).collect())
        }
        Value::Array(items) => items.iter().map(|item| settled(name, item)).collect(),
        Value::String(text) => match name {
            "time" | "creation_time" => json!("<time>"),
            "public_key" | "publickey" | "backup" | "random_bytes" if !text.is_empty() => json!("<text>"),
            "plaintext" if text.len() > 20 => json!("<text>"),
            _ => match text.strip_prefix("vault:v").and_then(|rest| rest.split_once(':')) {
                Some((version, _)) if version.parse::<u64>().is_ok() => {
                    json!(format!("vault:v{version}:<text>"))
                }
                _ => value.clone(),
            },
        },
        other => other.clone(),
    }
}

/// Without what the recorded version did not have yet.
fn shared(value: &Value) -> Value {
    let mut value = settled("", value);
    if let Some(map) = value.as_object_mut() {
        map.remove("soft_deleted");
    }
    value
}

#[test]
fn answers_are_those_of_vault() {
    let mut replay = Replay { bench: mounted(), known: HashMap::new() };
    let mut wrong = Vec::new();
    for line in include_str!("vault-1.14.jsonl").lines() {
        let recorded: Value = serde_json::from_str(line).unwrap();
        let step = text(&recorded["step"]);
        let ours = replay.ask(step);
        if let Some((_, expected)) = DIFFERENCES.iter().find(|(begin, _)| step.starts_with(begin)) {
            assert!(ours.status.to_string() == *expected || ours.errors() == *expected, "{step}: {ours:?}");
            continue;
        }
        let status = match recorded["status"].as_u64().unwrap() {
            // What the caller can mend is never a 500 here.
            500 => 400,
            status => status,
        };
        let error = recorded["error"].as_str().unwrap_or("");
        let data = &recorded["data"];
        let own = if ours.body.is_null() { Value::Null } else { shared(ours.data()) };
        if (u64::from(ours.status), ours.errors().as_str()) != (status, error) || own != *data {
            wrong.push(format!(
                "{step}\n  vault: {status} {error} {data}\n  ours:  {} {} {own}",
                ours.status,
                ours.errors()
            ));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
