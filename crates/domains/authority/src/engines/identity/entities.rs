//! `identity/entity`: who is known.

use super::{Told, list_or_null, list_with, names, pairs, sent, tell_mount, time};
use crate::context::{Context, Effect};
use crate::identity::{self, Alias, ENTITIES, ENTITY_NAMES, Entity};
use crate::jobs::{self, Job};
use crate::policy;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Kind, Route, field};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const FIELDS: &[Field] = &[
    field("id", Kind::Text, "The entity's id, to change one that is there."),
    field("name", Kind::Text, "Its name; made up if there is none."),
    field("metadata", Kind::Pairs, "Words of the operator's, for policy templates."),
    field("policies", Kind::List, "What its tokens may do besides their own policies."),
    field("disabled", Kind::Bool, "Refuse its tokens, without revoking them."),
];

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "entity",
        operations: &[(Operation::Update, write)],
        fields: FIELDS,
        help: "Creates an entity, or changes the one that is named.",
        ..Route::EMPTY
    },
    Route {
        pattern: "entity/id",
        operations: &[(Operation::List, list_ids)],
        help: "Lists the entities by id.",
        ..Route::EMPTY
    },
    Route {
        pattern: "entity/name",
        operations: &[(Operation::List, list_names)],
        help: "Lists the entities by name.",
        ..Route::EMPTY
    },
    Route {
        pattern: "entity/id/{id}",
        operations: &[
            (Operation::Read, read),
            (Operation::Update, write),
            (Operation::Patch, patch),
            (Operation::Delete, delete),
        ],
        fields: FIELDS,
        help: "Shows, changes and removes an entity by its id.",
        ..Route::EMPTY
    },
    Route {
        pattern: "entity/name/{name*}",
        operations: &[(Operation::Read, read), (Operation::Update, write), (Operation::Delete, delete)],
        fields: FIELDS,
        help: "Shows, creates, changes and removes an entity by its name.",
        ..Route::EMPTY
    },
    Route {
        pattern: "entity/batch-delete",
        operations: &[(Operation::Update, delete_several)],
        fields: &[field("entity_ids", Kind::List, "The ids of the entities.")],
        help: "Removes several entities.",
        ..Route::EMPTY
    },
    Route {
        pattern: "entity/merge",
        operations: &[(Operation::Update, merge)],
        fields: &[
            field("from_entity_ids", Kind::List, "The entities that become part of the other."),
            field("to_entity_id", Kind::Text, "The entity that remains."),
            field("force", Kind::Bool, "Keep the remaining entity's second factors where both have some."),
            field("conflicting_alias_ids_to_keep", Kind::List, "Which of two aliases at one mount remains."),
        ],
        help: "Makes one entity of several.",
        ..Route::EMPTY
    },
];

/// The entity that the path names.
fn named(cx: &mut Context<'_, '_>) -> Result<Option<Arc<Entity>>, Refusal> {
    let (id, name) = (cx.param("id").to_owned(), cx.param("name").to_owned());
    match id.is_empty() {
        true => identity::by_name(cx.txn, &name),
        false => identity::by_id(cx.txn, &id),
    }
}

fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let (id, name) = (sent(cx, "id")?, sent(cx, "name")?);
    identity::check_name(&name)?;
    let by_id = match id.is_empty() {
        true => None,
        false => {
            Some(identity::by_id(cx.txn, &id)?.ok_or_else(|| Refusal::invalid("entity not found from id"))?)
        }
    };
    let by_name = if name.is_empty() { None } else { identity::by_name(cx.txn, &name)? };
    let before = match (by_id, by_name) {
        (Some(known), Some(other)) if known.id != other.id => {
            return Err(Refusal::invalid("entity name is already in use"));
        }
        (known, other) => known.or(other),
    };
    let mut entity = match &before {
        Some(before) => Entity::clone(before),
        None => identity::new(cx.txn, &name, cx.now)?,
    };
    if !name.is_empty() {
        entity.name = name;
    }
    take_over(cx, &mut entity)?;
    entity.updated = cx.now.nanos();
    identity::save(cx.txn, before.as_deref(), &entity)?;
    match before {
        Some(_) => Ok(Response::empty()),
        None => Response::data(&json!({ "id": entity.id, "name": entity.name, "aliases": Value::Null })),
    }
}

