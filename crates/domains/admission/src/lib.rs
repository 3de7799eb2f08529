//! Admission policies as pure functions of (compiled policies, request, snapshot).
//!
//! [`load`] compiles a policy once: what has no variables becomes patterns, conditions and expressions that are only walked. A
//! [`Request`] is the `request` of an AdmissionReview as it is, and everything looks into it by reference; only what a mutation
//! changes is copied. What a decision needs from outside it asks the [`Snapshot`] for, and what is not there it names in
//! [`Outcome::lacks`]: with the answers it is asked again.
//!
//! Where things are: `cluster_policy` has the rules of `kyverno.io` (`pattern`, `condition`, `mutate`, `generate`, `pod_security`,
//! `images`), with variables in `template`, `context` and `jmespath`; `cel_policy` has the policies written in CEL, and `cel` the
//! language. Every expression is counted by a `meter`, so that a policy that explodes stops with a reason.

mod assertion;
mod cel;
mod cel_policy;
mod cel_rule;
mod cleanup;
mod cluster_policy;
mod condition;
mod context;
mod exception;
mod explain;
mod generate;
mod images;
mod jmespath;
mod lookup;
mod loops;
mod matching;
mod mutate;
mod outcome;
mod pattern;
mod plural;
mod pod_security;
mod policy;
mod refusal;
mod request;
mod search;
mod settings;
mod template;
mod upkeep;
mod wildcard;
pub mod yaml;

use keyward_expressions::{crypt, duration, image, json, meter, nearest, pem, quantity, version};

pub use cel_policy::Binding;
pub use exception::Exception;
pub use explain::Explanation;
pub use keyward_expressions::image::same as same_image;
pub use lookup::{ImageAccess, Lookup, Nothing, Place, SecretName, Snapshot};
pub use outcome::{Action, Effects, Leave, Outcome, RuleKind, RuleOutcome, Status};
pub use plural::{has_namespace, of as plural};
pub use policy::{Loaded, Metadata, Mode, Policy, Surroundings, load};
pub use refusal::Refusal;
pub use request::{Kind, Operation, Request};
pub use settings::{Interest, Settings, Subject};
pub use upkeep::{Propagation, Removal, Upkeep};
pub use wildcard::matches as matches_wildcards;

/// What a JMESPath expression, with the functions of policies, finds in a value.
///
/// # Errors
///
/// What is wrong with the expression, or why it finds nothing.
pub fn search(expression: &str, value: &serde_json::Value) -> Result<serde_json::Value, String> {
    search::search(expression, value)
}

/// What a CEL expression, with the functions of policies, yields, given what names such as `object` stand for.
///
/// # Errors
///
/// What is wrong with the expression, or why it yields nothing.
pub fn evaluate(
    expression: &str,
    bindings: &[(&'static str, &serde_json::Value)],
    now: i128,
) -> Result<serde_json::Value, String> {
    search::evaluate(expression, bindings, now)
}

/// A reference of an image with its defaults filled in: `nginx` is `docker.io/nginx:latest`.
///
/// # Errors
///
/// That it is none.
pub fn full_image(reference: &str) -> Result<String, String> {
    image::Image::parse(reference).map(|image| image.to_string())
}

/// The names of all functions of JMESPath.
pub fn functions() -> impl Iterator<Item = &'static str> {
    jmespath::function_names()
}

/// What of a value does not fit an assertion tree, path by path; nothing where all does.
///
/// # Errors
///
/// What is wrong with the tree.
pub fn assert(tree: &serde_json::Value, value: &serde_json::Value) -> Result<Vec<String>, String> {
    search::assert(tree, value)
}
