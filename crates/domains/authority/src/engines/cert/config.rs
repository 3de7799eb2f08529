//! The configuration of a mount.

use crate::context::Context;
use crate::mounts::Mount;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::txn::Txn;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

const PATH: &str = "config";

/// What holds for all entries.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Config {
    pub(super) disable_binding: bool,
    pub(super) alias_metadata: bool,
}

pub(super) fn of(txn: &mut Txn<'_>, mount: &Mount) -> Result<Config, Refusal> {
    let stored: Option<Arc<Config>> = txn.built_json(&format!("{}{PATH}", mount.prefix()))?;
    Ok(stored.map(|stored| *stored).unwrap_or_default())
}

pub(super) fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let config = of(cx.txn, cx.mount)?;
    Response::data(&json!({
        "disable_binding": config.disable_binding,
        "enable_identity_alias_metadata": config.alias_metadata,
    }))
}

pub(super) fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let mut config = of(cx.txn, cx.mount)?;
    let sent = cx.fields();
    config.disable_binding = sent.bool("disable_binding")?.unwrap_or(config.disable_binding);
    config.alias_metadata = sent.bool("enable_identity_alias_metadata")?.unwrap_or(config.alias_metadata);
    cx.put_json(PATH, &config)?;
    Ok(Response::empty())
}
