//! `identity/group`: entities and other groups, together.

use super::{Told, list_with, names, pairs, sent, tell_mount, time};
use crate::context::{Context, Effect};
use crate::identity::{self, GROUP_NAMES, GROUPS, Graph, Group, GroupAlias, MEMBERS};
use crate::policy;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Kind, Route, field};
use serde_json::{Map, Value, json};
use std::sync::Arc;

const FIELDS: &[Field] = &[
    field("id", Kind::Text, "The group's id, to change one that is there."),
    field("name", Kind::Text, "Its name; made up if there is none."),
    field("type", Kind::Text, "`internal`, or `external`: its members are those whose login says so."),
    field("metadata", Kind::Pairs, "Words of the operator's, for policy templates."),
    field("policies", Kind::List, "What its members' tokens may do besides their own policies."),
    field("member_group_ids", Kind::List, "Groups whose members are members of this one."),
    field("member_entity_ids", Kind::List, "The entities that are its members."),
];

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "group",
        operations: &[(Operation::Update, write)],
        fields: FIELDS,
        help: "Creates a group, or changes the one that is named.",
        ..Route::EMPTY
    },
    Route {
        pattern: "group/id",
        operations: &[(Operation::List, list_ids)],
        help: "Lists the groups by id.",
        ..Route::EMPTY
    },
    Route {
        pattern: "group/name",
        operations: &[(Operation::List, list_names)],
        help: "Lists the groups by name.",
        ..Route::EMPTY
    },
    Route {
        pattern: "group/id/{id}",
        operations: &[(Operation::Read, read), (Operation::Update, write), (Operation::Delete, delete)],
        fields: FIELDS,
        help: "Shows, changes and removes a group by its id.",
        ..Route::EMPTY
    },
    Route {
        pattern: "group/name/{name*}",
        operations: &[(Operation::Read, read), (Operation::Update, write), (Operation::Delete, delete)],
        fields: FIELDS,
        help: "Shows, creates, changes and removes a group by its name.",
        ..Route::EMPTY
    },
];

/// As many members as fit into one stored entry.
const MOST_MEMBERS: usize = 10_000;

fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let (id, name) = (sent(cx, "id")?, sent(cx, "name")?);
    identity::check_name(&name)?;
    let by_name = if name.is_empty() { None } else { identity::group_by_name(cx.txn, &name)? };
    let before = match id.is_empty() {
        true => by_name,
        false => {
            let known = identity::group_by_id(cx.txn, &id)?;
            let known = known.ok_or_else(|| Refusal::invalid("invalid group ID"))?;
            if by_name.is_some_and(|other| other.id != known.id) {
                return Err(Refusal::invalid("group name is already in use"));
            }
            Some(known)
        }
    };
    let mut group = match &before {
        Some(before) => Group::clone(before),
        None => Group::new(cx.txn, &name, cx.now)?,
    };
    if !name.is_empty() {
        group.name = name;
    }
    take_over(cx, &mut group, before.is_none())?;
    set_members(cx, &mut group)?;
    save(cx, before.as_deref(), &mut group)?;
    match before {
        Some(_) => Ok(Response::empty()),
        None => Response::data(&json!({ "id": group.id, "name": group.name })),
    }
}

/// Writes `group` once more.
pub(super) fn save(
    cx: &mut Context<'_, '_>,
    before: Option<&Group>,
    group: &mut Group,
) -> Result<(), Refusal> {
    group.written += 1;
    group.updated = cx.now.nanos();
    identity::save_group(cx.txn, before, group)
}

fn take_over(cx: &Context<'_, '_>, group: &mut Group, is_new: bool) -> Result<(), Refusal> {
    if let Some(policies) = cx.fields().strings("policies")? {
        group.policies = policy::sanitize(policies);
    }
    if group.policies.iter().any(|policy| policy == "root") {
        return Err(Refusal::invalid("policies cannot contain root"));
    }
    if let Some(kind) = cx.fields().string("type")? {
        let external = match kind.as_str() {
            "external" => true,
            "internal" | "" => false,
            _ => return Err(Refusal::invalid(format!("invalid group type {kind:?}"))),
        };
        if !is_new && external != group.external {
            return Err(Refusal::invalid("group type cannot be changed"));
        }
        group.external = external;
    }
    if let Some(metadata) = cx.fields().pairs("metadata")? {
        identity::check_metadata(&metadata)?;
        group.metadata = Some(metadata);
    }
    Ok(())
}

fn set_members(cx: &mut Context<'_, '_>, group: &mut Group) -> Result<(), Refusal> {
    let list = |name: &str| -> Result<Option<Vec<String>>, Refusal> {
        Ok(cx.fields().strings(name)?.map(|mut ids| {
            ids.retain(|id| !id.is_empty());
            ids.sort_unstable();
            ids.dedup();
            ids
        }))
    };
    let (entities, groups) = (list("member_entity_ids")?, list("member_group_ids")?);
    if group.external && entities.is_some() {
        return Err(Refusal::invalid("member entities can't be set manually for external groups"));
    }
    if group.external && groups.is_some() {
        return Err(Refusal::invalid("member groups can't be set for external groups"));
    }
    if let Some(ids) = entities {
        if ids.len() > MOST_MEMBERS {
            return Err(Refusal::invalid(format!(
                "a group can have at most {MOST_MEMBERS} entities: make groups of groups"
            )));
        }
        // Read, not relied on: who is deleted meanwhile is left out wherever members are looked at.
        cx.txn.unrelied(|txn| {
            for id in ids.iter().filter(|id| !group.members.contains(id)) {
                if identity::by_id(txn, id)?.is_none() {
                    return Err(Refusal::invalid(format!("invalid entity ID {id:?}")));
                }
            }
            Ok(())
        })?;
        group.members = ids;
    }
    if let Some(ids) = groups {
        let graph = identity::graph(cx.txn)?;
        for id in &ids {
            if graph.get(id).is_none() && *id != group.id {
                return Err(Refusal::invalid(format!("invalid member group ID {id:?}")));
            }
            // Whatever is above the group, itself included, cannot be below it.
            if graph.is_above(id, &group.id) {
                return Err(Refusal::invalid(format!(
                    "cyclic relationship detected for member group ID {id:?}"
                )));
            }
        }
        group.groups = ids;
    }
    Ok(())
}

