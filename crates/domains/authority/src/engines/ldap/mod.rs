//! LDAP: people log in with the name and password that a directory knows (RFC 4511, 4513).
//!
//! The directory is asked three things: who bears the name, whether the password is theirs, and which groups they are
//! in. Each is one question of [`crate::outside::ldap`]; what it is made of, and what an answer means, is decided here.
//!
//! A renewal does not ask again: no password is kept. How long a token outlives a change in the directory is for
//! `token_max_ttl` to say.
//!
//! Absent, and refused: binds without a password, `insecure_tls`.

mod config;
mod groups;
mod login;
pub mod names;
mod root;
#[cfg(test)]
mod tests;

use super::automated;
use super::named::Routes;
use super::token_params;
use crate::request::Operation;
use crate::route::{Backend, Field, Journal, Kind, Route, Traits, field, joined};
use groups::{Group, User};

/// See the module.
pub static BACKEND: Backend = Backend {
    kind: "ldap",
    about: "Logins with the name and password that a directory knows.",
    routes: &[ROUTES, USERS, GROUPS],
    renew: Some(login::terms),
    journal: Some(Journal { due: root::due, conclude: root::conclude }),
    ..Backend::EMPTY
};

const CONFIG: &[Field] = &joined::<42>(&[
    &[
        field(
            "url",
            Kind::Text,
            "`ldap://` or `ldaps://`; several with commas between, tried in this order.",
        ),
        field("starttls", Kind::Bool, "Turn to TLS before anything is said."),
        field("certificate", Kind::Text, "Certificates in PEM that the directory's is believed by."),
        field("tls_min_version", Kind::Text, "`tls12`, which is the default, or `tls13`."),
        field("tls_max_version", Kind::Text, "`tls13`, which is the default, or `tls12`."),
        field("insecure_tls", Kind::Bool, "Must be false: certificates are verified."),
        field("client_tls_cert", Kind::Text, "Certificates in PEM that are shown to the directory."),
        field("client_tls_key", Kind::Text, "The key of the first of them in PEM; never shown to anybody."),
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
        field(
            "use_token_groups",
            Kind::Bool,
            "The groups are those of `tokenGroups` (Active Directory), nested ones included.",
        ),
        field("username_as_alias", Kind::Bool, "The identity is the name of the login, not `userattr`."),
        field("case_sensitive_names", Kind::Bool, "Names of users and groups here have case."),
        field(
            "enable_samaccountname_login",
            Kind::Bool,
            "With `upndomain`, users are found by sAMAccountName too.",
        ),
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
        field("max_page_size", Kind::Int, "Entries that the directory is asked for at a time; all when 0."),
    ],
    &[field("password_policy", Kind::Text, "The policy of the passwords that `bindpass` is changed to.")],
    &automated::FIELDS,
    &token_params::FIELDS,
]);

const ROTATE: Route = Route {
    operations: &[(Operation::Update, root::rotate)],
    help: "Gives `binddn` a password that nobody else knows (RFC 3062).",
    ..Route::EMPTY
};

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
    Route { pattern: "config/rotate-root", ..ROTATE },
    Route { pattern: "rotate-root", ..ROTATE },
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
