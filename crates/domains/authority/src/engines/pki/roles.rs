//! `roles/`: the rules under which certificates are issued.

use super::role::{FIELDS, Role};
use super::table::{self, DEFAULT};
use crate::context::Context;
use crate::identity;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::Route;
use std::sync::Arc;

const ROLES: &str = "role/";

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "roles",
        operations: &[(Operation::List, list)],
        help: "Lists the roles.",
        ..Route::EMPTY
    },
    Route {
        pattern: "roles/{name}",
        operations: &[
            (Operation::Read, read),
            (Operation::Update, write),
            (Operation::Patch, patch),
            (Operation::Delete, delete),
        ],
        exists: Some(exists),
        fields: FIELDS,
        help: "Makes, shows, changes and deletes a role.",
        ..Route::EMPTY
    },
];

fn path(cx: &Context<'_, '_>) -> Result<String, Refusal> {
    super::named(cx, ROLES)
}

/// The role `name`, or the refusal clients know.
pub(super) fn find(cx: &mut Context<'_, '_>, name: &str) -> Result<Arc<Role>, Refusal> {
    let known = if super::is_name(name) { known(cx, name)? } else { None };
    known.ok_or_else(|| Refusal::invalid(format!("unknown role: {name}")))
}

/// The role `name` for who asks: see [`Role::filled`].
pub(super) fn for_caller(cx: &mut Context<'_, '_>, name: &str) -> Result<Arc<Role>, Refusal> {
    let role = find(cx, name)?;
    if !role.allowed_domains_template && !role.allowed_uri_sans_template {
        return Ok(role);
    }
    let entity = cx.caller()?.token.entity_id.clone();
    let holder = if entity.is_empty() { None } else { identity::holder(cx.txn, &entity)? };
    let subject = holder.map(|holder| holder.subject());
    role.filled(subject.as_ref()).map(Arc::new)
}

/// The role `name`, which must be one that roles can have, if there is one.
pub(super) fn known(cx: &mut Context<'_, '_>, name: &str) -> Result<Option<Arc<Role>>, Refusal> {
    cx.built_json::<Role>(&format!("{ROLES}{name}"))
}

fn exists(cx: &mut Context<'_, '_>) -> Result<bool, Refusal> {
    let path = path(cx)?;
    cx.exists(&path)
}

fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Response::keys(&cx.list(ROLES)?)
}

fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = path(cx)?;
    let role = cx.built_json::<Role>(&path)?.ok_or_else(Refusal::missing)?;
    Response::data(&*role)
}

fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let role = Role::default().changed(cx.fields())?;
    put(cx, &role)
}

fn patch(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = path(cx)?;
    let known = cx.get_json::<Role>(&path)?;
    let known = known.ok_or_else(|| Refusal::invalid("Unable to fetch role entry to patch"))?;
    let role = known.changed(cx.fields())?;
    put(cx, &role)
}

fn put(cx: &mut Context<'_, '_>, role: &Role) -> Result<Response, Refusal> {
    let path = path(cx)?;
    let table = table::table(cx)?;
    cx.put_json(&path, role)?;
    let response = Response::data(role)?;
    Ok(match (table.find(&role.issuer_ref), role.issuer_ref.as_str()) {
        (Some(_), _) => response,
        (None, DEFAULT) => response.warn(
            "Issuing Certificate was set to default, but no default issuing certificate (configurable at \
             /config/issuers) is currently set",
        ),
        (None, name) => response.warn(format!(
            "Issuing Certificate was set to {name} but no issuing certificate currently has that name"
        )),
    })
}

fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = path(cx)?;
    cx.delete(&path);
    Ok(Response::empty())
}
