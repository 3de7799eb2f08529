//! What went wrong, why, and what to do.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use kube::core::Status;

/// A request that came to nothing. The text names no credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    doing: String,
    why: Why,
}

/// Why, by who must act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Where the API server is, or who we are to it, cannot be told.
    Configuration(String),
    /// Nobody answers there, or nobody that can be trusted.
    Unreachable(String),
    /// No answer in this time.
    Late(Duration),
    /// It does not know us.
    Unauthenticated(String),
    /// It knows us, and we may not.
    Forbidden(String),
    /// There is no such object, or no such kind.
    Missing(String),
    /// Somebody else was first: read again and decide anew.
    Conflict(String),
    /// It does not take what it was sent.
    Invalid(String),
    /// It asks to be spared.
    Busy(String),
    /// Anything else it says, or what was said cannot be understood.
    Other(String),
}

impl Error {
    pub(crate) fn new(doing: impl Into<String>, why: Why) -> Error {
        Error { doing: doing.into(), why }
    }

    pub(crate) fn of(doing: impl Into<String>, error: kube::Error) -> Error {
        Error::new(doing, Why::of(error))
    }

    /// Why.
    pub fn why(&self) -> &Why {
        &self.why
    }

    /// Whether there is no such object or kind.
    pub fn is_missing(&self) -> bool {
        matches!(self.why, Why::Missing(_))
    }

    /// Whether somebody else was first.
    pub fn is_conflict(&self) -> bool {
        matches!(self.why, Why::Conflict(_))
    }

    /// Whether the same request may succeed later without anybody changing it.
    pub fn is_passing(&self) -> bool {
        matches!(self.why, Why::Unreachable(_) | Why::Late(_) | Why::Busy(_) | Why::Conflict(_))
    }
}

impl Why {
    pub(crate) fn of(error: kube::Error) -> Why {
        match error {
            kube::Error::Api(status) => Why::said(&status),
            kube::Error::Auth(why) => Why::Configuration(chain(&why)),
            kube::Error::InferConfig(why) => Why::Configuration(chain(&why)),
            kube::Error::InferKubeconfig(why) => Why::Configuration(chain(&why)),
            kube::Error::Discovery(why) => Why::Missing(chain(&why)),
            kube::Error::SerdeError(_) | kube::Error::BuildRequest(_) => Why::Other(chain(&error)),
            error => Why::Unreachable(error.source().map_or_else(|| error.to_string(), chain)),
        }
    }

    pub(crate) fn said(status: &Status) -> Why {
        let said = if status.message.is_empty() { &status.reason } else { &status.message }.clone();
        match status.code {
            401 => Why::Unauthenticated(said),
            403 => Why::Forbidden(said),
            404 => Why::Missing(said),
            409 => Why::Conflict(said),
            400 | 413 | 415 | 422 => Why::Invalid(said),
            429 | 503 | 504 => Why::Busy(said),
            code => Why::Other(format!("{code}: {said}")),
        }
    }
}

/// An error with what lies under it.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut under = error.source();
    while let Some(source) = under {
        let said = source.to_string();
        // Many of these repeat their source in their own words.
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        under = source.source();
    }
    text
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.doing, self.why)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Configuration(why) => write!(
                f,
                "{why}; name a kubeconfig file with --kubeconfig or KUBECONFIG, or run in a pod with a ServiceAccount"
            ),
            Why::Unreachable(why) => write!(f, "the API server cannot be reached: {why}"),
            Why::Late(after) => write!(f, "the API server gave no answer within {} s", after.as_secs()),
            Why::Unauthenticated(why) => {
                write!(
                    f,
                    "the API server does not know who asks: {why}; see the kubeconfig's user or the pod's ServiceAccount"
                )
            }
            Why::Forbidden(why) => write!(f, "{why}; grant it with RBAC, as deploy/ does"),
            Why::Missing(why) | Why::Invalid(why) | Why::Other(why) => f.write_str(why),
            Why::Conflict(why) => write!(f, "{why}; somebody else changed it first"),
            Why::Busy(why) => write!(f, "the API server asks for patience: {why}"),
        }
    }
}

impl std::error::Error for Error {}
