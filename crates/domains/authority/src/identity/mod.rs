//! Identities: who logs in, across auth methods, and which groups they are in. Logins create entities; policies are
//! given to entities and groups, and policy templates name them.
//!
//! An entity is one entry, a group is one entry; names and aliases are found by an index entry each. What a token's
//! identity grants is built once from the entity and its groups, and kept as long as neither changes.

mod entity;
mod group;
mod holder;
mod login;
mod merge;
pub mod mfa;
#[cfg(test)]
mod tests;

pub use entity::{
    Alias, ENTITIES, ENTITY_ALIAS_IDS, ENTITY_NAMES, Entity, MOST_ALIASES, by_alias, by_alias_id, by_id,
    by_name, check_metadata, forget_aliases, index_members, new, remove, save,
};
pub use group::{
    GROUP_ALIAS_IDS, GROUP_NAMES, GROUPS, Graph, Group, GroupAlias, MEMBERS, graph, group_by_alias,
    group_by_alias_id, group_by_id, group_by_name, remove_group, save_group,
};
pub use holder::{Holder, complete, holder, of_token, present};
pub use login::{Known, of_login};
pub use merge::merge;

use crate::refusal::Refusal;
use crate::txn::Txn;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Of names that operators give, in bytes: keys made of them stay within the store's limit.
const LONGEST_NAME: usize = 512;

/// What an index entry of a name leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// The id of the entity or group.
    pub id: String,
    /// The name as it was given.
    pub name: String,
}

/// Where the name of an entity or group leads: names have no case, and may hold anything.
fn name_key(directory: &str, name: &str) -> String {
    let mut key = directory.to_owned();
    for c in name.to_lowercase().chars() {
        match c {
            '/' | '%' => key.push_str(if c == '/' { "%2f" } else { "%25" }),
            c => key.push(c),
        }
    }
    key
}

/// Refuses names that no index can hold.
pub fn check_name(name: &str) -> Result<(), Refusal> {
    if name.len() > LONGEST_NAME {
        return Err(Refusal::invalid(format!(
            "the name is too long: at most {LONGEST_NAME} bytes are allowed"
        )));
    }
    if name.chars().any(char::is_control) {
        return Err(Refusal::invalid("the name has control characters: leave them out"));
    }
    Ok(())
}

/// The auth methods whose names have no case, by what the accessors of their mounts begin with.
const CASELESS: [&str; 2] = ["auth_ldap_", "auth_userpass_"];

/// A name at the mount `accessor` in the one spelling that counts: where names have no case, nobody is another by another
/// spelling.
pub fn folded<'n>(accessor: &str, name: &'n str) -> Cow<'n, str> {
    match CASELESS.iter().any(|kind| accessor.starts_with(kind)) {
        true => Cow::Owned(name.to_lowercase()),
        false => Cow::Borrowed(name),
    }
}

/// Alias names come from outside (user names): hashed, so that any name is a valid key. Those of one mount stand
/// together.
fn alias_key(txn: &Txn<'_>, directory: &str, accessor: &str, name: &str) -> String {
    let name = folded(accessor, name);
    let tag = txn.keyring().names.tag_parts(&[b"alias\0", accessor.as_bytes(), b"\0", name.as_bytes()]);
    [directory, accessor, "/", &hex::encode(&tag[..20])].concat()
}

/// Ids come from outside too: one with a slash names no entry.
fn id_key(directory: &str, id: &str) -> Option<String> {
    (!id.is_empty() && !id.contains('/') && id.len() <= LONGEST_NAME).then(|| [directory, id].concat())
}