fn named(cx: &mut Context<'_, '_>) -> Result<Option<Arc<Group>>, Refusal> {
    let (id, name) = (cx.param("id").to_owned(), cx.param("name").to_owned());
    match id.is_empty() {
        true => identity::group_by_name(cx.txn, &name),
        false => identity::group_by_id(cx.txn, &id),
    }
}

fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let group = named(cx)?.ok_or(Refusal::missing())?;
    show(cx, &group)
}

/// The entities in a group: by the operator's word or by that of their logins.
fn members(cx: &mut Context<'_, '_>, group: &Group) -> Result<Vec<String>, Refusal> {
    if group.external {
        return cx.txn.list(&[MEMBERS, &group.id, "/"].concat(), "", usize::MAX);
    }
    let mut ids = Vec::with_capacity(group.members.len());
    for id in &group.members {
        // Merged ones by their new id; such as are gone not at all.
        ids.extend(identity::present(cx.txn, id)?);
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// A group as clients read it.
pub(super) fn show(cx: &mut Context<'_, '_>, group: &Group) -> Result<Response, Refusal> {
    let graph = identity::graph(cx.txn)?;
    let alias = match &group.alias {
        Some(alias) => describe_alias(cx, group, alias)?,
        None => Map::new(),
    };
    let children: Vec<&String> = group.groups.iter().filter(|id| graph.get(id).is_some()).collect();
    let members = members(cx, group)?;
    Response::data(&json!({
        "alias": alias,
        "creation_time": time(group.created),
        "id": group.id,
        "last_update_time": time(group.updated),
        "member_entity_ids": members,
        "member_group_ids": if children.is_empty() { Value::Null } else { json!(children) },
        "metadata": pairs(group.metadata.as_ref()),
        "modify_index": group.written,
        "name": group.name,
        "namespace_id": "root",
        "parent_group_ids": parents(&graph, group),
        "policies": group.policies,
        "type": group.kind(),
    }))
}

fn parents(graph: &Graph, group: &Group) -> Value {
    super::list_or_null(graph.parents(&group.id))
}

/// An alias as clients read it.
pub(super) fn describe_alias(
    cx: &mut Context<'_, '_>,
    group: &Group,
    alias: &GroupAlias,
) -> Result<Map<String, Value>, Refusal> {
    let mut told = Map::new();
    for (name, value) in [
        ("canonical_id", json!(group.id)),
        ("creation_time", time(alias.created)),
        ("id", json!(alias.id)),
        ("last_update_time", time(alias.updated)),
        ("merged_from_canonical_ids", Value::Null),
        ("metadata", Value::Null),
        ("mount_accessor", json!(alias.mount_accessor)),
        ("name", json!(alias.name)),
    ] {
        told.insert(name.to_owned(), value);
    }
    tell_mount(cx, &alias.mount_accessor, &mut told)?;
    Ok(told)
}

fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    if let Some(group) = named(cx)? {
        identity::remove_group(cx.txn, &group)?;
        cx.effects.push(Effect::RunJobs);
    }
    Ok(Response::empty())
}

fn list_ids(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let keys = cx.list_at(GROUPS)?;
    list_with(cx, keys, |cx, id| {
        let group = identity::group_by_id(cx.txn, id)?;
        tell(cx, group)
    })
}

fn list_names(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let keys = names(cx, GROUP_NAMES)?;
    list_with(cx, keys, |cx, name| {
        let group = identity::group_by_name(cx.txn, name)?;
        tell(cx, group)
    })
}

fn tell(cx: &mut Context<'_, '_>, group: Option<Arc<Group>>) -> Result<Told, Refusal> {
    let Some(group) = group else { return Ok(None) };
    let members = members(cx, &group)?.len();
    let parents = identity::graph(cx.txn)?.parents(&group.id).len();
    let mut told = Map::from_iter([
        ("name".to_owned(), json!(group.name)),
        ("num_member_entities".to_owned(), json!(members)),
        ("num_parent_groups".to_owned(), json!(parents)),
    ]);
    if let Some(alias) = &group.alias {
        let mut about = Map::from_iter([
            ("id".to_owned(), json!(alias.id)),
            ("name".to_owned(), json!(alias.name)),
            ("mount_accessor".to_owned(), json!(alias.mount_accessor)),
        ]);
        tell_mount(cx, &alias.mount_accessor, &mut about)?;
        told.insert("alias".to_owned(), about.into());
    }
    Ok(Some((group.id.clone(), told)))
}
