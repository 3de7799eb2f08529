//! `identity/oidc/client`: the applications people sign in to.

use super::super::signing::DEFAULT;
use super::super::{name, store};
use super::{assignments, entries, refuse_used};
use crate::context::Context;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Kind, Route, field};
use keyward_core::random;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub(super) const CLIENTS: &str = "oidc/client/";
/// Leads from a client's id to its name.
const IDS: &str = "oidc/client-id/";

pub(in super::super::super) const ROUTES: &[Route] = &[
    Route {
        pattern: "oidc/client",
        operations: &[(Operation::List, list)],
        help: "Lists the applications.",
        ..Route::EMPTY
    },
    Route {
        pattern: "oidc/client/{name}",
        operations: &[(Operation::Read, read), (Operation::Update, write), (Operation::Delete, delete)],
        exists: Some(exists),
        fields: &[
            field("redirect_uris", Kind::List, "Where people may be sent back to."),
            field("assignments", Kind::List, "Who may sign in; `allow_all` is everybody."),
            field("key", Kind::Text, "The key that signs the identity tokens; `default`."),
            field("id_token_ttl", Kind::Duration, "How long an identity token counts; 24h."),
            field("access_token_ttl", Kind::Duration, "How long an access token counts; 24h."),
            field(
                "client_type",
                Kind::Text,
                "`confidential`, or `public`: it has no secret, but a proof key.",
            ),
        ],
        help: "Shows, creates, changes and removes an application.",
        ..Route::EMPTY
    },
];

/// An application. Spans are in seconds.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Client {
    pub(super) id: String,
    /// Empty when it can keep none.
    pub(super) secret: String,
    pub(super) redirect_uris: Vec<String>,
    pub(super) assignments: Vec<String>,
    pub(super) key: String,
    pub(super) id_token_ttl: u64,
    pub(super) access_token_ttl: u64,
}

impl Client {
    /// Whether it can keep no secret.
    pub(super) fn is_public(&self) -> bool {
        self.secret.is_empty()
    }

    /// Whether people may be sent back to `uri`. On a machine's own address any port will do (RFC 8252, section 7.3).
    pub(super) fn redirects_to(&self, uri: &str) -> bool {
        let own = |uri: &str| -> Option<String> {
            let rest = uri.strip_prefix("http://")?;
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = ["127.0.0.1", "[::1]"].into_iter().find(|host| {
                authority.strip_prefix(host).is_some_and(|port| port.is_empty() || port.starts_with(':'))
            })?;
            Some(format!("{host}/{path}"))
        };
        self.redirect_uris
            .iter()
            .any(|known| known == uri || own(known).is_some_and(|known| own(uri) == Some(known)))
    }

    fn describe(&self) -> Map<String, Value> {
        let mut told = Map::new();
        for (name, value) in [
            ("access_token_ttl", json!(self.access_token_ttl)),
            ("assignments", json!(self.assignments)),
            ("client_id", json!(self.id)),
            ("client_type", json!(if self.is_public() { "public" } else { "confidential" })),
            ("id_token_ttl", json!(self.id_token_ttl)),
            ("key", json!(self.key)),
            ("redirect_uris", json!(self.redirect_uris)),
        ] {
            told.insert(name.to_owned(), value);
        }
        told
    }
}

/// The application called `id` by itself.
pub(super) fn by_id(cx: &mut Context<'_, '_>, id: &str) -> Result<Option<Arc<Client>>, Refusal> {
    if id.is_empty() || id.contains('/') || id.len() > 128 {
        return Ok(None);
    }
    match cx.built_json::<String>(&format!("{IDS}{id}"))? {
        Some(name) => cx.built_json(&format!("{CLIENTS}{name}")),
        None => Ok(None),
    }
}

/// The keys of those applications whose ids `wanted` has.
pub(super) fn keys(cx: &mut Context<'_, '_>, wanted: impl Fn(&str) -> bool) -> Result<Vec<String>, Refusal> {
    let all = entries::<Client>(cx, CLIENTS)?;
    Ok(all.into_iter().filter(|(_, client)| wanted(&client.id)).map(|(_, client)| client.key).collect())
}

