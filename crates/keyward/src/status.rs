//! `keyward status`: sealed or not.

use crate::cli::{Failure, Session};
use keyward_authority_client::Method;
use serde_json::Value;

pub(crate) async fn run(session: &Session) -> Result<(), Failure> {
    let reply = session.ask("Error asking for the status", Method::Get, "sys/seal-status", None).await;
    // Exit code 2 is a sealed authority's alone, so that scripts tell it from one that cannot be asked.
    let reply = reply.map_err(|why| Failure::Usage(why.to_string()))?;
    let body = reply.body().unwrap_or(Value::Null);
    let rows = [
        ("Seal Type", "type"),
        ("Initialized", "initialized"),
        ("Sealed", "sealed"),
        ("Total Shares", "n"),
        ("Threshold", "t"),
        ("Unseal Progress", "progress"),
        ("Version", "version"),
        ("Storage Type", "storage_type"),
        ("Cluster Name", "cluster_name"),
        ("Cluster ID", "cluster_id"),
    ];
    session.output.titled(&rows, &body)?;
    match body.get("sealed").and_then(Value::as_bool) {
        Some(true) => Err(Failure::Code(2)),
        _ => Ok(()),
    }
}
