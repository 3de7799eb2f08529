//! `identity/entity-alias`: what entities are called at auth mounts.

use super::entities::describe_alias;
use super::{check_mount, list_with, sent, tell_mount};
use crate::context::Context;
use crate::identity::{self, Alias, ENTITY_ALIAS_IDS, Entity};
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Kind, Route, field};
use serde_json::{Map, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const FIELDS: &[Field] = &[
    field("id", Kind::Text, "The alias's id, to change one that is there."),
    field("name", Kind::Text, "The name at the mount: a user name, a role id."),
    field("mount_accessor", Kind::Text, "The auth mount's accessor."),
    field("canonical_id", Kind::Text, "The entity's id; a new entity if there is none."),
    field("entity_id", Kind::Text, "An older name of `canonical_id`."),
    field("custom_metadata", Kind::Pairs, "Words of the operator's, for policy templates."),
];

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "entity-alias",
        operations: &[(Operation::Update, write)],
        fields: FIELDS,
        help: "Creates an alias of an entity, or changes one.",
        ..Route::EMPTY
    },
    Route {
        pattern: "entity-alias/id",
        operations: &[(Operation::List, list)],
        help: "Lists the aliases of entities by id.",
        ..Route::EMPTY
    },
    Route {
        pattern: "entity-alias/id/{id}",
        operations: &[(Operation::Read, read), (Operation::Update, write), (Operation::Delete, delete)],
        fields: FIELDS,
        help: "Shows, changes and removes an alias of an entity.",
        ..Route::EMPTY
    },
];

/// What was asked for.
struct Wish {
    name: String,
    accessor: String,
    owner: String,
    custom_metadata: Option<BTreeMap<String, String>>,
}

fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let text = |name: &str| cx.fields().string(name).map(Option::unwrap_or_default);
    let canonical = text("canonical_id")?;
    let wish = Wish {
        name: text("name")?,
        accessor: text("mount_accessor")?,
        owner: if canonical.is_empty() { text("entity_id")? } else { canonical },
        custom_metadata: cx.fields().pairs("custom_metadata")?,
    };
    if let Some(metadata) = &wish.custom_metadata {
        identity::check_metadata(metadata)?;
    }
    let id = sent(cx, "id")?;
    if !id.is_empty() {
        let owner = identity::by_alias_id(cx.txn, &id)?;
        let owner = owner.ok_or_else(|| Refusal::invalid("invalid alias ID provided"))?;
        return change(cx, &owner, &id, wish);
    }
    if wish.accessor.is_empty() || wish.name.is_empty() {
        return Err(Refusal::invalid("'id' or 'mount_accessor' and 'name' must be provided"));
    }
    check_mount(cx, &wish.accessor)?;
    let known = identity::by_alias(cx.txn, &wish.accessor, &wish.name)?;
    let known = known.and_then(|owner| Some((find(&owner, &wish)?.id.clone(), owner)));
    match known {
        Some((id, owner)) => {
            // Named by what it is found by, and not by its id: what is not sent is not there.
            let custom_metadata = wish.custom_metadata.or(Some(BTreeMap::new()));
            change(cx, &owner, &id, Wish { custom_metadata, ..wish })
        }
        None => create(cx, wish),
    }
}

fn find<'e>(owner: &'e Entity, wish: &Wish) -> Option<&'e Alias> {
    owner.aliases.iter().find(|alias| alias.is(&wish.accessor, &wish.name))
}

fn create(cx: &mut Context<'_, '_>, wish: Wish) -> Result<Response, Refusal> {
    let before = match wish.owner.as_str() {
        "" => None,
        id => {
            let owner = identity::by_id(cx.txn, id)?;
            Some(owner.ok_or_else(|| Refusal::invalid("invalid canonical ID"))?)
        }
    };
    let mut entity = match &before {
        Some(before) => Entity::clone(before),
        None => identity::new(cx.txn, "", cx.now)?,
    };
    if entity.alias_at(&wish.accessor).is_some() {
        return Err(Refusal::invalid("Alias already exists for requested entity and mount accessor"));
    }
    let alias = Alias {
        custom_metadata: wish.custom_metadata.or(Some(BTreeMap::new())),
        ..Alias::new(cx.txn, &wish.accessor, &wish.name, cx.now)
    };
    let told = json!({ "id": alias.id, "canonical_id": entity.id });
    entity.aliases.push(alias);
    entity.updated = cx.now.nanos();
    identity::save(cx.txn, before.as_deref(), &entity)?;
    Response::data(&told)
}

