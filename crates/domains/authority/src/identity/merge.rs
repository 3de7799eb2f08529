//! Making one entity of several.

use super::entity::{self, Alias, Entity, MOST_ALIASES};
use super::mfa;
use crate::policy;
use crate::refusal::Refusal;
use crate::txn::Txn;
use keyward_core::Timestamp;
use std::sync::Arc;

/// Merges the entities `from` into the entity `into`: their aliases, policies and groups become its own, and their
/// tokens are its tokens. Where both have an alias at one mount, that in `keep` stays; where both have a key for a second
/// factor, that of `into` stays if `force` is set.
pub fn merge(
    txn: &mut Txn<'_>,
    into: &str,
    from: &[String],
    keep: &[String],
    force: bool,
    now: Timestamp,
) -> Result<(), Refusal> {
    let refuse = |why: &str| Err(Refusal::invalid(why));
    let Some(before) = entity::by_id(txn, into)? else { return refuse("entity id to merge to is invalid") };
    if from.len() > 1 && keep.len() > 1 {
        return refuse(
            "aliases conflicts cannot be resolved with multiple from entity ids - merge one entity at a time",
        );
    }
    let mut sources: Vec<Arc<Entity>> = Vec::new();
    for id in from {
        if id == into {
            return refuse("to_entity_id should not be present in from_entity_ids");
        }
        match entity::by_id(txn, id)? {
            Some(source) if sources.iter().any(|known| known.id == source.id) => {}
            Some(source) => sources.push(source),
            None => return refuse("entity id to merge from is invalid"),
        }
    }
    let aliases = before.aliases.len() + sources.iter().map(|source| source.aliases.len()).sum::<usize>();
    if aliases + 2 * sources.len() > MOST_ALIASES {
        return refuse("too much to merge at once: merge fewer entities, or entities with fewer aliases");
    }
    check_clashes(&before, &sources, keep)?;
    let mut merged = (*before).clone();
    for source in &sources {
        mfa::take_over(txn, &source.id, &merged.id, force)?;
        entity::remove(txn, source)?;
        entity::redirect(txn, &source.id, &merged.id)?;
        take_over(&mut merged, source, keep, now)?;
    }
    merged.updated = now.nanos();
    entity::save(txn, Some(&before), &merged)
}

fn check_clashes(into: &Entity, sources: &[Arc<Entity>], keep: &[String]) -> Result<(), Refusal> {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    let mut clashes = Vec::new();
    for (source, alias) in
        sources.iter().flat_map(|source| source.aliases.iter().map(move |alias| (source, alias)))
    {
        let accessor = alias.mount_accessor.as_str();
        if seen.iter().any(|(known, owner)| *known == accessor && *owner != source.id) {
            return Err(Refusal::invalid(format!(
                "mount accessor {accessor} found in multiple fromEntities, merge should be done with one \
                 fromEntity at a time"
            )));
        }
        seen.push((accessor, &source.id));
        if let Some(own) = into.alias_at(accessor) {
            clashes.push(format!(
                "mountAccessor: {accessor}, toEntity ID: {}, fromEntity ID: {}, conflicting toEntity alias ID: {}, \
                 conflicting fromEntity alias ID: {}",
                into.id, source.id, own.id, alias.id
            ));
        }
    }
    if clashes.is_empty() || !keep.is_empty() {
        return Ok(());
    }
    clashes.insert(
        0,
        "toEntity and at least one fromEntity have aliases with the same mount accessor, repeat the merge request \
         specifying exactly one fromEntity, clashes: "
            .to_owned(),
    );
    Err(Refusal::Invalid(clashes))
}

fn take_over(into: &mut Entity, source: &Entity, keep: &[String], now: Timestamp) -> Result<(), Refusal> {
    for alias in &source.aliases {
        if let Some(own) = into.alias_at(&alias.mount_accessor).map(|own| own.id.clone()) {
            if keep.contains(&own) {
                continue;
            }
            if !keep.contains(&alias.id) {
                return Err(Refusal::invalid(format!(
                    "conflicting mount accessors in following alias IDs and neither were present in \
                     conflicting_alias_ids_to_keep: {}, {own}",
                    alias.id
                )));
            }
            into.aliases.retain(|known| known.id != own);
        }
        let mut taken = Alias { updated: now.nanos(), ..alias.clone() };
        taken.merged_from.push(source.id.clone());
        into.aliases.push(taken);
    }
    into.policies = policy::sanitize(into.policies.iter().chain(&source.policies));
    into.merged.extend(source.merged.iter().cloned());
    into.merged.push(source.id.clone());
    for (accessor, groups) in &source.external {
        let known = into.external.entry(accessor.clone()).or_default();
        known.extend(groups.iter().cloned());
        known.sort_unstable();
        known.dedup();
    }
    Ok(())
}