/// Refuses to let tokens outlive the published key that they are verified with.
pub(in super::super) fn check_key_ttl(
    cx: &mut Context<'_, '_>,
    key: &str,
    verification: u64,
) -> Result<(), Refusal> {
    let all = entries::<Client>(cx, CLIENTS)?;
    match all.iter().any(|(_, client)| client.key == key && client.id_token_ttl > verification) {
        true => Err(Refusal::invalid(format!(
            "unable to update key {key:?} because it is currently referenced by one or more clients with an \
             id_token_ttl greater than {verification} seconds"
        ))),
        false => Ok(()),
    }
}

/// Refuses to leave an application without its key.
pub(in super::super) fn check_unused(cx: &mut Context<'_, '_>, key: &str) -> Result<(), Refusal> {
    let all = entries::<Client>(cx, CLIENTS)?;
    let users: Vec<String> =
        all.into_iter().filter(|(_, client)| client.key == key).map(|(name, _)| name).collect();
    refuse_used("key", key, "clients", &users)
}

fn find(cx: &mut Context<'_, '_>) -> Result<Option<Arc<Client>>, Refusal> {
    let path = format!("{CLIENTS}{}", name(cx));
    cx.built_json(&path)
}

fn exists(cx: &mut Context<'_, '_>) -> Result<bool, Refusal> {
    Ok(find(cx)?.is_some())
}

fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let all = entries::<Client>(cx, CLIENTS)?;
    if all.is_empty() {
        return Err(Refusal::missing());
    }
    let keys: Vec<&String> = all.iter().map(|(name, _)| name).collect();
    let info: Map<String, Value> =
        all.iter().map(|(name, client)| (name.clone(), client.describe().into())).collect();
    Response::data(&json!({ "keys": keys, "key_info": info }))
}

fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let client = find(cx)?.ok_or(Refusal::missing())?;
    let mut told = client.describe();
    if !client.is_public() {
        told.insert("client_secret".to_owned(), json!(client.secret));
    }
    Response::data(&told)
}

fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let known = find(cx)?;
    let is_new = known.is_none();
    let mut client = known.map(Arc::unwrap_or_clone).unwrap_or_else(|| Client {
        id: random::base62(cx.random(), 32),
        secret: format!("hvo_secret_{}", random::base62(cx.random(), 64)),
        redirect_uris: Vec::new(),
        assignments: Vec::new(),
        key: DEFAULT.to_owned(),
        id_token_ttl: 24 * 3600,
        access_token_ttl: 24 * 3600,
    });
    if let Some(kind) = cx.fields().string("client_type")? {
        let public = match kind.as_str() {
            "confidential" => false,
            "public" => true,
            _ => return Err(Refusal::invalid(format!("invalid client_type {kind:?}"))),
        };
        if !is_new && public != client.is_public() {
            return Err(Refusal::invalid("client_type modification is not allowed"));
        }
        if public {
            client.secret.clear();
        }
    }
    if let Some(key) = cx.fields().string("key")? {
        if !is_new && key != client.key {
            return Err(Refusal::invalid("key modification is not allowed"));
        }
        client.key = key;
    }
    if let Some(uris) = cx.fields().strings("redirect_uris")? {
        client.redirect_uris = uris;
    }
    if let Some(names) = cx.fields().strings("assignments")? {
        for name in &names {
            assignments::check(cx, name)?;
        }
        client.assignments = names;
    }
    for (name, ttl) in
        [("id_token_ttl", &mut client.id_token_ttl), ("access_token_ttl", &mut client.access_token_ttl)]
    {
        if let Some(span) = cx.fields().duration(name)? {
            *ttl = span.as_secs();
        }
    }
    let key = store(cx).load(cx.txn, &client.key)?;
    let key = key.ok_or_else(|| Refusal::invalid(format!("key {:?} does not exist", client.key)))?;
    if client.id_token_ttl > key.verification_ttl {
        return Err(Refusal::invalid(
            "a client's id_token_ttl cannot be greater than the verification_ttl of the key it references",
        ));
    }
    let name = name(cx);
    cx.put_json(&format!("{IDS}{}", client.id), &name)?;
    cx.put_json(&format!("{CLIENTS}{name}"), &client)?;
    Ok(Response::empty())
}

fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    if let Some(client) = find(cx)? {
        cx.delete(&format!("{IDS}{}", client.id));
        let path = format!("{CLIENTS}{}", name(cx));
        cx.delete(&path);
    }
    Ok(Response::empty())
}
