//! Key sets that issuers publish (RFC 7517, section 5), fetched anew as they change.

use super::{Keys, Token};
use crate::context::Context;
use crate::outside::{Ask, Reply};
use crate::refusal::Refusal;
use std::sync::Arc;
use std::time::Duration;

/// How old keys and discovery documents may be; keys are asked for anew when a token names one that is not among
/// them.
pub(crate) const PUBLISHED: Duration = Duration::from_secs(3600);
/// How often unknown names of keys make us ask anew.
const AT_LEAST: Duration = Duration::from_secs(30);

/// What outside can go wrong: the text is for the operator.
pub(crate) type Fetched<T> = Result<T, String>;

/// What `ask` finds, if it is answered with success.
pub(crate) fn fetch(cx: &Context<'_, '_>, ask: Ask) -> Result<Fetched<Reply>, Refusal> {
    let url = ask.url.clone();
    Ok(match cx.ask(ask)? {
        Ok(reply) if reply.status == 200 => Ok(reply.clone()),
        Ok(reply) => Err(format!("{url} answers with HTTP status {}", reply.status)),
        Err(why) => Err(why.clone()),
    })
}

/// The key set that `ask`, told how old the answer may be, asks for. Where there is a token, its key is looked for
/// among them, and the set asked for once more if it is not there.
pub(crate) fn published(
    cx: &Context<'_, '_>,
    token: Option<&Token<'_>>,
    ask: impl Fn(Duration) -> Ask,
) -> Result<Fetched<Arc<Keys>>, Refusal> {
    let get = |may_be_old| -> Result<Fetched<Arc<Keys>>, Refusal> {
        let ask = ask(may_be_old);
        let url = ask.url.clone();
        let reply = match fetch(cx, ask)? {
            Ok(reply) => reply,
            Err(why) => return Ok(Err(why)),
        };
        let build = || Keys::from_jwks(&reply.body).map_err(|why| Refusal::invalid(format!("{url}: {why}")));
        let key = format!("jwks:{url}");
        Ok(cx.txn.built_of(key.as_bytes(), reply.version, build).map_err(|why| why.to_string()))
    };
    match (get(PUBLISHED)?, token) {
        // The issuer may have begun to sign with a new key.
        (Ok(keys), Some(token)) if !keys.may_know(token) => get(AT_LEAST),
        (keys, _) => Ok(keys),
    }
}
