//! `identity/lookup`: finding entities and groups by what is known of them.

use super::{entities, groups};
use crate::context::Context;
use crate::identity;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Kind, Route, field};

const FIELDS: &[Field] = &[
    field("id", Kind::Text, "Its id."),
    field("name", Kind::Text, "Its name."),
    field("alias_id", Kind::Text, "The id of an alias."),
    field("alias_name", Kind::Text, "The name at a mount; with `alias_mount_accessor`."),
    field("alias_mount_accessor", Kind::Text, "The mount's accessor; with `alias_name`."),
];

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "lookup/entity",
        operations: &[(Operation::Update, entity)],
        fields: FIELDS,
        help: "Finds an entity by its id, its name or an alias.",
        ..Route::EMPTY
    },
    Route {
        pattern: "lookup/group",
        operations: &[(Operation::Update, group)],
        fields: FIELDS,
        help: "Finds a group by its id, its name or its alias.",
        ..Route::EMPTY
    },
];

/// By what something is looked for.
enum Query {
    Id(String),
    Name(String),
    AliasId(String),
    Alias { accessor: String, name: String },
}

fn query(cx: &Context<'_, '_>) -> Result<Query, Refusal> {
    let sent = |name: &str| cx.fields().string(name);
    let all =
        (sent("id")?, sent("name")?, sent("alias_id")?, sent("alias_name")?, sent("alias_mount_accessor")?);
    match all {
        (None, None, None, None, None) => Err(Refusal::invalid("query parameter not supplied")),
        (Some(id), None, None, None, None) => Ok(Query::Id(id)),
        (None, Some(name), None, None, None) => Ok(Query::Name(name)),
        (None, None, Some(id), None, None) => Ok(Query::AliasId(id)),
        (None, None, None, Some(name), Some(accessor)) => Ok(Query::Alias { accessor, name }),
        (None, None, None, Some(_), None) | (None, None, None, None, Some(_)) => {
            Err(Refusal::invalid("both 'alias_name' and 'alias_mount_accessor' needs to be set"))
        }
        _ => {
            Err(Refusal::invalid("query parameter conflict; please supply distinct set of query parameters"))
        }
    }
}

/// What is not there is nothing, not a mistake.
fn entity(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let found = match query(cx)? {
        Query::Id(id) => identity::by_id(cx.txn, &id)?,
        Query::Name(name) => identity::by_name(cx.txn, &name)?,
        Query::AliasId(id) => identity::by_alias_id(cx.txn, &id)?,
        Query::Alias { accessor, name } => identity::by_alias(cx.txn, &accessor, &name)?,
    };
    found.map_or(Ok(Response::empty()), |entity| entities::show(cx, &entity))
}

fn group(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let found = match query(cx)? {
        Query::Id(id) => identity::group_by_id(cx.txn, &id)?,
        Query::Name(name) => identity::group_by_name(cx.txn, &name)?,
        Query::AliasId(id) => identity::group_by_alias_id(cx.txn, &id)?,
        Query::Alias { accessor, name } => identity::group_by_alias(cx.txn, &accessor, &name)?,
    };
    found.map_or(Ok(Response::empty()), |group| groups::show(cx, &group))
}
