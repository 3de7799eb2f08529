//! What this authority consists of, as clients ask for it.

use crate::context::Context;
use crate::engines;
use crate::engines::database::PLUGINS;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::Route;
use crate::txn::Txn;
use keyward_core::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "plugins/catalog",
        operations: &[(Operation::Read, whole)],
        help: "Lists the types that can be mounted, and the databases that can be configured.",
        ..Route::EMPTY
    },
    Route {
        pattern: "plugins/catalog/{type}",
        operations: &[(Operation::List, of_type)],
        help: "Lists the types of one kind: `auth`, `secret` or `database`.",
        ..Route::EMPTY
    },
    Route {
        pattern: "experiments",
        operations: &[(Operation::Read, experiments)],
        help: "Lists the experiments: there are none.",
        ..Route::EMPTY
    },
    Route {
        pattern: "version-history",
        operations: &[(Operation::List, versions)],
        help: "Lists the versions that ran on this store.",
        ..Route::EMPTY
    },
];

fn sorted(auth: bool) -> Vec<&'static str> {
    let mut kinds = engines::kinds(auth).to_vec();
    kinds.sort_unstable();
    kinds
}

fn whole(_: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let (auth, secret) = (sorted(true), sorted(false));
    let detail = |kind: &'static str| move |name: &&'static str| json!({ "type": kind, "name": name, "version": "", "builtin": true, "deprecation_status": "supported" });
    let detailed: Vec<_> = auth
        .iter()
        .map(detail("auth"))
        .chain(PLUGINS.iter().map(detail("database")))
        .chain(secret.iter().map(detail("secret")))
        .collect();
    Response::data(&json!({ "auth": auth, "secret": secret, "database": PLUGINS, "detailed": detailed }))
}

fn of_type(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let names = match cx.param("type") {
        "auth" => sorted(true),
        "secret" => sorted(false),
        "database" => PLUGINS.to_vec(),
        other => {
            return Err(Refusal::invalid(format!(
                "{other:?} is not a supported plugin type: there are auth, secret and database"
            )));
        }
    };
    Response::keys(&names.into_iter().map(str::to_owned).collect::<Vec<_>>())
}

fn experiments(_: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Response::data(&json!({ "available": [], "enabled": [] }))
}

/// The versions that ran on this store, in the order of their first starts.
const VERSIONS: &str = "core/versions";

#[derive(Serialize, Deserialize)]
struct Installed {
    version: String,
    /// Nanoseconds since the epoch.
    at: u64,
}

/// Remembers that `version` ran.
pub(crate) fn note_version(txn: &mut Txn<'_>, version: &str, now: Timestamp) -> Result<(), Refusal> {
    let known = txn.built_json::<Vec<Installed>>(VERSIONS)?;
    if known.as_ref().is_some_and(|known| known.iter().any(|installed| installed.version == version)) {
        return Ok(());
    }
    let mut all: Vec<Installed> = txn.get_json(VERSIONS)?.unwrap_or_default();
    all.push(Installed { version: version.to_owned(), at: now.nanos() });
    txn.put_json(VERSIONS, &all)
}

fn versions(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let known: Vec<Installed> = cx.txn.get_json(VERSIONS)?.unwrap_or_default();
    let keys: Vec<&str> = known.iter().map(|installed| installed.version.as_str()).collect();
    let before = std::iter::once(None).chain(keys.iter().map(Some));
    let info: Map<String, Value> = known
        .iter()
        .zip(before)
        .map(|(installed, before)| {
            let at = Timestamp::from_secs(Timestamp::from_nanos(installed.at).secs());
            let about = json!({
                "timestamp_installed": at.to_string(), "build_date": "", "previous_version": before,
            });
            (installed.version.clone(), about)
        })
        .collect();
    if keys.is_empty() {
        return Err(Refusal::missing());
    }
    Response::data(&json!({ "keys": keys, "key_info": info }))
}
