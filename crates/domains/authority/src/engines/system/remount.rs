//! `sys/remount`: moving a mount to another path. What is stored stays where it is; leases of the old path end.

use super::directory;
use super::mounts::{PROTECTED, conflict};
use crate::context::{Context, Effect};
use crate::jobs::{self, Job};
use crate::mounts::{self, Mount};
use crate::refusal::Refusal;
use crate::request::{Operation, normalize_path};
use crate::response::Response;
use crate::route::{Kind, Route, Traits, field};
use keyward_core::random;
use serde::{Deserialize, Serialize};
use serde_json::json;

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "remount",
        operations: &[(Operation::Update, remount)],
        fields: &[
            field("from", Kind::Text, "The path of the mount; `auth/` before it for auth methods."),
            field("to", Kind::Text, "Its path from now on."),
        ],
        traits: Traits { sudo: true, ..Route::EMPTY.traits },
        help: "Moves a mount to another path.",
        ..Route::EMPTY
    },
    Route {
        pattern: "remount/status/{migration_id}",
        operations: &[(Operation::Read, status)],
        help: "Shows what came of a move.",
        ..Route::EMPTY
    },
];

/// The last moves.
const MOVES: &str = "core/remounts";
/// How many of them are remembered.
const REMEMBERED: usize = 64;

#[derive(Serialize, Deserialize)]
struct Move {
    id: String,
    from: String,
    to: String,
}

fn remount(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let (from, to) = (endpoint(cx, "from")?, endpoint(cx, "to")?);
    check_endpoints(&from, &to)?;
    let table = mounts::table(cx.txn)?;
    let Some(known) = table.at(&from) else {
        return Err(Refusal::invalid(format!("no matching mount at {from:?}")));
    };
    if known.upgrading {
        return Err(mounts::is_upgrading());
    }
    if let Some(taken) = conflict(cx, &to)? {
        return Err(Refusal::invalid(format!("path already in use at {taken:?}")));
    }
    mounts::put(cx.txn, &Mount { path: to.clone(), ..Mount::clone(known) })?;
    jobs::add(cx.txn, &Job::RevokePrefix { path: from.clone(), force: false, after: String::new() })?;
    cx.effects.push(Effect::RunJobs);
    let id = random::uuid(cx.random());
    let mut moves: Vec<Move> = cx.txn.get_json(MOVES)?.unwrap_or_default();
    moves.push(Move { id: id.clone(), from, to });
    let old = moves.len().saturating_sub(REMEMBERED);
    moves.drain(..old);
    cx.txn.put_json(MOVES, &moves)?;
    Ok(Response::data(&json!({ "migration_id": id }))?.flattened())
}

fn endpoint(cx: &Context<'_, '_>, name: &str) -> Result<String, Refusal> {
    let path = cx.fields().string(name)?.filter(|path| !path.is_empty());
    let path =
        path.ok_or_else(|| Refusal::invalid("both 'from' and 'to' path must be specified as a string"))?;
    if path.starts_with(' ') || path.ends_with(' ') {
        return Err(Refusal::invalid(format!("'{name}' path cannot contain trailing whitespace")));
    }
    let clean = normalize_path(&path).filter(|clean| !clean.is_empty());
    let clean = clean.filter(|clean| directory(clean) == directory(path.trim_start_matches('/')));
    match clean {
        Some(clean) => Ok(directory(&clean)),
        None => Err(Refusal::invalid(format!(
            "invalid '{name}' mount: the path {path:?} has empty, '.' or '..' segments, control characters or too \
             many bytes"
        ))),
    }
}

fn check_endpoints(from: &str, to: &str) -> Result<(), Refusal> {
    let refuse = |text: String| Err(Refusal::invalid(text));
    let source = from.trim_end_matches('/');
    if from.starts_with("auth/") {
        if !to.starts_with("auth/") || to == "auth/" {
            return refuse(format!("cannot remount auth mount to non-auth mount {to:?}"));
        }
        if from == "auth/token/" {
            return refuse(format!("cannot remount {source:?}"));
        }
        if to.starts_with("auth/token/") {
            return refuse(format!("cannot remount to destination {to:?}"));
        }
        return Ok(());
    }
    if PROTECTED.iter().any(|protected| from.starts_with(protected)) {
        return refuse(format!("cannot remount {source:?}"));
    }
    if PROTECTED.iter().any(|protected| to.starts_with(protected)) {
        return refuse(format!("cannot remount to destination {to:?}"));
    }
    Ok(())
}

/// A move is done with its transaction, so what is remembered has succeeded.
fn status(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let id = cx.param("migration_id").to_owned();
    let moves: Vec<Move> = cx.txn.get_json(MOVES)?.unwrap_or_default();
    let Some(found) = moves.iter().find(|known| known.id == id) else { return Err(Refusal::missing()) };
    Response::data(&json!({
        "migration_id": found.id,
        "migration_info": { "source_mount": found.from, "target_mount": found.to, "status": "success" },
    }))
}