/// Changes what is sent and leaves the rest (RFC 7396): of the metadata too, of which what is `null` goes.
fn patch(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let before = named(cx)?.ok_or(Refusal::missing())?;
    let mut entity = Entity::clone(&before);
    if let Some(name) = cx.fields().string("name")?.filter(|name| !name.is_empty()) {
        identity::check_name(&name)?;
        if identity::by_name(cx.txn, &name)?.is_some_and(|other| other.id != entity.id) {
            return Err(Refusal::invalid("entity name is already in use"));
        }
        entity.name = name;
    }
    let metadata = patched(cx, entity.metadata.take())?;
    let is_nulled = |name: &str| cx.fields().names().any(|sent| sent == name) && !cx.fields().has(name);
    if is_nulled("policies") {
        entity.policies.clear();
    }
    if is_nulled("disabled") {
        entity.disabled = false;
    }
    entity.metadata = if is_nulled("metadata") { None } else { metadata };
    take_over_rights(cx, &mut entity)?;
    entity.updated = cx.now.nanos();
    identity::save(cx.txn, Some(&before), &entity)?;
    Ok(Response::empty())
}

fn patched(
    cx: &Context<'_, '_>,
    known: Option<BTreeMap<String, String>>,
) -> Result<Option<BTreeMap<String, String>>, Refusal> {
    let Some(change) = cx.fields().value("metadata")? else { return Ok(known) };
    let not_texts = || Refusal::invalid("metadata must be an object of texts, and null for what is to go");
    let Value::Object(change) = change else { return Err(not_texts()) };
    let mut metadata = known.unwrap_or_default();
    for (name, value) in change {
        match value {
            Value::Null => drop(metadata.remove(&name)),
            Value::String(text) => drop(metadata.insert(name, text)),
            _ => return Err(not_texts()),
        }
    }
    identity::check_metadata(&metadata)?;
    Ok(Some(metadata))
}

fn take_over(cx: &Context<'_, '_>, entity: &mut Entity) -> Result<(), Refusal> {
    take_over_rights(cx, entity)?;
    if let Some(metadata) = cx.fields().pairs("metadata")? {
        identity::check_metadata(&metadata)?;
        entity.metadata = Some(metadata);
    }
    Ok(())
}

fn take_over_rights(cx: &Context<'_, '_>, entity: &mut Entity) -> Result<(), Refusal> {
    if let Some(policies) = cx.fields().strings("policies")? {
        entity.policies = policy::sanitize(policies);
    }
    if entity.policies.iter().any(|policy| policy == "root") {
        return Err(Refusal::invalid("policies cannot contain root"));
    }
    if let Some(disabled) = cx.fields().bool("disabled")? {
        entity.disabled = disabled;
    }
    Ok(())
}

fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let entity = named(cx)?.ok_or(Refusal::missing())?;
    show(cx, &entity)
}

/// An entity as clients read it.
pub(super) fn show(cx: &mut Context<'_, '_>, entity: &Entity) -> Result<Response, Refusal> {
    let holder = identity::holder(cx.txn, &entity.id)?.ok_or(Refusal::missing())?;
    let ids = |groups: &[Arc<identity::Group>]| -> Vec<String> {
        groups.iter().map(|group| group.id.clone()).collect()
    };
    let (direct, inherited) = (ids(&holder.direct), ids(&holder.inherited));
    let all = [&direct[..], &inherited[..]].concat();
    let mut aliases = Vec::with_capacity(entity.aliases.len());
    for alias in &entity.aliases {
        aliases.push(describe_alias(cx, entity, alias)?);
    }
    Response::data(&json!({
        "aliases": aliases,
        "creation_time": time(entity.created),
        "direct_group_ids": direct,
        "disabled": entity.disabled,
        "group_ids": all,
        "id": entity.id,
        "inherited_group_ids": inherited,
        "last_update_time": time(entity.updated),
        "merged_entity_ids": list_or_null(&entity.merged),
        "metadata": pairs(entity.metadata.as_ref()),
        "name": entity.name,
        "namespace_id": "root",
        "policies": entity.policies,
    }))
}

