//! Why an ACME request is refused: the error types of RFC 8555, section 6.7, with their statuses.

use crate::problem::Problem;
use crate::refusal::Refusal;
use serde_json::{Value, json};

/// The types of errors that this server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    AccountDoesNotExist,
    AlreadyRevoked,
    BadCsr,
    BadNonce,
    BadPublicKey,
    BadRevocationReason,
    BadSignatureAlgorithm,
    ExternalAccountRequired,
    InvalidContact,
    Malformed,
    OrderNotReady,
    RejectedIdentifier,
    ServerInternal,
    Unauthorized,
    UnsupportedContact,
    UnsupportedIdentifier,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Kind::AccountDoesNotExist => "accountDoesNotExist",
            Kind::AlreadyRevoked => "alreadyRevoked",
            Kind::BadCsr => "badCSR",
            Kind::BadNonce => "badNonce",
            Kind::BadPublicKey => "badPublicKey",
            Kind::BadRevocationReason => "badRevocationReason",
            Kind::BadSignatureAlgorithm => "badSignatureAlgorithm",
            Kind::ExternalAccountRequired => "externalAccountRequired",
            Kind::InvalidContact => "invalidContact",
            Kind::Malformed => "malformed",
            Kind::OrderNotReady => "orderNotReady",
            Kind::RejectedIdentifier => "rejectedIdentifier",
            Kind::ServerInternal => "serverInternal",
            Kind::Unauthorized => "unauthorized",
            Kind::UnsupportedContact => "unsupportedContact",
            Kind::UnsupportedIdentifier => "unsupportedIdentifier",
        }
    }

    const fn status(self) -> u16 {
        match self {
            Kind::ExternalAccountRequired | Kind::Unauthorized => 401,
            // RFC 8555, section 7.4.
            Kind::OrderNotReady => 403,
            Kind::ServerInternal => 500,
            _ => 400,
        }
    }

    /// Its URN.
    pub(super) fn urn(self) -> String {
        urn(self.name())
    }

    /// An error of this type.
    pub(super) fn because(self, detail: impl Into<String>) -> Wrong {
        Wrong::Problem(Problem {
            status: self.status(),
            kind: self.urn(),
            detail: detail.into(),
            headers: Vec::new(),
            members: Vec::new(),
        })
    }
}

/// The URN of the error type `name`.
pub(super) fn urn(name: &str) -> String {
    format!("urn:ietf:params:acme:error:{name}")
}

/// Why a request is refused.
pub(super) enum Wrong {
    /// In the protocol's terms.
    Problem(Problem),
    /// By what is not the protocol's: the store did not take part, or there is no ACME here.
    Refusal(Refusal),
}

impl Wrong {
    /// With another member of the document.
    pub(super) fn with(mut self, name: &'static str, value: Value) -> Wrong {
        if let Wrong::Problem(problem) = &mut self {
            problem.members.push((name, value));
        }
        self
    }

    /// With another status.
    pub(super) fn with_status(mut self, status: u16) -> Wrong {
        if let Wrong::Problem(problem) = &mut self {
            problem.status = status;
        }
        self
    }

    /// With a header.
    pub(super) fn with_header(mut self, name: &'static str, value: String) -> Wrong {
        if let Wrong::Problem(problem) = &mut self {
            problem.headers.push((name, value));
        }
        self
    }

    /// As an error of the type `kind`, where `why` is the caller's to mend.
    pub(super) fn of(kind: Kind, why: Refusal) -> Wrong {
        match why {
            Refusal::Invalid(messages) => kind.because(messages.join("; ")),
            other => Wrong::from(other),
        }
    }
}

impl From<Refusal> for Wrong {
    fn from(why: Refusal) -> Wrong {
        match why {
            Refusal::Invalid(messages) => Kind::Malformed.because(messages.join("; ")),
            Refusal::Corrupt(_) | Refusal::Internal(_) => {
                Kind::ServerInternal.because(why.messages().join("; "))
            }
            other => Wrong::Refusal(other),
        }
    }
}

/// A problem as it stands in a challenge.
pub(super) fn shown(name: &str, detail: &str) -> Value {
    json!({ "type": urn(name), "detail": detail, "status": 400 })
}
