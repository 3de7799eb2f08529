//! Entities and their aliases.

use super::{Named, alias_key, check_name, folded, group, id_key, mfa, name_key};
use crate::jobs::{self, Job};
use crate::refusal::Refusal;
use crate::txn::Txn;
use keyward_core::{Timestamp, random};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The directory of entities, by id.
pub const ENTITIES: &str = "identity/entity/";
/// The directory of the index of their names.
pub const ENTITY_NAMES: &str = "identity/entity-name/";
/// The directory of the index of the ids of their aliases.
pub const ENTITY_ALIAS_IDS: &str = "identity/entity-alias-id/";
/// The index of aliases, by mount.
const ALIASES: &str = "identity/entity-alias/";
/// Where entities went that were merged into others.
const MERGED: &str = "identity/merged/";

/// How many aliases an entity can have: all of them change in one transaction.
pub const MOST_ALIASES: usize = 20;
const MOST_METADATA: usize = 64;
const LONGEST_KEY: usize = 128;
const LONGEST_VALUE: usize = 512;

/// Who logs in. Times are in nanoseconds since the epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entity {
    /// A random UUID.
    pub id: String,
    /// `entity_` and eight characters of the id, until renamed.
    pub name: String,
    /// Set by operators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BTreeMap<String, String>>,
    /// What its tokens may do besides their own policies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// Its tokens are refused.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// Its name at each method.
    pub aliases: Vec<Alias>,
    /// The external groups that the last login at each mount named: ids by the mount's accessor.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub external: BTreeMap<String, Vec<String>>,
    /// The ids of the entities that were merged into it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub merged: Vec<String>,
    /// When it was created.
    pub created: u64,
    /// When it changed last.
    pub updated: u64,
}

/// The name an entity has at one auth method.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Alias {
    /// A random UUID.
    pub id: String,
    /// The auth mount.
    pub mount_accessor: String,
    /// The name at that mount.
    pub name: String,
    /// From the last login.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Set by operators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_metadata: Option<BTreeMap<String, String>>,
    /// The entities it belonged to before merges.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub merged_from: Vec<String>,
    /// When it was created.
    pub created: u64,
    /// When it changed last.
    pub updated: u64,
}

impl Alias {
    /// A new alias.
    pub fn new(txn: &Txn<'_>, accessor: &str, name: &str, now: Timestamp) -> Alias {
        Alias {
            id: random::uuid(txn.random()),
            mount_accessor: accessor.to_owned(),
            name: name.to_owned(),
            created: now.nanos(),
            updated: now.nanos(),
            ..Alias::default()
        }
    }

    /// Whether this is what the mount `accessor` knows as `name`.
    pub fn is(&self, accessor: &str, name: &str) -> bool {
        self.mount_accessor == accessor && folded(accessor, &self.name) == folded(accessor, name)
    }

    /// Whether both are found by the same index entries.
    fn is_found_as(&self, other: &Alias) -> bool {
        self.id == other.id && self.mount_accessor == other.mount_accessor && self.name == other.name
    }
}

impl Entity {
    /// Its alias at the mount `accessor`.
    pub fn alias_at(&self, accessor: &str) -> Option<&Alias> {
        self.aliases.iter().find(|alias| alias.mount_accessor == accessor)
    }

    /// The ids of the external groups it is in.
    pub fn external_groups(&self) -> impl Iterator<Item = &String> {
        self.external.values().flatten()
    }
}

/// Refuses metadata that is too large: at most 64 pairs, keys of 128 bytes and values of 512.
pub fn check_metadata(metadata: &BTreeMap<String, String>) -> Result<(), Refusal> {
    if metadata.len() > MOST_METADATA {
        return Err(Refusal::invalid(format!(
            "metadata can contain a max of {MOST_METADATA} key/value pairs; {} were provided",
            metadata.len()
        )));
    }
    for (key, value) in metadata {
        if key.is_empty() || key.len() > LONGEST_KEY || value.len() > LONGEST_VALUE {
            return Err(Refusal::invalid(format!(
                "metadata keys have 1 to {LONGEST_KEY} bytes, and values at most {LONGEST_VALUE}"
            )));
        }
    }
    Ok(())
}

