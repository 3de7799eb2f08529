//! `cel/roles/`: the programs.

use super::program::{Program, Source};
use crate::context::Context;
use crate::engines::pki;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Kind, Route, field};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

const ROLES: &str = "cel/role/";

const PROGRAM: Field = field(
    "cel_program",
    Kind::Json,
    "variables, a list of name and expression, and expression, which yields a ValidationOutput or why there is none.",
);

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "cel/roles",
        operations: &[(Operation::List, list)],
        help: "Lists the roles that are programs.",
        ..Route::EMPTY
    },
    Route {
        pattern: "cel/roles/{name}",
        operations: &[
            (Operation::Read, read),
            (Operation::Update, write),
            (Operation::Patch, patch),
            (Operation::Delete, delete),
        ],
        exists: Some(exists),
        fields: &[PROGRAM],
        help: "Makes, shows, changes and deletes a role that is a program.",
        ..Route::EMPTY
    },
];

/// As it is kept and shown.
#[derive(Serialize, Deserialize)]
struct Role {
    name: String,
    cel_program: Source,
}

/// The program of the role `name`, read once for each time it is written.
pub(super) fn program(cx: &mut Context<'_, '_>, name: &str) -> Result<Arc<Program>, Refusal> {
    let known = match pki::is_name(name) {
        true => cx.built(&format!("{ROLES}{name}"), |bytes| {
            let role: Role = serde_json::from_slice(bytes)
                .map_err(|why| Refusal::Internal(format!("a stored CEL role cannot be read: {why}")))?;
            Program::read(&role.cel_program)
        })?,
        false => None,
    };
    known.ok_or_else(|| {
        Refusal::invalid(format!("CEL role not found: {name}; LIST cel/roles shows those there are"))
    })
}

fn path(cx: &Context<'_, '_>) -> Result<String, Refusal> {
    pki::named(cx, ROLES)
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
    let role = cx.get_json::<Role>(&path)?.ok_or_else(Refusal::missing)?;
    Response::data(&role)
}

/// What the request says of the program: an object, or JSON text, which is what a command line can send.
fn given(cx: &Context<'_, '_>) -> Result<Option<Value>, Refusal> {
    let refused = |why: serde_json::Error| Refusal::invalid(format!("cel_program is not JSON: {why}"));
    Ok(match cx.fields().value("cel_program")? {
        Some(Value::String(text)) => Some(serde_json::from_str(&text).map_err(refused)?),
        other => other,
    })
}

fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let given = given(cx)?.ok_or_else(|| Refusal::invalid("missing required field 'cel_program'"))?;
    let source = Source::default().changed(given)?;
    put(cx, source)
}

fn patch(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = path(cx)?;
    let known = cx.get_json::<Role>(&path)?;
    let known = known.ok_or_else(|| Refusal::invalid("Unable to fetch cel role entry to patch"))?;
    let source = match given(cx)? {
        Some(given) => known.cel_program.changed(given)?,
        None => known.cel_program,
    };
    put(cx, source)
}

fn put(cx: &mut Context<'_, '_>, source: Source) -> Result<Response, Refusal> {
    let path = path(cx)?;
    Program::read(&source)?;
    let role = Role { name: cx.param("name").to_owned(), cel_program: source };
    cx.put_json(&path, &role)?;
    Response::data(&role)
}

fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = path(cx)?;
    cx.delete(&path);
    Ok(Response::empty())
}
