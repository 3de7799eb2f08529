//! ACL policies: what a token may do where.
//!
//! A [`Policy`] is parsed once, when it is written; an [`Acl`] is compiled once for the policies and the identity
//! of a token; [`Acl::check`] then answers within a microsecond. The semantics are those of Vault and OpenBao.
//! Where those differ among themselves or between versions, or leave a hole, the stricter reading holds:
//!
//! * a rule with a `condition` counts where that holds (see [`expression`](self)), and the rule for a path decides whether or
//!   not it does;
//! * a rule's conditions that are not kept (`mfa_methods`, `control_group`, `subscribe_event_types`) are refused,
//!   as are attributes written twice and templates that name nothing;
//! * values from an identity are literal, and span no path segments unless [`Subject::slashes`];
//! * a list cannot pass a more specific denial, in either of the forms its path has (OpenBao's
//!   GHSA-xp3c-3jw3-4vcr);
//! * parameters are compared weakly typed, element by element, and a glob does not span a comma.

mod acl;
mod builtin;
mod capability;
mod conditions;
mod explain;
mod expression;
mod filter;
mod model;
mod parse;
mod pattern;
mod places;
mod templates;
mod trie;

#[cfg(test)]
mod tests;

pub use acl::{Acl, Reason, Ruled, Verdict};
pub use builtin::{DEFAULT_POLICY, RESPONSE_WRAPPING_POLICY, is_assignable, is_immutable, sanitize};
pub use capability::Capabilities;
pub use conditions::Unmet;
pub use explain::{Explanation, Matched, Source, explain};
pub use expression::Expression;
pub use filter::KeyFilter;
pub use model::{Policy, PolicyError, Problem};
pub(crate) use places::{number, texts};
pub use templates::{Alias, Group, Subject, fill};

use crate::identity::Holder;
use crate::posture::Attested;
use crate::request::Operation;
use crate::token::TokenEntry;
use keyward_core::Timestamp;
use std::net::IpAddr;
use std::time::Duration;

/// The longest path of a rule, in bytes; requests have none longer.
pub const MAX_PATH: usize = 1024;

/// A request, as far as policies look at it.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// The path below `/v1/`; of a list it ends in a slash.
    pub path: &'a str,
    /// What is to be done.
    pub operation: Operation,
    /// The request's parameters; `None` is none. Looked at only if the rule has conditions on them.
    pub parameters: Option<&'a dyn Parameters>,
    /// How long the answer is to be wrapped; `None` is not at all.
    pub wrap_ttl: Option<Duration>,
    /// For rules that expire.
    pub now: Timestamp,
    /// Who asks, for rules with a condition; nobody has nothing.
    pub who: Option<Who<'a>>,
}

/// Who asks, as far as conditions look at it.
#[derive(Clone, Copy)]
pub struct Who<'a> {
    /// The token.
    pub token: &'a TokenEntry,
    /// Whom it belongs to.
    pub holder: Option<&'a Holder>,
    /// Where the request comes from.
    pub address: Option<IpAddr>,
    /// What is attested of them; looked at only if a condition names it.
    pub posture: Option<Attested<'a>>,
}

/// A request's parameters by name.
pub trait Parameters {
    /// The names of all that were sent, as they were sent.
    fn names(&self) -> Vec<&str>;
    /// The value of one of them; `None` is `null` or not sent.
    fn value(&self, name: &str) -> Option<serde_json::Value>;
}