/// A new entity, not stored yet. Without a name it gets one that is free.
pub fn new(txn: &mut Txn<'_>, name: &str, now: Timestamp) -> Result<Entity, Refusal> {
    let id = random::uuid(txn.random());
    let mut name = name.to_owned();
    if name.is_empty() {
        name = format!("entity_{}", id.get(..8).unwrap_or(&id));
        if txn.exists(&name_key(ENTITY_NAMES, &name))? {
            name = format!("entity_{id}");
        }
    }
    Ok(Entity { id, name, created: now.nanos(), updated: now.nanos(), ..Entity::default() })
}

/// The storage key of the entity `id`, if that can be one.
pub(super) fn key(id: &str) -> Option<String> {
    id_key(ENTITIES, id)
}

/// The entity `id`.
pub fn by_id(txn: &mut Txn<'_>, id: &str) -> Result<Option<Arc<Entity>>, Refusal> {
    match key(id) {
        Some(key) => txn.built_json(&key),
        None => Ok(None),
    }
}

/// The entity called `name`.
pub fn by_name(txn: &mut Txn<'_>, name: &str) -> Result<Option<Arc<Entity>>, Refusal> {
    if check_name(name).is_err() {
        return Ok(None);
    }
    match txn.get_json::<Named>(&name_key(ENTITY_NAMES, name))? {
        Some(found) => by_id(txn, &found.id),
        None => Ok(None),
    }
}

/// The entity that is called `name` at the mount `accessor`.
pub fn by_alias(txn: &mut Txn<'_>, accessor: &str, name: &str) -> Result<Option<Arc<Entity>>, Refusal> {
    let key = alias_key(txn, ALIASES, accessor, name);
    match txn.built_json::<String>(&key)? {
        Some(id) => by_id(txn, &id),
        None => Ok(None),
    }
}

/// The entity that has the alias `id`.
pub fn by_alias_id(txn: &mut Txn<'_>, id: &str) -> Result<Option<Arc<Entity>>, Refusal> {
    let Some(key) = id_key(ENTITY_ALIAS_IDS, id) else { return Ok(None) };
    match txn.get_json::<String>(&key)? {
        Some(entity) => by_id(txn, &entity),
        None => Ok(None),
    }
}

/// Writes `entity`, which was `before`, with the ways that lead to it.
pub fn save(txn: &mut Txn<'_>, before: Option<&Entity>, entity: &Entity) -> Result<(), Refusal> {
    if entity.aliases.len() > MOST_ALIASES {
        return Err(Refusal::invalid(format!("an entity can have at most {MOST_ALIASES} aliases")));
    }
    if before.is_none_or(|before| before.name != entity.name) {
        if let Some(before) = before {
            txn.delete(&name_key(ENTITY_NAMES, &before.name));
        }
        let key = name_key(ENTITY_NAMES, &entity.name);
        txn.exists(&key)?;
        txn.put_json(&key, &Named { id: entity.id.clone(), name: entity.name.clone() })?;
    }
    let (old, new) = (before.map_or(&[][..], |before| &before.aliases), &entity.aliases[..]);
    for gone in old.iter().filter(|old| !new.iter().any(|new| new.is_found_as(old))) {
        drop_alias(txn, &entity.id, gone)?;
    }
    for added in new.iter().filter(|new| !old.iter().any(|old| old.is_found_as(new))) {
        let key = alias_key(txn, ALIASES, &added.mount_accessor, &added.name);
        txn.exists(&key)?;
        txn.put_json(&key, &entity.id)?;
        txn.put_json(&[ENTITY_ALIAS_IDS, &added.id].concat(), &entity.id)?;
    }
    reindex_members(txn, before, Some(entity))?;
    txn.put_json(&[ENTITIES, &entity.id].concat(), entity)
}

