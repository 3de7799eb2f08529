//! SSH: certificates for users and hosts, signed by an authority whose key stays here (OpenSSH's PROTOCOL.certkeys), and
//! one-time passwords for servers that ask us about them.
//!
//! Absent, and refused: several authorities in one mount, keys of authorities in other systems, signatures with SHA-1.

mod ca;
mod otp;
mod role;
mod sign;
#[cfg(test)]
mod tests;

use super::named;
use crate::context::Context;
use crate::lease;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Backend, Field, Kind, Route, Traits, field, joined};
use role::Role;
use serde_json::{Map, json};

/// See the module.
pub static BACKEND: Backend = Backend {
    kind: "ssh",
    about: "Signs SSH certificates with an authority whose key stays here, and makes one-time passwords.",
    routes: &[ROUTES, PASSWORDS, ROLES],
    leases: Some(lease::Ops { revoke: otp::revoke, terms: otp::terms, extend: otp::extend, complete: None }),
    ..Backend::EMPTY
};

/// Making RSA keys takes up to seconds, an RSA signature milliseconds.
const HEAVY: Traits = Traits { heavy: true, ..Route::EMPTY.traits };

const ROLE: &[Field] = &[
    field("key_type", Kind::Text, "`ca` for certificates, `otp` for one-time passwords."),
    field("allow_user_certificates", Kind::Bool, "Sign certificates for users."),
    field("allow_host_certificates", Kind::Bool, "Sign certificates for hosts."),
    field("allowed_users", Kind::Text, "User names that may be asked for, with commas between; `*` for all."),
    field("allowed_users_template", Kind::Bool, "`allowed_users` has `{{identity...}}` in it."),
    field("default_user", Kind::Text, "The user names when none are asked for."),
    field("default_user_template", Kind::Bool, "`default_user` has `{{identity...}}` in it."),
    field("allowed_domains", Kind::Text, "Domains of hosts, with commas between; `*` for all."),
    field("allowed_domains_template", Kind::Bool, "`allowed_domains` has `{{identity...}}` in it."),
    field("allow_bare_domains", Kind::Bool, "Hosts may be called as the domains themselves."),
    field("allow_subdomains", Kind::Bool, "Hosts may be called by names below the domains."),
    field("allow_empty_principals", Kind::Bool, "Sign certificates that are for all names."),
    field("allowed_critical_options", Kind::Text, "Critical options that may be asked for; any when empty."),
    field("default_critical_options", Kind::Pairs, "Critical options when none are asked for."),
    field(
        "allowed_extensions",
        Kind::Text,
        "Extensions that may be asked for; `*` for all, none when empty.",
    ),
    field("default_extensions", Kind::Pairs, "Extensions when none are asked for."),
    field("default_extensions_template", Kind::Bool, "`default_extensions` have `{{identity...}}` in them."),
    field("allow_user_key_ids", Kind::Bool, "The key id may be asked for."),
    field(
        "key_id_format",
        Kind::Text,
        "The key id, with `{{token_display_name}}`, `{{role_name}}` and `{{public_key_hash}}` in it.",
    ),
    field(
        "allowed_user_key_lengths",
        Kind::Json,
        "Types of keys that are signed and their bits, such as `{\"rsa\": [3072, 4096], \"ed25519\": 0}`; any when empty.",
    ),
    field(
        "algorithm_signer",
        Kind::Text,
        "`rsa-sha2-256`, which is the default, or `rsa-sha2-512`, for RSA keys.",
    ),
    field("not_before_duration", Kind::Duration, "How long before now certificates begin; 30 seconds."),
    field("cidr_list", Kind::List, "Of `otp`: networks of the servers."),
    field("exclude_cidr_list", Kind::List, "Of `otp`: networks that are none of them."),
    field("port", Kind::Int, "Of `otp`: told to who asks for a password; 22."),
    field("ttl", Kind::Duration, "How long certificates are good; the mount's default without it."),
    field("max_ttl", Kind::Duration, "The longest they may be asked for; the mount's without it."),
];

/// What a certificate is asked for with.
const ASKED: [Field; 6] = [
    field("ttl", Kind::Duration, "How long it is good."),
    field("valid_principals", Kind::Text, "User or host names, with commas between."),
    field("cert_type", Kind::Text, "`user` or `host`."),
    field("key_id", Kind::Text, "Shown in the server's log."),
    field("critical_options", Kind::Pairs, "Critical options."),
    field("extensions", Kind::Pairs, "Extensions."),
];
const SIGN: &[Field] = &joined::<7>(&[
    &ASKED,
    &[field("public_key", Kind::Text, "The key to sign, as authorized_keys has it.")],
]);
const KEY_TYPE: Field = field("key_type", Kind::Text, "`rsa`, `ec` or `ed25519`.");
const KEY_BITS: Field = field("key_bits", Kind::Int, "Bits of the new key; the usual when 0.");
const ISSUE: &[Field] = &joined::<8>(&[&ASKED, &[KEY_TYPE, KEY_BITS]]);

