//! `auth/token`: tokens made from tokens, looked up, renewed and revoked.

mod create;
mod lookup;
mod manage;
mod roles;
#[cfg(test)]
mod tests;

use crate::context::Context;
use crate::policy::{Ask, Parameters};
use crate::posture::Seen;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::route::{Backend, Field, Kind, Route, Traits, field};

/// See the module.
pub static BACKEND: Backend = Backend {
    kind: "token",
    about: "Tokens: made from other tokens, looked up, renewed and revoked.",
    routes: &[ROUTES],
    renew: Some(roles::terms),
    ..Backend::EMPTY
};

const CREATE: &[Field] = &[
    field("display_name", Kind::Text, "For people; `token-` is put before it."),
    field(
        "entity_alias",
        Kind::Text,
        "Gives the token the identity of this alias; with a role that allows it.",
    ),
    field("explicit_max_ttl", Kind::Duration, "The token never outlives this."),
    field("id", Kind::Text, "The token itself; for root and sudo."),
    field("lease", Kind::Duration, "An older name of `ttl`."),
    field("meta", Kind::Pairs, "Shown in lookups and audit records."),
    field("no_default_policy", Kind::Bool, "Leave out the policy `default`."),
    field("no_parent", Kind::Bool, "Do not end with the token that creates it; for root and sudo."),
    field("num_uses", Kind::Int, "How often it may be used; any number of times when 0."),
    field("period", Kind::Duration, "May be renewed for ever, by this much each time; for root and sudo."),
    field("policies", Kind::List, "Its policies: some of the creator's; all of them when there are none."),
    field("renewable", Kind::Bool, "May be renewed."),
    field("ttl", Kind::Duration, "How long it lives."),
    field("type", Kind::Text, "`service` or `batch`."),
];

const TOKEN: &[Field] = &[field("token", Kind::Text, "The token.")];
const ACCESSOR: &[Field] = &[field("accessor", Kind::Text, "The token's accessor.")];
const RENEW: &[Field] = &[
    field("token", Kind::Text, "The token."),
    field("increment", Kind::Duration, "For how much longer; as it was granted last when absent."),
];
const RENEW_ACCESSOR: &[Field] = &[ACCESSOR[0], RENEW[1]];

const ROUTES: &[Route] = &[
    Route {
        pattern: "create",
        operations: &[(Operation::Update, create::child)],
        fields: CREATE,
        help: "Creates a token that ends with the one that creates it.",
        ..Route::EMPTY
    },
    Route {
        pattern: "create-orphan",
        operations: &[(Operation::Update, create::orphan)],
        fields: CREATE,
        help: "Creates a token that does not end with the one that creates it.",
        ..Route::EMPTY
    },
    Route {
        pattern: "create/{role_name}",
        operations: &[(Operation::Update, create::by_role)],
        fields: CREATE,
        help: "Creates a token as a role allows it.",
        ..Route::EMPTY
    },
    Route {
        pattern: "lookup",
        operations: &[(Operation::Read, lookup::by_token), (Operation::Update, lookup::by_token)],
        fields: TOKEN,
        help: "Shows what is known of a token.",
        ..Route::EMPTY
    },
    Route {
        pattern: "lookup-self",
        operations: &[(Operation::Read, lookup::own), (Operation::Update, lookup::own)],
        fields: TOKEN,
        help: "Shows what is known of the token that asks.",
        ..Route::EMPTY
    },
    Route {
        pattern: "lookup-accessor",
        operations: &[(Operation::Update, lookup::by_accessor)],
        fields: ACCESSOR,
        help: "Shows what is known of a token, but not the token.",
        ..Route::EMPTY
    },
    Route {
        pattern: "renew",
        operations: &[(Operation::Update, manage::renew)],
        fields: RENEW,
        help: "Extends a token's life.",
        ..Route::EMPTY
    },
    Route {
        pattern: "renew-self",
        operations: &[(Operation::Update, manage::renew_own)],
        fields: RENEW,
        help: "Extends the life of the token that asks.",
        ..Route::EMPTY
    },
    Route {
        pattern: "renew-accessor",
        operations: &[(Operation::Update, manage::renew_accessor)],
        fields: RENEW_ACCESSOR,
        help: "Extends a token's life.",
        ..Route::EMPTY
    },
    Route {
        pattern: "revoke",
        operations: &[(Operation::Update, manage::revoke)],
        fields: TOKEN,
        help: "Ends a token and all that were made from it.",
        ..Route::EMPTY
    },
    Route {
        pattern: "revoke-self",
        operations: &[(Operation::Update, manage::revoke_own)],
        fields: TOKEN,
        help: "Ends the token that asks and all that were made from it.",
        ..Route::EMPTY
    },
    Route {
        pattern: "revoke-orphan",
        operations: &[(Operation::Update, manage::revoke_orphan)],
        fields: TOKEN,
        help: "Ends a token, and leaves those that were made from it; for root and sudo.",
        ..Route::EMPTY
    },
    Route {
        pattern: "revoke-accessor",
        operations: &[(Operation::Update, manage::revoke_accessor)],
        fields: ACCESSOR,
        help: "Ends a token and all that were made from it.",
        ..Route::EMPTY
    },
    Route {
        pattern: "accessors",
        operations: &[(Operation::List, lookup::accessors)],
        traits: Traits { sudo: true, ..Route::EMPTY.traits },
        help: "Lists the accessors of all tokens.",
        ..Route::EMPTY
    },
    Route {
        pattern: "tidy",
        operations: &[(Operation::Update, manage::tidy)],
        help: "Removes what is left of tokens that are not there any more.",
        ..Route::EMPTY
    },
    Route {
        pattern: "roles",
        operations: &[(Operation::List, roles::list)],
        help: "Lists the token roles.",
        ..Route::EMPTY
    },
    Route {
        pattern: "roles/{role_name}",
        operations: &[
            (Operation::Read, roles::read),
            (Operation::Update, roles::write),
            (Operation::Delete, roles::delete),
        ],
        exists: Some(roles::exists),
        fields: &roles::FIELDS,
        help: "What tokens may be created by a role.",
        ..Route::EMPTY
    },
];

/// True when the caller has `sudo` on the path it asks for.
fn is_sudo(cx: &Context<'_, '_>) -> Result<bool, Refusal> {
    let (caller, seen) = (cx.caller()?, Seen::default());
    let verdict = caller.acl.check(&Ask {
        path: &cx.request.path,
        operation: cx.operation,
        parameters: Some(cx.fields() as &dyn Parameters),
        wrap_ttl: cx.request.wrap.map(|wrap| wrap.ttl),
        now: cx.now,
        who: Some(caller.who(cx.request, cx.verdicts.attest(&seen))),
    });
    Ok(verdict.sudo)
}
