//! Groups: internal ones, whose members operators name, and external ones, whose members an auth method names when
//! they log in.

use super::{Named, alias_key, check_name, id_key, name_key};
use crate::jobs::{self, Job};
use crate::refusal::Refusal;
use crate::txn::Txn;
use keyward_core::{Timestamp, random};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// The directory of groups, by id.
pub const GROUPS: &str = "identity/group/";
/// The directory of the index of their names.
pub const GROUP_NAMES: &str = "identity/group-name/";
/// The directory of the index of the ids of their aliases.
pub const GROUP_ALIAS_IDS: &str = "identity/group-alias-id/";
/// The directories of the members of external groups.
pub const MEMBERS: &str = "identity/group-member/";
/// The index of aliases, by mount.
const ALIASES: &str = "identity/group-alias/";
/// Changes with every group.
pub(super) const EPOCH: &str = "core/epoch/groups";

/// A group of entities and of other groups. Times are in nanoseconds since the epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Group {
    /// A random UUID.
    pub id: String,
    /// `group_` and eight characters of the id, until renamed.
    pub name: String,
    /// Set by operators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BTreeMap<String, String>>,
    /// What its members' tokens may do besides their own policies.
    pub policies: Vec<String>,
    /// Its members are those whose login says so.
    pub external: bool,
    /// Entities, of an internal group. Such as are gone may be among them: ids are never given again.
    pub members: Vec<String>,
    /// Groups whose members are members of this one, of an internal group; also such as are gone.
    pub groups: Vec<String>,
    /// What an auth method calls it, of an external group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<GroupAlias>,
    /// How often it was written.
    pub written: u64,
    /// When it was created.
    pub created: u64,
    /// When it changed last.
    pub updated: u64,
}

/// The name an external group has at one auth method.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupAlias {
    /// A random UUID.
    pub id: String,
    /// The auth mount.
    pub mount_accessor: String,
    /// The name there.
    pub name: String,
    /// When it was created.
    pub created: u64,
    /// When it changed last.
    pub updated: u64,
}

impl Group {
    /// `internal` or `external`.
    pub const fn kind(&self) -> &'static str {
        if self.external { "external" } else { "internal" }
    }

    /// A new group, not stored yet. Without a name it gets one that is free.
    pub fn new(txn: &mut Txn<'_>, name: &str, now: Timestamp) -> Result<Group, Refusal> {
        let id = random::uuid(txn.random());
        let mut name = name.to_owned();
        if name.is_empty() {
            name = format!("group_{}", id.get(..8).unwrap_or(&id));
            if txn.exists(&name_key(GROUP_NAMES, &name))? {
                name = format!("group_{id}");
            }
        }
        Ok(Group { id, name, created: now.nanos(), updated: now.nanos(), ..Group::default() })
    }
}

/// The group `id`.
pub fn group_by_id(txn: &mut Txn<'_>, id: &str) -> Result<Option<Arc<Group>>, Refusal> {
    match id_key(GROUPS, id) {
        Some(key) => txn.built_json(&key),
        None => Ok(None),
    }
}

/// The group called `name`.
pub fn group_by_name(txn: &mut Txn<'_>, name: &str) -> Result<Option<Arc<Group>>, Refusal> {
    if check_name(name).is_err() {
        return Ok(None);
    }
    match txn.get_json::<Named>(&name_key(GROUP_NAMES, name))? {
        Some(found) => group_by_id(txn, &found.id),
        None => Ok(None),
    }
}

/// The group that is called `name` at the mount `accessor`.
pub fn group_by_alias(txn: &mut Txn<'_>, accessor: &str, name: &str) -> Result<Option<Arc<Group>>, Refusal> {
    let key = alias_key(txn, ALIASES, accessor, name);
    match txn.built_json::<String>(&key)? {
        Some(id) => group_by_id(txn, &id),
        None => Ok(None),
    }
}

/// The group that has the alias `id`.
pub fn group_by_alias_id(txn: &mut Txn<'_>, id: &str) -> Result<Option<Arc<Group>>, Refusal> {
    let Some(key) = id_key(GROUP_ALIAS_IDS, id) else { return Ok(None) };
    match txn.get_json::<String>(&key)? {
        Some(group) => group_by_id(txn, &group),
        None => Ok(None),
    }
}

/// Writes `group`, which was `before`, with the ways that lead to it.
pub fn save_group(txn: &mut Txn<'_>, before: Option<&Group>, group: &Group) -> Result<(), Refusal> {
    if before.is_none_or(|before| before.name != group.name) {
        if let Some(before) = before {
            txn.delete(&name_key(GROUP_NAMES, &before.name));
        }
        let key = name_key(GROUP_NAMES, &group.name);
        txn.exists(&key)?;
        txn.put_json(&key, &Named { id: group.id.clone(), name: group.name.clone() })?;
    }
    let old = before.and_then(|before| before.alias.as_ref());
    if old != group.alias.as_ref() {
        if let Some(old) = old {
            drop_alias(txn, &group.id, old)?;
        }
        if let Some(alias) = &group.alias {
            let key = alias_key(txn, ALIASES, &alias.mount_accessor, &alias.name);
            txn.exists(&key)?;
            txn.put_json(&key, &group.id)?;
            txn.put_json(&[GROUP_ALIAS_IDS, &alias.id].concat(), &group.id)?;
        }
    }
    txn.bump(EPOCH)?;
    txn.put_json(&[GROUPS, &group.id].concat(), group)
}

