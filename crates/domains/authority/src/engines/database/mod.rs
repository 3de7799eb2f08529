//! Databases: users made on demand that die with their lease, and passwords of users that are there already, changed by
//! the clock.
//!
//! Everything outside goes through [`crate::act`]: a lease or the password that is going to be set is stored first, then
//! the database is asked, then the result is stored.

mod address;
mod config;
mod creds;
mod dialect;
mod fixed;
mod role;
mod root;
#[cfg(test)]
mod tests;
mod username;

pub(crate) use dialect::PLUGINS;

use super::automated;
use super::journaled::Place;
use super::rotation_times::SCHEDULE;
use crate::act::Done;
use crate::lease;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::route::{Backend, Field, Journal, Kind, Resumed, Route, field, joined};
use crate::txn::Txn;
use keyward_core::Timestamp;

/// See the module.
pub static BACKEND: Backend = Backend {
    kind: "database",
    about: "Users of databases, made on demand, and passwords changed by the clock.",
    routes: &[ROUTES],
    leases: Some(lease::Ops {
        revoke: creds::revoke,
        terms: creds::terms,
        extend: creds::extend,
        complete: None,
    }),
    journal: Some(Journal { due, conclude }),
    ..Backend::EMPTY
};

const CONFIG: &[Field] = &joined::<32>(&[CONNECTION, &automated::FIELDS]);

const CONNECTION: &[Field] = &[
    field("plugin_name", Kind::Text, "postgresql-, mysql- or redis-database-plugin."),
    field("plugin_version", Kind::Text, "Every kind of database is built in and has one version."),
    field("verify_connection", Kind::Bool, "Connect before the configuration is stored; yes by default."),
    field("allowed_roles", Kind::List, "Roles that may use the connection; `*` is any text."),
    field("root_rotation_statements", Kind::List, "SQL that changes the connection's own password."),
    field("password_policy", Kind::Text, "The policy of the passwords made for users."),
    field(
        "connection_url",
        Kind::Text,
        "The server, with {{username}} and {{password}} for the connection's own.",
    ),
    field("username", Kind::Text, "The connection's own user."),
    field("password", Kind::Text, "The connection's own password; never shown."),
    field("max_open_connections", Kind::Int, "Connections at a time; 4 by default."),
    field(
        "max_idle_connections",
        Kind::Int,
        "Connections kept while nobody needs them; all when 0, none when below.",
    ),
    field("max_connection_lifetime", Kind::Duration, "Connections older than this are closed; never when 0."),
    field("username_template", Kind::Text, "A Go template for the names of users."),
    field("disable_escaping", Kind::Bool, "Has no effect: values are not written into the URL."),
    field(
        "password_authentication",
        Kind::Text,
        "`password`, or `scram-sha-256` for PostgreSQL to be told verifiers and no passwords.",
    ),
    field("tls_ca", Kind::Text, "Authorities in PEM that the server's certificate is believed by."),
    field("ca_cert", Kind::Text, "Another name of `tls_ca`."),
    field("tls_certificate", Kind::Text, "A certificate in PEM to show the server."),
    field("private_key", Kind::Text, "Its key in PEM; never shown."),
    field("tls_certificate_key", Kind::Text, "A certificate and its key in PEM; never shown."),
    field("tls_server_name", Kind::Text, "The name in the server's certificate, if it is not the host's."),
    field("tls_skip_verify", Kind::Bool, "Believe any certificate."),
    field("insecure_tls", Kind::Bool, "Another name of `tls_skip_verify`."),
    field("tls", Kind::Bool, "Redis: speak TLS."),
    field(
        "persistence_mode",
        Kind::Text,
        "Redis: `ACLFILE` or `REWRITE` has users remembered by the server.",
    ),
    field("host", Kind::Text, "Redis: the server."),
    field("port", Kind::Int, "Redis: its port; 6379 by default."),
    field(
        "skip_static_role_import_rotation",
        Kind::Bool,
        "New static roles leave the password as it is until its first time, unless they say otherwise.",
    ),
];

const CREATE: Field =
    field("creation_statements", Kind::List, "What makes a user: {{name}}, {{password}}, {{expiration}}.");

const ROLE: &[Field] = &[
    field("db_name", Kind::Text, "The connection."),
    CREATE,
    field("revocation_statements", Kind::List, "What removes a user, {{name}}; the usual way when empty."),
    field(
        "rollback_statements",
        Kind::List,
        "Kept for clients that read it back: revocation removes what was half made.",
    ),
    field("renew_statements", Kind::List, "What extends a user; the usual way when empty."),
    field("default_ttl", Kind::Duration, "How long users live; the mount's when 0."),
    field("max_ttl", Kind::Duration, "The most renewals may add up to; the mount's when 0."),
    field("credential_type", Kind::Text, "`password`: users of these databases have no others."),
    field("credential_config", Kind::Pairs, "`password_policy`: another than the connection's."),
];