/// Changes the alias `id` of `owner`, and moves it to another entity if asked to.
fn change(cx: &mut Context<'_, '_>, owner: &Arc<Entity>, id: &str, wish: Wish) -> Result<Response, Refusal> {
    let refuse = |why: &str| Err(Refusal::invalid(why));
    let Some(known) = owner.aliases.iter().find(|alias| alias.id == id) else {
        return refuse("given alias is not associated with an entity");
    };
    let mut alias = known.clone();
    if !wish.name.is_empty() {
        alias.name = wish.name;
    }
    if !wish.accessor.is_empty() {
        alias.mount_accessor = wish.accessor;
    }
    if wish.custom_metadata.is_some() {
        alias.custom_metadata = wish.custom_metadata;
    }
    let moves = !wish.owner.is_empty() && wish.owner != owner.id;
    if alias == *known && !moves {
        return Ok(Response::empty());
    }
    alias.updated = cx.now.nanos();
    if alias.mount_accessor != known.mount_accessor {
        check_mount(cx, &alias.mount_accessor)?;
        if !moves && owner.alias_at(&alias.mount_accessor).is_some() {
            return refuse(
                "Alias cannot be updated as the entity already has an alias for the given 'mount_accessor' ",
            );
        }
    }
    let taken = identity::by_alias(cx.txn, &alias.mount_accessor, &alias.name)?;
    let is_other = |entity: &Arc<Entity>| {
        let same = |other: &&Alias| other.is(&alias.mount_accessor, &alias.name);
        entity.aliases.iter().find(same).is_some_and(|other| other.id != alias.id)
    };
    if taken.is_some_and(|entity| is_other(&entity)) {
        return refuse("alias with combination of mount accessor and name already exists");
    }
    let mut left = Entity { updated: cx.now.nanos(), ..Entity::clone(owner) };
    let target =
        match moves {
            false => {
                let place = left.aliases.iter_mut().find(|alias| alias.id == id);
                place.into_iter().for_each(|place| place.clone_from(&alias));
                None
            }
            true => {
                left.aliases.retain(|alias| alias.id != id);
                Some(identity::by_id(cx.txn, &wish.owner)?.ok_or_else(|| {
                    Refusal::invalid("given 'canonical_id' is not associated with an entity")
                })?)
            }
        };
    let told =
        json!({ "id": alias.id, "canonical_id": target.as_ref().map_or(&owner.id, |target| &target.id) });
    if target.as_ref().is_some_and(|target| target.alias_at(&alias.mount_accessor).is_some()) {
        return refuse("Alias cannot be updated as the given entity already has an alias for this mount ");
    }
    // Before the entity it moves to, whose ways to it replace those that are removed here.
    identity::save(cx.txn, Some(owner), &left)?;
    if let Some(before) = target {
        let mut target = Entity { updated: cx.now.nanos(), ..Entity::clone(&before) };
        target.aliases.push(alias);
        identity::save(cx.txn, Some(&before), &target)?;
    }
    Response::data(&told)
}

fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let id = cx.param("id").to_owned();
    let owner = identity::by_alias_id(cx.txn, &id)?.ok_or(Refusal::missing())?;
    let alias = owner.aliases.iter().find(|alias| alias.id == id).ok_or(Refusal::missing())?;
    let mut told = describe_alias(cx, &owner, alias)?;
    told.insert("namespace_id".to_owned(), json!("root"));
    Response::data(&told)
}

fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let id = cx.param("id").to_owned();
    if let Some(owner) = identity::by_alias_id(cx.txn, &id)? {
        let mut left = Entity { updated: cx.now.nanos(), ..Entity::clone(&owner) };
        left.aliases.retain(|alias| alias.id != id);
        identity::save(cx.txn, Some(&owner), &left)?;
    }
    Ok(Response::empty())
}

fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let keys = cx.list_at(ENTITY_ALIAS_IDS)?;
    list_with(cx, keys, |cx, id| {
        let Some(owner) = identity::by_alias_id(cx.txn, id)? else { return Ok(None) };
        let Some(alias) = owner.aliases.iter().find(|alias| alias.id == id) else { return Ok(None) };
        let mut told = Map::from_iter([
            ("canonical_id".to_owned(), json!(owner.id)),
            ("custom_metadata".to_owned(), super::pairs(alias.custom_metadata.as_ref())),
            ("local".to_owned(), json!(false)),
            ("mount_accessor".to_owned(), json!(alias.mount_accessor)),
            ("name".to_owned(), json!(alias.name)),
        ]);
        tell_mount(cx, &alias.mount_accessor, &mut told)?;
        Ok(Some((id.to_owned(), told)))
    })
}
