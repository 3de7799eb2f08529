//! `sys/internal/ui`: what clients ask before they know what they may ask.

use super::mounts::{describe, shown_path};
use crate::context::Context;
use crate::mounts::{self, Mount};
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Route, Traits};
use crate::token::{self, Caller};
use serde_json::{Map, Value, json};
use std::sync::Arc;

const OPEN: Traits = Traits { open: true, ..Route::EMPTY.traits };

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "internal/ui/mounts",
        operations: &[(Operation::Read, list)],
        traits: OPEN,
        help: "Lists the mounts the caller may use; without a token those that are listed for everyone.",
        ..Route::EMPTY
    },
    Route {
        pattern: "internal/ui/mounts/{path*}",
        operations: &[(Operation::Read, read)],
        traits: OPEN,
        help: "Shows the mount that serves a path, if the caller may use anything of it.",
        ..Route::EMPTY
    },
    Route {
        pattern: "internal/ui/resultant-acl",
        operations: &[(Operation::Read, resultant_acl)],
        help: "Shows what the caller may do.",
        ..Route::EMPTY
    },
];

/// Who asks, on paths that need no token: nobody, or the holder of a good one.
fn caller(cx: &mut Context<'_, '_>) -> Result<Option<Caller>, Refusal> {
    let Some(shown) = &cx.request.token else { return Ok(None) };
    token::caller(cx.txn, shown.expose(), cx.request.remote.map(|remote| remote.ip()), cx.now).map(Some)
}

/// The mounts that the caller, or everyone, may know of.
pub(super) fn visible(cx: &mut Context<'_, '_>) -> Result<(Vec<Arc<Mount>>, bool), Refusal> {
    let caller = caller(cx)?;
    let now = cx.now;
    let shown = |mount: &&Arc<Mount>| {
        mount.config.listing_visibility == "unauth"
            || caller.as_ref().is_some_and(|caller| caller.acl.reaches(&mount.path, now))
    };
    let table = mounts::table(cx.txn)?;
    Ok((table.iter().filter(shown).cloned().collect(), caller.is_some()))
}

fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let (visible, known) = visible(cx)?;
    let (mut secret, mut auth) = (Map::new(), Map::new());
    for mount in visible {
        let whole = Value::from(describe(&mount));
        let about = match known {
            true => whole,
            false => json!({
                "type": whole["type"], "description": whole["description"], "options": whole["options"],
            }),
        };
        let group = if mount.is_auth() { &mut auth } else { &mut secret };
        group.insert(shown_path(&mount).to_owned(), about);
    }
    Response::data(&json!({ "auth": auth, "secret": secret }))
}

/// A path that no mount serves is refused as one that the caller may not use, so that nobody can try out paths.
fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = cx.param("path").to_owned();
    let caller = caller(cx)?.ok_or(Refusal::denied("no token was sent"))?;
    let table = mounts::table(cx.txn)?;
    match table.find(&path).filter(|mount| caller.acl.reaches(&mount.path, cx.now)) {
        Some(mount) => {
            let mut about = describe(mount);
            about.insert("path".to_owned(), json!(shown_path(mount)));
            Response::data(&about)
        }
        None => Err(Refusal::Forbidden(
            format!(
                "preflight capability check returned 403, please ensure client's policies grant access to path {:?}",
                super::directory(&path)
            )
            .into(),
        )),
    }
}

fn resultant_acl(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let acl = cx.caller()?.acl.clone();
    if acl.is_root() {
        return Response::data(&json!({ "root": true }));
    }
    let (mut exact, mut glob) = (Map::new(), Map::new());
    for rule in acl.rules(cx.now) {
        let group = if rule.exact { &mut exact } else { &mut glob };
        group.insert(rule.path.to_owned(), json!({ "capabilities": rule.capabilities }));
    }
    Response::data(&json!({ "root": false, "exact_paths": exact, "glob_paths": glob }))
}
