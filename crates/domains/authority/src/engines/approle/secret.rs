//! Secret ids.

use super::super::token_params::{count, seconds};
use super::role::{self, Role};
use crate::cidr;
use crate::context::Context;
use crate::expiry::{self, Due};
use crate::jobs::{self, Job};
use crate::refusal::Refusal;
use crate::response::Response;
use crate::txn::Txn;
use keyward_core::{Timestamp, random};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Longer texts are no secret ids.
pub(super) const MAX_LEN: usize = 4096;

/// What is known of a secret id. Times are in nanoseconds since the epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct SecretId {
    /// Logins left; any number when zero.
    pub(super) num_uses: u32,
    /// Seconds, as granted; for ever when zero.
    pub(super) ttl: u64,
    pub(super) created: u64,
    pub(super) updated: u64,
    pub(super) expires: Option<u64>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) cidr_list: Vec<String>,
    pub(super) token_bound_cidrs: Vec<String>,
}

impl SecretId {
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|end| end <= now.nanos())
    }

    fn describe(&self, accessor: &str) -> Value {
        let time = |nanos: u64| Timestamp::from_nanos(nanos).to_string();
        json!({
            "cidr_list": self.cidr_list,
            "creation_time": time(self.created),
            "expiration_time": self.expires.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), time),
            "last_updated_time": time(self.updated),
            "metadata": self.metadata,
            "secret_id_accessor": accessor,
            "secret_id_num_uses": self.num_uses,
            "secret_id_ttl": self.ttl,
            "token_bound_cidrs": self.token_bound_cidrs,
        })
    }
}

/// The accessor of `secret_id` in the role whose storage name is `role`: a keyed hash in the form of a UUID.
pub(super) fn accessor(txn: &Txn<'_>, role: &str, secret_id: &str) -> String {
    let tag = txn.keyring().names.tag_parts(&[b"secret id\0", role.as_bytes(), b"\0", secret_id.as_bytes()]);
    let mut raw = [0; 16];
    raw.copy_from_slice(&tag[..16]);
    uuid::Builder::from_custom_bytes(raw).into_uuid().to_string()
}

pub(super) fn find(
    cx: &mut Context<'_, '_>,
    role: &Role,
    accessor: &str,
) -> Result<Option<Arc<SecretId>>, Refusal> {
    if accessor.contains('/') {
        return Ok(None);
    }
    let entry = cx.built_json::<SecretId>(&format!("{}{accessor}", role.secrets()))?;
    Ok(entry.filter(|entry| !entry.is_over(cx.now)))
}

/// Writes what remains of a secret id after a login, or removes it after the last.
pub(super) fn use_up(
    cx: &mut Context<'_, '_>,
    role: &Role,
    accessor: &str,
    entry: &SecretId,
) -> Result<(), Refusal> {
    match entry.num_uses {
        0 => Ok(()),
        1 => {
            remove(cx, role, accessor, entry);
            Ok(())
        }
        uses => {
            let left = SecretId { num_uses: uses - 1, updated: cx.now.nanos(), ..entry.clone() };
            cx.put_json(&format!("{}{accessor}", role.secrets()), &left)
        }
    }
}

fn remove(cx: &mut Context<'_, '_>, role: &Role, accessor: &str, entry: &SecretId) {
    cx.delete(&format!("{}{accessor}", role.secrets()));
    if let Some(end) = entry.expires {
        expiry::forget(cx.txn, end, accessor);
    }
}

pub(super) fn generate(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let secret_id = random::uuid(cx.random());
    issue(cx, secret_id)
}

pub(super) fn custom(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let secret_id = cx.fields().required("secret_id")?;
    if secret_id.len() > MAX_LEN {
        return Err(Refusal::invalid(format!("secret_id is longer than maximum of {MAX_LEN} bytes")));
    }
    if secret_id.trim() != secret_id {
        return Err(Refusal::invalid("secret_id must not begin or end with spaces: logins drop them"));
    }
    issue(cx, secret_id)
}

