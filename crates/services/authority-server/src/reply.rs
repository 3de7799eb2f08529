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
    /// Headers of its own, by lower-case name.
    pub headers: Vec<(&'static str, String)>,
}

impl Reply {
    /// From the authority's answer.
    pub fn of(response: &Response, request_id: &str) -> Result<Reply, Refusal> {
        let content_type = response.verbatim.as_ref().map_or("application/json", |sent| sent.content_type);
        let body = Bytes::from(response.body(request_id)?);
        Ok(Reply { status: response.http_status(), content_type, body, headers: response.headers.clone() })
    }

    /// A bare JSON body.
    pub fn json(status: u16, value: &serde_json::Value) -> Reply {
        Reply {
            status,
            content_type: "application/json",
            body: Bytes::from(format!("{value}\n")),
            headers: Vec::new(),
        }
    }

    /// `{"errors": [...]}`, or the document of a protocol that has its own.
    pub fn refused(refusal: &Refusal) -> Reply {
        match refusal {
            Refusal::Problem(problem) => Reply {
                content_type: keyward_authority::problem::MEDIA_TYPE,
                headers: problem.headers.clone(),
                ..Reply::json(problem.status, &problem.document())
            },
            Refusal::Throttled(seconds) => Reply {
                headers: vec![("retry-after", seconds.to_string())],
                ..Reply::errors(refusal.status(), &refusal.messages())
            },
            _ => Reply::errors(refusal.status(), &refusal.messages()),
        }
    }

    /// `{"errors": [...]}` with `status`.
    pub fn errors(status: u16, messages: &[String]) -> Reply {
        Reply::json(status, &serde_json::json!({ "errors": messages }))
    }

    /// Nothing but a status.
    pub fn empty(status: u16) -> Reply {
        Reply { status, content_type: "application/json", body: Bytes::new(), headers: Vec::new() }
    }
}
