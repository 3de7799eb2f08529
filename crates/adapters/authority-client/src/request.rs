//! What is asked.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use keyward_crypto::Secret;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::ClientError;

/// The operation on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Read.
    Get,
    /// List; sent as GET with `list=true`, which every proxy lets through.
    List,
    /// Create or update.
    Post,
    /// Create or update.
    Put,
    /// Merge into what is there; sent as `application/merge-patch+json`.
    Patch,
    /// Delete.
    Delete,
    /// Read the headers only.
    Head,
}

impl Method {
    pub(crate) fn http(self) -> http::Method {
        match self {
            Method::Get | Method::List => http::Method::GET,
            Method::Post => http::Method::POST,
            Method::Put => http::Method::PUT,
            Method::Patch => http::Method::PATCH,
            Method::Delete => http::Method::DELETE,
            Method::Head => http::Method::HEAD,
        }
    }

    /// Whether the request changes nothing, so that one cut off half-way may be sent again.
    pub(crate) fn is_read(self) -> bool {
        matches!(self, Method::Get | Method::List | Method::Head)
    }

    /// The name of the operation as people know it.
    pub fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::List => "LIST",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
            Method::Head => "HEAD",
        }
    }
}

/// The body of a request.
#[derive(Clone, Copy)]
pub enum Body<'a> {
    /// A JSON value.
    Json(&'a Value),
    /// Bytes as they are: JSON unless the options name another content type.
    Raw(&'a [u8]),
}

impl<'a> From<&'a Value> for Body<'a> {
    fn from(value: &'a Value) -> Body<'a> {
        Body::Json(value)
    }
}

impl Body<'_> {
    /// The bytes to send, wiped after the last use.
    pub(crate) fn to_bytes(self) -> Bytes {
        let raw = match self {
            Body::Json(value) => value.to_string().into_bytes(),
            Body::Raw(raw) => raw.to_vec(),
        };
        Bytes::from_owner(Zeroizing::new(raw))
    }
}

/// What may differ from one request to the next.
#[derive(Default)]
pub struct RequestOptions {
    /// Asks for the answer to be wrapped in a single-use token of this life; overrides the configuration.
    pub wrap_ttl: Option<Duration>,
    /// Used in place of the client's token. An empty one sends none, for paths that need no token.
    pub token: Option<Secret<String>>,
    /// Query parameters, not yet encoded.
    pub query: Vec<(String, String)>,
    /// Further headers. A name or value that HTTP does not allow fails the request.
    pub headers: Vec<(String, String)>,
    /// The content type of the body, when it is not the one of the method.
    pub content_type: Option<String>,
}

/// The path and query as sent. Segments that could change the meaning of the path are refused.
pub(crate) fn target(
    prefix: &str,
    method: Method,
    path: &str,
    query: &[(String, String)],
) -> Result<String, ClientError> {
    let path = path.trim_start_matches('/');
    if path.is_empty() {
        return Err(ClientError::Invalid("the path is empty: name one, such as secret/data/app".to_owned()));
    }
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(ClientError::Invalid(format!(
            "{path:?} is not a path of the authority: it has a . or .. segment"
        )));
    }
    let mut target = format!("{prefix}/v1/");
    encode(&mut target, path, b"-._~/:@!$&'()*+,;=");
    let list = [("list".to_owned(), "true".to_owned())];
    let list: &[_] = if method == Method::List { &list } else { &[] };
    for (at, (name, value)) in list.iter().chain(query).enumerate() {
        target.push(if at == 0 { '?' } else { '&' });
        encode(&mut target, name, b"-._~");
        target.push('=');
        encode(&mut target, value, b"-._~");
    }
    Ok(target)
}

fn encode(out: &mut String, text: &str, kept: &[u8]) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_encoded() {
        let query = [("q".to_owned(), "a b&c".to_owned())];
        assert_eq!(target("", Method::Get, "secret/data/a b?c", &[]).unwrap(), "/v1/secret/data/a%20b%3Fc");
        assert_eq!(
            target("/x", Method::List, "/secret/", &query).unwrap(),
            "/x/v1/secret/?list=true&q=a%20b%26c"
        );
        assert_eq!(target("", Method::Post, "sys/é", &[]).unwrap(), "/v1/sys/%C3%A9");
    }

    #[test]
    fn a_path_cannot_climb() {
        for path in ["", "/", "secret/../sys", "..", "a/./b"] {
            assert!(target("", Method::Get, path, &[]).is_err(), "{path:?}");
        }
        assert!(target("", Method::Get, "secret/..hidden", &[]).is_ok());
    }
}
