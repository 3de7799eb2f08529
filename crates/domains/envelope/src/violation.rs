//! Why a sealed secret is not opened.

use std::fmt;

use keyward_crypto::age;
use keyward_intent::{Invalid, Moment, Phase};

/// A bound that the place, the time or the asker does not fit. The text names the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Sealed for other clusters.
    Cluster {
        /// For which.
        bound: String,
        /// Where it is.
        here: String,
    },
    /// Sealed for another namespace.
    Namespace {
        /// For which.
        bound: String,
        /// Where it is.
        here: String,
    },
    /// Sealed under another name.
    Name {
        /// Under which.
        bound: String,
        /// Where it is.
        here: String,
    },
    /// Stands under another key than it was sealed under.
    Item {
        /// Under which.
        bound: String,
        /// Where it is.
        here: String,
    },
    /// A field of the manifest is not what was sealed.
    Field(&'static str),
    /// The cluster is past the phase.
    Phase {
        /// The last one it may be opened in.
        bound: Phase,
        /// The cluster's.
        here: Phase,
    },
    /// Too early.
    NotBefore(Moment),
    /// Too late.
    NotAfter(Moment),
    /// Somebody who is not among the subjects.
    Subject(String),
    /// A namespace that has not the labels.
    NamespaceSelector {
        /// Which labels.
        selector: String,
        /// Of whom.
        namespace: String,
    },
    /// A pod that runs other images, or of which that is not known.
    Images(String),
    /// A condition that does not hold.
    Condition {
        /// Which.
        text: String,
        /// Why that cannot be told, where it cannot.
        why: Option<String>,
    },
    /// An older version than was seen before.
    Version {
        /// The latest seen.
        seen: u64,
        /// This one's.
        here: u64,
    },
    /// Signed by nobody.
    Unsigned,
    /// Signed by somebody whose signatures are not taken.
    Author(String),
    /// The manifest is not what its author signed.
    Signature,
    /// A value is not what its author signed.
    ItemSignature(String),
    /// The value is another one of the same author's than the manifest names.
    Seal(String),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::Cluster { bound, here } => {
                write!(f, "cluster: it is sealed for {bound}, and this is {here}")
            }
            Violation::Namespace { bound, here } => {
                write!(f, "namespace: it is sealed for {bound}, and stands in {here}")
            }
            Violation::Name { bound, here } => write!(f, "name: it is sealed as {bound}, and stands as {here}"),
            Violation::Item { bound, here } => {
                write!(f, "item key: the value under {here} is sealed as {bound}")
            }
            Violation::Field(field) => {
                write!(f, "{field}: the manifest says something else than what is sealed inside")
            }
            Violation::Phase { bound, here } => {
                write!(f, "phase: it may be opened up to {bound}, and the cluster is at {here}")
            }
            Violation::NotBefore(at) => write!(f, "notBefore: it may be opened from {at} on"),
            Violation::NotAfter(at) => write!(f, "notAfter: it expired at {at}"),
            Violation::Subject(who) => write!(f, "subjects: {who} is not among them"),
            Violation::NamespaceSelector { selector, namespace } => {
                write!(f, "namespaceSelector: the labels of the namespace {namespace} are not {selector}")
            }
            Violation::Images(why) => write!(f, "images: {why}"),
            Violation::Condition { text, why: None } => write!(f, "conditions: {text} does not hold"),
            Violation::Condition { text, why: Some(why) } => {
                write!(f, "conditions: {text} cannot be told: {why}")
            }
            Violation::Version { seen, here } => {
                write!(f, "version: {here} is older than {seen}, which was seen already")
            }
            Violation::Unsigned => f.write_str("author: nobody signed it"),
            Violation::Author(who) => write!(f, "author: signatures of {who} are not taken here"),
            Violation::Signature => {
                f.write_str("signature: the manifest is not what its author signed (was it moved, edited or merged by hand?)")
            }
            Violation::ItemSignature(key) => write!(f, "signature: the value of {key} is not what its author signed"),
            Violation::Seal(key) => {
                write!(f, "seal: the value of {key} is not the one its author signed into this version")
            }
        }
    }
}

/// Why something cannot be sealed or opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A bound does not fit.
    Violation(Violation),
    /// What stands in the document is not what may stand there.
    Invalid(String),
    /// The age file of an item or share does not open.
    Age {
        /// Whose.
        what: String,
        /// Why.
        why: age::Error,
    },
    /// Fewer shares than are needed were there.
    Shares {
        /// How many.
        found: usize,
        /// Of how many.
        required: u8,
    },
    /// Something would be wider than it was.
    Wider(&'static str),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Violation(violation) => violation.fmt(f),
            Failure::Invalid(why) => f.write_str(why),
            Failure::Age { what, why } => write!(f, "{what}: {why}"),
            Failure::Shares { found, required } => {
                write!(
                    f,
                    "{found} of the {required} groups that must act together took part: add their identities"
                )
            }
            Failure::Wider(field) => keyward_intent::Wider(field).fmt(f),
        }
    }
}

impl std::error::Error for Failure {}

impl From<Violation> for Failure {
    fn from(violation: Violation) -> Failure {
        Failure::Violation(violation)
    }
}

impl From<Invalid> for Failure {
    fn from(why: Invalid) -> Failure {
        Failure::Invalid(why.0)
    }
}

/// A document that cannot be taken, and why.
pub fn invalid<T>(why: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Invalid(why.into()))
}

/// The age file of `what` does not open, or cannot be made.
pub fn age_failure(what: &str, why: age::Error) -> Failure {
    Failure::Age { what: what.to_owned(), why }
}
