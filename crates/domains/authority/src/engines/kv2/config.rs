//! `config`: defaults of a mount.

use super::meta::mount_limits;
use crate::context::Context;
use crate::refusal::Refusal;
use crate::response::Response;

pub(super) fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Response::data(&mount_limits(cx)?.show())
}

pub(super) fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let mut limits = (*mount_limits(cx)?).clone();
    limits.update(cx.fields())?;
    cx.put_json("config", &limits)?;
    Ok(Response::empty())
}
