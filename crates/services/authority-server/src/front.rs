//! The paths that are served without the barrier: they say whether there is one, and open it.
//!
//! None needs a token, none waits for an audit device.

use crate::node::{Node, SealState};
use crate::reply::Reply;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use keyward_authority::engines::system::UNSEALED;
use keyward_authority::fields::Fields;
use keyward_authority::refusal::Refusal;
use keyward_authority::seal::Shares;
use serde_json::{Value, json};

/// True for the paths served here, below `/v1/`.
pub fn serves(path: &str) -> bool {
    UNSEALED.iter().any(|served| served.path == path)
}

/// Serves one of them.
pub async fn serve(node: &Node, method: &Method, path: &str, fields: &Fields) -> Reply {
    let reads = method == Method::GET || method == Method::HEAD;
    let writes = method == Method::PUT || method == Method::POST;
    let reply = match path {
        "sys/health" if reads => health(node, fields),
        "sys/seal-status" if reads => node.seal_state().map(|state| Reply::json(200, &status(node, &state))),
        "sys/leader" if reads => Ok(leader(node)),
        "sys/init" if reads => {
            node.seal_state().map(|state| Reply::json(200, &json!({ "initialized": state.config.is_some() })))
        }
        "sys/init" if writes => initialize(node, fields).await,
        "sys/unseal" if writes => unseal(node, fields).await,
        _ => Err(Refusal::Unsupported),
    };
    reply.unwrap_or_else(|refusal| Reply::refused(&refusal))
}

fn status(node: &Node, state: &SealState) -> Value {
    let config = state.config.as_ref();
    let mut status = json!({
        "type": "shamir",
        "initialized": config.is_some(),
        "sealed": state.sealed,
        "t": config.map_or(0, |config| config.threshold),
        "n": config.map_or(0, |config| config.shares),
        "progress": state.progress,
        "nonce": state.nonce,
        "version": node.settings().version,
        "build_date": "",
        "migration": false,
        "recovery_seal": false,
        "storage_type": node.settings().storage_type,
    });
    if let (false, Some(config)) = (state.sealed, config) {
        status["cluster_name"] = json!(node.settings().cluster_name);
        status["cluster_id"] = json!(config.cluster_id);
    }
    status
}

fn health(node: &Node, fields: &Fields) -> Result<Reply, Refusal> {
    let state = node.seal_state()?;
    let (usual, query) = match (&state.config, state.sealed) {
        (None, _) => (501, "uninitcode"),
        (_, true) => (503, "sealedcode"),
        _ => (200, "activecode"),
    };
    let code = match fields.int(query)? {
        Some(code) => u16::try_from(code)
            .ok()
            .filter(|code| (200..600).contains(code))
            .ok_or_else(|| Refusal::invalid(format!("{query} must be a status from 200 to 599")))?,
        None => usual,
    };
    let mut body = json!({
        "initialized": state.config.is_some(),
        "sealed": state.sealed,
        "standby": false,
        "performance_standby": false,
        "replication_performance_mode": "disabled",
        "replication_dr_mode": "disabled",
        "server_time_utc": node.now().secs(),
        "version": node.settings().version,
    });
    if let (false, Some(config)) = (state.sealed, &state.config) {
        body["cluster_name"] = json!(node.settings().cluster_name);
        body["cluster_id"] = json!(config.cluster_id);
    }
    Ok(Reply::json(code, &body))
}

fn leader(node: &Node) -> Reply {
    let address = &node.settings().api_addr;
    Reply::json(
        200,
        &json!({
            "ha_enabled": false,
            "is_self": true,
            "active_time": "0001-01-01T00:00:00Z",
            "leader_address": address,
            "leader_cluster_address": "",
            "performance_standby": false,
            "performance_standby_last_remote_wal": 0,
        }),
    )
}

async fn initialize(node: &Node, fields: &Fields) -> Result<Reply, Refusal> {
    for absent in ["pgp_keys", "root_token_pgp_key", "recovery_pgp_keys"] {
        if fields.strings(absent)?.is_some_and(|keys| keys.iter().any(|key| !key.is_empty())) {
            return Err(Refusal::invalid(format!(
                "{absent}: encrypting shares to PGP keys is not available; leave it out, and hand out the shares by \
                 another protected way"
            )));
        }
    }
    for absent in ["recovery_shares", "recovery_threshold", "stored_shares"] {
        if fields.int(absent)?.is_some_and(|count| count > 0) {
            return Err(Refusal::invalid(format!(
                "parameters recovery_shares,recovery_threshold,stored_shares not applicable to seal type shamir: \
                 leave {absent} out"
            )));
        }
    }
    let shares = fields.int("secret_shares")?.unwrap_or(0);
    let threshold = fields.int("secret_threshold")?.unwrap_or(0);
    let made = node.initialize(Shares::checked(shares, threshold)?).await?;
    let hex: Vec<String> = made.shares.iter().map(|share| hex::encode(share.expose())).collect();
    let base64: Vec<String> = made.shares.iter().map(|share| STANDARD.encode(share.expose())).collect();
    Ok(Reply::json(
        200,
        &json!({ "keys": hex, "keys_base64": base64, "root_token": made.root_token.expose() }),
    ))
}

async fn unseal(node: &Node, fields: &Fields) -> Result<Reply, Refusal> {
    if fields.bool("migrate")?.unwrap_or(false) {
        return Err(Refusal::invalid("can't perform a seal migration, no migration seal found"));
    }
    if fields.bool("reset")?.unwrap_or(false) {
        node.reset_unsealing();
    } else {
        let missing =
            || Refusal::invalid("'key' must be specified in request body as JSON, or 'reset' set to true");
        node.unseal(&fields.required("key").map_err(|_| missing())?).await?;
    }
    Ok(Reply::json(200, &status(node, &node.seal_state()?)))
}
