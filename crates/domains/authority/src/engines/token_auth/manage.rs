//! Renewing and revoking tokens.

use super::{is_sudo, lookup};
use crate::context::{Context, Effect};
use crate::jobs::{self, Job};
use crate::refusal::Refusal;
use crate::response::Response;
use crate::token::{self, TokenEntry, TokenKind};
use std::sync::Arc;

pub(super) fn renew(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let shown = token(cx)?;
    renew_shown(cx, shown)
}

pub(super) fn renew_own(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let shown = own(cx);
    renew_shown(cx, shown)
}

pub(super) fn renew_accessor(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let accessor = lookup::accessor(cx)?;
    match token::entry(cx.txn, &accessor, cx.now)? {
        Some(entry) => extend(cx, &accessor, &entry, String::new()),
        None => Err(Refusal::invalid("invalid accessor")),
    }
}

pub(super) fn revoke(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let shown = token(cx)?;
    revoke_shown(cx, &shown)
}

pub(super) fn revoke_own(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    if cx.caller()?.token.kind == TokenKind::Batch {
        return Err(Refusal::invalid("batch tokens cannot be revoked"));
    }
    let name = cx.caller()?.name.clone();
    end(cx, &name)
}

pub(super) fn revoke_accessor(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let accessor = lookup::accessor(cx)?;
    match token::entry(cx.txn, &accessor, cx.now)? {
        Some(_) => end(cx, &accessor),
        None => Ok(Response::empty().warn("No token found with this accessor")),
    }
}

pub(super) fn revoke_orphan(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let shown = token(cx)?;
    if !is_sudo(cx)? {
        return Err(Refusal::invalid("root or sudo privileges required to revoke and orphan"));
    }
    let Some((name, entry)) = token::look_up(cx.txn, &shown, cx.now)? else {
        return Err(Refusal::invalid("token to revoke not found"));
    };
    refuse_batch(&entry)?;
    token::revoke_orphan(cx.txn, &name)?;
    run_jobs(cx)
}

pub(super) fn tidy(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    jobs::add(cx.txn, &Job::TidyTokens { directory: 0, after: String::new() })?;
    let started = Response { status: Some(202), ..Response::empty() };
    Ok(started.warn("Tidy operation successfully started. It goes on in the background."))
}

fn token(cx: &Context<'_, '_>) -> Result<String, Refusal> {
    cx.fields().required("token").map_err(|_| Refusal::invalid("missing token ID"))
}

fn own(cx: &Context<'_, '_>) -> String {
    cx.request.token.as_ref().map_or_else(String::new, |token| token.expose().clone())
}

fn renew_shown(cx: &mut Context<'_, '_>, shown: String) -> Result<Response, Refusal> {
    match token::look_up(cx.txn, &shown, cx.now)? {
        Some((name, entry)) => extend(cx, &name, &entry, shown),
        None => Err(Refusal::invalid("token not found")),
    }
}

fn extend(
    cx: &mut Context<'_, '_>,
    name: &str,
    entry: &Arc<TokenEntry>,
    shown: String,
) -> Result<Response, Refusal> {
    let increment = cx.fields().duration("increment")?.unwrap_or_default();
    let renewed = token::renew(cx, name, entry, increment)?;
    let auth = renewed.entry.to_auth(shown, renewed.ttl.as_secs());
    Ok(Response {
        auth: Some(Box::new(auth)),
        warnings: renewed.warnings,
        facts: renewed.facts,
        ..Response::empty()
    })
}

fn revoke_shown(cx: &mut Context<'_, '_>, shown: &str) -> Result<Response, Refusal> {
    match token::look_up(cx.txn, shown, cx.now)? {
        Some((name, entry)) => {
            refuse_batch(&entry)?;
            end(cx, &name)
        }
        None => Ok(Response::empty()),
    }
}

fn refuse_batch(entry: &TokenEntry) -> Result<(), Refusal> {
    match entry.kind {
        TokenKind::Batch => Err(Refusal::invalid("batch tokens cannot be revoked")),
        TokenKind::Service => Ok(()),
    }
}

fn end(cx: &mut Context<'_, '_>, name: &str) -> Result<Response, Refusal> {
    token::revoke(cx.txn, name)?;
    run_jobs(cx)
}

fn run_jobs(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    if jobs::pending(cx.txn)? {
        cx.effects.push(Effect::RunJobs);
    }
    Ok(Response::empty())
}