/// An alias as clients read it.
pub(super) fn describe_alias(
    cx: &mut Context<'_, '_>,
    entity: &Entity,
    alias: &Alias,
) -> Result<Map<String, Value>, Refusal> {
    let metadata = (!alias.metadata.is_empty()).then_some(&alias.metadata);
    let mut told = Map::new();
    for (name, value) in [
        ("canonical_id", json!(entity.id)),
        ("creation_time", time(alias.created)),
        ("custom_metadata", pairs(alias.custom_metadata.as_ref())),
        ("id", json!(alias.id)),
        ("last_update_time", time(alias.updated)),
        ("local", json!(false)),
        ("merged_from_canonical_ids", list_or_null(&alias.merged_from)),
        ("metadata", pairs(metadata)),
        ("mount_accessor", json!(alias.mount_accessor)),
        ("name", json!(alias.name)),
    ] {
        told.insert(name.to_owned(), value);
    }
    tell_mount(cx, &alias.mount_accessor, &mut told)?;
    Ok(told)
}

fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    if let Some(entity) = named(cx)? {
        identity::remove(cx.txn, &entity)?;
        cx.effects.push(Effect::RunJobs);
    }
    Ok(Response::empty())
}

/// As many ids as fit into one stored job.
const MOST_DELETED: usize = 10_000;

fn delete_several(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let mut ids = cx.fields().strings("entity_ids")?.unwrap_or_default();
    ids.retain(|id| !id.is_empty() && id.len() <= 36);
    if ids.is_empty() {
        return Err(Refusal::invalid("missing entity ids to delete"));
    }
    if ids.len() > MOST_DELETED {
        return Err(Refusal::invalid(format!("at most {MOST_DELETED} entities can be deleted at once")));
    }
    jobs::add(cx.txn, &Job::DeleteEntities { ids })?;
    cx.effects.push(Effect::RunJobs);
    Ok(Response::empty())
}

fn merge(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let into = cx.fields().string("to_entity_id")?.unwrap_or_default();
    if into.is_empty() {
        return Err(Refusal::invalid("missing entity id to merge to"));
    }
    let from = cx.fields().strings("from_entity_ids")?.unwrap_or_default();
    if from.is_empty() {
        return Err(Refusal::invalid("missing entity ids to merge from"));
    }
    let keep = cx.fields().strings("conflicting_alias_ids_to_keep")?.unwrap_or_default();
    let force = cx.fields().bool("force")?.unwrap_or(false);
    identity::merge(cx.txn, &into, &from, &keep, force, cx.now)?;
    cx.effects.push(Effect::RunJobs);
    Ok(Response::empty())
}

fn list_ids(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let keys = cx.list_at(ENTITIES)?;
    list_with(cx, keys, |cx, id| {
        let entity = identity::by_id(cx.txn, id)?;
        tell(cx, entity)
    })
}

fn list_names(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let keys = names(cx, ENTITY_NAMES)?;
    list_with(cx, keys, |cx, name| {
        let entity = identity::by_name(cx.txn, name)?;
        tell(cx, entity)
    })
}

fn tell(cx: &mut Context<'_, '_>, entity: Option<Arc<Entity>>) -> Result<Told, Refusal> {
    let Some(entity) = entity else { return Ok(None) };
    let mut told = Map::from_iter([("name".to_owned(), json!(entity.name))]);
    let mut aliases = Vec::with_capacity(entity.aliases.len());
    for alias in &entity.aliases {
        let mut about = Map::from_iter([
            ("id".to_owned(), json!(alias.id)),
            ("name".to_owned(), json!(alias.name)),
            ("mount_accessor".to_owned(), json!(alias.mount_accessor)),
        ]);
        tell_mount(cx, &alias.mount_accessor, &mut about)?;
        aliases.push(Value::Object(about));
    }
    if !aliases.is_empty() {
        told.insert("aliases".to_owned(), aliases.into());
    }
    Ok(Some((entity.id.clone(), told)))
}
