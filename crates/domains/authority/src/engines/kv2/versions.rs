//! `delete`, `undelete` and `destroy`: single versions.

use super::meta::{Meta, load, path, save, value_key};
use crate::context::Context;
use crate::refusal::Refusal;
use crate::response::Response;

/// Destroying removes an entry each, which a transaction holds only so many of.
const MOST: usize = 80;

fn change(
    cx: &mut Context<'_, '_>,
    act: impl Fn(&mut Context<'_, '_>, &mut Meta, &str, u64),
) -> Result<Response, Refusal> {
    let path = path(cx)?;
    let versions = cx.fields().ints("versions")?.unwrap_or_default();
    if versions.is_empty() {
        return Err(Refusal::invalid("No version number provided"));
    }
    if versions.len() > MOST {
        return Err(Refusal::invalid(format!("name at most {MOST} versions at once")));
    }
    let Some(meta) = load(cx, &path)? else { return Ok(Response::empty()) };
    let mut changed = (*meta).clone();
    for number in versions.into_iter().filter_map(|number| u64::try_from(number).ok()) {
        act(cx, &mut changed, &path, number);
    }
    if changed != *meta {
        changed.updated = cx.now.nanos();
        save(cx, &path, &changed)?;
    }
    Ok(Response::empty())
}

pub(super) fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    change(cx, |cx, meta, _, number| {
        if let Some(version) = meta.versions.get_mut(&number).filter(|version| version.is_live(cx.now)) {
            version.deletion = Some(cx.now.nanos());
        }
    })
}

pub(super) fn undelete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    change(cx, |_, meta, _, number| {
        if let Some(version) = meta.versions.get_mut(&number).filter(|version| !version.destroyed) {
            version.deletion = None;
        }
    })
}

pub(super) fn destroy(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    change(cx, |cx, meta, path, number| {
        if let Some(version) = meta.versions.get_mut(&number) {
            version.destroyed = true;
            cx.delete(&value_key(path, number));
        }
    })
}
