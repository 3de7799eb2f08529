//! `identity/group-alias`: what auth methods call external groups.

use super::groups::{describe_alias, save};
use super::{check_mount, list_with, sent, tell_mount};
use crate::context::Context;
use crate::identity::{self, GROUP_ALIAS_IDS, Group, GroupAlias};
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Kind, Route, field};
use keyward_core::random;
use serde_json::{Map, json};

const FIELDS: &[Field] = &[
    field("id", Kind::Text, "The alias's id, to change one that is there."),
    field("name", Kind::Text, "What the auth method calls the group."),
    field("mount_accessor", Kind::Text, "The auth mount's accessor."),
    field("canonical_id", Kind::Text, "The external group's id; a new group if there is none."),
];

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "group-alias",
        operations: &[(Operation::Update, write)],
        fields: FIELDS,
        help: "Creates an alias of an external group, or changes one.",
        ..Route::EMPTY
    },
    Route {
        pattern: "group-alias/id",
        operations: &[(Operation::List, list)],
        help: "Lists the aliases of groups by id.",
        ..Route::EMPTY
    },
    Route {
        pattern: "group-alias/id/{id}",
        operations: &[(Operation::Read, read), (Operation::Update, write), (Operation::Delete, delete)],
        fields: FIELDS,
        help: "Shows, changes and removes an alias of a group.",
        ..Route::EMPTY
    },
];

fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let refuse = |why: &str| Err(Refusal::invalid(why));
    let id = sent(cx, "id")?;
    let before = match id.is_empty() {
        true => None,
        false => {
            let known = identity::group_by_alias_id(cx.txn, &id)?;
            Some(known.ok_or_else(|| Refusal::invalid("invalid group alias ID"))?)
        }
    };
    let text = |name: &str| cx.fields().string(name).map(Option::unwrap_or_default);
    let (name, accessor, canonical) = (text("name")?, text("mount_accessor")?, text("canonical_id")?);
    if name.is_empty() {
        return refuse("missing alias name");
    }
    if accessor.is_empty() {
        return refuse("missing mount_accessor");
    }
    let known = before.as_ref().and_then(|group| group.alias.clone());
    let stays = before.as_ref().is_some_and(|group| canonical.is_empty() || group.id == canonical);
    if stays && known.as_ref().is_some_and(|alias| alias.name == name && alias.mount_accessor == accessor) {
        return Ok(Response::empty());
    }
    check_mount(cx, &accessor)?;
    let taken = identity::group_by_alias(cx.txn, &accessor, &name)?.and_then(|group| group.alias.clone());
    if taken.is_some_and(|taken| known.as_ref().is_none_or(|known| known.id != taken.id)) {
        return refuse("combination of mount and group alias name is already in use");
    }
    let alias = GroupAlias {
        id: known.as_ref().map_or_else(|| random::uuid(cx.random()), |known| known.id.clone()),
        created: known.as_ref().map_or(cx.now.nanos(), |known| known.created),
        updated: cx.now.nanos(),
        mount_accessor: accessor,
        name,
    };
    let target = match canonical.as_str() {
        "" => before.clone(),
        id => {
            let target = identity::group_by_id(cx.txn, id)?;
            Some(target.ok_or_else(|| Refusal::invalid("invalid group ID given in 'canonical_id'"))?)
        }
    };
    if target.as_ref().is_some_and(|group| !group.external) {
        return refuse("alias can't be set on an internal group");
    }
    // Before the group it moves to, whose ways to it replace those that are removed here.
    if let Some(before) = before.as_ref().filter(|_| !stays) {
        save(cx, Some(before), &mut Group { alias: None, ..Group::clone(before) })?;
    }
    let mut group = match &target {
        Some(target) => Group::clone(target),
        None => Group { external: true, ..Group::new(cx.txn, "", cx.now)? },
    };
    let told = json!({ "id": alias.id, "canonical_id": group.id });
    group.alias = Some(alias);
    save(cx, target.as_deref(), &mut group)?;
    Response::data(&told)
}

fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let id = cx.param("id").to_owned();
    let group = identity::group_by_alias_id(cx.txn, &id)?.ok_or(Refusal::missing())?;
    let alias = group.alias.as_ref().ok_or(Refusal::missing())?;
    let mut told = describe_alias(cx, &group, alias)?;
    told.insert("namespace_id".to_owned(), json!("root"));
    Response::data(&told)
}

fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let id = cx.param("id").to_owned();
    if let Some(before) = identity::group_by_alias_id(cx.txn, &id)? {
        save(cx, Some(&before), &mut Group { alias: None, ..Group::clone(&before) })?;
    }
    Ok(Response::empty())
}

fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let keys = cx.list_at(GROUP_ALIAS_IDS)?;
    list_with(cx, keys, |cx, id| {
        let Some(group) = identity::group_by_alias_id(cx.txn, id)? else { return Ok(None) };
        let Some(alias) = &group.alias else { return Ok(None) };
        let mut told = Map::from_iter([
            ("canonical_id".to_owned(), json!(group.id)),
            ("mount_accessor".to_owned(), json!(alias.mount_accessor)),
            ("name".to_owned(), json!(alias.name)),
        ]);
        tell_mount(cx, &alias.mount_accessor, &mut told)?;
        Ok(Some((id.to_owned(), told)))
    })
}