fn issue(cx: &mut Context<'_, '_>, secret_id: String) -> Result<Response, Refusal> {
    // The batch relies on the role: a secret id of a role deleted at the same time would stay behind.
    let role = role::required(cx)?;
    if !role.bind_secret_id {
        return Err(Refusal::invalid("bind_secret_id is not set on the role"));
    }
    let (num_uses, ttl) = limits(cx, &role)?;
    let now = cx.now;
    let entry = SecretId {
        num_uses,
        ttl: ttl.as_secs(),
        created: now.nanos(),
        updated: now.nanos(),
        expires: (!ttl.is_zero()).then(|| now.plus(ttl).nanos()),
        metadata: cx.fields().pairs("metadata")?.unwrap_or_default(),
        cidr_list: networks(cx, "cidr_list", &role.bound_cidrs)?,
        token_bound_cidrs: networks(cx, "token_bound_cidrs", &role.token.bound_cidrs)?,
    };
    let accessor = accessor(cx.txn, &role.id, &secret_id);
    let path = format!("{}{accessor}", role.secrets());
    if cx.exists(&path)? {
        return Err(Refusal::invalid("failed to store secret_id: SecretID is already registered"));
    }
    if let Some(end) = entry.expires {
        let due = Due::Entry(cx.key(&path));
        expiry::remember(cx.txn, end, &accessor, &due)?;
    }
    cx.put_json(&path, &entry)?;
    Response::data(&json!({
        "secret_id": secret_id,
        "secret_id_accessor": accessor,
        "secret_id_num_uses": entry.num_uses,
        "secret_id_ttl": entry.ttl,
    }))
}

/// Uses and time to live, within those of the role.
fn limits(cx: &Context<'_, '_>, role: &Role) -> Result<(u32, Duration), Refusal> {
    let uses = match count(cx.fields(), "num_uses")? {
        Some(uses) if role.num_uses > 0 && (uses == 0 || uses > role.num_uses) => {
            return Err(Refusal::invalid("num_uses cannot be higher than the role's secret_id_num_uses"));
        }
        Some(uses) => uses,
        None => role.num_uses,
    };
    let ttl = match seconds(cx.fields(), "ttl")? {
        Some(ttl) if role.ttl > 0 && (ttl == 0 || ttl > role.ttl) => {
            return Err(Refusal::invalid("ttl cannot be longer than the role's secret_id_ttl"));
        }
        Some(ttl) => ttl,
        None => role.ttl,
    };
    Ok((uses, Duration::from_secs(ttl).min(cx.max_ttl())))
}

/// The networks sent as `name`, which must lie within those of the role.
fn networks(cx: &Context<'_, '_>, name: &str, role: &[String]) -> Result<Vec<String>, Refusal> {
    let networks = cx.fields().strings(name)?.unwrap_or_default();
    cidr::check(&networks)?;
    check_subset(&networks, role)?;
    Ok(networks)
}

/// Refuses networks outside those of the role, if it has any.
pub(super) fn check_subset(networks: &[String], role: &[String]) -> Result<(), Refusal> {
    if role.is_empty() || cidr::subset(networks, role) {
        return Ok(());
    }
    Err(Refusal::invalid(format!(
        "failed to verify subset relationship between CIDR blocks on the role {role:?} and CIDR blocks on the \
         secret ID {networks:?}"
    )))
}

pub(super) fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let role = role::required(cx)?;
    Response::keys(&cx.list(&role.secrets())?)
}

pub(super) fn look_up(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let secret_id = cx.fields().required("secret_id")?;
    let role = role::required(cx)?;
    let accessor = accessor(cx.txn, &role.id, &secret_id);
    match find(cx, &role, &accessor)? {
        Some(entry) => Response::data(&entry.describe(&accessor)),
        None => Ok(Response::empty()),
    }
}

pub(super) fn destroy(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let secret_id = cx.fields().required("secret_id")?;
    let role = role::required(cx)?;
    let accessor = accessor(cx.txn, &role.id, &secret_id);
    if let Some(entry) = find(cx, &role, &accessor)? {
        remove(cx, &role, &accessor, &entry);
    }
    Ok(Response::empty())
}

pub(super) fn look_up_accessor(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let (_, accessor, entry) = by_accessor(cx)?;
    Response::data(&entry.describe(&accessor))
}

pub(super) fn destroy_accessor(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let (role, accessor, entry) = by_accessor(cx)?;
    remove(cx, &role, &accessor, &entry);
    Ok(Response::empty())
}

fn by_accessor(cx: &mut Context<'_, '_>) -> Result<(Arc<Role>, String, Arc<SecretId>), Refusal> {
    let accessor = cx.fields().required("secret_id_accessor")?;
    let role = role::required(cx)?;
    let entry = find(cx, &role, &accessor)?;
    let missing = || {
        let message = format!("failed to find accessor entry for secret_id_accessor: {accessor:?}");
        Refusal::Missing(vec![message])
    };
    let entry = entry.ok_or_else(missing)?;
    Ok((role, accessor, entry))
}

/// Secret ids go by themselves when their time is over; this finds those whose end was never recorded.
pub(super) fn tidy(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let job = Job::WipeExpired { prefix: cx.key("secret/"), before: cx.now.nanos(), after: String::new() };
    jobs::add(cx.txn, &job)?;
    let started = Response { status: Some(202), ..Response::empty() };
    Ok(started.warn("Tidy operation successfully started. It goes on in the background."))
}
