//! What is sent back.

use bytes::Bytes;
use keyward_authority::refusal::Refusal;
use keyward_authority::response::Response;

/// A status, a body and the header or two that vary.
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type` of a body that is not empty.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
    /// Seconds, for `Retry-After`.
    pub retry_after: Option<u64>,
}

impl Reply {
    /// From the authority's answer.
    pub fn of(response: &Response, request_id: &str) -> Result<Reply, Refusal> {
        let content_type = response.verbatim.as_ref().map_or("application/json", |sent| sent.content_type);
        let body = Bytes::from(response.body(request_id)?);
        Ok(Reply { status: response.http_status(), content_type, body, retry_after: None })
    }

    /// A bare JSON body.
    pub fn json(status: u16, value: &serde_json::Value) -> Reply {
        Reply {
            status,
            content_type: "application/json",
            body: Bytes::from(format!("{value}\n")),
            retry_after: None,
        }
    }

    /// `{"errors": [...]}`.
    pub fn refused(refusal: &Refusal) -> Reply {
        let retry_after = match refusal {
            Refusal::Throttled(seconds) => Some(*seconds),
            _ => None,
        };
        Reply { retry_after, ..Reply::errors(refusal.status(), &refusal.messages()) }
    }

    /// `{"errors": [...]}` with `status`.
    pub fn errors(status: u16, messages: &[String]) -> Reply {
        Reply::json(status, &serde_json::json!({ "errors": messages }))
    }

    /// Nothing but a status.
    pub fn empty(status: u16) -> Reply {
        Reply { status, content_type: "application/json", body: Bytes::new(), retry_after: None }
    }
}
