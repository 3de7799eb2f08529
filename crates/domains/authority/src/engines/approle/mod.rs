//! AppRole: machines log in with a role id, which names a role, and a secret id, which proves that they may use it.
//!
//! A secret id is stored under a keyed hash only, and that hash is its accessor: one entry a secret id, listed as
//! it is. Every role has a random name of its own in storage, so that nothing of a deleted role passes to one
//! that is created under the same name.

mod login;
mod role;
mod secret;
mod settings;
#[cfg(test)]
mod tests;

use super::{named, token_params};
use crate::request::Operation;
use crate::route::{Backend, Field, Kind, Route, Traits, field, joined};
use role::Role;

/// See the module.
pub static BACKEND: Backend = Backend {
    kind: "approle",
    about: "Logins of machines, by a role id and a secret id.",
    routes: &[ROUTES, settings::ROUTES],
    renew: Some(named::terms::<Role>),
    ..Backend::EMPTY
};

const BIND: Field = field("bind_secret_id", Kind::Bool, "A login needs a secret id; yes by default.");
const BOUND: Field = field("secret_id_bound_cidrs", Kind::List, "Networks that logins may come from.");
const USES: Field =
    field("secret_id_num_uses", Kind::Int, "Logins a secret id is good for; any number when 0.");
const TTL: Field = field("secret_id_ttl", Kind::Duration, "How long a secret id is good; for ever when 0.");
const OLD_BOUND: Field = field("bound_cidr_list", Kind::List, "An older name of `secret_id_bound_cidrs`.");
const OLD_POLICIES: Field = field("policies", Kind::List, "An older name of `token_policies`.");
const OLD_PERIOD: Field = field("period", Kind::Duration, "An older name of `token_period`.");
const ROLE_ID: Field = field("role_id", Kind::Text, "Names the role at logins; a random UUID by default.");
const LOCAL: Field = field(
    "local_secret_ids",
    Kind::Bool,
    "Said when a role is made, and read back: there is one cluster, so that all secret ids are local.",
);

const ROLE: &[Field] = &joined::<18>(&[
    &[BIND, OLD_BOUND, BOUND, OLD_POLICIES, USES, TTL, OLD_PERIOD, ROLE_ID, LOCAL],
    &token_params::FIELDS,
]);

const SECRET_ID: Field = field("secret_id", Kind::Text, "The secret id.");
const ISSUE: &[Field] = &[
    field("metadata", Kind::Pairs, "Shown with the tokens of its logins."),
    field("cidr_list", Kind::List, "Networks its logins may come from; within those of the role."),
    field("token_bound_cidrs", Kind::List, "Networks its tokens may be used from; within those of the role."),
    field("num_uses", Kind::Int, "Logins it is good for; at most the role's."),
    field("ttl", Kind::Duration, "How long it is good; at most the role's."),
];
const CUSTOM: &[Field] = &joined::<6>(&[ISSUE, &[SECRET_ID]]);
const BY_SECRET: &[Field] = &[SECRET_ID];
const BY_ACCESSOR: &[Field] = &[field("secret_id_accessor", Kind::Text, "The secret id's accessor.")];

const ROUTES: &[Route] = &[
    Route {
        pattern: "login",
        operations: &[(Operation::Update, login::login)],
        fields: &[ROLE_ID, SECRET_ID],
        traits: Traits { open: true, ..Route::EMPTY.traits },
        help: "Logs in.",
        ..Route::EMPTY
    },
    Route {
        pattern: "role",
        operations: &[(Operation::List, named::list::<Role>)],
        help: "Lists the roles.",
        ..Route::EMPTY
    },
    Route {
        pattern: "role/{role_name}",
        operations: &[
            (Operation::Read, named::read::<Role>),
            (Operation::Update, role::write),
            (Operation::Delete, role::delete),
        ],
        exists: Some(named::exists::<Role>),
        fields: ROLE,
        help: "Who may log in how, and what the token may do.",
        ..Route::EMPTY
    },
    Route {
        pattern: "role/{role_name}/role-id",
        operations: &[(Operation::Read, role::read_role_id), (Operation::Update, role::write_role_id)],
        fields: &[ROLE_ID],
        help: "What names the role at logins.",
        ..Route::EMPTY
    },
    Route {
        pattern: "role/{role_name}/secret-id",
        operations: &[(Operation::Update, secret::generate), (Operation::List, secret::list)],
        fields: ISSUE,
        help: "Makes a secret id, and lists the accessors of those that are good.",
        ..Route::EMPTY
    },
    Route {
        pattern: "role/{role_name}/custom-secret-id",
        operations: &[(Operation::Update, secret::custom)],
        fields: CUSTOM,
        help: "Takes over a secret id made elsewhere.",
        ..Route::EMPTY
    },
    Route {
        pattern: "role/{role_name}/secret-id/lookup",
        operations: &[(Operation::Update, secret::look_up)],
        fields: BY_SECRET,
        help: "What is known of a secret id.",
        ..Route::EMPTY
    },
    Route {
        pattern: "role/{role_name}/secret-id/destroy",
        operations: &[(Operation::Update, secret::destroy), (Operation::Delete, secret::destroy)],
        fields: BY_SECRET,
        help: "Ends a secret id.",
        ..Route::EMPTY
    },
    Route {
        pattern: "role/{role_name}/secret-id-accessor/lookup",
        operations: &[(Operation::Update, secret::look_up_accessor)],
        fields: BY_ACCESSOR,
        help: "What is known of a secret id.",
        ..Route::EMPTY
    },
    Route {
        pattern: "role/{role_name}/secret-id-accessor/destroy",
        operations: &[
            (Operation::Update, secret::destroy_accessor),
            (Operation::Delete, secret::destroy_accessor),
        ],
        fields: BY_ACCESSOR,
        help: "Ends a secret id.",
        ..Route::EMPTY
    },
    Route {
        pattern: "tidy/secret-id",
        operations: &[(Operation::Update, secret::tidy)],
        help: "Removes secret ids whose time is over.",
        ..Route::EMPTY
    },
];