/// The ways to `alias`, where they still lead to the entity `owner`.
fn drop_alias(txn: &mut Txn<'_>, owner: &str, alias: &Alias) -> Result<(), Refusal> {
    let by_name = alias_key(txn, ALIASES, &alias.mount_accessor, &alias.name);
    for key in [by_name, [ENTITY_ALIAS_IDS, &alias.id].concat()] {
        if txn.get_json::<String>(&key)?.is_some_and(|id| id == owner) {
            txn.delete(&key);
        }
    }
    Ok(())
}

/// Removes `entity`. Its tokens are refused from then on.
pub fn remove(txn: &mut Txn<'_>, entity: &Entity) -> Result<(), Refusal> {
    for alias in &entity.aliases {
        drop_alias(txn, &entity.id, alias)?;
    }
    reindex_members(txn, Some(entity), None)?;
    mfa::forget(txn, &entity.id)?;
    txn.delete(&name_key(ENTITY_NAMES, &entity.name));
    txn.delete(&[ENTITIES, &entity.id].concat());
    Ok(())
}

/// Who is in an external group is known by each entity; a job keeps the group's own list of them.
fn reindex_members(
    txn: &mut Txn<'_>,
    before: Option<&Entity>,
    after: Option<&Entity>,
) -> Result<(), Refusal> {
    let groups = |entity: Option<&Entity>| -> Vec<String> {
        entity.into_iter().flat_map(Entity::external_groups).cloned().collect()
    };
    let (old, new) = (groups(before), groups(after));
    let add: Vec<String> = new.iter().filter(|id| !old.contains(id)).cloned().collect();
    let remove: Vec<String> = old.into_iter().filter(|id| !new.contains(id)).collect();
    let Some(entity) = after.or(before) else { return Ok(()) };
    if add.is_empty() && remove.is_empty() {
        return Ok(());
    }
    jobs::add(txn, &Job::IndexMembers { entity: entity.id.clone(), add, remove })
}

const MEMBERSHIPS_A_CHUNK: usize = 40;

/// One chunk of [`Job::IndexMembers`]. Answers with what remains.
pub fn index_members(
    txn: &mut Txn<'_>,
    entity: &str,
    mut add: Vec<String>,
    mut remove: Vec<String>,
) -> Result<Option<Job>, Refusal> {
    for id in add.drain(..add.len().min(MEMBERSHIPS_A_CHUNK)) {
        txn.put(&[group::MEMBERS, &id, "/", entity].concat(), b"")?;
    }
    for id in remove.drain(..remove.len().min(MEMBERSHIPS_A_CHUNK)) {
        txn.delete(&[group::MEMBERS, &id, "/", entity].concat());
    }
    let done = add.is_empty() && remove.is_empty();
    Ok((!done).then(|| Job::IndexMembers { entity: entity.to_owned(), add, remove }))
}

const ALIASES_A_CHUNK: usize = 8;

/// One chunk of forgetting the aliases at a mount that is gone. Answers whether none is left.
pub fn forget_aliases(txn: &mut Txn<'_>, accessor: &str) -> Result<bool, Refusal> {
    let keys = txn.keys(&[ALIASES, accessor, "/"].concat(), b"", ALIASES_A_CHUNK)?;
    for key in &keys {
        let owner = match txn.get_json::<String>(key)? {
            Some(id) => by_id(txn, &id)?,
            None => None,
        };
        if let Some(before) = owner {
            let mut entity = (*before).clone();
            entity.aliases.retain(|alias| alias.mount_accessor != accessor);
            entity.external.remove(accessor);
            save(txn, Some(&before), &entity)?;
        }
        txn.delete(key);
    }
    // Those of groups have chunks of their own: both together would not fit into one transaction.
    if keys.is_empty() { group::forget_aliases(txn, accessor) } else { Ok(false) }
}

/// Remembers that the entity `from` is `into` now.
pub(super) fn redirect(txn: &mut Txn<'_>, from: &str, into: &str) -> Result<(), Refusal> {
    txn.put_json(&[MERGED, from].concat(), &into)
}

/// Where the entity `id` went, if it was merged into another.
pub(super) fn merged_into(txn: &mut Txn<'_>, id: &str) -> Result<Option<Arc<String>>, Refusal> {
    match id_key(MERGED, id) {
        Some(key) => txn.built_json(&key),
        None => Ok(None),
    }
}
