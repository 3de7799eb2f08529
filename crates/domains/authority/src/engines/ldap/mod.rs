//! LDAP: people log in with the name and password that a directory knows (RFC 4511, 4513).
//!
//! The directory is asked three things: who bears the name, whether the password is theirs, and which groups they are
//! in. Each is one question of [`crate::outside::ldap`]; what it is made of, and what an answer means, is decided here.
//!
//! A renewal does not ask again: no password is kept. How long a token outlives a change in the directory is for
//! `token_max_ttl` to say.
//!
//! Absent, and refused: binds without a password, `insecure_tls`, client certificates, `use_token_groups`, names with
//! case.

mod config;
mod groups;
mod login;
pub mod names;
#[cfg(test)]
mod tests;

use super::named::Routes;
use super::token_params;
use crate::request::Operation;
use crate::route::{Backend, Field, Kind, Route, Traits, field, joined};
use groups::{Group, User};

/// See the module.
pub static BACKEND: Backend = Backend {
    kind: "ldap",
    about: "Logins with the name and password that a directory knows.",
    routes: &[ROUTES, USERS, GROUPS],
    renew: Some(login::terms),
    ..Backend::EMPTY
};

const CONFIG: &[Field] = &joined::<36>(&[
    &[
        field(
            "url",
            Kind::Text,
            "`ldap://` or `ldaps://`; several with commas between, tried in this order.",
        ),
        field("starttls", Kind::Bool, "Turn to TLS before anything is said."),
        field("certificate", Kind::Text, "Certificates in PEM that the directory's is believed by."),
        field("tls_min_version", Kind::Text, "`tls12`, which is the default, or `tls13`."),
        field("tls_max_version", Kind::Text, "`tls13`: the latest is always offered."),
        field("insecure_tls", Kind::Bool, "Must be false: certificates are verified."),
        field("client_tls_cert", Kind::Text, "Must be empty: no client certificates are shown."),
        field("client_tls_key", Kind::Text, "Must be empty: no client certificates are shown."),
        field("binddn", Kind::Text, "Who searches; nobody in particular without it."),
        field("bindpass", Kind::Text, "The password of `binddn`."),
        field("userdn", Kind::Text, "Below which users are."),
        field("userattr", Kind::Text, "The attribute that users log in with; `cn`."),
        field("userfilter", Kind::Text, "How a user is found; `({{.UserAttr}}={{.Username}})`."),
        field("discoverdn", Kind::Bool, "Search for users even without `binddn`."),
        field("upndomain", Kind::Text, "Users bind as `NAME@upndomain` (Active Directory)."),
        field("groupdn", Kind::Text, "Below which groups are."),
        field("groupfilter", Kind::Text, "How the groups of a user are found."),
        field("groupattr", Kind::Text, "The attribute that names a group; `cn`."),
        field("anonymous_group_search", Kind::Bool, "Search for groups as nobody in particular."),
        field("use_token_groups", Kind::Bool, "Must be false: it is not available."),
        field("username_as_alias", Kind::Bool, "The identity is the name of the login, not `userattr`."),
        field("case_sensitive_names", Kind::Bool, "Must be false: names have no case."),
        field("deny_null_bind", Kind::Bool, "Must be true: a bind without a password proves nothing."),
        field("dereference_aliases", Kind::Text, "`never`, `finding`, `searching` or `always`."),
        field(
            "request_timeout",
            Kind::Duration,
            "How long a bind or a search may take; 10 seconds, 30 at most.",
        ),
        field(
            "connection_timeout",
            Kind::Duration,
            "How long a server may take to be reached; 10 seconds, 30 at most.",
        ),
        field("max_page_size", Kind::Int, "Must be 0: searches are not paged."),
    ],
    &token_params::FIELDS,
]);

const ROUTES: &[Route] = &[
    Route {
        pattern: "login/{username}",
        operations: &[(Operation::Update, login::login)],
        fields: &[field("password", Kind::Text, "The password.")],
        traits: Traits { open: true, ..Route::EMPTY.traits },
        help: "Logs in.",
        ..Route::EMPTY
    },
    Route {
        pattern: "config",
        operations: &[(Operation::Read, config::read), (Operation::Update, config::write)],
        exists: Some(config::exists),
        fields: CONFIG,
        help: "Which directory, and where users and groups are in it.",
        ..Route::EMPTY
    },
];

const USERS: &[Route] = &Routes::<User>::table(
    ("users", "Lists the users that get more than their groups do."),
    ("users/{name}", "What a user gets beside what their groups do."),
    &[
        field("policies", Kind::List, "Policies of the user."),
        field("groups", Kind::List, "Groups the user is in beside those of the directory."),
    ],
);

const GROUPS: &[Route] = &Routes::<Group>::table(
    ("groups", "Lists the groups with policies."),
    ("groups/{name}", "What the members of a group get."),
    &[field("policies", Kind::List, "Policies of the members.")],
);