const STATIC_ROLE: &[Field] = &joined::<10>(&[FIXED, &SCHEDULE]);

const FIXED: &[Field] = &[
    field("db_name", Kind::Text, "The connection."),
    field("username", Kind::Text, "A user that is there."),
    field("rotation_period", Kind::Duration, "Change the password this often, at least 5 s."),
    field("rotation_statements", Kind::List, "What changes the password; the usual way when empty."),
    field("credential_type", Kind::Text, "`password`: users of these databases have no others."),
    field("credential_config", Kind::Pairs, "`password_policy`: another than the connection's."),
    field(
        "skip_import_rotation",
        Kind::Bool,
        "Counts when the role is made: leave the password as it is until its first time.",
    ),
    field("password", Kind::Text, "With `skip_import_rotation`: the password as it is, to be handed out."),
];

const ROUTES: &[Route] = &[
    Route {
        pattern: "creds/{name}",
        operations: &[(Operation::Read, creds::create), (Operation::Update, creds::create)],
        help: "Makes a user.",
        ..Route::EMPTY
    },
    Route {
        pattern: "static-creds/{name}",
        operations: &[(Operation::Read, fixed::creds)],
        help: "The present password of a static role's user.",
        ..Route::EMPTY
    },
    Route {
        pattern: "config",
        operations: &[(Operation::List, config::list)],
        help: "Lists the connections.",
        ..Route::EMPTY
    },
    Route {
        pattern: "config/{name}",
        operations: &[
            (Operation::Read, config::read),
            (Operation::Update, config::write),
            (Operation::Delete, config::delete),
        ],
        exists: Some(config::exists),
        fields: CONFIG,
        help: "How a database is reached.",
        ..Route::EMPTY
    },
    Route {
        pattern: "reset/{name}",
        operations: &[(Operation::Update, config::reset)],
        help: "Closes a connection's sessions; new ones are opened when they are needed.",
        ..Route::EMPTY
    },
    Route {
        pattern: "rotate-root/{name}",
        operations: &[(Operation::Update, root::rotate)],
        help: "Gives a connection's own user a password that nobody else knows.",
        ..Route::EMPTY
    },
    Route {
        pattern: "roles",
        operations: &[(Operation::List, role::list)],
        help: "Lists the roles.",
        ..Route::EMPTY
    },
    Route {
        pattern: "roles/{name}",
        operations: &[
            (Operation::Read, role::read),
            (Operation::Update, role::write),
            (Operation::Delete, role::delete),
        ],
        exists: Some(role::exists),
        fields: ROLE,
        help: "How users are made, and for how long.",
        ..Route::EMPTY
    },
    Route {
        pattern: "static-roles",
        operations: &[(Operation::List, fixed::list)],
        help: "Lists the static roles.",
        ..Route::EMPTY
    },
    Route {
        pattern: "static-roles/{name}",
        operations: &[
            (Operation::Read, fixed::read),
            (Operation::Update, fixed::write),
            (Operation::Delete, fixed::delete),
        ],
        exists: Some(fixed::exists),
        fields: STATIC_ROLE,
        help: "A user that is there, whose password is changed by the clock.",
        ..Route::EMPTY
    },
    Route {
        pattern: "rotate-role/{name}",
        operations: &[(Operation::Update, fixed::rotate)],
        help: "Changes the password of a static role's user now.",
        ..Route::EMPTY
    },
];

/// The entry at the path `what` of the mount `uuid`.
fn place<'p>(uuid: &'p str, what: &'p str) -> Place<'p> {
    Place { kind: BACKEND.kind, uuid, what }
}

fn due(txn: &mut Txn<'_>, uuid: &str, what: &str, now: Timestamp) -> Resumed {
    match what.strip_prefix(fixed::DIRECTORY) {
        Some(name) => fixed::due(txn, &place(uuid, what), name, now),
        None => automated::due::<config::Stored>(txn, &place(uuid, what), now),
    }
}

fn conclude(txn: &mut Txn<'_>, uuid: &str, what: &str, done: &Done, now: Timestamp) -> Result<(), Refusal> {
    match what.starts_with(fixed::DIRECTORY) {
        true => fixed::conclude(txn, &place(uuid, what), done, now),
        false => automated::conclude::<config::Stored>(txn, &place(uuid, what), done, now),
    }
}
