//! What is answered.

use std::fmt;

use http::HeaderMap;
use serde_json::Value;
use zeroize::Zeroizing;

/// An answer of the authority. Its bytes may hold secrets: they are wiped on drop and never shown by `Debug`.
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The response headers.
    pub headers: HeaderMap,
    raw: Zeroizing<Vec<u8>>,
}

impl Reply {
    pub(crate) fn new(status: u16, headers: HeaderMap, raw: Zeroizing<Vec<u8>>) -> Reply {
        Reply { status, headers, raw }
    }

    /// The body as it came; empty for 204.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The body as JSON; `None` when it is empty or no JSON.
    pub fn body(&self) -> Option<Value> {
        serde_json::from_slice(&self.raw).ok()
    }

    /// The `data` member of the body, unless absent or null.
    pub fn data(&self) -> Option<Value> {
        let Some(Value::Object(mut body)) = self.body() else { return None };
        body.remove("data").filter(|data| !data.is_null())
    }

    /// The `errors` of the body.
    pub fn errors(&self) -> Vec<String> {
        self.strings("errors")
    }

    /// The `warnings` of the body.
    pub fn warnings(&self) -> Vec<String> {
        self.strings("warnings")
    }

    fn strings(&self, member: &str) -> Vec<String> {
        let Some(Value::Object(mut body)) = self.body() else { return Vec::new() };
        match body.remove(member) {
            Some(Value::Array(texts)) => texts.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply {{ status: {}, {} bytes }}", self.status, self.raw.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(raw: &str) -> Reply {
        Reply::new(200, HeaderMap::new(), Zeroizing::new(raw.as_bytes().to_vec()))
    }

    #[test]
    fn members_are_found() {
        let found = reply(r#"{"data":{"a":1},"warnings":["w"],"errors":["e",2]}"#);
        assert_eq!(found.data(), Some(serde_json::json!({"a": 1})));
        assert_eq!(found.warnings(), ["w"]);
        assert_eq!(found.errors(), ["e"]);
        for raw in ["", "[]", "nonsense", r#"{"data":null,"warnings":null}"#] {
            assert_eq!(reply(raw).data(), None, "{raw}");
            assert!(reply(raw).warnings().is_empty(), "{raw}");
        }
    }

    #[test]
    fn a_reply_does_not_show_its_body() {
        assert_eq!(format!("{:?}", reply("hunter2")), "Reply { status: 200, 7 bytes }");
    }
}
