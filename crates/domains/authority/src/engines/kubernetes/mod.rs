//! Kubernetes: pods log in with the token of their ServiceAccount.
//!
//! A token proves its bearer in one of two ways, as `verification` of the configuration says: by a TokenReview
//! (`authentication.k8s.io/v1`), which also tells whether the pod and the ServiceAccount still exist; or by the cluster's
//! own keys, which costs no request but lets a token live until it expires.

mod account;
mod config;
mod login;
mod review;
mod role;
#[cfg(test)]
mod tests;

use super::named::Routes;
use super::token_params;
use crate::context::Context;
use crate::mounts::Mount;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::route::{Backend, Field, Kind, Route, Traits, field, joined};
use std::collections::BTreeMap;

/// The labels that a namespace has now, in the cluster whose pods log in at `mount`; as old as 10 seconds.
///
/// # Errors
///
/// The API server has not been asked yet, or did not answer; or there is nobody to ask it as.
pub(super) fn namespace_labels(
    cx: &mut Context<'_, '_>,
    mount: &Mount,
    namespace: &str,
) -> Result<BTreeMap<String, String>, Refusal> {
    let config = config::of(cx, mount)?
        .ok_or_else(|| Refusal::denied(format!("{} has no configuration", mount.path)))?;
    let credential = config.own().ok_or_else(|| {
        Refusal::denied(format!(
            "the labels of the namespace {namespace} cannot be had: {}config has no token_reviewer_jwt to ask the API server \
             with",
            mount.path
        ))
    })?;
    review::namespace_labels(cx, &config, namespace, credential)
}

/// See the module.
pub static BACKEND: Backend = Backend {
    kind: "kubernetes",
    about: "Logins of pods, by the token of their ServiceAccount.",
    routes: &[ROUTES, ROLES],
    renew: Some(login::terms),
    ..Backend::EMPTY
};

const CONFIG: &[Field] = &[
    field("kubernetes_host", Kind::Text, "The API server's address: `https://HOST:PORT`."),
    field("kubernetes_ca_cert", Kind::Text, "Certificates in PEM that the API server's is believed by."),
    field(
        "token_reviewer_jwt",
        Kind::Text,
        "Shown to the API server. Without it: this pod's own token, else the token that logs in.",
    ),
    field("pem_keys", Kind::List, "Public keys or certificates in PEM that tokens must be signed by."),
    field("issuer", Kind::Text, "What tokens must name as their issuer, if that is checked."),
    field("disable_iss_validation", Kind::Bool, "Do not check the issuer; so by default."),
    field("disable_local_ca_jwt", Kind::Bool, "Do not use this pod's own certificates and token."),
    field(
        "use_annotations_as_alias_metadata",
        Kind::Bool,
        "Take annotations `vault.hashicorp.com/alias-metadata-*` of ServiceAccounts over into aliases.",
    ),
    field(
        "verification",
        Kind::Text,
        "`token-review` asks the API server about each token; `keys` believes signatures by `pem_keys`, or by the keys \
         the API server publishes.",
    ),
    field("jwks_url", Kind::Text, "Where the cluster's keys are published; at the API server by default."),
];

const ROLE: &[Field] = &joined::<21>(&[
    &[
        field(
            "bound_service_account_names",
            Kind::List,
            "Names of ServiceAccounts that may log in; `*` is any text.",
        ),
        field("bound_service_account_namespaces", Kind::List, "Their namespaces; `*` is any text."),
        field(
            "bound_service_account_namespace_selector",
            Kind::Text,
            "A label selector in JSON or YAML: namespaces it selects may log in too.",
        ),
        field("audience", Kind::Text, "What tokens must be for."),
        field("alias_name_source", Kind::Text, "`serviceaccount_uid` or `serviceaccount_name`."),
        field(
            "condition",
            Kind::Text,
            "What must hold of a login, in CEL as in conditions of policies: `posture.compliant`.",
        ),
    ],
    &token_params::OLDER_FIELDS,
    &token_params::FIELDS,
]);

const ROUTES: &[Route] = &[
    Route {
        pattern: "login",
        operations: &[(Operation::Update, login::login)],
        fields: &[
            field("role", Kind::Text, "The role to log in to."),
            field("jwt", Kind::Text, "The ServiceAccount's token."),
        ],
        traits: Traits { open: true, ..Route::EMPTY.traits },
        help: "Logs in.",
        ..Route::EMPTY
    },
    Route {
        pattern: "config",
        operations: &[(Operation::Read, config::read), (Operation::Update, config::write)],
        fields: CONFIG,
        help: "Which cluster's tokens count, and how they are proved.",
        ..Route::EMPTY
    },
];

const ROLES: &[Route] = &Routes::<role::Role>::table(
    ("role", "Lists the roles."),
    ("role/{name}", "Which ServiceAccounts may log in, and what their tokens may do."),
    ROLE,
);
