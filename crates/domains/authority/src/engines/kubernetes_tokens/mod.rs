//! Tokens of ServiceAccounts, made on demand: of an account that is there already, or of one that is made for the
//! token, with a role that is there already or is made too.
//!
//! All that is made goes with the lease: see [`objects`]. A token of an account that is there already is bound to an
//! empty Secret (`boundObjectRef` of `authentication.k8s.io/v1`), so that it, too, dies when its lease is revoked.

mod config;
mod creds;
mod objects;
mod role;
#[cfg(test)]
mod tests;

use super::named;
use crate::lease;
use crate::request::Operation;
use crate::route::{Backend, Field, Kind, Route, field};
use role::Role;

/// See the module.
pub static BACKEND: Backend = Backend {
    kind: "kubernetes",
    about: "Tokens of Kubernetes ServiceAccounts, made on demand.",
    routes: &[ROUTES],
    leases: Some(lease::Ops {
        revoke: creds::revoke,
        terms: creds::terms,
        extend: creds::extend,
        complete: Some(creds::complete),
    }),
    ..Backend::EMPTY
};

const CONFIG: &[Field] = &[
    field(
        "kubernetes_host",
        Kind::Text,
        "The API server's address, `https://HOST:PORT`; by default that of the cluster this pod runs in.",
    ),
    field("kubernetes_ca_cert", Kind::Text, "Certificates in PEM that the API server's is believed by."),
    field(
        "service_account_jwt",
        Kind::Text,
        "Shown to the API server; this pod's own token by default. Never shown here.",
    ),
    field("disable_local_ca_jwt", Kind::Bool, "Do not use this pod's own certificates and token."),
];

const ROLE: &[Field] = &[
    field("allowed_kubernetes_namespaces", Kind::List, "Namespaces to make tokens in; `*` is any."),
    field(
        "allowed_kubernetes_namespace_selector",
        Kind::Text,
        "A label selector in JSON or YAML: namespaces it selects are allowed too.",
    ),
    field("token_default_ttl", Kind::Duration, "How long tokens live; the mount's when 0."),
    field("token_max_ttl", Kind::Duration, "How long they live at most; the mount's when 0."),
    field("token_default_audiences", Kind::List, "Whom tokens are for; the API server when empty."),
    field("service_account_name", Kind::Text, "A ServiceAccount that is there."),
    field(
        "token_revocable",
        Kind::Bool,
        "Bind the tokens of that account to an empty Secret, which goes with the lease; yes by default. Else they end \
         by time alone.",
    ),
    field("kubernetes_role_name", Kind::Text, "A role that is there, for ServiceAccounts made on demand."),
    field("kubernetes_role_type", Kind::Text, "`Role` or `ClusterRole`."),
    field(
        "generated_role_rules",
        Kind::Text,
        "`rules: [...]` in JSON or YAML, of roles made with the ServiceAccounts.",
    ),
    field("name_template", Kind::Text, "A Go template for the names of what is made."),
    field("extra_labels", Kind::Pairs, "Labels of what is made."),
    field("extra_annotations", Kind::Pairs, "Annotations of what is made."),
];

const CREDS: &[Field] = &[
    field("kubernetes_namespace", Kind::Text, "Where to make the token; the role's if it has one only."),
    field(
        "cluster_role_binding",
        Kind::Bool,
        "Bind the role in the whole cluster rather than in the namespace; it must be a ClusterRole.",
    ),
    field("ttl", Kind::Duration, "How long the token lives; the role's when 0."),
    field("audiences", Kind::List, "Whom the token is for; the role's when empty."),
];

const ROUTES: &[Route] = &[
    Route {
        pattern: "config",
        operations: &[
            (Operation::Read, config::read),
            (Operation::Update, config::write),
            (Operation::Delete, config::delete),
        ],
        fields: CONFIG,
        help: "How the API server is reached.",
        ..Route::EMPTY
    },
    Route {
        pattern: "check",
        operations: &[(Operation::Read, config::check)],
        help: "Asks whether the API server is there, and takes our credential.",
        ..Route::EMPTY
    },
    Route {
        pattern: "roles",
        operations: &[(Operation::List, named::list::<Role>)],
        help: "Lists the roles.",
        ..Route::EMPTY
    },
    Route {
        pattern: "roles/{name}",
        operations: &[
            (Operation::Read, role::read),
            (Operation::Update, role::write),
            (Operation::Delete, named::delete::<Role>),
        ],
        exists: Some(named::exists::<Role>),
        fields: ROLE,
        help: "Whose tokens are made, where, and for how long.",
        ..Route::EMPTY
    },
    Route {
        pattern: "creds/{name}",
        operations: &[(Operation::Update, creds::create)],
        fields: CREDS,
        help: "Makes a token.",
        ..Route::EMPTY
    },
];
