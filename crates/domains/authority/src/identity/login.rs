//! Who a login is of.

use super::entity::{self, Alias, Entity};
use super::group;
use crate::refusal::Refusal;
use crate::txn::Txn;
use keyward_core::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What an auth method knows of who logs in.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// The mount's accessor.
    pub accessor: &'a str,
    /// The name there.
    pub name: &'a str,
    /// Kept with the alias.
    pub metadata: &'a BTreeMap<String, String>,
    /// The groups the method says they are in; nothing where it knows of none.
    pub groups: Option<&'a [String]>,
}

/// The entity of a login. Writes at its first login, and when metadata or groups have changed; else costs two reads
/// of what is kept in memory, and one for each group.
pub fn of_login(txn: &mut Txn<'_>, known: Known<'_>, now: Timestamp) -> Result<Arc<Entity>, Refusal> {
    let groups = match known.groups {
        Some(names) => Some(external_groups(txn, known.accessor, names)?),
        None => None,
    };
    let before = entity::by_alias(txn, known.accessor, known.name)?;
    if let Some(before) = &before
        && !is_news(before, known, groups.as_ref())
    {
        return Ok(before.clone());
    }
    let mut entity = match &before {
        Some(before) => (**before).clone(),
        None => entity::new(txn, "", now)?,
    };
    if !entity.aliases.iter().any(|alias| alias.is(known.accessor, known.name)) {
        entity.aliases.push(Alias::new(txn, known.accessor, known.name, now));
    }
    if let Some(alias) = entity.aliases.iter_mut().find(|alias| alias.is(known.accessor, known.name)) {
        if alias.metadata != *known.metadata {
            alias.updated = now.nanos();
        }
        alias.metadata.clone_from(known.metadata);
    }
    match groups {
        Some(groups) if groups.is_empty() => drop(entity.external.remove(known.accessor)),
        Some(groups) => drop(entity.external.insert(known.accessor.to_owned(), groups)),
        None => {}
    }
    entity.updated = now.nanos();
    entity::save(txn, before.as_deref(), &entity)?;
    Ok(Arc::new(entity))
}

/// Whether a login tells something that is not stored yet.
fn is_news(entity: &Entity, known: Known<'_>, groups: Option<&Vec<String>>) -> bool {
    let alias = entity.aliases.iter().find(|alias| alias.is(known.accessor, known.name));
    let stored = entity.external.get(known.accessor).map_or(&[][..], |ids| ids);
    alias.is_none_or(|alias| alias.metadata != *known.metadata)
        || groups.is_some_and(|groups| groups != stored)
}

/// The ids of the groups called so at the mount `accessor`, in order. Names that no group has count for nothing.
fn external_groups(txn: &mut Txn<'_>, accessor: &str, names: &[String]) -> Result<Vec<String>, Refusal> {
    let mut ids = Vec::new();
    // Which groups there are is read, not relied on: somebody may be in more of them than a transaction can name.
    txn.unrelied(|txn| {
        for name in names {
            ids.extend(group::group_by_alias(txn, accessor, name)?.map(|group| group.id.clone()));
        }
        Ok(())
    })?;
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}
