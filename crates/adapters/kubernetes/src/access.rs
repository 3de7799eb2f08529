//! Who may do what.

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Client;
use kube::api::{Api, PostParams};

use crate::objects::bounded;
use crate::{Cluster, Error, Kind};

/// What we would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access<'a> {
    /// As RBAC has it: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`.
    pub verb: &'a str,
    /// To what.
    pub kind: &'a Kind,
    /// A part of it, such as `status`.
    pub subresource: Option<&'a str>,
    /// In which namespace; in all without one.
    pub namespace: Option<&'a str>,
}

impl Cluster {
    /// Asks whether we may (SelfSubjectAccessReview).
    pub async fn may(&self, access: &Access<'_>) -> Result<bool, Error> {
        let attributes = ResourceAttributes {
            group: Some(access.kind.group.to_string()),
            version: Some(access.kind.version.to_string()),
            resource: Some(access.kind.plural.to_string()),
            subresource: access.subresource.map(str::to_owned),
            namespace: access.namespace.map(str::to_owned),
            verb: Some(access.verb.to_owned()),
            ..ResourceAttributes::default()
        };
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(attributes),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let reviews: Api<SelfSubjectAccessReview> = Api::all(Client::clone(&self.client));
        let doing = || format!("asking whether we may {} {}", access.verb, access.kind);
        let answer = bounded(doing, reviews.create(&PostParams::default(), &review)).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }
}
