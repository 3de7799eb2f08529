//! What a client asked, free of any transport.

use crate::fields::Fields;
use keyward_core::Timestamp;
use keyward_crypto::Secret;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// What is to be done at a path. `PUT` and `POST` both arrive as [`Operation::Update`] and become
/// [`Operation::Create`] when the route's existence check says that nothing is there yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Write where nothing is.
    Create,
    /// `GET`.
    Read,
    /// Write where something may be.
    Update,
    /// `PATCH` with a JSON merge patch (RFC 7396).
    Patch,
    /// `DELETE`.
    Delete,
    /// `LIST`, or `GET` with `?list=true`.
    List,
    /// Any method with `?help=1`.
    Help,
}

impl Operation {
    /// The name audit records use.
    pub const fn name(self) -> &'static str {
        match self {
            Operation::Create => "create",
            Operation::Read => "read",
            Operation::Update => "update",
            Operation::Patch => "patch",
            Operation::Delete => "delete",
            Operation::List => "list",
            Operation::Help => "help",
        }
    }
}

/// How a wrapped answer's token is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrap {
    /// How long the wrapping token lives.
    pub ttl: Duration,
}

/// What the `Content-Type` of a body says, as far as it matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Media {
    /// JSON, or nothing that matters.
    #[default]
    Json,
    /// `application/merge-patch+json` (RFC 7396).
    MergePatch,
    /// `application/jose+json` (RFC 7515, section 9.2.1).
    Jose,
}

/// What a client shows of itself besides a token.
#[derive(Default)]
pub struct Shown {
    /// Name and password of HTTP's basic authentication (RFC 7617), with the colon between them.
    pub basic: Option<Secret<String>>,
    /// Second factors, one each: `METHOD:PASSCODE`, as the header `X-Vault-MFA` has them.
    pub factors: Vec<Secret<String>>,
}

/// One request, parsed.
pub struct Request {
    /// A random UUID, repeated in the answer and in audit records.
    pub id: String,
    /// See [`Operation`].
    pub operation: Operation,
    /// The path below `/v1/`, without a leading slash; a `List` path ends in a slash.
    pub path: String,
    /// The body's top-level fields, or the query's for requests without a body.
    pub fields: Fields,
    /// The token as the client sent it.
    pub token: Option<Secret<String>>,
    /// What else the client shows of itself.
    pub shown: Shown,
    /// Asks for the answer to be wrapped.
    pub wrap: Option<Wrap>,
    /// The request headers that audit records show; others need not be here.
    pub headers: Vec<(String, String)>,
    /// The client's address, when the transport has one.
    pub remote: Option<SocketAddr>,
    /// The certificates that the client showed in TLS, its own first, in DER. It has proved to hold the key of the first;
    /// nothing else of them is verified. Empty without TLS, or when it showed none.
    pub certificates: Arc<[Vec<u8>]>,
    /// What the body is said to be.
    pub media: Media,
    /// Only the headers of the answer will be sent: the method was `HEAD`.
    pub head: bool,
    /// When the request arrived.
    pub arrived: Timestamp,
}

/// Joins repeated slashes, drops a leading one, and refuses what could name another entry than it seems to:
/// `.` and `..` segments and control characters. At most 1,024 bytes, so that every storage key made of a path
/// stays within the store's limit.
pub fn normalize_path(path: &str) -> Option<String> {
    let mut out = String::with_capacity(path.len());
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        if segment == "." || segment == ".." || segment.chars().any(char::is_control) {
            return None;
        }
        if !out.is_empty() {
            out.push('/');
        }
        out.push_str(segment);
    }
    if path.ends_with('/') && !out.is_empty() {
        out.push('/');
    }
    (out.len() <= 1024).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_form() {
        for (given, wanted) in [
            ("secret/data/a", Some("secret/data/a")),
            ("/secret//data/a/", Some("secret/data/a/")),
            ("", Some("")),
            ("//", Some("")),
            ("secret/../sys", None),
            ("secret/./a", None),
            ("secret/a\nb", None),
            ("secret/a b/ü", Some("secret/a b/ü")),
            ("secret/...", Some("secret/...")),
        ] {
            assert_eq!(normalize_path(given).as_deref(), wanted, "{given:?}");
        }
        assert!(normalize_path(&"a".repeat(1024)).is_some());
        assert!(normalize_path(&"a".repeat(1025)).is_none());
    }
}
