//! What a decision needs from outside, named so that it can be asked for.

use keyward_signatures::Attestor;
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

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
    /// Whether somebody may do something. The answer is the `status` of a SubjectAccessReview (`authorization.k8s.io/v1`).
    Access {
        /// Its `spec`.
        spec: Value,
    },
    /// Whether an attestor signed an image. The answer has the image's `digest`, and where nobody did, why in `denied`; an error says
    /// why that is not known.
    Signatures {
        /// The image's reference.
        image: String,
        /// Whose signature it is to be.
        attestor: Arc<Attestor>,
        /// Where signatures are.
        place: Place,
    },
    /// What an attestor says of an image: the same, with in-toto `statements`.
    Attestations {
        /// The image's reference.
        image: String,
        /// Who signed the statements.
        attestor: Arc<Attestor>,
        /// Where they are.
        place: Place,
    },
    /// An artifact of a kind that is attached to an image, whoever attached it: the JSON in it.
    Referrer {
        /// The image's reference.
        image: String,
        /// The artifact's type.
        artifact_type: String,
        /// How its registry is asked.
        access: ImageAccess,
    },
    /// What a registry knows of an image: manifest, configuration and digest.
    Image {
        /// Its reference.
        reference: String,
        /// How its registry is asked.
        access: ImageAccess,
    },
}

impl Lookup {
    /// Whether a registry is asked.
    pub fn is_about_images(&self) -> bool {
        matches!(
            self,
            Lookup::Signatures { .. }
                | Lookup::Attestations { .. }
                | Lookup::Referrer { .. }
                | Lookup::Image { .. }
        )
    }
}

/// Where the signatures of an image are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// A repository other than the image's; empty for that one.
    pub repository: String,
    /// Only bundles count, and not what is kept under cosign's tags.
    pub only_bundles: bool,
    /// What those tags begin with.
    pub tag_prefix: String,
    /// How the registry is asked.
    pub access: ImageAccess,
    /// What was found out some time ago is good enough.
    pub cached: bool,
}

/// How a registry is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ImageAccess {
    /// Whose certificate it shows does not matter, and plain HTTP is good enough.
    pub insecure: bool,
    /// Secrets with credentials for registries: those of the policy, then those by which the pod's images are pulled.
    pub secrets: Vec<SecretName>,
}

/// A Secret of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SecretName {
    /// Its namespace; empty for that of the engine, or of a policy that has one.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// It may be that it is not there.
    pub optional: bool,
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
