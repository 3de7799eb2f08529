//! Roles.

use super::super::named::{Issues, Named, key, name, wanted};
use super::super::token_params::{Older, TokenParams, count, seconds};
use crate::cidr;
use crate::context::{Context, Effect};
use crate::fields::Fields;
use crate::jobs::{self, Job};
use crate::refusal::Refusal;
use crate::response::Response;
use crate::token::go_duration;
use crate::txn::Txn;
use keyward_core::random;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(super) const OLDER: &[Older] = &[("policies", "token_policies"), ("period", "token_period")];

/// One role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Role {
    /// Random; names the directory of its secret ids.
    pub(super) id: String,
    pub(super) role_id: String,
    pub(super) bind_secret_id: bool,
    /// Kept for who reads it back: secret ids are replicated nowhere, so all of them are local.
    pub(super) local: bool,
    pub(super) bound_cidrs: Vec<String>,
    pub(super) num_uses: u32,
    /// Seconds; for ever when zero.
    pub(super) ttl: u64,
    pub(super) token: TokenParams,
}

impl Role {
    /// The directory of its secret ids.
    pub(super) fn secrets(&self) -> String {
        format!("secret/{}/", self.id)
    }
}

impl Named for Role {
    const DIRECTORY: &'static str = "role/";
    const PARAM: &'static str = "role_name";

    fn take(&mut self, sent: &Fields, max_ttl: Duration) -> Result<Vec<String>, Refusal> {
        if let Some(role_id) = sent.string("role_id")? {
            self.role_id = role_id;
        }
        let mut warnings = self.token.read(sent, OLDER)?;
        read_own_fields(self, sent)?;
        if self.token.max_ttl > max_ttl.as_secs() {
            warnings.push(
                "token_max_ttl is greater than the backend mount's maximum TTL value; issued tokens' max TTL value \
                 will be truncated"
                    .to_owned(),
            );
        }
        Ok(warnings)
    }

    fn describe(&self) -> Map<String, Value> {
        let mut shown = self.token.describe(OLDER);
        for (name, value) in [
            ("bind_secret_id", json!(self.bind_secret_id)),
            ("local_secret_ids", json!(self.local)),
            ("secret_id_bound_cidrs", json!(self.bound_cidrs)),
            ("secret_id_num_uses", json!(self.num_uses)),
            ("secret_id_ttl", json!(self.ttl)),
        ] {
            shown.insert(name.to_owned(), value);
        }
        shown
    }
}

impl Issues for Role {
    fn token(&self) -> &TokenParams {
        &self.token
    }
}

/// Role ids are hashed: an operator may choose any text, and it need not be a good key.
pub(super) fn role_id_key(txn: &Txn<'_>, mount: &str, role_id: &str) -> String {
    let tag = txn.keyring().names.tag_parts(&[b"role id\0", mount.as_bytes(), b"\0", role_id.as_bytes()]);
    format!("role-id/{}", hex::encode(&tag[..20]))
}

/// The role that must be there, or 404.
pub(super) fn required(cx: &mut Context<'_, '_>) -> Result<Arc<Role>, Refusal> {
    let missing = Refusal::Missing(vec![format!("role {:?} does not exist", name::<Role>(cx))]);
    wanted(cx)?.ok_or(missing)
}

pub(super) fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let before = wanted::<Role>(cx)?;
    let mut role = match &before {
        Some(role) => (**role).clone(),
        None => Role {
            id: hex::encode(random::bytes::<16>(cx.random())),
            role_id: random::uuid(cx.random()),
            bind_secret_id: true,
            ..Role::default()
        },
    };
    let warnings = role.take(cx.fields(), cx.max_ttl())?;
    let local = cx.fields().bool("local_secret_ids")?.unwrap_or(role.local);
    if before.is_some() && local != role.local {
        return Err(Refusal::invalid("local_secret_ids can only be modified during role creation"));
    }
    role.local = local;
    store(cx, before.as_deref(), &role)?;
    Ok(Response { warnings, ..Response::empty() })
}

/// What of the role is not about its tokens.
pub(super) fn read_own_fields(role: &mut Role, sent: &Fields) -> Result<(), Refusal> {
    role.bind_secret_id = sent.bool("bind_secret_id")?.unwrap_or(role.bind_secret_id);
    let bound = if sent.has("secret_id_bound_cidrs") { "secret_id_bound_cidrs" } else { "bound_cidr_list" };
    if let Some(networks) = sent.strings(bound)? {
        role.bound_cidrs = networks;
    }
    if let Some(uses) = count(sent, "secret_id_num_uses")? {
        role.num_uses = uses;
    }
    if let Some(ttl) = seconds(sent, "secret_id_ttl")? {
        role.ttl = ttl;
    }
    Ok(())
}

/// Checks and writes `role`, and keeps the way from its role id to it.
pub(super) fn store(cx: &mut Context<'_, '_>, before: Option<&Role>, role: &Role) -> Result<(), Refusal> {
    let name = name::<Role>(cx);
    if role.role_id.is_empty() {
        return Err(Refusal::invalid("invalid role_id supplied, or failed to generate a role_id"));
    }
    cidr::check(&role.bound_cidrs)?;
    if !role.bind_secret_id && role.bound_cidrs.is_empty() && role.token.bound_cidrs.is_empty() {
        return Err(Refusal::invalid("at least one constraint should be enabled on the role"));
    }
    let (period, max) = (Duration::from_secs(role.token.period), cx.max_ttl());
    if period > max {
        return Err(Refusal::invalid(format!(
            "period of {:?} is greater than the backend's maximum lease TTL of {:?}",
            go_duration(period),
            go_duration(max)
        )));
    }
    if before.map(|before| &before.role_id) != Some(&role.role_id) {
        let index = role_id_key(cx.txn, &cx.mount.uuid, &role.role_id);
        if cx.exists(&index)? {
            return Err(Refusal::invalid("role_id already in use"));
        }
        cx.put_json(&index, &name)?;
        if let Some(before) = before {
            let index = role_id_key(cx.txn, &cx.mount.uuid, &before.role_id);
            cx.delete(&index);
        }
    }
    cx.put_json(&key::<Role>(&name), role)
}

pub(super) fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let Some(role) = wanted::<Role>(cx)? else { return Ok(Response::empty()) };
    let (path, index) = (key::<Role>(&name::<Role>(cx)), role_id_key(cx.txn, &cx.mount.uuid, &role.role_id));
    cx.delete(&path);
    cx.delete(&index);
    let secrets = cx.key(&role.secrets());
    jobs::add(cx.txn, &Job::Wipe { prefix: secrets })?;
    cx.effects.push(Effect::RunJobs);
    Ok(Response::empty())
}

pub(super) fn read_role_id(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let role = wanted::<Role>(cx)?.ok_or(Refusal::missing())?;
    Response::data(&json!({ "role_id": role.role_id }))
}

pub(super) fn write_role_id(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let before = required(cx)?;
    let mut role = (*before).clone();
    role.role_id = cx.fields().required("role_id")?;
    store(cx, Some(&before), &role)?;
    Ok(Response::empty())
}
