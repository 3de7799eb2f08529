//! `keyward lease`: what expires.

use crate::cli::{Failure, Session};
use clap::Subcommand;
use keyward_authority_client::Method;
use serde_json::json;

/// Manage leases
#[derive(Subcommand)]
pub(crate) enum Lease {
    /// Show a lease
    Lookup {
        /// Its id
        id: String,
    },
    /// Extend a lease
    Renew {
        /// Its id
        id: String,
        /// By how much
        #[arg(long, short, value_name = "DURATION")]
        increment: Option<String>,
    },
    /// Revoke a lease, all below a path, or all that a pod or an identity holds
    Revoke {
        /// Its id, or the path with --prefix
        #[arg(required_unless_present_any = ["pod", "pod_uid", "entity"])]
        id: Option<String>,
        /// Revoke everything whose id begins so
        #[arg(long)]
        prefix: bool,
        /// Forget them even if what they stand for cannot be revoked; with --prefix
        #[arg(long, requires = "prefix")]
        force: bool,
        /// Revoke the tokens of this pod, and everything handed out to it
        #[arg(long, value_name = "NAMESPACE/NAME", conflicts_with = "id")]
        pod: Option<String>,
        /// The same, by the pod's UID
        #[arg(long, value_name = "UID", conflicts_with = "id")]
        pod_uid: Option<String>,
        /// Revoke the tokens of this identity, and everything handed out to it
        #[arg(long, value_name = "ENTITY_ID", conflicts_with = "id")]
        entity: Option<String>,
    },
    /// List leases that could not be taken back, and why
    Stuck,
}

pub(crate) async fn run(session: &Session, command: &Lease) -> Result<(), Failure> {
    match command {
        Lease::Lookup { id } => {
            let body = json!({ "lease_id": id });
            let reply = session
                .ask("Error looking up the lease", Method::Put, "sys/leases/lookup", Some(&body))
                .await?;
            session.output.reply(&reply)
        }
        Lease::Renew { id, increment } => {
            let body = json!({ "lease_id": id, "increment": increment });
            let reply =
                session.ask("Error renewing the lease", Method::Put, "sys/leases/renew", Some(&body)).await?;
            session.output.reply(&reply)
        }
        Lease::Stuck => {
            let why = "Error listing the leases";
            let reply = session.ask(why, Method::Get, "sys/leases?type=irrevocable", None).await?;
            session.output.reply(&reply)
        }
        Lease::Revoke { id, prefix, force, pod, pod_uid, entity } => {
            let (path, body) = match (id, prefix, force) {
                (None, ..) => (
                    "sys/leases/revoke-holder".to_owned(),
                    json!({ "pod": pod, "pod_uid": pod_uid, "entity_id": entity }),
                ),
                (Some(id), false, _) => ("sys/leases/revoke".to_owned(), json!({ "lease_id": id })),
                (Some(id), true, false) => (format!("sys/leases/revoke-prefix/{id}"), json!({})),
                (Some(id), true, true) => (format!("sys/leases/revoke-force/{id}"), json!({})),
            };
            let done = "All revocation operations queued successfully!";
            session.write("Error revoking", &path, &body, done).await
        }
    }
}
