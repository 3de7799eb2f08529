//! What a service tells on standard error: a JSON object a line.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use keyward_core::Timestamp;
use serde_json::{Map, Value};

/// How much is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Only what an operator must act on.
    Error,
    /// And what went wrong.
    Warn,
    /// And what changes.
    #[default]
    Info,
    /// And every request, with its identifier. Never a plaintext, a ciphertext or a credential, at any level.
    Debug,
}

impl LogLevel {
    /// All of them, from the fewest words on.
    pub const ALL: [LogLevel; 4] = [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug];

    /// As it stands in a line.
    pub fn name(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
        }
    }
}

/// Where events go.
#[derive(Clone, Copy, Debug, Default)]
pub struct Log(pub LogLevel);

impl Log {
    /// Tells of an event. Fields are text, which JSON keeps on one line.
    pub fn event(self, level: LogLevel, message: &str, fields: &[(&str, &str)]) {
        if level > self.0 {
            return;
        }
        let line = line(level, &now().to_string(), message, fields);
        // Nowhere is left to tell that telling failed.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

fn now() -> Timestamp {
    Timestamp::EPOCH.plus(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn line(level: LogLevel, time: &str, message: &str, fields: &[(&str, &str)]) -> String {
    let mut object = Map::new();
    for (name, value) in [("time", time), ("level", level.name()), ("msg", message)].iter().chain(fields) {
        object.insert((*name).to_owned(), Value::from(*value));
    }
    format!("{}\n", Value::Object(object))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let text = line(LogLevel::Warn, "now", "refused", &[("uid", "a\n{\"level\":\"info\"}")]);
        assert_eq!(text.matches('\n').count(), 1);
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["level"], "warn");
        assert_eq!(read["uid"], "a\n{\"level\":\"info\"}");
    }

    #[test]
    fn levels_are_ordered() {
        assert!(
            LogLevel::Error < LogLevel::Warn
                && LogLevel::Warn < LogLevel::Info
                && LogLevel::Info < LogLevel::Debug
        );
    }
}
