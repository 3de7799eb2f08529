//! `keyward status`: sealed or not.

use crate::cli::{Failure, Session};
use keyward_authority_client::{Method, RequestOptions};
use serde_json::{Map, Value};

pub(crate) async fn run(session: &Session) -> Result<(), Failure> {
    let options = RequestOptions::default();
    let reply = session.client.request(Method::Get, "sys/seal-status", None, &options).await?;
    let body = reply.body().unwrap_or(Value::Null);
    if session.output.is_table() {
        let mut shown = Map::new();
        for (title, name) in [
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
        ] {
            if let Some(value) = body.get(name) {
                shown.insert(title.to_owned(), value.clone());
            }
        }
        session.output.value(&Value::Object(shown))?;
    } else {
        session.output.value(&body)?;
    }
    // Scripts tell a sealed authority from one that cannot be reached.
    match body.get("sealed").and_then(Value::as_bool) {
        Some(true) => Err(Failure::Code(2)),
        _ => Ok(()),
    }
}