/// The ways to `alias`, where they still lead to the group `owner`.
fn drop_alias(txn: &mut Txn<'_>, owner: &str, alias: &GroupAlias) -> Result<(), Refusal> {
    let by_name = alias_key(txn, ALIASES, &alias.mount_accessor, &alias.name);
    for key in [by_name, [GROUP_ALIAS_IDS, &alias.id].concat()] {
        if txn.get_json::<String>(&key)?.is_some_and(|id| id == owner) {
            txn.delete(&key);
        }
    }
    Ok(())
}

/// Removes `group`.
pub fn remove_group(txn: &mut Txn<'_>, group: &Group) -> Result<(), Refusal> {
    if let Some(alias) = &group.alias {
        drop_alias(txn, &group.id, alias)?;
    }
    if group.external {
        jobs::add(txn, &Job::Wipe { prefix: [MEMBERS, &group.id, "/"].concat() })?;
    }
    txn.bump(EPOCH)?;
    txn.delete(&name_key(GROUP_NAMES, &group.name));
    txn.delete(&[GROUPS, &group.id].concat());
    Ok(())
}

const ALIASES_A_CHUNK: usize = 8;

/// One chunk of forgetting what a mount that is gone called groups. Answers whether nothing is left.
pub(super) fn forget_aliases(txn: &mut Txn<'_>, accessor: &str) -> Result<bool, Refusal> {
    let keys = txn.keys(&[ALIASES, accessor, "/"].concat(), b"", ALIASES_A_CHUNK)?;
    for key in &keys {
        let owner = match txn.get_json::<String>(key)? {
            Some(id) => group_by_id(txn, &id)?,
            None => None,
        };
        if let Some(before) = owner {
            save_group(txn, Some(&before), &Group { alias: None, ..(*before).clone() })?;
        }
        txn.delete(key);
    }
    Ok(keys.len() < ALIASES_A_CHUNK)
}

/// All groups, and who is in which.
#[derive(Default)]
pub struct Graph {
    groups: HashMap<String, Arc<Group>>,
    /// The internal groups that name an entity.
    of_entity: HashMap<String, Vec<String>>,
    /// The groups that name a group.
    parents: HashMap<String, Vec<String>>,
}

/// The groups of this snapshot.
pub fn graph(txn: &mut Txn<'_>) -> Result<Arc<Graph>, Refusal> {
    txn.built_since(EPOCH, b"groups", |txn| {
        let mut graph = Graph::default();
        for key in txn.keys(GROUPS, b"", usize::MAX)? {
            if let Some(group) = txn.built_json::<Group>(&key)? {
                graph.add(group);
            }
        }
        Ok(graph)
    })
}

impl Graph {
    fn add(&mut self, group: Arc<Group>) {
        for entity in &group.members {
            self.of_entity.entry(entity.clone()).or_default().push(group.id.clone());
        }
        for child in &group.groups {
            self.parents.entry(child.clone()).or_default().push(group.id.clone());
        }
        self.groups.insert(group.id.clone(), group);
    }

    /// The group `id`.
    pub fn get(&self, id: &str) -> Option<&Arc<Group>> {
        self.groups.get(id)
    }

    /// The ids of the groups that the group `id` is a member of.
    pub fn parents(&self, id: &str) -> &[String] {
        self.parents.get(id).map_or(&[], |ids| ids)
    }

    /// The groups that name one of `entities`, and those in `external`; then the groups these are in, through any
    /// number of others. Each once.
    pub fn groups_of<'i>(
        &'i self,
        entities: impl Iterator<Item = &'i String>,
        external: impl Iterator<Item = &'i String>,
    ) -> (Vec<Arc<Group>>, Vec<Arc<Group>>) {
        let mut seen = HashSet::new();
        let named = entities.filter_map(|id| self.of_entity.get(id)).flatten();
        let direct: Vec<Arc<Group>> = named
            .chain(external)
            .filter_map(|id| self.groups.get(id))
            .filter(|group| seen.insert(&group.id))
            .cloned()
            .collect();
        let mut inherited: Vec<Arc<Group>> = Vec::new();
        let mut at = 0;
        while let Some(group) = direct.get(at).or_else(|| inherited.get(at - direct.len())) {
            let parents = self.parents(&group.id).iter().filter_map(|id| self.groups.get(id));
            let new: Vec<Arc<Group>> = parents.filter(|group| seen.insert(&group.id)).cloned().collect();
            inherited.extend(new);
            at += 1;
        }
        (direct, inherited)
    }

    /// Whether the group `above` is the group `below`, or has it as a member through any number of others.
    pub fn is_above(&self, above: &str, below: &str) -> bool {
        let (mut seen, mut waiting) = (HashSet::from([below]), vec![below]);
        while let Some(id) = waiting.pop() {
            if id == above {
                return true;
            }
            waiting.extend(self.parents(id).iter().map(String::as_str).filter(|id| seen.insert(id)));
        }
        false
    }
}
