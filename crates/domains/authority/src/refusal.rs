//! Why a request was not carried out, by who must act, and the one table of statuses and wire texts.

use crate::outside::Question;
use crate::problem::Problem;
use keyward_core::Fault;
use std::borrow::Cow;
use std::sync::Arc;

/// A refused request. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The caller must send something else.
    Invalid(Vec<String>),
    /// The caller may not. What the caller reads is always the same; `reason` is for the operator's log.
    Denied {
        /// Why, for the operator; never sent to the caller.
        reason: Cow<'static, str>,
    },
    /// What the caller names is none of theirs, in words that clients expect and that give nothing away.
    Forbidden(Cow<'static, str>),
    /// No refusal yet: the decision needs an answer from outside, and is to be made again with it. Never sent.
    Lacks(Arc<Question>),
    /// There is nothing at the path; the messages may be empty, as clients expect of a nil read.
    Missing(Vec<String>),
    /// No engine or no route serves the path.
    NoRoute(String),
    /// The path exists but not for this operation.
    Unsupported,
    /// A `PATCH` without `application/merge-patch+json`.
    MediaType,
    /// Another system did not do what it was asked; for the caller, without any secret.
    Upstream(String),
    /// Refused in the terms of another protocol than Vault's.
    Problem(Box<Problem>),
    /// Too many requests or attempts; try again after so many seconds.
    Throttled(u64),
    /// The authority is sealed.
    Sealed,
    /// The store did not take part.
    Storage(Fault),
    /// A stored entry cannot be read back: it was moved, changed or written by something else.
    Corrupt(String),
    /// The authority itself failed; the text says in what.
    Internal(String),
}

impl Refusal {
    /// A refusal the caller can mend, with one message.
    pub fn invalid(message: impl Into<String>) -> Refusal {
        Refusal::Invalid(vec![message.into()])
    }

    /// A read of something that is not there: 404 with no messages.
    pub fn missing() -> Refusal {
        Refusal::Missing(Vec::new())
    }

    /// A refusal by policy or of a bad token.
    pub fn denied(reason: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal::Denied { reason: reason.into() }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Refusal::Invalid(_) => 400,
            Refusal::Denied { .. } | Refusal::Forbidden(_) => 403,
            Refusal::Missing(_) | Refusal::NoRoute(_) => 404,
            Refusal::Unsupported => 405,
            Refusal::MediaType => 415,
            Refusal::Problem(problem) => problem.status,
            Refusal::Throttled(_) => 429,
            Refusal::Upstream(_) => 502,
            Refusal::Sealed => 503,
            Refusal::Storage(Fault::TooBig) => 413,
            // Clients retry 5xx: right for a conflict that outlived our own retries and for a full disk.
            Refusal::Storage(_) => 503,
            Refusal::Lacks(_) | Refusal::Corrupt(_) | Refusal::Internal(_) => 500,
        }
    }

    /// What the caller reads.
    pub fn messages(&self) -> Vec<String> {
        match self {
            Refusal::Invalid(messages) | Refusal::Missing(messages) => messages.clone(),
            Refusal::Denied { .. } => vec![multi("permission denied")],
            Refusal::Forbidden(message) => vec![message.to_string()],
            Refusal::NoRoute(path) => {
                vec![format!("no handler for route {path:?}. route entry not found.")]
            }
            Refusal::Unsupported => vec![multi("unsupported operation")],
            Refusal::MediaType => {
                vec!["PATCH needs the header Content-Type: application/merge-patch+json".to_owned()]
            }
            Refusal::Problem(problem) => vec![problem.detail.clone()],
            Refusal::Throttled(seconds) => {
                vec![format!("request path is rate limited: try again in {seconds} seconds")]
            }
            Refusal::Upstream(why) => vec![multi(why)],
            Refusal::Sealed => vec!["Vault is sealed".to_owned()],
            Refusal::Storage(fault) => vec![format!("internal error: {fault}")],
            Refusal::Corrupt(what) => vec![format!(
                "internal error: the stored entry {what} cannot be opened: it was moved, changed or damaged; \
                 restore it from a backup"
            )],
            Refusal::Internal(why) => vec![format!("internal error: {why}")],
            Refusal::Lacks(question) => {
                vec![format!("internal error: nobody asked {}", question.whom())]
            }
        }
    }
}

/// Vault's multi-error form, which clients match on.
fn multi(message: &str) -> String {
    format!("1 error occurred:\n\t* {message}\n\n")
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Refusal {
        Refusal::Storage(fault)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.messages().join("; ").trim())
    }
}

impl std::error::Error for Refusal {}
