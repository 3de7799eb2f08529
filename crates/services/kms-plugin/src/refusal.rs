//! Why a request of the API server is refused, by blame.

use keyward_keystores::KeystoreError;
use tonic::{Code, Status};

/// A refusal. Its text reaches the API server's log and health endpoint, and holds nothing secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The request is wrong: no repetition helps.
    Caller(String),
    /// The provider does not serve now.
    Unavailable(String),
    /// The provider refuses, or its key is unfit: an operator must act.
    Provider(String),
}

impl Refusal {
    pub(crate) fn provider(error: &KeystoreError) -> Refusal {
        match error {
            KeystoreError::Unavailable(_) => Refusal::Unavailable(error.to_string()),
            KeystoreError::Denied(_) | KeystoreError::Key(_) => Refusal::Provider(error.to_string()),
            KeystoreError::Rejected(_) => Refusal::Caller(error.to_string()),
        }
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Refusal::Caller(text) | Refusal::Unavailable(text) | Refusal::Provider(text) => text,
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Status {
        let code = match &refusal {
            Refusal::Caller(_) => Code::InvalidArgument,
            Refusal::Unavailable(_) => Code::Unavailable,
            Refusal::Provider(_) => Code::FailedPrecondition,
        };
        Status::new(code, refusal.text())
    }
}
