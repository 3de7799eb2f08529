//! Intent: what should exist, as it stands in Git. Sealed manifests, the rules by which they are sealed, and the phases of
//! trust. Pure, and without a way to name a plaintext: this crate does not know the cryptographic one.

mod bounds;
mod json;
mod moment;
pub mod names;
mod phase;
mod rules;
mod sealed;
mod selector;
pub mod yaml;
mod zenlock;

pub use bounds::{Bounds, Scope, Subject, Wider};
pub use moment::Moment;
pub use phase::Phase;
pub use rules::{FILE as RULES_FILE, Group, Rule, Rules};
pub use sealed::{Item, Metadata, SealedSecret, Share, Spec, Threshold};
pub use selector::{LabelSelector, Operator, Requirement};
pub use zenlock::{AllowedSubject, ZenLock, ZenLockSpec};

/// The group and version of our own kinds.
pub const API_VERSION: &str = "keyward.io/v1alpha1";

/// Why a document cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(pub String);

impl std::fmt::Display for Invalid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

pub(crate) fn invalid<T>(why: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid(why.into()))
}
