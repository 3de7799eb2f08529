//! The provider of OpenID Connect: applications let people sign in with their identity here (OpenID Connect Core,
//! section 3.1, the code flow), with proof keys (RFC 7636).
//!
//! A browser cannot carry a token of this authority, so whoever shows the sign-in page asks `authorize` with one.

mod assignments;
mod authorize;
mod clients;
mod exchange;
mod providers;
mod scopes;
#[cfg(test)]
mod tests;
mod userinfo;

pub(in super::super) use assignments::ROUTES as ASSIGNMENTS;
pub(in super::super) use authorize::ROUTES as AUTHORIZE;
pub(in super::super) use clients::ROUTES as CLIENTS;
pub(super) use clients::{check_key_ttl, check_unused};
pub(in super::super) use exchange::ROUTES as TOKEN;
pub(in super::super) use providers::ROUTES as PROVIDERS;
pub(in super::super) use scopes::ROUTES as SCOPES;
pub(in super::super) use userinfo::ROUTES as USERINFO;

use crate::context::Context;
use crate::refusal::Refusal;
use crate::response::Response;
use serde_json::{Map, Value};

/// The scope that every request must name.
const OPENID: &str = "openid";

/// An answer as OAuth has it (RFC 6749, section 5): bare JSON, also when it refuses.
fn oauth(status: u16, body: &Value) -> Result<Response, Refusal> {
    Ok(Response { status: Some(status), ..Response::verbatim_json(body)? })
}

/// Why a client is refused, as OAuth names it, with words for people.
struct Fault(&'static str, String);

impl Fault {
    fn new(code: &'static str, why: impl Into<String>) -> Fault {
        Fault(code, why.into())
    }
}

/// The text of a field; empty when it was not sent.
fn text(cx: &Context<'_, '_>, name: &str) -> Result<String, Refusal> {
    Ok(cx.fields().string(name)?.unwrap_or_default())
}

/// The names in `directory`, which must be gone through whole, with what is stored under each.
fn entries<T: serde::de::DeserializeOwned>(
    cx: &mut Context<'_, '_>,
    directory: &str,
) -> Result<Vec<(String, T)>, Refusal> {
    let directory = cx.key(directory);
    cx.txn.unrelied(|txn| {
        let mut found = Vec::new();
        for name in txn.list(&directory, "", usize::MAX)? {
            found.extend(txn.get_json(&[&directory, name.as_str()].concat())?.map(|entry| (name, entry)));
        }
        Ok(found)
    })
}

/// Refuses to remove what others need.
fn refuse_used(what: &str, name: &str, by: &str, users: &[String]) -> Result<(), Refusal> {
    match users.is_empty() {
        true => Ok(()),
        false => Err(Refusal::invalid(format!(
            "unable to delete {what} {name:?} because it is currently referenced by these {by}: {}",
            users.join(", ")
        ))),
    }
}

/// Adds `more` to `claims`; the claims of two scopes must not contradict each other.
fn add_claims(claims: &mut Map<String, Value>, more: Map<String, Value>) -> Result<(), Fault> {
    for (name, value) in more {
        if claims.contains_key(&name) {
            return Err(Fault::new(
                "invalid_request",
                format!("found scopes with conflicting top-level claim {name:?}: ask for one of them"),
            ));
        }
        claims.insert(name, value);
    }
    Ok(())
}
