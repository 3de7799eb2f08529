//! Why a request failed, by blame: the network, the trust, the caller, the policy, the seal, the server.

use std::fmt;
use std::time::Duration;

use crate::Reply;
use crate::request::Method;

/// A failed request. Never holds a token or a body of the request.
#[derive(Debug)]
pub enum ClientError {
    /// The request cannot be expressed; nothing was sent.
    Invalid(String),
    /// No connection came about, or it broke before an answer.
    Unreachable {
        /// The address that was tried.
        address: String,
        /// What the operating system or the peer said.
        reason: String,
    },
    /// The peer's certificate is not trusted, or TLS failed otherwise.
    Untrusted {
        /// The address that was tried.
        address: String,
        /// What the check said.
        reason: String,
    },
    /// No answer within the time allowed.
    TimedOut {
        /// The address that was tried.
        address: String,
        /// The time allowed.
        after: Duration,
    },
    /// The answer is not one of an authority: no HTTP, longer than 64 MiB, or a redirect that must not be followed.
    NotUnderstood {
        /// The address that answered.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// 400, 405, 412, 413, 415 and other 4xx: the request is wrong.
    BadRequest(Box<Rejection>),
    /// 403 (and 401): the token, or its policies.
    Denied(Box<Rejection>),
    /// 404: nothing there. The body may still tell something, as of a deleted version.
    NotFound(Box<Rejection>),
    /// 503 (or 501) of an authority that is sealed or not initialised.
    Sealed(Box<Rejection>),
    /// 429: too many requests, even after waiting.
    Limited(Box<Rejection>),
    /// Any other 5xx.
    Server(Box<Rejection>),
}

/// An answer that refuses.
#[derive(Debug)]
pub struct Rejection {
    /// The operation.
    pub method: Method,
    /// The path, without `/v1/`.
    pub path: String,
    /// What the server said.
    pub messages: Vec<String>,
    /// The whole answer.
    pub reply: Reply,
}

impl ClientError {
    /// The error of an answer with a status that is not 2xx.
    pub(crate) fn rejected(method: Method, path: &str, reply: Reply) -> ClientError {
        let messages = reply.errors();
        let sealed =
            messages.iter().any(|message| message.contains("sealed") || message.contains("not initialized"));
        let kind = match reply.status {
            401 | 403 => ClientError::Denied,
            404 => ClientError::NotFound,
            429 => ClientError::Limited,
            501 | 503 if sealed => ClientError::Sealed,
            status if status >= 500 => ClientError::Server,
            _ => ClientError::BadRequest,
        };
        kind(Box::new(Rejection { method, path: path.trim_start_matches('/').to_owned(), messages, reply }))
    }

    /// The refusing answer, when there was an answer.
    pub fn rejection(&self) -> Option<&Rejection> {
        match self {
            ClientError::BadRequest(rejection)
            | ClientError::Denied(rejection)
            | ClientError::NotFound(rejection)
            | ClientError::Sealed(rejection)
            | ClientError::Limited(rejection)
            | ClientError::Server(rejection) => Some(rejection),
            _ => None,
        }
    }

    /// What to do about it, in one sentence.
    pub fn remedy(&self) -> &'static str {
        match self {
            ClientError::Invalid(_) => "correct the request",
            ClientError::Unreachable { .. } => "check that the authority runs and that VAULT_ADDR names it",
            ClientError::Untrusted { .. } => {
                "name the CA with VAULT_CACERT, and the name in the certificate with VAULT_TLS_SERVER_NAME"
            }
            ClientError::TimedOut { .. } => "check the network, or allow more time with VAULT_CLIENT_TIMEOUT",
            ClientError::NotUnderstood { .. } => {
                "check that VAULT_ADDR names an authority, and http or https as it listens"
            }
            ClientError::BadRequest(_) => "correct the request",
            ClientError::Denied(_) => "log in again, or ask for a policy that allows this path",
            ClientError::NotFound(_) => "check the path and what is mounted there",
            ClientError::Sealed(_) => "initialise or unseal the authority (operator init, operator unseal)",
            ClientError::Limited(_) => "wait, then try again",
            ClientError::Server(_) => "look into the authority's log; the request may be tried again",
        }
    }
}

impl ClientError {
    /// What happened and why, without [`ClientError::remedy`].
    pub fn reason(&self) -> String {
        match self {
            ClientError::Invalid(why) => why.clone(),
            ClientError::Unreachable { address, reason } => format!("cannot connect to {address}: {reason}"),
            ClientError::Untrusted { address, reason } => {
                format!("the TLS peer {address} is not trusted: {reason}")
            }
            ClientError::TimedOut { address, after } => format!("{address} did not answer within {after:?}"),
            ClientError::NotUnderstood { address, reason } => {
                format!("the answer of {address} is not understood: {reason}")
            }
            ClientError::BadRequest(rejection)
            | ClientError::Denied(rejection)
            | ClientError::NotFound(rejection)
            | ClientError::Sealed(rejection)
            | ClientError::Limited(rejection)
            | ClientError::Server(rejection) => rejection.to_string(),
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Invalid(why) => f.write_str(why),
            other => write!(f, "{} ({})", other.reason(), other.remedy()),
        }
    }
}

impl Rejection {
    /// What the server said, in one line; the status in words when it said nothing.
    ///
    /// Vault's servers put some errors into a list of their own (`1 error occurred:\n\t* permission denied`), of
    /// which the items are kept.
    pub fn said(&self) -> String {
        let lines = self.messages.iter().flat_map(|message| message.lines()).map(str::trim);
        let lines = lines.map(|line| line.strip_prefix("* ").unwrap_or(line));
        let heading = |line: &str| line.ends_with(" error occurred:") || line.ends_with(" errors occurred:");
        let items: Vec<&str> = lines.filter(|line| !line.is_empty() && !heading(line)).collect();
        if !items.is_empty() {
            return items.join("; ");
        }
        let status = http::StatusCode::from_u16(self.reply.status).ok();
        status.and_then(|status| status.canonical_reason()).unwrap_or("refused").to_owned()
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {} [{}]", self.method.name(), self.path, self.said(), self.reply.status)
    }
}

impl std::error::Error for ClientError {}
