//! What a decision needs from outside, named so that it can be asked for.

use serde_json::Value;
use std::borrow::Cow;

/// A question about the world outside of the request.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup {
    /// A ConfigMap.
    ConfigMap {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A call of the Kubernetes API: a GET or POST of a path.
    Kubernetes {
        /// GET or POST.
        method: String,
        /// Such as `/api/v1/namespaces/default/pods`, with its query.
        path: String,
        /// What is posted.
        body: Value,
    },
    /// A call of some other service.
    Service {
        /// GET or POST.
        method: String,
        /// Where.
        url: String,
        /// What is posted.
        body: Value,
        /// Headers that are sent.
        headers: Vec<(String, String)>,
        /// The certificates, PEM, that it is known by.
        ca_bundle: String,
    },
    /// An entry of the global context.
    Global {
        /// Its name.
        name: String,
        /// Which projection of it; empty for all.
        projection: String,
    },
    /// One object of the cluster.
    Object {
        /// Such as apps/v1.
        api_version: String,
        /// The plural name, or the kind.
        resource: String,
        /// Empty for what has none.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The objects of a kind.
    Objects {
        /// Such as apps/v1.
        api_version: String,
        /// The plural name, or the kind.
        resource: String,
        /// Empty for all.
        namespace: String,
        /// A label selector, as a mapping of labels; null for all.
        selector: Value,
    },
    /// Whether an image is signed as a rule demands: the answer has its `digest`, and an error says what is wrong with it.
    Signatures {
        /// Its reference.
        image: String,
        /// The entry of `verifyImages` by which it is judged.
        rule: Value,
    },
    /// What a registry knows of an image: manifest, configuration and digest.
    Image {
        /// Its reference.
        reference: String,
    },
}

/// What is known of the world outside.
pub trait Snapshot {
    /// The answer to a question: None where it has not been asked yet, and an error where there is no answer.
    fn answer(&self, question: &Lookup) -> Option<Result<Cow<'_, Value>, String>>;
}

/// A world of which nothing is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nothing;

impl Snapshot for Nothing {
    fn answer(&self, _: &Lookup) -> Option<Result<Cow<'_, Value>, String>> {
        None
    }
}
