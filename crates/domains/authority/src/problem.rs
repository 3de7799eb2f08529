//! Problem documents (RFC 7807): how protocols that are not Vault's say why a request was refused.

use serde_json::{Value, json};

/// The media type of a problem document.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// Why a request was refused, in the terms of the protocol it came by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// Names the kind of problem: a URI.
    pub kind: String,
    /// What happened, why and what to do, for people; without any secret.
    pub detail: String,
    /// Headers that go with it.
    pub headers: Vec<(&'static str, String)>,
    /// Other members of the document.
    pub members: Vec<(&'static str, Value)>,
}

impl Problem {
    /// The document.
    pub fn document(&self) -> Value {
        let mut document = json!({ "type": self.kind, "detail": self.detail, "status": self.status });
        for (name, value) in &self.members {
            document[name] = value.clone();
        }
        document
    }
}