const ROUTES: &[Route] = &[
    Route {
        pattern: "config/ca",
        operations: &[
            (Operation::Read, ca::read),
            (Operation::Update, ca::write),
            (Operation::Delete, ca::delete),
        ],
        fields: &[
            field("private_key", Kind::Text, "The authority's key in PEM or OpenSSH's format."),
            field("public_key", Kind::Text, "Its public part, as authorized_keys has it."),
            field("generate_signing_key", Kind::Bool, "Make a new key; so without a key."),
            KEY_TYPE,
            KEY_BITS,
        ],
        traits: HEAVY,
        help: "The key that certificates are signed with.",
        ..Route::EMPTY
    },
    Route {
        pattern: "public_key",
        operations: &[(Operation::Read, ca::public_key)],
        // Servers that trust the authority fetch it, and have no token.
        traits: Traits { open: true, ..Route::EMPTY.traits },
        help: "What servers and clients trust, as authorized_keys has it.",
        ..Route::EMPTY
    },
    Route {
        pattern: "sign/{role}",
        operations: &[(Operation::Update, sign::sign)],
        fields: SIGN,
        traits: HEAVY,
        help: "Signs a key.",
        ..Route::EMPTY
    },
    Route {
        pattern: "issue/{role}",
        operations: &[(Operation::Update, sign::issue)],
        fields: ISSUE,
        traits: HEAVY,
        help: "Makes a key and signs it.",
        ..Route::EMPTY
    },
];

const IP: Field = field("ip", Kind::Text, "The server's address.");

const PASSWORDS: &[Route] = &[
    Route {
        pattern: "creds/{role}",
        operations: &[(Operation::Update, otp::create)],
        fields: &[
            IP,
            field("username", Kind::Text, "Whom to log in as; the role's default user without it."),
        ],
        help: "Makes a password for one login.",
        ..Route::EMPTY
    },
    Route {
        pattern: "verify",
        operations: &[(Operation::Update, otp::verify)],
        fields: &[field("otp", Kind::Text, "What was shown to the server.")],
        // Servers ask, and have no token: who knows a password may learn whose it is, once.
        traits: Traits { open: true, ..Route::EMPTY.traits },
        help: "Says for whom a password was made, and forgets it.",
        ..Route::EMPTY
    },
    Route {
        pattern: "lookup",
        operations: &[(Operation::Update, otp::lookup)],
        fields: &[IP],
        help: "Lists the roles that passwords for a server may be asked for with.",
        ..Route::EMPTY
    },
    Route {
        pattern: "config/zeroaddress",
        operations: &[
            (Operation::Read, otp::read_zero_address),
            (Operation::Update, otp::write_zero_address),
            (Operation::Delete, otp::delete_zero_address),
        ],
        fields: &[field("roles", Kind::List, "Roles whose passwords are for servers of any address.")],
        help: "The roles that are for any address.",
        ..Route::EMPTY
    },
];

const ROLES: &[Route] = &[
    Route {
        pattern: "roles",
        operations: &[(Operation::List, list)],
        help: "Lists the roles and their types.",
        ..Route::EMPTY
    },
    // As in Vault, making a role needs no other capability than changing it.
    Route {
        pattern: "roles/{role}",
        operations: &[
            (Operation::Read, named::read::<Role>),
            (Operation::Update, named::write::<Role>),
            (Operation::Delete, delete),
        ],
        fields: ROLE,
        help: "Which certificates or passwords may be asked for.",
        ..Route::EMPTY
    },
];

fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let mut info = Map::new();
    for name in cx.list(<Role as named::Named>::DIRECTORY)? {
        if let Some(role) = named::find::<Role>(cx, &name)? {
            info.insert(name, json!({ "key_type": role.key_type() }));
        }
    }
    let names: Vec<String> = info.keys().cloned().collect();
    match names.is_empty() {
        true => Err(Refusal::missing()),
        false => Response::data(&json!({ "keys": names, "key_info": info })),
    }
}

fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = cx.param("role").to_owned();
    otp::forget(cx, &name)?;
    named::delete::<Role>(cx)
}
