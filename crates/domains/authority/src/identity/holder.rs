//! Whom a token belongs to, and what that adds to it.

use super::entity::{self, Entity};
use super::group::{self, Group};
use crate::policy::{self, Subject};
use crate::refusal::Refusal;
use crate::response::Auth;
use crate::token::TokenEntry;
use crate::txn::Txn;
use std::sync::Arc;

/// An entity with the groups it is in.
pub struct Holder {
    /// The entity.
    pub entity: Arc<Entity>,
    /// The groups that name it.
    pub direct: Vec<Arc<Group>>,
    /// The groups it is in through others.
    pub inherited: Vec<Arc<Group>>,
    /// Its own policies and those of all its groups; sorted, each once.
    pub policies: Vec<String>,
    /// Names this state of the entity and all groups; empty while they are being changed.
    pub state: String,
}

/// The entity `id`, or the one it was merged into, with its groups.
pub fn holder(txn: &mut Txn<'_>, id: &str) -> Result<Option<Arc<Holder>>, Refusal> {
    let mut id = std::borrow::Cow::Borrowed(id);
    loop {
        let Some(key) = entity::key(&id) else { return Ok(None) };
        let revision = txn.revision(&key)?;
        if revision > 0 {
            let epoch = txn.revision(group::EPOCH)?;
            let state = format!("holder\0{id}\0{revision:x}\0{epoch:x}");
            let built = |txn: &mut Txn<'_>| build(txn, &id, state.clone());
            return txn.built_since(group::EPOCH, state.as_bytes(), built).map(Some);
        }
        if txn.exists(&key)? {
            // Written by this very transaction.
            return build(txn, &id, String::new()).map(|built| Some(Arc::new(built)));
        }
        match entity::merged_into(txn, &id)? {
            Some(into) => id = std::borrow::Cow::Owned((*into).clone()),
            None => return Ok(None),
        }
    }
}

/// The id of the entity `id`, or of the one it was merged into; nothing when it is gone.
pub fn present(txn: &mut Txn<'_>, id: &str) -> Result<Option<String>, Refusal> {
    let mut id = id.to_owned();
    loop {
        let Some(key) = entity::key(&id) else { return Ok(None) };
        if txn.exists(&key)? {
            return Ok(Some(id));
        }
        match entity::merged_into(txn, &id)? {
            Some(into) => id = (*into).clone(),
            None => return Ok(None),
        }
    }
}

fn build(txn: &mut Txn<'_>, id: &str, state: String) -> Result<Holder, Refusal> {
    let entity = entity::by_id(txn, id)?.ok_or_else(|| Refusal::Corrupt(format!("identity/entity/{id}")))?;
    let graph = group::graph(txn)?;
    // Groups may still name an entity that was merged by its old id.
    let ids = std::iter::once(&entity.id).chain(&entity.merged);
    let (direct, inherited) = graph.groups_of(ids, entity.external_groups());
    let of_groups = direct.iter().chain(&inherited).flat_map(|group| &group.policies);
    let mut policies = policy::sanitize(entity.policies.iter().chain(of_groups));
    policies.retain(|name| name != "root" && policy::is_assignable(name));
    Ok(Holder { entity, direct, inherited, policies, state })
}

impl Holder {
    /// All groups it is in.
    pub fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.direct.iter().chain(&self.inherited)
    }

    /// What policy templates may name of it.
    pub fn subject(&self) -> Subject {
        let alias = |alias: &entity::Alias| policy::Alias {
            accessor: alias.mount_accessor.clone(),
            id: alias.id.clone(),
            name: alias.name.clone(),
            metadata: alias.metadata.clone(),
            custom_metadata: alias.custom_metadata.clone().unwrap_or_default(),
        };
        let group = |group: &Arc<Group>| policy::Group {
            id: group.id.clone(),
            name: group.name.clone(),
            metadata: group.metadata.clone().unwrap_or_default(),
        };
        Subject {
            entity_id: self.entity.id.clone(),
            entity_name: self.entity.name.clone(),
            metadata: self.entity.metadata.clone().unwrap_or_default(),
            aliases: self.entity.aliases.iter().map(alias).collect(),
            groups: self.groups().map(group).collect(),
            ..Subject::default()
        }
    }
}

/// Whom `token` belongs to; nobody, for tokens without an identity. Refuses tokens of entities that are disabled or
/// gone.
pub fn of_token(txn: &mut Txn<'_>, token: &TokenEntry) -> Result<Option<Arc<Holder>>, Refusal> {
    if token.entity_id.is_empty() {
        return Ok(None);
    }
    let Some(holder) = holder(txn, &token.entity_id)? else {
        return Err(Refusal::denied("the entity of the token is not there any more"));
    };
    if holder.entity.disabled {
        return Err(Refusal::denied("the entity of the token is disabled"));
    }
    Ok(Some(holder))
}

/// Adds to an issued or renewed token what its identity grants now.
pub fn complete(txn: &mut Txn<'_>, auth: &mut Auth) -> Result<(), Refusal> {
    if auth.entity_id.is_empty() {
        return Ok(());
    }
    // For the answer alone: nothing that is written depends on it.
    let holder = txn.unrelied(|txn| holder(txn, &auth.entity_id))?;
    if let Some(holder) = holder.filter(|holder| !holder.policies.is_empty()) {
        auth.policies = policy::sanitize(auth.token_policies.iter().chain(&holder.policies));
        auth.identity_policies = Some(holder.policies.clone());
    }
    Ok(())
}
