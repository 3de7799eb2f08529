//! `identity/oidc/assignment`: who may sign in to an application.

use super::super::name;
use super::{clients, entries, refuse_used};
use crate::context::Context;
use crate::identity::Holder;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Kind, Route, field};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const ASSIGNMENTS: &str = "oidc/assignment/";
/// The one that is always there: everybody.
const ALL: &str = "allow_all";

pub(in super::super::super) const ROUTES: &[Route] = &[
    Route {
        pattern: "oidc/assignment",
        operations: &[(Operation::List, list)],
        help: "Lists the assignments.",
        ..Route::EMPTY
    },
    Route {
        pattern: "oidc/assignment/{name}",
        operations: &[(Operation::Read, read), (Operation::Update, write), (Operation::Delete, delete)],
        exists: Some(exists),
        fields: &[
            field("entity_ids", Kind::List, "Entities."),
            field("group_ids", Kind::List, "Groups, whose members count."),
        ],
        help: "Shows, creates, changes and removes an assignment.",
        ..Route::EMPTY
    },
];

#[derive(Clone, Default, Serialize, Deserialize)]
struct Assignment {
    entity_ids: Vec<String>,
    group_ids: Vec<String>,
}

fn find(cx: &mut Context<'_, '_>, name: &str) -> Result<Option<Arc<Assignment>>, Refusal> {
    if name == ALL {
        let everybody = || vec!["*".to_owned()];
        return Ok(Some(Arc::new(Assignment { entity_ids: everybody(), group_ids: everybody() })));
    }
    cx.built_json(&format!("{ASSIGNMENTS}{name}"))
}

/// Refuses assignments that are not there.
pub(super) fn check(cx: &mut Context<'_, '_>, name: &str) -> Result<(), Refusal> {
    match find(cx, name)? {
        Some(_) => Ok(()),
        None => Err(Refusal::invalid(format!("assignment {name:?} does not exist"))),
    }
}

/// Whether one of the assignments `names` is of `holder`.
pub(super) fn assigned(cx: &mut Context<'_, '_>, names: &[String], holder: &Holder) -> Result<bool, Refusal> {
    for name in names {
        let Some(assignment) = find(cx, name)? else { continue };
        let has = |ids: &[String], id: &str| ids.iter().any(|known| known == "*" || known == id);
        if has(&assignment.entity_ids, &holder.entity.id)
            || holder.groups().any(|group| has(&assignment.group_ids, &group.id))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn exists(cx: &mut Context<'_, '_>) -> Result<bool, Refusal> {
    let name = name(cx);
    Ok(find(cx, &name)?.is_some())
}

fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let mut names = cx.list(ASSIGNMENTS)?;
    names.push(ALL.to_owned());
    names.sort_unstable();
    Response::keys(&names)
}

fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = name(cx);
    Response::data(&*find(cx, &name)?.ok_or(Refusal::missing())?)
}

fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = name(cx);
    if name == ALL {
        return Err(Refusal::invalid(format!("modification of assignment {ALL:?} not allowed")));
    }
    let mut assignment = find(cx, &name)?.map(Arc::unwrap_or_clone).unwrap_or_default();
    if let Some(ids) = cx.fields().strings("entity_ids")? {
        assignment.entity_ids = ids;
    }
    if let Some(ids) = cx.fields().strings("group_ids")? {
        assignment.group_ids = ids;
    }
    cx.put_json(&format!("{ASSIGNMENTS}{name}"), &assignment)?;
    Ok(Response::empty())
}

fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = name(cx);
    if name == ALL {
        return Err(Refusal::invalid(format!("deletion of assignment {ALL:?} not allowed")));
    }
    let all = entries::<clients::Client>(cx, clients::CLIENTS)?;
    let users: Vec<String> = all
        .into_iter()
        .filter(|(_, client)| client.assignments.contains(&name))
        .map(|(name, _)| name)
        .collect();
    refuse_used("assignment", &name, "clients", &users)?;
    cx.delete(&format!("{ASSIGNMENTS}{name}"));
    Ok(Response::empty())
}
