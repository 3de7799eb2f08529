//! Identity tokens: signed statements of who somebody is, for others to believe (OpenID Connect Core, section 2).

mod keys;
mod provider;
mod roles;
mod signing;
mod template;
#[cfg(test)]
mod tests;
mod tokens;

pub(super) use keys::ROUTES as KEYS;
pub(super) use provider::{ASSIGNMENTS, AUTHORIZE, CLIENTS, PROVIDERS, SCOPES, TOKEN, USERINFO};
pub(super) use roles::ROUTES as ROLES;
pub(crate) use signing::due as rotate;
pub(super) use tokens::ROUTES as TOKENS;

use crate::context::Context;
use crate::refusal::Refusal;
use signing::Store;

/// The keys of this mount.
fn store(cx: &Context<'_, '_>) -> Store {
    Store::of(&cx.mount.uuid)
}

/// Names of keys, roles and the like: one segment of a path.
fn name(cx: &Context<'_, '_>) -> String {
    cx.param("name").to_owned()
}

/// Refuses what is no origin: a scheme, a host, perhaps a port, and nothing more.
fn check_issuer(issuer: &str) -> Result<(), Refusal> {
    let host = issuer.strip_prefix("https://").or_else(|| issuer.strip_prefix("http://"));
    let good = host.is_some_and(|host| {
        !host.is_empty()
            && !host.contains(['/', '?', '#', '@', '\\'])
            && host.chars().all(|c| c.is_ascii_graphic())
    });
    if good {
        return Ok(());
    }
    Err(Refusal::invalid(
        "invalid issuer, which must include only a scheme, host, and optional port (e.g. https://example.com:8200)",
    ))
}

/// What is said when an issuer is set.
const ISSUER_IS_SET: &str = "If \"issuer\" is set explicitly, all tokens must be validated against that address, including \
     those issued by secondary clusters. Setting issuer to \"\" will restore the default behavior of using the \
     cluster's api_addr as the issuer.";
