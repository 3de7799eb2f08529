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
    /// Revoke a lease, or all below a path
    Revoke {
        /// Its id, or the path with --prefix
        id: String,
        /// Revoke everything whose id begins so
        #[arg(long)]
        prefix: bool,
        /// Forget them even if what they stand for cannot be revoked; with --prefix
        #[arg(long, requires = "prefix")]
        force: bool,
    },
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
        Lease::Revoke { id, prefix, force } => {
            let (path, body) = match (prefix, force) {
                (false, _) => ("sys/leases/revoke".to_owned(), json!({ "lease_id": id })),
                (true, false) => (format!("sys/leases/revoke-prefix/{id}"), json!({})),
                (true, true) => (format!("sys/leases/revoke-force/{id}"), json!({})),
            };
            let done = "All revocation operations queued successfully!";
            session.write("Error revoking", &path, &body, done).await
        }
    }
}
