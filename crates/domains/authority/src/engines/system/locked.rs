//! `sys/locked-users`: names that failed to log in too often.

use crate::context::Context;
use crate::lockout;
use crate::mounts;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Kind, Route, field};
use serde_json::json;

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "locked-users",
        operations: &[(Operation::Read, list)],
        fields: &[field("mount_accessor", Kind::Text, "Shows those of one auth mount.")],
        help: "Shows the names that may not log in for a while.",
        ..Route::EMPTY
    },
    Route {
        pattern: "locked-users/{mount_accessor}/unlock/{alias_identifier}",
        operations: &[(Operation::Update, unlock)],
        help: "Lets a name log in again.",
        ..Route::EMPTY
    },
];

fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let wanted = cx.fields().string("mount_accessor")?.filter(|accessor| !accessor.is_empty());
    let table = mounts::table(cx.txn)?;
    if wanted.as_deref().is_some_and(|accessor| table.by_accessor(accessor).is_none()) {
        return Err(Refusal::invalid("invalid mount accessor"));
    }
    let mut shown = Vec::new();
    let mut total = 0;
    let guarded =
        table.iter().filter(|mount| mount.is_auth() && lockout::METHODS.contains(&mount.kind.as_str()));
    for mount in guarded.filter(|mount| wanted.as_ref().is_none_or(|accessor| *accessor == mount.accessor)) {
        let names = lockout::locked(cx.txn, mount, cx.now)?;
        if !names.is_empty() {
            total += names.len();
            shown.push(json!({
                "mount_accessor": mount.accessor, "counts": names.len(), "alias_identifiers": names,
            }));
        }
    }
    let by_namespace = match total {
        0 => json!([]),
        _ => json!([{
            "namespace_id": "root", "namespace_path": "", "counts": total, "mount_accessors": shown,
        }]),
    };
    Response::data(&json!({ "total": total, "by_namespace": by_namespace }))
}

fn unlock(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let (accessor, name) = (cx.param("mount_accessor").to_owned(), cx.param("alias_identifier").to_owned());
    if mounts::table(cx.txn)?.by_accessor(&accessor).is_none() {
        return Err(Refusal::invalid("invalid mount accessor"));
    }
    lockout::unlock(cx.txn, &accessor, &name)?;
    Ok(Response::empty())
}
